"""The cut: a conversation replayed message by message, and the window it has come to.

Pure: numbers in, numbers out. Nothing here knows a text, a model, a clock or a store, so the same few hundred lines
serve every surface and can be tested by laws alone. Testing the budget only before model calls, or only after replies,
would make the window depend on who looked when.
"""

from __future__ import annotations

from collections import deque
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langchain_tokenbuffer._window.budget import MessageTokens, Window
from langchain_tokenbuffer._window.shrinking import shrink_parts
from langchain_tokenbuffer._window.units import Part, Unit, parts_of, tokens_of, units_from_state
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_tokenbuffer._window.budget import Budget

RULE = 2
"""The number of this rule. It belongs to what is stored of a window: a release that decides otherwise counts it up, and
computes stored windows anew."""

FIXED_PART = "the fixed part of the request"
"""Its name among what the tokens of an error are made of."""


class _Candidate(NamedTuple):
    """A place the cut could move to, with rest(k) and tail(k) in tokens."""

    position: int
    unit: Unit
    rest: int
    tail: int


class Replay:
    """A conversation replayed message by message, and the window it has come to.

    Only what is still in the window is held. `push` never raises for reasons of budget: a message that did not fit in
    the past must not raise again, so `kept` raises for the last one alone.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.count = 0  # the index of the next message
        self.changed = 0  # the first index that the last push took out or shortened; `count` if there is none
        self.clamped: dict[int, int] = {}  # index to tokens; replaced, never changed
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
        self._dropping: Literal["", "unit", "turn"] = ""

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
    def append_only(self) -> bool:
        """Whether the next message, if it fits, changes nothing but the sum."""
        return self._question is not None and not self._dropping

    def rebase(self, budget: Budget) -> None:
        """Take another budget from the next message on."""
        self.budget = budget

    def push(self, message: MessageTokens, min_tokens: Callable[[int], int], at: int | None = None) -> list[int]:
        """Take the next message in and move the cut if the budget is passed; `at` is its index if some are missing.

        Returns the indices that left the window, in no order; its own if it was left out at once. `min_tokens` is asked
        for the smallest clamp of the message at an index, where messages must stay and do not fit.
        """
        left: list[int] = []
        self.shortage = self.drop_error = None
        if not self.budget.turns:
            message = MessageTokens("human", message.tokens)
        index = self.count if at is None else at
        part = Part(index, message.kind, message.tokens, message.clamped_tokens)
        self.count = self.changed = index + 1
        if self._head_open and part.kind == "system":
            self._head.append(index)
            self._head_tokens += part.tokens
        else:
            self._head_open = False
            self._place(part, message, left)
        if self.tokens > self.budget.max_tokens:
            self._make_room(left, min_tokens)
        if left:
            self.changed = min(self.changed, *left)
            self._unlist_clamped(left)
        return left

    def skip_to(self, index: int) -> None:
        """Let the next message be the one at an index: those between are missing."""
        self.count = index

    def window(self) -> Window:
        """Return the window after the last message, or raise as `kept` does. O(conversation)."""
        kept = self.kept()
        inside = set(kept)
        return Window(
            kept=tuple(kept),
            dropped=tuple(i for i in range(self.count) if i not in inside),
            clamped=dict(self.clamped),
            cut=self.cut,
            tokens=self.tokens - self.budget.slack,
        )

    def kept(self) -> list[int]:
        """Return what is in the window, in order; raise `shortage` if there is one. O(window)."""
        if self.shortage is not None:
            raise self.shortage
        return self._head + [part.index for part in self._parts()]

    @property
    def kept_before_cut(self) -> list[int]:
        """The indices in the window that lie before the cut: the head and rest(cut)."""
        return self._head + [part.index for part in parts_of(self._pinned)]

    def tokens_from(self, index: int) -> int:
        """Return what the window's messages from an index behind the head on cost, in tokens.

        O(these messages) behind the cut; O(rest(cut)) before it.
        """
        if index <= self.cut:
            return self._tail_tokens + sum(part.tokens for part in parts_of(self._pinned) if part.index >= index)
        newest_first = chain.from_iterable(reversed(unit.parts) for unit in reversed(self._tail))
        return sum(part.tokens for part in takewhile(lambda part: part.index >= index, newest_first))

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
            self._dropping,
            [unit.state(places) for unit in units],
        ]

    @classmethod
    def from_state(cls, budget: Budget, state: Sequence[Any]) -> Replay:
        """Return the replay that `state` was taken of, under the budget it had."""
        self = cls(budget)
        self.count, head, (pinned, tail), question, self._dropping, states = state
        self._head, self._head_tokens, self._head_open = head
        units = units_from_state(states)
        self._pinned, self._tail = units[:pinned], deque(units[pinned : pinned + tail])
        self._question = units[question] if question >= 0 else None
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
        self.clamped = {part.index: part.tokens for part in self._parts() if part.tokens < part.full}

    def _unlist_clamped(self, left: list[int]) -> None:
        if self.clamped:
            gone = set(left)
            self.clamped = {index: tokens for index, tokens in self.clamped.items() if index not in gone}

    def _place(self, part: Part, message: MessageTokens, left: list[int]) -> None:
        """Give the message its unit and its turn."""
        if part.kind == "human":
            if self._question is None:
                self._drop_preamble(left)
            self._question = Unit(part, message, None)
            self._begin_unit(self._question)
        elif self._dropping == "turn" or (self._dropping == "unit" and part.kind != "ai"):
            left.append(part.index)
            return
        elif part.kind == "ai" or not self._tail:
            self._begin_unit(Unit(part, message, self._question))
        else:
            self._tail[-1].add(part, message)
            self._join()
        self._tail_tokens += part.tokens
        if part.tokens < part.full:
            self.clamped = {**self.clamped, part.index: part.tokens}

    def _begin_unit(self, unit: Unit) -> None:
        self._dropping = ""
        self._tail.append(unit)

    def _drop_preamble(self, left: list[int]) -> None:
        """Providers want a human message first, so what came before the first one leaves."""
        left += [part.index for part in self._parts()]
        self._pinned.clear()
        self._tail.clear()
        self._add_up()

    def _join(self) -> None:
        """Join a step that has more results than calls to the step whose calls they answer.

        Never across the cut: what lies before it has left, and the cut never moves back.
        """
        tail = self._tail
        while len(tail) > 1 and tail[-1].results > tail[-1].calls:
            unit, before = tail[-1], tail[-2]
            if unit.is_question or before.is_question or not before.parts:
                return
            before.absorb(tail.pop())

    # --- making room ---

    def _make_room(self, left: list[int], min_tokens: Callable[[int], int]) -> None:
        """Move the cut to the first candidate that fits; else keep the newest unit and shorten it."""
        position = self._best_cut()
        if position is not None:
            self._cut_at(position, left)
            return
        if self._tail:
            self._cut_at(len(self._tail) - 1, left)
        if not (self._fits() or self._clamp(min_tokens) or self._drop_newest(left, min_tokens)):
            self.shortage = self._explain(min_tokens)

    def _fits(self) -> bool:
        """Tell whether what must stay fits, the slack included."""
        return self.tokens <= self.budget.max_tokens + self.budget.slack

    def _best_cut(self) -> int | None:
        """Find where the cut goes while whole units can make room.

        In order: a question below the low-water mark, a step of the current turn below it, the current turn's question
        if that fits at all, a step of it that fits at all. Steps of the current turn lie behind every question, so one
        pass finds the first of the first two and remembers the first of the others.
        """
        budget = self.budget
        fallback: int | None = None
        for place in self._candidates():
            current = place.unit.question is self._question
            if not (place.unit.is_question or current):
                continue
            room = budget.max_tokens - budget.fixed - self._head_tokens - place.rest
            if place.tail <= budget.trim_to * room:
                return place.position
            if fallback is None and current and place.tail <= room:
                fallback = place.position
        return fallback

    def _candidates(self) -> Iterator[_Candidate]:
        """Yield every unit beyond the cut with rest(k) and tail(k), in tokens."""
        rest, tail = 0, self._tail_tokens
        held: Unit | None = None  # the last question that a pin holds

        def pass_by(unit: Unit) -> None:
            nonlocal rest, held
            if not unit.pinned:
                return
            rest += unit.tokens
            if unit.question is not None and unit.question is not held:
                held = unit.question
                if not unit.is_question:
                    rest += held.parts[0].tokens

        for unit in self._pinned:
            pass_by(unit)
        for position, unit in enumerate(self._tail):
            if position:
                question = unit.question
                owed = None if unit.is_question or question is held else question
                extra = owed.parts[0].tokens if owed is not None else 0
                yield _Candidate(position, unit, rest + extra, tail)
            pass_by(unit)
            tail -= unit.tokens

    def _cut_at(self, position: int, left: list[int]) -> None:
        """Move the cut there; pinned units and the questions they hold stay behind.

        O(what the cut passes and what is pinned), however large the window.
        """
        passed = [self._tail.popleft() for _ in range(position)]
        self._tail_tokens -= tokens_of(passed)
        before = [*self._pinned, *passed]
        # By identity: units are not compared by value.
        held = {id(unit.question) for unit in before if unit.pinned} | {id(self._tail[0].question)}
        self._pinned = []
        for unit in before:
            if unit.pinned:
                self._pinned.append(unit)
            elif unit.is_question and id(unit) in held:
                left += unit.keep_first()
                self._pinned.append(unit)
            else:
                left += [part.index for part in unit.parts]
        self._pinned_tokens = tokens_of(self._pinned)

    def _drop_newest(self, left: list[int], min_tokens: Callable[[int], int]) -> bool:
        """Leave the newest unit out whole, if that is allowed; a question takes its turn with it.

        Its place stays, empty: what comes next lies beyond the cut, not at it.
        """
        if not (self.budget.may_drop and self._tail and self._tail[-1].parts):
            return False
        self.drop_error = self._explain(min_tokens)
        unit = self._tail[-1]
        self._dropping = "turn" if unit.is_question else "unit"
        self._tail_tokens -= unit.tokens
        left += unit.empty()
        return self._fits()

    def _clamp(self, min_tokens: Callable[[int], int]) -> bool:
        """Shorten what must stay until all fits, if that is allowed.

        Down to the low-water mark where the smallest clamps allow it, so that the next message does not clamp again,
        else to `max_tokens`, else into the slack.
        """
        budget, most = self.budget, self.budget.max_tokens
        if budget.oversize != "clamp":
            return False
        stays = budget.fixed + self._head_tokens
        low = stays + int(budget.trim_to * (most - stays))
        parts = [part for part in self._parts() if part.kind != "system"]
        floors = [min(part.tokens, min_tokens(part.index)) for part in parts]
        for target in (min(low, most), most, most + budget.slack):
            clamped = shrink_parts(parts, floors, self.tokens - target)
            if clamped is not None:
                self._shorten(parts, clamped)
                return True
        return False

    def _shorten(self, parts: Sequence[Part], clamped: Sequence[int]) -> None:
        for part, tokens in zip(parts, clamped, strict=True):
            if tokens < part.tokens:
                self.changed = min(self.changed, part.index)
            part.tokens = tokens
        for unit in self._units():
            unit.tokens = sum(part.tokens for part in unit.parts)
        self._add_up()
        self._list_clamped()

    def _explain(self, min_tokens: Callable[[int], int]) -> TokenBudgetError:
        """Say what must stay, what it needs, and what to do."""
        budget = self.budget
        clamps = budget.oversize == "clamp"

        def least(part: Part) -> int:
            shortens = clamps and part.kind != "system"
            return min(part.tokens, min_tokens(part.index)) if shortens else part.tokens

        pinned, newest = "what is pinned", "the question"
        if not any(unit.is_question for unit in self._tail):
            pinned, newest = "the question and what is pinned", "the newest step"
        made_of = {
            "the system messages": self._head_tokens,
            pinned: sum(map(least, parts_of(self._pinned))),
            newest: sum(map(least, parts_of(self._tail))),
            FIXED_PART: budget.fixed - budget.slack,
        }
        return TokenBudgetError.of(made_of, budget.max_tokens, clamped=clamps)
