"""Real databases for the SQL history: SQLite always, servers where they answer."""

from __future__ import annotations

import multiprocessing
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from langchain_tokenbuffer._sql import schema as sql_schema
from langchain_tokenbuffer._sql.engines import ours
from langchain_tokenbuffer._sql.rows import key_of
from langchain_tokenbuffer.sql import SQLTokenBufferHistory
from tests.builders import count_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkServerContext

POSTGRES = os.environ.get("TOKENBUFFER_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
MARIADB = os.environ.get("TOKENBUFFER_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test")
REDIS = os.environ.get("TOKENBUFFER_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
SERVERS = {"postgresql": POSTGRES, "mariadb": MARIADB}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these tests, and no others, talk to this machine's databases."""
    urls = (*SERVERS.values(), REDIS)
    hosts = {"127.0.0.1", *(sa.make_url(url).host or "127.0.0.1" for url in urls)}
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.allow_hosts(sorted(hosts)))


@dataclass(frozen=True)
class Place:
    """Where a test keeps its sessions: a database, and tables of its own in it."""

    url: str
    prefix: str

    def history(self, session_id: str, **options: Any) -> SQLTokenBufferHistory:
        return SQLTokenBufferHistory(
            session_id,
            options.pop("connection", self.url),
            **{"max_tokens": 60, "token_counter": count_words, "prefix": self.prefix, **options},
        )

    @property
    def tables(self) -> sql_schema.Tables:
        return sql_schema.tables(self.prefix, None)

    def engine(self, **options: Any) -> sa.Engine:
        return sa.create_engine(self.url, **options)

    def rows(self, statement: sa.Select[Any]) -> list[sa.Row[Any]]:
        """Look into the tables, past the history."""
        engine = self.engine()
        try:
            with engine.connect() as connection:
                return list(connection.execute(statement))
        finally:
            engine.dispose()

    def change(self, statement: Any) -> None:
        engine = self.engine()
        try:
            with engine.begin() as connection:
                connection.execute(statement)
        finally:
            engine.dispose()

    def drop(self, name: str) -> None:
        """Drop another's table."""
        self.change(sa.text(f"DROP TABLE {name}"))

    def sequence(self, session_id: str) -> list[int]:
        """Return the sequence numbers that are stored of a session, in order."""
        s, m = self.tables.sessions.c, self.tables.messages.c
        numbers = sa.select(m.seq).join(self.tables.sessions, s.id == m.session_id)
        mine = numbers.where(s.key == key_of(session_id))
        return [row[0] for row in self.rows(mine.order_by(m.seq))]


def answers(url: str) -> bool:
    engine = sa.create_engine(url, connect_args={"connect_timeout": 2})
    try:
        with engine.connect():
            return True
    except sa.exc.DBAPIError:
        return False
    finally:
        engine.dispose()


def url_of(kind: str, folder: Path) -> str:
    """Return a database of a kind, or skip the test where none answers."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'chats.db'}"
    if not answers(SERVERS[kind]):
        pytest.skip(f"no {kind} answers at {sa.make_url(SERVERS[kind])!r}")
    return SERVERS[kind]


def make_place(kind: str, folder: Path) -> Iterator[Place]:
    place = Place(url_of(kind, folder), f"t{uuid.uuid4().hex[:12]}")
    yield place
    if kind == "sqlite":  # the file goes with its folder
        return
    engine = place.engine()
    tables = place.tables
    with engine.begin() as connection:
        for table in (tables.messages, tables.sessions, tables.terms, tables.versions):
            table.drop(connection, checkfirst=True)
    engine.dispose()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("sql")
    ours.close_all()


@pytest.fixture(scope="session", params=["sqlite", "postgresql", "mariadb"])
def place(request: pytest.FixtureRequest, folder: Path) -> Iterator[Place]:
    """Tables that all tests of the run share; take a new session id."""
    yield from make_place(request.param, folder)


@pytest.fixture(scope="session")
def shared_place(folder: Path) -> Iterator[Callable[[str], Place]]:
    """Return what returns a place of a kind, for tests that choose the kind themselves."""
    opened: dict[str, Iterator[Place]] = {}
    places: dict[str, Place] = {}

    def of(kind: str) -> Place:
        if kind not in places:
            opened[kind] = make_place(kind, folder)
            places[kind] = next(opened[kind])
        return places[kind]

    yield of
    for each in opened.values():
        next(each, None)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def empty_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place without tables."""
    yield from make_place(request.param, tmp_path)


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Place]:
    """A new SQLite file, for what does not depend on the database."""
    yield from make_place("sqlite", tmp_path)


@pytest.fixture(scope="session")
def redis_url() -> str:
    """Return where Redis answers, or skip the test."""
    module = pytest.importorskip("redis")
    with module.Redis.from_url(REDIS, socket_connect_timeout=2) as client:
        try:
            client.ping()
        except module.RedisError:
            pytest.skip(f"no Redis answers at {sa.make_url(REDIS)!r}")
    return REDIS


@pytest.fixture(scope="session")
def context() -> Iterator[ForkServerContext]:
    """Processes that have imported everything: none is forked from one with open connections."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["tests.sql.workers", "tests.sql.stores"])
    with pytest.MonkeyPatch.context() as patch:
        root, before = Path(__file__).resolve().parents[2], os.environ.get("PYTHONPATH")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(root), *([before] if before else [])]))
        yield found


@pytest.fixture
def session_id() -> str:
    return uuid.uuid4().hex
