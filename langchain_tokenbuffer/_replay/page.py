"""The window moving over the conversation, as one HTML file that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._replay.scene import bands_of, summary_of, title_of

if TYPE_CHECKING:
    from langchain_tokenbuffer._replay.report import Report


def write(report: Report, path: Path) -> None:
    """Draw the longest conversation to an HTML file, with what each call was; no message's text."""
    data = {
        "title": title_of(report),
        "summary": summary_of(report),
        "max_tokens": report.setting and report.setting.max_tokens,
        "unit": report.unit,
        "calls": _columns(report),
        "bands": list(bands_of(report)),
    }
    # A name of the user's could close the script it stands in.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    path.write_text(template.replace("__DATA__", text), encoding="utf-8")


def _columns(report: Report) -> dict[str, list[Any]]:
    """Return what is shown of the calls, by column: thousands of calls make one small file."""
    counted, calls = report.longest
    rows = [
        {
            "messages": call.length,
            "top": counted.cumulative[call.length],
            "cut": counted.cumulative[call.cut],
            "from": call.cut + 1,
            "tokens": call.tokens,
            "history": call.total_tokens,
            "reason": call.reason,
            "dropped": call.dropped,
            "left": len(call.left),
            "left_tokens": counted.tokens_of(call.left),
            "clamped": len(call.clamped),
            "reusable": call.reusable,
            "cost": round(report.money(call.cost), 6),
            "error": call.error or 0,
        }
        for call in calls
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}
