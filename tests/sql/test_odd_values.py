"""What is odd is understood, or refused before anything is stored: messages, connections, copies, stored text."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer import TokenBuffer
from langchain_tokenbuffer._sql.urls import url_of
from langchain_tokenbuffer.sql import SQLTokenBufferHistory
from tests.builders import count_words, turn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sql.conftest import Place


# --- messages -----------------------------------------------------------------------------------


class Critique(BaseMessage):
    """A message of a class that LangChain does not know."""

    type: str = "critique"


class Annotated(HumanMessage):
    """A message that has more than LangChain's."""

    grade: int = 3


def assigned(message: BaseMessage, **values: Any) -> BaseMessage:
    """Set fields as LangChain lets one do: without a check."""
    for name, value in values.items():
        setattr(message, name, value)
    return message


UNREADABLE = {
    "another class": Critique(content="a secret"),
    "no content": assigned(AIMessage("x"), content=None),
    "a number as content": assigned(HumanMessage("x"), content=7),
    "calls that are none": assigned(AIMessage("a secret"), tool_calls="no list"),
    "keys JSON has not": HumanMessage("a secret", additional_kwargs={("a", "b"): 1}),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_message_that_could_not_be_read_back_is_refused_before_anything_is_stored(lite: Place, name: str) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        lite.history("s").add_messages([HumanMessage("before"), UNREADABLE[name]])
    assert "secret" not in str(caught.value)
    assert lite.history("s").all_messages() == []


def test_a_refusal_says_what_to_pass(lite: Place) -> None:
    with pytest.raises(TypeError, match=r"A Critique of type 'critique' .* Pass one of langchain_core\.messages"):
        lite.history("s").add_messages([Critique(content="a secret")])


def test_a_message_of_ones_own_class_comes_back_as_langchains_with_what_it_had(
    lite: Place, caplog: pytest.LogCaptureFixture
) -> None:
    lite.history("s").add_messages([Annotated(content="hello", grade=5)])
    (found,) = lite.history("s").all_messages()
    assert (type(found), found.model_dump()) == (HumanMessage, Annotated(content="hello", grade=5).model_dump())
    assert "A Annotated is stored as a HumanMessage" in caplog.text


def test_what_comes_back_otherwise_is_warned_of(lite: Place, caplog: pytest.LogCaptureFixture) -> None:
    lite.history("s").add_messages([HumanMessage("a secret", additional_kwargs={"pair": (1, 2)})])
    assert "with what JSON can hold" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("value", [float("inf"), 1 << 80, "\ud800", [[[]]], {"": None}, True])
def test_what_json_can_hold_is_silent(lite: Place, caplog: pytest.LogCaptureFixture, value: object) -> None:
    message = HumanMessage("x", additional_kwargs={"odd": value})
    lite.history("s").add_messages([message])
    assert (lite.history("s").all_messages(), caplog.records) == ([message], [])


# --- connections --------------------------------------------------------------------------------


def test_memory_in_sqlites_own_word_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    history = SQLTokenBufferHistory("odd", ":memory:", max_tokens=60, token_counter=count_words)
    history.add_messages(turn(0))
    assert (history.messages, list(tmp_path.iterdir())) == (turn(0), [])
    history.delete_session()


@pytest.mark.parametrize(
    "connection",
    [
        "host=db.example dbname=chats user=me password=hunter2",
        "dbname=chats",
        "Server=db.example;Database=chats;Uid=me;Pwd=hunter2",
        "me:hunter2@db.example/chats",
        "postgresql:hunter2@db.example",
        "file:chats.db?mode=ro",
        "",
    ],
)
def test_what_is_neither_a_url_nor_a_path_is_refused_without_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connection: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="neither a URL nor the path") as caught:
        SQLTokenBufferHistory("s", connection, max_tokens=60, token_counter=count_words)
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["chats.db", "a folder/user@home.db", "C:\\chats.db", "x=1.db", "ann's: notes.db"])
def test_a_path_stays_a_path(path: str) -> None:
    assert str(url_of(path).database).endswith(path)


def test_an_odd_path_may_be_passed_as_one(tmp_path: Path) -> None:
    assert url_of(tmp_path / "host=db.example").database == str(tmp_path / "host=db.example")


@pytest.mark.parametrize(
    ("url", "driver"),
    [("postgres://me@db.example/x", "postgresql"), ("sqlite+aiosqlite:///x.db", "sqlite")],
)
def test_a_url_of_another_spelling_is_understood(url: str, driver: str) -> None:
    assert url_of(url).drivername.startswith(driver)


# --- copies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_copy_is_refused_with_what_to_do(lite: Place, again: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="Pass session_id and the URL on"):
        again(lite.history("s"))


# --- the buffer ---------------------------------------------------------------------------------


def test_the_buffer_cannot_be_replaced(lite: Place) -> None:
    with pytest.raises(AttributeError):
        lite.history("s").buffer = TokenBuffer(9, token_counter=count_words)  # type: ignore[misc]


@pytest.mark.parametrize(("name", "value"), [("max_tokens", 30), ("trim_to", 1.0)])
def test_a_setting_of_the_buffer_that_is_changed_counts_from_then_on(lite: Place, name: str, value: float) -> None:
    history = lite.history("s")
    for n in range(9):
        history.add_messages(turn(n))
    _ = history.messages
    setattr(history.buffer, name, value)
    window, other = history.messages, lite.history("s", **{name: value})
    assert window == other.messages == other.buffer.trim(history.all_messages())


def test_a_counter_of_the_buffer_that_is_changed_counts_from_then_on(lite: Place) -> None:
    def twice(messages: list[BaseMessage]) -> int:
        return 2 * count_words(messages)

    history = lite.history("s")
    for n in range(9):
        history.add_messages(turn(n))
    history.buffer.token_counter = TokenBuffer(60, token_counter=twice).token_counter
    expected = TokenBuffer(60, token_counter=twice).trim(history.all_messages())
    assert history.messages == expected
    history.add_messages(turn(9))
    assert history.messages == TokenBuffer(60, token_counter=twice).trim(history.all_messages())


# --- stored text --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    ["", "{broken", "null", "{}", "[]", "[1, 2, 3]", '["a", [[], 0, false], [0, 9], 0, true, "", [], [[]]]', "shifted"],
)
def test_a_state_that_is_damaged_is_computed_anew(lite: Place, state: str, caplog: pytest.LogCaptureFixture) -> None:
    history, s = lite.history("s"), lite.tables.sessions
    for n in range(9):
        history.add_messages(turn(n))
    if state == "shifted":
        stored = str(lite.rows(sa.select(s.c.state))[0][0])
        state = stored.replace(",4]", ",9]", 1)
    lite.change(sa.update(s).values(state=state, open_calls=None))
    history.add_messages(turn(9))
    assert history.messages == history.buffer.trim(history.all_messages())
    assert "The stored window of session 's' is damaged" in caplog.text


def test_open_calls_that_are_damaged_are_computed_anew(lite: Place) -> None:
    history = lite.history("s")
    for n in range(9):
        history.add_messages(turn(n))
    lite.change(sa.update(lite.tables.sessions).values(open_calls="{}"))
    history.add_messages(turn(9))
    assert history.messages == history.buffer.trim(history.all_messages())
