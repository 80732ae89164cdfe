"""The window moving over the conversation, and the frontier of a sweep, as one HTML file that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from collections.abc import Sequence

    from langchain_tokenbuffer._replay.report import Report
    from langchain_tokenbuffer._replay.simulation import Call, CountedTranscript


def write(report: Report, path: Path) -> None:
    """Draw the longest conversation to an HTML file, with what each call was; no message's text."""
    data = {
        "title": title_of(report),
        "summary": summary_of(report),
        "max_tokens": report.setting and report.setting.max_tokens,
        "unit": report.unit,
        "count": len(report.longest[1]),
        "calls": _columns(report),
        "bands": bands_of(report),
        "missed": missed_in(report),
        "sweep": _sweep(report),
    }
    # A name of the user's could close the script it stands in.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    path.write_text(template.replace("__DATA__", text), encoding="utf-8")


def _columns(report: Report) -> dict[str, list[Any]]:
    """Return what is shown of the calls, by column: thousands of calls make one small file."""
    counted, calls = report.longest
    rows = [_group(report, counted, group) for group in groups_of(calls)]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _group(report: Report, counted: CountedTranscript, group: Sequence[Call]) -> dict[str, Any]:
    """Return what is shown of a few calls as one: the last one's window, sums, and of tokens the mean."""
    last, left = group[-1], [index for call in group for index in call.left]
    return {
        "first": group[0].number,
        "last": last.number,
        "messages": last.length,
        "top": counted.cumulative[last.length],
        "cut": counted.cumulative[last.cut],
        "from": last.cut + 1,
        "history": last.total_tokens,
        "dropped": last.dropped,
        "left": len(left),
        "left_tokens": counted.tokens_of(left),
        "clamped": len(last.clamped),
        "cleared": len(last.cleared),
        **_sums(report, group),
        **_worst(group),
    }


def _sums(report: Report, group: Sequence[Call]) -> dict[str, Any]:
    return {
        "tokens": round(sum(call.tokens for call in group) / len(group)),
        "reusable": round(sum(call.reusable for call in group) / len(group)),
        "recalled": round(sum(call.recalled_tokens for call in group) / len(group)),
        "cost": round(report.money(sum(call.cost for call in group)), 6),
        "facts": sum(call.facts for call in group),
        "missing": sum(len(call.missing) for call in group),
    }


def _worst(group: Sequence[Call]) -> dict[str, Any]:
    reasons = [call.reason for call in group]
    return {
        "reason": next((each for each in _BY_WEIGHT if each in reasons), reasons[-1]),
        "error": next((call.error for call in group if call.error), 0),
    }


_BY_WEIGHT = ("over", "clamped", "moved", "cleared")  # of what happened at several calls, the one that is named


def _sweep(report: Report) -> dict[str, Any] | None:
    if report.advice is None:
        return None
    return {
        "sentences": report.advice.sentences,
        "heights": heights_of(report.advice),
        "ways": report.advice.ways,
        "tried": tried_in(report.advice),
    }
