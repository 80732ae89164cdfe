"""Drivers that may go on: a call counts what is new, and sees by a few keys that all before it is as it was."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import replace
from operator import eq
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from langchain_tokenbuffer._window.driver import WindowDriver
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_tokenbuffer._window.billing import Billing
    from langchain_tokenbuffer._window.budget import Budget
    from langchain_tokenbuffer._window.conversation import ConversationTokens

_Name: TypeAlias = tuple[str, tuple[int, ...]]
"""A model, and the keys of a conversation's first messages."""

STRETCH = 256
"""So many messages have one key together. Only the last stretch, which grows, is hashed twice at a call."""


class _Entry(NamedTuple):
    counted_by: object
    keys: list[int]  # of each stretch
    length: int  # in messages
    driver: WindowDriver

    def can_continue(self, conversation: ConversationTokens, billing: Billing) -> bool:
        return (
            self.counted_by is conversation.meter.counter.count_cache
            and self.length <= len(conversation.messages)
            and self.driver.can_continue(billing)
            and all(map(eq, self.keys, _keys(conversation, 0, self.length)))
        )

    @property
    def whole_stretches(self) -> list[int]:
        return self.keys[: self.length // STRETCH]


def _keys(conversation: ConversationTokens, start: int, stop: int) -> Iterator[int]:
    return (conversation.key(at, min(at + STRETCH, stop)) for at in range(start, stop, STRETCH))


def stretch_keys(conversation: ConversationTokens) -> tuple[int, ...]:
    """Return the keys of a conversation: all that its window depends on, of each stretch."""
    return tuple(_keys(conversation, 0, len(conversation.messages)))


MAX_MESSAGES = 1 << 18
"""How many messages are followed, of all conversations together; the conversations asked for longest ago go first, and
one that is longer is held alone. No message is held, and no text: a key for each stretch, and of each message that is
in the window its numbers (about 250 bytes)."""
_NAMED_BY = 4
"""So many first messages tell conversations apart, or one would take the other's place."""


class DriverCache:
    """Holds the drivers of conversations that may go on.

    Law: a driver is lent to one caller at a time; another one starts over and comes to the same. What was followed
    half, because something raised, is not held. Pickles and copies empty.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[_Name, _Entry] = OrderedDict()
        self._held = 0  # messages

    def __reduce__(self) -> tuple[type[DriverCache], tuple[()]]:
        return DriverCache, ()

    @contextmanager
    def follow(
        self, conversation: ConversationTokens, billing: Billing, model: str = ""
    ) -> Iterator[tuple[WindowDriver, int | None]]:
        """Lend a driver that has followed the whole conversation under these settings.

        With it comes what its window costs, in tokens, where the counter is not additive. The same messages may be
        another `model`'s conversation, too.
        """
        counter = conversation.meter.counter
        if not counter.additive:
            yield fit_whole(billing.budget_at(len(conversation.messages) - 1), conversation)
            return
        name = model, tuple(counter.keys(conversation.messages[:_NAMED_BY]))
        driver, keys, start = self._take(name, conversation, billing)
        push_from(driver, conversation, start)
        length = len(conversation.messages)
        keys += _keys(conversation, len(keys) * STRETCH, length)
        try:
            yield driver, None
        finally:
            self._put(name, _Entry(counter.count_cache, keys, length, driver))

    def _take(
        self, name: _Name, conversation: ConversationTokens, billing: Billing
    ) -> tuple[WindowDriver, list[int], int]:
        """Return a driver, the keys of the whole stretches it has followed, and how many messages it has followed."""
        model, keys = name
        with self._lock:
            entry = self._pop(name)
            while entry is None and keys:  # it may have been held when it had fewer messages
                keys = keys[:-1]
                entry = self._pop((model, keys))
        if entry is None or not entry.can_continue(conversation, billing):
            return WindowDriver(billing.budget, billing), [], 0
        entry.driver.continue_under(billing)
        return entry.driver, entry.whole_stretches, entry.length

    def _put(self, name: _Name, entry: _Entry) -> None:
        with self._lock:
            self._pop(name)
            self._entries[name] = entry
            self._held += entry.length
            while self._held > MAX_MESSAGES and len(self._entries) > 1:
                self._pop(next(iter(self._entries)))

    def _pop(self, name: _Name) -> _Entry | None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._held -= entry.length
        return entry


def push_from(driver: WindowDriver, conversation: ConversationTokens, start: int) -> None:
    """Let a driver follow a conversation from an index on."""
    for message in conversation.numbers(start):
        driver.push(message, conversation)


def fit_whole(budget: Budget, conversation: ConversationTokens) -> tuple[WindowDriver, int]:
    """Follow a conversation by a counter that is not additive; return the driver and its window's tokens.

    Law: the window costs at most `max_tokens` as the counter counts all of it at once.
    """
    counter = conversation.meter.counter
    max_tokens, fixed = budget.max_tokens, budget.fixed - budget.slack - counter.constant
    # First everything: what messages cost alone may add up to more than the whole does.
    alone = sum(counter.tokens(conversation.messages, conversation.keys))
    budget = replace(budget, max_tokens=max(max_tokens, budget.fixed + alone))
    tokens = 0
    while True:
        driver = WindowDriver(budget)
        push_from(driver, conversation, 0)
        try:
            window = driver.window()
        except TokenBudgetError as error:
            tokens = max(tokens, error.tokens)
            msg = (
                f"What must stay needs {tokens} tokens as {counter.what} counts the whole window; "
                f"max_tokens is {max_tokens}."
            )
            raise TokenBudgetError(msg, tokens=tokens, max_tokens=max_tokens) from error
        tokens = fixed + conversation.whole_tokens(driver.slots(), driver.clamped())
        if tokens <= max_tokens:
            return driver, tokens
        # By the excess where a message costs in the whole what it costs alone; in proportion where it costs more.
        share = window.tokens * max_tokens // tokens
        tighter = max(share, window.tokens - (tokens - max_tokens))
        budget = replace(budget, max_tokens=min(tighter, window.tokens - 1))
