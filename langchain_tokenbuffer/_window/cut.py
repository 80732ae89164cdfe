"""Where the cut goes, while whole units can make room."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from langchain_tokenbuffer._window.units import tokens_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from langchain_tokenbuffer._window.units import Unit


class _Candidate(NamedTuple):
    """A place the cut could move to, with rest(k) and tail(k) in tokens."""

    position: int  # in the tail as it is
    unit: Unit
    rest: int
    tail: int


def best_cut(
    pinned: Iterable[Unit], tail: Collection[Unit], question: Unit | None, room: int, trim_to: float
) -> int | None:
    """Return the position in the tail that the cut moves to; `None` if whole units cannot make room.

    In order: a question below the low-water mark, a step of the current turn below it, the current turn's question if
    that fits at all, a step of it that fits at all. Steps of the current turn lie behind every question, so one pass
    finds the first of the first two and remembers the first of the others.

    Args:
        pinned: What lies before the cut and stays.
        tail: Everything from the cut on.
        question: The current turn's.
        room: What the budget leaves to both, in tokens.
        trim_to: The low-water mark.
    """
    fallback: int | None = None
    for place in _candidates(pinned, tail):
        is_current = question in (place.unit, place.unit.question)
        if not (place.unit.begins_turn or is_current):
            continue
        left = room - place.rest
        if place.tail <= trim_to * left:
            return place.position
        if fallback is None and is_current and place.tail <= left:
            fallback = place.position
    return fallback


def _candidates(pinned: Iterable[Unit], tail: Collection[Unit]) -> Iterator[_Candidate]:
    """Yield every unit beyond the cut with rest(k) and tail(k), in tokens."""
    rest, left = 0, tokens_of(tail)
    held: set[Unit] = set()

    def hold(unit: Unit) -> int:
        """Let what is pinned and its questions stay; return what that adds."""
        new = {unit, *unit.questions()} - held
        held.update(new)
        return sum(each.held_tokens for each in new)

    for unit in pinned:
        rest += hold(unit) if unit.stays else 0
    for position, unit in enumerate(tail):
        if position:
            owed = sum([each.held_tokens for each in unit.questions() if each not in held])
            yield _Candidate(position, unit, rest + owed, left)
        rest += hold(unit) if unit.stays else 0
        left -= unit.tokens
