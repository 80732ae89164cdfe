"""Importing other histories' messages into the SQL history, resumable."""

from __future__ import annotations

import sys
import time
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from langchain_tokenbuffer._sql.rows import StoredRow, decode_rows
from langchain_tokenbuffer._sql.schema import checked_name
from langchain_tokenbuffer._sql.session import AlreadyImportedError, Imported, Session
from langchain_tokenbuffer._sql.window import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._sql.database import Database

    Progress: TypeAlias = bool | Callable[[int, int], None]
    Numbered: TypeAlias = Sequence[tuple[int, BaseMessage]]
    Page: TypeAlias = tuple[int, Mapping[str, Numbered]]  # how many rows; by session, the messages

_BAR_AFTER = 1.0  # seconds: a short import shows no bar


class OldTable:
    """A table of langchain-community's `SQLChatMessageHistory`: many sessions, in turns."""

    def __init__(self, database: Database, table: str, session_column: str) -> None:
        self.name = f"{database.url.database or ''}/{table}"
        self._database = database
        self._table = sa.table(
            checked_name(table, "table"),
            sa.column("id", sa.Integer),
            sa.column(checked_name(session_column, "session_column"), sa.Text),
            sa.column("message", sa.Text),
        )

    def count(self) -> int:
        rows = sa.select(sa.func.count()).select_from(self._table)
        return int(self._database.read(_fetch, rows)[0][0])

    def pages(self) -> Iterator[Page]:
        """Yield the rows in the order of their ids, which are their numbers."""
        number, after = self._table.c.id, -1
        page: sa.Select[Any] = sa.select(self._table).order_by(number).limit(PAGE)
        while rows := self._database.read(_fetch, page.where(number > after)):
            found: dict[str, list[StoredRow]] = defaultdict(list)
            for row_id, session_id, text in map(tuple, rows):
                found[session_id].append(StoredRow(row_id, text))
            yield len(rows), {each: list(decode_rows(found[each], each, "Row")) for each in found}
            after = rows[-1][0]


def _fetch(connection: sa.Connection, rows: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
    return connection.execute(rows).all()


def list_pages(messages: Sequence[BaseMessage], session_id: str) -> Iterator[Page]:
    """Yield the messages of one session, counted from 1."""
    for start in range(0, len(messages), PAGE):
        portion = messages[start : start + PAGE]
        yield len(portion), {session_id: list(enumerate(portion, start + 1))}


def import_pages(
    pages: Iterable[Page], database: Database, like: Session, name: str, show: Callable[[int], None]
) -> int:
    """Import pages into sessions with the tables and settings of one; return how many came.

    What is stored with each session is the number that it has reached.
    """
    reached: dict[str, int] = {}
    done, imported = 0, 0
    for rows, found in pages:
        for session_id, portion in found.items():
            session = Session(like.tables, session_id, like.settings)
            if session_id not in reached:
                begun = database.read(session.imported, name)
                reached[session_id] = -1 if begun is None else begun
            reached[session_id], count = _append_new(database, session, portion, name, reached[session_id])
            imported += count
        done += rows
        show(done)
    return imported


def _append_new(database: Database, session: Session, portion: Numbered, source: str, reached: int) -> tuple[int, int]:
    """Append what has a higher number than was reached; return what is reached then, how many came.

    If the same import, running elsewhere, came further meanwhile, only the rest is appended.
    """
    while new := [each for each in portion if each[0] > reached]:
        upto, messages = new[-1][0], [message for _, message in new]
        imported = Imported(source, reached, upto)
        try:
            with session.logging_loss(messages):
                ready = session.new_messages(messages)
                database.write(session.key, session.append, ready, uuid.uuid4().hex, imported)
        except AlreadyImportedError as error:
            reached = error.args[0]
        else:
            return upto, len(new)
    return reached, 0


def progress_shower(total: int, progress: Progress) -> Callable[[int], None]:
    """Return what shows how far an import came: on a terminal, or by the caller's function."""
    if callable(progress):
        return lambda done: progress(done, total)
    began = time.monotonic()

    def show(done: int) -> None:
        if not (progress and sys.stderr.isatty()) or time.monotonic() - began < _BAR_AFTER:
            return
        share, end = done / total, "\n" if done >= total else ""
        bar = f"[{'#' * int(30 * share):<30}] {share:4.0%} {done:,} of {total:,} messages"
        sys.stderr.write(f"\r{bar}{end}")
        sys.stderr.flush()

    return show
