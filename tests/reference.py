"""The section "The replay" of `docs/design.md`, word by word: slow, and from lists of everything that ever came.

Shares no line with the package; the tests compare every window with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

STAND_IN = 2
"""What a stand-in costs here."""


@dataclass(frozen=True)
class M:
    """A message in numbers."""

    kind: str
    cost: int
    calls: tuple[str, ...] = ()
    pinned: bool = False
    floor: int | None = None  # None: cannot be clamped
    results: tuple[str, ...] = ()
    notification: bool = False
    compacts: bool = False


Entry: TypeAlias = tuple[object, ...]
"""What stands at a place: `(i,)`, `("for", i, call)` for a stand-in, `("of", i, results, rest)` for a piece."""


def piece_cost(message: M, results: tuple[int, ...], *, rest: bool) -> int:
    """Return what a piece costs here: one for each result, half of the message for the rest."""
    return len(results) + (message.cost // 2 if rest else 0)


class DoesNotFitError(Exception):
    """What must stay does not fit."""


class NothingLeft(Exception):  # noqa: N818  # an outcome
    """All there was were results without a call."""


@dataclass(eq=False)
class Call:
    """A call that nothing has answered, or only a stand-in."""

    ai: int
    place: int
    id: str
    stand_in: Entry | None = None


@dataclass(eq=False)
class Unit:
    """A unit, with everything that ever belonged to it."""

    first: int
    question: Unit | None  # of the turn it lies in; itself if it is a question
    is_question: bool
    begins_turn: bool
    entries: list[Entry] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    pinned: bool = False
    out: bool = False  # left out by "drop"

    def chain(self) -> list[Unit]:
        """Return the questions it needs before it."""
        chain: list[Unit] = []
        unit = self
        while unit.question is not None and unit.question is not unit:
            unit = unit.question
            chain.append(unit)
        return chain


@dataclass
class Reference:
    """Plays one conversation through one budget."""

    max_tokens: int
    trim_to: float
    fixed: int = 0
    oversize: str = "clamp"
    else_drop: bool = False
    clear_results: bool = False

    def play(self, messages: list[M]) -> tuple[list[Entry], int, dict[int, int]]:
        """Return the entries of the window, the cut and the clamp sizes; raise if the last message does not fit."""
        self.ms: list[M] = []
        self.head: list[int] = []
        self.head_open = True
        self.units: list[Unit] = []
        self.cut = 0  # which unit
        self.gone: set[Entry] = set()  # never comes back
        self.sizes: dict[int, int] = {}
        self.compaction: Unit | None = None
        self.turn: Unit | None = None
        self.user_wrote = False
        self.dropping = ""
        self.raised = self.stray = False
        for message in messages:
            self.step(message)
        if self.raised:
            raise DoesNotFitError
        window = self.window()
        if not window and self.stray and not self.dropping:
            raise NothingLeft
        whole = {entry[0] for entry in window if len(entry) == 1}
        return window, self.cut_index(), {i: size for i, size in self.sizes.items() if i in whole}

    # --- the window

    def stays(self, unit: Unit) -> bool:
        return (unit.pinned or unit is self.compaction) and not unit.out

    def rest(self, k: int) -> list[Entry]:
        held: set[Unit] = set()
        for unit in self.units[:k]:
            if self.stays(unit):
                held |= {unit, *unit.chain()}
        if k < len(self.units):
            held |= set(self.units[k].chain())
        entries: list[Entry] = []
        for unit in self.units[:k]:
            if unit in held:
                only_first = unit.is_question and not self.stays(unit)
                entries += unit.entries[:1] if only_first else unit.entries
        return [entry for entry in entries if entry not in self.gone]

    def tail(self, k: int) -> list[Entry]:
        return [e for unit in self.units[k:] if not unit.out for e in unit.entries if e not in self.gone]

    def window(self) -> list[Entry]:
        return [*((i,) for i in self.head), *self.rest(self.cut), *self.tail(self.cut)]

    def cut_index(self) -> int:
        return next((unit.first for unit in self.units[self.cut :] if not unit.out and unit.entries), len(self.ms))

    def cost(self, entries: list[Entry]) -> int:
        return sum(self.cost_of(entry) for entry in entries)

    def cost_of(self, entry: Entry) -> int:
        match entry:
            case ("for", *_):
                return STAND_IN
            case ("of", int(i), tuple(results), rest):
                return piece_cost(self.ms[i], results, rest=bool(rest))
            case (int(i),):
                return self.sizes.get(i, self.ms[i].cost)
        raise AssertionError(entry)

    # --- one message

    def step(self, message: M) -> None:
        new = len(self.ms)
        self.ms.append(message)
        self.raised = False
        if self.head_open and message.kind == "system":
            self.head.append(new)
        else:
            self.head_open = False
            self.place(new, message)
        if self.fixed + self.cost(self.window()) > self.max_tokens:
            self.make_room()
        window = set(self.window())
        self.gone |= {e for unit in self.units for e in unit.entries if e not in window}

    def place(self, new: int, m: M) -> None:  # noqa: C901, PLR0912  # the rules, in one place
        is_question = m.kind == "human" and not (m.notification and self.user_wrote)
        if m.kind == "human" and self.turn is None:
            self.units, self.cut = [], 0  # what stood before the first human message leaves
        if self.dropping == "turn" and m.kind != "tool" and not is_question:
            return
        if self.dropping == "unit" and m.kind in ("system", "other"):
            return
        last = self.units[-1] if self.units else None
        answers = self.answers(m, last)
        own = [(r, u, c) for r, u, c in answers if m.kind != "tool" and u is last and c.stand_in is None]
        if last is not None and m.kind in ("ai", "human"):
            for call in last.calls:
                if call.stand_in is None and all(call is not c for _, _, c in own):
                    call.stand_in = ("for", call.ai, call.place)
                    last.entries.append(call.stand_in)
        for unit in dict.fromkeys(u for r, u, c in answers if (r, u, c) not in own):
            self.put_results(new, m, unit, [(r, c) for r, u, c in answers if u is unit and (r, u, c) not in own])
        if m.kind == "tool":
            self.stray |= not answers and not self.dropping
            return
        entry: Entry = (new,)
        if len(own) < len(m.results):
            entry = ("of", new, tuple(r for r, _, _ in own), True)
        if own:
            unit = own[0][1]
            unit.calls = [call for call in unit.calls if all(call is not c for _, _, c in own)]
            unit.begins_turn |= is_question
        elif m.kind in ("ai", "human") or last is None:
            unit = Unit(new, self.turn, is_question, is_question)
            if is_question:
                unit.question = unit
            self.units.append(unit)
            self.dropping = ""
        else:
            unit = self.units[-1]
        unit.entries.append(entry)
        unit.pinned |= m.pinned
        unit.calls += [Call(new, place, each) for place, each in enumerate(m.calls)]
        if is_question:
            self.turn = unit
        self.user_wrote |= m.kind == "human" and not m.notification
        if m.compacts:
            self.compaction, self.cut = unit, len(self.units) - 1

    def answers(self, m: M, last: Unit | None) -> list[tuple[int, Unit, Call]]:
        window = set(self.window())
        found: list[tuple[int, Unit, Call]] = []
        for r, each in enumerate(m.results):
            for unit in reversed(self.units):
                open_calls = [
                    call
                    for call in unit.calls
                    if call.id == each
                    and not unit.out
                    and all(call is not c for _, _, c in found)
                    and (call.stand_in in window and m.kind != "ai" if call.stand_in else unit is last)
                ]
                if open_calls:
                    found.append((r, unit, open_calls[0]))
                    break
        return found

    def put_results(self, new: int, m: M, unit: Unit, answers: list[tuple[int, Call]]) -> None:
        whole = m.kind == "tool" and len(answers) == len(m.results)
        entry: Entry = (new,) if whole else ("of", new, tuple(r for r, _ in answers), False)
        late = [call.stand_in for _, call in answers if call.stand_in]
        if late:
            unit.entries[unit.entries.index(late[0])] = entry
            unit.entries = [e for e in unit.entries if e not in late]
        else:
            unit.entries.append(entry)
        unit.calls = [call for call in unit.calls if all(call is not c for _, c in answers)]
        unit.pinned |= m.pinned

    # --- making room

    def make_room(self) -> None:  # noqa: C901  # the ladder, in one place
        head = self.cost([(i,) for i in self.head])

        def fits(k: int) -> bool:
            return self.fixed + head + self.cost(self.rest(k)) + self.cost(self.tail(k)) <= self.max_tokens

        def low(k: int) -> bool:
            return self.cost(self.tail(k)) <= self.trim_to * (
                self.max_tokens - self.fixed - head - self.cost(self.rest(k))
            )

        beyond = range(self.cut + 1, len(self.units))
        steps = [k for k in beyond if not self.units[k].begins_turn and self.units[k].question is self.turn]

        def first() -> int | None:
            ladder = [
                [k for k in beyond if self.units[k].begins_turn and low(k)],
                [k for k in steps if low(k)],
                [k for k in beyond if self.units[k] is self.turn and fits(k)],
                [k for k in steps if fits(k)],
            ]
            return next((rung[0] for rung in ladder if rung), None)

        if self.clear_results and self.clear(head, first()):
            return
        if (cut := first()) is not None:
            self.cut = cut
            return
        if self.units:
            self.cut = len(self.units) - 1
        if self.fixed + self.cost(self.window()) <= self.max_tokens:
            return
        if self.oversize == "clamp" and self.clamp(head):
            return
        if (self.oversize == "drop" or (self.oversize == "clamp" and self.else_drop)) and self.units:
            newest = self.units[-1]
            if not newest.out and self.tail(self.cut):
                newest.out, newest.calls = True, []
                self.dropping = "turn" if newest.begins_turn else "unit"
                if self.fixed + self.cost(self.window()) <= self.max_tokens:
                    return
        self.raised = True

    def clear(self, head: int, cut: int | None) -> bool:
        room = self.max_tokens - self.fixed - head
        window = self.window()
        replies = [i for entry in window for i in entry[:1] if isinstance(i, int) and self.ms[i].kind == "ai"]
        replies += [
            int(str(entry[1]))
            for entry in window
            if entry[0] == "of" and entry[3] and self.ms[int(str(entry[1]))].kind == "ai"
        ]
        steps = [[e for e in unit.entries if e in window and not unit.out] for unit in self.units]
        results = [[e for e in step if isinstance(e[0], int) and self.ms[e[0]].kind == "tool"] for step in steps]
        spared = len(self.units)
        while spared and self.cost([e for step in results[spared - 1 :] for e in step]) <= room / 2:
            spared -= 1
        for unit, step in zip(self.units[: spared if cut is None else min(spared, cut)], results, strict=False):
            for entry in step:
                i = int(str(entry[0]))
                if self.fixed + self.cost(self.window()) <= self.max_tokens - room + self.trim_to * room:
                    return True
                if not self.stays(unit) and self.ms[i].cost > 50 and i < max(replies, default=-1):
                    least = self.ms[i].floor
                    if least is not None and least < self.cost_of(entry):
                        self.sizes[i] = least
        return self.fixed + self.cost(self.window()) <= self.max_tokens - room + self.trim_to * room

    def clamp(self, head: int) -> bool:  # noqa: C901  # the same for the shortening
        stay = self.fixed + head
        entries = self.rest(self.cut) + self.tail(self.cut)
        size = {entry: self.cost_of(entry) for entry in entries}

        def kind(entry: Entry) -> str:
            match entry:
                case (int(i),):
                    return self.ms[i].kind
                case ("of", int(i), _, True):
                    return self.ms[i].kind
            return "tool"

        def floor(entry: Entry) -> int:
            match entry:
                case (int(i),) if self.ms[i].floor is not None:
                    return min(self.ms[i].floor or 0, size[entry])
            return size[entry]

        low = stay + int(self.trim_to * (self.max_tokens - stay))
        for target in (min(low, self.max_tokens), self.max_tokens):
            new = dict(size)
            for group in (
                [e for e in entries if kind(e) == "tool"],
                [e for e in entries if kind(e) not in ("tool", "system")],
            ):
                level = max((new[e] for e in group), default=0)
                before = {e: new[e] for e in group}
                while stay + sum(new.values()) > target and level > 0:
                    level -= 1
                    for e in group:
                        new[e] = min(before[e], max(level, floor(e)))
            if stay + sum(new.values()) <= target:
                for entry, tokens in new.items():
                    match entry:
                        case (int(i),) if tokens < self.ms[i].cost:
                            self.sizes[i] = tokens
                return True
        return False


def answered(messages: list[M]) -> list[M]:
    """Return messages whose results answer the oldest open calls, so that only kinds and numbers need be written."""
    waiting: list[str] = []
    made: list[M] = []
    for index, message in enumerate(messages):
        calls = tuple(f"{index}.{place}" for place in range(len(message.calls)))
        waiting += calls
        results: tuple[str, ...] = ()
        if message.kind == "tool":
            results = (waiting.pop(0) if waiting else "nobody",)
        made.append(replace(message, calls=calls, results=results))
    return made
