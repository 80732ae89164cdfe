"""The version of the tables: how they are created, and brought up from an older release's.

Laws: tables of any other version are refused before anything is read or written. Bringing them up loses nothing and may
be interrupted anywhere: the version is written last, and a step passes over what is there already, since MySQL and
MariaDB commit every ALTER TABLE.

Older releases refuse newer tables, too; 0.1.0 only where it may create tables. What does not look, or looked before
another process brought the tables up, must fail. So every step renames a column that older releases select or fill in
each transaction that writes: the database then names the column, and nothing is stored. There is no way back but a
backup.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from langchain_tokenbuffer._sql.schema import schema_of
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_tokenbuffer._sql.schema import Tables

_LOCK = 7_230_264_951_342_017  # of everyone who creates tables: a number of our own, the same in every release
_LOCK_SECONDS = 60  # how long MySQL and MariaDB wait for the lock


def _name_columns_after_contents(connection: sa.Connection, tables: Tables) -> None:
    """0.2.0: `settings` and `seen` say what they hold; calls and results are told by their ids."""
    _rename(connection, tables.sessions, "settings", "settings_digest")
    _rename(connection, tables.sessions, "seen", "display")
    _replace(connection, tables.sessions, "steady", tables.sessions.c.open_calls)
    _replace(connection, tables.messages, "calls", tables.messages.c.links)


def _make_room_for_terms(connection: sa.Connection, tables: Tables) -> None:
    """A session says how far the terms of its messages are stored, so `epoch` says whose it is."""
    _rename(connection, tables.sessions, "epoch", "window_epoch")
    for column in (tables.sessions.c.indexed_by, tables.sessions.c.unindexed):
        _add(connection, tables.sessions, column)


_STEPS: tuple[Callable[[sa.Connection, Tables], None], ...] = (_name_columns_after_contents, _make_room_for_terms)
"""The first from version 1 to version 2, and so on."""
VERSION = 1 + len(_STEPS)  # of the tables that this release knows


def _rename(connection: sa.Connection, table: sa.Table, old: str, new: str) -> None:
    """Rename a column where there is one of the old name. Needs SQLite 3.25, MariaDB 10.5.2."""
    if old in _columns(connection, table):
        _alter(connection, table, f"RENAME COLUMN {old} TO {new}")


def _replace(connection: sa.Connection, table: sa.Table, old: str, new: sa.Column[Any]) -> None:
    """Drop a column whose contents nobody needs, and add an empty one. Needs SQLite 3.35."""
    _add(connection, table, new)
    if old in _columns(connection, table):
        _alter(connection, table, f"DROP COLUMN {old}")


def _add(connection: sa.Connection, table: sa.Table, new: sa.Column[Any]) -> None:
    """Add an empty column where there is none of its name."""
    there = _columns(connection, table)
    if there and new.name not in there:
        _alter(connection, table, f"ADD COLUMN {new.name} {new.type.compile(connection.dialect)}")


def _columns(connection: sa.Connection, table: sa.Table) -> set[str]:
    """Return the names of a table's columns; none where there is no table."""
    inspector, schema = sa.inspect(connection), schema_of(connection)
    if not inspector.has_table(table.name, schema):
        return set()
    return {column["name"] for column in inspector.get_columns(table.name, schema)}


def _alter(connection: sa.Connection, table: sa.Table, change: str) -> None:
    quoted, schema = connection.dialect.identifier_preparer, schema_of(connection)
    name = quoted.quote(table.name) if schema is None else f"{quoted.quote_schema(schema)}.{quoted.quote(table.name)}"
    connection.execute(sa.text(f"ALTER TABLE {name} {change}"))


def check(connection: sa.Connection, tables: Tables) -> None:
    """Refuse tables that are not there, or not of our version."""
    _refuse_others(_version(connection, tables.versions), tables)


def create(connection: sa.Connection, tables: Tables) -> None:
    """Create what is missing, bring up what is older, refuse newer; safe in many processes."""
    if connection.dialect.name != "sqlite":
        # A stricter transaction would not see, having waited, what others have created meanwhile; on MariaDB it would
        # also lock, by looking for the version, what the one that creates is about to write.
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))
    version = _version(connection, tables.versions)
    if version is None or version < VERSION:
        with _alone(connection):
            version = _bring_up(connection, tables)
    _refuse_others(version, tables)


def _refuse_others(version: int | None, tables: Tables) -> None:
    if version == VERSION:
        return
    name = tables.messages.name if tables.schema is None else f"{tables.schema}.{tables.messages.name}"
    what = f"The tables of {name!r}"
    if version is not None and version > VERSION:
        msg = (
            f"{what} have version {version}, of a newer release of langchain-tokenbuffer; this one knows version "
            f"{VERSION}. Upgrade it: pip install --upgrade 'langchain-tokenbuffer[sql]'"
        )
    else:
        there = "are not there" if version is None else f"have version {version}"
        msg = f"{what} {there}; version {VERSION} is needed. Call create_tables() once."
    raise TokenBufferError(msg)


def _version(connection: sa.Connection, versions: sa.Table, *, for_update: bool = False) -> int | None:
    """Return the version, which is written last; `None` if there is none."""
    if not sa.inspect(connection).has_table(versions.name, schema_of(connection)):
        return None
    select = sa.select(versions.c.version)
    # Without, an isolated transaction would see the version as it was when it began.
    return connection.scalar(select.with_for_update() if for_update else select)


def _bring_up(connection: sa.Connection, tables: Tables) -> int:
    """Take the steps that are missing, create the rest; return the version there is then."""
    version = _version(connection, tables.versions, for_update=True)
    if version is not None and version >= VERSION:  # another process was first
        return version
    for step in _STEPS[(version or 1) - 1 :]:  # without a version some of the first one may be
        step(connection, tables)
    for table in (tables.sessions, tables.messages, tables.terms, tables.versions):
        _create(connection, table)
    versions = tables.versions
    if not connection.execute(sa.update(versions).values(version=VERSION)).rowcount:
        connection.execute(sa.insert(versions).values(version=VERSION))
    return VERSION


def _create(connection: sa.Connection, table: sa.Table) -> None:
    connection.execute(CreateTable(table, if_not_exists=True))
    there = {each["name"] for each in sa.inspect(connection).get_indexes(table.name, schema_of(connection))}
    for index in table.indexes:
        if index.name not in there:  # MySQL has no IF NOT EXISTS for an index
            may = connection.dialect.name in ("sqlite", "postgresql")
            connection.execute(CreateIndex(index, if_not_exists=may))


@contextmanager
def _alone(connection: sa.Connection) -> Iterator[None]:
    """Wait until no other process is creating tables.

    PostgreSQL's IF NOT EXISTS looks and creates in two steps, so half of a race fails without a lock. Python's driver
    of SQLite begins no transaction before an ALTER TABLE.
    """
    dialect = connection.dialect.name
    is_mysql = dialect in ("mysql", "mariadb")
    if dialect == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    elif is_mysql:
        if not connection.scalar(sa.select(sa.func.get_lock(str(_LOCK), _LOCK_SECONDS))):
            msg = "Another process has been creating tables for a minute."
            raise sa.exc.TimeoutError(msg)
    elif not getattr(connection.connection.driver_connection, "in_transaction", True):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        if is_mysql:
            connection.execute(sa.select(sa.func.release_lock(str(_LOCK))))
