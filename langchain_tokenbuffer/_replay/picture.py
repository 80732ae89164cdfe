"""The window moving over the conversation, and the frontier of a sweep, as a PNG."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from langchain_tokenbuffer._replay.scene import (
    bands_of,
    groups_of,
    heights_of,
    missed_in,
    summary_of,
    title_of,
    tried_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from langchain_tokenbuffer._replay.advice import Advice
    from langchain_tokenbuffer._replay.report import Report
    from langchain_tokenbuffer._replay.scene import Band, Tried
    from langchain_tokenbuffer._replay.simulation import Call

# Okabe and Ito's palette: distinct to every eye, and in grey.
_GONE, _WINDOW, _REUSED, _READ, _OVER, _LINE = "#ebebeb", "#56b4e9", "#a6d8f5", "#e69f00", "#d55e00", "#333333"
_BANDS = {"head": "#0072b2", "held": "#009e73", "cleared": "#f0e442", "clamped": "#cc79a7"}
_NAMES = {
    "head": "system messages",
    "held": "question or pin that is held",
    "cleared": "cleared",
    "clamped": "clamped",
}
_MARKERS = (("o", "#0072b2"), ("^", "#d55e00"), ("s", "#009e73"), ("D", "#cc79a7"))


def write(report: Report, path: Path) -> None:
    """Draw the longest conversation to a PNG file, and above it the sweep if there was one."""
    has_sweep = report.advice is not None and bool(tried_in(report.advice))
    figure = Figure(figsize=(10, 9.6 if has_sweep else 6.2), layout="constrained")
    upper, lower, *above = _panels(figure, has_sweep=has_sweep)
    if above and report.advice is not None:
        _draw_frontier(above[0], report.advice)
    # A name of the user's may hold dollars, and letters that no font here has.
    upper.set_title(f"{title_of(report)}\n{summary_of(report)}", loc="left", fontsize=11, parse_math=False, wrap=True)
    _draw_window(upper, report)
    _draw_tokens(lower, report)
    for axes in (upper, lower):
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.margins(x=0)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # there may be one call
    lower.xaxis.set_major_formatter("{x:,.0f}")
    lower.set_xlabel("model call")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(path, dpi=110)


def _panels(figure: Figure, *, has_sweep: bool) -> list[Any]:
    heights = [1.6, 2.1, 1] if has_sweep else [2.1, 1]
    panels = list(figure.subplots(len(heights), 1, height_ratios=heights))
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    *above, upper, lower = panels
    upper.sharex(lower)
    upper.tick_params(labelbottom=False)
    return [upper, lower, *above]


def _draw_frontier(axes: Any, advice: Advice) -> None:
    tried = tried_in(advice)
    for (marker, colour), way in zip(_MARKERS, advice.ways, strict=False):
        those = [each for each in tried if each.way == way]
        places = [each.cost for each in those], [each.height for each in those]
        axes.scatter(
            *places, marker=marker, color=colour, s=26, alpha=0.75, clip_on=False, label=way or "as it is", linewidths=0
        )
    frontier = sorted((each for each in tried if each.on_frontier), key=lambda each: each.cost)
    axes.step(*_places(frontier), where="post", color=_LINE, linewidth=1, label="nothing cheaper is worth as much")
    costs, heights = _places(tried)
    axes.set_xlim(0, 1.05 * max(costs))
    axes.set_ylim(0, 1.15 * max(1, *heights))
    _name_taken(axes, tried)
    axes.set_title("\n".join(advice.sentences), loc="left", fontsize=9, wrap=True)
    axes.set_xlabel("cost, in percent of never trimming's")
    axes.set_ylabel(heights_of(advice))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=4, frameon=False, fontsize=9)


def _places(tried: Iterable[Tried]) -> tuple[list[float], list[float]]:
    costs, heights = [], []
    for each in tried:
        costs.append(each.cost)
        heights.append(each.height)
    return costs, heights


def _name_taken(axes: Any, tried: Sequence[Tried]) -> None:
    """Name what to take: below and to the left of it no setting can lie, which would have been taken instead."""
    for each in tried:
        if each.is_taken:
            axes.scatter([each.cost], [each.height], s=150, facecolors="none", edgecolors=_LINE, linewidths=2)
            is_low, is_left = (
                2 * at < axis[1] for at, axis in ((each.height, axes.get_ylim()), (6 * each.cost, axes.get_xlim()))
            )
            where = {"xytext": (10 if is_left else -10, 10 if is_low else -10), "textcoords": "offset points"}
            sides = {"ha": "left" if is_left else "right", "va": "bottom" if is_low else "top"}
            axes.annotate(each.name.replace(", ", ",\n"), (each.cost, each.height), fontweight="bold", **where, **sides)


def _draw_window(axes: Any, report: Report) -> None:
    counted, calls = report.longest
    last = [group[-1] for group in groups_of(calls)]
    edges = [0.5, *(call.number + 0.5 for call in last)]
    top = [counted.cumulative[call.length] for call in last]
    cut = [counted.cumulative[call.cut] for call in last]
    handles: list[Any] = [Patch(color=_WINDOW, label="the window"), Patch(color=_GONE, label="has left it")]
    axes.stairs(top, edges, baseline=[0] * len(top), fill=True, color=_GONE)
    axes.stairs(top, edges, baseline=cut, fill=True, color=_WINDOW)
    handles += _draw_bands(axes, bands_of(report))
    axes.stairs(cut, edges, baseline=None, color=_LINE, linewidth=1)
    _draw_errors(axes, calls)
    axes.set_ylabel("conversation, in tokens")
    axes.set_ylim(0, max(1, *top) * 1.02)
    if missing := missed_in(report):
        style = {"marker": "x", "color": _OVER, "s": 28, "label": "used by the reply, and gone"}
        handles.append(axes.scatter(*zip(*missing, strict=True), **style))
    # Of few calls the window lies behind the legend.
    axes.legend(handles=handles, loc="upper left", framealpha=0.9, edgecolor="none", fontsize=9)


def _draw_bands(axes: Any, bands: Sequence[Band]) -> list[Patch]:
    """Draw what stays, and return what the legend says of it."""
    for kind, first, final, low, high in bands:
        place = {"width": final - first + 1, "bottom": low, "align": "edge"}
        axes.bar(first - 0.5, high - low, **place, color=_BANDS[kind], linewidth=0)
    shown = {band.kind for band in bands}
    return [Patch(color=colour, label=_NAMES[kind]) for kind, colour in _BANDS.items() if kind in shown]


def _draw_errors(axes: Any, calls: Iterable[Call]) -> None:
    for call in calls:
        if call.reason == "over":
            axes.axvline(call.number, color=_OVER, linewidth=1)


def _draw_tokens(axes: Any, report: Report) -> None:
    groups = groups_of(report.longest[1])
    edges = [0.5, *(group[-1].number + 0.5 for group in groups)]
    sent = [sum(0 if call.error else call.tokens for call in group) / len(group) for group in groups]
    reused = [sum(call.reusable for call in group) / len(group) for group in groups]
    axes.stairs(sent, edges, fill=True, color=_READ, label="read anew")
    axes.stairs(reused, edges, fill=True, color=_REUSED, label="as in the call before")
    if report.setting is not None:
        most = report.setting.max_tokens
        axes.axhline(most, color=_LINE, linewidth=1, linestyle="--", label="max_tokens")
        axes.set_ylim(0, 1.12 * max(most, *sent))
    axes.set_ylabel("tokens of the call")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.25), ncols=3, frameon=False, fontsize=9)
