"""What a long session costs, and who has to wait for it."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from sqlalchemy.ext.asyncio import create_async_engine

from langchain_tokenbuffer._sql import database, recomputing
from langchain_tokenbuffer._sql import window as sql_window
from tests.builders import turn
from tests.sql.test_law import anything, budgets, buffer_window, in_memory, some, window_or_error

if TYPE_CHECKING:
    from tests.sql.conftest import Place


# --- an append ----------------------------------------------------------------------------------


def written(place: Place, session_id: str, messages: list[BaseMessage], **options: Any) -> list[int]:
    """Append message by message; return how many characters each append wrote."""
    engine, found = place.engine(), list[int]()
    history = place.history(session_id, connection=engine, **options)

    @sa.event.listens_for(engine, "before_cursor_execute")
    def note(_c: object, _d: object, _s: str, parameters: Any, *_: object) -> None:
        found[-1] += len(str(parameters))

    for each in messages:
        found.append(0)
        history.add_messages([each])
    engine.dispose()
    return found


def steps(count: int) -> list[BaseMessage]:
    """Return the steps of an agent that nobody has asked anything."""
    messages: list[BaseMessage] = []
    for n in range(count):
        messages.append(AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": f"{n}"}]))
        messages.append(ToolMessage(f"result {n}", tool_call_id=f"{n}"))
    return messages


def test_an_append_to_a_session_without_a_human_message_writes_what_is_new(lite: Place) -> None:
    found = written(lite, "s", steps(50), max_tokens=10_000)
    assert max(found[-20:]) < 1.2 * max(found[2:20])


def test_the_first_question_ends_what_came_before_it(lite: Place) -> None:
    history = lite.history("s", max_tokens=10_000)
    for each in steps(5):
        history.add_messages([each])
    history.add_messages([HumanMessage("hello")])
    assert history.messages == [HumanMessage("hello")]


def test_a_window_that_moves_with_each_append_is_not_written_with_each(lite: Place) -> None:
    turns = [message for n in range(300) for message in turn(n)]
    history = lite.history("s", max_tokens=800, trim_to=1.0)
    history.add_messages(turns[:-100])
    found = written(lite, "s", turns[-100:], max_tokens=800, trim_to=1.0)
    state = len(str(lite.rows(sa.select(lite.tables.sessions.c.state))[0][0]))
    assert history.messages == history.buffer.trim(turns)
    assert sum(each > state for each in found) < 10


# --- a window computed anew, in portions --------------------------------------------------------


@pytest.fixture
def portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a session be long that has a few messages."""
    monkeypatch.setattr(sql_window, "LONG", 4)
    monkeypatch.setattr(recomputing, "_PORTION", 3)


def test_a_long_session_has_the_window_of_a_token_buffer_under_changed_settings() -> None:
    @some
    @given(anything, budgets, budgets)
    def law(messages: list[BaseMessage], first: dict[str, Any], then: dict[str, Any]) -> None:
        session_id = uuid.uuid4().hex
        in_memory(session_id, **first).add_messages(messages)
        history = in_memory(session_id, **then)
        assert window_or_error(lambda: history.messages) == buffer_window(messages, **then)
        assert history.all_messages() == messages

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_window, "LONG", 4)
        patch.setattr(recomputing, "_PORTION", 3)
        law()


def fill(place: Place, session_id: str, turns: int) -> list[BaseMessage]:
    messages = [message for n in range(turns) for message in turn(n)]
    place.history(session_id).add_messages(messages)
    return messages


@pytest.mark.usefixtures("portions")
@pytest.mark.parametrize("kind", ["url", "async engine"])
async def test_every_operation_finds_a_long_session_computed_anew(place: Place, session_id: str, kind: str) -> None:
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    connection: Any = place.url
    if kind == "async engine":
        if (driver := drivers.get(sa.make_url(place.url).get_backend_name())) is None:
            pytest.skip("no asynchronous driver for it is installed")
        connection = create_async_engine(sa.make_url(place.url).set(drivername=driver))
    messages = fill(place, session_id, 12)

    def twice(messages: list[BaseMessage]) -> int:
        return 2 * place.history(session_id).buffer.token_counter.count(messages)

    for n, token_counter in enumerate([twice, None, twice, None]):
        counted = {} if token_counter is None else {"token_counter": token_counter}
        history = place.history(session_id, connection=connection, max_tokens=70 + n, **counted)
        if n == 0:
            await history.aget_messages()
        elif n == 1:
            await history.aadd_messages(turn(12))
            messages += turn(12)
        elif n == 2:
            await history.aevicted(lambda _: None)
        else:
            await history.adelete_before(0)
        assert await history.aget_messages() == history.buffer.trim(messages)
    if kind == "async engine":
        await connection.dispose()


@pytest.mark.usefixtures("portions")
@pytest.mark.parametrize("operation", ["append", "purge", "clear", "delete"])
def test_what_others_do_while_a_window_is_computed_anew_counts(
    place: Place, session_id: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place, session_id, 12)
    other = place.history(session_id)
    _ = other.messages
    finish = recomputing._Walk.session_from_here
    calls: list[object] = []

    def do(walk: Any) -> Any:
        calls.append(walk)
        if len(calls) == 1:
            if operation == "append":
                other.add_messages(turn(12))
            elif operation == "purge":
                other.delete_before(99)
            elif operation == "clear":
                other.clear()
            else:
                other.delete_session()
        return finish(walk)

    monkeypatch.setattr(recomputing._Walk, "session_from_here", do)
    history = place.history(session_id, max_tokens=90)
    window = history.messages
    assert calls
    assert window == history.messages == history.buffer.trim(history.all_messages())


@pytest.mark.usefixtures("portions")
def test_another_session_is_written_while_a_window_is_computed_anew(place: Place, session_id: str) -> None:
    fill(place, session_id, 12)
    place.history(f"{session_id} other").add_messages(turn(0))
    engine = place.engine(pool_size=1, max_overflow=0)
    seen: list[int] = []
    history = place.history(session_id, max_tokens=90, connection=engine)

    @sa.event.listens_for(engine, "checkin")
    def write(*_: object) -> None:
        thread = threading.Thread(target=place.history(f"{session_id} other").add_messages, args=(turn(1),))
        thread.start()
        thread.join(20)
        seen.append(thread.is_alive())

    _ = history.messages
    engine.dispose()
    assert len(seen) > 3
    assert not any(seen)


@pytest.mark.usefixtures("portions")
def test_the_replay_lets_others_go_first_but_not_for_ever(lite: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = fill(lite, "s", 12)
    slept: list[float] = []
    now = iter(range(1_000_000))
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: next(now) / 1000)
    busy = object()
    database.active.add(busy)
    try:
        history = lite.history("s", max_tokens=90)
        assert history.messages == history.buffer.trim(messages)
    finally:
        database.active.discard(busy)
    assert slept
