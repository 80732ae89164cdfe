"""The window moving over the conversation, as one HTML file that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._replay.scene import Scene, scene_of

if TYPE_CHECKING:
    from langchain_tokenbuffer._replay.measuring import Call, Measured
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
        "calls": [_call(report, scene, measured, call) for call in scene.calls],
        "bands": scene.bands,
    }
    # A name of the user's could close the script it stands in.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    path.write_text(template.replace("__DATA__", text), encoding="utf-8")


def _call(report: Report, scene: Scene, measured: Measured, call: Call) -> dict[str, Any]:
    """Return what is shown of one call; zeros and nothings are told as such."""
    return {
        "messages": call.at,
        "top": scene.top[call.number - 1],
        "cut": scene.cut[call.number - 1],
        "from": call.cut + 1,
        "tokens": call.tokens,
        "history": call.history,
        "reason": call.reason,
        "dropped": call.dropped,
        "left": len(call.left),
        "left_tokens": sum(measured.sized[index].cost for index in call.left),
        "clamped": len(call.clamped),
        "reusable": call.reusable,
        "cost": round(report.money(call.cost), 6),
        "error": call.error,
    }
