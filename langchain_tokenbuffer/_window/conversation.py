"""A conversation as the driver takes it: its messages in numbers, read only as far as asked."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from langchain_tokenbuffer._counting.clamp import clamp, min_tokens
from langchain_tokenbuffer._messages.kinds import facts_of
from langchain_tokenbuffer._messages.mended import mended
from langchain_tokenbuffer._window.budget import MessageTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._counting.message_counters import MessageCounter
    from langchain_tokenbuffer._messages.slots import Piece, Slot, StandIn


class MessageMeter:
    """Reads messages into numbers, with one counter and one rule of what is pinned."""

    def __init__(self, counter: MessageCounter, pin: Callable[[BaseMessage], bool] | None = None) -> None:
        self.counter = counter
        self._pin = pin

    def key(self, messages: Sequence[BaseMessage], *, reports: bool = False) -> int:
        """Return one hash of all that the messages' places in the window depend on; with `reports` also on these."""
        key = self.counter.key(messages, reports=reports)  # has whatever pins but the user's function
        return key if self._pin is None else hash((key, *map(self._is_pinned, messages)))

    def numbers(self, messages: Sequence[BaseMessage], keys: Sequence[int] | None = None) -> list[MessageTokens]:
        """Return messages in numbers, by their keys where they are at hand."""
        numbers = []
        for message, tokens in zip(messages, self.counter.tokens(messages, keys), strict=True):
            facts, pinned = facts_of(message), self._is_pinned(message)
            calls, results = facts.calls, facts.results
            marks = facts.is_notification, facts.has_compaction
            numbers.append(MessageTokens(facts.kind, tokens, calls, results, facts.server_calls, pinned, *marks))
        return numbers

    def clamped(self, message: BaseMessage, tokens: int) -> BaseMessage:
        """Return a copy of a message, shortened to at most so many tokens."""
        return clamp(message, tokens, self.counter)

    def show(
        self,
        messages: Sequence[BaseMessage] | Mapping[int, BaseMessage],
        slots: Sequence[Slot],
        clamped: Mapping[int, int],
    ) -> list[BaseMessage]:
        """Return the messages of a window, mended and shortened where it says so."""
        return [
            self._mended(messages[slot.index], slot)
            if not isinstance(slot, int)
            else self.clamped(messages[slot], clamped[slot])
            if slot in clamped
            else messages[slot]
            for slot in slots
        ]

    def _mended(self, message: BaseMessage, slot: StandIn | Piece) -> BaseMessage:
        return mended(message, slot) or message

    def mended_tokens(self, message: BaseMessage, slot: StandIn | Piece) -> int | None:
        """Return what a stand-in or a piece made of this message costs; `None` where nothing can answer the call."""
        made = mended(message, slot)
        return None if made is None else self.counter.tokens([made])[0]

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
        self._known: dict[tuple[int, int], int] = {}  # by the two indices of `key`

    def until(self, stop: int) -> ConversationTokens:
        """Return the conversation of the first messages; what is known of these is known of both."""
        if stop == len(self.messages):
            return self
        first = ConversationTokens(self.messages[:stop], self.meter)
        first._known = self._known
        return first

    @cached_property
    def keys(self) -> list[int]:
        """The key of each message's tokens."""
        return self.meter.counter.keys(self.messages)

    def key(self, start: int, stop: int) -> int:
        """Return one hash of all that the window depends on of the messages between two indices."""
        if (start, stop) not in self._known:
            self._known[start, stop] = self.meter.key(self.messages[start:stop])
        return self._known[start, stop]

    def numbers(self, start: int = 0) -> list[MessageTokens]:
        """Return the messages from an index on, in numbers."""
        return self.meter.numbers(self.messages[start:], None if start else self.keys)

    def min_tokens(self, index: int) -> int:
        return self.meter.min_tokens(self.messages[index])

    def mended_tokens(self, slot: StandIn | Piece) -> int | None:
        return self.meter.mended_tokens(self.messages[slot.index], slot)

    def show(self, slots: Sequence[Slot], clamped: Mapping[int, int]) -> list[BaseMessage]:
        return self.meter.show(self.messages, slots, clamped)

    def whole_tokens(self, slots: Sequence[Slot], clamped: Mapping[int, int]) -> int:
        """Count a window as a whole, in tokens."""
        return self.meter.counter.whole(self.show(slots, clamped))
