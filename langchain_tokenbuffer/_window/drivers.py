"""Drivers that may go on, each with the keys already pushed: a call looks at what is new."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from langchain_tokenbuffer._window.driver import WindowDriver
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from langchain_tokenbuffer._window.billing import Billing
    from langchain_tokenbuffer._window.budget import Budget
    from langchain_tokenbuffer._window.conversation import ConversationTokens


class Lock:
    """A lock that pickles and copies, as a new one."""

    def __init__(self) -> None:
        """Make it open."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        """Wait for it."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Let the next one in."""
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        """Be another lock elsewhere."""
        return Lock, ()


class _Entry(NamedTuple):
    """A driver, what it was counted by, and the keys already pushed."""

    counted_by: object
    keys: list[int]
    driver: WindowDriver


MAX_DRIVERS = 32
"""How many conversations' drivers are held."""


class DriverCache:
    """Holds the drivers of conversations that may go on.

    Law: a driver is lent to one caller at a time; another one starts over and comes to the same.
    What was followed half, because something raised, is not held. Pickles and copies empty.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def __reduce__(self) -> tuple[type[DriverCache], tuple[()]]:
        return DriverCache, ()

    @contextmanager
    def follow(
        self, name: Hashable, billing: Billing, conversation: ConversationTokens
    ) -> Iterator[tuple[WindowDriver, int | None]]:
        """Lend a driver that has followed the whole conversation.

        Args:
            name: What the conversation is known by.
            billing: The settings it is followed under.
            conversation: Its messages.

        Returns:
            The driver; and what its window costs, in tokens, where the counter is not additive.
        """
        if not conversation.meter.counter.additive:
            yield fit_whole(billing.budget, conversation)
            return
        driver, start = self._take(name, billing, conversation)
        push_from(driver, conversation, start)
        try:
            yield driver, None
        finally:
            self._put(
                name, _Entry(conversation.meter.counter.count_cache, conversation.keys, driver)
            )

    def _take(
        self, name: Hashable, billing: Billing, conversation: ConversationTokens
    ) -> tuple[WindowDriver, int]:
        """Return a driver and how many of the messages it has followed."""
        with self._lock:
            entry = self._entries.pop(name, None)
        if (
            entry is not None
            and entry.counted_by is conversation.meter.counter.count_cache
            and entry.keys == conversation.keys[: len(entry.keys)]
            and entry.driver.can_continue(billing)
        ):
            entry.driver.continue_under(billing)
            return entry.driver, len(entry.keys)
        return WindowDriver(billing.budget, billing), 0

    def _put(self, name: Hashable, entry: _Entry) -> None:
        with self._lock:
            self._entries[name] = entry
            while len(self._entries) > MAX_DRIVERS:
                self._entries.popitem(last=False)


def push_from(driver: WindowDriver, conversation: ConversationTokens, start: int) -> None:
    """Let a driver follow a conversation from an index on."""
    for message in conversation.numbers(start):
        driver.push(message, conversation.min_tokens)


def fit_whole(budget: Budget, conversation: ConversationTokens) -> tuple[WindowDriver, int]:
    """Follow a conversation by a counter that is not additive: the whole window is counted.

    Law: the window costs at most `max_tokens` as the counter counts all of it at once.

    Returns:
        The driver, and what its window costs, in tokens.

    Raises:
        TokenBudgetError: If what must stay does not fit and `oversize` cannot make it fit.
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
                f"What must stay needs {tokens} tokens as {counter.describe()} "
                f"counts the whole window; max_tokens is {max_tokens}."
            )
            raise TokenBudgetError(msg, tokens=tokens, max_tokens=max_tokens) from error
        tokens = fixed + conversation.whole_tokens(window.kept, window.clamped)
        if tokens <= max_tokens:
            return driver, tokens
        # By the excess where a message costs in the whole what it costs alone; in proportion
        # where it costs more.
        share = window.tokens * max_tokens // tokens
        tighter = max(share, window.tokens - (tokens - max_tokens))
        budget = replace(budget, max_tokens=min(tighter, window.tokens - 1))
