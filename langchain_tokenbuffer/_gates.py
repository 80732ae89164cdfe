"""Waiting in line: one at a time for each key, first come first served, threads and event loops alike.

Who waits holds neither a thread of an executor nor a connection.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable, Iterator

Line: TypeAlias = "deque[Future[None]]"

_all: weakref.WeakSet[Gates] = weakref.WeakSet()


class Gates:
    """Lets `places` in at once for each key; the next ones in the order they came.

    Who has waited for `wait` seconds gets a `TimeoutError`; `None` waits for ever. Not reentrant.
    """

    def __init__(self, places: int = 1) -> None:
        self._places = places
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._inside: dict[Hashable, int] = {}
        self._lines: dict[Hashable, Line] = {}

    @contextmanager
    def hold(self, key: Hashable, wait: float | None = None) -> Iterator[None]:
        """Be inside for as long as the context lasts."""
        if (turn := self._enter(key)) is not None:
            with self._in_line(key, turn, wait):
                turn.result(wait)
        try:
            yield
        finally:
            self._leave(key)

    @asynccontextmanager
    async def ahold(self, key: Hashable, wait: float | None = None) -> AsyncIterator[None]:
        """`hold`, without blocking the event loop."""
        if (turn := self._enter(key)) is not None:
            with self._in_line(key, turn, wait):
                await asyncio.wait_for(asyncio.wrap_future(turn), wait)
        try:
            yield
        finally:
            self._leave(key)

    def _enter(self, key: Hashable) -> Future[None] | None:
        """Go in, or return what is done when it is one's turn."""
        with self._lock:
            inside = self._inside.get(key, 0)
            if inside < self._places:
                self._inside[key] = inside + 1
                return None
            turn: Future[None] = Future()
            self._lines.setdefault(key, deque()).append(turn)
            return turn

    @contextmanager
    def _in_line(self, key: Hashable, turn: Future[None], wait: float | None) -> Iterator[None]:
        """Give the place up if the waiting ends otherwise."""
        try:
            yield
        except BaseException as error:
            if not turn.cancel():  # it was let in just now
                self._leave(key)
            if isinstance(error, TimeoutError):
                msg = f"Others that write there were in front for {wait:g} s."
                raise TimeoutError(msg) from None
            raise

    def _leave(self, key: Hashable) -> None:
        """Let the next one in that still waits."""
        with self._lock:
            line = self._lines.get(key, deque())
            while line:
                turn = line.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._lines.pop(key, None)
            self._inside[key] -= 1
            if not self._inside[key]:
                del self._inside[key]


def _after_fork() -> None:
    """Let nobody wait for threads that are only in the parent."""
    for gates in _all:
        gates._reset()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
