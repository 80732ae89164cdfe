"""Tables of other releases: older ones are brought up, newer ones refused, and so by 0.1.0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer import TokenBudgetError, TokenBuffer, TokenBufferError
from langchain_tokenbuffer._sql import migrations
from langchain_tokenbuffer._sql.migrations import VERSION
from tests.builders import count_words
from tests.sql import release_0_1_0
from tests.sql.release_0_1_0 import HANDED_OVER, OPTIONS, ROWS, OldTables

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_tokenbuffer.sql import SQLTokenBufferHistory
    from tests.sql.conftest import Place

TURN: list[BaseMessage] = [HumanMessage("and now"), AIMessage("now this")]


@pytest.fixture
def old(empty_place: Place) -> OldTables:
    """The empty place, used by release 0.1.0."""
    return release_0_1_0.fill(empty_place)


def outcome(read: Callable[[], list[BaseMessage]]) -> list[BaseMessage] | str:
    try:
        return read()
    except TokenBudgetError as error:
        return str(error)


def expected(messages: list[BaseMessage], **options: Any) -> list[BaseMessage] | str:
    buffer = TokenBuffer(60, token_counter=count_words, **options)
    return outcome(lambda: buffer.trim(messages))


def windows(place: Place) -> dict[str, object]:
    histories = {name: place.history(name, **options) for name, options in OPTIONS.items()}
    return {name: outcome(lambda h=h: h.messages) for name, h in histories.items()}  # type: ignore[misc]


def wanted(place: Place) -> dict[str, object]:
    return {name: expected(place.history(name).all_messages(), **options) for name, options in OPTIONS.items()}


def version_of(place: Place) -> list[int]:
    return [row.version for row in place.rows(sa.select(place.tables.versions.c.version))]


def content_of(place: Place) -> list[sa.Row[Any]]:
    """Return everything that is in the tables, whatever their columns are called."""
    tables = place.tables
    names = [table.name for table in (tables.sessions, tables.messages, tables.terms, tables.versions)]
    engine = place.engine()
    there = sa.inspect(engine).get_table_names()
    engine.dispose()
    return [row for name in names if name in there for row in place.rows(sa.select(sa.text(f"* FROM {name}")))]


# --- older tables -------------------------------------------------------------------------------


@pytest.mark.usefixtures("old")
def test_sessions_of_release_0_1_0_have_the_windows_of_a_token_buffer(empty_place: Place) -> None:
    assert windows(empty_place) == wanted(empty_place)


@pytest.mark.usefixtures("old")
def test_every_message_of_release_0_1_0_is_still_there(empty_place: Place) -> None:
    found = sum(len(empty_place.history(name).all_messages()) for name in OPTIONS)
    assert found == len(ROWS["messages"])


def test_a_window_of_release_0_1_0_is_computed_anew(empty_place: Place, old: OldTables) -> None:
    empty_place.change(sa.update(old.sessions).values(cut=old.sessions.c.next_seq, state="[]", steady=1))
    empty_place.change(sa.update(old.messages).values(tokens=1, mark=None))
    assert windows(empty_place) == wanted(empty_place)


@pytest.mark.usefixtures("old")
def test_sessions_of_release_0_1_0_go_on(empty_place: Place) -> None:
    before = empty_place.history("agent").all_messages()
    empty_place.history("agent").add_messages(TURN)
    assert empty_place.history("agent").messages == expected([*before, *TURN])


@pytest.mark.usefixtures("old")
def test_what_release_0_1_0_handed_over_is_not_handed_over_again(empty_place: Place) -> None:
    history = empty_place.history("consumed")
    dropped = history.buffer.window(history.all_messages()).dropped
    handed: list[BaseMessage] = []
    history.evicted(handed.extend)
    assert handed == [history.all_messages()[index] for index in dropped[HANDED_OVER:]]


@pytest.mark.usefixtures("old")
def test_older_tables_are_brought_up_once(empty_place: Place) -> None:
    _ = empty_place.history("chat").messages
    before = content_of(empty_place)
    empty_place.history("chat").create_tables()
    assert (version_of(empty_place), content_of(empty_place)) == ([VERSION], before)


@pytest.mark.usefixtures("old")
async def test_older_tables_are_brought_up_async(empty_place: Place) -> None:
    await empty_place.history("chat", create_tables=False).acreate_tables()
    history = empty_place.history("chat", create_tables=False)
    assert await history.aget_messages() == expected(history.all_messages())


def test_bringing_up_goes_on_where_it_was_interrupted(empty_place: Place, old: OldTables) -> None:
    engine = empty_place.engine()
    with engine.begin() as connection:
        migrations._rename(connection, old.sessions, "steady", "append_only")
    engine.dispose()
    assert windows(empty_place) == wanted(empty_place)


def test_tables_without_a_version_are_completed(empty_place: Place, old: OldTables) -> None:
    empty_place.change(sa.schema.DropTable(old.versions))
    assert windows(empty_place) == wanted(empty_place)


@pytest.fixture
def version_2(empty_place: Place, old: OldTables) -> Place:
    """The empty place, with the tables that version 2 made of those of release 0.1.0."""
    engine = empty_place.engine()
    with engine.begin() as connection:
        migrations._STEPS[0](connection, empty_place.tables)
        connection.execute(sa.update(old.versions).values(version=2))
    engine.dispose()
    return empty_place


def test_tables_of_version_2_are_brought_up(version_2: Place) -> None:
    assert windows(version_2) == wanted(version_2)
    assert version_of(version_2) == [VERSION]


def test_a_session_of_version_2_has_no_terms_until_it_is_recalled(version_2: Place) -> None:
    version_2.history("chat").add_messages(TURN)
    s, t = version_2.tables.sessions.c, version_2.tables.terms.c
    assert version_2.rows(sa.select(t.term)) == []
    assert {tuple(row) for row in version_2.rows(sa.select(s.indexed_by, s.unindexed))} == {(None, None)}


@pytest.mark.parametrize("done", ["epoch", "indexed_by"])
def test_bringing_up_version_2_goes_on_where_it_was_interrupted(version_2: Place, done: str) -> None:
    engine, sessions = version_2.engine(), version_2.tables.sessions
    with engine.begin() as connection:
        migrations._rename(connection, sessions, "epoch", "window_epoch")
        if done == "indexed_by":
            migrations._add(connection, sessions, sessions.c.indexed_by)
    engine.dispose()
    assert windows(version_2) == wanted(version_2)


def test_what_knows_version_2_stores_nothing_in_newer_tables(version_2: Place) -> None:
    _ = version_2.history("chat").messages
    before = content_of(version_2)
    with pytest.raises(sa.exc.DBAPIError, match="epoch"):
        version_2.change(sa.text(f"UPDATE {version_2.prefix}_sessions SET epoch = epoch + 1"))
    assert content_of(version_2) == before


@pytest.mark.usefixtures("old")
def test_older_tables_are_left_alone_where_none_may_be_created(empty_place: Place) -> None:
    before = content_of(empty_place)
    with pytest.raises(TokenBufferError, match=r"have version 1; .* Call create_tables\(\)"):
        empty_place.history("chat", create_tables=False).add_messages(TURN)
    assert content_of(empty_place) == before


def test_tables_that_are_not_there_are_named_where_none_may_be_created(lite: Place) -> None:
    with pytest.raises(TokenBufferError, match=r"are not there; .* Call create_tables\(\)"):
        _ = lite.history("chat", create_tables=False).messages


# --- newer tables -------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[SQLTokenBufferHistory], object]] = {
    "read": lambda history: history.messages,
    "append": lambda history: history.add_messages(TURN),
    "clear": lambda history: history.clear(),
    "create": lambda history: history.create_tables(),
}


@pytest.mark.parametrize("creates", [True, False])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_newer_tables_are_refused_with_what_to_install(
    lite: Place,
    operation: Callable[[SQLTokenBufferHistory], object],
    creates: bool,  # noqa: FBT001
) -> None:
    lite.history("chat").add_messages(TURN)
    lite.change(sa.update(lite.tables.versions).values(version=VERSION + 1))
    before, engine = content_of(lite), lite.engine()
    with pytest.raises(TokenBufferError, match=r"Upgrade it: pip install --upgrade '.*\[sql\]'"):
        operation(lite.history("chat", connection=engine, create_tables=creates))
    engine.dispose()
    assert content_of(lite) == before


def test_release_0_1_0_sees_a_newer_version(empty_place: Place) -> None:
    empty_place.history("chat").create_tables()
    assert version_of(empty_place) > [1]


@pytest.mark.parametrize("statements", [OldTables.lock, OldTables.begin])
def test_release_0_1_0_stores_nothing_where_it_does_not_look(
    empty_place: Place, old: OldTables, statements: Callable[[OldTables, sa.Connection], None]
) -> None:
    _ = empty_place.history("chat").messages
    before, engine = content_of(empty_place), empty_place.engine()
    with pytest.raises(sa.exc.DBAPIError), engine.begin() as connection:
        statements(old, connection)
    engine.dispose()
    assert content_of(empty_place) == before
