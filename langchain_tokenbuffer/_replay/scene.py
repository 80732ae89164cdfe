"""What a picture of a replay shows, as coordinates: both pictures draw the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from langchain_tokenbuffer._replay.advice import percent
from langchain_tokenbuffer._replay.measuring import totals_of, untrimmed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tokenbuffer._replay.measuring import Call, Measured
    from langchain_tokenbuffer._replay.report import Report

Kind: TypeAlias = Literal["head", "held", "clamped"]


class Band(NamedTuple):
    """Something that stays where it is while calls pass: x in calls, y in tokens."""

    kind: Kind
    first: int
    last: int
    low: int
    high: int


@dataclass(frozen=True)
class Scene:
    """One conversation; x is the call, from 1 on, y the place in the conversation, in tokens.

    Attributes:
        title: What was replayed, without any name of the user's.
        summary: What it came to.
        max_tokens: The budget; `None`: nothing was trimmed.
        calls: The calls.
        top: For each call, where the conversation ends.
        cut: For each call, where the window's tail begins.
        bands: The head, what is held before the cut, what is clamped.
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
    measured, calls = report.played[report.biggest]
    upto, setting = measured.upto, report.setting
    how = "never trimming"
    if setting is not None:
        how = f"max_tokens={setting.max_tokens:,} · trim_to={setting.trim_to:g}"
    return Scene(
        title=f"{report.model} · {how}",
        summary=_summary(report, measured, calls),
        max_tokens=None if setting is None else setting.max_tokens,
        calls=calls,
        top=[upto[call.at] for call in calls],
        cut=[upto[call.cut] for call in calls],
        bands=list(_bands(measured, calls)),
    )


def _summary(report: Report, measured: Measured, calls: Sequence[Call]) -> str:
    totals = totals_of([(measured, calls)], report.prices)
    never = untrimmed([measured], report.prices)
    said = f"{totals.calls:,} calls: the model sees {percent(totals.share)} of the conversation"
    if report.setting is None:
        return f"{said}, up to {totals.peak:,} tokens a call"
    return f"{said}, for {percent(totals.cost / (never.cost or 1))} of what never trimming costs"


def _bands(measured: Measured, calls: Sequence[Call]) -> Iterator[Band]:
    """Yield each stay of a message as one band, however many calls it lasts."""
    since: dict[tuple[Kind, int, int], int] = {}
    for call in calls:
        now = dict.fromkeys(_shown(measured, call))
        for key in [key for key in since if key not in now]:
            yield Band(key[0], since.pop(key), call.number - 1, *key[1:])
        for key in now:
            since.setdefault(key, call.number)
    for (kind, low, high), first in since.items():
        yield Band(kind, first, len(calls), low, high)


def _shown(measured: Measured, call: Call) -> Iterator[tuple[Kind, int, int]]:
    upto = measured.upto
    clamped = {index for index, _ in call.clamped}
    if measured.head:
        yield "head", 0, measured.head
    for index in call.held:
        if upto[index] >= measured.head and index not in clamped:
            yield "held", upto[index], upto[index + 1]
    for index in clamped:
        yield "clamped", upto[index], upto[index + 1]
