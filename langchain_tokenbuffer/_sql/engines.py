"""Which engine a connection means: the user's own, or one that this process has made of a URL.

Engines of ours are few and have an end: one for each URL, the least recently used closed where there are too many.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sqlite3
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy import pool

from langchain_tokenbuffer._sql import loops, pgbouncer, pools
from langchain_tokenbuffer._sql.urls import is_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncEngine
    from typing_extensions import TypeIs

    AnyEngine: TypeAlias = sa.Engine | AsyncEngine

WAIT = 30.0  # seconds that is waited for others: for a lock, and for one's turn to write
LIMIT = 32  # engines of ours that stay open: a SQLite connection has three files, a pool up to five connections
WAIT_KEY = "tokenbuffer_wait"  # of what a connection waits, in its `info`

_PYTHONS_WAIT = 5000  # milliseconds: what sqlite3 waits unless it is told


@dataclass(slots=True)
class _Kept:
    engine: AnyEngine
    users: int = 0
    is_closing: bool = False


class Engines:
    """The engines that this process has made of URLs."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kept: OrderedDict[URL, _Kept] = OrderedDict()  # the least recently used first
        self._inherited: list[object] = []

    def get(self, url: URL) -> AnyEngine:
        """Return the engine of a URL, which may be closed by others as soon as nobody uses it."""
        with self._lock:
            return self._found(url).engine

    @contextmanager
    def use(self, url: URL) -> Iterator[AnyEngine]:
        """Keep the engine of a URL open for as long as the context lasts."""
        with self._lock:
            kept = self._found(url)
            kept.users += 1
        try:
            yield kept.engine
        finally:
            with self._lock:
                kept.users -= 1

    def _found(self, url: URL) -> _Kept:
        if url not in self._kept:
            self._kept[url] = _Kept(make_engine(url))
        self._kept.move_to_end(url)
        return self._kept[url]

    def close(self, url: URL) -> None:
        """Close the engine of a URL, once nobody uses it; it opens again where somebody does."""
        with self._lock:
            if url in self._kept:
                self._kept[url].is_closing = True
        self.close_surplus()

    def has_surplus(self) -> bool:
        """Tell whether there is something to close."""
        return len(self._kept) > LIMIT or any(kept.is_closing for kept in self._kept.values())

    def close_surplus(self) -> None:
        """Close what nobody uses and is to be closed, or is one too many."""
        with self._lock:
            idle = [url for url, kept in self._kept.items() if not kept.users]
            surplus = [url for url in idle if self._kept[url].is_closing]
            # What is in memory is gone with its connection.
            others = [url for url in idle if url not in surplus and not is_in_memory(url)]
            surplus += others[: max(0, len(self._kept) - len(surplus) - LIMIT)]
            closed = [self._kept.pop(url) for url in surplus]
        for kept in closed:
            close_engine(kept.engine)

    def close_all(self) -> None:
        """Close all of them, at the end of the process."""
        with self._lock:
            for kept in self._kept.values():
                kept.is_closing = True
        self.close_surplus()

    def after_fork(self) -> None:
        """Leave the parent's connections alone: closing them here would close them there."""
        self._lock = threading.RLock()
        for kept in self._kept.values():
            engine = sync_engine(kept.engine)
            kept.users = 0
            self._inherited.append(engine.pool)
            engine.dispose(close=False)


ours = Engines()


def make_engine(url: URL) -> AnyEngine:
    """Make an engine of ours: asynchronous if its driver is, in the process's own loop then."""
    url, is_pooled = pgbouncer.split_url(url)
    options: dict[str, Any] = {"hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        wait = {} if "timeout" in url.query else {"timeout": WAIT}
        options["connect_args"] = {"check_same_thread": False, **wait}
    else:
        options["isolation_level"] = "READ COMMITTED"
    if is_in_memory(url):  # the one connection is the database
        options |= {"poolclass": pool.QueuePool, "pool_size": 1, "max_overflow": 0}
    if url.get_dialect().is_async:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415  # needs greenlet

        engine: AnyEngine = create_async_engine(url, **options)
    else:
        engine = sa.create_engine(url, **options)
    if is_pooled is not None:
        pgbouncer.note(sync_engine(engine).dialect, is_pooled=is_pooled)
    return prepared_engine(engine)


def close_engine(engine: AnyEngine) -> None:
    """Close an engine of ours."""
    pools.state_of(sync_engine(engine)).close()
    if is_async(engine):
        loops.run_in(loops.background(), engine.dispose())
    else:
        engine.dispose()


def given_engine(connection: object) -> AnyEngine:
    """Return the user's engine; refuse what is none, or is not safe.

    Raises:
        TypeError: It says what to pass.
    """
    if not isinstance(connection, sa.Engine) and not is_async(connection):
        accepted = "a path of a SQLite file, a URL, an Engine or an AsyncEngine"
        msg = f"connection must be {accepted}, got {type(connection).__name__}"
        raise TypeError(msg)
    _refuse_unsafe(sync_engine(connection))
    return prepared_engine(connection)


def is_async(connection: object) -> TypeIs[AsyncEngine]:
    """Tell an AsyncEngine, without importing what needs greenlet."""
    return isinstance(getattr(connection, "sync_engine", None), sa.Engine)


def sync_engine(engine: AnyEngine) -> sa.Engine:
    """Return the engine itself, of an AsyncEngine the one inside."""
    return engine.sync_engine if is_async(engine) else engine


def _refuse_unsafe(engine: sa.Engine) -> None:
    """Refuse an engine without transactions, or whose threads would not see one database."""
    of_engine = engine.get_execution_options().get("isolation_level")
    of_dialect = getattr(engine.dialect, "_on_connect_isolation_level", None)
    if "AUTOCOMMIT" in (of_engine, of_dialect):
        msg = "An engine with isolation_level='AUTOCOMMIT' would store half turns. Pass one without, or the URL."
        raise TypeError(msg)
    forgetful = (pool.SingletonThreadPool, pool.StaticPool, pool.NullPool)
    if is_in_memory(engine.url) and isinstance(engine.pool, forgetful):
        msg = (
            f"An in-memory SQLite engine on {type(engine.pool).__name__} is not safe here: threads would see different "
            'databases or share one transaction. Pass the URL "sqlite://", which gets a pool of one connection, or the '
            "path of a file."
        )
        raise TypeError(msg)


def prepared_engine(engine: AnyEngine) -> AnyEngine:
    """Let the connections of a SQLite engine wait for each other, readers not wait at all; see also `pgbouncer`."""
    inner = sync_engine(engine)
    pgbouncer.watch(inner)
    if inner.dialect.name == "sqlite" and not sa.event.contains(inner, "connect", _on_connect):
        sa.event.listen(inner, "connect", _on_connect)
        sa.event.listen(inner, "invalidate", _on_invalidate)
    return engine


def _on_connect(connection: Any, record: pool.ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout")
    wait = cursor.fetchone()[0]
    if wait == _PYTHONS_WAIT:
        wait = int(WAIT * 1000)
        cursor.execute(f"PRAGMA busy_timeout={wait}")
    record.info[WAIT_KEY] = wait / 1000
    for _ in range(50):  # another process may be switching just now; a file that is read-only keeps its mode
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                break
            time.sleep(0.02)
    cursor.close()


def _on_invalidate(connection: Any, *_: object) -> None:
    """End the transaction of a call that was cancelled or interrupted, before its connection is closed.

    A closed SQLite connection keeps its locks for as long as a statement is not read to its end, and Python keeps the
    statement with the frames of what was raised.
    """
    with suppress(asyncio.CancelledError, Exception):  # it is closed in any case
        connection.rollback()


atexit.register(ours.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ours.after_fork)
