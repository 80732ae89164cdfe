"""A transcript through a budget, call by call: counted once, then numbers alone.

The windows are those of `TokenBuffer`; where the transcript has tools, those of
`TokenBufferMiddleware`, whose fixed part is rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from langchain_tokenbuffer._request_view import ROUNDS
from langchain_tokenbuffer._window import Budget, Replay
from langchain_tokenbuffer.buffer import TokenBuffer
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_tokenbuffer._replay.transcripts import Transcript
    from langchain_tokenbuffer._window import Sized
    from langchain_tokenbuffer.counters import TokenCounter

Reason: TypeAlias = Literal["fits", "held", "moved", "clamped", "over"]
"""The words of `TrimEvent`, and `"over"`: not even clamping kept the budget, nothing was sent."""


class Setting(NamedTuple):
    """What is tried."""

    max_tokens: int
    trim_to: float


@dataclass(frozen=True)
class Prices:
    """What a token of input costs; ratios, or money per million.

    Attributes:
        input: One that the provider has to read.
        cached: One that its prompt cache serves.
        write: One that it reads and keeps in the cache.
        floor: Tokens from which on a request is cached, and a prefix served.
    """

    input: float = 1.0
    cached: float = 0.1
    write: float = 1.0
    floor: int = 1024

    def served(self, reusable: int) -> int:
        """Return how many tokens of a reusable prefix the cache serves."""
        return reusable if reusable >= self.floor else 0

    def cost(self, tokens: int, reusable: int) -> float:
        """Return what a request costs whose first `reusable` tokens are the last one's."""
        served = self.served(reusable)
        fresh = self.write if tokens >= self.floor else self.input
        return served * self.cached + (tokens - served) * fresh


@dataclass(frozen=True, slots=True)
class Call:
    """One model call: what the model saw of the conversation, and what that cost.

    Attributes:
        number: From 1 on.
        at: How many messages there were.
        tokens: The request as sent, with its fixed part; where it is over, what it needs.
        history: The request with every message.
        reason: Why the window is what it is, in `TrimEvent`'s words.
        cut: Index at which the window's tail begins.
        held: Indices of the kept messages before the cut.
        clamped: Index and size of the kept messages that are shortened.
        left: Indices that left the window since the last call.
        reusable: How much of it begins as the last call's request did.
        cost: What it costs at the prices given.
        error: Why the budget could not be kept.
    """

    number: int
    at: int
    tokens: int
    history: int
    reason: Reason
    cut: int
    held: tuple[int, ...]
    clamped: tuple[tuple[int, int], ...]
    left: tuple[int, ...]
    reusable: int
    cost: float
    error: str | None = None

    @property
    def kept(self) -> tuple[int, ...]:
        """Indices of the messages in the window."""
        return (*self.held, *range(self.cut, self.at))

    @property
    def dropped(self) -> int:
        """How many messages the model does not see."""
        return self.cut - len(self.held)


class Measured:
    """A transcript in numbers. Counts every message once, when it is made.

    The counter has to be additive, as all are that are made of a name.
    """

    def __init__(self, transcript: Transcript, counter: TokenCounter) -> None:
        messages, tools = transcript.messages, transcript.tools
        self.name = transcript.name
        self.transcript = transcript
        self._buffer = TokenBuffer(1, token_counter=counter)
        prices = counter.tokens(messages, counter.keys(messages))
        self.sized: list[Sized] = list(map(self._buffer.sized, messages, prices))
        self.upto = [0, *accumulate(prices)]  # what the messages before an index cost
        self.fixed = counter.constant
        self.system = 0  # of the system message, where the fixed part is rounded with it
        self.has_tools = bool(tools)
        if tools:
            system = [message for message in messages[:1] if self.sized[0].kind == "system"]
            self.system = sum(prices[: len(system)])
            self.fixed = counter.count(system, tools=tools) - self.system
        self._floors: dict[int, int] = {}
        self._shown: dict[tuple[int, int], int] = {}

    def budget(self, setting: Setting) -> Budget:
        """Return the budget that `TokenBuffer` or, with tools, the middleware would run under."""
        fixed, slack = self.fixed, 0
        if self.has_tools:
            step = max(1, setting.max_tokens // ROUNDS)
            slack = -(fixed + self.system) % step
        return Budget(setting.max_tokens, setting.trim_to, fixed=fixed + slack, slack=slack)

    @property
    def ends(self) -> list[int]:
        """How many messages each call had: those before an AI message, and all at an open end.

        An AI message with nothing but system messages before it is a greeting that no model was
        asked for.
        """
        greeted = self.heads
        ends = [i for i, sized in enumerate(self.sized) if i > greeted and sized.kind == "ai"]
        if self.sized and self.sized[-1].kind != "ai":
            ends.append(len(self.sized))
        return ends

    @property
    def heads(self) -> int:
        """How many system messages lead."""
        return next((i for i, s in enumerate(self.sized) if s.kind != "system"), len(self.sized))

    @property
    def head(self) -> int:
        """What they cost."""
        return self.upto[self.heads]

    @property
    def longest(self) -> int:
        """What the last call costs with every message."""
        return self.fixed + self.upto[max(self.ends, default=0)]

    def tokens_of(self, indices: Iterable[int]) -> int:
        """Return what messages cost in full."""
        return sum(self.sized[index].cost for index in indices)

    def floor(self, index: int) -> int:
        """Return the smallest size to which a message can be clamped."""
        known = self._floors.get(index)
        if known is None:
            known = self._floors[index] = self._buffer.smallest(self.transcript.messages[index])
        return known

    def shown(self, index: int, size: int) -> int:
        """Return what a message costs that is shortened to at most `size`."""
        known = self._shown.get((index, size))
        if known is None:
            message = self._buffer.clamped(self.transcript.messages[index], size)
            counter = self._buffer.token_counter
            (known,) = counter.tokens([message], counter.keys([message]))
            self._shown[index, size] = known
        return known

    def saved(self, clamped: Iterable[tuple[int, int]]) -> int:
        """Return by how much messages cost less than in full."""
        return sum(self.sized[index].cost - self.shown(index, size) for index, size in clamped)


def calls_of(measured: Measured, setting: Setting, prices: Prices) -> list[Call]:
    """Live through a transcript under a budget and return every model call of it."""
    lived = _Lived(measured, measured.budget(setting), prices)
    for end in measured.ends:
        lived.go_on(end)
    return lived.calls


class _Lived:
    """A replay that stops at the calls; what a call says of the one before is `Followed`'s."""

    def __init__(self, measured: Measured, budget: Budget, prices: Prices) -> None:
        self.calls: list[Call] = []
        self._measured = measured
        self._budget = budget
        self._prices = prices
        self._replay = Replay(budget)
        self._seen = 0  # how many messages the last call saw
        self._changed = 0  # the first index at which the window is not the last call's
        self._left: list[int] = []
        self._clamped: tuple[tuple[int, int], ...] = ()
        self._shortage: TokenBudgetError | None = None
        self._known = True  # whether the two above are those of now
        self._sent = False  # whether the last call was

    def go_on(self, end: int) -> None:
        """Live through the messages up to the next call, and tell of it."""
        for index in range(self._replay.count, end):
            self._push(index)
        self.calls.append(self._call())
        self._sent = self.calls[-1].error is None

    def _push(self, index: int) -> None:
        replay, sized = self._replay, self._measured.sized[index]
        if sized.kind == "ai":
            self._seen = self._changed = index
            self._left = []
        left = replay.push(sized, self._floor)
        if left:
            self._left += left
            self._clamped = tuple(each for each in self._clamped if each[0] not in left)
        if replay.changed < index:
            self._changed = min(self._changed, replay.changed)
        if replay.tokens > self._budget.max_tokens + self._budget.slack:
            self._known = False

    def _floor(self, index: int) -> int:
        """Who asks for a floor is about to clamp."""
        self._known = False
        return self._measured.floor(index)

    def _look(self) -> None:
        """Ask the replay what is clamped, only after something was: it costs the window."""
        if not self._known:
            self._shortage = None
            try:
                self._clamped = tuple(self._replay.kept()[1].items())
            except TokenBudgetError as error:
                self._shortage = error
            self._known = self._shortage is None

    def _call(self) -> Call:
        self._look()
        replay, measured, shortage = self._replay, self._measured, self._shortage
        at, cut, held = replay.count, replay.cut, tuple(replay.held)
        history = measured.fixed + measured.upto[at]
        tokens = replay.tokens - self._budget.slack
        tokens -= sum(size - measured.shown(index, size) for index, size in self._clamped)
        reusable = self._reusable(cut, held)
        return Call(
            number=len(self.calls) + 1,
            at=at,
            tokens=tokens if shortage is None else shortage.tokens,
            history=history,
            reason=self._reason(dropped=cut > len(held)),
            cut=cut,
            held=held,
            clamped=self._clamped if shortage is None else (),
            left=tuple(sorted(self._left)),
            reusable=0 if shortage else reusable,
            cost=0.0 if shortage else self._prices.cost(tokens, reusable),
            error=None if shortage is None else str(shortage),
        )

    def _reason(self, *, dropped: bool) -> Reason:
        if self._shortage is not None:
            return "over"
        if any(index >= self._changed for index, _ in self._clamped):
            return "clamped"
        if self._changed < self._seen:
            return "moved"
        return "held" if dropped or self._clamped else "fits"

    def _reusable(self, cut: int, held: Sequence[int]) -> int:
        """Return what this request has in common with the last one at its beginning."""
        if not (self._seen and self._sent):
            return 0
        if self._changed >= self._seen:
            return self.calls[-1].tokens
        measured, end = self._measured, self._changed
        common = measured.fixed + measured.tokens_of(i for i in held if i < end)
        common += max(0, measured.upto[end] - measured.upto[cut])
        return common - measured.saved(each for each in self._clamped if each[0] < end)


# --- over all calls -------------------------------------------------------------------------------


@dataclass
class Totals:
    """What a way of sending conversations comes to, over all their calls.

    Attributes:
        calls: How many.
        tokens: Sent, in all.
        peak: The largest request sent.
        served: Of all tokens, what the prompt cache serves.
        seen: Of the messages behind the system messages, what the model saw, in tokens.
        said: The same with every message.
        cost: At the prices given.
        moved: Calls before which the cut moved.
        clamped: Calls before which something was shortened.
        over: Calls that were not sent: not even clamping kept the budget.
    """

    calls: int = 0
    tokens: int = 0
    peak: int = 0
    served: int = 0
    seen: int = 0
    said: int = 0
    cost: float = 0.0
    moved: int = 0
    clamped: int = 0
    over: int = 0

    @property
    def share(self) -> float:
        """The share of the conversation that the model saw, over all calls."""
        return self.seen / self.said if self.said else 1.0


def totals_of(played: Iterable[tuple[Measured, Sequence[Call]]], prices: Prices) -> Totals:
    """Return what the calls of some conversations come to."""
    totals = Totals()
    for measured, calls in played:
        beside = measured.fixed + measured.head
        for call in calls:
            totals.calls += 1
            totals.said += call.history - beside
            totals.moved += call.reason == "moved"
            totals.clamped += call.reason == "clamped"
            totals.over += call.error is not None
            if call.error is None:
                totals.tokens += call.tokens
                totals.peak = max(totals.peak, call.tokens)
                totals.seen += call.tokens - beside
                totals.served += prices.served(call.reusable)
                totals.cost += call.cost
    return totals


def untrimmed(measured: Iterable[Measured], prices: Prices) -> Totals:
    """Return what never trimming comes to, whatever the model's context."""
    totals = Totals()
    for each in measured:
        last, beside = 0, each.fixed + each.head
        for end in each.ends:
            tokens = each.fixed + each.upto[end]
            totals.calls += 1
            totals.tokens += tokens
            totals.peak = max(totals.peak, tokens)
            totals.seen += tokens - beside
            totals.said += tokens - beside
            totals.served += prices.served(last)
            totals.cost += prices.cost(tokens, last)
            last = tokens
    return totals
