"""A conversation as the driver takes it: its messages in numbers, read only as far as asked."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from langchain_tokenbuffer._counting.clamp import clamp, min_tokens
from langchain_tokenbuffer._messages.kinds import call_ids, kind_of
from langchain_tokenbuffer._window.budget import MessageTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer.counters import TokenCounter


class MessageMeter:
    """Reads messages into numbers, with one counter and one rule of what is pinned."""

    def __init__(self, counter: TokenCounter, pin: Callable[[BaseMessage], bool] | None = None) -> None:
        self.counter = counter
        self._pin = pin

    def keys(self, messages: Sequence[BaseMessage]) -> list[int]:
        """Return one hash for each message, of all that its place in the window depends on."""
        keys = self.counter.keys(messages)
        if self._pin is None:  # what else pins is in the counter's keys
            return keys
        return [~key if self._is_pinned(each) else key for each, key in zip(messages, keys, strict=True)]

    def key(self, messages: Sequence[BaseMessage]) -> int:
        """Return one hash for all of them, of all that their places in the window depend on."""
        key = self.counter.key(messages)
        return key if self._pin is None else hash((key, *map(self._is_pinned, messages)))

    def numbers(self, messages: Sequence[BaseMessage], keys: Sequence[int] | None = None) -> list[MessageTokens]:
        """Return messages in numbers, by their keys where they are at hand."""
        numbers = []
        for message, tokens in zip(messages, self.counter.tokens(messages, keys), strict=True):
            kind = kind_of(message)
            calls = len(call_ids(message)) if kind == "ai" else 0
            numbers.append(MessageTokens(kind, tokens, calls, self._is_pinned(message)))
        return numbers

    def clamped(self, message: BaseMessage, tokens: int) -> BaseMessage:
        """Return a copy of a message, shortened to at most so many tokens."""
        return clamp(message, tokens, self.counter)

    def show(
        self,
        messages: Sequence[BaseMessage] | Mapping[int, BaseMessage],
        kept: Sequence[int],
        clamped: Mapping[int, int],
    ) -> list[BaseMessage]:
        """Return the messages of a window by their indices, shortened where it says so."""
        return [
            self.clamped(messages[index], clamped[index]) if index in clamped else messages[index] for index in kept
        ]

    def min_tokens(self, message: BaseMessage) -> int:
        """Return the fewest tokens to which a message can be clamped."""
        return min_tokens(message, self.counter)

    def _is_pinned(self, message: BaseMessage) -> bool:
        extra = message.additional_kwargs
        if extra and extra.get("pinned") is True:
            return True
        if self._pin is None:
            return False
        pinned = self._pin(message)
        if not isinstance(pinned, bool):
            msg = f"pin must return a bool, got {pinned!r} for a message of type {message.type!r}"
            raise TypeError(msg)
        return pinned


class ConversationTokens:
    """The messages of one conversation, in numbers as far as somebody asks for them."""

    def __init__(self, messages: Sequence[BaseMessage], meter: MessageMeter) -> None:
        self.messages = messages
        self.meter = meter

    @cached_property
    def keys(self) -> list[int]:
        """The key of each message."""
        return self.meter.keys(self.messages)

    def key(self, start: int, stop: int) -> int:
        """Return one hash of the messages between two indices, of all that the window depends on."""
        return self.meter.key(self.messages[start:stop])

    def numbers(self, start: int = 0) -> list[MessageTokens]:
        """Return the messages from an index on, in numbers."""
        return self.meter.numbers(self.messages[start:], None if start else self.keys)

    def min_tokens(self, index: int) -> int:
        return self.meter.min_tokens(self.messages[index])

    def show(self, kept: Sequence[int], clamped: Mapping[int, int]) -> list[BaseMessage]:
        return self.meter.show(self.messages, kept, clamped)

    def whole_tokens(self, kept: Sequence[int], clamped: Mapping[int, int]) -> int:
        """Count a window as a whole, in tokens."""
        return self.meter.counter(self.show(kept, clamped))
