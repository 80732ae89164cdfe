"""A transcript under a budget, call by call: counted once, then numbers alone.

The windows are those of `TokenBuffer`; where the transcript has tools, those of
`TokenBufferMiddleware`, whose fixed part is rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from langchain_tokenbuffer._window.budget import Budget, slack_of
from langchain_tokenbuffer._window.conversation import ConversationTokens, MessageMeter
from langchain_tokenbuffer._window.driver import Reason, WindowDriver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from langchain_tokenbuffer._replay.transcripts import Transcript
    from langchain_tokenbuffer.counters import TokenCounter

CallReason: TypeAlias = Reason | Literal["over"]
"""Why a window is what it is; `"over"`: not even clamping kept the budget, nothing was sent."""


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

    def cached_tokens(self, reusable: int) -> int:
        """Return how many tokens of a reusable prefix the cache serves."""
        return reusable if reusable >= self.floor else 0

    def cost(self, tokens: int, reusable: int) -> float:
        """Return what a request costs whose first `reusable` tokens are the last one's."""
        cached = self.cached_tokens(reusable)
        fresh = self.write if tokens >= self.floor else self.input
        return cached * self.cached + (tokens - cached) * fresh


class Call(NamedTuple):
    """One model call: what the model saw of the conversation, and what that cost.

    Attributes:
        number: From 1 on.
        length: How many messages there were.
        tokens: The request as sent, with its fixed part; where it is over, what it needs.
        total_tokens: The request with every message.
        reason: Why the window is what it is, in `TrimEvent`'s words.
        cut: Index at which the window's tail begins.
        kept_before_cut: Indices of the kept messages before the cut.
        clamped: Index to tokens of the kept messages that are shortened.
        left: Indices that left the window since the last call.
        reusable: How much of it begins as the last call's request did, in tokens.
        cost: What it costs at the prices given.
        error: Why the budget could not be kept.
    """

    number: int
    length: int
    tokens: int
    total_tokens: int
    reason: CallReason
    cut: int
    kept_before_cut: tuple[int, ...]
    clamped: Mapping[int, int]
    left: tuple[int, ...]
    reusable: int
    cost: float
    error: str | None

    @property
    def kept(self) -> tuple[int, ...]:
        """Indices of the messages in the window."""
        return (*self.kept_before_cut, *range(self.cut, self.length))

    @property
    def dropped(self) -> int:
        """How many messages the model does not see."""
        return self.cut - len(self.kept_before_cut)


class CountedTranscript:
    """A transcript in numbers. Counts every message once, when it is made.

    The counter has to be additive, as all are that are made of a name.

    Attributes:
        transcript: The transcript.
        messages: Its messages in numbers.
        cumulative: For each index, the tokens of the messages before it.
        head_tokens: The tokens of the leading system messages.
        fixed: What a request costs beside its messages, in tokens.
        call_indices: For each call, how many messages came before it: there is one before every
            AI message, and one at an open end. An AI message with nothing but system messages
            before it is a greeting that no model was asked for.
        min_tokens: Returns the fewest tokens to which the message at an index can be clamped.
        shown_tokens: Returns the tokens of the message at an index, clamped to at most so many.
    """

    def __init__(self, transcript: Transcript, counter: TokenCounter) -> None:
        conversation = ConversationTokens(transcript.messages, MessageMeter(counter))
        self.transcript = transcript
        self.messages = conversation.numbers()
        self.cumulative = [0, *accumulate(message.tokens for message in self.messages)]
        kinds = [message.kind for message in self.messages]
        head = next((i for i, kind in enumerate(kinds) if kind != "system"), len(kinds))
        self.head_tokens = self.cumulative[head]
        self.call_indices = [i for i, kind in enumerate(kinds) if i > head and kind == "ai"]
        if kinds and kinds[-1] != "ai":
            self.call_indices.append(len(kinds))
        # With tools the middleware sends the first system message beside the conversation.
        first = min(head, 1) if transcript.tools else 0
        self._system_tokens = self.cumulative[first]
        self.fixed = counter.constant
        if transcript.tools:
            whole = counter.count(transcript.messages[:first], tools=transcript.tools)
            self.fixed = whole - self._system_tokens
        self.min_tokens = cache(conversation.min_tokens)
        self.shown_tokens = cache(
            lambda index, tokens: sum(counter.tokens(conversation.show([index], {index: tokens})))
        )

    def budget(self, setting: Setting) -> Budget:
        """Return the budget that `TokenBuffer` or, with tools, the middleware would run under."""
        max_tokens, trim_to = setting
        fixed = self.fixed + self._system_tokens
        slack = slack_of(max_tokens, fixed) if self.transcript.tools else 0
        return Budget(max_tokens, trim_to, self.fixed + slack, slack)

    @property
    def name(self) -> str:
        """What the transcript is called."""
        return self.transcript.name

    @property
    def longest(self) -> int:
        """The tokens of the last call with every message."""
        return self.fixed + self.cumulative[max(self.call_indices, default=0)]

    def tokens_of(self, indices: Iterable[int]) -> int:
        """Return the tokens of messages in full."""
        return sum(self.messages[index].tokens for index in indices)


def calls_of(counted: CountedTranscript, setting: Setting, prices: Prices) -> list[Call]:
    """Follow a transcript under a budget and return every model call of it."""
    driver, calls = WindowDriver(counted.budget(setting)), list[Call]()
    for length in counted.call_indices:
        for message in counted.messages[driver.count : length]:
            driver.push(message, counted.min_tokens)
        calls.append(_call(driver, counted, prices, calls))
    return calls


def _call(
    driver: WindowDriver, counted: CountedTranscript, prices: Prices, before: Sequence[Call]
) -> Call:
    window, shortage = driver.call(), driver.shortage
    tokens, reusable, saved = window.tokens, 0, {}
    for index, most in window.clamped.items() if shortage is None else ():
        saved[index] = most - counted.shown_tokens(index, most)
        tokens -= saved[index]
    if shortage is None and before and before[-1].error is None:
        reusable = window.reusable_tokens(saved)
    return Call(
        number=len(before) + 1,
        length=driver.count,
        tokens=tokens if shortage is None else shortage.tokens,
        total_tokens=window.total_tokens,
        reason=window.reason if shortage is None else "over",
        cut=window.cut,
        kept_before_cut=tuple(driver.kept_before_cut),
        clamped=window.clamped if shortage is None else {},
        left=tuple(sorted(driver.left_since_call)),
        reusable=reusable,
        cost=prices.cost(tokens, reusable) if shortage is None else 0.0,
        error=None if shortage is None else str(shortage),
    )


# --- over all calls -------------------------------------------------------------------------------


@dataclass
class Totals:
    """What a way of sending conversations comes to, over all their calls.

    Attributes:
        calls: How many.
        tokens: Sent, in all.
        peak: The largest request sent.
        cached: Of all tokens, what the prompt cache serves.
        visible: Of the messages behind the system messages, what the model saw, in tokens.
        total: The same with every message.
        cost: At the prices given.
        moved: Calls before which the cut moved.
        clamped: Calls before which something was shortened.
        over: Calls that were not sent: not even clamping kept the budget.
    """

    calls: int = 0
    tokens: int = 0
    peak: int = 0
    cached: int = 0
    visible: int = 0
    total: int = 0
    cost: float = 0.0
    moved: int = 0
    clamped: int = 0
    over: int = 0

    @property
    def share(self) -> float:
        """The share of the conversation that the model saw, over all calls."""
        return self.visible / self.total if self.total else 1.0

    def add_sent(self, tokens: int, cached: int, cost: float) -> None:
        """Add a request that was sent."""
        self.tokens += tokens
        self.peak = max(self.peak, tokens)
        self.cached += cached
        self.cost += cost


def totals_of(
    simulated: Iterable[tuple[CountedTranscript, Sequence[Call]]], prices: Prices
) -> Totals:
    """Return what the calls of some conversations come to."""
    totals = Totals()
    for counted, calls in simulated:
        beside = counted.fixed + counted.head_tokens
        for call in calls:
            totals.calls += 1
            totals.total += call.total_tokens - beside
            totals.moved += call.reason == "moved"
            totals.clamped += call.reason == "clamped"
            totals.over += call.error is not None
            if call.error is None:
                totals.visible += call.tokens - beside
                totals.add_sent(call.tokens, prices.cached_tokens(call.reusable), call.cost)
    return totals


def untrimmed(transcripts: Iterable[CountedTranscript], prices: Prices) -> Totals:
    """Return what never trimming comes to, whatever the model's context."""
    totals = Totals()
    for counted in transcripts:
        last, beside = 0, counted.fixed + counted.head_tokens
        for index in counted.call_indices:
            tokens = counted.fixed + counted.cumulative[index]
            totals.calls += 1
            totals.total += tokens - beside
            totals.visible += tokens - beside
            totals.add_sent(tokens, prices.cached_tokens(last), prices.cost(tokens, last))
            last = tokens
    return totals
