"""Moving in from other histories."""

from __future__ import annotations

import io
import json
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_tokenbuffer import TokenBuffer
from langchain_tokenbuffer._sql import importing
from langchain_tokenbuffer.sql import SQLTokenBufferHistory
from tests.builders import count_words

if TYPE_CHECKING:
    from collections.abc import Sequence
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
