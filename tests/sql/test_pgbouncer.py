"""PostgreSQL behind a real pgbouncer that gives each transaction another server: prepared statements are lost there."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from langchain_tokenbuffer._sql import pgbouncer
from langchain_tokenbuffer._sql.engines import make_engine, ours, sync_engine
from tests.builders import turn
from tests.sql.conftest import POSTGRES, Place, answers, make_place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TURNS = 8  # psycopg prepares what it has executed five times


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place on PostgreSQL behind a pgbouncer of our own, which hands servers on after each transaction."""
    binary = shutil.which("pgbouncer")
    if binary is None:
        pytest.skip("no pgbouncer is installed")
    folder = tmp_path_factory.mktemp("pgbouncer")
    places = make_place("postgresql", folder)
    direct = next(places)
    url, port = sa.make_url(direct.url), random.randint(20_000, 30_000)
    process = start_pgbouncer(binary, folder, url, port)
    place = replace(direct, url=url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False))
    deadline = time.monotonic() + 20
    while not answers(place.url) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    try:
        yield place
    finally:
        ours.close(sa.make_url(place.url))
        process.terminate()
        process.wait(20)
        next(places, None)


def start_pgbouncer(binary: str, folder: Path, url: sa.URL, port: int) -> subprocess.Popen[bytes]:
    password = f" password={url.password}" if url.password else ""
    server = f"host={url.host} port={url.port or 5432} user={url.username}{password}"
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = {server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        "unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n"
    )
    user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
    return subprocess.Popen([binary, "-q", *user, str(config)], stderr=subprocess.DEVNULL)


def works(place: Place, connection: object, session_id: str) -> bool:
    """Write and read in threads, so that every server comes to serve every connection."""
    history = place.history(session_id, connection=connection)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: (history.add_messages(turn(n)), history.messages), range(TURNS)))
    return len(history.all_messages()) == 2 * TURNS


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
@pytest.mark.parametrize("query", ["", "?pgbouncer=true"])
def test_a_url_works(pooled: Place, session_id: str, driver: str, query: str) -> None:
    url = sa.make_url(f"{pooled.url}{query}").set(drivername=f"postgresql+{driver}")
    connection = url.render_as_string(hide_password=False)
    assert works(pooled, connection, session_id)
    ours.close(url)


async def aworks(place: Place, connection: object, session_id: str) -> bool:
    history = place.history(session_id, connection=connection)
    for start in range(0, TURNS, 4):
        await asyncio.gather(*(history.aadd_messages(turn(n)) for n in range(start, start + 4)))
        await asyncio.gather(*(history.aget_messages() for _ in range(4)))
    return len(await history.aall_messages()) == 2 * TURNS


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_an_async_engine_works(pooled: Place, session_id: str, driver: str) -> None:
    engine = create_async_engine(sa.make_url(pooled.url).set(drivername=f"postgresql+{driver}"))
    assert await aworks(pooled, engine, session_id)
    await engine.dispose()


def test_an_engine_that_has_prepared_statements_already_works(pooled: Place, session_id: str) -> None:
    engine = pooled.engine()
    pooled.history(session_id, connection=engine)
    with engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        raw.prepare_threshold = 0  # as one that was made before the engine was passed
    assert works(pooled, engine, session_id)
    engine.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_pooler_is_told_from_a_server(pooled: Place, driver: str) -> None:
    found = []
    for url in (pooled.url, sa.make_url(pooled.url).set(port=sa.make_url(POSTGRES).port)):
        history = pooled.history(uuid.uuid4().hex, connection=sa.make_url(url).set(drivername=f"postgresql+{driver}"))
        _ = history.messages
        with history._database._engine() as engine:
            found.append(pgbouncer._is_pooled[sync_engine(engine).dialect])
        history.close()
    assert found == [True, False]


async def test_a_sqlalchemy_that_cannot_name_statements_is_refused_behind_a_pooler_only(
    pooled: Place, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgbouncer, "_names_statements", lambda: False)
    direct = create_async_engine(sa.make_url(POSTGRES).set(drivername="postgresql+asyncpg"))
    assert await aworks(pooled, direct, session_id)
    await direct.dispose()
    behind = create_async_engine(sa.make_url(pooled.url).set(drivername="postgresql+asyncpg"))
    with pytest.raises(RuntimeError, match="needs a newer SQLAlchemy"):
        await pooled.history(session_id, connection=behind).aget_messages()
    await behind.dispose()


def test_what_the_user_has_decided_on_prepared_statements_stays(pooled: Place) -> None:
    engine = pooled.engine(connect_args={"prepare_threshold": 7})
    history = pooled.history(uuid.uuid4().hex, connection=engine)
    _ = history.messages
    with engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        assert raw.prepare_threshold == 7
    engine.dispose()


@pytest.mark.parametrize("url", ["postgresql+psycopg://me@db.example/x?pgbouncer=maybe"])
def test_what_a_url_says_of_pgbouncer_is_checked(url: str) -> None:
    with pytest.raises(ValueError, match="true or false"):
        make_engine(sa.make_url(url))
