"""Results find their calls: what of a window is out of order, and where it stands instead.

Looks only at what is in the window when a message comes. Mending the whole conversation first would rewrite a past that
was decided on, and bring back what had left.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from langchain_tokenbuffer._messages.slots import Piece, StandIn
from langchain_tokenbuffer._messages.violations import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from langchain_tokenbuffer._window.budget import MessageTokens
    from langchain_tokenbuffer._window.units import OpenCall, Part, Unit


class Answer(NamedTuple):
    """A result of a message and the call it answers."""

    result: int  # which of the message's results
    unit: Unit
    call: OpenCall


class Mending:
    """What of one window stands elsewhere than it came, or is made."""

    def __init__(self) -> None:
        self.strays: list[int] = []  # indices behind the cut that left because their call is not in the window
        self.moved: list[Part] = []  # results that stand behind a call further up
        self._units: list[Unit] = []  # with stand-ins, which late results may still replace
        self._pieces: Counter[int] = Counter()  # of messages that are not whole: how many pieces the window has

    @classmethod
    def of(cls, units: Iterable[Unit], strays: Sequence[int]) -> Mending:
        """Return what the units of a window tell."""
        self = cls()
        self.strays = list(strays)
        for unit in units:
            self.note(unit, unit.parts)
        return self

    def note(self, unit: Unit, parts: Iterable[Part]) -> None:
        """Take note of new parts of a unit."""
        for part in parts:
            if part.is_moved:
                self.moved.append(part)
            if isinstance(part.slot, Piece):
                self._pieces[part.slot.index] += 1
            elif isinstance(part.slot, StandIn) and unit not in self._units:
                self._units.append(unit)

    def answers(self, message: MessageTokens, step: Unit | None) -> list[Answer]:
        """Return which calls a message answers: of each id the nearest, in one unit the first."""
        if step is not None and step.waits_for(message.results):  # most results
            return [Answer(0, step, step.open_calls[0])]
        found: list[Answer] = []
        for result, each in enumerate(message.results):
            taken = [answer.call for answer in found]
            calls = self._ai_answers(step) if message.kind == "ai" else self._tool_answers(step)
            unit_call = next(((unit, call) for unit, call in calls if call.id == each and call not in taken), None)
            if unit_call is not None:
                found.append(Answer(result, *unit_call))
        return found

    def _tool_answers(self, step: Unit | None) -> Iterator[tuple[Unit, OpenCall]]:
        """Yield the calls that a result may answer, the nearest first."""
        for unit in ([] if step is None else [step]) + self._units[::-1]:
            yield from ((unit, call) for call in unit.open_calls if not call.is_server_side)

    def _ai_answers(self, step: Unit | None) -> Iterator[tuple[Unit, OpenCall]]:
        """Yield the calls that an AI message may have the results of: those of the step it goes on with."""
        return ((step, call) for call in step.unanswered) if step is not None else iter(())

    def leave(self, parts: Iterable[Part]) -> list[int]:
        """Return the indices of messages of which nothing is left when these parts leave."""
        if not (self._units or self.moved or self._pieces):
            return [part.index for part in parts]  # all stand where they came
        return list(self._leave_one_by_one(parts))

    def _leave_one_by_one(self, parts: Iterable[Part]) -> Iterator[int]:
        for part in parts:
            slot = part.slot
            if part.is_moved:
                self.moved = [each for each in self.moved if each is not part]
                self.strays.append(part.index)
            if isinstance(slot, int):
                yield slot
            elif isinstance(slot, Piece):
                self._pieces[slot.index] -= 1
                if not self._pieces[slot.index]:
                    del self._pieces[slot.index]
                    yield slot.index

    def forget_before(self, cut: int) -> None:
        """Forget what lies before the cut, and units that have left."""
        self.strays = [index for index in self.strays if index >= cut]
        self._units = [unit for unit in self._units if unit.parts and unit.open_calls]

    def violations(self, units: Iterable[Unit]) -> tuple[Violation, ...]:
        """Return what was done about these units and what left, by index."""
        done = [Violation("orphan_result", index, "Left out: its call is not there.") for index in self.strays]
        if self.moved or self._units or self._pieces:
            done += [violation for unit in units for violation in _done(unit)]
        return tuple(sorted(done, key=lambda violation: violation.index))


def _done(unit: Unit) -> Iterator[Violation]:
    for call in unit.open_calls:
        if call.stand_in is not None:
            yield Violation("missing_result", call.index, f"Added a result for the call {call.id!r}.")
    for part in unit.parts:
        slot = part.slot
        if part.is_moved:
            yield Violation("orphan_result", part.index, "Moved behind its call.")
        if isinstance(slot, Piece) and slot.rest and slot.results is not None:
            yield Violation("orphan_result", slot.index, "Results without an open call left out.")
        if isinstance(slot, Piece) and slot.nameless:
            yield Violation("missing_result", slot.index, "Left out: a call without an id cannot be answered.")


def calls_left_open(open_calls: Sequence[str | None], message: MessageTokens) -> list[str | None] | None:
    """Return the calls that are open behind the next message; `None` if it is out of order or moves the cut by itself.

    While this holds and the budget does, a window changes by its sum alone; but with the first question leaves what
    came before.
    """
    left = list(open_calls)
    for each in message.results:
        if each not in left:
            return None
        left.remove(each)
    if message.kind in ("ai", "human"):
        if left:
            return None
        left = list(message.calls)
    elif message.kind == "tool" and not message.results:
        return None
    return None if message.compacts or message.server_calls else left
