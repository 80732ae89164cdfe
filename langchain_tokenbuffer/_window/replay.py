"""The cut: a conversation replayed message by message, and the window it has come to.

Pure: numbers in, numbers out. Nothing here knows a text, a model, a clock or a store, so every surface is served by it.
Testing the budget only before model calls, or only after replies, would make the window depend on who looked when.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any, Literal

from langchain_tokenbuffer._messages.slots import Piece, Slot, StandIn, index_of, messages_of
from langchain_tokenbuffer._window.budget import MessageTokens, Window
from langchain_tokenbuffer._window.clearing import clearable
from langchain_tokenbuffer._window.cut import best_cut
from langchain_tokenbuffer._window.mending import Mending
from langchain_tokenbuffer._window.shortage import shortage_of
from langchain_tokenbuffer._window.shrinking import shrink_parts
from langchain_tokenbuffer._window.units import Part, Unit, parts_of, tokens_of, units_from_state
from langchain_tokenbuffer.errors import NothingLeftError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tokenbuffer._messages.violations import Violation
    from langchain_tokenbuffer._window.budget import Budget, MessageSource
    from langchain_tokenbuffer._window.mending import Answer
    from langchain_tokenbuffer._window.units import OpenCall
    from langchain_tokenbuffer.errors import TokenBudgetError

RULE = 2
"""The number of this rule. It belongs to what is stored of a window: a release that decides otherwise counts it up, and
computes stored windows anew."""


class Replay:
    """A conversation replayed message by message, and the window it has come to.

    Only what is still in the window is held. `push` never raises for reasons of budget: a message that did not fit in
    the past must not raise again, so `slots` raises for the last one alone.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.count = 0  # the index of the next message
        self.changed = 0  # the first index that the last push took out or shortened; `count` if there is none
        self.clamped: dict[int, int] = {}  # index to tokens of what is shortened; replaced, never changed
        self.cleared: frozenset[int] = frozenset()  # of these, the results that are cleared
        self.shortage: TokenBudgetError | None = None  # why the last message does not fit, if nothing allowed helps
        self.drop_error: TokenBudgetError | None = None  # why the last push left a unit out, if it did
        self._head: list[int] = []
        self._head_tokens = 0
        self._head_open = budget.turns
        self._pinned: list[Unit] = []  # of what lies before the cut, what stays: rest(cut)
        self._pinned_tokens = 0
        self._tail: deque[Unit] = deque()  # everything from the cut on
        self._tail_tokens = 0
        self._question: Unit | None = None  # the current turn's
        self._user_wrote = False  # or only notifications came so far
        self._dropping: Literal["", "unit", "turn"] = ""
        self._mending = Mending()

    @property
    def tokens(self) -> int:
        """What the window costs now, with the fixed part, in tokens."""
        return self.budget.fixed + self.message_tokens

    @property
    def message_tokens(self) -> int:
        """What the messages of the window add up to, in tokens."""
        return self._head_tokens + self._pinned_tokens + self._tail_tokens

    @property
    def cut(self) -> int:
        """Where the tail begins; `count` when there is none."""
        return next((unit.parts[0].index for unit in self._tail if unit.parts), self.count)

    @property
    def open_calls(self) -> list[str | None] | None:
        """The calls that the next message may answer; `None` if it may change more than the sum, though it fits.

        See `calls_left_open`.
        """
        if not self._tail or self._dropping:
            return None
        calls = self._tail[-1].unanswered
        return None if any(call.is_server_side for call in calls) else [call.id for call in calls]

    @property
    def has_question(self) -> bool:
        """Whether a turn has begun. What comes before the first one leaves when that does."""
        return self._question is not None

    @property
    def strays(self) -> Sequence[int]:
        """The indices behind the cut that left because the call they answer is not in the window."""
        return self._mending.strays

    def rebase(self, budget: Budget) -> None:
        """Take another budget from the next message on."""
        self.budget = budget

    def push(self, message: MessageTokens, source: MessageSource, at: int | None = None) -> list[int]:
        """Take the next message in and move the cut if the budget is passed; `at` is its index if some are missing.

        Returns the indices that left the window, in no order; its own if it was left out at once. `source` is asked
        about messages where they must stay and do not fit, and where they are out of order.
        """
        left: list[int] = []
        self.shortage = self.drop_error = None
        if not self.budget.turns:
            message = MessageTokens("human", message.tokens)
        index = self.count if at is None else at
        self.count = self.changed = index + 1
        if self._head_open and message.kind == "system":
            self._head.append(index)
            self._head_tokens += message.clamped_tokens
        else:
            self._head_open = False
            self._place(index, message, source, left)
        if self.tokens > self.budget.max_tokens:
            self._make_room(left, source)
        if left:
            self.changed = min(self.changed, *left)
            self._unlist_clamped(left)
            if self._tail:
                self._mending.forget_before(self.cut)
        return left

    def skip_to(self, index: int) -> None:
        """Let the next message be the one at an index: those between are missing."""
        self.count = index

    def window(self) -> Window:
        """Return the window after the last message, or raise as `slots` does. O(conversation)."""
        kept = messages_of(self.slots())
        inside = set(kept)
        return Window(
            kept=kept,
            dropped=tuple(i for i in range(self.count) if i not in inside),
            clamped={index: tokens for index, tokens in self.clamped.items() if index not in self.cleared},
            cut=self.cut,
            tokens=self.tokens - self.budget.slack,
            mended=self.mended(),
            cleared=tuple(sorted(self.cleared)),
        )

    def mended(self) -> tuple[Violation, ...]:
        """Return what is out of order in the window, and what was done."""
        return self._mending.violations(self._units())

    def slots(self) -> list[Slot]:
        """Return what is in the window, in order. O(window).

        Raises:
            TokenBudgetError: `shortage`, if there is one.
            TokenBufferError: If all there was were results without a call.
        """
        if self.shortage is not None:
            raise self.shortage
        slots = self.all_slots()
        if not slots and self.strays and not self._dropping:
            raise NothingLeftError(len(self.strays))
        return slots

    def all_slots(self) -> list[Slot]:
        """Return what is in the window, in order, also where it does not fit. O(window)."""
        return [*self._head, *(part.slot for part in self._parts())]

    @property
    def kept_before_cut(self) -> list[int]:
        """The indices in the window that lie before the cut: the head and rest(cut)."""
        return [*self._head, *messages_of(part.slot for part in parts_of(self._pinned))]

    def tokens_from(self, index: int) -> int:
        """Return what the window has from an index behind the head on, where messages stand, in tokens.

        O(these messages) behind the cut; O(rest(cut)) before it.
        """
        if index <= self.cut:
            return self._tail_tokens + sum(part.tokens for part in parts_of(self._pinned) if part.at >= index)
        newest_first = chain.from_iterable(reversed(unit.parts) for unit in reversed(self._tail))
        return sum(part.tokens for part in takewhile(lambda part: part.at >= index, newest_first))

    def tokens_since(self, index: int) -> int:
        """Return what the window has of messages that came from an index behind the head on, in tokens."""
        moved = self._mending.moved
        return self.tokens_from(index) + sum(part.tokens for part in moved if part.at < index <= part.index)

    # --- as JSON ---

    def state(self) -> list[Any]:
        """Return all of it but the budget and what the last push did, as JSON can hold it.

        O(window), however long the conversation.
        """
        # With the question of every turn they are of: one that was left out keeps its place.
        units = list(self._units())
        places = {id(unit): place for place, unit in enumerate(units)}
        return [
            self.count,
            [list(self._head), self._head_tokens, self._head_open],
            [len(self._pinned), len(self._tail)],
            places.get(id(self._question), -1),
            self._user_wrote,
            self._dropping,
            list(self.strays),
            sorted(self.cleared),
            [unit.state(places) for unit in units],
        ]

    @classmethod
    def from_state(cls, budget: Budget, state: Sequence[Any]) -> Replay:
        """Return the replay that `state` was taken of, under the budget it had."""
        self = cls(budget)
        self.count, head, (pinned, tail), question, self._user_wrote, self._dropping, strays, cleared, states = state
        self._head, self._head_tokens, self._head_open = head
        self.cleared = frozenset(cleared)
        units = units_from_state(states)
        self._pinned, self._tail = units[:pinned], deque(units[pinned : pinned + tail])
        self._question = units[question] if question >= 0 else None
        self._mending = Mending.of(units, strays)
        self._add_up()
        self._list_clamped()
        self.changed = self.count
        return self

    # --- units ---

    def _units(self) -> Iterator[Unit]:
        return chain(self._pinned, self._tail)

    def _parts(self) -> Iterator[Part]:
        return parts_of(self._units())

    def _add_up(self) -> None:
        self._pinned_tokens = tokens_of(self._pinned)
        self._tail_tokens = tokens_of(self._tail)

    def _list_clamped(self) -> None:
        parts = (part for part in self._parts() if part.tokens < part.full)
        self.clamped = {part.slot: part.tokens for part in parts if isinstance(part.slot, int)}

    def _unlist_clamped(self, left: list[int]) -> None:
        if self.clamped:
            gone = set(left)
            self.clamped = {index: tokens for index, tokens in self.clamped.items() if index not in gone}
            self.cleared -= gone

    def _place(self, index: int, message: MessageTokens, source: MessageSource, left: list[int]) -> None:
        """Give the message its unit and its turn; results go to their calls."""
        if message.kind == "human" and self._question is None:
            self._drop_preamble(left)
        if self._is_left_out(message):
            left.append(index)
            return
        own, others = self._answers(message) if message.results else ([], [])
        self._place_results(index, message, others, source)
        if message.kind != "tool":
            self._close(message, own, index, source)
            self._place_rest(index, message, own, source)
        elif not others:
            left.append(index)
            if not self._dropping:
                self._mending.strays.append(index)
        if message.compacts:
            self._begin_at_newest(left)

    def _answers(self, message: MessageTokens) -> tuple[list[Answer], list[Answer]]:
        """Return which calls a message answers: those of the step it becomes a part of, and others."""
        step = self._tail[-1] if self._tail else None
        answers = self._mending.answers(message, step)
        if message.kind == "tool":
            return [], answers
        own = [answer for answer in answers if answer.unit is step and answer.call.stand_in is None]
        return own, [answer for answer in answers if answer not in own]

    def _is_left_out(self, message: MessageTokens) -> bool:
        """Tell whether a message belongs to what `oversize="drop"` left out. Results may belong to another step."""
        if self._dropping == "turn":
            return message.kind != "tool" and not self._begins_turn(message)
        return self._dropping == "unit" and message.kind in ("system", "other")

    def _begins_turn(self, message: MessageTokens) -> bool:
        """Tell whether a message is a question: a notification is none, unless no user wrote before it."""
        return message.kind == "human" and not (message.is_notification and self._user_wrote)

    def _place_results(
        self, index: int, message: MessageTokens, answers: Sequence[Answer], source: MessageSource
    ) -> None:
        """Put results behind their calls: a message whole where all its calls are one unit's, else in pieces."""
        for unit in dict.fromkeys([answer.unit for answer in answers]):
            those = [answer for answer in answers if answer.unit is unit]
            is_whole = message.kind == "tool" and len(those) == len(message.results)
            slot = index if is_whole else Piece(index, tuple(answer.result for answer in those), rest=False)
            part = Part.of(slot, index, message, source, "tool")
            self._add_tokens(unit, unit.answer(part, [answer.call for answer in those]))
            unit.pinned |= message.pinned
            self._note(unit, part, source)

    def _place_rest(self, index: int, message: MessageTokens, own: Sequence[Answer], source: MessageSource) -> None:
        """Place what is no result: in a unit of its own, or in the step that its results belong to."""
        slot: Slot = index
        if len(own) < len(message.results):
            slot = Piece(index, tuple(answer.result for answer in own))
        part = Part.of(slot, index, message, source)
        begins_turn = message.kind == "human" and self._begins_turn(message)
        if own:
            unit = own[0].unit
            unit.open_calls = [call for call in unit.open_calls if all(call is not answer.call for answer in own)]
            unit.add(part, message)
            unit.begins_turn |= begins_turn
        elif message.kind in ("ai", "human") or not self._tail:
            unit = Unit(part, message, self._question, is_question=begins_turn)
            self._tail.append(unit)
            self._dropping = ""
        else:
            unit = self._tail[-1]
            unit.add(part, message)
        self._tail_tokens += part.tokens
        self._note(unit, part, source)
        if begins_turn:
            self._question = unit
            self._user_wrote |= not message.is_notification

    def _note(self, unit: Unit, part: Part, source: MessageSource) -> None:
        slot = part.slot
        if part.tokens < part.full and isinstance(slot, int):
            self.clamped = {**self.clamped, slot: part.tokens}
            if self.budget.clear_results and part.kind == "tool" and part.tokens <= part.min_tokens(source):
                self.cleared |= {slot}
        if slot != part.at:  # few stand elsewhere than they came
            self._mending.note(unit, [part])
            self.changed = min(self.changed, part.at)

    def _add_tokens(self, unit: Unit, tokens: int) -> None:
        if unit in self._pinned:
            self._pinned_tokens += tokens
        else:
            self._tail_tokens += tokens

    def _close(self, message: MessageTokens, own: Sequence[Answer], index: int, source: MessageSource) -> None:
        """Let stand-ins answer the calls of the step that is over, if the message at an index ends it."""
        if message.kind not in ("ai", "human") or not self._tail or not self._tail[-1].open_calls:
            return
        step, answered = self._tail[-1], [answer.call for answer in own]
        step.open_calls = [call for call in step.open_calls if not call.is_server_side or call in answered]
        for call in step.unanswered:
            if call in answered:
                continue
            slot = StandIn(call.index, call.place)
            tokens = source.mended_tokens(slot)
            if tokens is None:
                self._leave_call_out(step, call, source)
                continue
            call.stand_in = Part(slot, "tool", tokens, tokens, index, index)
            step.parts.append(call.stand_in)
            step.tokens += tokens
            self._tail_tokens += tokens
            self._mending.note(step, [call.stand_in])
            self.changed = index

    def _leave_call_out(self, step: Unit, call: OpenCall, source: MessageSource) -> None:
        """Leave a call out of its message: without an id nothing can answer it."""
        step.open_calls.remove(call)
        part = next(each for each in step.parts if index_of(each.slot) == call.index)
        if isinstance(part.slot, Piece):
            part.slot = replace(part.slot, nameless=part.slot.nameless + 1)
        else:
            self._unlist_clamped([call.index])
            part.slot = Piece(call.index, None, nameless=1)
            self._mending.note(step, [part])
        tokens = source.mended_tokens(part.slot) or 0
        self._tail_tokens += tokens - part.tokens
        step.tokens += tokens - part.tokens
        part.full = part.tokens = tokens
        self.changed = min(self.changed, part.at)

    def _drop_preamble(self, left: list[int]) -> None:
        """Providers want a human message first, so what came before the first one leaves."""
        left += self._mending.leave(self._parts())
        self._pinned.clear()
        self._tail.clear()
        self._mending = Mending()
        self._add_up()

    def _begin_at_newest(self, left: list[int]) -> None:
        """Let the window begin at the newest unit, which stands for all before it; an older one's pin ends."""
        for unit in self._units():
            unit.compacts = False
        self._tail[-1].compacts = True
        self._cut_at(len(self._tail) - 1, left)

    # --- making room ---

    def _make_room(self, left: list[int], source: MessageSource) -> None:
        """Move the cut to the first candidate that fits; else keep the newest unit and shorten it."""
        room = self.budget.max_tokens - self.budget.fixed - self._head_tokens
        if self.budget.clear_results and self._clear(room, source):
            return
        if (position := self._best_cut(room)) is not None:
            self._cut_at(position, left)
            return
        if self._tail:
            self._cut_at(len(self._tail) - 1, left)
        if not (self._fits() or self._clamp(source) or self._drop_newest(left, source)):
            self.shortage = self._explain(source)

    def _best_cut(self, room: int) -> int | None:
        return best_cut(self._pinned, self._tail, self._question, room, self.budget.trim_to)

    def _clear(self, room: int, source: MessageSource) -> bool:
        """Clear results before the place where the cut would go; tell whether that comes below the low-water mark."""
        low = self.budget.max_tokens - room + self.budget.trim_to * room
        cleared, position = set(self.cleared), self._best_cut(room)
        for unit, part in clearable(self._pinned, self._tail, position, room):
            if self.tokens <= low:
                break
            if (fewest := part.min_tokens(source)) < part.tokens:
                self._charge(unit, part, fewest)
                cleared.add(index_of(part.slot))
        self._list_clamped()
        self.cleared = frozenset(cleared)
        return self.tokens <= low

    def _charge(self, unit: Unit, part: Part, tokens: int) -> None:
        """Charge fewer tokens for a part than before."""
        self._add_tokens(unit, tokens - part.tokens)
        unit.tokens += tokens - part.tokens
        part.tokens = tokens
        self.changed = min(self.changed, part.at)

    def _fits(self) -> bool:
        """Tell whether what must stay fits, the slack included."""
        return self.tokens <= self.budget.max_tokens + self.budget.slack

    def _cut_at(self, position: int, left: list[int]) -> None:
        """Move the cut there; pinned units and the questions they hold stay behind.

        O(what the cut passes and what is pinned), however large the window.
        """
        passed = [self._tail.popleft() for _ in range(position)]
        self._tail_tokens -= tokens_of(passed)
        before = [*self._pinned, *passed]
        # By identity: units are not compared by value.
        held = {id(question) for unit in before if unit.stays for question in unit.questions()}
        held |= {id(question) for question in self._tail[0].questions()}
        self._pinned = []
        for unit in before:
            if unit.stays:
                self._pinned.append(unit)
            elif id(unit) in held:
                if unit.is_question:
                    left += self._mending.leave(unit.keep_first())
                self._pinned.append(unit)
            else:
                left += self._mending.leave(unit.empty())
        self._pinned_tokens = tokens_of(self._pinned)

    def _drop_newest(self, left: list[int], source: MessageSource) -> bool:
        """Leave the newest unit out whole, if that is allowed; a question takes its turn with it.

        Its place stays, empty: what comes next lies beyond the cut, not at it.
        """
        if not (self.budget.may_drop and self._tail and self._tail[-1].parts):
            return False
        self.drop_error = self._explain(source)
        unit = self._tail[-1]
        self._dropping = "turn" if unit.begins_turn else "unit"
        self._tail_tokens -= unit.tokens
        left += self._mending.leave(unit.empty())
        return self._fits()

    def _clamp(self, source: MessageSource) -> bool:
        """Shorten what must stay until all fits, if that is allowed.

        Down to the low-water mark where the smallest clamps allow it, so that the next message does not clamp again,
        else to `max_tokens`, else into the slack.
        """
        budget, most = self.budget, self.budget.max_tokens
        if budget.oversize != "clamp":
            return False
        stays = budget.fixed + self._head_tokens
        low = stays + int(budget.trim_to * (most - stays))
        parts = [(unit, part) for unit in self._units() for part in unit.parts if part.kind != "system"]
        floors = [part.min_tokens(source) for _, part in parts]
        for target in (min(low, most), most, most + budget.slack):
            clamped = shrink_parts([part for _, part in parts], floors, self.tokens - target)
            if clamped is not None:
                for (unit, part), tokens in zip(parts, clamped, strict=True):
                    if tokens < part.tokens:
                        self._charge(unit, part, tokens)
                self._list_clamped()
                return True
        return False

    def _explain(self, source: MessageSource) -> TokenBudgetError:
        return shortage_of(self.budget, self._head_tokens, self._pinned, self._tail, source)
