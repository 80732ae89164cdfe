"""Which results of old steps may go to their marker before whole steps leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_tokenbuffer._window.units import tokens_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer._window.units import Part, Unit

_SMALL = 50
"""Tokens up to which a result is left alone: its marker would cost as much."""
_SPARED = 0.5
"""Of the room of a window, how much the results of the newest steps may take and are left alone. Chosen on recorded
sessions: with more, less room is made for old steps; with less, long sessions lose the results of the current task."""


def clearable(units: Sequence[Unit], room: int) -> list[tuple[Unit, Part]]:
    """Return the results that may be cleared, oldest first.

    Left alone are pinned ones, small ones, those that no model has read yet, and the newest steps whose results take at
    most half of the room together.
    """
    newest_reply = max((part.index for unit in units for part in unit.parts if part.kind == "ai"), default=-1)
    found: list[tuple[Unit, Part]] = []
    spared, is_sparing = 0, True
    for unit in reversed(units):
        results = _results(unit)
        spared += tokens_of(results)
        is_sparing = is_sparing and spared <= _SPARED * room
        if not (is_sparing or unit.stays):
            found += [(unit, part) for part in reversed(results) if part.full > _SMALL and part.index < newest_reply]
    return found[::-1]


def _results(unit: Unit) -> list[Part]:
    """Return the results of a unit that are whole messages."""
    return [part for part in unit.parts if part.kind == "tool" and isinstance(part.slot, int)]
