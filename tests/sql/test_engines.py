"""What a history can be given as its connection, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from langchain_core.messages import HumanMessage
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

from langchain_tokenbuffer._sql import engines, pools
from langchain_tokenbuffer._sql.database import ConcurrentCreateError, is_transient
from langchain_tokenbuffer.sql import SQLTokenBufferHistory
from tests.builders import count_words, run_script
from tests.sql.conftest import SERVERS, answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sql.conftest import Place

HELLO = [HumanMessage("hello")]


def history(connection: Any, session_id: str = "s") -> SQLTokenBufferHistory:
    return SQLTokenBufferHistory(session_id, connection, max_tokens=60, token_counter=count_words)


def engine_of(history: SQLTokenBufferHistory) -> sa.Engine:
    with history._database._engine() as engine:
        return engines.sync_engine(engine)


def test_making_a_history_does_not_connect(tmp_path: Path) -> None:
    history(tmp_path / "chats.db")
    assert list(tmp_path.iterdir()) == []


def test_a_path_is_a_sqlite_file(tmp_path: Path) -> None:
    history(str(tmp_path / "a b?.db")).add_messages(HELLO)
    assert (tmp_path / "a b?.db").is_file()


def test_engines_are_shared_by_url(tmp_path: Path) -> None:
    path = tmp_path / "chats.db"
    first, second = history(path), history(f"sqlite:///{path}", "other")
    assert engine_of(first) is engine_of(second)


def test_the_drivers_of_async_engines_become_their_threaded_twins(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'chats.db'}"
    assert engine_of(history(url)).url.drivername == "sqlite"


def test_engines_of_ours_hide_parameters(tmp_path: Path) -> None:
    assert engine_of(history(tmp_path / "chats.db")).hide_parameters


def pragma(engine: sa.Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


@pytest.mark.parametrize(("name", "value"), [("journal_mode", "wal"), ("busy_timeout", 30_000)])
def test_sqlite_connections_use_wal_and_wait(tmp_path: Path, name: str, value: object) -> None:
    ours = engine_of(history(tmp_path / "ours.db"))
    theirs = sa.create_engine(f"sqlite:///{tmp_path / 'theirs.db'}")
    history(theirs)
    found = [pragma(ours, name), pragma(theirs, name)]
    theirs.dispose()
    assert found == [value, value]


def test_in_memory_is_a_pool_of_one_connection() -> None:
    engine = engine_of(history("sqlite://"))
    assert isinstance(engine.pool, pool.QueuePool)
    assert engine.pool.size() == 1


def test_there_are_no_more_threads_than_connections(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'chats.db'}", pool_size=3, max_overflow=1)
    found = pools.state_of(engine).threads._max_workers
    engine.dispose()
    assert found == 4


@pytest.mark.parametrize("kind", [pool.SingletonThreadPool, pool.StaticPool, pool.NullPool])
@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_an_in_memory_engine_that_forgets_or_mixes_is_refused(kind: type[pool.Pool], url: str) -> None:
    with pytest.raises(TypeError, match="sqlite://"):
        history(sa.create_engine(url, poolclass=kind))


def test_an_in_memory_async_engine_is_refused() -> None:
    with pytest.raises(TypeError, match="sqlite://"):
        history(create_async_engine("sqlite+aiosqlite://"))


def test_an_engine_without_transactions_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chats.db'}"
    plain = sa.create_engine(url)
    for engine in (
        sa.create_engine(url, isolation_level="AUTOCOMMIT"),
        plain.execution_options(isolation_level="AUTOCOMMIT"),
    ):
        with pytest.raises(TypeError, match="half turns"):
            history(engine)


@pytest.mark.parametrize("connection", [None, 7, object(), sqlite3])
def test_what_is_no_connection_is_refused_with_what_to_pass(connection: object) -> None:
    with pytest.raises(TypeError, match="a URL, an Engine or an AsyncEngine"):
        history(connection)


async def test_a_cancelled_append_is_stored_whole_or_not_at_all(lite: Place) -> None:
    for n in range(20):
        task = asyncio.create_task(lite.history("s").aadd_messages([HumanMessage(f"{n} a"), HumanMessage(f"{n} b")]))
        await asyncio.sleep(0.0002 * n)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.1)
    texts = [str(message.content) for message in lite.history("s").all_messages()]
    halves = [text.split()[0] for text in texts]
    assert halves[::2] == halves[1::2]


FORKED = """
import os, sys
from langchain_core.messages import HumanMessage
from langchain_tokenbuffer.sql import SQLTokenBufferHistory

for place in sys.argv[1:]:
    def history():
        url, prefix, session_id = place.split()
        return SQLTokenBufferHistory(session_id, url, max_tokens=900, token_counter=len, prefix=prefix)

    shared = history()
    shared.add_messages([HumanMessage("parent")])
    for n in range(3):
        if os.fork() == 0:
            shared.add_messages([HumanMessage(f"child {n}")])
            history().messages
            os._exit(0)
    codes = {os.wait()[1] for _ in range(3)}
    shared.add_messages([HumanMessage("parent again")])
    print(codes, sorted(message.content for message in history().messages))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_connects_anew(shared_place: Callable[[str], Place], session_id: str) -> None:
    kinds = ["sqlite", *(kind for kind, url in SERVERS.items() if answers(url))]
    places = list(map(shared_place, kinds))
    for place in places:
        place.history(session_id).create_tables()
    printed = run_script(FORKED, *(f"{place.url} {place.prefix} {session_id}" for place in places))
    assert printed == len(places) * "{0} ['child 0', 'child 1', 'child 2', 'parent', 'parent again']\n"


BLOCKING = """
import asyncio, sys
from blockbuster import BlockBuster
from langchain_core.messages import HumanMessage
from sqlalchemy.ext.asyncio import create_async_engine
from langchain_tokenbuffer.sql import SQLTokenBufferHistory

async def main(connection):
    if "aiosqlite" in connection:
        connection = create_async_engine(connection)
    history = SQLTokenBufferHistory("s", connection, max_tokens=50, token_counter="o200k_base")
    guard = BlockBuster()
    guard.activate()
    try:
        for n in range(4):
            await history.aadd_messages([HumanMessage("why " * 60)])
            await history.aget_messages()
        await history.aevicted(list)
        await history.adelete_before(9)
        await history.aset_metadata({})
        [message async for message in history.aiter_messages()]
        await history.aclear()
    finally:
        guard.deactivate()
    print("not blocked")

for connection in sys.argv[1:]:
    asyncio.run(main(connection))
"""


def test_async_calls_do_not_block_the_event_loop(tmp_path: Path) -> None:
    path = tmp_path / "chats.db"
    assert run_script(BLOCKING, str(path), f"sqlite+aiosqlite:///{path}") == 2 * "not blocked\n"


class Coded(Exception):  # noqa: N818  # stands for a driver's own
    """What a driver raises, with one of the codes drivers have."""

    def __init__(self, *args: object, **codes: object) -> None:
        super().__init__(*args)
        vars(self).update(codes)


def wrapped(original: Exception, kind: type[sa.exc.DBAPIError] = sa.exc.OperationalError) -> Any:
    return kind("", {}, original)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConcurrentCreateError(), True),
        (sa.exc.TimeoutError(), True),
        (wrapped(Coded(sqlstate="40001")), True),
        (wrapped(Coded(sqlstate="40P01")), True),
        (wrapped(Coded(sqlstate="55P03")), True),
        (wrapped(Coded(sqlstate="57P01")), True),
        (wrapped(Coded(sqlstate="42P01"), sa.exc.ProgrammingError), False),
        (wrapped(Coded(sqlstate="23505"), sa.exc.IntegrityError), False),
        (wrapped(Coded(1213, "deadlock")), True),
        (wrapped(Coded(1205, "lock wait")), True),
        (wrapped(Coded(1205, "lock wait", sqlstate="HY000")), True),
        (wrapped(Coded(1146, "no table", sqlstate="42S02"), sa.exc.ProgrammingError), False),
        (wrapped(Coded(1317, "interrupted")), True),
        (wrapped(Coded(1969, "took too long")), True),
        (wrapped(Coded(2003, "cannot connect")), True),
        (wrapped(Coded(1146, "no table"), sa.exc.ProgrammingError), False),
        (wrapped(Coded(sqlite_errorname="SQLITE_BUSY_SNAPSHOT")), True),
        (wrapped(Coded(sqlite_errorname="SQLITE_ERROR")), False),
        (wrapped(Coded("connection refused")), True),
        (wrapped(Coded("?"), sa.exc.DataError), False),
        (ConnectionRefusedError(), True),
        (Coded(sqlstate="57P03"), True),
        (Coded(sqlstate="28P01"), False),
        (ValueError(), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_passing_errors_are_distinguished_from_lasting_ones(
    error: BaseException,
    passes: bool,  # noqa: FBT001
) -> None:
    assert is_transient(error) is passes


# --- URLs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?timeout=1"])
def test_a_url_object_connects_as_its_text(tmp_path: Path, query: str) -> None:
    url = sa.make_url(f"sqlite:///{tmp_path / 'chats.db'}{query}")
    history(url).add_messages(HELLO)
    assert history(str(url)).messages == HELLO


class Cursor:
    """A connection's and its cursor and its record, where switching to WAL fails a number of times."""

    def __init__(self, error: str, times: int) -> None:
        self.error, self.times, self.tries = error, times, 0
        self.info: dict[str, Any] = {}

    def cursor(self) -> Cursor:
        return self

    def execute(self, statement: str) -> None:
        if "journal_mode" in statement:
            self.tries += 1
            if self.tries <= self.times:
                raise sqlite3.OperationalError(self.error)

    def fetchone(self) -> tuple[int]:
        return (5000,)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("error", "times", "tries"),
    [
        pytest.param("database is locked", 2, 3, id="another process switches just now"),
        pytest.param("attempt to write a readonly database", 9, 1, id="read-only"),
    ],
)
def test_switching_to_wal_is_tried_again_only_after_a_passing_error(error: str, times: int, tries: int) -> None:
    cursor = Cursor(error, times)
    engines._on_connect(cursor, cursor)  # type: ignore[arg-type]
    assert cursor.tries == tries
