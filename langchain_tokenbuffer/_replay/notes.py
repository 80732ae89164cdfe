"""What is out of order in conversations, for the reader of a report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer._messages.violations import Code
    from langchain_tokenbuffer._replay.transcripts import Transcript

_DONE: dict[tuple[Code, str], tuple[str, str]] = {
    ("first_not_human", "Left"): (
        "a message before the first human one left out",
        "{:,} messages before the first human one left out",
    ),
    ("orphan_result", "Moved"): ("a result moved behind its call", "{:,} results moved behind their calls"),
    ("orphan_result", "Left"): ("a result without a call left out", "{:,} results without a call left out"),
    ("orphan_result", "Results"): (
        "a message rid of results without a call",
        "{:,} messages rid of results without a call",
    ),
    ("missing_result", "Added"): ("a stand-in for a missing result", "{:,} stand-ins for missing results"),
    ("missing_result", "Left"): ("a call without an id left out", "{:,} calls without an id left out"),
}
"""By code and first word of the detail what was done about one, and about several."""


def mended_notes(transcripts: Sequence[Transcript]) -> list[str]:
    """Say what is out of order and how it is replayed: one sentence, or none."""
    done = Counter((each.code, each.detail.partition(" ")[0]) for one in transcripts for each in one.mended)
    if not done:
        return []
    count = sum(bool(each.mended) for each in transcripts)
    where = f" in {count:,} of {len(transcripts):,} conversations" if len(transcripts) > 1 else ""
    parts = (_DONE[kind][done[kind] > 1].format(done[kind]) for kind in _DONE if kind in done)
    return [f"Out of order{where}, and replayed mended: {', '.join(parts)}."]
