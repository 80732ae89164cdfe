"""The picture of the benchmark: what the windows cost against how much they show."""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

from tests.benchmarks.trimming.policies import MIDDLEWARE
from tests.benchmarks.trimming.tables import played

if TYPE_CHECKING:
    from pathlib import Path

OURS, THEIRS, FAULTY, GRID = "#c2410c", "#1f3a5f", "#8a94a3", "#e8ebef"
TICKS = [5, 10, 25, 50, 100, 200, 400]
CELL = 4.3, 4.2  # inches
NEAR = 0.045
"""Points nearer than this share of a panel have one label."""
COLORS = 64  # of the file, which keeps it small

Point = tuple[float, float]


def draw(section: dict[str, Any], path: Path) -> None:
    """Draw a section of the results: a panel for each data set, and the policies by number."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    plt: Any = importlib.import_module("matplotlib.pyplot")
    others = [each for each in played(section) if not each["ours"]]
    numbers = {each["name"]: number for number, each in enumerate(others, 1)}
    sets = section["sets"]
    columns = -(-(len(sets) + 1) // 2)  # the last cell is the legend's
    size = (CELL[0] * columns, CELL[1] * 2)
    figure, axes = plt.subplots(2, columns, figsize=size, layout="constrained")
    panels = list(axes.flat)
    for panel, data_set in zip(panels, sets, strict=False):
        _panel(panel, data_set, section, numbers)
    for panel in panels[len(sets) :]:
        panel.axis("off")
    _legend(panels[-1], numbers)
    figure.suptitle("What windows cost, and how much of the conversation they show", fontsize=15, y=1.03)
    figure.savefig(path, dpi=100, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    image: Any = importlib.import_module("PIL.Image")
    image.open(path).convert("RGB").quantize(COLORS).save(path, optimize=True)


def _panel(panel: Any, data_set: dict[str, Any], section: dict[str, Any], numbers: dict[str, int]) -> None:
    name = data_set["name"]
    rows = {each["name"]: each["sets"].get(name) for each in played(section)}
    rows = {each: row for each, row in rows.items() if row and row["openai"]}
    theirs = {numbers[each]: row for each, row in rows.items() if each in numbers}
    points = {number: _point(row) for number, row in theirs.items()}
    faulty = {number for number, row in theirs.items() if any(row["faults"].values())}
    costs = [_point(row)[1] for row in rows.values()]
    low, high = 0.8 * min(costs), 1.4 * max(costs)
    panel.set_yscale("log")
    panel.set_ylim(low, high)
    panel.set_xlim(-3, 106)
    ticks = [tick for tick in TICKS if low < tick < high]
    panel.set_yticks(ticks, map(str, ticks))
    panel.minorticks_off()
    panel.grid(color=GRID, zorder=0)
    panel.axhline(100, color=FAULTY, lw=0.8, ls=":", zorder=1)
    panel.spines[["top", "right"]].set_visible(False)
    for is_faulty, color in ((True, FAULTY), (False, THEIRS)):
        chosen = {n: point for n, point in points.items() if (n in faulty) == is_faulty}
        for point in chosen.values():
            panel.plot(*point, "o", ms=7, mfc="white" if is_faulty else color, mec=color, zorder=3)
        outermost, offset = (min, (-7, -3)) if is_faulty else (max, (7, 1))
        for group in _groups(chosen, math.log(high / low)):
            label = " ".join(map(str, sorted(group)))
            _write(panel, outermost(group.values()), label, color, offset=offset)
    _ours(panel, [each for each in section["policies"] if each["name"].startswith(MIDDLEWARE)], name)
    panel.set_title(f"{name}, {data_set['max_tokens']:,} tokens", fontsize=12, loc="left")
    panel.set_xlabel("conversation seen, %", fontsize=9)
    panel.set_ylabel("input cost, never trimming = 100", fontsize=9)


def _point(row: dict[str, Any]) -> Point:
    return 100 * row["kept"], 100 * row["openai"]


def _groups(points: dict[int, Point], height: float) -> list[dict[int, Point]]:
    """Return which points lie together, so that their labels are joined."""
    groups: list[dict[int, Point]] = []
    for number, point in sorted(points.items(), key=lambda each: each[1]):
        for group in groups:
            if any(_distance(point, other, height) < NEAR for other in group.values()):
                group[number] = point
                break
        else:
            groups.append({number: point})
    return groups


def _distance(one: Point, other: Point, height: float) -> float:
    across, up = (one[0] - other[0]) / 109, math.log(one[1] / other[1]) / height
    return math.hypot(across, up)


def _ours(panel: Any, policies: list[dict[str, Any]], name: str) -> None:
    by_mark = {each["trim_to"]: _point(each["sets"][name]) for each in policies}
    marks = sorted(by_mark)
    panel.plot(*zip(*(by_mark[mark] for mark in marks), strict=True), "-", color=OURS, lw=2, zorder=5)
    for mark in marks:
        panel.plot(*by_mark[mark], "o", ms=8, color=OURS, mec="white", zorder=6)
    for mark in (0.6, 1.0):
        _write(panel, by_mark[mark], f"{mark}", OURS, offset=(8, -11), weight="bold")


def _write(panel: Any, at: Point, text: str, color: str, *, offset: tuple[int, int], **font: str) -> None:
    effects: Any = importlib.import_module("matplotlib.patheffects")
    panel.annotate(
        text,
        at,
        path_effects=[effects.withStroke(linewidth=2.5, foreground="white")],
        xytext=offset,
        textcoords="offset points",
        ha="left" if offset[0] > 0 else "right",
        fontsize=9,
        color=color,
        zorder=7,
        **font,
    )


def _legend(panel: Any, numbers: dict[str, int]) -> None:
    lines = [
        ("●  TokenBufferMiddleware, trim_to 0.5, 0.6, 0.8, 1.0", OURS),
        ("●  others, no window at fault", THEIRS),
        ("○  others, with windows at fault", FAULTY),
        ("", GRID),
    ]
    lines += [(f"{number:>2}  {name.replace('`', '')}", "#222222") for name, number in numbers.items()]
    for place, (text, color) in enumerate(lines):
        panel.text(
            0,
            1 - place / len(lines),
            text,
            transform=panel.transAxes,
            fontsize=10,
            color=color,
            va="top",
        )
