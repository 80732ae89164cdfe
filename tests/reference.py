"""The section "The replay" of `docs/design.md`, written word by word: slow, from the whole prefix.

Shares no line with the package; the tests compare every window with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(frozen=True)
class M:
    """A message in numbers."""

    kind: str
    cost: int
    calls: int = 0
    pinned: bool = False
    floor: int | None = None  # None: cannot be clamped


class DoesNotFitError(Exception):
    """What must stay does not fit."""


@dataclass
class Reference:
    """Plays one conversation through one budget."""

    max_tokens: int
    trim_to: float
    fixed: int = 0
    oversize: str = "clamp"
    else_drop: bool = False
    cut: int | None = None
    out: set[int] = field(default_factory=set)  # left out by "drop"
    sizes: dict[int, int] = field(default_factory=dict)  # clamped
    joined: set[int] = field(default_factory=set)  # a join stays when the cut has moved on
    raised: bool = False

    def play(self, messages: list[M]) -> tuple[list[int], int, dict[int, int]]:
        """Return kept indices, cut and clamp sizes; raise if the last message does not fit."""
        for n in range(1, len(messages) + 1):
            self.step(messages[:n])
        if self.raised:
            raise DoesNotFitError
        kept = self.kept(messages, self.cut if self.cut is not None else len(messages))
        sizes = {i: s for i, s in self.sizes.items() if i in kept}
        return kept, self.cut_of(messages), sizes

    # what a prefix is made of

    def head(self, ms: list[M]) -> int:
        n = 0
        while n < len(ms) and ms[n].kind == "system":
            n += 1
        return n

    def cut_of(self, ms: list[M]) -> int:
        units = [u for u in self.units(ms) if u[0] >= (self.cut or 0) and u[0] not in self.out]
        return units[0][0] if units else len(ms)

    def units(self, ms: list[M]) -> list[list[int]]:
        units: list[list[int]] = []
        for i in range(self.head(ms), len(ms)):
            if not units or ms[i].kind in ("human", "ai"):
                units.append([i])
            else:
                units[-1].append(i)
        # a unit with more results than calls is joined to the one before it, not across the cut
        done = False
        while not done:
            done = True
            for a, b in pairwise(units):
                results = sum(ms[i].kind == "tool" for i in b)
                calls = sum(ms[i].calls for i in b)
                if (
                    results > calls
                    and ms[a[0]].kind != "human"
                    and ms[b[0]].kind != "human"
                    and not {a[0], b[0]} & self.out
                    and (self.cut is None or b[0] > self.cut or b[0] in self.joined)
                ):
                    self.joined.add(b[0])
                    units.remove(b)
                    a.extend(b)
                    done = False
                    break
        return units

    def human_of(self, ms: list[M], i: int) -> int | None:
        while i >= self.head(ms):
            if ms[i].kind == "human":
                return i
            i -= 1
        return None

    def cost(self, ms: list[M], indices: set[int]) -> int:
        return sum(self.sizes.get(i, ms[i].cost) for i in indices)

    def rest(self, ms: list[M], k: int) -> set[int]:
        kept: set[int] = set()
        first_human = next((i for i, m in enumerate(ms) if m.kind == "human"), None)
        for unit in self.units(ms):
            if first_human is not None and unit[0] < first_human:
                continue
            if unit[0] < k and any(ms[i].pinned for i in unit) and not set(unit) & self.out:
                kept |= set(unit)
                human = self.human_of(ms, unit[0])
                if human is not None:
                    kept.add(human)
        if k < len(ms) and ms[k].kind != "human":
            human = self.human_of(ms, k)
            if human is not None:
                kept.add(human)
        return kept

    def tail(self, ms: list[M], k: int) -> set[int]:
        return set(range(k, len(ms))) - self.out

    def kept(self, ms: list[M], k: int) -> list[int]:
        return sorted(set(range(self.head(ms))) | self.rest(ms, k) | self.tail(ms, k))

    # one message

    def step(self, ms: list[M]) -> None:  # noqa: C901  # the ladder, in one place
        self.raised = False
        head = self.head(ms)
        new = len(ms) - 1
        units = self.units(ms)
        starts = [u[0] for u in units]
        humans = [s for s in starts if ms[s].kind == "human"]
        if not starts:
            self.raised = self.fixed + self.cost(ms, set(range(head))) > self.max_tokens
            return
        first = humans[0] if humans else starts[0]
        if self.cut is None or self.cut < first:
            self.cut = first
        # what belongs to something left out is left out
        if ms[new].kind != "human":
            human = self.human_of(ms, new)
            unit = next(u for u in units if new in u)
            if (human is not None and human in self.out) or (unit[0] in self.out):
                self.out.add(new)
                # a unit left out may be the cut's own

        def fits(k: int) -> bool:
            return self.fixed + self.cost(ms, set(self.kept(ms, k))) <= self.max_tokens

        def low(k: int) -> bool:
            room = self.max_tokens - self.fixed - self.cost(ms, set(range(head))) - self.cost(ms, self.rest(ms, k))
            return self.cost(ms, self.tail(ms, k)) <= self.trim_to * room

        if fits(self.cut):
            return
        current = humans[-1] if humans else None
        beyond = [s for s in starts if s > self.cut and s not in self.out]
        steps = [s for s in beyond if s not in humans and self.human_of(ms, s) == current]
        ladder = [
            [s for s in beyond if s in humans and low(s)],
            [s for s in steps if low(s)],
            [s for s in beyond if s == current and fits(s)],
            [s for s in steps if fits(s)],
        ]
        for rung in ladder:
            if rung:
                self.cut = rung[0]
                return
        alive = [s for s in starts if s not in self.out]
        if alive:
            self.cut = max(self.cut, alive[-1])
        if self.oversize == "clamp" and self.clamp(ms, head):
            return
        if (self.oversize == "drop" or (self.oversize == "clamp" and self.else_drop)) and alive:
            unit = next(u for u in units if u[0] == alive[-1])
            self.out |= set(unit)
            if fits(len(ms)):
                return
            if (
                ms[unit[0]].kind != "human"
                and self.fixed + self.cost(ms, set(range(head)) | self.rest(ms, unit[0])) <= self.max_tokens
            ):
                return
        self.raised = True

    def clamp(self, ms: list[M], head: int) -> bool:
        stay = self.fixed + self.cost(ms, set(range(head)))
        assert self.cut is not None
        indices = self.rest(ms, self.cut) | self.tail(ms, self.cut)
        size = {i: self.sizes.get(i, ms[i].cost) for i in indices}

        def floor(i: int) -> int:
            f = ms[i].floor
            return size[i] if f is None or ms[i].kind == "system" else min(f, size[i])

        low = stay + int(self.trim_to * (self.max_tokens - stay))
        for target in (min(low, self.max_tokens), self.max_tokens):
            new = dict(size)
            for group in (
                [i for i in indices if ms[i].kind == "tool"],
                [i for i in indices if ms[i].kind not in ("tool", "system")],
            ):
                level = max((new[i] for i in group), default=0)
                before = {i: new[i] for i in group}
                while stay + sum(new.values()) > target and level > 0:
                    level -= 1
                    for i in group:
                        new[i] = min(before[i], max(level, floor(i)))
            if stay + sum(new.values()) <= target:
                self.sizes.update({i: s for i, s in new.items() if s < ms[i].cost})
                return True
        return False
