"""A transcript under a budget, call by call: counted once, then numbers alone.

The windows are those of `TokenBuffer`; where the transcript has tools, those of `TokenBufferMiddleware`, whose fixed
part is rounded up. What each reply uses of the conversation before it is looked for in what its window shows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from langchain_tokenbuffer._messages.slots import Piece
from langchain_tokenbuffer._replay.needs import Need, ShownWindow, needs_of, occurs, text_of
from langchain_tokenbuffer._replay.recall import NOTHING, Questions, Quoted, Recalling, said_in
from langchain_tokenbuffer._window.budget import Budget, slack_of
from langchain_tokenbuffer._window.conversation import ConversationTokens, MessageMeter
from langchain_tokenbuffer._window.driver import WindowDriver, WindowReason
from langchain_tokenbuffer.counters import message_counter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from langchain_tokenbuffer._replay.transcripts import Transcript
    from langchain_tokenbuffer._window.driver import CallWindow
    from langchain_tokenbuffer.counters import TokenCounter
    from langchain_tokenbuffer.errors import TokenBudgetError


_TEXTS = 256  # shortened messages whose text is remembered


class Setting(NamedTuple):
    """What is tried."""

    max_tokens: int
    trim_to: float
    clear_results: bool = False
    recall_tokens: int = 0


@dataclass(frozen=True)
class Prices:
    """What a token of input costs."""

    input: float = 1.0  # one that the provider has to read
    cached: float = 0.1  # one that its prompt cache serves
    write: float = 1.0  # one that it reads and keeps in the cache
    floor: int = 1024  # tokens from which on a request is cached, and a prefix served
    in_money: bool = False  # whether prices are money per million tokens, else they are ratios

    def cached_tokens(self, reusable: int) -> int:
        """Return how many tokens of a reusable prefix the cache serves."""
        return reusable if reusable >= self.floor else 0

    def cost(self, tokens: int, reusable: int) -> float:
        """Return what a request costs whose first `reusable` tokens are the last one's."""
        cached = self.cached_tokens(reusable)
        fresh = self.write if tokens >= self.floor else self.input
        return cached * self.cached + (tokens - cached) * fresh


class Call(NamedTuple):
    """One model call: what the model saw of the conversation, and what that cost."""

    number: int  # from 1 on
    length: int  # how many messages there were
    tokens: int  # the request as sent, with its fixed part; where it is over, what it needs
    total_tokens: int  # the request with every message
    # In `TrimEvent`'s words; cleared: results of old steps went to their marker, and nothing else happened; over: not
    # even clamping kept the budget.
    reason: WindowReason | Literal["cleared", "over"]
    cut: int = 0  # index at which the window's tail begins
    kept_before_cut: tuple[int, ...] = ()  # indices of the kept messages before the cut
    left: tuple[int, ...] = ()  # indices that left the window since the last call
    strays: int = 0  # how many results behind the cut the model does not see, since their call is not there
    clamped: Mapping[int, int] = MappingProxyType({})  # index to tokens of the kept messages that are clamped
    cleared: frozenset[int] = frozenset()  # indices of the kept results that are cleared
    reusable: int = 0  # how much of it begins as the last call's request did, in tokens
    cost: float = 0.0  # what it costs at the prices given
    error: str | None = None  # why the budget could not be kept
    facts: int = 0  # how many the reply uses that were said before
    missing: tuple[Need, ...] = ()  # of these, the ones that the model did not see
    recalled_tokens: int = 0  # of `tokens`, what is quoted in front of the question

    @property
    def dropped(self) -> int:
        """How many messages the model does not see."""
        return self.cut - len(self.kept_before_cut) + self.strays


class CountedTranscript:
    """A transcript in numbers, every message counted once, by a counter that is additive, as all made of a name are."""

    def __init__(self, transcript: Transcript, counter: TokenCounter) -> None:
        counts = message_counter(counter)
        conversation = ConversationTokens(transcript.messages, MessageMeter(counts))
        self.transcript = transcript
        self._counter = counts
        self.messages = conversation.numbers()
        self.cumulative = [0, *accumulate(message.tokens for message in self.messages)]  # before each index
        kinds = [message.kind for message in self.messages]
        head = next((i for i, kind in enumerate(kinds) if kind != "system"), len(kinds))
        self.head_tokens = self.cumulative[head]
        # There is a call before every AI message and at an open end. An AI message with nothing but system messages
        # before it is a greeting that no model was asked for.
        self.call_indices = [i for i, kind in enumerate(kinds) if i > head and kind == "ai"]
        if kinds and kinds[-1] != "ai":
            self.call_indices.append(len(kinds))
        self._head = head
        # With tools the middleware sends the first system message beside the conversation.
        first = min(head, 1) if transcript.tools else 0
        self._system_tokens = self.cumulative[first]
        self.fixed = counts.constant
        if transcript.tools:
            self.fixed = counter.count(transcript.messages[:first], tools=transcript.tools) - self._system_tokens
        self.min_tokens = cache(conversation.min_tokens)
        self.mended_tokens = cache(conversation.mended_tokens)
        self.shown_tokens = cache(lambda i, tokens: sum(counts.tokens(conversation.show([i], {i: tokens}))))
        self.shown_text = lru_cache(_TEXTS)(lambda slot, tokens: text_of(*conversation.show([slot], {slot: tokens})))

    def budget(self, setting: Setting) -> Budget:
        """Return the budget that `TokenBuffer` or, with tools, the middleware would run under."""
        slack = slack_of(setting.max_tokens, self.fixed + self._system_tokens) if self.transcript.tools else 0
        max_tokens = setting.max_tokens - setting.recall_tokens
        return Budget(max_tokens, setting.trim_to, self.fixed + slack, slack, clear_results=setting.clear_results)

    @property
    def can_recall(self) -> bool:
        """Whether this is a chat: an agent's middleware recalls nothing."""
        return not self.transcript.tools and not any(each.calls or each.results for each in self.messages)

    @cached_property
    def questions(self) -> Questions:
        """What is asked for in it, where something is recalled."""
        return Questions(self.transcript.messages, self.call_indices, self._counter)

    @cached_property
    def needs(self) -> Mapping[int, tuple[Need, ...]]:
        """What each reply uses that was said before it, by its index.

        System messages at the beginning and tools are always shown, so nothing in them can be missing.
        """
        messages, tools = self.transcript.messages, self.transcript.tools
        always = [*map(text_of, messages[: self._head]), *(json.dumps(tool, ensure_ascii=False) for tool in tools)]
        return needs_of(messages, (index for index in self.call_indices if index < len(messages)), always)

    @cached_property
    def has_pieces(self) -> bool:
        """Whether some message is so much out of order that a window may show only a part of it."""
        if not self.transcript.mended:
            return False
        driver = WindowDriver(Budget(max(1, self.fixed + 2 * self.cumulative[-1])))
        for message in self.messages:
            driver.push(message, self)
        return any(isinstance(slot, Piece) for slot in driver.slots())

    @property
    def longest(self) -> int:
        """The tokens of the last call with every message."""
        return self.fixed + self.cumulative[max(self.call_indices, default=0)]

    def tokens_of(self, indices: Iterable[int]) -> int:
        return sum(self.messages[index].tokens for index in indices)


class _Shortened:
    """What is shortened in the windows of one conversation, read anew only when it changes."""

    def __init__(self, counted: CountedTranscript) -> None:
        self._counted = counted
        self._tokens: Mapping[int, int] = {}
        self.clamped: Mapping[int, int] = {}  # index to tokens, without what is cleared
        self.saved: Mapping[int, int] = {}  # tokens by which what is shown is smaller than what is charged for it

    def update(self, window: CallWindow) -> None:
        """Take what the window of a call shortens."""
        if window.clamped is self._tokens:  # it is replaced, never changed
            return
        self._tokens = window.clamped
        self.clamped = {index: tokens for index, tokens in window.clamped.items() if index not in window.cleared}
        saved = ((i, tokens - self._counted.shown_tokens(i, tokens)) for i, tokens in window.clamped.items())
        self.saved = {index: tokens for index, tokens in saved if tokens}


def calls_of(counted: CountedTranscript, setting: Setting, prices: Prices) -> Iterator[Call]:
    """Follow a transcript under a budget and yield every model call of it."""
    driver, shortened = WindowDriver(counted.budget(setting)), _Shortened(counted)
    recalling = Recalling(counted.questions, setting.recall_tokens) if setting.recall_tokens else None
    last: Quoted | None = None  # in front of the last call's question; None: it was not sent
    for number, length in enumerate(counted.call_indices, 1):
        for message in counted.messages[driver.count : length]:
            driver.push(message, counted)
            if recalling is not None:
                recalling.follow(driver)
        window, shortage, needs = driver.call(), driver.shortage, counted.needs.get(length, ())
        before_cut, left = tuple(driver.kept_before_cut), tuple(sorted(driver.left_since_call))
        numbers = number, length, window.tokens, window.total_tokens
        call = Call(*numbers, window.reason, window.cut, before_cut, left, len(driver.strays), facts=len(needs))
        if shortage is not None:
            yield call._replace(
                tokens=shortage.tokens, reason="over", error=_explained(shortage, setting), missing=needs
            )
            last = None
            continue
        shortened.update(window)
        tokens = window.tokens - sum(shortened.saved.values())
        quoted = NOTHING if recalling is None else recalling.quoted(window.clamped, setting.max_tokens - tokens)
        reusable = 0 if last is None else _reusable(driver, window, shortened.saved, last, quoted)
        yield call._replace(
            tokens=tokens + quoted.tokens,
            reason=_reason(window, shortened.clamped, has_left=bool(left)),
            clamped=shortened.clamped,
            cleared=window.cleared,
            reusable=reusable,
            cost=prices.cost(tokens + quoted.tokens, reusable),
            missing=_not_quoted(_missing(counted, needs, driver, call, window.clamped), quoted) if needs else (),
            recalled_tokens=quoted.tokens,
        )
        last = quoted


def _reusable(driver: WindowDriver, window: CallWindow, saved: Mapping[int, int], last: Quoted, quoted: Quoted) -> int:
    """Return how much of a request begins as the last one did, in tokens; not a question that quotes anew."""
    if last == quoted:
        return window.reusable_tokens(saved) + (quoted.tokens if quoted.question < window.first_changed else 0)
    changed = min(each.question for each in (last, quoted) if each.text)
    return driver.call(first_thinned=changed).reusable_tokens(saved)


def _explained(shortage: TokenBudgetError, setting: Setting) -> str:
    kept = f" Of max_tokens={setting.max_tokens}, recall_tokens={setting.recall_tokens} are kept free."
    return f"{shortage}{kept if setting.recall_tokens else ''}"


def _reason(
    window: CallWindow, clamped: Mapping[int, int], *, has_left: bool
) -> Literal["fits", "held", "moved", "cleared", "clamped"]:
    """Return why a window is what it is: clearing is not clamping, and less than that something left."""
    if window.reason == "clamped" and max(clamped, default=-1) < window.first_changed:
        return "moved" if has_left else "cleared"
    return window.reason


def _missing(
    counted: CountedTranscript,
    needs: Sequence[Need],
    driver: WindowDriver,
    call: Call,
    shortened: Mapping[int, int],
) -> tuple[Need, ...]:
    """Return what a reply uses that its window, as it is shown, does not have."""
    pieces: dict[int, list[Piece]] = {}
    for slot in driver.slots() if counted.has_pieces else ():
        if isinstance(slot, Piece):
            pieces.setdefault(slot.index, []).append(slot)

    def text_at(index: int) -> str:
        slots = pieces.get(index, [index])
        return "\n".join(counted.shown_text(slot, shortened.get(index, 0)) for slot in slots)

    changed = shortened.keys() | pieces.keys() if pieces else shortened
    shown = ShownWindow(call, driver.strays, changed, text_at)
    return tuple(need for need in needs if not shown.has(need))


def _not_quoted(needs: tuple[Need, ...], quoted: Quoted) -> tuple[Need, ...]:
    """Return those of some facts that do not stand in a quotation either."""
    if not needs or not quoted.text:
        return needs
    said = said_in(quoted.text)
    return tuple(need for need in needs if not occurs(need.fact, said))


def untrimmed_calls_of(counted: CountedTranscript, prices: Prices) -> Iterator[Call]:
    """Yield every model call of a transcript as it is, whatever the model's context."""
    last = 0
    for number, length in enumerate(counted.call_indices, 1):
        tokens = counted.fixed + counted.cumulative[length]
        facts = len(counted.needs.get(length, ()))
        cost = prices.cost(tokens, last)
        yield Call(number, length, tokens, tokens, "fits", reusable=last, cost=cost, facts=facts)
        last = tokens


@dataclass
class Totals:
    """What a way of sending conversations comes to, over all their calls."""

    calls: int = 0  # how many
    tokens: int = 0  # sent, in all
    peak: int = 0  # the largest request sent
    cached: int = 0  # of all tokens, what the prompt cache serves
    visible: int = 0  # of the messages behind the system messages, what the model saw, in tokens
    total: int = 0  # the same with every message
    cost: float = 0.0  # at the prices given
    moved: int = 0  # calls before which the cut moved
    clamped: int = 0  # calls before which something was clamped
    over: int = 0  # calls that were not sent: not even clamping kept the budget
    facts: int = 0  # that replies use and that were said before
    facts_held: int = 0  # of these, those that stood in the window
    replies: int = 0  # that use a fact
    replies_whole: int = 0  # of these, those whose facts all stood in the window

    @property
    def share(self) -> float:
        """The share of the conversation that the model saw, over all calls."""
        return self.visible / self.total if self.total else 1.0

    @property
    def misses(self) -> int:
        """How many replies use something that the window did not have."""
        return self.replies - self.replies_whole

    def cost_share(self, never: Totals) -> float:
        return self.cost / (never.cost or 1)


def totals_of(simulated: Iterable[tuple[CountedTranscript, Iterable[Call]]], prices: Prices) -> Totals:
    """Return what the calls of some conversations come to."""
    totals = Totals()
    for counted, calls in simulated:
        beside = counted.fixed + counted.head_tokens
        for call in calls:
            totals.calls += 1
            totals.total += call.total_tokens - beside
            totals.moved += call.reason == "moved"
            totals.clamped += call.reason == "clamped"
            totals.over += call.reason == "over"
            totals.facts += call.facts
            totals.facts_held += call.facts - len(call.missing)
            totals.replies += call.facts > 0
            totals.replies_whole += call.facts > 0 and not call.missing
            if call.reason != "over":
                totals.tokens += call.tokens
                totals.peak = max(totals.peak, call.tokens)
                totals.visible += call.tokens - call.recalled_tokens - beside
                totals.cached += prices.cached_tokens(call.reusable)
                totals.cost += call.cost
    return totals


def trimmed(transcripts: Iterable[CountedTranscript], setting: Setting, prices: Prices) -> Totals:
    """Return what conversations come to under a setting."""
    return totals_of(((counted, calls_of(counted, setting, prices)) for counted in transcripts), prices)


def untrimmed(transcripts: Iterable[CountedTranscript], prices: Prices) -> Totals:
    """Return what never trimming comes to."""
    return totals_of(((counted, untrimmed_calls_of(counted, prices)) for counted in transcripts), prices)
