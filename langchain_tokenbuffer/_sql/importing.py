"""Importing other histories' messages into the SQL history, resumable."""

from __future__ import annotations

import sys
import time
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

import sqlalchemy as sa

from langchain_tokenbuffer._sql.rows import StoredRow, decode_rows
from langchain_tokenbuffer._sql.schema import checked_name
from langchain_tokenbuffer._sql.session import AlreadyImportedError, Imported
from langchain_tokenbuffer._sql.window import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._sql.engines import Database
    from langchain_tokenbuffer._sql.session import Session

    Progress: TypeAlias = bool | Callable[[int, int], None]
    Numbered: TypeAlias = Sequence[tuple[int, BaseMessage]]


class OldTable:
    """A table of langchain-community's `SQLChatMessageHistory`."""

    def __init__(self, database: Database, table: str, session_column: str) -> None:
        self.name = f"{database.engine.url.database or ''}/{table}"
        self._database = database
        self._table = sa.table(
            checked_name(table, "table"),
            sa.column("id", sa.Integer),
            sa.column(checked_name(session_column, "session_column"), sa.Text),
            sa.column("message", sa.Text),
        )

    def count(self) -> int:
        """Return how many rows there are."""
        rows = sa.select(sa.func.count()).select_from(self._table)
        return self._database.run(lambda connection: int(connection.scalar(rows) or 0))

    def page(self, after: int) -> list[tuple[int, str, str]]:
        """Return id, session and text of the rows behind an id."""
        number = self._table.c.id
        rows = sa.select(self._table).where(number > after).order_by(number).limit(PAGE)
        return self._database.run(
            lambda connection: [(row[0], row[1], row[2]) for row in connection.execute(rows)]
        )


def import_messages(
    database: Database,
    session: Session,
    messages: Sequence[BaseMessage],
    name: str,
    progress: Progress,
) -> int:
    """Import a list of messages; what is stored is how many of them came."""
    show = _shower(len(messages), progress)
    reached, imported = database.run(session.imported, name) or 0, 0
    for start in range(reached, len(messages), PAGE):
        show(start)
        portion = list(enumerate(messages[start : start + PAGE], start + 1))
        reached, count = _append_new(database, session, portion, name, reached)
        imported += count
    show(len(messages))
    return imported


def import_table(
    old: OldTable,
    database: Database,
    session_of: Callable[[str], Session],
    name: str | None,
    progress: Progress,
) -> int:
    """Import a whole table in the order of its ids; what is stored is the last id that came."""
    name = name or old.name
    show = _shower(old.count(), progress)
    reached: dict[str, int] = {}
    after, done, imported = -1, 0, 0
    while rows := old.page(after):
        after = rows[-1][0]
        found: dict[str, list[StoredRow]] = defaultdict(list)
        for number, session_id, text in rows:
            found[session_id].append(StoredRow(number, text))
        for session_id, texts in found.items():
            session = session_of(session_id)
            if session_id not in reached:
                begun = database.run(session.imported, name)
                reached[session_id] = -1 if begun is None else begun
            portion = list(decode_rows(texts, session_id, "Row"))
            reached[session_id], count = _append_new(
                database, session, portion, name, reached[session_id]
            )
            imported += count
        done += len(rows)
        show(done)
    return imported


def _append_new(
    database: Database, session: Session, portion: Numbered, source: str, reached: int
) -> tuple[int, int]:
    """Append what has a higher number than was reached; return what is reached then, how many came.

    If the same import, running elsewhere, came further meanwhile, only the rest is appended.
    """
    while new := [each for each in portion if each[0] > reached]:
        upto, messages = new[-1][0], [message for _, message in new]
        imported = Imported(source, reached, upto)
        try:
            with session.logging_loss(messages):
                ready = session.new_messages(messages)
                database.run(session.append, ready, uuid.uuid4().hex, imported)
        except AlreadyImportedError as error:
            reached = error.args[0]
        else:
            return upto, len(new)
    return reached, 0


_BAR_WIDTH = 30
_BAR_AFTER = 1.0
"""Seconds: a short import shows none."""


def _shower(total: int, progress: Progress) -> Callable[[int], None]:
    """Return what shows how far an import came: on a terminal, or by the caller's function."""
    if callable(progress):
        return lambda done: progress(done, total)
    began = time.monotonic()

    def show(done: int) -> None:
        if not (progress and sys.stderr.isatty()) or time.monotonic() - began < _BAR_AFTER:
            return
        share = done / total if total else 1.0
        filled, end = "#" * int(share * _BAR_WIDTH), "\n" if done >= total else ""
        sys.stderr.write(
            f"\r[{filled:<{_BAR_WIDTH}}] {share:4.0%} {done:,} of {total:,} messages{end}"
        )
        sys.stderr.flush()

    return show
