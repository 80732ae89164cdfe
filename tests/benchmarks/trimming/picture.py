"""The pictures of the benchmarks: what the windows cost against how much they show, or what they hold."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.benchmarks.trimming.policies import MIDDLEWARE
from tests.benchmarks.trimming.tables import played

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OURS, VARIANT, THEIRS, FAULTY, GRID = "#c2410c", "#15803d", "#1f3a5f", "#8a94a3", "#e8ebef"
TICKS = [5, 10, 25, 50, 100, 200, 400]
CELL = 4.3, 4.2  # inches
NEAR = 0.045
"""Points nearer than this share of a panel have one label."""
COLORS = 64  # of the file, which keeps it small

Point = tuple[float, float]


@dataclass(frozen=True)
class View:
    """What is drawn of the rows.

    Attributes:
        title: Over the whole picture.
        across: Under each panel.
        share: What a row is drawn at, from left to right.
        lines: Of ours, the lines: their text, their color and which policies lie on them.
        is_near: Whether a panel ends shortly left of the least share, instead of at nothing.
    """

    title: str
    across: str
    share: Callable[[dict[str, Any]], float]
    lines: tuple[tuple[str, str, Callable[[dict[str, Any]], bool]], ...]
    is_near: bool = False

    def point(self, row: dict[str, Any]) -> Point:
        """Return where a row is drawn, in percent."""
        return 100 * self.share(row), 100 * row["openai"]


MARKS = "trim_to 0.5, 0.6, 0.8, 1.0"
TRIMMING = View(
    "What windows cost, and how much of the conversation they show",
    "conversation seen, %",
    lambda row: float(row["kept"]),
    ((f"TokenBufferMiddleware, {MARKS}", OURS, lambda policy: policy["name"].startswith(MIDDLEWARE)),),
)
EVIDENCE = View(
    "What windows cost, and how often they hold all that the next reply needs",
    "replies whose needs are in the window, %",
    lambda row: float(row["whole"][0]),
    (
        (f"TokenBuffer, {MARKS}", OURS, lambda policy: policy["ours"] and not policy["base"]),
        ("the same with clear_results=True", VARIANT, lambda policy: bool(policy["base"])),
    ),
    is_near=True,
)


def draw(section: dict[str, Any], path: Path, view: View = TRIMMING) -> None:
    """Draw a section of the results: a panel for each data set all played, and the policies by number."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    plt: Any = importlib.import_module("matplotlib.pyplot")
    others = [each for each in played(section) if not each["ours"]]
    numbers = {each["name"]: number for number, each in enumerate(others, 1)}
    sets = [each for each in section["sets"] if each.get("for_all", True)]
    columns = -(-(len(sets) + 1) // 2)  # the last cell is the legend's
    size = (CELL[0] * columns, CELL[1] * 2)
    figure, axes = plt.subplots(2, columns, figsize=size, layout="constrained")
    panels = list(axes.flat)
    for panel, data_set in zip(panels, sets, strict=False):
        _panel(panel, data_set, section, numbers, view)
    for panel in panels[len(sets) :]:
        panel.axis("off")
    shown = [line for line in view.lines if any(map(line[2], section["policies"]))]
    _legend(panels[-1], numbers, shown)
    figure.suptitle(view.title, fontsize=15, y=1.03)
    figure.savefig(path, dpi=100, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    image: Any = importlib.import_module("PIL.Image")
    image.open(path).convert("RGB").quantize(COLORS).save(path, optimize=True)


def _panel(panel: Any, data_set: dict[str, Any], section: dict[str, Any], numbers: dict[str, int], view: View) -> None:
    name = data_set["name"]
    rows = {each["name"]: each["sets"].get(name) for each in played(section)}
    rows = {each: row for each, row in rows.items() if row and row["openai"]}
    theirs = {numbers[each]: row for each, row in rows.items() if each in numbers}
    points = {number: view.point(row) for number, row in theirs.items()}
    faulty = {number for number, row in theirs.items() if any(row["faults"].values())}
    shares, costs = zip(*map(view.point, rows.values()), strict=True)
    low, high = 0.8 * min(costs), 1.4 * max(costs)
    left, right = (1.06 * min(shares) - 9, 100 + (100 - min(shares)) / 16) if view.is_near else (-3, 106)
    width = right - left
    panel.set_yscale("log")
    panel.set_ylim(low, high)
    panel.set_xlim(left, right)
    panel.set_xticks([tick for tick in panel.get_xticks() if left < tick <= 100])
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
        for group in _groups(chosen, width, math.log(high / low)):
            label = " ".join(map(str, sorted(group)))
            _write(panel, outermost(group.values()), label, color, offset=offset)
    for place, (_, color, belongs) in enumerate(view.lines):
        marks = {each["trim_to"]: view.point(each["sets"][name]) for each in section["policies"] if belongs(each)}
        _line(panel, marks, color, 2 + 2 * (len(view.lines) - 1 - place))
    budget = f", {data_set['max_tokens']:,}"
    panel.set_title(f"{name.removesuffix(budget)}{budget} tokens", fontsize=12, loc="left")
    panel.set_xlabel(view.across, fontsize=9)
    panel.set_ylabel("input cost, never trimming = 100", fontsize=9)


def _groups(points: dict[int, Point], width: float, height: float) -> list[dict[int, Point]]:
    """Return which points lie together, so that their labels are joined."""
    groups: list[dict[int, Point]] = []
    for number, point in sorted(points.items(), key=lambda each: each[1]):
        for group in groups:
            if any(_distance(point, other, width, height) < NEAR for other in group.values()):
                group[number] = point
                break
        else:
            groups.append({number: point})
    return groups


def _distance(one: Point, other: Point, width: float, height: float) -> float:
    across, up = (one[0] - other[0]) / width, math.log(one[1] / other[1]) / height
    return math.hypot(across, up)


def _line(panel: Any, by_mark: dict[float, Point], color: str, width: int) -> None:
    """Draw a line of ours; one that a later one may lie upon is wider."""
    marks = sorted(by_mark)
    if not marks:
        return
    panel.plot(*zip(*(by_mark[mark] for mark in marks), strict=True), "-", color=color, lw=width, zorder=5)
    for mark in marks:
        panel.plot(*by_mark[mark], "o", ms=6 + width, color=color, mec="white", zorder=6)
    for mark in (0.6, 1.0):
        _write(panel, by_mark[mark], f"{mark}", color, offset=(8, -11), weight="bold")


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


def _legend(panel: Any, numbers: dict[str, int], ours: list[tuple[str, str, Any]]) -> None:
    lines = [
        *((f"●  {text}", color) for text, color, _ in ours),
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
