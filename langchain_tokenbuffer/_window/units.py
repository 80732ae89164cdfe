"""What stays or leaves as a whole: a question, or one AI message with its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._messages.slots import Slot, slot_as_json, slot_from_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from langchain_tokenbuffer._messages.kinds import Kind
    from langchain_tokenbuffer._window.budget import MessageSource, MessageTokens


@dataclass(slots=True, eq=False)
class Part:
    """One message of a unit, or what mending made of one."""

    slot: Slot
    kind: Kind
    full: int  # what it is counted to, in tokens
    tokens: int  # what it is charged: fewer once it is clamped
    index: int  # of the message it came with
    at: int  # where it stands: `index`, or less where mending put it behind its call

    @classmethod
    def of(
        cls, slot: Slot, index: int, message: MessageTokens, source: MessageSource, kind: Kind | None = None
    ) -> Part:
        """Return the message at an index, or a piece of it, where it comes."""
        if isinstance(slot, int):
            return cls(slot, message.kind, message.tokens, message.clamped_tokens, index, index)
        tokens = source.mended_tokens(slot) or 0
        return cls(slot, kind or message.kind, tokens, tokens, index, index)

    def min_tokens(self, source: MessageSource) -> int:
        """Return the fewest tokens it can be charged; what mending made stays as it is."""
        return min(self.tokens, source.min_tokens(self.slot)) if isinstance(self.slot, int) else self.tokens

    @property
    def is_moved(self) -> bool:
        return self.at != self.index

    def state(self) -> list[Any]:
        """Return it as JSON can hold it: most stand where they came."""
        state = [slot_as_json(self.slot), self.kind, self.full, self.tokens]
        return state if self.slot == self.index == self.at else [*state, self.index, self.at]

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> Part:
        slot, kind, full, tokens, *places = state
        return cls(slot_from_json(slot), kind, full, tokens, *(places or (slot, slot)))


@dataclass(slots=True, eq=False)
class OpenCall:
    """A call whose result has not come."""

    index: int  # of the message that makes it
    place: int  # which of that message's calls it is; -1: one that the provider runs itself
    id: str | None
    stand_in: Part | None = None  # what stands in its result's place, once the step is over

    @property
    def is_server_side(self) -> bool:
        return self.place < 0


class Unit:
    """A question, or one AI message with its results.

    A human message that brings results beside its text is part of the step it answers, and begins a turn all the same.
    """

    __slots__ = ("begins_turn", "compacts", "is_question", "open_calls", "parts", "pinned", "question", "tokens")

    def __init__(self, part: Part, message: MessageTokens, question: Unit | None, *, is_question: bool = False) -> None:
        self.parts: list[Part] = []  # none once `oversize="drop"` has left it out
        self.tokens = 0  # what its parts add to the request
        self.pinned = False  # whether one of its messages is
        self.compacts = False  # whether it has the newest compaction block
        self.open_calls: list[OpenCall] = []
        self.is_question = self.begins_turn = is_question
        self.question = self if is_question else question  # of the turn it lies in; None before the first one
        self.add(part, message)

    @property
    def stays(self) -> bool:
        """Whether the cut leaves it in the window."""
        return self.pinned or self.compacts

    def add(self, part: Part, message: MessageTokens) -> None:
        self.parts.append(part)
        self.tokens += part.tokens
        self.pinned |= message.pinned
        if message.calls:
            self.open_calls += [OpenCall(part.index, place, each) for place, each in enumerate(message.calls)]
        if message.server_calls:
            self.open_calls += [OpenCall(part.index, -1, each) for each in message.server_calls]

    def questions(self) -> Iterator[Unit]:
        """Yield the questions it needs before it: of its turn, and where that is part of a step, of that step's."""
        unit = self
        while unit.question is not None and unit.question is not unit:
            unit = unit.question
            yield unit

    @property
    def held_tokens(self) -> int:
        """What of it is charged where it stays for its turn's sake, in tokens: of a question the first message."""
        return self.parts[0].tokens if self.is_question and not self.stays else self.tokens

    def keep_first(self) -> list[Part]:
        """Leave out all but the first message; return the others."""
        left = self.parts[1:]
        del self.parts[1:]
        self.tokens = self.parts[0].tokens
        return left

    def empty(self) -> list[Part]:
        """Leave out every message; return them."""
        left, self.parts, self.open_calls = self.parts, [], []
        self.tokens, self.pinned, self.compacts = 0, False, False
        return left

    def waits_for(self, results: Sequence[str | None]) -> bool:
        """Tell whether these results are the one that the only open call waits for."""
        if not len(self.open_calls) == len(results) == 1:
            return False
        call = self.open_calls[0]
        return call.id == results[0] and call.stand_in is None and not call.is_server_side

    @property
    def unanswered(self) -> list[OpenCall]:
        """The calls that neither a result nor a stand-in has answered."""
        return [call for call in self.open_calls if call.stand_in is None]

    def answer(self, part: Part, calls: Sequence[OpenCall]) -> int:
        """Take results in, behind the others or in the place of their stand-ins; return what that adds, in tokens."""
        replaced = [call.stand_in for call in calls if call.stand_in is not None]
        self.open_calls = [call for call in self.open_calls if call not in calls]
        if replaced:
            part.at = replaced[0].at
            self.parts[self.parts.index(replaced[0])] = part
            self.parts = [each for each in self.parts if each not in replaced]
        else:
            self.parts.append(part)
        added = part.tokens - tokens_of(replaced)
        self.tokens += added
        return added

    def state(self, places: dict[int, int]) -> list[Any]:
        """Return it as JSON can hold it, its question by its place among the units."""
        kind = self.is_question + self.begins_turn
        calls = [
            [call.index, call.place, call.id, -1 if call.stand_in is None else self.parts.index(call.stand_in)]
            for call in self.open_calls
        ]
        parts = [part.state() for part in self.parts]
        return [places.get(id(self.question), -1), kind, self.pinned, self.compacts, calls, parts]

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> Unit:
        """Return the unit without its question."""
        self = cls.__new__(cls)
        _, kind, self.pinned, self.compacts, calls, parts = state
        self.is_question, self.begins_turn = kind > 1, kind > 0
        self.question = None
        self.parts = list(map(Part.from_state, parts))
        self.tokens = tokens_of(self.parts)
        self.open_calls = [
            OpenCall(index, place, each, None if stand_in < 0 else self.parts[stand_in])
            for index, place, each, stand_in in calls
        ]
        return self


def units_from_state(states: Sequence[Sequence[Any]]) -> list[Unit]:
    """Return units with their questions, from what `Unit.state` made of each."""
    units = [Unit.from_state(state) for state in states]
    for unit, (place, *_) in zip(units, states, strict=True):
        unit.question = units[place] if place >= 0 else None
    return units


def parts_of(units: Iterable[Unit]) -> Iterator[Part]:
    """Return the parts of units, in order."""
    return (part for unit in units for part in unit.parts)


def tokens_of(these: Iterable[Unit | Part]) -> int:
    """Return what units or parts add to the request, in tokens."""
    return sum(each.tokens for each in these)
