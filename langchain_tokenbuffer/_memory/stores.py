"""The memory's own store, and the window over it: what leaves the window leaves memory."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from operator import is_
from typing import TYPE_CHECKING

from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import BaseMessage
from typing_extensions import override

from langchain_tokenbuffer._window.driver import WindowDriver
from langchain_tokenbuffer.buffer import budget_of, meter_of
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tokenbuffer._memory.buffers import Counted, MemoryBuffer
    from langchain_tokenbuffer._messages.slots import Piece, StandIn


class OwnStore(InMemoryChatMessageHistory):
    """The memory's own list of messages. A subclass, since the class itself warns when made."""

    @override
    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add them at once: one by one, the turns of two threads would mix."""
        self.messages.extend(messages)


class MemoryCache:
    """What a memory has worked out so far; elsewhere and in copies it is worked out anew."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.settings: tuple[object, ...] = ()  # of the buffer
        self.buffer: MemoryBuffer | None = None
        self.store_window: StoreWindow | None = None

    def __reduce__(self) -> tuple[type[MemoryCache], tuple[()]]:
        return MemoryCache, ()


class StoreWindow:
    """The window over the memory's own store, from which messages are deleted.

    Law: catching up and deleting are O(new messages), at any limit. A message keeps the index that it came with when
    others before it are deleted. A store that was changed in another way is followed anew.
    """

    def __init__(self, buffer: MemoryBuffer, store: OwnStore, lock: threading.RLock) -> None:
        self._buffer = buffer
        self.store = store
        self._lock = lock
        self._being_evicted: set[int] = set()  # ids of the messages `on_evict` is busy with
        self._start_over()

    def _start_over(self) -> None:
        self._driver = WindowDriver(budget_of(self._buffer))
        # By index, in order, the store as it was seen last:
        self._messages: dict[int, BaseMessage] = {}
        self._keys: dict[int, int] = {}
        self._to_evict: set[int] = set()  # of these, what left the window

    def show(self) -> list[BaseMessage]:
        """Return the window. O(store): every message is looked at, so every change is seen."""
        with self._lock:
            buffer, messages = self._buffer, list(self.store.messages)
            meter = meter_of(buffer)
            if not meter.counter.additive:
                return buffer.trim(messages)
            if meter.counter.keys(messages[: len(self._keys)]) != list(self._keys.values()):
                self._start_over()
            # Equal messages may have taken the places of those seen before.
            self._messages = dict(zip(self._messages, messages, strict=False))
            self._grow(buffer.read(messages[len(self._messages) :]))
            return meter.show(self._messages, self._driver.slots(), self._driver.clamped())

    def catch_up(self, turn: Counted, *, delete: bool) -> None:
        """Follow what was stored since, as a rule a turn; delete what leaves, if that is all."""
        with self._lock:
            messages, known = self.store.messages, len(self._messages)
            newest = next(reversed(self._messages.values()), None)
            if known > len(messages) or (known and messages[known - 1] is not newest):
                self._start_over()
            new = messages[len(self._messages) :]
            is_turn = len(new) == len(turn) and new[0] is turn[0][0]  # a turn is stored at once
            self._grow(turn if is_turn else self._buffer.read(new))
            if delete:
                self._delete(self._evictable())

    @contextmanager
    def evicting(self) -> Iterator[list[BaseMessage]]:
        """Lend what left the window, and delete it from the store unless that raises.

        Skips messages that another thread or task is already evicting.
        """
        with self._lock:
            evicted = self._evictable()
            self._being_evicted.update(map(id, evicted))
        try:
            yield evicted
            with self._lock:
                self._delete(evicted)
        finally:
            with self._lock:
                self._being_evicted.difference_update(map(id, evicted))

    def _evictable(self) -> list[BaseMessage]:
        left = map(self._messages.__getitem__, sorted(self._to_evict))
        return [message for message in left if id(message) not in self._being_evicted]

    def _delete(self, evicted: list[BaseMessage]) -> None:
        """Delete these very objects. O(the places up to the last of them).

        By identity and not by place: a handler may have changed the store. What others append meanwhile stays, since
        only the part up to the last of them is replaced.
        """
        messages, ids = self.store.messages, set(map(id, evicted))
        for index in [each for each in self._to_evict if id(self._messages[each]) in ids]:
            self._to_evict.remove(index)
            del self._messages[index], self._keys[index]
        if all(map(is_, evicted, messages)):
            del messages[: len(evicted)]  # hot: as a rule they are the oldest
            return
        wanted, stays = Counter(map(id, evicted)), list[BaseMessage]()
        for message in messages:
            if not wanted:
                break
            if id(message) not in wanted:
                stays.append(message)
            elif wanted[id(message)] == 1:
                del wanted[id(message)]
            else:
                wanted[id(message)] -= 1  # one message, stored twice
        messages[: len(stays) + len(evicted) - wanted.total()] = stays

    def _grow(self, new: Counted) -> None:
        driver, additive = self._driver, meter_of(self._buffer).counter.additive
        try:
            for index, (message, key, numbers) in enumerate(new, driver.count):
                self._messages[index], self._keys[index] = message, key
                if additive:
                    left = driver.push(numbers, self)
                    self._to_evict.update(left)
            if not additive:
                driver.skip_to(driver.count + len(new))
                self._to_evict = self._dropped()
            self._buffer.tell_dropped(driver.take_drop_errors())
        except BaseException:
            self._start_over()  # followed by half: a counter or a warning has raised
            raise

    # As a source, for the driver.

    def min_tokens(self, index: int) -> int:
        return meter_of(self._buffer).min_tokens(self._messages[index])

    def mended_tokens(self, slot: StandIn | Piece) -> int | None:
        return meter_of(self._buffer).mended_tokens(self._messages[slot.index], slot)

    def _dropped(self) -> set[int]:
        """Return what is not in the window, by a counter that is not additive."""
        indices = list(self._messages)
        try:
            window = self._buffer.window(list(self._messages.values()))
        except TokenBudgetError as error:
            self._buffer.raise_or_warn(error)
            return set(indices)
        return {indices[position] for position in window.dropped}
