"""What stands at one place of a window: a message by its index, a part of one, or a stand-in for a result.

Plain data, so that the decision can hold it and a store can keep it. What it looks like is for `mending` to say.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class StandIn:
    """The result that stands in for one that never came."""

    index: int  # of the message that makes the call
    call: int  # which of its calls


@dataclass(frozen=True, slots=True)
class Piece:
    """A message of which something is left out, or moved to another place."""

    index: int
    results: tuple[int, ...] | None  # which of its results are shown; None: all
    rest: bool = True  # whether everything else is shown
    nameless: int = 0  # how many of its calls are left out because nothing can answer a call without an id


Slot: TypeAlias = int | StandIn | Piece
"""An int is the index of a whole message."""


def index_of(slot: Slot) -> int:
    """Return the index of the message it is, or is made of."""
    return slot if isinstance(slot, int) else slot.index


def messages_of(slots: Iterable[Slot]) -> tuple[int, ...]:
    """Return the indices of the messages that stand at these places, whole or in part, in order."""
    return tuple(dict.fromkeys(index_of(slot) for slot in slots if not isinstance(slot, StandIn)))


def slot_as_json(slot: Slot) -> int | list[object]:
    """Return it as JSON can hold it."""
    return slot if isinstance(slot, int) else list(astuple(slot))


def slot_from_json(value: int | Sequence[int | Sequence[int] | None]) -> Slot:
    """Return what `slot_as_json` was given."""
    match value:
        case int():
            return value
        case [int(index), int(call)]:
            return StandIn(index, call)
        case [int(index), results, rest, int(nameless)] if not isinstance(results, int):
            return Piece(index, None if results is None else tuple(results), bool(rest), nameless)
    msg = f"not a place of a window: {value!r}"
    raise ValueError(msg)
