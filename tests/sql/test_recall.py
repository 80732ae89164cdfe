"""What left a session's window and is asked for: which terms are stored, when, and what is read of them."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from sqlalchemy.ext.asyncio import create_async_engine

from langchain_tokenbuffer import TokenBufferChatMessageHistory
from langchain_tokenbuffer._recall.passages import MOST, read_passages
from langchain_tokenbuffer._recall.postings import PostingLists, postings_of
from langchain_tokenbuffer._recall.questions import question_terms
from langchain_tokenbuffer._recall.ranking import Posting, rank
from langchain_tokenbuffer._recall.recalling import Match, chosen, matches_of, quoted, text_tokens
from langchain_tokenbuffer._sql import recalling
from langchain_tokenbuffer._sql import terms as sql_terms
from langchain_tokenbuffer._sql.rows import key_of
from langchain_tokenbuffer._sql.schema import PASSAGES
from langchain_tokenbuffer._sql.session import list_sessions
from langchain_tokenbuffer.counters import message_counter
from tests.builders import count_words
from tests.sql.test_law import anything, budgets, in_memory, many, portions, some, window_or_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_core.documents import Document

    from langchain_tokenbuffer._sql.schema import Tables
    from langchain_tokenbuffer._sql.session import SessionInfo
    from langchain_tokenbuffer.sql import SQLTokenBufferHistory
    from tests.sql.conftest import Place


# --- which terms are stored ---------------------------------------------------------------------


def test_every_passage_of_a_message_has_a_place() -> None:
    assert MOST <= PASSAGES


def left_of(history: SQLTokenBufferHistory) -> dict[int, BaseMessage]:
    """Return what is not in the window, of all that is stored, by sequence number."""
    session = history._session
    found = history._database.read(session.read_page, -1, 1 << 30)
    window = history._database.read(session.read_window)
    shown = {row.seq for row in window.rows} if window else set()
    messages = zip([row.seq for row in found], session.messages_of(found), strict=True)
    return {seq: message for seq, message in messages if seq not in shown}


def stored(history: SQLTokenBufferHistory) -> list[Posting]:
    """Return the postings that are stored of a session, in order."""
    tables = history._session.tables

    def read(connection: sa.Connection) -> list[Posting]:
        return sorted(_postings(connection, tables, history.session_id))

    return history._database.read(read)


def _postings(connection: sa.Connection, tables: Tables, session_id: str) -> Iterable[Posting]:
    s, t = tables.sessions.c, tables.terms.c
    found = sa.select(t.term, t.place, t.frequency, t.length).join(tables.sessions, s.id == t.session_id)
    for term, place, frequency, length in map(tuple, connection.execute(found.where(s.key == key_of(session_id)))):
        message, passage = divmod(place, PASSAGES)
        yield Posting(term, message, passage, frequency, length)


def expected(messages: dict[int, BaseMessage]) -> list[Posting]:
    return sorted(posting for seq, each in messages.items() for posting in postings_of(seq, read_passages(each)))


def complete(history: SQLTokenBufferHistory) -> None:
    recalling.complete(history._database, history._session)


def change(history: SQLTokenBufferHistory, data: st.DataObject) -> None:
    """Do something to a session that may change what has left."""
    kind = data.draw(st.sampled_from(["complete", "complete", "read", "purge", "hand over", "clear"]))
    if kind == "complete":
        complete(history)
    elif kind == "purge":
        history.delete_before(data.draw(st.integers(0, 30)))
    elif kind == "hand over":
        history.evicted(lambda _: None)
    elif kind == "clear" and data.draw(st.integers(0, 3)) == 0:
        history.clear()
    else:
        window_or_error(lambda: history.messages)


@many
@given(anything, st.lists(budgets, min_size=1, max_size=3), st.data())
def test_once_recall_is_used_what_left_has_its_terms_and_nothing_else(
    messages: list[BaseMessage], several: list[dict[str, Any]], data: st.DataObject
) -> None:
    check_terms(messages, several, data)


def test_the_same_holds_where_a_portion_is_small() -> None:
    @some
    @given(anything, st.lists(budgets, min_size=1, max_size=3), st.data())
    def law(messages: list[BaseMessage], several: list[dict[str, Any]], data: st.DataObject) -> None:
        check_terms(messages, several, data)

    with pytest.MonkeyPatch.context() as patch:
        for module in (recalling, sql_terms):
            patch.setattr(module, "PORTION", 3)
        patch.setattr(sql_terms, "_LETTERS", 500)
        patch.setattr(sql_terms, "_DELETED", 5)
        law()


def check_terms(messages: list[BaseMessage], several: list[dict[str, Any]], data: st.DataObject) -> None:
    session_id = uuid.uuid4().hex
    for portion in portions(data, messages):
        history = in_memory(session_id, **data.draw(st.sampled_from(several)))
        history.add_messages(portion)
        change(history, data)
    history = in_memory(session_id, **data.draw(st.sampled_from(several)))
    complete(history)
    assert stored(history) == expected(left_of(history))


# --- what is found ------------------------------------------------------------------------------

WORDS = ("two", "tree", "fox", "안녕", "你好", "b", "w", "look", "7")
questions = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4, unique=True).map(" ".join)


def in_memory_ranking(history: SQLTokenBufferHistory, question: str, max_tokens: int) -> list[Document]:
    """Return what ranking in memory finds among what left a session's window."""
    left, postings = left_of(history), PostingLists()
    for seq, message in left.items():
        postings.add(seq, message)
    count = next((info.appended for info in sessions(history) if info.session_id == history.session_id), 0)
    ranked = rank(question_terms(history.all_messages(), question), count, postings)
    tokens_of = text_tokens(message_counter(history.buffer.token_counter))
    return [match.document() for match in chosen(matches_of(ranked, left), max_tokens, tokens_of)]


def sessions(history: SQLTokenBufferHistory) -> Iterable[SessionInfo]:
    return history._database.read(list_sessions, history._session.tables, 0).values()


def check_found(
    histories: Sequence[SQLTokenBufferHistory], messages: Sequence[BaseMessage], data: st.DataObject
) -> None:
    """Append to several sessions in turns, and ask each: what is found is what that session's own messages give."""
    for portion in portions(data, list(messages)):
        history = data.draw(st.sampled_from(histories))
        history.add_messages(portion)
        history = data.draw(st.sampled_from(histories))
        question, max_tokens = data.draw(questions), data.draw(st.sampled_from([1, 40, 1000]))
        is_there = not isinstance(window_or_error(lambda: history.messages), str)  # noqa: B023
        wanted = in_memory_ranking(history, question, max_tokens)  # of what left the window under its settings
        assert history.recall(question, max_tokens) == (wanted if is_there else [])


@many
@given(anything, budgets, budgets, st.data())
def test_what_is_found_is_what_ranking_a_sessions_own_messages_finds(
    messages: list[BaseMessage], one: dict[str, Any], other: dict[str, Any], data: st.DataObject
) -> None:
    ids = uuid.uuid4().hex, uuid.uuid4().hex
    check_found([in_memory(ids[0], **one), in_memory(ids[1], **one), in_memory(ids[1], **other)], messages, data)


@some
@given(messages=anything, one=budgets, data=st.data())
def test_the_same_is_found_on_every_database(
    place: Place, messages: list[BaseMessage], one: dict[str, Any], data: st.DataObject
) -> None:
    check_found([place.history(uuid.uuid4().hex, **one) for _ in range(2)], messages, data)


def cats(count: int, start: int = 0) -> list[BaseMessage]:
    """Return turns about cats, each with a name of its own."""
    return [
        message
        for n in range(start, start + count)
        for message in (HumanMessage(f"My cat number {n} is called Whiskers{n}"), AIMessage(f"Cat {n} noted"))
    ]


def texts(documents: Iterable[Document]) -> list[str]:
    return [document.page_content for document in documents]


class InMemory(InMemoryChatMessageHistory):
    """LangChain's, which warns of itself."""


NAMED_3 = "My cat number 3 is called Whiskers3"


def test_a_history_finds_what_a_view_over_the_same_messages_finds(place: Place, session_id: str) -> None:
    history = place.history(session_id)
    history.add_messages(cats(30))
    view = TokenBufferChatMessageHistory(InMemory(messages=cats(30)), max_tokens=60, token_counter=count_words)
    found = history.recall("What is cat number 3 called?", 60)
    assert texts(found)[0] == NAMED_3
    assert found == view.recall("What is cat number 3 called?", 60)


def test_a_document_says_where_its_passage_stands(lite: Place) -> None:
    lite.history("s").add_messages(cats(30))
    (found,) = lite.history("s").recall("Whiskers3 cat", 30)
    score = found.metadata.pop("score")
    assert (found.page_content, found.metadata) == (NAMED_3, {"type": "human", "message": 6, "passage": 0})
    assert score > 0


@pytest.mark.parametrize("max_tokens", [1, 30, 45, 200])
def test_what_is_found_fits_as_it_is_quoted(lite: Place, max_tokens: int) -> None:
    history = lite.history("s")
    history.add_messages(cats(30))
    found = history.recall("Which cats have I got?", max_tokens)
    text = quoted(map(Match.of, found))
    assert text_tokens(message_counter(history.buffer.token_counter))(text) <= max_tokens


def test_a_short_question_takes_the_words_of_the_one_before(lite: Place) -> None:
    history = lite.history("s")
    history.add_messages([*cats(30), HumanMessage("And Whiskers3?"), AIMessage("Hm.")])
    assert NAMED_3 in texts(history.recall("number?", 40))


def test_a_question_may_be_a_message(lite: Place) -> None:
    lite.history("s").add_messages(cats(30))
    assert texts(lite.history("s").recall(HumanMessage("cat Whiskers3"), 40)) == [NAMED_3]


def test_nothing_is_found_in_a_session_that_is_not_there(place: Place, session_id: str) -> None:
    assert place.history(session_id).recall("cat Whiskers3", 100) == []


@pytest.mark.parametrize("kind", ["url", "async engine"])
async def test_recall_is_the_same_async(place: Place, session_id: str, kind: str) -> None:
    connection: Any = place.url
    if kind == "async engine":
        drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
        if (driver := drivers.get(sa.make_url(place.url).get_backend_name())) is None:
            pytest.skip("no asynchronous driver for it is installed")
        connection = create_async_engine(sa.make_url(place.url).set(drivername=driver))
    history = place.history(session_id, connection=connection)
    await history.aadd_messages(cats(30))
    found = await history.arecall("What is cat number 3 called?", 60)
    wanted = place.history(session_id).recall("What is cat number 3 called?", 60)
    await history.aadd_messages([HumanMessage("And Whiskers3?"), AIMessage("Hm.")])
    short = await history.arecall("number?", 40)
    if kind == "async engine":
        await connection.dispose()
    assert found == wanted != []
    assert NAMED_3 in texts(short)


@pytest.mark.parametrize(
    ("question", "max_tokens", "error"),
    [(7, 100, TypeError), (["cat"], 100, TypeError), ("cat", 0, ValueError), ("cat", "many", TypeError)],
)
def test_what_cannot_be_asked_is_refused(lite: Place, question: Any, max_tokens: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"question|max_tokens"):
        lite.history("s").recall(question, max_tokens)


@pytest.mark.parametrize("options", [{"prefix": "elsewhere"}, {"connection": "sqlite://"}])
def test_other_tables_have_no_part_in_it(lite: Place, options: dict[str, str]) -> None:
    lite.history("s").add_messages(cats(30))
    other = lite.history("s", **options)
    other.add_messages([HumanMessage("dogs"), *cats(1, start=40)] * 9)
    assert lite.history("s").recall("Whiskers40 dogs", 100) == []
    assert other.recall("cat Whiskers3", 100) != lite.history("s").recall("cat Whiskers3", 100)


def test_another_schema_has_no_part_in_it(place: Place, session_id: str) -> None:
    if not place.url.startswith("postgresql"):
        pytest.skip("only PostgreSQL has schemas of this kind")
    schema = f"tenant-{uuid.uuid4().hex[:8]}"
    place.change(sa.text(f'CREATE SCHEMA "{schema}"'))
    place.history(session_id).add_messages(cats(30))
    tenant = place.history(session_id, schema=schema)
    tenant.add_messages(cats(30, start=40))
    found = place.history(session_id).recall("cat Whiskers3", 40), tenant.recall("cat Whiskers45 Whiskers3", 40)
    place.change(sa.text(f'DROP SCHEMA "{schema}" CASCADE'))
    assert [texts(each) for each in found] == [[NAMED_3], ["My cat number 45 is called Whiskers45"]]


def test_what_came_back_into_the_window_is_not_found(place: Place, session_id: str) -> None:
    place.history(session_id).add_messages(cats(30))
    assert texts(place.history(session_id).recall("cat Whiskers3", 40)) == [NAMED_3]
    larger = place.history(session_id, max_tokens=10_000)
    assert larger.recall("cat Whiskers3", 40) == []
    assert texts(place.history(session_id).recall("cat Whiskers3", 40)) == [NAMED_3]


# --- when terms are stored ----------------------------------------------------------------------


def test_without_recall_nothing_is_stored(place: Place, session_id: str) -> None:
    history = place.history(session_id)
    for n in range(20):
        history.add_messages(cats(1, start=n))
    assert stored(history) == []


def test_once_recall_is_used_an_append_stores_what_it_makes_leave(place: Place, session_id: str) -> None:
    history = place.history(session_id)
    history.add_messages(cats(10))
    history.recall("any cats", 40)
    for n in range(10, 40):
        place.history(session_id).add_messages(cats(1, start=n))
        assert stored(history) == expected(left_of(history))


def test_what_an_append_stores_is_in_its_own_transaction(place: Place, session_id: str) -> None:
    history = place.history(session_id)
    history.add_messages(cats(10))
    history.recall("any cats", 40)
    before = stored(history)
    engine = place.engine()

    @sa.event.listens_for(engine, "commit")
    def fail(_: object) -> NoReturn:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        place.history(session_id, connection=engine).add_messages(cats(30, start=10))
    engine.dispose()
    assert stored(history) == before == expected(left_of(history))


def test_what_is_too_much_for_an_append_is_stored_by_the_next_recall(place: Place, session_id: str) -> None:
    history = place.history(session_id)
    history.add_messages(cats(10))
    history.recall("any cats", 40)
    history.add_messages(cats(2 * sql_terms.PORTION, start=10))
    assert texts(history.recall("cat Whiskers300", 40)) == ["My cat number 300 is called Whiskers300"]
    assert stored(history) == expected(left_of(history))


def test_storing_goes_on_where_it_was_interrupted(
    place: Place, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = place.history(session_id)
    history.add_messages(cats(30))
    monkeypatch.setattr(recalling, "PORTION", 8)
    store, calls = recalling.store_portion, list[int]()

    def store_two(*args: Any) -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            raise InterruptedError
        store(*args)

    monkeypatch.setattr(recalling, "store_portion", store_two)
    with pytest.raises(InterruptedError):
        history.recall("any cats", 40)
    assert 0 < len(stored(history)) < len(expected(left_of(history)))
    history.recall("any cats", 40)
    assert stored(history) == expected(left_of(history))


def test_several_that_ask_first_at_once_store_all_once(
    place: Place, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recalling, "PORTION", 8)
    place.history(session_id).add_messages(cats(60))
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(place.history(session_id).recall, "cat Whiskers3", 40) for _ in range(4)]
        threads.submit(place.history(session_id).add_messages, cats(9, start=60))
    assert [texts(each.result()) for each in asked] == [[NAMED_3]] * 4
    assert stored(place.history(session_id)) == expected(left_of(place.history(session_id)))


def test_terms_of_another_rule_are_made_anew(place: Place, session_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history = place.history(session_id)
    history.add_messages(cats(30))
    history.recall("any cats", 40)
    for module in (recalling, sql_terms):
        monkeypatch.setattr(module, "INDEX_RULE", "another")
    with monkeypatch.context() as patch:
        patch.setattr(sql_terms, "postings_of", lambda seq, _: [Posting(1, seq, 0, 1, 1)])
        history.recall("any cats", 40)
        assert {posting.term for posting in stored(history)} == {1}
    monkeypatch.undo()
    assert texts(history.recall("cat Whiskers3", 40)) == [NAMED_3]


def test_an_append_by_another_rule_leaves_terms_to_the_next_recall(
    place: Place, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = place.history(session_id)
    history.add_messages(cats(10))
    history.recall("any cats", 40)
    before = stored(history)
    with monkeypatch.context() as patch:
        patch.setattr(sql_terms, "INDEX_RULE", "another")
        history.add_messages(cats(20, start=10))
    assert stored(history) == before
    assert texts(history.recall("cat Whiskers13", 40)) == ["My cat number 13 is called Whiskers13"]


def test_rules_in_turns_end_in_a_warning(
    lite: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    history = lite.history("s")
    history.add_messages(cats(30))
    monkeypatch.setattr(recalling, "complete", lambda *_: None)  # as if others were always first
    assert history.recall("cat Whiskers3", 40) == []
    assert "Session 's' cannot be recalled" in caplog.text


# --- when terms are deleted ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["purge", "clear", "delete"])
def test_terms_are_deleted_with_their_messages(
    place: Place, session_id: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_terms, "_DELETED", 7)
    history, other = place.history(session_id), place.history(f"{session_id} other")
    for each in (history, other):
        each.add_messages(cats(30))
        each.recall("any cats", 40)
    before = stored(other)
    if kind == "purge":
        history.delete_before(20)
    elif kind == "clear":
        history.clear()
    else:
        history.delete_session()
    assert stored(history) == expected(left_of(history))
    assert history.recall("cat Whiskers3", 40) == []
    assert stored(other) == before != []


def test_no_term_outlives_its_session(lite: Place) -> None:
    lite.history("s").add_messages(cats(30))
    lite.history("s").recall("any cats", 40)
    lite.history("s").delete_session()
    assert lite.rows(sa.select(lite.tables.terms)) == []


async def test_terms_are_deleted_with_their_messages_async(
    place: Place, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_terms, "_DELETED", 7)
    history = place.history(session_id)
    await history.aadd_messages(cats(30))
    await history.arecall("any cats", 40)
    await history.aclear()
    assert stored(history) == []
    await history.adelete_session()
    assert place.sequence(session_id) == []


def test_a_cleared_session_goes_on_to_be_recalled(place: Place, session_id: str) -> None:
    history = place.history(session_id)
    history.add_messages(cats(30))
    history.recall("any cats", 40)
    history.clear()
    history.add_messages(cats(30))
    assert stored(history) == expected(left_of(history)) != []
    assert NAMED_3 in texts(history.recall("cat Whiskers3", 40))


# --- what is odd --------------------------------------------------------------------------------


def break_row(place: Place, seq: int) -> None:
    messages = place.tables.messages
    place.change(sa.update(messages).where(messages.c.seq == seq).values(payload="{broken secret"))


def test_a_row_that_cannot_be_read_is_passed_over_and_named(lite: Place, caplog: pytest.LogCaptureFixture) -> None:
    lite.history("s").add_messages(cats(30))
    break_row(lite, 6)
    assert NAMED_3 not in texts(lite.history("s").recall("cat number 3 called", 60))
    assert "Message 6 of session 's' cannot be read" in caplog.text
    assert "secret" not in caplog.text


def test_a_row_that_breaks_later_is_passed_over_and_named(lite: Place, caplog: pytest.LogCaptureFixture) -> None:
    lite.history("s").add_messages(cats(30))
    assert texts(lite.history("s").recall("cat Whiskers3", 40)) == [NAMED_3]
    break_row(lite, 6)
    assert texts(lite.history("s").recall("Whiskers3 Whiskers4", 40)) == ["My cat number 4 is called Whiskers4"]
    assert "Message 6 of session 's' cannot be read" in caplog.text


def test_terms_that_cannot_be_made_lose_no_turn(
    lite: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    history = lite.history("s")
    history.add_messages(cats(10))
    history.recall("any cats", 40)
    monkeypatch.setattr(sql_terms, "read_passages", lambda message: message.a_secret)
    history.add_messages(cats(10, start=10))
    assert history.all_messages() == cats(20)
    assert "of session 's' cannot be recalled: AttributeError" in caplog.text


def test_terms_of_one_hash_lose_no_turn(place: Place, session_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history = place.history(session_id)
    history.add_messages(cats(10))
    history.recall("any cats", 40)
    monkeypatch.setattr(sql_terms, "postings_of", lambda seq, _: [Posting(5, seq, 0, 2, 4), Posting(5, seq, 0, 1, 4)])
    history.add_messages(cats(10, start=10))
    assert history.all_messages() == cats(20)
    assert {posting.frequency for posting in stored(history) if posting.term == 5} == {3}


# --- what is read -------------------------------------------------------------------------------


class Statements:
    """What a history asks its database, from now on."""

    def __init__(self, place: Place, session_id: str) -> None:
        self._engine = place.engine()
        self.history = place.history(session_id, connection=self._engine)
        self.seen: list[tuple[str, Any]] = []
        self.rows = 0
        sa.event.listen(self._engine, "before_cursor_execute", self._note)

    def _note(self, _c: object, _d: object, statement: str, parameters: Any, *_: object) -> None:
        self.seen.append((statement, parameters))

    def explained(self, explain: str) -> list[str]:
        """Return how the database does what was read of the terms."""
        plans: list[str] = []
        with self._engine.connect() as connection:
            connection.exec_driver_sql(*self.seen[0])  # it may say how the others are done
            for statement, parameters in list(self.seen):
                if "_terms" in statement and statement.startswith("SELECT"):
                    plans += map(str, connection.exec_driver_sql(f"{explain} {statement}", parameters))
        return plans

    def close(self) -> None:
        self._engine.dispose()


QUESTION = " ".join(["cat number called noted", *(f"Whiskers{n}" for n in range(20))])


def asked(place: Place, session_id: str, turns: int) -> Statements:
    """Ask a session of so many turns, once its terms are stored."""
    place.history(session_id).add_messages(cats(turns))
    place.history(session_id).recall("any cats", 40)
    statements = Statements(place, session_id)
    _ = statements.history.messages
    statements.seen.clear()
    statements.history.recall(QUESTION, 60)
    return statements


def test_a_long_session_is_asked_as_a_short_one(place: Place, session_id: str) -> None:
    short, long = (asked(place, f"{session_id} {turns}", turns) for turns in (200, 1000))
    sizes = [len(str(parameters)) for _, parameters in (*short.seen, *long.seen)]
    short.close()
    long.close()
    assert len(long.seen) == len(short.seen) <= 4
    assert max(sizes) < 16 * 128 * 8


def test_a_ranking_reads_by_indexes_alone(place: Place, session_id: str) -> None:
    statements = asked(place, session_id, 300)
    name = sa.make_url(place.url).get_backend_name()
    plans = statements.explained("EXPLAIN QUERY PLAN" if name == "sqlite" else "EXPLAIN")
    statements.close()
    of_terms = [line for line in plans if "_terms" in line or "Sort" in line or "B-TREE" in line]
    bad = {
        "sqlite": ("SCAN t", "B-TREE"),
        "postgresql": ("Seq Scan", "Sort", "Bitmap"),
        "mysql": ("'ALL', None", "filesort"),
    }
    assert of_terms
    assert [line for line in of_terms if any(each in line for each in bad[name])] == []


def test_a_turn_reads_what_leaves_and_not_the_transcript(place: Place, session_id: str) -> None:
    place.history(session_id).add_messages(cats(300))
    place.history(session_id).recall("any cats", 40)
    engine, rows = place.engine(), list[int]()
    history = place.history(session_id, connection=engine)
    _ = history.messages

    @sa.event.listens_for(engine, "after_cursor_execute")
    def note(_c: object, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("SELECT") and "_messages" in statement:
            rows.append(cursor.rowcount)

    for n in range(300, 320):
        history.add_messages(cats(1, start=n))
    engine.dispose()
    assert len(rows) < 20 * 6
    assert max(rows) < 30
