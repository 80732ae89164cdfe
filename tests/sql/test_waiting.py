"""Waiting has an end, and who only reads does not wait for who writes elsewhere."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import tenacity
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from langchain_tokenbuffer._sql import database, engines
from tests.builders import turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sql.conftest import Place

ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Hold the lock of every session, as a process does that was stopped."""
    engine, sessions = place.engine(), place.tables.sessions
    with engine.begin() as connection:
        connection.execute(sa.update(sessions).values(next_seq=sessions.c.next_seq))
        yield
    engine.dispose()


def impatient_engine(place: Place) -> sa.Engine:
    """Return an engine whose database does not wait long, as a user has set it."""
    wait: dict[str, dict[str, Any]] = {
        "sqlite": {"timeout": 0.2},
        "postgresql": {"options": "-c lock_timeout=200"},
        "mysql": {"init_command": "SET innodb_lock_wait_timeout=1"},
    }
    return place.engine(connect_args=wait[sa.make_url(place.url).get_backend_name()])


def async_engine(place: Place) -> AsyncEngine:
    driver = ASYNC_DRIVERS.get(sa.make_url(place.url).get_backend_name())
    if driver is None:
        pytest.skip("no asynchronous driver for it is installed")
    return create_async_engine(sa.make_url(place.url).set(drivername=driver))


def test_a_lock_costs_one_wait_and_not_one_for_each_try(
    place: Place, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "WAIT", 0.3)
    place.history(session_id).add_messages(turn(0))
    engine, tries = impatient_engine(place), list[str]()
    history = place.history(session_id, connection=engine)
    _ = history.messages

    @sa.event.listens_for(engine, "before_cursor_execute")
    def note(_c: object, _d: object, statement: str, *_: object) -> None:
        tries.append(statement.split(maxsplit=1)[0])

    with locked(place), pytest.raises(sa.exc.OperationalError):
        history.add_messages(turn(1))
    engine.dispose()
    assert tries == ["UPDATE"]


@pytest.mark.parametrize(("waited", "is_stored"), [(29.0, True), (30.0, False)])
def test_who_loses_the_connection_in_a_long_wait_is_tried_again_until_one_wait_is_over(
    place: Place,
    session_id: str,
    monkeypatch: pytest.MonkeyPatch,
    waited: float,
    is_stored: bool,  # noqa: FBT001
) -> None:
    engine = place.engine()
    history = place.history(session_id, connection=engine)
    _ = history.messages
    monkeypatch.setattr(tenacity.RetryCallState, "seconds_since_start", waited)

    @sa.event.listens_for(engine, "before_cursor_execute", once=True)
    def lose(*_: object) -> None:
        raise sa.exc.OperationalError(None, {}, OSError(), connection_invalidated=True)

    with nullcontext() if is_stored else pytest.raises(sa.exc.OperationalError):
        history.add_messages(turn(0))
    engine.dispose()
    assert place.history(session_id).messages == (turn(0) if is_stored else [])


def test_a_server_that_waits_for_ever_is_told_not_to(
    place: Place, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not place.url.startswith("postgresql"):
        pytest.skip("the others have a limit")
    monkeypatch.setattr(engines, "WAIT", 0.1)
    place.history(session_id).add_messages(turn(0))
    with locked(place):
        for operation in (
            lambda: place.history(session_id).add_messages(turn(1)),
            lambda: place.history(session_id).evicted(lambda _: None),
        ):
            with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
                operation()


def test_a_wait_that_a_server_ends_sooner_is_tried_again(place: Place, session_id: str) -> None:
    if place.url.startswith("sqlite"):
        pytest.skip("SQLite has no server")
    place.history(session_id).add_messages(turn(0))
    engine = impatient_engine(place)
    history = place.history(session_id, connection=engine)
    append = threading.Thread(target=history.add_messages, args=(turn(1),))
    with locked(place):
        append.start()
        append.join(1.5)
    append.join(10)
    found = history.messages
    engine.dispose()
    assert found == turn(0) + turn(1)


def test_a_timeout_in_the_url_is_followed(lite: Place) -> None:
    connection = f"{lite.url}?timeout=0.1"
    lite.history("s", connection=connection).add_messages(turn(0))
    with locked(lite), pytest.raises(sa.exc.OperationalError, match="locked"):
        lite.history("s", connection=connection).add_messages(turn(1))


def test_who_waited_long_for_another_to_create_the_same_sees_it(lite: Place) -> None:
    connection = f"{lite.url}?timeout=0"  # every wait is a long one
    history, tries = lite.history("s", connection=connection), list[int]()

    def create(_: sa.Connection) -> int:
        tries.append(len(tries))
        if len(tries) == 1:
            raise database.ConcurrentCreateError
        return len(tries)

    assert history._database.read(create) == 2


def test_who_waits_behind_a_writer_gives_up_when_that_has_waited_too_long(
    lite: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "WAIT", 0.2)
    errors: list[str] = []
    lite.history("s").create_tables()

    def write() -> None:
        with pytest.raises((sa.exc.OperationalError, TimeoutError)) as caught:
            lite.history("s", connection=f"{lite.url}?timeout=0.3").add_messages(turn(0))
        errors.append(type(caught.value).__name__)

    with locked(lite):
        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert sorted(errors) == ["OperationalError", "TimeoutError", "TimeoutError"]


WRITERS = 20  # more than a pool has connections


@pytest.mark.parametrize("kind", ["url", "async engine"])
async def test_a_reader_does_not_wait_behind_writers_that_are_stuck(place: Place, session_id: str, kind: str) -> None:
    connection: Any = place.url if kind == "url" else async_engine(place)
    histories = [place.history(f"{session_id}-{n}", connection=connection) for n in range(WRITERS)]
    for each in histories:
        await each.aadd_messages(turn(0))
    other = place.history(session_id, connection=connection)
    with locked(place):
        stuck = [asyncio.create_task(each.aadd_messages(turn(1))) for each in histories]
        stuck += [asyncio.create_task(histories[0].aadd_messages(turn(2))) for _ in range(WRITERS)]
        await asyncio.sleep(0.1)
        found = await asyncio.wait_for(other.aget_messages(), 10)
        are_done = [task.done() for task in stuck]
    await asyncio.gather(*stuck)
    if kind == "async engine":
        await connection.dispose()
    assert (found, any(are_done)) == ([], False)


def test_a_reader_in_a_thread_does_not_wait_behind_writers_that_are_stuck(place: Place, session_id: str) -> None:
    engine = place.engine(pool_size=2, max_overflow=1, pool_timeout=5)
    histories = [place.history(f"{session_id}-{n}", connection=engine) for n in range(6)]
    for each in histories:
        each.add_messages(turn(0))
    threads = [threading.Thread(target=each.add_messages, args=(turn(1),)) for each in histories]
    with locked(place):
        for thread in threads:
            thread.start()
        threads[0].join(0.1)
        found = place.history(session_id, connection=engine).messages
        are_alive = [thread.is_alive() for thread in threads]
    for thread in threads:
        thread.join(10)
    engine.dispose()
    assert (found, all(are_alive)) == ([], True)


def test_an_interrupted_append_leaves_no_lock(place: Place, session_id: str) -> None:
    engine = place.engine()
    history = place.history(session_id, connection=engine)
    history.add_messages(turn(0))

    def interrupt(_c: object, _d: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            raise KeyboardInterrupt

    sa.event.listen(engine, "after_cursor_execute", interrupt)
    with pytest.raises(KeyboardInterrupt) as kept:  # as a notebook keeps what was raised last
        history.add_messages(turn(1))
    sa.event.remove(engine, "after_cursor_execute", interrupt)
    history.add_messages(turn(2))
    found = history.messages
    engine.dispose()
    assert (kept.type, found) == (KeyboardInterrupt, turn(0) + turn(2))


async def test_a_cancelled_append_leaves_no_lock(place: Place, session_id: str) -> None:
    engine = async_engine(place)
    history = place.history(session_id, connection=engine)
    await history.aadd_messages(turn(0))

    def cancel(_c: object, _d: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            cancelled.cancel()

    cancelled = asyncio.create_task(history.aadd_messages(turn(1)))
    sa.event.listen(engine.sync_engine, "before_cursor_execute", cancel)
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    sa.event.remove(engine.sync_engine, "before_cursor_execute", cancel)
    await history.aadd_messages(turn(2))
    found = await history.aget_messages()
    await engine.dispose()
    assert (cancelled.cancelled(), found) == (True, turn(0) + turn(2))
