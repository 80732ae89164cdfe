"""What stays or leaves as a whole: a question, or one AI message with its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from langchain_tokenbuffer._messages.kinds import Kind
    from langchain_tokenbuffer._window.budget import MessageTokens


@dataclass(slots=True, eq=False)
class Part:
    """One message of a unit."""

    index: int
    kind: Kind
    full: int  # what it is counted to, in tokens
    tokens: int  # what it is charged: fewer once it is clamped


class Unit:
    """A question, or one AI message with its results."""

    __slots__ = ("calls", "is_question", "parts", "pinned", "question", "results", "tokens")

    def __init__(self, part: Part, message: MessageTokens, question: Unit | None) -> None:
        self.parts = [part]  # none once `oversize="drop"` has left it out
        self.tokens = part.tokens  # what its parts add to the request
        self.is_question = part.kind == "human"
        self.question = self if self.is_question else question  # of its turn; None before the first one
        self.pinned = message.pinned  # whether one of its messages is
        self.calls = message.calls  # how many tool calls it makes
        self.results = int(part.kind == "tool")  # how many results it has

    def add(self, part: Part, message: MessageTokens) -> None:
        self.parts.append(part)
        self.tokens += part.tokens
        self.pinned |= message.pinned
        self.results += part.kind == "tool"

    def absorb(self, other: Unit) -> None:
        self.parts += other.parts
        self.tokens += other.tokens
        self.pinned |= other.pinned
        self.calls += other.calls
        self.results += other.results

    def keep_first(self) -> list[int]:
        """Leave out all but the first message; return the indices of the others."""
        left = [part.index for part in self.parts[1:]]
        del self.parts[1:]
        self.tokens = self.parts[0].tokens
        return left

    def empty(self) -> list[int]:
        """Leave out every message; return their indices."""
        left = [part.index for part in self.parts]
        self.parts = []
        self.tokens = self.calls = self.results = 0
        self.pinned = False
        return left

    def state(self, places: dict[int, int]) -> list[Any]:
        """Return it as JSON can hold it, its question by its place among the units."""
        parts = [[part.index, part.kind, part.full, part.tokens] for part in self.parts]
        question = places.get(id(self.question), -1)
        return [question, self.is_question, self.pinned, self.calls, self.results, parts]

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> Unit:
        """Return the unit without its question."""
        self = cls.__new__(cls)
        _, self.is_question, self.pinned, self.calls, self.results, parts = state
        self.question = None
        self.parts = [Part(*part) for part in parts]
        self.tokens = sum(part.tokens for part in self.parts)
        return self


def units_from_state(states: Sequence[Sequence[Any]]) -> list[Unit]:
    """Return units with their questions, from what `Unit.state` made of each."""
    units = [Unit.from_state(state) for state in states]
    for unit, (place, *_) in zip(units, states, strict=True):
        unit.question = units[place] if place >= 0 else None
    return units


def parts_of(units: Iterable[Unit]) -> Iterator[Part]:
    """Return the messages of units, in order."""
    return (part for unit in units for part in unit.parts)


def tokens_of(units: Iterable[Unit]) -> int:
    """Return what units add to the request, in tokens."""
    return sum(unit.tokens for unit in units)
