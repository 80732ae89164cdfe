"""Moving in from other histories."""

from __future__ import annotations

import io
import json
import sys
import uuid
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
    message_to_dict,
)

from langchain_tokenbuffer import TokenBuffer
from langchain_tokenbuffer._sql import importing
from langchain_tokenbuffer.sql import SQLTokenBufferHistory
from tests.builders import count_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.sql.conftest import Place

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_community.chat_message_histories import SQLChatMessageHistory


def turn_with_a_tool(n: int) -> list[BaseMessage]:
    call = {"name": "look", "args": {"n": n}, "id": str(n)}
    return [
        HumanMessage(f"question {n}"),
        AIMessage("", tool_calls=[call]),
        ToolMessage(f"result {n}", tool_call_id=str(n)),
        AIMessage(f"answer {n} \U0001f600"),
    ]


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A community table with two sessions, in turns."""
    url = f"sqlite:///{tmp_path / 'old.db'}"
    for n in range(6):
        write_with_langchain(url, "ann" if n % 2 else "bob", turn_with_a_tool(n))
    return url


def write_with_langchain(url: str, session_id: str, messages: Sequence[BaseMessage]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = sa.create_engine(url)
        SQLChatMessageHistory(session_id, connection=engine).add_messages(messages)
        engine.dispose()


def import_session(place: Place, old: str, **options: Any) -> int:
    return SQLTokenBufferHistory.import_message_store(
        old, place.url, max_tokens=60, token_counter=count_words, prefix=place.prefix, **options
    )


ANN = [*turn_with_a_tool(1), *turn_with_a_tool(3), *turn_with_a_tool(5)]
BOB = [*turn_with_a_tool(0), *turn_with_a_tool(2), *turn_with_a_tool(4)]


def test_a_community_table_is_imported_with_one_call(empty_place: Place, old: str) -> None:
    assert import_session(empty_place, old) == 24
    assert empty_place.history("ann").all_messages() == ANN
    assert empty_place.history("bob").all_messages() == BOB


def test_what_was_imported_has_its_window(empty_place: Place, old: str) -> None:
    import_session(empty_place, old)
    assert empty_place.history("ann").messages == TokenBuffer(60, token_counter=count_words).trim(ANN)


def test_a_second_import_brings_only_what_came_since(empty_place: Place, old: str) -> None:
    import_session(empty_place, old)
    assert import_session(empty_place, old) == 0
    write_with_langchain(old, "ann", turn_with_a_tool(7))
    assert import_session(empty_place, old) == 4
    assert empty_place.history("ann").all_messages() == [*ANN, *turn_with_a_tool(7)]


class StopError(Exception):
    """The import was interrupted."""


def test_an_interrupted_import_goes_on_where_it_stopped(lite: Place, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "PAGE", 3)

    def stop(done: int, _total: int) -> None:
        if done > 9:
            raise StopError

    with pytest.raises(StopError):
        import_session(lite, old, progress=stop)
    assert 0 < import_session(lite, old) < 24
    assert lite.history("ann").all_messages() == ANN
    assert lite.history("bob").all_messages() == BOB


def test_two_imports_at_once_bring_everything_once_and_lose_nothing(
    lite: Place, old: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importing, "PAGE", 3)
    inner: list[int] = []

    def meanwhile(done: int, _total: int) -> None:
        if done == 3:
            inner.append(import_session(lite, old))

    outer = import_session(lite, old, progress=meanwhile)
    assert outer + inner[0] == 24
    assert lite.history("ann").all_messages() == ANN
    assert caplog.text == ""


def test_a_row_that_cannot_be_read_is_named_and_hides_no_other(
    lite: Place, old: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = sa.create_engine(old)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE message_store SET message = '{broken' WHERE id = 5"))
    engine.dispose()
    assert import_session(lite, old) == 23
    assert "Row 5 of session 'ann' cannot be read" in caplog.text


def test_another_table_and_column_can_be_named(lite: Place, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    engine = sa.create_engine(url)
    text = json.dumps({"type": "human", "data": {"content": "hi"}})
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE chats (id INTEGER, who TEXT, message TEXT)"))
        connection.execute(sa.text("INSERT INTO chats VALUES (1, 'ann', :m)"), {"m": text})
    engine.dispose()
    assert import_session(lite, url, table="chats", session_column="who") == 1
    assert lite.history("ann").messages == [HumanMessage("hi")]


@pytest.mark.parametrize("argument", ["table", "session_column"])
def test_a_table_name_that_is_not_plain_is_refused(lite: Place, old: str, argument: str) -> None:
    with pytest.raises(ValueError, match=argument):
        import_session(lite, old, **{argument: "x; DROP TABLE y"})


class Elsewhere(InMemoryChatMessageHistory):
    """Another history; LangChain deprecates its own."""


def test_any_history_is_imported_and_goes_on_later(place: Place, session_id: str) -> None:
    source = Elsewhere(messages=ANN)
    assert place.history(session_id).import_messages(source) == len(ANN)
    source.add_messages(BOB)
    assert place.history(session_id).import_messages(source) == len(BOB)
    assert place.history(session_id).all_messages() == [*ANN, *BOB]


def test_two_sources_are_kept_apart_by_name(lite: Place) -> None:
    lite.history("s").import_messages(ANN, name="a")
    lite.history("s").import_messages(BOB, name="b")
    assert lite.history("s").all_messages() == [*ANN, *BOB]


def test_messages_that_repeat_with_their_ids_are_imported_as_they_are(lite: Place) -> None:
    twice: list[BaseMessage] = [AIMessage("a", id="1")] * 2
    lite.history("s").add_messages(twice[:1])
    assert lite.history("s").import_messages(twice) == 2
    assert len(lite.history("s").all_messages()) == 3


# --- the same source, or another one ------------------------------------------------------------


CHANGED = {
    "another list": BOB,
    "one that begins otherwise": [*BOB[:4], *ANN[4:]],
    "one that lost its first messages": ANN[4:],
    "one that lost its last messages": ANN[:8],
    "one that lost its first messages and has grown": [*ANN[4:], *BOB],
    "one that is empty now": [],
}


@pytest.mark.parametrize("source", CHANGED.values(), ids=CHANGED)
def test_a_list_that_is_not_what_was_imported_under_its_name_is_refused(lite: Place, source: list[BaseMessage]) -> None:
    lite.history("s").import_messages(ANN)
    with pytest.raises(ValueError, match=r"'list' is not what was imported .* Pass another name="):
        lite.history("s").import_messages(source)
    assert lite.history("s").all_messages() == ANN
    assert lite.history("s").import_messages(source, name="another") == len(source)


def test_how_far_a_source_was_imported_can_be_asked(lite: Place) -> None:
    lite.history("s").import_messages(ANN, name="a")
    assert (lite.history("s").imported("a"), lite.history("s").imported("b")) == (len(ANN), None)


def test_an_import_that_an_older_release_began_goes_on(lite: Place) -> None:
    """It stored how far it came, and no fingerprint."""
    lite.history("s").import_messages(ANN[:8])
    lite.change(sa.update(lite.tables.sessions).values(imported=json.dumps({"list": 8})))
    assert lite.history("s").import_messages(ANN) == 4
    assert lite.history("s").all_messages() == ANN


def change_old_table(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for each in statements:
            connection.execute(sa.text(each))
    engine.dispose()


def test_a_table_that_was_filled_anew_is_refused_and_what_others_hold_is_imported(lite: Place, old: str) -> None:
    import_session(lite, old)
    change_old_table(old, "DELETE FROM message_store")
    for n in range(7):
        write_with_langchain(old, "ann", turn_with_a_tool(n))
    write_with_langchain(old, "carl", turn_with_a_tool(1))
    with pytest.raises(ValueError, match=r"of 1 sessions, such as 'ann', .* 4 messages into others"):
        import_session(lite, old)
    assert lite.history("ann").all_messages() == ANN
    assert import_session(lite, old, name="filled anew") == 32


def test_a_table_that_shrank_is_refused(lite: Place, old: str) -> None:
    import_session(lite, old)
    change_old_table(old, "DELETE FROM message_store WHERE id > 20")
    with pytest.raises(ValueError, match="'ann'"):
        import_session(lite, old)


def test_a_table_of_langchain_postgres_is_imported(shared_place: Callable[[str], Place]) -> None:
    place = shared_place("postgresql")
    table, session_id = f"{place.prefix}_old", str(uuid.uuid4())
    columns = "id SERIAL PRIMARY KEY, session_id UUID NOT NULL, message JSONB NOT NULL, created_at TIMESTAMPTZ"
    place.change(sa.text(f"CREATE TABLE {table} ({columns} NOT NULL DEFAULT NOW())"))
    insert = sa.text(
        f"INSERT INTO {table} (session_id, message) VALUES (CAST(:session AS UUID), CAST(:message AS JSON))"
    )
    for message in ANN:
        place.change(insert.bindparams(session=session_id, message=json.dumps(message_to_dict(message))))
    first = import_session(place, place.url, table=table)
    again = import_session(place, place.url, table=table)
    place.change(sa.text(f"DROP TABLE {table}"))
    assert (first, again) == (len(ANN), 0)
    assert place.history(session_id).all_messages() == ANN


def test_a_thread_of_langgraph_is_imported_and_goes_on_until_it_shrinks(lite: Place) -> None:
    graphs = pytest.importorskip("langgraph.graph")
    memory = pytest.importorskip("langgraph.checkpoint.memory")
    builder = graphs.StateGraph(graphs.MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage(f"answer {len(state['messages'])}")]})
    builder.add_edge(graphs.START, "reply")
    graph = builder.compile(checkpointer=memory.InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "7"}}

    def moved_in(update: list[BaseMessage]) -> int:
        graph.invoke({"messages": update}, thread)
        messages = graph.get_state(thread).values["messages"]
        return lite.history("7").import_messages(messages, name="thread 7")

    first = HumanMessage("one", id="1")
    assert [moved_in([first]), moved_in([HumanMessage("two")])] == [2, 2]
    with pytest.raises(ValueError, match="'thread 7' is not what was imported"):
        moved_in([RemoveMessage(id="1"), HumanMessage("three")])
    assert [message.text for message in lite.history("7").all_messages()] == ["one", "answer 1", "two", "answer 3"]


def test_a_state_is_refused_with_what_to_pass(lite: Place) -> None:
    with pytest.raises(TypeError, match=r"state\['messages'\]"):
        lite.history("s").import_messages({"messages": ANN})


def test_messages_are_imported_in_every_form_that_langchain_takes(lite: Place) -> None:
    lite.history("s").import_messages([{"role": "user", "content": "hi"}, ("ai", "hello")])
    assert lite.history("s").all_messages() == [HumanMessage("hi"), AIMessage("hello")]


# --- how far it is ------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """Standard error on a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_long_import_shows_a_bar_on_a_terminal(lite: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(importing, "_BAR_AFTER", 0.0)
    lite.history("s").import_messages(ANN)
    assert "100% 12 of 12 messages" in terminal.getvalue()


def test_a_short_import_shows_no_bar(lite: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    lite.history("s").import_messages(ANN)
    assert terminal.getvalue() == ""


def test_no_bar_is_shown_where_there_is_no_terminal(
    lite: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_BAR_AFTER", 0.0)
    lite.history("s").import_messages(ANN)
    assert capsys.readouterr().err == ""
