"""What is stored, and what is asked of it: exactness, repeats, what left, retention, secrecy."""

from __future__ import annotations

import json
import logging
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import sqlalchemy as sa
import tenacity
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_tokenbuffer._sql import database, evictions
from langchain_tokenbuffer._sql import settings as sql_settings
from langchain_tokenbuffer._sql.rows import decode, encode
from langchain_tokenbuffer._window.replay import RULE
from langchain_tokenbuffer.sql import SQLTokenBufferHistory
from tests.builders import count_words, turn
from tests.scale import examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sql.conftest import Place

few = settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])


def fill(place: Place, session_id: str, turns: int) -> list[BaseMessage]:
    messages = [message for n in range(turns) for message in turn(n)]
    for n in range(turns):
        place.history(session_id).add_messages(turn(n))
    return messages


# --- exactness ----------------------------------------------------------------------------------

NASTY = "a\x00b \ud83d \udc00 \ud83d\ude00 \U0001f600 \u2028 'quoted' \"twice\" \\ %s :name ?"
CALL = {"name": "look", "args": {"q": ["é", 1, None, {"x": 2.5}]}, "id": "call_1"}
EXACT = {
    "human": HumanMessage(NASTY, id="1", name="ann", additional_kwargs={"pinned": True}),
    "ai": AIMessage(
        [{"type": "text", "text": NASTY}, {"type": "reasoning", "reasoning": "hm"}],
        tool_calls=[CALL],
        invalid_tool_calls=[{"name": "x", "args": "{", "id": None, "error": "no JSON"}],
        usage_metadata={
            "input_tokens": 3,
            "output_tokens": 4,
            "total_tokens": 7,
            "input_token_details": {"cache_read": 2},
        },
        response_metadata={"model_name": "m", "logprobs": None},
        id="run-1",
    ),
    "tool": ToolMessage("x", tool_call_id="call_1", artifact={"rows": [[1, "é"]]}, status="error", name="look"),
    "system": SystemMessage([{"type": "text", "text": "s", "cache_control": {"type": "x"}}]),
    "developer": SystemMessage("d", additional_kwargs={"__openai_role__": "developer"}),
    "chat": ChatMessage(role="critic", content="c"),
    "function": FunctionMessage(name="f", content="1"),
    "chunk": AIMessageChunk(content="piece", id="2", tool_call_chunks=[]),
    "image": HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}}]),
    "empty": AIMessage(""),
    "long": HumanMessage("é" * 100_000),
}


@pytest.mark.parametrize("name", EXACT)
def test_a_message_comes_back_as_it_went(place: Place, session_id: str, name: str) -> None:
    place.history(session_id).add_messages([EXACT[name]])
    found = place.history(session_id).all_messages()
    assert [(type(each), each.model_dump()) for each in found] == [(type(EXACT[name]), EXACT[name].model_dump())]


@given(st.text(st.characters(), max_size=40))
def test_any_text_survives(text: str) -> None:
    assert decode(encode(HumanMessage(text))).content == text


@given(st.lists(st.sampled_from(["\ud83d", "\ude00", "\U0001f600", "\x00", "a"]), max_size=12))
def test_halves_of_characters_stay_halves(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert decode(encode(HumanMessage(text))).content == text


@given(st.text(st.characters(), max_size=40))
def test_what_is_stored_is_ascii(text: str) -> None:
    assert encode(HumanMessage(text)).isascii()


def test_an_artifact_that_json_cannot_hold_is_left_out_with_a_warning(
    lite: Place, caplog: pytest.LogCaptureFixture
) -> None:
    message = ToolMessage("x", tool_call_id="1", artifact=object())
    lite.history("s").add_messages([message])
    assert lite.history("s").all_messages() == [message.model_copy(update={"artifact": None})]
    assert "artifact of type object" in caplog.text


def test_metadata_that_json_cannot_hold_does_not_lose_the_turn(lite: Place, caplog: pytest.LogCaptureFixture) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    lite.history("s").add_messages([AIMessage("x", response_metadata={"at": at})])
    assert lite.history("s").messages[0].response_metadata == {"at": str(at)}
    assert "of type datetime" in caplog.text


def break_row(place: Place, seq: int) -> None:
    messages = place.tables.messages
    place.change(sa.update(messages).where(messages.c.seq == seq).values(payload="{broken"))


def test_a_row_that_cannot_be_read_is_named_and_hides_no_other(lite: Place, caplog: pytest.LogCaptureFixture) -> None:
    messages = fill(lite, "ann", 2)
    break_row(lite, 1)
    assert lite.history("ann").all_messages() == [messages[0], *messages[2:]]
    assert "Message 1 of session 'ann' cannot be read" in caplog.text


def test_a_window_with_a_row_that_cannot_be_read_is_still_valid(lite: Place) -> None:
    call = AIMessage("", tool_calls=[CALL])
    lite.history("s").add_messages(
        [HumanMessage("a"), call, ToolMessage("r", tool_call_id="call_1"), AIMessage("done")]
    )
    break_row(lite, 1)
    assert [each.content for each in lite.history("s").messages] == ["a", "done"]


# --- one append, once ---------------------------------------------------------------------------


class LostError(Exception):
    """The answer to a commit that was made."""


def lost() -> sa.exc.OperationalError:
    return sa.exc.OperationalError("", {}, LostError(), connection_invalidated=True)


def losing(engine: sa.Engine, times: int) -> None:
    """Lose the answers to the next commits of an engine, behind the database's back."""
    left = [times]

    def commit(connection: sa.Connection) -> None:
        if left[0]:
            left[0] -= 1
            raw: Any = connection.connection.dbapi_connection
            raw.commit()
            raise lost()

    sa.event.listen(engine, "commit", commit)


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_lost_commit_is_found_and_stored_once(place: Place, session_id: str, times: int) -> None:
    place.history(session_id).add_messages(turn(0))
    engine = place.engine()
    history = place.history(session_id, connection=engine)
    _ = history.messages
    losing(engine, times)
    history.add_messages(turn(1))
    engine.dispose()
    assert place.history(session_id).all_messages() == [*turn(0), *turn(1)]


def test_a_repeated_append_leaves_no_gap(place: Place, session_id: str) -> None:
    place.history(session_id).add_messages(turn(0))
    engine = place.engine()
    history = place.history(session_id, connection=engine)
    _ = history.messages
    losing(engine, 1)
    history.add_messages(turn(1))
    engine.dispose()
    place.history(session_id).add_messages(turn(2))
    assert place.sequence(session_id) == [0, 1, 2, 3, 4, 5]


WITH_IDS = [HumanMessage("a", id="1"), AIMessage("b", id="2")]


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        (WITH_IDS, WITH_IDS, 2),
        (WITH_IDS, WITH_IDS[1:], 2),
        (WITH_IDS, WITH_IDS[:1], 3),
        (WITH_IDS, [WITH_IDS[0], WITH_IDS[1].model_copy(update={"content": "c"})], 4),
        ([HumanMessage("a")], [HumanMessage("a")], 2),
        ([HumanMessage("a"), WITH_IDS[1]], [HumanMessage("a"), WITH_IDS[1]], 4),
    ],
)
def test_only_messages_with_ids_that_equal_the_last_ones_are_a_repeat(
    lite: Place, first: list[BaseMessage], second: list[BaseMessage], count: int
) -> None:
    lite.history("s").add_messages(first)
    lite.history("s").add_messages(second)
    assert len(lite.history("s").all_messages()) == count


def failing(engine: sa.Engine, what: str) -> None:
    """Lose the connection whenever something is executed, or in every commit."""

    def fail(connection: sa.Connection, *_: object) -> NoReturn:
        raw: Any = connection.connection.dbapi_connection
        raw.rollback()
        raise lost()

    sa.event.listen(engine, "commit" if what == "commit" else "before_cursor_execute", fail)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BETWEEN_TRIES", tenacity.wait_none())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("what", "fate"),
    [("statement", "none of them was stored"), ("commit", "it is not known whether")],
)
def test_an_append_that_fails_for_good_says_what_was_stored(lite: Place, what: str, fate: str) -> None:
    fill(lite, "s", 1)
    engine = lite.engine()
    history = lite.history("s", connection=engine)
    _ = history.messages
    failing(engine, what)
    with pytest.raises(sa.exc.OperationalError) as caught:
        history.add_messages(turn(1))
    engine.dispose()
    assert fate in caught.value.__notes__[0]


@pytest.mark.usefixtures("impatient")
def test_an_append_that_fails_for_good_is_logged_with_session_and_count(
    lite: Place, caplog: pytest.LogCaptureFixture
) -> None:
    engine = lite.engine()
    failing(engine, "statement")
    with pytest.raises(sa.exc.OperationalError):
        lite.history("ann", connection=engine).add_messages([HumanMessage("a secret")])
    engine.dispose()
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in errors] == [
        "Could not store 1 messages of session 'ann' (none of them was stored): OperationalError"
    ]


@pytest.mark.usefixtures("impatient")
def test_what_is_transient_is_tried_a_bounded_number_of_times(lite: Place) -> None:
    engine = lite.engine()
    tries: list[None] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *_: tries.append(None))
    failing(engine, "statement")
    with pytest.raises(sa.exc.OperationalError):
        lite.history("s", connection=engine).add_messages(turn(0))
    engine.dispose()
    assert len(tries) == 8


def test_what_is_not_transient_is_tried_once(lite: Place) -> None:
    engine = lite.engine()
    history = lite.history("s", connection=engine)
    _ = history.messages
    lite.change(sa.schema.DropTable(lite.tables.sessions))
    tries: list[None] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *_: tries.append(None))
    with pytest.raises(sa.exc.OperationalError, match="no such table"):
        history.add_messages(turn(0))
    engine.dispose()
    assert len(tries) == 1


def test_what_is_no_message_is_refused_before_anything_is_stored(lite: Place) -> None:
    with pytest.raises(TypeError, match="got str"):
        lite.history("s").add_messages([HumanMessage("a"), "b"])  # type: ignore[list-item]
    assert lite.history("s").all_messages() == []


# --- what reading and writing cost --------------------------------------------------------------


def statements(place: Place, engine: sa.Engine) -> list[str]:
    found: list[str] = []

    def note(_c: object, _d: object, statement: str, *_: object) -> None:
        found.append(statement.split(maxsplit=1)[0])

    sa.event.listen(engine, "before_cursor_execute", note)
    return found


def test_reading_the_window_is_one_statement(place: Place, session_id: str) -> None:
    fill(place, session_id, 9)
    engine = place.engine()
    history = place.history(session_id, connection=engine)
    _ = history.messages
    found = statements(place, engine)
    _ = history.messages
    engine.dispose()
    assert found == ["SELECT"]


def test_an_append_within_the_budget_is_three_statements(place: Place, session_id: str) -> None:
    fill(place, session_id, 1)
    engine = place.engine()
    history = place.history(session_id, connection=engine)
    _ = history.messages
    found = statements(place, engine)
    history.add_messages(turn(1))
    engine.dispose()
    assert found == ["UPDATE", "SELECT", "INSERT"]


def test_every_append_begins_with_the_update_of_the_session(place: Place, session_id: str) -> None:
    engine = place.engine()
    history = place.history(session_id, connection=engine)
    _ = history.messages
    firsts = []
    for n in range(9):
        found = statements(place, engine)
        history.add_messages(turn(n))
        firsts.append(found[0])
    engine.dispose()
    assert firsts == ["UPDATE"] * 9


def test_a_settings_change_is_computed_once(lite: Place) -> None:
    fill(lite, "s", 9)
    engine = lite.engine()
    _ = lite.history("s", connection=engine, max_tokens=90).messages
    found = statements(lite, engine)
    _ = lite.history("s", connection=engine, max_tokens=90).messages
    engine.dispose()
    assert found == ["SELECT"]


def test_a_window_stored_under_another_rule_is_computed_anew(lite: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = fill(lite, "s", 9)
    lite.change(sa.update(lite.tables.sessions).values(cut=len(messages), state="[]"))
    lite.change(sa.update(lite.tables.messages).values(kind="tool", tokens=0))
    monkeypatch.setattr(sql_settings, "RULE", RULE + 1)
    assert lite.history("s").messages == lite.history("s").buffer.trim(messages)


@pytest.mark.parametrize("turns", [20, 200])
def test_reading_touches_the_rows_of_the_window_alone(place: Place, session_id: str, turns: int) -> None:
    """The others are made unreadable: a statement that fetched one would say so."""
    messages = [message for n in range(turns) for message in turn(n)]
    place.history(session_id).add_messages(messages)
    window = place.history(session_id).messages
    m = place.tables.messages
    place.change(
        sa.update(m)
        .where(m.c.seq < len(messages) - len(window), m.c.session_id == _row_id(place, session_id))
        .values(payload="{broken")
    )
    assert place.history(session_id).messages == window == messages[-len(window) :]


def _row_id(place: Place, session_id: str) -> int:
    s = place.tables.sessions.c
    return int(place.rows(sa.select(s.id).where(s.name == json.dumps(session_id)))[0][0])


# --- what left ----------------------------------------------------------------------------------


def test_what_left_is_handed_over_in_order(place: Place, session_id: str) -> None:
    messages = fill(place, session_id, 20)
    handed: list[BaseMessage] = []
    count = place.history(session_id).evicted(handed.extend, batch_size=3)
    window = place.history(session_id).messages
    assert (count, handed) == (len(handed), messages[: len(messages) - len(window)])


async def test_what_left_is_handed_over_async_to_either_kind_of_handler(lite: Place) -> None:
    fill(lite, "s", 9)
    handed: list[BaseMessage] = []

    async def handler(messages: list[BaseMessage]) -> None:
        handed.extend(messages)

    count = await lite.history("s").aevicted(handler)
    assert (count, len(handed)) == (count, count)
    fill(lite, "s", 9)
    assert await lite.history("s").aevicted(handed.extend) > 0


def test_what_was_acknowledged_is_not_handed_over_again(place: Place, session_id: str) -> None:
    fill(place, session_id, 9)
    place.history(session_id).evicted(lambda _: None)
    assert place.history(session_id).evicted(lambda _: None) == 0


def test_what_a_handler_failed_on_comes_again(place: Place, session_id: str) -> None:
    fill(place, session_id, 9)
    seen: list[list[BaseMessage]] = []

    def fail(messages: list[BaseMessage]) -> None:
        seen.append(messages)
        raise ConnectionError

    for _ in range(2):
        with pytest.raises(ConnectionError):
            place.history(session_id).evicted(fail, batch_size=3)
    assert seen[0] == seen[1] == [*turn(0), *turn(1)][:3]


def test_a_handler_may_write_to_the_history(lite: Place) -> None:
    fill(lite, "s", 9)
    history = lite.history("s")
    history.evicted(lambda messages: history.add_messages([HumanMessage(f"{len(messages)} left")]))
    assert "left" in str(history.messages[-1].content)


def test_a_coroutine_function_is_refused_where_nothing_awaits_it(lite: Place) -> None:
    fill(lite, "s", 9)

    async def handler(_: list[BaseMessage]) -> None:
        """Never called."""

    with pytest.raises(TypeError, match="aevicted"):
        lite.history("s").evicted(handler)
    with pytest.raises(TypeError, match="aevicted"):
        lite.history("s").evicted(partial(_called, handler))
    assert lite.history("s").evicted(lambda _: None) > 0


def _called(handler: Callable[[list[BaseMessage]], Any], messages: list[BaseMessage]) -> Any:
    return handler(messages)


def test_a_batch_of_a_window_computed_anew_is_not_acknowledged(lite: Place) -> None:
    messages = fill(lite, "s", 20)
    handed: list[BaseMessage] = []

    def meanwhile(batch: list[BaseMessage]) -> None:
        handed.extend(batch)
        if len(handed) == len(batch):
            _ = lite.history("s", max_tokens=90).messages

    lite.history("s").evicted(meanwhile)
    window = lite.history("s").messages
    assert {m.content for m in handed} == {m.content for m in messages} - {m.content for m in window}


LONG_TURN = [HumanMessage("the question"), *(AIMessage(f"step {n} la la") for n in range(20))]


def test_a_question_that_stayed_is_handed_over_when_its_turn_leaves(lite: Place) -> None:
    lite.history("s").add_messages(LONG_TURN)
    handed: list[BaseMessage] = []
    lite.history("s").evicted(handed.extend)
    assert LONG_TURN[0] not in handed
    fill(lite, "s", 9)
    lite.history("s").evicted(handed.extend)
    assert LONG_TURN[0] in handed


def test_a_question_that_came_back_into_the_tail_is_handed_over_when_it_leaves(
    lite: Place,
) -> None:
    lite.history("s").add_messages(LONG_TURN)
    lite.history("s").evicted(lambda _: None)
    handed: list[BaseMessage] = []
    for n in range(60):
        lite.history("s", max_tokens=400).add_messages(turn(n))
    lite.history("s", max_tokens=400).evicted(handed.extend)
    assert LONG_TURN[0] in handed


def test_an_acknowledgement_that_comes_after_the_window_was_computed_anew_counts_for_nothing(
    lite: Place,
) -> None:
    history = lite.history("s")
    history.add_messages(LONG_TURN)
    batch = history._write(evictions.pending, 100)
    assert batch is not None
    _ = lite.history("s", max_tokens=400).messages
    history._write(evictions.acknowledge, batch)
    handed: list[BaseMessage] = []
    for n in range(60):
        lite.history("s", max_tokens=400).add_messages(turn(n))
    lite.history("s", max_tokens=400).evicted(handed.extend)
    assert LONG_TURN[0] in handed


# --- retention ----------------------------------------------------------------------------------


def test_purging_never_touches_the_window(place: Place, session_id: str) -> None:
    system = SystemMessage("be brief")
    place.history(session_id).add_messages([system])
    fill(place, session_id, 9)
    window = place.history(session_id).messages
    place.history(session_id).delete_before(10_000)
    history = place.history(session_id)
    assert history.all_messages() == history.messages == window
    assert window[0] == system


def test_purging_is_bounded(place: Place, session_id: str) -> None:
    fill(place, session_id, 9)
    assert place.history(session_id).delete_before(10_000, limit=3) == 3


def test_purging_stops_at_the_sequence_number(place: Place, session_id: str) -> None:
    messages = fill(place, session_id, 9)
    assert place.history(session_id).delete_before(4) == 4
    assert place.history(session_id).all_messages() == messages[4:]


@pytest.mark.parametrize(("hours", "deleted"), [(-1, False), (1, True)])
def test_purging_by_time(place: Place, session_id: str, hours: int, deleted: bool) -> None:  # noqa: FBT001
    fill(place, session_id, 9)
    before = datetime.now(UTC) + timedelta(hours=hours)
    assert bool(place.history(session_id).delete_before(before)) is deleted


def test_a_naive_time_is_utc_and_another_zone_is_not(lite: Place) -> None:
    fill(lite, "s", 9)
    now = datetime.now(UTC) - timedelta(minutes=5)
    assert lite.history("s").delete_before(now.replace(tzinfo=None)) == 0
    assert lite.history("s").delete_before(now.astimezone()) == 0


def test_purging_waits_for_consumers_once_there_are_any(place: Place, session_id: str) -> None:
    fill(place, session_id, 9)
    handed: list[BaseMessage] = []
    place.history(session_id).evicted(handed.extend)
    for n in range(9, 19):
        place.history(session_id).add_messages(turn(n))
    assert place.history(session_id).delete_before(10_000) == len(handed)


async def test_purging_async(lite: Place) -> None:
    fill(lite, "s", 9)
    assert await lite.history("s").adelete_before(4) == 4


async def test_purging_async_stops_at_the_limit(lite: Place) -> None:
    fill(lite, "s", 9)
    assert await lite.history("s").adelete_before(4, limit=2) == 2


async def test_appending_nothing_async_stores_nothing(lite: Place) -> None:
    await lite.history("s").aadd_messages([])
    assert await lite.history("s").aall_messages() == []


async def test_under_changed_settings_async_reading_computes_the_window_anew(lite: Place) -> None:
    fill(lite, "s", 9)
    wider = await lite.history("s", max_tokens=10_000).aget_messages()
    assert wider == lite.history("s").all_messages()


def test_a_history_is_imported_from_another_one_whole(lite: Place) -> None:
    fill(lite, "old", 9)
    source = lite.history("old")
    assert lite.history("new").import_messages(source) == len(source.all_messages())


def test_a_file_as_bytes_in_the_metadata_is_stored_as_text(lite: Place) -> None:
    lite.history("s").add_messages([HumanMessage("Hi", response_metadata={"file": b"abc"})])
    (found,) = lite.history("s").all_messages()
    assert found.response_metadata == {"file": "YWJj"}


@pytest.mark.parametrize("before", [True, "1", None, 1.5])
def test_purging_wants_a_number_or_a_time(lite: Place, before: Any) -> None:
    with pytest.raises(TypeError, match="before must be"):
        lite.history("s").delete_before(before)


def test_the_sequence_goes_on_after_clear(place: Place, session_id: str) -> None:
    fill(place, session_id, 2)
    place.history(session_id).clear()
    place.history(session_id).add_messages(turn(2))
    assert place.sequence(session_id) == [4, 5]


def test_what_was_cleared_is_not_handed_over(place: Place, session_id: str) -> None:
    fill(place, session_id, 9)
    place.history(session_id).evicted(lambda _: None)
    place.history(session_id).clear()
    assert place.history(session_id).evicted(lambda _: None) == 0


def test_a_deleted_session_is_gone_and_can_begin_again(place: Place, session_id: str) -> None:
    fill(place, session_id, 9)
    place.history(session_id).delete_session()
    assert place.history(session_id).all_messages() == []
    fill(place, session_id, 1)
    assert place.sequence(session_id) == [0, 1]


async def test_a_session_is_deleted_async(lite: Place) -> None:
    fill(lite, "s", 2)
    await lite.history("s").adelete_session()
    assert list(SQLTokenBufferHistory.sessions(lite.url, prefix=lite.prefix)) == []


# --- sessions -----------------------------------------------------------------------------------


def test_metadata_is_kept_with_the_session(place: Place, session_id: str) -> None:
    assert place.history(session_id).get_metadata() == {}
    place.history(session_id).set_metadata({"user": "änn", "n": [1]})
    fill(place, session_id, 2)
    assert place.history(session_id).get_metadata() == {"user": "änn", "n": [1]}


async def test_metadata_is_kept_async(lite: Place) -> None:
    await lite.history("s").aset_metadata({"a": 1})
    assert await lite.history("s").aget_metadata() == {"a": 1}


def test_sessions_are_listed_with_what_is_known_of_them(empty_place: Place) -> None:
    for name in ("ann", "böb\x00\ud800"):
        fill(empty_place, name, 2)
    empty_place.history("ann").set_metadata({"a": 1})
    found = list(SQLTokenBufferHistory.sessions(empty_place.url, prefix=empty_place.prefix))
    now = datetime.now(UTC)
    assert [(each.session_id, each.appended, each.metadata) for each in found] == [
        ("ann", 4, {"a": 1}),
        ("böb\x00\ud800", 4, {}),
    ]
    assert found[0].tokens == count_words(empty_place.history("ann").messages)
    assert all(now - each.created_at < timedelta(minutes=5) for each in found)


async def test_sessions_are_listed_async(lite: Place) -> None:
    fill(lite, "ann", 1)
    found = SQLTokenBufferHistory.asessions(lite.url, prefix=lite.prefix)
    assert [each.session_id async for each in found] == ["ann"]


def test_the_transcript_is_read_in_pages(place: Place, session_id: str) -> None:
    messages = fill(place, session_id, 7)
    assert list(place.history(session_id).iter_messages(page_size=3)) == messages


async def test_the_transcript_is_read_in_pages_async(place: Place, session_id: str) -> None:
    messages = fill(place, session_id, 7)
    pages = place.history(session_id).aiter_messages(page_size=3)
    assert [message async for message in pages] == messages
    assert await place.history(session_id).aall_messages() == messages


# --- secrecy ------------------------------------------------------------------------------------

_ids = st.one_of(
    st.text(st.characters(), max_size=20),
    st.sampled_from(
        [
            "' OR '1'='1",
            "ann'; DROP TABLE x;--",
            "%",
            "_",
            "ann ",
            "ANN",
            "änn",
            "a\u0308nn",
            "\x00",
        ]
    ),
    st.builds(lambda n: "x" * n, st.integers(0, 5000)),
)


@few
@given(victim=_ids, attacker=_ids)
def test_no_session_id_reaches_the_rows_of_another_session(place: Place, victim: str, attacker: str) -> None:
    mine, theirs = f"{uuid.uuid4().hex}{victim}", attacker
    place.history(mine).add_messages([HumanMessage("a secret")])
    for session_id in (theirs, mine + " ", mine[:-1], mine.upper() + "x", f"%{mine}%"):
        history = place.history(session_id)
        history.delete_before(100)
        history.clear()
        assert history.all_messages() == history.messages == []
        history.delete_session()
    assert [each.content for each in place.history(mine).messages] == ["a secret"]
    place.history(mine).delete_session()


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        *(("prefix", name) for name in ("x;y", "a b", "", "1a", 'a"b', "é", "a" * 41, "a-b", "a.b")),
        *(("schema", name) for name in ("x;y", "a b", "", 'a"b', "é", "a" * 64, "a.b", "a`b")),
    ],
)
def test_a_name_that_is_not_plain_is_refused(lite: Place, argument: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be"):
        lite.history("s", **{argument: name})


@pytest.mark.parametrize("argument", ["prefix", "schema"])
def test_a_name_that_is_no_string_is_refused(lite: Place, argument: str) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be a string"):
        lite.history("s", **{argument: 7})


def test_a_session_id_that_is_no_string_is_refused(lite: Place) -> None:
    with pytest.raises(TypeError, match="session_id must be a string"):
        lite.history(7)  # type: ignore[arg-type]


def test_neither_password_nor_address_is_shown() -> None:
    history = SQLTokenBufferHistory(
        "s", "postgresql+psycopg://me:hunter2@db.example/x", max_tokens=9, token_counter=count_words
    )
    assert "postgresql" in repr(history)
    assert "hunter2" not in repr(history)
    assert "db.example" not in repr(history)


def test_a_url_that_cannot_be_read_is_not_quoted() -> None:
    with pytest.raises(ValueError, match="no URL") as caught:
        SQLTokenBufferHistory("s", "me:hunter2@://db.example:x/y", max_tokens=9, token_counter=count_words)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("hides", [True, False])
def test_no_message_is_in_what_an_error_says(
    lite: Place,
    caplog: pytest.LogCaptureFixture,
    hides: bool,  # noqa: FBT001
) -> None:
    lite.history("s").add_messages(turn(0))
    lite.change(
        sa.text(
            f"CREATE TRIGGER no BEFORE INSERT ON {lite.tables.messages.name} BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    )
    engine = lite.engine(hide_parameters=hides)
    with pytest.raises(sa.exc.IntegrityError, match="refused") as caught:
        lite.history("s", connection=engine).add_messages([HumanMessage("a secret")])
    engine.dispose()
    assert "secret" not in str(caught.value)
    assert "secret" not in caplog.text


# --- the tables ---------------------------------------------------------------------------------


def test_creating_tables_twice_changes_nothing(empty_place: Place) -> None:
    fill(empty_place, "s", 1)
    empty_place.history("s").create_tables()
    assert len(empty_place.history("s").messages) == 2


async def test_tables_are_created_async(empty_place: Place) -> None:
    await empty_place.history("s", create_tables=False).acreate_tables()
    empty_place.history("s", create_tables=False).add_messages(turn(0))
    assert len(empty_place.history("s").messages) == 2


def test_tables_may_be_in_another_schema(place: Place, session_id: str) -> None:
    if not place.url.startswith("postgresql"):
        pytest.skip("only PostgreSQL has schemas of this kind")
    schema = f"s{uuid.uuid4().hex[:8]}"
    place.change(sa.text(f"CREATE SCHEMA {schema}"))
    place.history(session_id, schema=schema).add_messages(turn(0))
    messages = place.history(session_id, schema=schema).messages
    place.change(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    assert messages == turn(0)
