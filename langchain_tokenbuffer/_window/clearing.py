"""Which results of old steps may go to their marker before whole steps leave."""

from __future__ import annotations

from itertools import accumulate, takewhile
from typing import TYPE_CHECKING

from langchain_tokenbuffer._window.units import tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_tokenbuffer._window.units import Part, Unit

_SMALL = 50
"""Tokens up to which a result is left alone: its marker would cost as much."""
_SPARED = 0.5
"""Of the room of a window, how much the results of the newest steps may take and are left alone. Chosen on recorded
sessions: with more, less room is made for old steps; with less, windows cost more and hold no more."""


def clearable(pinned: Iterable[Unit], tail: Iterable[Unit], position: int | None, room: int) -> list[tuple[Unit, Part]]:
    """Return the results that may be cleared, oldest first: those that would leave if the cut moved to `position`.

    Left alone are pinned ones, small ones, those that no model has read yet, and the newest steps whose results take at
    most half of the room together. Where more is cleared than what would leave, long sessions lose the results of the
    current task.

    Args:
        pinned: What lies before the cut and stays.
        tail: Everything from the cut on.
        position: In the tail; `None` where whole units cannot make room, so that nothing would leave.
        room: What the budget leaves to both, in tokens.
    """
    pinned, units = list(pinned), [*pinned, *tail]
    newest_reply = max((part.index for unit in units for part in unit.parts if part.kind == "ai"), default=-1)
    old = len(units) - _spared(units, _SPARED * room)
    first = units[: old if position is None else min(old, len(pinned) + position)]
    return [
        (unit, part)
        for unit in first
        if not unit.stays
        for part in _results(unit)
        if part.full > _SMALL and part.index < newest_reply
    ]


def _spared(units: Sequence[Unit], tokens: float) -> int:
    """Return how many of the newest units have results of at most so many tokens together."""
    totals = accumulate(tokens_of(_results(unit)) for unit in reversed(units))
    return sum(1 for _ in takewhile(lambda total: total <= tokens, totals))


def _results(unit: Unit) -> list[Part]:
    """Return the results of a unit that are whole messages."""
    return [part for part in unit.parts if part.kind == "tool" and isinstance(part.slot, int)]
