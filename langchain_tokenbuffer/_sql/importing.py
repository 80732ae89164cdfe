"""Moving in: other histories' messages into the SQL history, resumable."""

from __future__ import annotations

import json
import logging
import sys
import time
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

    Progress: TypeAlias = bool | Callable[[int, int], None]

logger = logging.getLogger(__name__)


class Target(NamedTuple):
    """The session messages go to: how far an import from a source came, and how to append."""

    reached: Callable[[str], int | None]
    append: Callable[[Sequence[BaseMessage], Imported], None]


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
        count = sa.select(sa.func.count()).select_from(self._table)
        return self._database.run(lambda connection: connection.scalar(count) or 0, int)

    def page(self, after: int) -> list[tuple[int, str, str]]:
        c = self._table.c
        page: sa.Select[Any] = sa.select(c.id, c[self._session_column], c.message)
        page = page.where(c.id > after).order_by(c.id).limit(PAGE)
        return self._database.run(lambda connection: list(connection.execute(page)), _tuples)


def messages(target: Target, messages: Sequence[BaseMessage], name: str, progress: Progress) -> int:
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


def table(
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
                reached[session_id] = _or(target.reached(name), -1)
            while new := [each for each in found if each[0] > reached[session_id]]:
                upto = new[-1][0]
                try:
                    target.append(
                        [message for _, message in new],
                        Imported(name, reached[session_id], upto),
                    )
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


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _tuples(rows: Sequence[sa.Row[Any]]) -> list[tuple[int, str, str]]:
    return [(int(number), name, text) for number, name, text in map(tuple, rows)]


def _database_name(database: Database) -> str:
    return str(database.engine.url.database or "")


_BAR_WIDTH = 30
_BAR_AFTER = 1.0
"""Seconds: a short import shows none."""


class _Bar:
    """Tells how far an import came, on a terminal or to whom it was asked to."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total = total
        self._tell = progress if callable(progress) else None
        self._shows = progress is True and sys.stderr.isatty()
        self._began = time.monotonic()
        self._is_shown = False

    def show(self, done: int) -> None:
        if self._tell is not None:
            self._tell(done, self._total)
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
