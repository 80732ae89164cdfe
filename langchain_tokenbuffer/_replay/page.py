"""The window moving over the conversation, as one HTML file that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._replay.scene import Scene, scene_of

if TYPE_CHECKING:
    from langchain_tokenbuffer._replay.measuring import Measured
    from langchain_tokenbuffer._replay.report import Report


def write(report: Report, path: Path) -> None:
    """Draw the longest conversation to an HTML file, with what each call was; no message's text."""
    scene = scene_of(report)
    measured, _ = report.played[report.biggest]
    data = {
        "title": scene.title,
        "summary": scene.summary,
        "max_tokens": scene.max_tokens,
        "unit": "" if report.in_money else " tokens at the input price",
        "calls": _columns(report, scene, measured),
        "bands": scene.bands,
    }
    # A name of the user's could close the script it stands in.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    path.write_text(template.replace("__DATA__", text), encoding="utf-8")


def _columns(report: Report, scene: Scene, measured: Measured) -> dict[str, list[Any]]:
    """Return what is shown of the calls, by column: thousands of calls make one small file."""
    calls = scene.calls
    return {
        "messages": [call.at for call in calls],
        "top": scene.top,
        "cut": scene.cut,
        "from": [call.cut + 1 for call in calls],
        "tokens": [call.tokens for call in calls],
        "history": [call.history for call in calls],
        "reason": [call.reason for call in calls],
        "dropped": [call.dropped for call in calls],
        "left": [len(call.left) for call in calls],
        "left_tokens": [measured.tokens_of(call.left) for call in calls],
        "clamped": [len(call.clamped) for call in calls],
        "reusable": [call.reusable for call in calls],
        "cost": [round(report.money(call.cost), 6) for call in calls],
        "error": [call.error or 0 for call in calls],
    }
