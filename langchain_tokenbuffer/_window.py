"""Which messages of a conversation stay within a token budget.

Pure: numbers in, numbers out. Nothing here knows a text, a model, a clock or a store, so the same
few hundred lines serve every surface and can be tested by laws alone.

The cut is the *replay* of the conversation, message by message (`Replay.push`). Testing only
before model calls, or only after replies, would make the window depend on who looked when.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_tokenbuffer._messages.kinds import Kind

Oversize: TypeAlias = Literal["clamp", "raise", "drop"]


class Sized(NamedTuple):
    """One message in numbers: what it is, what it costs (tokens), how many tools it calls.

    `clamped` is the size it was clamped to by a replay whose earlier messages are deleted since.
    """

    kind: Kind
    cost: int
    calls: int = 0
    pinned: bool = False
    clamped: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What a window may cost and what happens when it cannot.

    Attributes:
        max_tokens: High-water mark, in tokens: a window never costs more.
        trim_to: Low-water mark in (0, 1]: the share of what `max_tokens` leaves to the tail that
            the tail takes after the cut has moved.
        fixed: What the request costs beside its messages, in tokens.
        slack: How much of `fixed` is only rounding, in tokens; what must stay may take it when
            it does not fit otherwise.
        oversize: `"clamp"`, `"raise"` or `"drop"`.
        else_drop: Leave out what not even clamping fits, instead of raising.
        turns: Whether turns and steps are the units. `False`: single messages are the units,
            nothing is pinned, the window may be empty.
    """

    max_tokens: int
    trim_to: float = 0.6
    fixed: int = 0
    slack: int = 0
    oversize: Oversize = "clamp"
    else_drop: bool = False
    turns: bool = True


@dataclass(frozen=True, slots=True)
class Window:
    """What the model sees of a conversation, by index into it.

    Attributes:
        kept: Indices of the messages in the window, in order.
        dropped: Indices of all the others, in order.
        clamped: Index to size in tokens of the kept messages whose text is shortened to that size.
        cut: Index at which the window's tail begins: from here on every message is kept, unless
            `oversize="drop"` left it out. The length of the conversation when there is no tail.
        tokens: What the window costs, with the fixed part of the request.
        thinned: Indices of the kept AI messages whose stale thinking blocks are left out.
    """

    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    clamped: dict[int, int] = field(hash=False)
    cut: int
    tokens: int
    thinned: tuple[int, ...] = ()


class _Part:
    """One message of a unit; `cost` falls below `full` when it is clamped."""

    __slots__ = ("cost", "full", "index", "kind")

    def __init__(self, index: int, kind: Kind, cost: int) -> None:
        self.index = index
        self.kind = kind
        self.cost = cost
        self.full = cost


class _Unit:
    """A human message, or one AI message with its results: what stays or goes as a whole."""

    __slots__ = ("calls", "cost", "human", "is_human", "parts", "pinned", "results")

    def __init__(self, part: _Part, sized: Sized, human: _Unit | None) -> None:
        self.parts = [part]
        self.cost = part.cost
        self.is_human = part.kind == "human"
        self.human = human  # its turn's human message, itself included
        self.pinned = sized.pinned
        self.calls = sized.calls
        self.results = int(part.kind == "tool")

    def add(self, part: _Part, sized: Sized) -> None:
        self.parts.append(part)
        self.cost += part.cost
        self.pinned |= sized.pinned
        self.results += part.kind == "tool"

    def empty(self) -> None:
        self.parts = []
        self.cost = self.calls = self.results = 0
        self.pinned = False

    def absorb(self, other: _Unit) -> None:
        self.parts += other.parts
        self.cost += other.cost
        self.pinned |= other.pinned
        self.calls += other.calls
        self.results += other.results

    def state(self, places: dict[int, int]) -> list[Any]:
        parts = [[part.index, part.kind, part.cost, part.full] for part in self.parts]
        human = places.get(id(self.human), -1)
        return [human, self.is_human, self.pinned, self.calls, self.results, parts]

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> _Unit:
        self = cls.__new__(cls)
        _, self.is_human, self.pinned, self.calls, self.results, parts = state
        self.parts = []
        for index, kind, cost, full in parts:
            part = _Part(index, kind, full)
            part.cost = cost
            self.parts.append(part)
        self.cost = sum(part.cost for part in self.parts)
        return self


class _Place(NamedTuple):
    """A place the cut could move to, with rest(k) and tail(k) in tokens."""

    position: int
    unit: _Unit
    rest: int
    tail: int


class Replay:
    """A conversation lived through message by message, and the window it has come to.

    Only what is still in the window is held. `push` never raises for reasons of budget: a message
    that did not fit in the past must not raise again, so `window` raises for the last one alone.
    """

    __slots__ = (
        "_dropping",
        "_head",
        "_head_cost",
        "_head_open",
        "_human",
        "_rest",
        "_rest_cost",
        "_shortage",
        "_tail",
        "_tail_cost",
        "budget",
        "changed",
        "count",
        "left_out",
        "strained",
    )

    def __init__(self, budget: Budget) -> None:
        """Begin before the first message."""
        self.budget = budget
        self.count = 0
        self._head: list[int] = []
        self._head_cost = 0
        self._head_open = budget.turns
        self._rest: list[_Unit] = []  # of what lies before the cut, what stays
        self._rest_cost = 0
        self._tail: deque[_Unit] = deque()  # everything from the cut on
        self._tail_cost = 0
        self._human: _Unit | None = None  # the current turn's
        self._dropping: Literal["", "unit", "turn"] = ""
        self._shortage: TokenBudgetError | None = None
        self.left_out: TokenBudgetError | None = None  # why the last push left a unit out
        self.changed = 0  # the first index the last push took out or resized; `count`: none
        self.strained = False  # whether a message ever needed the slack

    @property
    def tokens(self) -> int:
        """What the window costs now, with the fixed part, in tokens."""
        return self.budget.fixed + self._head_cost + self._rest_cost + self._tail_cost

    @property
    def cut(self) -> int:
        """Where the tail begins; `count` when there is none."""
        return next((unit.parts[0].index for unit in self._tail if unit.parts), self.count)

    def push(self, sized: Sized, floor: Callable[[int], int]) -> list[int]:
        """Live through the next message and move the cut if the budget is passed.

        Args:
            sized: The message in numbers.
            floor: The smallest size, in tokens, to which the message at an index can be clamped.
                Asked only of messages that must stay and do not fit.

        Returns:
            The indices that left the window, in no order; the message's own among them if it was
            left out at once.
        """
        left: list[int] = []
        self._shortage = self.left_out = None
        if not self.budget.turns:
            sized = Sized("human", sized.cost)
        part = _Part(self.count, sized.kind, sized.cost)
        if sized.clamped is not None:
            part.cost = min(sized.cost, sized.clamped)
        self.count += 1
        self.changed = self.count
        if self._head_open and sized.kind == "system":
            self._head.append(part.index)
            self._head_cost += part.cost
        else:
            self._head_open = False
            self._place(part, sized, left)
        if self.tokens > self.budget.max_tokens:
            self._move(left, floor)
        self.changed = min([self.changed, *left])
        return left

    def window(self) -> Window:
        """Return the window after the last message.

        Raises:
            TokenBudgetError: If the last message does not fit and nothing allowed makes it fit.
        """
        kept, clamped = self.kept()
        inside = set(kept)
        return Window(
            kept=tuple(kept),
            dropped=tuple(i for i in range(self.count) if i not in inside),
            clamped=clamped,
            cut=self.cut,
            tokens=self.tokens - self.budget.slack,
        )

    def kept(self) -> tuple[list[int], dict[int, int]]:
        """Return what is in the window and the sizes of what is clamped, without `window`'s rest.

        Costs the window, however long the conversation.

        Raises:
            TokenBudgetError: As `window` does.
        """
        if self._shortage is not None:
            raise self._shortage
        parts = [part for unit in self._units() for part in unit.parts]
        kept = self._head + [part.index for part in parts]
        return kept, {part.index: part.cost for part in parts if part.cost < part.full}

    @property
    def held(self) -> list[int]:
        """The indices in the window that lie before the cut: the head and rest(cut)."""
        return self._head + [part.index for unit in self._rest for part in unit.parts]

    def cost_from(self, index: int) -> int:
        """Return what the window's messages from an index on cost, in tokens.

        Costs those messages, however large the window.
        """
        cost = 0
        for unit in reversed(self._tail):
            for part in reversed(unit.parts):
                if part.index < index:
                    return cost
                cost += part.cost
        parts = (part for unit in self._rest for part in unit.parts)
        return cost + sum(part.cost for part in parts if part.index >= index)

    @property
    def steady(self) -> bool:
        """Whether the next message, if it fits, changes nothing but the sum."""
        return self._human is not None and not self._dropping

    def state(self) -> list[Any]:
        """Return all of it but the budget and what the last push said, as JSON can hold it.

        Costs the window, however long the conversation.
        """
        # With the question of every turn they are of: one that was left out keeps its place.
        units = list(self._units())
        places = {id(unit): place for place, unit in enumerate(units)}
        return [
            self.count,
            [list(self._head), self._head_cost, self._head_open, self.strained],
            [len(self._rest), len(self._tail)],
            places.get(id(self._human), -1),
            self._dropping,
            [unit.state(places) for unit in units],
        ]

    @classmethod
    def from_state(cls, budget: Budget, state: Sequence[Any]) -> Replay:
        """Return the replay that `state` was taken of, under the budget it had."""
        self = cls(budget)
        self.count, head, (rest, tail), human, self._dropping, plain = state
        self._head, self._head_cost, self._head_open, self.strained = head
        units = [_Unit.from_state(each) for each in plain]
        for unit, each in zip(units, plain, strict=True):
            unit.human = units[each[0]] if each[0] >= 0 else None
        self._rest, self._tail = units[:rest], deque(units[rest : rest + tail])
        self._rest_cost = sum(unit.cost for unit in self._rest)
        self._tail_cost = sum(unit.cost for unit in self._tail)
        self._human = units[human] if human >= 0 else None
        self.changed = self.count
        return self

    def _units(self) -> Iterator[_Unit]:
        yield from self._rest
        yield from self._tail

    def _place(self, part: _Part, sized: Sized, left: list[int]) -> None:
        """Give the message its unit and its turn."""
        if part.kind == "human":
            if self._human is None:
                self._forget_greeting(left)
            self._dropping = ""
            unit = _Unit(part, sized, None)
            unit.human = self._human = unit
            self._tail.append(unit)
        elif self._dropping == "turn" or (self._dropping == "unit" and part.kind != "ai"):
            left.append(part.index)
            return
        elif part.kind == "ai" or not self._tail:
            self._dropping = ""
            self._tail.append(_Unit(part, sized, self._human))
        else:
            self._tail[-1].add(part, sized)
            self._join()
        self._tail_cost += part.cost

    def _forget_greeting(self, left: list[int]) -> None:
        """Providers want a human message first, so what came before the first one leaves."""
        left += [part.index for unit in self._units() for part in unit.parts]
        self._rest.clear()
        self._tail.clear()
        self._rest_cost = self._tail_cost = 0

    def _join(self) -> None:
        """Join a step that has more results than calls to the step whose calls they answer.

        Never across the cut: what lies before it has left, and the cut never moves back.
        """
        tail = self._tail
        while len(tail) > 1 and tail[-1].results > tail[-1].calls:
            unit, before = tail[-1], tail[-2]
            if unit.is_human or before.is_human or not before.parts:
                return
            before.absorb(tail.pop())

    def _move(self, left: list[int], floor: Callable[[int], int]) -> None:
        """Move the cut to the first candidate that fits; else keep the newest unit and resize."""
        place = self._better_place()
        if place is not None:
            self._cut_at(place.position, left)
            return
        if self._tail:
            self._cut_at(len(self._tail) - 1, left)
        oversize = self.budget.oversize
        if self._fits_strained() or (oversize == "clamp" and self._clamp(floor)):
            return
        drops = oversize == "drop" or (oversize == "clamp" and self.budget.else_drop)
        if drops and self._tail and self._tail[-1].parts:
            self._leave_out(left, floor)
            if self.tokens <= self.budget.max_tokens or self._fits_strained():
                return
        self._shortage = self._explain(floor)

    def _fits_strained(self) -> bool:
        """Take the slack if that is all that is missing."""
        fits = self.tokens <= self.budget.max_tokens + self.budget.slack
        self.strained |= fits
        return fits

    def _better_place(self) -> _Place | None:
        """Find where the cut goes while whole units can make room.

        In order: a human message below the low-water mark, a step of the current turn below it,
        the current turn's human message if that fits at all, a step of it that fits at all. Steps
        of the current turn lie behind every human message, so one pass finds the first of the
        first two and remembers the first of the others.
        """
        budget = self.budget
        fallback: _Place | None = None
        for place in self._places():
            current = place.unit.human is self._human
            if not (place.unit.is_human or current):
                continue
            room = budget.max_tokens - budget.fixed - self._head_cost - place.rest
            if place.tail <= budget.trim_to * room:
                return place
            if fallback is None and current and place.tail <= room:
                fallback = place
        return fallback

    def _places(self) -> Iterator[_Place]:
        """Yield every unit beyond the cut with rest(k) and tail(k), in tokens."""
        rest, tail = 0, self._tail_cost
        held: _Unit | None = None  # the last human message that a pin holds

        def passed(unit: _Unit) -> None:
            nonlocal rest, held
            if unit.pinned:
                rest += unit.cost
                if unit.human is not None and unit.human is not held:
                    held = unit.human
                    if not unit.is_human:
                        rest += held.parts[0].cost

        for unit in self._rest:
            passed(unit)
        for position, unit in enumerate(self._tail):
            if position:
                human = unit.human
                owed = None if unit.is_human or human is held else human
                extra = owed.parts[0].cost if owed is not None else 0
                yield _Place(position, unit, rest + extra, tail)
            passed(unit)
            tail -= unit.cost

    def _cut_at(self, position: int, left: list[int]) -> None:
        """Move the cut there; pinned units and the human messages they hold stay behind."""
        passed = [self._tail.popleft() for _ in range(position)]
        self._tail_cost -= sum(unit.cost for unit in passed)
        before = [*self._rest, *passed]
        # By identity: units are not compared by value.
        held = {id(unit.human) for unit in before if unit.pinned}
        if not self._tail[0].is_human:
            held.add(id(self._tail[0].human))
        rest: list[_Unit] = []
        for unit in before:
            if unit.pinned:
                rest.append(unit)
            elif unit.is_human and id(unit) in held:
                left += [part.index for part in unit.parts[1:]]
                del unit.parts[1:]
                unit.cost = unit.parts[0].cost
                rest.append(unit)
            else:
                left += [part.index for part in unit.parts]
        self._rest = rest
        self._rest_cost = sum(unit.cost for unit in rest)

    def _leave_out(self, left: list[int], floor: Callable[[int], int]) -> None:
        """Leave the newest unit out whole; a question takes its turn with it.

        Its place stays, empty: what comes next lies beyond the cut, not at it.
        """
        self.left_out = self._explain(floor)
        unit = self._tail[-1]
        left += [part.index for part in unit.parts]
        self._dropping = "turn" if unit.is_human else "unit"
        self._tail_cost -= unit.cost
        unit.empty()

    def _clamp(self, floor: Callable[[int], int]) -> bool:
        """Shrink the biggest tool results, then the biggest other texts, until all fits.

        Down to the low-water mark where the smallest clamps allow it, so that the next message
        does not clamp again, else to `max_tokens`, else into the slack.
        """
        budget = self.budget
        stays = budget.fixed + self._head_cost
        low = stays + int(budget.trim_to * (budget.max_tokens - stays))
        parts, floors = self._clampable(floor)
        most = budget.max_tokens
        for target in (min(low, most), most, most + budget.slack):
            excess = self.tokens - target
            sizes: list[int] = []
            for group, least in zip(parts, floors, strict=True):
                costs = [part.cost for part in group]
                shrunk = shrink(costs, least, excess)
                excess -= sum(costs) - sum(shrunk)
                sizes += shrunk
            if excess <= 0:
                self.strained |= target > most
                for part, size in zip((*parts[0], *parts[1]), sizes, strict=True):
                    if size < part.cost:
                        self.changed = min(self.changed, part.index)
                    part.cost = size
                for unit in self._units():
                    unit.cost = sum(part.cost for part in unit.parts)
                self._rest_cost = sum(unit.cost for unit in self._rest)
                self._tail_cost = sum(unit.cost for unit in self._tail)
                return True
        return False

    def _clampable(
        self, floor: Callable[[int], int]
    ) -> tuple[tuple[list[_Part], ...], tuple[list[int], ...]]:
        """Return the tool results and the other texts that must stay, with their floors."""
        stay = [part for unit in self._units() for part in unit.parts if part.kind != "system"]
        parts = (
            [part for part in stay if part.kind == "tool"],
            [part for part in stay if part.kind != "tool"],
        )
        return parts, tuple([min(p.cost, floor(p.index)) for p in group] for group in parts)

    def _explain(self, floor: Callable[[int], int]) -> TokenBudgetError:
        """Say what must stay, what it needs, and what to do."""
        budget = self.budget
        clamps = budget.oversize == "clamp"

        def size(units: Sequence[_Unit]) -> int:
            return sum(
                min(part.cost, floor(part.index)) if clamps and part.kind != "system" else part.cost
                for unit in units
                for part in unit.parts
            )

        newest = list(self._tail)
        is_question = any(unit.is_human for unit in newest)
        sizes = {
            "the system messages": self._head_cost,
            "what is pinned" if is_question else "the question and what is pinned": size(
                self._rest
            ),
            "the question" if is_question else "the newest step": size(newest),
            "the fixed part of the request": budget.fixed - budget.slack,
        }
        return TokenBudgetError.of(sizes, budget.max_tokens, clamped=clamps)


def shrink(costs: Sequence[int], floors: Sequence[int], excess: int) -> list[int]:
    """Shrink the biggest costs to one common level, so that `excess` tokens are saved.

    The level is the highest integer that saves enough; nothing shrinks below its floor. When even
    the floors do not save enough, the floors are returned.

    Args:
        costs: Sizes, in tokens.
        floors: The smallest each may become, in tokens; `floors[i] <= costs[i]`.
        excess: Tokens to save; nothing shrinks when it is not positive.

    Returns:
        The new sizes, in the order of `costs`.
    """
    if excess <= 0 or not costs:
        return list(costs)

    def at(level: int) -> list[int]:
        return [min(cost, max(level, least)) for cost, least in zip(costs, floors, strict=True)]

    total = sum(costs)
    # Savings fall as the level rises, so shortfalls rise: the first level that saves too little
    # lies one above the one wanted. The biggest cost is such a level.
    level = bisect_left(
        range(max(costs)), 1, key=lambda level: int(total - sum(at(level)) < excess)
    )
    return at(max(level - 1, 0))
