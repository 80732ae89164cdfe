"""The window moving over the conversation, as a PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from langchain_tokenbuffer._replay.scene import Scene, scene_of

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_tokenbuffer._replay.report import Report

# Okabe and Ito's palette: distinct to every eye, and in grey.
_GONE, _WINDOW, _HEAD, _HELD, _CLAMPED = "#ebebeb", "#56b4e9", "#0072b2", "#009e73", "#cc79a7"
_REUSED, _READ, _OVER, _LINE = "#a6d8f5", "#e69f00", "#d55e00", "#333333"
_BANDS = {"head": _HEAD, "held": _HELD, "clamped": _CLAMPED}
_NAMES = {"head": "system messages", "held": "question or pin that is held", "clamped": "shortened"}


def write(report: Report, path: Path) -> None:
    """Draw the longest conversation to a PNG file."""
    scene = scene_of(report)
    figure = Figure(figsize=(10, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.1, 1])
    upper.set_title(f"{scene.title}\n{scene.summary}", loc="left", fontsize=11)
    _draw_window(upper, scene)
    _draw_tokens(lower, scene)
    thousands = FuncFormatter(lambda value, _: f"{value:,.0f}")
    for axes in (upper, lower):
        axes.yaxis.set_major_formatter(thousands)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    lower.set_xlabel("model call")
    figure.savefig(path, dpi=110)


def _draw_window(axes: Any, scene: Scene) -> None:
    edges = [number + 0.5 for number in range(len(scene.calls) + 1)]
    bottom, cut, top = [0] * len(scene.calls), scene.cut, scene.top
    axes.stairs(top, edges, baseline=bottom, fill=True, color=_GONE)
    axes.stairs(top, edges, baseline=cut, fill=True, color=_WINDOW)
    for band in scene.bands:
        width = band.last - band.first + 1
        axes.bar(
            band.first - 0.5,
            band.high - band.low,
            width=width,
            bottom=band.low,
            align="edge",
            color=_BANDS[band.kind],
            linewidth=0,
        )
    axes.stairs(cut, edges, baseline=None, color=_LINE, linewidth=1)
    for call in scene.calls:
        if call.reason == "over":
            axes.axvline(call.number, color=_OVER, linewidth=1)
    axes.set_ylabel("conversation, in tokens")
    shown = {band.kind for band in scene.bands}
    handles = [Patch(color=_WINDOW, label="the window"), Patch(color=_GONE, label="has left it")]
    handles += [Patch(color=_BANDS[k], label=_NAMES[k]) for k in _BANDS if k in shown]
    axes.legend(handles=handles, loc="upper left", frameon=False, fontsize=9)


def _draw_tokens(axes: Any, scene: Scene) -> None:
    edges = [number + 0.5 for number in range(len(scene.calls) + 1)]
    sent = [0 if call.error else call.tokens for call in scene.calls]
    reused = [call.reusable for call in scene.calls]
    axes.stairs(sent, edges, fill=True, color=_READ, label="read anew")
    axes.stairs(reused, edges, fill=True, color=_REUSED, label="as in the call before")
    if scene.max_tokens is not None:
        axes.axhline(scene.max_tokens, color=_LINE, linewidth=1, linestyle="--", label="max_tokens")
        axes.set_ylim(0, 1.12 * max(scene.max_tokens, *sent))
    axes.set_ylabel("tokens of the call")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.25), ncols=3, frameon=False, fontsize=9)
