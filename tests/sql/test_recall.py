"""What left a session's window and is asked for: which terms are stored, when, and what is read of them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage

from langchain_tokenbuffer._recall.passages import MOST, read_passages
from langchain_tokenbuffer._recall.postings import postings_of
from langchain_tokenbuffer._recall.ranking import Posting
from langchain_tokenbuffer._sql import recalling
from langchain_tokenbuffer._sql import terms as sql_terms
from langchain_tokenbuffer._sql.rows import key_of
from langchain_tokenbuffer._sql.schema import PASSAGES
from tests.sql.test_law import anything, budgets, in_memory, many, portions, some, window_or_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_tokenbuffer._sql.schema import Tables
    from langchain_tokenbuffer.sql import SQLTokenBufferHistory


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
    mine = sa.select(t).join(tables.sessions, s.id == t.session_id).where(s.key == key_of(session_id))
    for row in connection.execute(mine):
        yield Posting(row.term, *divmod(row.place, PASSAGES), row.frequency, row.length)


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
