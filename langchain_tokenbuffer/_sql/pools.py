"""What belongs to a pool of connections in this process: its threads, who may write, and where it is at home."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy import pool
from sqlalchemy.util import greenlet_spawn

from langchain_tokenbuffer._gates import Gates
from langchain_tokenbuffer._sql import loops

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_DEFAULT = 15  # connections used at once where a pool has no bound: as many as SQLAlchemy's default one has

_lock = threading.RLock()
_states: weakref.WeakKeyDictionary[pool.Pool, PoolState] = weakref.WeakKeyDictionary()


class Place(NamedTuple):
    """Where an AsyncEngine is used now."""

    loop: asyncio.AbstractEventLoop
    connections: pool.Pool | None  # those that work in that loop; None: none that stay open


class PoolState:
    """What this process keeps beside a pool of connections, for as long as that lives."""

    def __init__(self, engine: sa.Engine) -> None:
        self.prepared: set[tuple[str, str | None]] = set()  # prefix and schema of tables that were looked at
        self.connections = _number(engine.pool)
        # Some are left for reading, which waits for no lock of a database.
        self._writers = Gates(max(1, self.connections - max(1, self.connections // 5)))
        self._sessions = Gates()
        self._has_one_writer = engine.dialect.name == "sqlite"
        self.home: weakref.ref[asyncio.AbstractEventLoop] | None = None
        self.end: AsyncGenerator[None, None] | None = None  # of an AsyncEngine's connections, with their loop

    @cached_property
    def threads(self) -> ThreadPoolExecutor:
        """No more than connections, or they would wait for each other."""
        return ThreadPoolExecutor(self.connections, thread_name_prefix="tokenbuffer-sql")

    @contextmanager
    def writing(self, session: str, wait: float) -> Iterator[None]:
        """Be the one that writes to a session, after all who came before in this process."""
        with self._sessions.hold(self._key(session), wait), self._writers.hold(None, wait):
            yield

    @asynccontextmanager
    async def awriting(self, session: str, wait: float) -> AsyncIterator[None]:
        """`writing`, without blocking the event loop."""
        async with self._sessions.ahold(self._key(session), wait), self._writers.ahold(None, wait):
            yield

    def _key(self, session: str) -> str:
        return "" if self._has_one_writer else session

    def close(self) -> None:
        """End the threads, once they have done what they were given."""
        if "threads" in vars(self):
            self.threads.shutdown(wait=False)
            del self.threads


def _number(connections: pool.Pool) -> int:
    if not isinstance(connections, pool.QueuePool):
        return _DEFAULT
    overflow = int(vars(connections).get("_max_overflow", 0))
    return connections.size() + overflow if overflow >= 0 and connections.size() else _DEFAULT


def state_of(engine: sa.Engine) -> PoolState:
    """Return what is kept beside an engine's pool: the same for all engines over it."""
    with _lock:
        if engine.pool not in _states:
            _states[engine.pool] = PoolState(engine)
        return _states[engine.pool]


def place_of(engine: sa.Engine, *, joins: bool) -> Place:
    """Return where an AsyncEngine is used: in the loop of its first async use, while that runs.

    Else in the process's own loop, over connections of its own: the same engine makes them.

    Args:
        engine: Its `sync_engine`.
        joins: Whether the running loop is to be its home if it has none.
    """
    with _lock:
        state = state_of(engine)
        home = state.home() if state.home is not None else None
        if state.home is not None and (home is None or home.is_closed()):
            engine.dispose(close=False)  # its connections have ended with their loop
            state, home = state_of(engine), None
        if home is None and joins and (home := loops.running()) is not None:
            state.home, state.end = weakref.ref(home), _close_at_end(weakref.ref(engine), weakref.ref(engine.pool))
            with suppress(StopIteration):
                state.end.__anext__().send(None)  # to where it waits
        if home is not None and home.is_running():
            return Place(home, engine.pool)
    return Place(loops.background(), None)


async def _close_at_end(
    engine: weakref.ref[sa.Engine], connections: weakref.ref[pool.Pool]
) -> AsyncGenerator[None, None]:
    """Wait for the end of a loop, which closes its asynchronous generators, and close its connections.

    Nobody could do that any more, nor use them. Who has disposed of the engine meanwhile has closed them.
    """
    try:
        yield
    finally:
        found = engine()
        if found is not None and found.pool is connections():
            await greenlet_spawn(found.dispose)


@asynccontextmanager
async def connected(engine: AsyncEngine, place: Place) -> AsyncIterator[AsyncConnection]:
    """Connect in a place, in whose loop this runs."""
    if place.connections is not None:
        async with engine.connect() as connection:
            yield connection
        return
    from sqlalchemy.ext.asyncio import AsyncConnection  # noqa: PLC0415  # needs greenlet

    own = engine.pool.recreate()  # the engine's way to connect, with its events; those that are open work elsewhere
    opened = await greenlet_spawn(lambda: sa.Connection(engine.sync_engine, own.connect()))
    connection = AsyncConnection(engine, opened)
    try:
        yield connection
    finally:
        await asyncio.shield(connection.close())
        await greenlet_spawn(own.dispose)


def _after_fork() -> None:
    """Threads and loops are only in the parent."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    _states.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
