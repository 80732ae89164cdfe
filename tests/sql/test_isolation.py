"""Every use is safe under every isolation: what changes a session locks it before it reads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tests.builders import turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer.sql import SQLTokenBufferHistory
    from tests.sql.conftest import Place

ISOLATIONS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


def skip_what_sqlite_lacks(place: Place, isolation: str) -> None:
    if place.url.startswith("sqlite") and isolation != "SERIALIZABLE":
        pytest.skip("SQLite knows no such isolation")


def fill(history: SQLTokenBufferHistory, turns: range) -> list[BaseMessage]:
    for n in turns:
        history.add_messages(turn(n))
    return [message for n in turns for message in turn(n)]


OPERATIONS: dict[str, Callable[[SQLTokenBufferHistory], object]] = {
    "read": lambda history: history.messages,
    "append": lambda history: history.add_messages(turn(99)),
    "consume": lambda history: history.evicted(lambda _: None),
    "purge": lambda history: history.delete_before(-1),
}


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_appended_while_a_window_is_computed_anew_counts(
    place: Place, session_id: str, operation: str, isolation: str
) -> None:
    """The database's snapshot may be older than the lock: MariaDB's REPEATABLE READ."""
    skip_what_sqlite_lacks(place, isolation)
    fill(place.history(session_id), range(9))
    other = [message for n in range(9, 15) for message in turn(n)]
    append = threading.Thread(target=place.history(session_id).add_messages, args=(other,))
    engine = place.engine(isolation_level=isolation)
    changed = place.history(session_id, connection=engine, max_tokens=90)
    changed.create_tables()

    def append_now(_c: object, _d: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE") and not append.ident:
            append.start()
            append.join(0.2)  # as far as it comes: it may have to wait for the other

    sa.event.listen(engine, "before_cursor_execute", append_now)
    OPERATIONS[operation](changed)
    append.join()
    everything, window = changed.all_messages(), changed.messages
    engine.dispose()
    assert len(everything) == (32 if operation == "append" else 30)
    assert window == changed.buffer.trim(everything)


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_the_first_use_by_many_threads_is_safe(empty_place: Place, isolation: str) -> None:
    skip_what_sqlite_lacks(empty_place, isolation)
    engine = empty_place.engine(isolation_level=isolation, pool_size=8)
    ready = threading.Barrier(8)

    def write(n: int) -> None:
        history = empty_place.history(f"s{n % 2}", connection=engine)
        ready.wait()
        history.add_messages(turn(n))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    engine.dispose()
    assert [len(empty_place.history(each).all_messages()) for each in ("s0", "s1")] == [8, 8]


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_who_has_waited_for_another_writer_need_not_try_again(place: Place, session_id: str, isolation: str) -> None:
    skip_what_sqlite_lacks(place, isolation)
    place.history(session_id).add_messages(turn(0))
    engine, others, updates = place.engine(isolation_level=isolation), place.engine(), list[str]()
    history = place.history(session_id, connection=engine)
    _ = history.messages

    @sa.event.listens_for(engine, "before_cursor_execute")
    def note(_c: object, _d: object, statement: str, *_: object) -> None:
        updates.extend(statement.split()[:1])

    sessions = place.tables.sessions
    with others.begin() as other:
        other.execute(sa.update(sessions).values(next_seq=sessions.c.next_seq))
        append = threading.Thread(target=history.add_messages, args=(turn(1),))
        append.start()
        append.join(0.1)
    append.join(10)
    engine.dispose()
    others.dispose()
    assert updates.count("UPDATE") == 1
    assert place.sequence(session_id) == [0, 1, 2, 3]
