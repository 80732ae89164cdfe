"""Running operations over a database, each in one transaction, tried again where that helps."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, TypeVarTuple

import sqlalchemy as sa
import tenacity
from sqlalchemy import exc
from sqlalchemy.engine import URL

from langchain_tokenbuffer._sql import engines, loops, migrations, pgbouncer, pools
from langchain_tokenbuffer._sql.engines import is_async, ours, sync_engine
from langchain_tokenbuffer._sql.urls import url_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from langchain_tokenbuffer._sql.engines import AnyEngine
    from langchain_tokenbuffer._sql.pools import PoolState
    from langchain_tokenbuffer._sql.schema import Tables

A = TypeVarTuple("A")
R = TypeVar("R")
Operation: TypeAlias = "Callable[[sa.Connection, *A], R]"

IN_DOUBT = "The connection was lost in the commit: it is not known whether that was made."
"""The note on an error if the answer to a commit was lost."""

_ON_ITS_LOOP = (
    "A sync call on the event loop that its AsyncEngine is used in would wait for itself. Await the async method, or "
    "pass a URL or an Engine: they serve both sync and async calls."
)
_TRIES = 8
BETWEEN_TRIES = tenacity.wait_random_exponential(multiplier=0.05, max=2)


active: set[object] = set()
"""The operations that run in this process now."""


class ConcurrentCreateError(Exception):
    """Another process has created the same just now; the next try sees it."""


class Database:
    """Runs operations over a `Connection`.

    Made of a file path, a URL or an `Engine`, everything runs in threads. An `AsyncEngine` connects as itself or not
    at all: in the loop of its first async use, to which other threads and loops turn; while that does not run, in a
    loop of the process's own. Before the first operation the tables, if any are given, are created and brought up if
    `creates`, and checked in any case.
    """

    def __init__(self, connection: object, tables: Tables | None, *, creates: bool) -> None:
        self._tables = tables
        self._prepare: Operation[Tables, None] | None = migrations.create if creates else migrations.check
        self._url: URL | None = None
        if isinstance(connection, (str, URL, os.PathLike)):
            self._url = url_of(connection)
            self._given = ours.get(self._url)  # a driver that is missing is missed now
        else:
            self._given = engines.given_engine(connection)

    @property
    def dialect(self) -> sa.Dialect:
        return sync_engine(self._given).dialect

    @property
    def url(self) -> URL:
        return sync_engine(self._given).url

    @contextlib.contextmanager
    def _engine(self) -> Iterator[AnyEngine]:
        if self._url is None:
            yield self._given
            return
        with ours.use(self._url) as engine:
            yield engine

    def read(self, operation: Operation[*A, R], *args: *A) -> R:
        """Run what only reads, in a transaction of its own; what is transient is tried again from the start."""
        return self._run(None, operation, *args)

    def write(self, session: str, operation: Operation[*A, R], *args: *A) -> R:
        """Run what writes to a session, in its turn: first come, first served."""
        return self._run(session, operation, *args)

    async def aread(self, operation: Operation[*A, R], *args: *A) -> R:
        """`read`, without blocking the event loop."""
        return await self._arun(None, operation, *args)

    async def awrite(self, session: str, operation: Operation[*A, R], *args: *A) -> R:
        """`write`, without blocking the event loop."""
        return await self._arun(session, operation, *args)

    def _run(self, session: str | None, operation: Operation[*A, R], *args: *A) -> R:
        with self._engine() as engine:
            if not is_async(engine):
                result = self._run_here(engine, session, operation, *args)
            else:
                place = self._place(engine, joins=False)
                if place.loop is loops.running():
                    raise RuntimeError(_ON_ITS_LOOP)
                result = loops.run_in(place.loop, self._run_there(engine, place, session, operation, *args))
        if ours.has_surplus():
            ours.close_surplus()
        return result

    async def _arun(self, session: str | None, operation: Operation[*A, R], *args: *A) -> R:
        with self._engine() as engine:
            if not is_async(engine):
                async with _awriting(pools.state_of(engine), session):
                    return await self.in_thread(self._run, None, operation, *args)
            place = self._place(engine, joins=True)
            work = self._run_there(engine, place, session, operation, *args)
            result = await (work if place.loop is loops.running() else loops.arun_in(place.loop, work))
        if ours.has_surplus():
            await asyncio.to_thread(ours.close_surplus)
        return result

    def _place(self, engine: AsyncEngine, *, joins: bool) -> pools.Place:
        inner = engine.sync_engine
        if self._url is not None:
            return pools.Place(loops.background(), inner.pool)
        return pools.place_of(inner, joins=joins)

    def _run_here(self, engine: sa.Engine, session: str | None, operation: Operation[*A, R], *args: *A) -> R:
        with _Tries() as tries, _writing(pools.state_of(engine), session):
            for attempt in tenacity.Retrying(**tries.policy):
                with attempt, engine.connect() as connection:
                    result = self._once(connection, tries, operation, *args)
        return result

    async def _run_there(
        self, engine: AsyncEngine, place: pools.Place, session: str | None, operation: Operation[*A, R], *args: *A
    ) -> R:
        with _Tries() as tries:
            async with _awriting(pools.state_of(engine.sync_engine), session):
                async for attempt in tenacity.AsyncRetrying(**tries.policy):
                    with attempt:
                        async with pools.connected(engine, place) as connection:
                            result = await connection.run_sync(lambda inner: self._once(inner, tries, operation, *args))
        return result

    def _once(self, connection: sa.Connection, tries: _Tries, operation: Operation[*A, R], *args: *A) -> R:
        try:
            return self._in_transaction(connection, tries, operation, *args)
        except exc.DBAPIError as error:
            pgbouncer.forget_lost(connection, error)
            raise

    def _in_transaction(self, connection: sa.Connection, tries: _Tries, operation: Operation[*A, R], *args: *A) -> R:
        tries.wait = connection.info.get(engines.WAIT_KEY, engines.WAIT)
        schema = self._set_options(connection)
        tables, prepared = self._tables, pools.state_of(connection.engine).prepared
        if tables is not None and self._prepare is not None and (tables.prefix, schema) not in prepared:
            with connection.begin():
                self._prepare(connection, tables)
            prepared.add((tables.prefix, schema))
        with connection.begin() as transaction:
            result = operation(connection, *args)
            tries.commits.append(transaction)
            transaction.commit()
        return result

    def _set_options(self, connection: sa.Connection) -> str | None:
        """Let our tables be in their schema, and our transactions read what is committed; return the schema."""
        options: dict[str, Any] = {}
        translated: dict[str | None, str | None] = connection.get_execution_options().get("schema_translate_map") or {}
        schema = self._tables.schema if self._tables is not None else None
        schema = translated.get(schema, schema)
        if schema is not None:
            options["schema_translate_map"] = {**translated, None: schema}
        if _is_isolated(connection):
            # Whatever changes a session locks it first. A stricter transaction would only fail where that waited.
            options["isolation_level"] = "READ COMMITTED"
        if options:
            connection.execution_options(**options)
        return schema

    async def in_thread(self, call: Callable[[*A], R], *args: *A) -> R:
        """Call what takes its time in a thread of the engine's own."""
        context = contextvars.copy_context()
        with self._engine() as engine:
            threads = pools.state_of(sync_engine(engine)).threads
            return await asyncio.wrap_future(threads.submit(context.run, partial(call, *args)))

    def without_tables(self) -> Database:
        """Return the same database, whose tables need not be there."""
        other = copy.copy(self)
        vars(other)["_prepare"] = None
        return other

    def close(self) -> None:
        """End what is ours: the engine of a URL, or the threads over the user's own engine."""
        if self._url is not None:
            ours.close(self._url)
        else:
            pools.state_of(sync_engine(self._given)).close()

    async def aclose(self) -> None:
        """`close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)


def lock_limit(connection: sa.Connection) -> sa.ColumnElement[bool]:
    """Return what bounds, as a part of the statement that locks a row, how long that may wait.

    PostgreSQL waits for ever unless it is told. Its planner takes this out of the row's condition, so it is computed
    before the row is looked for; it holds until the transaction ends, and a limit that is set already stays.
    """
    if connection.dialect.name != "postgresql":
        return sa.true()
    present = sa.func.current_setting("lock_timeout")
    limit = sa.case((present == "0", f"{engines.WAIT * 1000:.0f}"), else_=present)
    return sa.select(sa.func.set_config("lock_timeout", limit, True)).scalar_subquery().is_not(None)  # noqa: FBT003


class _Tries:
    """The tries of one operation: how many there may be, and what is to be said of an error.

    Parameters, which are messages, are kept out of what an error says, also on others' engines.
    """

    def __init__(self) -> None:
        self.wait = engines.WAIT  # seconds a try may wait for a lock
        self.commits: list[sa.Transaction] = []
        self.policy: dict[str, Any] = {
            "stop": self._is_over,
            "wait": BETWEEN_TRIES,
            "retry": tenacity.retry_if_exception(is_transient),
            "reraise": True,
        }

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        """Tell whether there were enough tries, or the first ones have waited long: then the next would as well.

        Not where it waited for another to create what is there now. Who lost the connection while it waited was not
        refused: that is tried again for as long as one may wait at all.
        """
        if state.attempt_number >= _TRIES:
            return True
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, ConcurrentCreateError):
            return False
        is_lost = isinstance(error, exc.DBAPIError) and error.connection_invalidated
        return (state.seconds_since_start or 0) >= (self.wait if is_lost else self.wait / 2)

    def __enter__(self) -> Self:
        active.add(self)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        active.discard(self)
        if error is not None and self.commits:
            error.add_note(IN_DOUBT)
        if isinstance(error, exc.StatementError):
            error.hide_parameters = True


def _writing(state: PoolState, session: str | None) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if session is None else state.writing(session, engines.WAIT)


def _awriting(state: PoolState, session: str | None) -> contextlib.AbstractAsyncContextManager[None]:
    return contextlib.nullcontext() if session is None else state.awriting(session, engines.WAIT)


def _is_isolated(connection: sa.Connection) -> bool:
    """Tell whether the engine's transactions would fail where ours wait for each other, or lock what they read."""
    dialect = connection.dialect
    level = connection.get_execution_options().get("isolation_level")
    level = level or getattr(dialect, "_on_connect_isolation_level", None) or connection.default_isolation_level
    return level in _ISOLATED.get(dialect.name, ())


_ISOLATED = {
    "postgresql": ("REPEATABLE READ", "SERIALIZABLE"),
    "mysql": ("SERIALIZABLE",),
    "mariadb": ("SERIALIZABLE",),
}


_TRANSIENT_CODES = ("08", "26000", "40", "42P05", "53", "55P03", "57P0", "57014", "SQLITE_BUSY", "SQLITE_LOCKED")
"""SQLSTATE: connection, prepared statement (see `pgbouncer`), rollback (serialization, deadlock), resources, lock,
shutdown, timeout; and SQLite's names."""
_TRANSIENT_ERRNOS = frozenset(
    {1020, 1040, 1053, 1158, 1159, 1160, 1161, 1205, 1213, 1317, 1969, 2003, 2006, 2013, 4031}
)
"""MySQL: connections, shutdown, packets in transit, lock wait, deadlock, timeout, server gone."""


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help."""
    if isinstance(error, exc.DBAPIError):
        return error.connection_invalidated or _has_transient_code(error)
    if isinstance(error, (ConcurrentCreateError, exc.TimeoutError, ConnectionError)):
        return True
    # What asyncpg raises where it connects, SQLAlchemy does not wrap.
    return str(getattr(error, "sqlstate", None)).startswith(_TRANSIENT_CODES)


def _has_transient_code(error: exc.DBAPIError) -> bool:
    original: Any = error.orig
    number = next(iter(getattr(original, "args", ())), None)
    if isinstance(number, int):  # MySQL's: its state, where the driver tells it, is mostly "general error"
        return number in _TRANSIENT_ERRNOS
    code = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    if isinstance(code, str):
        return code.startswith(_TRANSIENT_CODES)
    # Without a code the server was not reached.
    return isinstance(error, (exc.OperationalError, exc.InterfaceError))
