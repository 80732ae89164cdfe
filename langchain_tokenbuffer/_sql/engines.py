"""Where the database is: one engine per process and URL, for threads and event loops alike."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sqlite3
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, TypeVar, TypeVarTuple

import sqlalchemy as sa
import tenacity
from sqlalchemy import exc, pool
from sqlalchemy.engine import URL, make_url

from langchain_tokenbuffer._sql import migrations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from langchain_tokenbuffer._sql.schema import Tables

A = TypeVarTuple("A")
R = TypeVar("R")
Operation: TypeAlias = "Callable[[sa.Connection, *A], R]"

IN_DOUBT = "The connection was lost in the commit: it is not known whether that was made."
"""The note on an error if the answer to a commit was lost."""

_WAIT = 30
"""Seconds a SQLite connection waits for another's write."""
_THREADS = 5
"""Of an engine whose pool has no size."""
_SYNC_DRIVERS = {
    "aiosqlite": "sqlite",
    "asyncpg": "postgresql+psycopg",
    "psycopg_async": "postgresql+psycopg",
    "psycopg": "postgresql+psycopg",
    "aiomysql": "mysql+pymysql",
    "asyncmy": "mysql+pymysql",
}
_ASYNCPG_ONLY = ("prepared_statement_cache_size", "prepared_statement_name_func")

_lock = threading.RLock()
_engines: dict[URL, sa.Engine] = {}
_executors: weakref.WeakKeyDictionary[sa.Engine, ThreadPoolExecutor] = weakref.WeakKeyDictionary()
_prepared: weakref.WeakKeyDictionary[sa.Engine, set[Tables]] = weakref.WeakKeyDictionary()
_loops: weakref.WeakKeyDictionary[sa.Engine, weakref.ref[asyncio.AbstractEventLoop]] = weakref.WeakKeyDictionary()
_inherited: list[pool.Pool] = []


class ConcurrentCreateError(Exception):
    """Another process has created the same just now; the next try sees it."""


class Database:
    """Runs operations over a `Connection`, each in one transaction, tried again where that helps.

    Made of a file path, a URL or an `Engine`, everything runs in threads. Made of an `AsyncEngine`, async calls run in
    the loop that engine belongs to: the first one it is used in. In any other loop, and in no loop, they run in threads
    over an `Engine` of its URL. Before the first operation the tables, if any are given, are created and brought up if
    `creates`, and checked in any case.
    """

    def __init__(self, connection: object, tables: Tables | None, *, creates: bool) -> None:
        self._tables = tables
        self._prepare = migrations.create if creates else migrations.check
        if isinstance(connection, (str, URL, os.PathLike)):
            connection = _shared(_url_of(connection))
        self._async = connection if _is_async(connection) else None
        given = connection if self._async is None else self._async.sync_engine
        if not isinstance(given, sa.Engine):
            msg = (
                "connection must be a path of a SQLite file, a URL, an Engine or an AsyncEngine, "
                f"got {type(given).__name__}"
            )
            raise TypeError(msg)
        _refuse_unsafe(given)
        _prepare_sqlite(given)
        self.given = given

    @cached_property
    def engine(self) -> sa.Engine:
        """The engine of the sync methods; if none can be made, the error says what to pass."""
        return self.given if self._async is None else _sync_engine(self._async)

    def run(self, operation: Operation[*A, R], *args: *A) -> R:
        """Run an operation in a transaction of its own and return its result.

        What is transient, such as a lock that was not to be had, is tried again from the start. If one of the tries may
        have been committed all the same, a note on the error says `IN_DOUBT`.
        """
        with _explained() as commits:
            for attempt in tenacity.Retrying(**_RETRIES):
                with attempt, self.engine.connect() as connection:
                    result = self._once(connection, commits, operation, *args)
        return result

    async def arun(self, operation: Operation[*A, R], *args: *A) -> R:
        """`run`, without blocking the event loop."""
        if self._async is None or not _in_own_loop(self._async.sync_engine):
            return await self.in_thread(self.run, operation, *args)
        with _explained() as commits:
            async for attempt in tenacity.AsyncRetrying(**_RETRIES):
                with attempt:
                    async with self._async.connect() as connection:
                        result = await connection.run_sync(lambda inner: self._once(inner, commits, operation, *args))
        return result

    def _once(
        self, connection: sa.Connection, commits: list[sa.Transaction], operation: Operation[*A, R], *args: *A
    ) -> R:
        engine, tables = connection.engine, self._tables
        if tables is not None and tables not in _prepared.get(engine, ()):
            with connection.begin():
                self._prepare(connection, tables)
            with _lock:
                _prepared.setdefault(engine, set()).add(tables)
        with connection.begin() as transaction:
            result = operation(connection, *args)
            commits.append(transaction)
            transaction.commit()
        return result

    async def in_thread(self, call: Callable[[*A], R], *args: *A) -> R:
        """Call what takes its time in a thread of the engine's own."""
        context = contextvars.copy_context()
        done = _executor(self.given).submit(context.run, partial(call, *args))
        return await asyncio.wrap_future(done)

    def without_tables(self) -> Database:
        """Return the same database, whose tables need not be there."""
        return Database(self._async or self.given, None, creates=False)


@contextlib.contextmanager
def _explained() -> Iterator[list[sa.Transaction]]:
    """Yield what collects the commits that are tried; say on an error if one may have been made.

    Parameters, which are messages, are kept out of what it says, also on others' engines.
    """
    commits: list[sa.Transaction] = []
    try:
        yield commits
    except BaseException as error:
        if commits:
            error.add_note(IN_DOUBT)
        if isinstance(error, exc.StatementError):
            error.hide_parameters = True
        raise


def _url_of(connection: str | URL | os.PathLike[str]) -> URL:
    """Return the URL; a string without `://` is the path of a SQLite file."""
    if isinstance(connection, os.PathLike) or (isinstance(connection, str) and "://" not in connection):
        path = os.path.abspath(os.fspath(connection))  # noqa: PTH100  # not resolved: links stay
        return URL.create("sqlite", database=path)
    try:
        url = make_url(connection)
    except exc.ArgumentError:
        # SQLAlchemy quotes the string, password and all.
        msg = "connection is no URL that SQLAlchemy can read"
        raise ValueError(msg) from None
    driver = url.drivername.partition("+")[2]
    if driver in _SYNC_DRIVERS:
        url = url.set(drivername=_SYNC_DRIVERS[driver]).difference_update_query(_ASYNCPG_ONLY)
    return url


def _shared(url: URL) -> sa.Engine:
    """Return the process's engine for a URL."""
    with _lock:
        if url not in _engines:
            _engines[url] = _made(url)
        return _engines[url]


def _made(url: URL) -> sa.Engine:
    options: dict[str, Any] = {"hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"check_same_thread": False}
        if "timeout" not in url.query:
            options["connect_args"]["timeout"] = _WAIT
        if _is_in_memory(url):
            # The one connection is the database.
            options |= {"poolclass": pool.QueuePool, "pool_size": 1, "max_overflow": 0}
    engine = sa.create_engine(url, **options)
    _prepare_sqlite(engine)
    return engine


def _sync_engine(engine: AsyncEngine) -> sa.Engine:
    """Return the engine for threads of an AsyncEngine's URL."""
    url = engine.url
    driver = _SYNC_DRIVERS.get(engine.dialect.driver)
    advice = "Pass a URL or an Engine: they serve both sync and async calls."
    if driver is None or _is_in_memory(url):
        msg = f"This AsyncEngine serves no sync call and no other event loop. {advice}"
        raise TypeError(msg)
    try:
        return _shared(url.set(drivername=driver).difference_update_query(_ASYNCPG_ONLY))
    except ImportError as error:
        msg = f"Sync calls over this AsyncEngine's URL need the driver of {driver!r}. {advice}"
        raise TypeError(msg) from error


def _is_async(connection: object) -> TypeGuard[AsyncEngine]:
    """Tell an AsyncEngine, without importing what needs greenlet."""
    return isinstance(getattr(connection, "sync_engine", None), sa.Engine)


def _is_in_memory(url: URL) -> bool:
    database, mode = url.database or ":memory:", url.query.get("mode")
    is_named = ":memory:" in database or "mode=memory" in database
    return url.get_backend_name() == "sqlite" and (is_named or mode == "memory")


def _refuse_unsafe(engine: sa.Engine) -> None:
    """Refuse an engine without transactions, or whose threads would not see one database."""
    of_engine = engine.get_execution_options().get("isolation_level")
    of_dialect = getattr(engine.dialect, "_on_connect_isolation_level", None)
    if "AUTOCOMMIT" in (of_engine, of_dialect):
        msg = "An engine with isolation_level='AUTOCOMMIT' would store half turns. Pass one without, or the URL."
        raise TypeError(msg)
    forgetful = (pool.SingletonThreadPool, pool.StaticPool, pool.NullPool)
    if _is_in_memory(engine.url) and isinstance(engine.pool, forgetful):
        msg = (
            f"An in-memory SQLite engine on {type(engine.pool).__name__} is not safe here: threads "
            'would see different databases or share one transaction. Pass the URL "sqlite://", '
            "which gets a pool of one connection, or the path of a file."
        )
        raise TypeError(msg)


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Let the connections of a SQLite engine wait for each other, and readers not wait at all."""
    if engine.dialect.name == "sqlite" and not sa.event.contains(engine, "connect", _on_connect):
        sa.event.listen(engine, "connect", _on_connect)


def _on_connect(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_WAIT * 1000}")
    # Another process may be switching just now; a file that is read-only keeps its mode.
    for _ in range(50):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                break
            time.sleep(0.02)
    cursor.close()


def _executor(engine: sa.Engine) -> ThreadPoolExecutor:
    """Return the engine's threads: no more than its pool, or they would wait for each other."""
    with _lock:
        if engine not in _executors:
            size = engine.pool.size() if isinstance(engine.pool, pool.QueuePool) else 0
            threads = ThreadPoolExecutor(size or _THREADS, thread_name_prefix="tokenbuffer-sql")
            _executors[engine] = threads
        return _executors[engine]


def _in_own_loop(engine: sa.Engine) -> bool:
    """Tell whether this is the loop an AsyncEngine belongs to: its connections work in no other."""
    loop = asyncio.get_running_loop()
    with _lock:
        return _loops.setdefault(engine, weakref.ref(loop))() is loop


def _after_fork() -> None:
    """Leave the parent's connections alone: closing them here would close them there."""
    for engine in _engines.values():
        _inherited.append(engine.pool)
        engine.dispose(close=False)
    _executors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


_TRANSIENT_STATES = ("08", "40", "53", "55P03", "57P0", "57014")
"""SQLSTATE: connection, rollback (serialization, deadlock), resources, lock, shutdown, timeout."""
_TRANSIENT_ERRNOS = frozenset(
    {1020, 1040, 1053, 1158, 1159, 1160, 1161, 1205, 1213, 1317, 1969, 2003, 2006, 2013, 4031}
)
"""MySQL: connections, shutdown, packets in transit, lock wait, deadlock, timeout, server gone."""


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help."""
    if isinstance(error, exc.DBAPIError):
        return error.connection_invalidated or _has_transient_code(error)
    return isinstance(error, (ConcurrentCreateError, exc.TimeoutError))


def _has_transient_code(error: exc.DBAPIError) -> bool:
    original: Any = error.orig
    state = getattr(original, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_TRANSIENT_STATES)
    name = getattr(original, "sqlite_errorname", None)
    if name is not None:
        return str(name).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    number = original.args[0] if getattr(original, "args", ()) else None
    if isinstance(number, int):
        return number in _TRANSIENT_ERRNOS
    # Without a code the server was not reached.
    return isinstance(error, (exc.OperationalError, exc.InterfaceError))


_RETRIES: dict[str, Any] = {
    "stop": tenacity.stop_after_attempt(8),
    "wait": tenacity.wait_random_exponential(multiplier=0.05, max=2),
    "retry": tenacity.retry_if_exception(is_transient),
    "reraise": True,
}
