"""Importing other histories' messages into the SQL history, resumable."""

from __future__ import annotations

import json
import logging
import sys
import time
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import sqlalchemy as sa
from langchain_core.messages import BaseMessage, messages_from_dict

from langchain_tokenbuffer._sql.schema import checked_name
from langchain_tokenbuffer._sql.session import AlreadyImportedError, Imported
from langchain_tokenbuffer._sql.window import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_tokenbuffer._sql.engines import Database
    from langchain_tokenbuffer._sql.session import Session

    Progress: TypeAlias = bool | Callable[[int, int], None]

logger = logging.getLogger(__name__)


class Target(NamedTuple):
    """The session that messages go to."""

    database: Database
    session: Session

    def reached(self, source: str) -> int | None:
        """Return how far the import from a source came."""
        return self.database.run(self.session.imported, source)

    def append(self, messages: Sequence[BaseMessage], imported: Imported) -> None:
        with self.session.logging_loss(messages):
            new = self.session.new_messages(messages)
            self.database.run(self.session.append, new, uuid.uuid4().hex, imported)


class OldTable:
    """A table of langchain-community's `SQLChatMessageHistory`."""

    def __init__(self, database: Database, table: str, session_column: str) -> None:
        self._database = database
        self.name = f"{_database_name(database)}/{table}"
        self._table = sa.table(
            checked_name(table, "table"),
            sa.column("id", sa.Integer),
            sa.column(checked_name(session_column, "session_column"), sa.Text),
            sa.column("message", sa.Text),
        )
        self._session_column = session_column

    def count(self) -> int:
        return self._database.run(self._count)

    def page(self, after: int) -> list[tuple[int, str, str]]:
        """Return id, session and text of the rows behind an id."""
        return self._database.run(self._page, after)

    def _count(self, connection: sa.Connection) -> int:
        count = sa.select(sa.func.count()).select_from(self._table)
        return int(connection.scalar(count) or 0)

    def _page(self, connection: sa.Connection, after: int) -> list[tuple[int, str, str]]:
        c = self._table.c
        page: sa.Select[Any] = sa.select(c.id, c[self._session_column], c.message)
        rows = connection.execute(page.where(c.id > after).order_by(c.id).limit(PAGE))
        return [(int(number), name, text) for number, name, text in map(tuple, rows)]


def import_messages(
    target: Target, messages: Sequence[BaseMessage], name: str, progress: Progress
) -> int:
    """Import a list of messages; what is stored is how many of them came."""
    bar = _Bar(len(messages), progress)
    at, imported = target.reached(name) or 0, 0
    while at < len(messages):
        bar.show(at)
        portion = messages[at : at + PAGE]
        try:
            target.append(portion, Imported(name, at, at + len(portion)))
        except AlreadyImportedError as error:
            at = error.upto
        else:
            at += len(portion)
            imported += len(portion)
    bar.show(len(messages))
    return imported


def import_table(
    old: OldTable, target_of: Callable[[str], Target], name: str | None, progress: Progress
) -> int:
    """Import a whole table in the order of its ids; what is stored is the last id that came."""
    name = name or old.name
    bar = _Bar(old.count(), progress)
    reached: dict[str, int] = {}
    after, done, imported = -1, 0, 0
    while rows := old.page(after):
        after = rows[-1][0]
        for session_id, found in _by_session(rows).items():
            target = target_of(session_id)
            if session_id not in reached:
                begun = target.reached(name)
                reached[session_id] = -1 if begun is None else begun
            while new := [each for each in found if each[0] > reached[session_id]]:
                upto = new[-1][0]
                messages = [message for _, message in new]
                try:
                    target.append(messages, Imported(name, reached[session_id], upto))
                except AlreadyImportedError as error:
                    reached[session_id] = error.upto
                else:
                    reached[session_id] = upto
                    imported += len(new)
        done += len(rows)
        bar.show(done)
    return imported


def _by_session(
    rows: Sequence[tuple[int, str, str]],
) -> dict[str, list[tuple[int, BaseMessage]]]:
    found: dict[str, list[tuple[int, BaseMessage]]] = defaultdict(list)
    for number, session_id, text in rows:
        try:
            message = messages_from_dict([json.loads(text)])[0]
        except Exception as error:  # noqa: BLE001  # whatever it is, the others can be read
            logger.error(  # noqa: TRY400  # a traceback would quote the message
                "Row %d of session %r cannot be read: %s",
                number,
                session_id,
                type(error).__name__,
            )
        else:
            found[session_id].append((number, message))
    return found


def _database_name(database: Database) -> str:
    return str(database.engine.url.database or "")


_BAR_WIDTH = 30
_BAR_AFTER = 1.0
"""Seconds: a short import shows none."""


class _Bar:
    """Shows how far an import came, on a terminal or by a function of the caller's."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total = total
        self._report = progress if callable(progress) else None
        self._shows = progress is True and sys.stderr.isatty()
        self._began = time.monotonic()
        self._is_shown = False

    def show(self, done: int) -> None:
        if self._report is not None:
            self._report(done, self._total)
        elapsed = time.monotonic() - self._began
        if not self._shows or (elapsed < _BAR_AFTER and not self._is_shown):
            return
        self._is_shown = True
        share = done / self._total if self._total else 1.0
        filled = "#" * int(share * _BAR_WIDTH)
        left = elapsed / share - elapsed if share else 0.0
        sys.stderr.write(
            f"\r[{filled:<{_BAR_WIDTH}}] {share:4.0%} {done:,} of {self._total:,} messages, "
            f"{left:.0f} s left "
        )
        if done >= self._total:
            sys.stderr.write("\n")
        sys.stderr.flush()
