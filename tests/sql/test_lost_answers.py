"""A store that has a turn, and an answer that never comes: nothing is stored twice."""

from __future__ import annotations

import uuid
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from langchain_tokenbuffer import TokenBufferChatMessageHistory
from tests.builders import count_words, turn
from tests.sql.conftest import REDIS
from tests.sql.proxy import Proxy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # langchain-community says that it is at its end
    from langchain_community.chat_message_histories import (
        RedisChatMessageHistory,
        SQLChatMessageHistory,
    )

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.chat_history import BaseChatMessageHistory

    from tests.sql.conftest import Place

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated")

PORTS = {"postgresql": 5432, "mysql": 3306, "redis": 6379}


def proxy_to(url: sa.URL) -> Proxy:
    return Proxy(url.host or "127.0.0.1", url.port or PORTS[url.get_backend_name()])


def view(history: BaseChatMessageHistory) -> TokenBufferChatMessageHistory:
    return TokenBufferChatMessageHistory(history, max_tokens=60, token_counter=count_words)


# --- Redis: one message after the other ---------------------------------------------------------


@pytest.fixture
def redis(redis_url: str) -> Any:
    """Return the module of Redis' client, if a server answers it."""
    assert redis_url
    return pytest.importorskip("redis")


@pytest.fixture
def in_redis(redis: Any, session_id: str) -> Iterator[tuple[Proxy, RedisChatMessageHistory]]:
    """Return a proxy to Redis, and community's history that writes through it."""
    assert redis
    url = sa.make_url(REDIS)
    with proxy_to(url) as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port)
        history = RedisChatMessageHistory(session_id, through.render_as_string(hide_password=False))
        yield proxy, history
        history.clear()
        history.redis_client.close()


@pytest.mark.parametrize("number", [1, 2])
def test_redis_holds_what_it_stored_once(
    redis: Any, in_redis: tuple[Proxy, RedisChatMessageHistory], number: int
) -> None:
    proxy, history = in_redis
    view(history).add_messages(turn(0))
    proxy.drop_answer(b"LPUSH", number)
    with pytest.raises(redis.ConnectionError):
        view(history).add_messages(turn(1))
    assert proxy.lost == 1
    assert history.messages == [*turn(0), *turn(1)[:number]]


@pytest.mark.parametrize("number", [1, 2])
async def test_redis_holds_what_it_stored_once_async(
    redis: Any, in_redis: tuple[Proxy, RedisChatMessageHistory], number: int
) -> None:
    proxy, history = in_redis
    await view(history).aadd_messages(turn(0))
    proxy.drop_answer(b"LPUSH", number)
    with pytest.raises(redis.ConnectionError):
        await view(history).aadd_messages(turn(1))
    assert proxy.lost == 1
    assert await history.aget_messages() == [*turn(0), *turn(1)[:number]]


# --- SQL: one transaction -----------------------------------------------------------------------


@pytest.fixture
def table(shared_place: Callable[[str], Place]) -> Iterator[str]:
    """Name a table in PostgreSQL."""
    name = f"t{uuid.uuid4().hex[:12]}"
    place = shared_place("postgresql")
    yield name
    place.change(sa.text(f"DROP TABLE {name}"))


@pytest.fixture
def postgres(shared_place: Callable[[str], Place]) -> Iterator[tuple[Proxy, sa.URL]]:
    """Return a proxy to PostgreSQL, and the URL that leads through it."""
    url = sa.make_url(shared_place("postgresql").url)
    with proxy_to(url) as proxy:
        yield proxy, url.set(host="127.0.0.1", port=proxy.port)


def test_community_sql_holds_what_it_stored_once(postgres: tuple[Proxy, sa.URL], table: str) -> None:
    proxy, url = postgres
    engine = sa.create_engine(url.update_query_dict({"sslmode": "disable"}))
    history = SQLChatMessageHistory("s", table_name=table, connection=engine)
    view(history).add_messages(turn(0))
    proxy.drop_answer(b"COMMIT")
    with pytest.raises(sa.exc.OperationalError):
        view(history).add_messages(turn(1))
    found = history.messages
    engine.dispose()
    assert (proxy.lost, found) == (1, [*turn(0), *turn(1)])


async def test_community_sql_holds_what_it_stored_once_async(postgres: tuple[Proxy, sa.URL], table: str) -> None:
    proxy, url = postgres
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg", query={"ssl": "disable"}))
    history = SQLChatMessageHistory("s", table_name=table, connection=engine)
    await view(history).aadd_messages(turn(0))
    proxy.drop_answer(b"COMMIT")
    with pytest.raises(sa.exc.DBAPIError):
        await view(history).aadd_messages(turn(1))
    found = await history.aget_messages()
    await engine.dispose()
    assert (proxy.lost, found) == (1, [*turn(0), *turn(1)])


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_ours_finds_what_it_stored_and_says_nothing(
    shared_place: Callable[[str], Place], kind: str, session_id: str
) -> None:
    place = shared_place(kind)
    url = sa.make_url(place.url)
    place.history(session_id).add_messages(turn(0))
    with proxy_to(url) as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port)
        if kind == "postgresql":
            through = through.update_query_dict({"sslmode": "disable"})
        engine = sa.create_engine(through)
        history = place.history(session_id, connection=engine)
        _ = history.messages
        proxy.drop_answer(b"COMMIT")
        history.add_messages(turn(1))
        engine.dispose()
    assert proxy.lost == 1
    assert place.history(session_id).all_messages() == [*turn(0), *turn(1)]
