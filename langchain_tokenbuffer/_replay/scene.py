"""What a picture of a replay shows, as coordinates: both pictures draw the same.

Of the longest conversation: x is the call, from 1 on, y the place in the conversation, in tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from langchain_tokenbuffer._replay.advice import percent
from langchain_tokenbuffer._replay.simulation import totals_of, untrimmed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_tokenbuffer._replay.report import Report
    from langchain_tokenbuffer._replay.simulation import Call, CountedTranscript

BandKind: TypeAlias = Literal["head", "held", "clamped"]


class Band(NamedTuple):
    """Something that stays where it is while calls pass: the head, what is kept, what is clamped."""

    kind: BandKind
    first: int  # the call from which on it is there
    last: int  # the last one
    low: int  # where it begins, in tokens
    high: int  # where it ends


def title_of(report: Report) -> str:
    """Say what was simulated, without any name of the user's."""
    if report.setting is None:
        return f"{report.model} · never trimming"
    max_tokens, trim_to = report.setting
    return f"{report.model} · max_tokens={max_tokens:,} · trim_to={trim_to:g}"


def summary_of(report: Report) -> str:
    """Say what it came to."""
    totals = totals_of([report.longest], report.prices)
    never = untrimmed([report.longest[0]], report.prices)
    visible = f"{totals.calls:,} calls: the model sees {percent(totals.share)} of the conversation"
    if report.setting is None:
        return f"{visible}, up to {totals.peak:,} tokens a call"
    return f"{visible}, for {percent(totals.cost_share(never))} of what never trimming costs"


def bands_of(report: Report) -> Iterator[Band]:
    """Yield each stay of a message as one band, however many calls it lasts."""
    counted, calls = report.longest
    since: dict[tuple[BandKind, int, int], int] = {}
    for call in calls:
        now = dict.fromkeys(_areas(counted, call))
        for key in [key for key in since if key not in now]:
            yield Band(key[0], since.pop(key), call.number - 1, *key[1:])
        for key in now:
            since.setdefault(key, call.number)
    for (kind, low, high), first in since.items():
        yield Band(kind, first, len(calls), low, high)


def _areas(counted: CountedTranscript, call: Call) -> Iterator[tuple[BandKind, int, int]]:
    """Yield what stands out in one call, and between which heights."""
    cumulative, head = counted.cumulative, counted.head_tokens
    if head:
        yield "head", 0, head
    for index in call.kept_before_cut:
        if cumulative[index] >= head and index not in call.clamped:
            yield "held", cumulative[index], cumulative[index + 1]
    for index in call.clamped:
        yield "clamped", cumulative[index], cumulative[index + 1]
