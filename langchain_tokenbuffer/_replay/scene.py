"""What a picture of a replay shows, as coordinates: both pictures draw the same.

Of the longest conversation: x is the call, from 1 on, y the place in the conversation, in tokens. Of a sweep: x is the
cost, y what replies miss. Thousands of calls are drawn as a few hundred groups.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from langchain_tokenbuffer._replay.advice import missed, percent, spelt
from langchain_tokenbuffer._replay.simulation import totals_of, untrimmed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tokenbuffer._replay.advice import Advice
    from langchain_tokenbuffer._replay.report import Report
    from langchain_tokenbuffer._replay.simulation import Call, CountedTranscript

BandKind: TypeAlias = Literal["head", "held", "cleared", "clamped"]
MAX_GROUPS = 300  # of calls: a picture has no more columns
MAX_MARKS = 1_000  # bands, and things missed: of more, the thinnest and the oldest are left out
_MAX_NAME = 40  # letters of a conversation's name
_WIDEST = 1.3  # of the cost of never trimming: what costs more is not drawn, unless it is to be taken


class Band(NamedTuple):
    """Something that stays where it is while calls pass: the head, what is kept, what is shortened."""

    kind: BandKind
    first: int  # the call from which on it is there
    last: int  # the last one
    low: int  # where it begins, in tokens
    high: int  # where it ends


class Missed(NamedTuple):
    """Something that a reply used and that its window did not have."""

    call: int
    place: int  # where it stood last, in tokens


class Tried(NamedTuple):
    """A setting of the sweep."""

    name: str  # as arguments
    way: str  # what is set beside budget and low-water mark
    cost: float  # of never trimming, in percent
    height: (
        float  # replies that miss something; where none uses anything, what is not seen of the conversation, in percent
    )
    on_frontier: bool
    is_taken: bool


def title_of(report: Report) -> str:
    """Say what was simulated, and of which conversation where there are several."""
    what = "never trimming" if report.setting is None else spelt(report.setting)
    if len(report.simulated) == 1:
        return f"{report.model} · {what}"
    name = report.longest[0].transcript.name
    name = name if len(name) <= _MAX_NAME else f"…{name[1 - _MAX_NAME :]}"
    return f"{report.model} · {what} · {name}, the longest of {len(report.simulated):,}"


def summary_of(report: Report) -> str:
    """Say what it came to."""
    totals = totals_of([report.longest], report.prices)
    never = untrimmed([report.longest[0]], report.prices)
    calls = f"{totals.calls:,} call{'' if totals.calls == 1 else 's'}"
    visible = f"{calls}: the model sees {percent(totals.share)} of the conversation"
    if report.setting is None:
        return f"{visible}, up to {totals.peak:,} tokens a call"
    misses = f"; {missed(totals)}" if totals.replies else ""
    return f"{visible}, for {percent(totals.cost_share(never))} of what never trimming costs{misses}"


def groups_of(calls: Sequence[Call]) -> list[Sequence[Call]]:
    """Return the calls in order, each alone, or so many together that there are at most `MAX_GROUPS`."""
    count = min(len(calls), MAX_GROUPS)
    ends = [*accumulate([len(calls) // count] * count)]
    ends = [end + min(place, len(calls) % count) for place, end in enumerate(ends, 1)]
    return [calls[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def bands_of(report: Report) -> list[Band]:
    """Return each stay of a message as one band, however many calls it lasts."""
    bands = list(_bands(report))
    if len(bands) > MAX_MARKS:
        smallest = sorted((band.high - band.low) * (band.last - band.first + 1) for band in bands)[-MAX_MARKS]
        bands = [band for band in bands if (band.high - band.low) * (band.last - band.first + 1) >= smallest]
    return bands[:MAX_MARKS]


def _bands(report: Report) -> Iterator[Band]:
    counted, calls = report.longest
    since: dict[tuple[BandKind, int, int], int] = {}
    before = 0
    for group in groups_of(calls):
        now = dict.fromkeys(_joined(_areas(counted, group[-1])))
        for key in [key for key in since if key not in now]:
            yield Band(key[0], since.pop(key), before, *key[1:])
        for key in now:
            since.setdefault(key, group[0].number)
        before = group[-1].number
    for (kind, low, high), first in since.items():
        yield Band(kind, first, len(calls), low, high)


def _joined(areas: Iterator[tuple[BandKind, int, int]]) -> Iterator[tuple[BandKind, int, int]]:
    """Yield neighbours of one kind as one."""
    kind, low, high = next(areas, (None, 0, 0))
    for next_kind, next_low, next_high in areas:
        if (next_kind, next_low) == (kind, high):
            high = next_high
            continue
        if kind:
            yield kind, low, high
        kind, low, high = next_kind, next_low, next_high
    if kind:
        yield kind, low, high


def _areas(counted: CountedTranscript, call: Call) -> Iterator[tuple[BandKind, int, int]]:
    """Yield what stands out in one call, and between which heights."""
    cumulative, head = counted.cumulative, counted.head_tokens
    if head:
        yield "head", 0, head
    shortened = call.clamped.keys() | call.cleared
    for index in call.kept_before_cut:
        if cumulative[index] >= head and index not in shortened:
            yield "held", cumulative[index], cumulative[index + 1]
    for index in sorted(call.cleared):
        yield "cleared", cumulative[index], cumulative[index + 1]
    for index in sorted(call.clamped):
        yield "clamped", cumulative[index], cumulative[index + 1]


def missed_in(report: Report) -> list[Missed]:
    """Return what replies used and their windows did not have, at the message that said it last."""
    counted, calls = report.longest
    found = (
        Missed(call.number, counted.cumulative[need.newest_before(call.length)])
        for call in calls
        for need in call.missing
    )
    return [*dict.fromkeys(found)][-MAX_MARKS:]


def tried_in(advice: Advice) -> list[Tried]:
    """Return the settings of a sweep that could be sent, without those that cost much more than never trimming."""
    uses = advice.never.replies > 0
    return [
        Tried(
            spelt(each.setting),
            each.way,
            round(100 * each.cost_share, 1),
            each.totals.misses if uses else round(100 * (1 - each.totals.share), 1),
            each.on_frontier,
            each.setting == advice.setting,
        )
        for each in advice.results
        if each.way in advice.ways
        and not each.totals.over
        and (each.cost_share <= _WIDEST or each.setting == advice.setting)
    ]


def heights_of(advice: Advice) -> str:
    """Say what the heights of a sweep's points are."""
    if advice.never.replies:
        return f"replies that miss something, of {advice.never.replies:,}"
    return "not seen of the conversation, in percent"
