"""An AsyncEngine connects as it was told to, whoever asks: from its loop, another one, a thread, or no loop at all."""

from __future__ import annotations

import asyncio
import gc
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from langchain_core.messages import BaseMessage, HumanMessage
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from langchain_tokenbuffer._sql import loops
from tests.builders import run_script, turn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from langchain_tokenbuffer.sql import SQLTokenBufferHistory
    from tests.sql.conftest import Place

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


class Loop:
    """An event loop that runs in a thread, as an application's does."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    opened = Loop()
    yield opened
    opened.close()


@pytest.fixture
def tenant(place: Place) -> Iterator[str]:
    """A schema of its own on a server; a file of its own on SQLite, which has none."""
    name = f"tenant-{uuid.uuid4().hex[:8]}"
    quoted = f'"{name}"' if place.url.startswith("postgresql") else f"`{name}`"
    if place.url.startswith("sqlite"):
        yield name
        return
    place.change(sa.text(f"CREATE SCHEMA {quoted}"))
    yield name
    place.change(sa.text(f"DROP SCHEMA {quoted}{' CASCADE' if '`' not in quoted else ''}"))


@pytest.fixture
def engine(place: Place, tenant: str) -> AsyncEngine:
    """An engine whose URL alone leads elsewhere: what tells tenants apart is in its arguments and listeners."""
    backend = sa.make_url(place.url).get_backend_name()
    if backend not in DRIVERS:
        pytest.skip("no asynchronous driver for it is installed")
    url = sa.make_url(place.url).set(drivername=DRIVERS[backend])
    if backend == "postgresql":
        settings = {"search_path": f'"{tenant}"'}
        engine = create_async_engine(url, connect_args={"server_settings": settings}, pool_size=1, max_overflow=0)
    else:
        engine = create_async_engine(url, pool_size=1, max_overflow=0)
        file = f"{url.database}-{tenant}"

        @sa.event.listens_for(engine.sync_engine, "do_connect")
        def lead_to_the_tenant(_d: object, _r: object, arguments: list[Any], _k: object) -> None:
            arguments[:] = [file]

    return engine


def say(history: SQLTokenBufferHistory, text: str) -> None:
    history.add_messages([HumanMessage(text)])


async def asay(history: SQLTokenBufferHistory, text: str) -> None:
    await history.aadd_messages([HumanMessage(text)])


def texts(messages: list[BaseMessage]) -> list[str]:
    return [message.text for message in messages]


def test_every_caller_reaches_what_the_engine_leads_to(engine: AsyncEngine, place: Place, loop: Loop) -> None:
    history = place.history("s", connection=engine)
    say(history, "no loop")
    loop.run(asay(history, "its loop"))
    say(history, "a thread")
    asyncio.run(asay(history, "another loop"))
    loop.run(engine.dispose())
    say(history, "disposed of")
    loop.run(engine.dispose())
    assert texts(history.all_messages()) == ["no loop", "its loop", "a thread", "another loop", "disposed of"]
    assert place.history("s").all_messages() == []


class StartingError(Exception):
    """What asyncpg raises while the server starts."""

    sqlstate = "57P03"


@pytest.mark.parametrize("error", [ConnectionRefusedError, StartingError])
async def test_a_server_that_starts_just_now_is_waited_for(
    engine: AsyncEngine, place: Place, error: type[Exception]
) -> None:
    errors = [error(), error()]

    @sa.event.listens_for(engine.sync_engine, "do_connect")
    def fail(*_: object) -> None:
        if errors:
            raise errors.pop()

    history = place.history("s", connection=engine)
    await asay(history, "hello")
    found = await history.aget_messages()
    await engine.dispose()
    assert (texts(found), errors) == (["hello"], [])


@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_works_in_one_loop_after_the_other_and_leaves_nothing_open(engine: AsyncEngine, place: Place) -> None:
    history = place.history("s", connection=engine)
    for text in ("first", "second"):
        asyncio.run(asay(history, text))
    gc.collect()
    assert texts(history.all_messages()) == ["first", "second"]


def test_a_loop_that_rests_or_was_left_without_an_end_is_not_waited_for(lite: Place) -> None:
    url = sa.make_url(lite.url).set(drivername="sqlite+aiosqlite")
    history = lite.history("s", connection=create_async_engine(url, poolclass=pool.NullPool))
    first = asyncio.new_event_loop()
    first.run_until_complete(asay(history, "first"))
    say(history, "it rests")
    asyncio.run(asay(history, "another"))
    first.close()
    asyncio.run(asay(history, "it was left"))
    assert texts(history.all_messages()) == ["first", "it rests", "another", "it was left"]


def test_callers_from_elsewhere_share_the_engines_connections(engine: AsyncEngine, place: Place, loop: Loop) -> None:
    history = place.history("s", connection=engine)
    connected: list[None] = []
    sa.event.listen(engine.sync_engine, "connect", lambda *_: connected.append(None))
    loop.run(history.aget_messages())
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: say(history, str(n)), range(8)))
    asyncio.run(asay(history, "another loop"))
    loop.run(engine.dispose())
    assert (len(connected), len(history.all_messages())) == (1, 9)


async def test_a_sync_call_on_its_own_loop_is_refused(engine: AsyncEngine, place: Place) -> None:
    history = place.history("s", connection=engine)
    await history.aadd_messages(turn(0))
    with pytest.raises(RuntimeError, match="pass a URL or an Engine"):
        _ = history.messages
    await engine.dispose()


async def test_an_error_in_another_loop_is_raised_here(engine: AsyncEngine, place: Place, loop: Loop) -> None:
    history = place.history("s", connection=engine, create_tables=False, prefix="nowhere")

    def fails(call: Callable[[], object]) -> bool:
        with pytest.raises(Exception, match="are not there"):
            call()
        return True

    assert await asyncio.to_thread(fails, lambda: loop.run(history.aget_messages()))
    assert await asyncio.to_thread(fails, lambda: history.messages)
    assert await asyncio.to_thread(fails, lambda: asyncio.run(history.aget_messages()))
    await asyncio.to_thread(loop.run, engine.dispose())


def ask(loop: asyncio.AbstractEventLoop) -> None:
    loops.run_in(loop, asyncio.sleep(60))


def ask_async(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.run(loops.arun_in(loop, asyncio.sleep(60)))


@pytest.mark.parametrize("call", [ask, ask_async])
@pytest.mark.parametrize("is_closed", [True, False])
def test_a_loop_that_ends_meanwhile_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[asyncio.AbstractEventLoop], None],
    is_closed: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(loops, "_LOOK_AGAIN", 0.01)
    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(call, runner.get_loop())

        async def wait_until_it_is_there() -> None:
            while len(asyncio.all_tasks()) < 2:  # noqa: ASYNC110  # nothing says when
                await asyncio.sleep(0)

        runner.run(wait_until_it_is_there())
        if is_closed:
            runner.close()
        with pytest.raises(RuntimeError, match="has ended meanwhile"):
            asked.result(10)


ALONE = """
import asyncio, sys
sys.modules["psycopg"] = sys.modules["psycopg2"] = None  # as if they were not installed
from langchain_core.messages import HumanMessage
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine
from langchain_tokenbuffer import SQLTokenBufferHistory

def history(connection):
    return SQLTokenBufferHistory(sys.argv[3], connection, max_tokens=90, token_counter=len, prefix=sys.argv[2])

engine = create_async_engine(sys.argv[1])
for connection in (engine, sys.argv[1]):
    for n in range(2):
        asyncio.run(history(connection).aadd_messages([HumanMessage(str(n))]))
    print([message.content for message in history(connection).messages])
"""


def test_one_asynchronous_driver_is_enough(place: Place, session_id: str) -> None:
    backend = sa.make_url(place.url).get_backend_name()
    if backend not in DRIVERS:
        pytest.skip("no asynchronous driver for it is installed")
    url = sa.make_url(place.url).set(drivername=DRIVERS[backend]).render_as_string(hide_password=False)
    printed = run_script(ALONE, url, place.prefix, session_id)
    assert printed == "['0', '1']\n['0', '1', '0', '1']\n"


# --- execution options -----------------------------------------------------------------------------


def test_a_schema_translate_map_is_followed(place: Place, tenant: str) -> None:
    if place.url.startswith("sqlite"):
        pytest.skip("SQLite has no schemas")
    engine = place.engine()
    over = engine.execution_options(schema_translate_map={None: tenant})
    say(place.history("s", connection=over), "theirs")
    say(place.history("s", connection=engine), "ours")
    found = [texts(place.history("s", connection=each).messages) for each in (engine, over)]
    named = texts(place.history("s", schema=tenant).messages)
    place.history("s").delete_session()
    engine.dispose()
    assert (found, named) == ([["ours"], ["theirs"]], ["theirs"])


async def test_a_schema_translate_map_of_an_async_engine_is_followed(place: Place, tenant: str) -> None:
    if not place.url.startswith("postgresql"):
        pytest.skip("asyncpg's")
    engine = create_async_engine(sa.make_url(place.url).set(drivername="postgresql+asyncpg"))
    over = engine.execution_options(schema_translate_map={"named": tenant})
    await asay(place.history("s", connection=over, schema="named"), "theirs")
    await engine.dispose()
    assert texts(await place.history("s", schema=tenant).aget_messages()) == ["theirs"]
