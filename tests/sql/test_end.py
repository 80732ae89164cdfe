"""Engines that the process has made of URLs: few at once, closed by whoever asks, nothing left open."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from langchain_core.messages import HumanMessage

from langchain_tokenbuffer._sql import engines
from langchain_tokenbuffer.sql import SQLTokenBufferHistory
from tests.builders import count_words, run_script
from tests.sql.conftest import SERVERS, answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sql.conftest import Place

FILES_OF_A_CONNECTION = 3  # the database, its write-ahead log and that one's index

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nothing here lists open files")


def open_files(folder: Path) -> int:
    """Return how many files of a folder this process has open."""
    files = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return sum(folder in file.parents for file in files)


def history(connection: object) -> SQLTokenBufferHistory:
    return SQLTokenBufferHistory("s", connection, max_tokens=60, token_counter=count_words)  # type: ignore[arg-type]


HELLO = [HumanMessage("hello")]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    engines.ours.close_all()
    monkeypatch.setattr(engines, "LIMIT", 3)


@pytest.mark.usefixtures("few")
def test_a_file_for_each_user_does_not_run_out_of_files(tmp_path: Path) -> None:
    for n in range(9):
        history(tmp_path / f"{n}.db").add_messages(HELLO)
    assert open_files(tmp_path) == 3 * FILES_OF_A_CONNECTION


def test_of_many_files_as_many_are_open_as_the_history_says(tmp_path: Path) -> None:
    """At most 32 engines at once, each with one connection where one thread asks."""
    for n in range(36):
        history(tmp_path / f"{n}.db").add_messages(HELLO)
    assert open_files(tmp_path) <= 32 * FILES_OF_A_CONNECTION


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("scheme", ["", "sqlite+aiosqlite:///"])
async def test_a_file_for_each_user_does_not_run_out_of_files_async(tmp_path: Path, scheme: str) -> None:
    await asyncio.gather(*(history(f"{scheme}{tmp_path}/{n}.db").aadd_messages(HELLO) for n in range(9)))
    await history(f"{scheme}{tmp_path}/0.db").aget_messages()
    assert open_files(tmp_path) == 3 * FILES_OF_A_CONNECTION


@pytest.mark.usefixtures("few")
def test_an_engine_that_was_closed_for_others_opens_again(tmp_path: Path) -> None:
    first = history(tmp_path / "first.db")
    first.add_messages(HELLO)
    for n in range(4):
        history(tmp_path / f"{n}.db").add_messages(HELLO)
    first.add_messages(HELLO)
    assert len(first.all_messages()) == 2


@pytest.mark.usefixtures("few")
def test_what_is_in_memory_is_not_closed_for_others(tmp_path: Path) -> None:
    in_memory = history("sqlite:///file:kept?mode=memory&uri=true")
    in_memory.add_messages(HELLO)
    for n in range(9):
        history(tmp_path / f"{n}.db").add_messages(HELLO)
    assert in_memory.messages == HELLO
    in_memory.close()
    assert in_memory.messages == []


def test_a_history_that_was_closed_has_no_file_open_and_can_go_on(tmp_path: Path) -> None:
    with history(tmp_path / "chats.db") as opened:
        opened.add_messages(HELLO)
        before = open_files(tmp_path)
    assert (before, open_files(tmp_path)) == (FILES_OF_A_CONNECTION, 0)
    assert opened.messages == HELLO


async def test_a_history_that_was_closed_async_has_no_file_open(tmp_path: Path) -> None:
    async with history(tmp_path / "chats.db") as opened:
        await opened.aadd_messages(HELLO)
    assert open_files(tmp_path) == 0


CONNECTIONS = {
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pid FROM pg_stat_activity"),
    "mariadb": ("SELECT connection_id()", "SELECT id FROM information_schema.processlist"),
}
"""What a connection's number is, and which ones a server has."""


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_a_history_that_was_closed_has_no_connection_to_a_server(
    shared_place: Callable[[str], Place], kind: str
) -> None:
    place, (own, everyones) = shared_place(kind), CONNECTIONS[kind]
    engine = place.engine(isolation_level="AUTOCOMMIT")
    with engine.connect() as server, place.history("end") as opened:
        mine = opened._database.read(lambda connection: connection.scalar(sa.text(own)))
        before = mine in set(server.scalars(sa.text(everyones)))
        opened.close()
        deadline = time.monotonic() + 10
        while (after := mine in set(server.scalars(sa.text(everyones)))) and time.monotonic() < deadline:
            time.sleep(0.02)
    engine.dispose()
    assert (before, after) == (True, False)


def test_who_is_busy_is_not_disturbed_by_the_end(tmp_path: Path) -> None:
    shared = history(tmp_path / "chats.db")
    shared.add_messages(HELLO)
    entered, closed = threading.Event(), threading.Event()

    def busy(connection: sa.Connection) -> list[object]:
        entered.set()
        closed.wait(10)
        return list(connection.scalars(sa.text("SELECT name FROM tokenbuffer_sessions")))

    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(shared._database.read(busy)))
    thread.start()
    entered.wait(10)
    shared.close()
    closed.set()
    thread.join(10)
    assert (found, open_files(tmp_path)) == ([['"s"']], 0)


def test_an_engine_of_the_users_stays_open(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'chats.db'}")
    with history(engine) as opened:
        opened.add_messages(HELLO)
    before = open_files(tmp_path)
    engine.dispose()
    assert (before, open_files(tmp_path)) == (FILES_OF_A_CONNECTION, 0)


LEFT_OPEN = """
import asyncio, sys
from langchain_core.messages import HumanMessage
from langchain_tokenbuffer import SQLTokenBufferHistory

for place in sys.argv[1:]:
    url, prefix = place.split()
    history = SQLTokenBufferHistory("end", url, max_tokens=90, token_counter=len, prefix=prefix)
    history.add_messages([HumanMessage("hello")])
    print(len(asyncio.run(history.aget_messages())))
    history.delete_session()
"""


def test_a_process_that_ends_leaves_nothing_open(
    shared_place: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "always::ResourceWarning")
    asked: list[str] = []
    for kind in ("sqlite", *(each for each, url in SERVERS.items() if answers(url))):
        place = shared_place(kind)
        url = place.url.replace("sqlite:", "sqlite+aiosqlite:").replace("+psycopg:", "+asyncpg:")
        asked += sorted({f"{place.url} {place.prefix}", f"{url} {place.prefix}"})
    assert run_script(LEFT_OPEN, *asked) == "1\n" * len(asked)
