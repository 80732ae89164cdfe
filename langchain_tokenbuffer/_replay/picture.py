"""The window moving over the conversation, as a PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from langchain_tokenbuffer._replay.scene import bands_of, summary_of, title_of

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_tokenbuffer._replay.report import Report

# Okabe and Ito's palette: distinct to every eye, and in grey.
_GONE, _WINDOW, _REUSED, _READ, _OVER, _LINE = "#ebebeb", "#56b4e9", "#a6d8f5", "#e69f00", "#d55e00", "#333333"
_BANDS = {"head": "#0072b2", "held": "#009e73", "clamped": "#cc79a7"}
_NAMES = {"head": "system messages", "held": "question or pin that is held", "clamped": "shortened"}


def write(report: Report, path: Path) -> None:
    """Draw the longest conversation to a PNG file."""
    figure = Figure(figsize=(10, 6.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.1, 1])
    upper.set_title(f"{title_of(report)}\n{summary_of(report)}", loc="left", fontsize=11)
    _draw_window(upper, report)
    _draw_tokens(lower, report)
    for axes in (upper, lower):
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    lower.set_xlabel("model call")
    figure.savefig(path, dpi=110)


def _draw_window(axes: Any, report: Report) -> None:
    counted, calls = report.longest
    edges = [number + 0.5 for number in range(len(calls) + 1)]
    top = [counted.cumulative[call.length] for call in calls]
    cut = [counted.cumulative[call.cut] for call in calls]
    axes.stairs(top, edges, baseline=[0] * len(calls), fill=True, color=_GONE)
    axes.stairs(top, edges, baseline=cut, fill=True, color=_WINDOW)
    bands = list(bands_of(report))
    for kind, first, last, low, high in bands:
        place = {"width": last - first + 1, "bottom": low, "align": "edge"}
        axes.bar(first - 0.5, high - low, **place, color=_BANDS[kind], linewidth=0)
    axes.stairs(cut, edges, baseline=None, color=_LINE, linewidth=1)
    for call in calls:
        if call.reason == "over":
            axes.axvline(call.number, color=_OVER, linewidth=1)
    axes.set_ylabel("conversation, in tokens")
    shown = {band.kind for band in bands}
    handles = [Patch(color=_WINDOW, label="the window"), Patch(color=_GONE, label="has left it")]
    handles += [Patch(color=colour, label=_NAMES[kind]) for kind, colour in _BANDS.items() if kind in shown]
    axes.legend(handles=handles, loc="upper left", frameon=False, fontsize=9)


def _draw_tokens(axes: Any, report: Report) -> None:
    _, calls = report.longest
    edges = [number + 0.5 for number in range(len(calls) + 1)]
    sent = [0 if call.error else call.tokens for call in calls]
    axes.stairs(sent, edges, fill=True, color=_READ, label="read anew")
    axes.stairs([call.reusable for call in calls], edges, fill=True, color=_REUSED, label="as in the call before")
    if report.setting is not None:
        most = report.setting.max_tokens
        axes.axhline(most, color=_LINE, linewidth=1, linestyle="--", label="max_tokens")
        axes.set_ylim(0, 1.12 * max(most, *sent))
    axes.set_ylabel("tokens of the call")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.25), ncols=3, frameon=False, fontsize=9)
