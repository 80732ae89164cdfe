"""Importing other histories' messages into the SQL history, resumable.

How far an import came is stored with the session, under the source's name: a number, and a fingerprint of what the
source held up to there. Numbers alone would skip, in silence, what a source holds that was filled anew.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections import defaultdict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from langchain_tokenbuffer._sql.recomputing import write
from langchain_tokenbuffer._sql.rows import StoredRow, decode_rows
from langchain_tokenbuffer._sql.schema import checked_name
from langchain_tokenbuffer._sql.session import AlreadyImportedError, Imported, Position, Session
from langchain_tokenbuffer._sql.window import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._sql.database import Database

    Progress: TypeAlias = bool | Callable[[int, int], None]
    Page: TypeAlias = tuple[int, Mapping[str, Sequence["SourceMessage"]]]  # how many rows; by session, what they hold

_BAR_AFTER = 1.0  # seconds: a short import shows no bar


class SourceMessage(NamedTuple):
    """One message of a source."""

    position: Position  # its number in the source, and what tells that the source is the same up to it
    message: BaseMessage | None  # None: it cannot be read


class OldTable:
    """A table of many sessions, in turns: of langchain-community's or langchain-postgres' message history."""

    def __init__(self, database: Database, table: str, session_column: str) -> None:
        self.name = f"{database.url.database or ''}/{table}"
        self._database = database
        self._table = sa.table(
            checked_name(table, "table"),
            sa.column("id", sa.Integer),
            sa.column(checked_name(session_column, "session_column")),
            sa.column("message"),
        )

    def count(self) -> int:
        rows = sa.select(sa.func.count()).select_from(self._table)
        return int(self._database.read(_fetch, rows)[0][0])

    def pages(self) -> Iterator[Page]:
        """Yield the rows in the order of their ids, which are their numbers."""
        number, after = self._table.c.id, -1
        page: sa.Select[Any] = sa.select(self._table).order_by(number).limit(PAGE)
        fingerprints: dict[str, _Fingerprint] = defaultdict(_Fingerprint)
        while rows := self._database.read(_fetch, page.where(number > after)):
            found: dict[str, list[StoredRow]] = defaultdict(list)
            for row_id, session_id, value in map(tuple, rows):
                text = value if isinstance(value, str) else json.dumps(value)  # a column of type JSON is read already
                found[str(session_id)].append(StoredRow(row_id, text))
            yield len(rows), {each: _read_rows(found[each], each, fingerprints[each]) for each in found}
            after = rows[-1][0]


def _read_rows(rows: Sequence[StoredRow], session_id: str, fingerprint: _Fingerprint) -> list[SourceMessage]:
    messages = dict(decode_rows(rows, session_id, "Row"))
    return [SourceMessage(Position(row.seq, fingerprint.after(tuple(row))), messages.get(row.seq)) for row in rows]


class _Fingerprint:
    """Tells, in every process, that all that it was given is the same."""

    def __init__(self) -> None:
        self._digest = blake2b(digest_size=12)

    def after(self, part: object) -> str:
        self._digest.update(repr(part).encode(errors="backslashreplace"))
        return self._digest.hexdigest()


def _fetch(connection: sa.Connection, rows: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
    return connection.execute(rows).all()


def list_pages(messages: Sequence[BaseMessage], session_id: str) -> Iterator[Page]:
    """Yield the messages of one session, counted from 1."""
    fingerprint = _Fingerprint()
    for start in range(0, max(1, len(messages)), PAGE):  # a source that is empty now is looked at, too
        portion: list[SourceMessage] = []
        for number, each in enumerate(messages[start : start + PAGE], start + 1):
            calls, answers = getattr(each, "tool_calls", None), getattr(each, "tool_call_id", None)
            up_to_it = fingerprint.after((each.type, each.content, each.name, calls, answers))
            portion.append(SourceMessage(Position(number, up_to_it), each))
        yield len(portion), {session_id: portion}


class _SessionImport:
    """The import from one source into one session: how far it came, and whether this is the same source."""

    def __init__(self, database: Database, session: Session, source: str) -> None:
        self._database, self._session, self._source = database, session, source
        self._reached = database.read(session.imported, source)
        self._is_checked = self._reached is None

    @property
    def has_changed(self) -> bool:
        """Whether the source does not hold, at its place, what was imported last. Then nothing was appended."""
        return not self._is_checked

    def append(self, portion: Sequence[SourceMessage]) -> int:
        """Append what is new of a portion; return how many came.

        If the same import, running elsewhere, came further meanwhile, only the rest is appended.
        """
        while new := self._rest(portion):
            messages = [message for _, message in new if message is not None]
            imported = Imported(self._source, self._reached, portion[-1].position)
            try:
                with self._session.logging_loss(messages):
                    ready = self._session.new_messages(messages)
                    write(self._database, self._session, Session.append, ready, uuid.uuid4().hex, imported)
            except AlreadyImportedError as error:
                self._reached, self._is_checked = error.args[0], False
            else:
                self._reached = imported.upto
                return len(messages)
        return 0

    def _rest(self, portion: Sequence[SourceMessage]) -> list[SourceMessage]:
        """Return what was not imported yet, having seen that what was is there."""
        reached = self._reached
        if reached is None:
            return list(portion)
        same = (each.position for each in portion if each.position.number == reached.number)
        self._is_checked |= any(reached.fingerprint in (None, each.fingerprint) for each in same)
        return [each for each in portion if each.position.number > reached.number] if self._is_checked else []


def import_pages(
    pages: Iterable[Page], database: Database, like: Session, name: str, show: Callable[[int], None]
) -> int:
    """Import pages into sessions with the tables and settings of one; return how many messages came.

    Raises:
        ValueError: If a source is not the one that was imported under that name.
    """
    imports: dict[str, _SessionImport] = {}
    done, imported = 0, 0
    for rows, found in pages:
        for session_id, portion in found.items():
            if session_id not in imports:
                session = Session(like.tables, session_id, like.settings)
                imports[session_id] = _SessionImport(database, session, name)
            imported += imports[session_id].append(portion)
        done += rows
        show(done)
    if changed := [session_id for session_id, each in imports.items() if each.has_changed]:
        msg = (
            f"{name!r} is not what was imported under that name: of {len(changed)} sessions, such as {changed[0]!r}, "
            f"it does not hold what came last. Nothing was imported into these, {imported} messages into others. Pass "
            "another name= to import it as a source of its own, and only what is not imported yet."
        )
        raise ValueError(msg)
    return imported


def progress_shower(total: int, progress: Progress) -> Callable[[int], None]:
    """Return what shows how far an import came: on a terminal, or by the caller's function."""
    if callable(progress):
        return lambda done: progress(done, total)
    began = time.monotonic()

    def show(done: int) -> None:
        if not (progress and sys.stderr.isatty()) or time.monotonic() - began < _BAR_AFTER:
            return
        share, end = done / max(1, total), "\n" if done >= total else ""
        bar = f"[{'#' * int(30 * share):<30}] {share:4.0%} {done:,} of {total:,} messages"
        sys.stderr.write(f"\r{bar}{end}")
        sys.stderr.flush()

    return show
