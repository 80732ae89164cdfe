"""What a policy's windows come to: faults, how much they keep, what they cost, how long they took.

First a policy plays alone, watched by a clock and a tally; then its windows are judged, with an
exact counter and `validate`, where nothing is timed.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, convert_to_messages

from langchain_tokenbuffer.order import validate
from tests.benchmarks.trimming.conversations import COUNTS
from tests.benchmarks.trimming.tokenizing import Exact, forget, tallied

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.benchmarks.trimming.conversations import Conversation, DataSet
    from tests.benchmarks.trimming.policies import Policy, Window

CACHED = 0.1
"""What a cached token costs, in tokens that are not; with both providers."""
WRITTEN = 1.25
"""What Anthropic asks for a token that goes into the cache."""
FLOOR = 1024
"""The shortest prefix that is cached, in tokens."""
FAULTS = (
    "invalid",
    "over_budget",
    "question_lost",
    "newest_lost",
    "system_lost",
    "empty_or_raised",
)


@dataclass
class Played:
    """What a policy made of a data set: of each conversation its windows, `None` if it raised."""

    windows: list[list[Window | None]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    tokens: int = 0  # that came out of the tokenizer


def play(policy: Policy, data_set: DataSet, tick: Callable[[], object] = lambda: None) -> Played:
    """Play a data set, cold: nothing is remembered of the policies before."""
    for conversation in data_set.conversations:
        _ready(conversation)
    forget()
    gc.collect()
    played = Played()
    with tallied() as tally:
        opened = policy.make(data_set.max_tokens)
        for conversation in data_set.conversations:
            before = tally.tokens
            ask = opened(conversation)
            tally.tokens = before  # finding a fair budget is not the policy's work
            windows: list[Window | None] = []
            for n in conversation.calls:
                start = time.perf_counter()
                try:
                    window: Window | None = ask(n)
                except Exception as error:  # noqa: BLE001  # what it is, is what is asked
                    window = None
                    played.errors.append(f"{type(error).__name__}: {error}"[:200])
                played.seconds.append(time.perf_counter() - start)
                windows.append(window)
                tick()
            played.windows.append(windows)
    played.tokens = tally.tokens
    return played


def _ready(conversation: Conversation) -> None:
    """Convert and count beforehand what the policies are handed."""
    _ = conversation.wire, conversation.wire_head, conversation.beside


def needed(data_set: DataSet) -> int:
    """Return how many tokens come out of the tokenizer when every distinct text is counted once.

    Texts of messages, roles and calls, and the tools beside each distinct system message.
    """
    heads = {each.system: each for each in data_set.conversations}
    messages = [m for each in data_set.conversations for m in (*each.head, *each.messages)]
    distinct = dict(zip(COUNTS.keys(messages), messages, strict=True))
    with tallied() as tally:
        exact = Exact()
        exact.messages(distinct.values())
        for each in heads.values():
            exact.tools(each.tools)
    return tally.tokens


@dataclass
class Figures:
    """What the windows of a policy came to, over all calls; tokens unless it says otherwise."""

    calls: int = 0
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))
    invalid: Counter[str] = field(default_factory=Counter)  # windows, by the codes of `validate`
    shortened: int = 0  # windows with a message that is not whole
    seen: float = 0  # of the conversation, in the windows
    said: int = 0  # the conversation before each call, whole
    sent: int = 0  # in requests
    common: int = 0  # of those, with the beginning of the request before
    openai: float = 0  # what they cost, and what never trimming costs in the same calls
    openai_whole: float = 0
    anthropic: float = 0
    anthropic_whole: float = 0


def judge(data_set: DataSet, played: Played) -> Figures:
    """Judge the windows of a policy."""
    figures = Figures()
    for conversation, windows in zip(data_set.conversations, played.windows, strict=True):
        _judge(conversation, windows, data_set.max_tokens, figures)
    return figures


def _judge(conversation: Conversation, windows: Sequence[Window | None], max_tokens: int, figures: Figures) -> None:
    original = _Original(conversation)
    last, last_whole = _Request(), _Request()
    for n, window in zip(conversation.calls, windows, strict=True):
        figures.calls += 1
        figures.said += original.tokens(n)
        whole = _Request(conversation, [*conversation.head, *conversation.messages[:n]])
        messages = [] if window is None else _as_messages(window)
        shown = [message for message in messages if message.type != "system"]
        if not shown:
            figures.faults["empty_or_raised"] += 1
            last_whole = whole
            continue
        asked = _Request(conversation, messages)
        codes = {violation.code for violation in validate(messages)}
        figures.invalid.update(codes)
        figures.faults["invalid"] += bool(codes)
        for fault, is_there in original.lost(n, messages, shown).items():
            figures.faults[fault] += is_there
        figures.faults["over_budget"] += asked.tokens > max_tokens
        figures.shortened += any(map(original.is_shortened, shown))
        figures.seen += sum(map(original.share, shown))
        figures.sent += asked.tokens
        figures.common += asked.common(last)
        figures.openai += asked.openai(last)
        figures.anthropic += asked.anthropic(last)
        figures.openai_whole += whole.openai(last_whole)
        figures.anthropic_whole += whole.anthropic(last_whole)
        last, last_whole = asked, whole


def _as_messages(window: Window) -> list[BaseMessage]:
    return convert_to_messages(window)


class _Request:
    """A request as the provider prices it: tools first, then the messages."""

    def __init__(self, conversation: Conversation | None = None, messages: Sequence[BaseMessage] = ()) -> None:
        self._tools = 0 if conversation is None else conversation.tool_tokens
        self._keys = COUNTS.keys(messages)
        self._prices = COUNTS.tokens(messages, self._keys)
        self.tokens = self._tools + COUNTS.constant + sum(self._prices)

    def common(self, last: _Request) -> int:
        """Return how many tokens it has in common with the beginning of the request before."""
        if not last._keys:
            return 0
        pairs = zip(self._keys, last._keys, strict=False)
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        return self._tools + sum(self._prices[:same])

    def cached(self, last: _Request) -> int:
        """Return how many tokens the provider's cache serves."""
        common = self.common(last)
        return common if common >= FLOOR else 0

    def openai(self, last: _Request) -> float:
        """Return what it costs where writing the cache is free."""
        return self.tokens - (1 - CACHED) * self.cached(last)

    def anthropic(self, last: _Request) -> float:
        """Return what it costs where writing the cache is not."""
        if self.tokens < FLOOR:
            return self.tokens
        cached = self.cached(last)
        return CACHED * cached + WRITTEN * (self.tokens - cached)


class _Original:
    """A conversation that windows are held against."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._messages = conversation.messages
        self._keys = COUNTS.keys(self._messages)
        self._prices = COUNTS.tokens(self._messages, self._keys)
        self._price_of = dict(zip(self._keys, self._prices, strict=True))
        self._beginning: dict[Any, list[int]] = defaultdict(list)
        for place, message in enumerate(self._messages):
            self._beginning[_beginning(message)].append(place)

    def tokens(self, n: int) -> int:
        """Return what the first so many messages cost."""
        return sum(self._prices[:n])

    def share(self, message: BaseMessage) -> float:
        """Return how many tokens of the conversation a message of a window shows.

        A shortened one counts by the part of its text that is still there at its two ends; what is
        no message of the conversation, such as a summary, shows nothing of it.
        """
        [key] = COUNTS.keys([message])
        return self._price_of.get(key) or self._longest_part(message)

    def is_shortened(self, message: BaseMessage) -> bool:
        """Tell whether a message of a window is a part of one of the conversation."""
        [key] = COUNTS.keys([message])
        return key not in self._price_of and self._longest_part(message) > 0

    def _longest_part(self, message: BaseMessage) -> float:
        places = self._beginning[_beginning(message)]
        return max((self._part(place, message) for place in places), default=0)

    def lost(self, n: int, messages: Sequence[BaseMessage], shown: Sequence[BaseMessage]) -> dict[str, bool]:
        """Tell what is not in a window."""
        kinds = [message.type for message in self._messages[:n]]
        question = n - 1 - kinds[::-1].index("human") if "human" in kinds else None
        system = self._conversation.system
        return {
            "question_lost": question is not None and not any(self._shows(question, message) for message in shown),
            "newest_lost": not self._shows(n - 1, shown[-1]),
            "system_lost": system is not None
            and not any(each.type == "system" and each.content == system for each in messages),
        }

    def _shows(self, place: int, message: BaseMessage) -> bool:
        """Tell whether a message of a window is one of the conversation, whole or shortened."""
        [key] = COUNTS.keys([message])
        return key == self._keys[place] or self._part(place, message) > 0

    def _part(self, place: int, message: BaseMessage) -> float:
        original = self._messages[place]
        whole, part = original.text, message.text
        if original.type != message.type or len(part) >= len(whole):
            return 0
        start = _same(whole, part)
        end = min(_same(whole[::-1], part[::-1]), len(part) - start)
        return self._prices[place] * (start + end) / len(whole)


def _same(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _beginning(message: BaseMessage) -> tuple[str, str]:
    return message.type, message.text[:8]
