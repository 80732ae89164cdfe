"""What a picture of a replay shows, as coordinates: both pictures draw the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from langchain_tokenbuffer._replay.advice import percent
from langchain_tokenbuffer._replay.simulation import totals_of, untrimmed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tokenbuffer._replay.report import Report
    from langchain_tokenbuffer._replay.simulation import Call, CountedTranscript

BandKind: TypeAlias = Literal["head", "held", "clamped"]


class Band(NamedTuple):
    """Something that stays where it is while calls pass: x in calls, y in tokens."""

    kind: BandKind
    first: int
    last: int
    low: int
    high: int


@dataclass(frozen=True)
class Scene:
    """One conversation; x is the call, from 1 on, y the place in the conversation, in tokens.

    Attributes:
        title: What was simulated, without any name of the user's.
        summary: What it came to.
        max_tokens: The budget; `None`: nothing was trimmed.
        calls: The calls.
        top: For each call, where the conversation ends.
        cut: For each call, where the window's tail begins.
        bands: The head, what is kept before the cut, what is clamped.
    """

    title: str
    summary: str
    max_tokens: int | None
    calls: Sequence[Call]
    top: list[int]
    cut: list[int]
    bands: list[Band]


def scene_of(report: Report) -> Scene:
    """Return the picture of the longest conversation."""
    counted, calls = report.longest
    cumulative, setting = counted.cumulative, report.setting
    how = "never trimming"
    if setting is not None:
        how = f"max_tokens={setting.max_tokens:,} · trim_to={setting.trim_to:g}"
    return Scene(
        title=f"{report.model} · {how}",
        summary=_summary(report),
        max_tokens=setting and setting.max_tokens,
        calls=calls,
        top=[cumulative[call.length] for call in calls],
        cut=[cumulative[call.cut] for call in calls],
        bands=list(_bands(counted, calls)),
    )


def _summary(report: Report) -> str:
    totals = totals_of([report.longest], report.prices)
    never = untrimmed([report.longest[0]], report.prices)
    visible = f"{totals.calls:,} calls: the model sees {percent(totals.share)} of the conversation"
    if report.setting is None:
        return f"{visible}, up to {totals.peak:,} tokens a call"
    cost = percent(totals.cost / (never.cost or 1))
    return f"{visible}, for {cost} of what never trimming costs"


def _bands(counted: CountedTranscript, calls: Sequence[Call]) -> Iterator[Band]:
    """Yield each stay of a message as one band, however many calls it lasts."""
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
