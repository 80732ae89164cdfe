"""One session of the SQL history: what is done to it, each operation once, over a `Connection`.

Every operation that changes a session begins with the UPDATE of its row. That is the lock, on every database, and what
takes sequence numbers. An append is O(new messages), and O(window) only when the window changes otherwise (see
`window`).
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from langchain_core.messages import BaseMessage
from sqlalchemy import exc

from langchain_tokenbuffer._messages.slots import slot_from_json
from langchain_tokenbuffer._sql.database import IN_DOUBT, ConcurrentCreateError, lock_limit
from langchain_tokenbuffer._sql.numbers import SessionRows
from langchain_tokenbuffer._sql.rows import NewMessage, StoredRow, columns_of, decode_rows, encode, key_of
from langchain_tokenbuffer._sql.schema import Mark, Tables
from langchain_tokenbuffer._sql.terms import SessionTerms
from langchain_tokenbuffer._sql.window import (
    PAGE,
    Recomputed,
    WindowUpdate,
    display_of,
    open_calls_after,
)
from langchain_tokenbuffer.errors import NothingLeftError, TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tokenbuffer._sql.settings import Settings

logger = logging.getLogger(__name__)


class StoredWindow(NamedTuple):
    """A window as it was read."""

    settings: str  # the digest of what it was computed with
    rows: list[StoredRow]  # its messages, in order
    display: dict[str, Any]  # what is clamped, and what to raise instead; see `display_of`


class Position(NamedTuple):
    """A place in a source of messages."""

    number: int
    fingerprint: str | None  # of what the source holds up to there; None: release 0.1.0 kept none


class Imported(NamedTuple):
    """How far the import from a source comes with an append, and how far it had to be before."""

    source: str
    after: Position | None
    upto: Position


class AlreadyStoredError(Exception):
    """The append was stored by an earlier try, or repeats the session's last messages."""


class AlreadyImportedError(Exception):
    """An import came further than this append begins; the argument says how far."""


class Session:
    """One session under one buffer's settings."""

    def __init__(self, tables: Tables, session_id: str, settings: Settings) -> None:
        self.tables = tables
        self.session_id = session_id
        self.key = key_of(session_id)  # what it is found by
        self.settings = settings
        self.buffer = settings.buffer
        self.recomputed: Recomputed | None = None  # what an outdated window may go on from
        self.at_once = False  # an outdated window is computed anew under the lock, however long that takes
        self._s = tables.sessions.c
        self._m = tables.messages.c

    def read_window(self, connection: sa.Connection) -> StoredWindow | None:
        """Read the window: one statement, so one state of the session. O(window)."""
        s, m, own = self._s, self._m, self._own
        kept = m.mark == sa.literal_column(str(int(Mark.KEPT)))
        place = sa.literal(-1).label("seq")
        about = sa.select(place, s.display.label("payload"), s.settings_digest)
        row = sa.select(m.seq, m.payload, sa.literal("").label("settings"))
        mine = row.where(m.session_id == own(s.id))
        before_cut = mine.where(kept, m.seq < own(s.cut))
        tail = mine.where(m.seq >= own(s.cut), m.seq < own(s.next_seq), sa.or_(m.mark.is_(None), kept))
        window = sa.union_all(about.where(s.key == self.key), before_cut, tail)
        found = sorted(map(tuple, connection.execute(window)))
        if not found:
            return None
        (_, display, settings), *rows = found
        return StoredWindow(settings, [StoredRow(*row[:2]) for row in rows], json.loads(display))

    def refresh_window(self, connection: sa.Connection) -> StoredWindow | None:
        """Compute the window anew if it is outdated; read it."""
        self.refresh_if_outdated(connection)
        return self.read_window(connection)

    def is_outdated(self, settings: str) -> bool:
        """Tell whether a window was computed with other settings or by another rule."""
        return settings != self.settings.digest

    def show(self, window: StoredWindow | None) -> list[BaseMessage]:
        """Return the messages of a window; raise `TokenBudgetError` if what must stay does not fit."""
        if window is None:
            return []
        found, display = dict(decode_rows(window.rows, self.session_id)), window.display
        if not self.settings.meter.counter.additive:
            return self.buffer.trim(list(found.values()))
        if (shortage := display["shortage"]) is not None:
            raise TokenBudgetError(**shortage)
        if results := display.get("nothing_left"):
            raise NothingLeftError(results)
        if len(found) < len(window.rows):  # one that is missing must not poison the rest
            return self.buffer.trim(list(found.values()))
        upto, mended = display.get("mended", (0, []))
        slots = [slot_from_json(slot) for slot in mended] + [seq for seq in found if seq >= upto]
        return self.settings.meter.show(found, slots, {int(seq): tokens for seq, tokens in display["sizes"].items()})

    def read_page(self, connection: sa.Connection, after: int, size: int) -> list[StoredRow]:
        """Read the messages behind a sequence number, oldest first."""
        m = self._m
        rows = sa.select(m.seq, m.payload).where(m.session_id == self._own(self._s.id), m.seq > after)
        return [StoredRow(*row) for row in connection.execute(rows.order_by(m.seq).limit(size))]

    def read_newest(self, connection: sa.Connection, size: int) -> list[StoredRow]:
        """Read the newest messages, oldest first."""
        m = self._m
        rows = sa.select(m.seq, m.payload).where(m.session_id == self._own(self._s.id))
        return [StoredRow(*row) for row in connection.execute(rows.order_by(m.seq.desc()).limit(size))][::-1]

    def messages_of(self, rows: Sequence[StoredRow]) -> list[BaseMessage]:
        """Return the messages of rows, without those that cannot be read."""
        return [message for _, message in decode_rows(rows, self.session_id)]

    def _own(self, column: sa.Column[Any]) -> sa.ScalarSelect[Any]:
        """Return what the session's row says, as part of a statement on its messages.

        Not a join: PostgreSQL expects a third of a session behind a cut that it is joined with, and between two numbers
        a two-hundredth, for which it uses the index.
        """
        return sa.select(column).where(self._s.key == self.key).scalar_subquery()

    def metadata(self, connection: sa.Connection) -> dict[str, Any]:
        """Read what the session carries beside its messages."""
        return self._read_json(connection, self._s.metadata)

    def imported(self, connection: sa.Connection, source: str) -> Position | None:
        """Read how far the import from a source came."""
        return _position(self._read_json(connection, self._s.imported).get(source))

    def _read_json(self, connection: sa.Connection, column: sa.Column[Any]) -> dict[str, Any]:
        text = connection.scalar(sa.select(column).where(self._s.key == self.key))
        return dict(json.loads(text)) if text else {}

    # --- appending ---

    def new_messages(self, messages: Sequence[BaseMessage]) -> list[NewMessage]:
        """Count and encode messages, before anything is locked."""
        for message in messages:
            if not isinstance(message, BaseMessage):
                msg = f"messages must be messages, got {type(message).__name__}"
                raise TypeError(msg)
        _ = self.settings.digest
        meter = self.settings.meter
        numbers = meter.numbers(messages)
        return [NewMessage(each, encode(message), message) for each, message in zip(numbers, messages, strict=True)]

    @contextmanager
    def logging_loss(self, messages: Sequence[BaseMessage]) -> Iterator[None]:
        """Log messages that could not be stored, without their texts; pass over a repeat."""
        try:
            yield
        except AlreadyStoredError:
            return
        except AlreadyImportedError:
            raise
        except Exception as error:
            in_doubt = IN_DOUBT in getattr(error, "__notes__", ())
            fate = "it is not known whether they were" if in_doubt else "none of them was"
            error.add_note(f"Appending {len(messages)} messages to session {self.session_id!r}: {fate} stored.")
            what, kind = "Could not store %d messages of session %r (%s stored): %s", type(error).__name__
            # The error's kind only: its text may quote the messages.
            logger.error(what, len(messages), self.session_id, fate, kind)  # noqa: TRY400
            raise

    def append(
        self, connection: sa.Connection, new: Sequence[NewMessage], key: str, imported: Imported | None = None
    ) -> None:
        """Store messages, all or none, and update the window; `key` is what a repeat is known by."""
        if not new:
            return
        s, m = self._s, self._m
        stored = sa.select(m.seq).where(m.session_id == s.id, m.append_key == sa.literal(key))
        values = {"next_seq": s.next_seq + len(new), "tokens": s.tokens + sum(each.numbers.tokens for each in new)}
        row = self._lock_or_begin(connection, s.imported, sa.exists(stored).label("is_stored"), **values)
        first = row.next_seq - len(new)
        if row.is_stored:
            raise AlreadyStoredError
        if imported is not None:
            self._advance_import(connection, row, imported)
        elif self._repeats(connection, row.id, first, new):
            raise AlreadyStoredError
        marks = self._grow_window(connection, row, new)
        all_have = {"session_id": row.id, "created_at": _now(), "counter": self.settings.counter, "append_key": None}
        rows = [
            {**all_have, **columns_of(each.numbers), "seq": seq, "mark": marks.get(seq), "payload": each.payload}
            for seq, each in enumerate(new, first)
        ]
        # The key is on the last one: that is what stays in the window longest.
        rows[-1]["append_key"] = key
        connection.execute(sa.insert(self.tables.messages), rows)

    def _grow_window(self, connection: sa.Connection, row: sa.Row[Any], new: Sequence[NewMessage]) -> dict[int, int]:
        """Take new messages into the window; return their marks. While all fit and is in order, only the sum grows."""
        is_outdated = self.is_outdated(row.settings_digest)
        open_calls = None
        if not is_outdated and row.tokens <= self.buffer.max_tokens:
            open_calls = open_calls_after(row.open_calls, new)
        if open_calls is None:
            return self.window_update(connection, row).apply(new)
        if open_calls != row.open_calls:
            self.update(connection, row.id, open_calls=open_calls)
        return {}

    def _advance_import(self, connection: sa.Connection, row: sa.Row[Any], imported: Imported) -> None:
        positions = json.loads(row.imported) if row.imported else {}
        reached = _position(positions.get(imported.source))
        if reached is not None and (imported.after is None or reached.number > imported.after.number):
            raise AlreadyImportedError(reached)
        positions[imported.source] = imported.upto
        self.update(connection, row.id, imported=json.dumps(positions))

    def _repeats(self, connection: sa.Connection, session: int, first: int, new: Sequence[NewMessage]) -> bool:
        """Tell whether the messages all carry ids and are the session's last ones already."""
        if not all(each.message.id for each in new):
            return False
        m = self._m
        last = sa.select(m.payload).where(m.session_id == session, m.seq >= first - len(new), m.seq < first)
        return list(connection.scalars(last.order_by(m.seq))) == [each.payload for each in new]

    def lock(self, connection: sa.Connection, *columns: sa.ColumnElement[Any], **values: Any) -> sa.Row[Any] | None:
        """Take the session: the UPDATE is the lock. Return its row, or None if there is none."""
        s = self._s
        mine = s.key == self.key
        values = values or {"next_seq": s.next_seq}
        update = sa.update(self.tables.sessions).where(mine, lock_limit(connection))
        update = update.values(updated_at=_now(), **values)
        if not connection.execute(update).rowcount:
            return None
        window = (s.cut, s.tokens, s.open_calls, s.settings_digest, s.window_epoch, s.acknowledged)
        select: sa.Select[Any] = sa.select(s.id, s.next_seq, *window, s.indexed_by, s.unindexed, *columns)
        return connection.execute(select.where(mine)).one()

    def _lock_or_begin(self, connection: sa.Connection, *columns: sa.ColumnElement[Any], **values: Any) -> sa.Row[Any]:
        """`lock`, and make the session if there is none."""
        row = self.lock(connection, *columns, **values)
        if row is None:
            now = _now()
            begun = {"next_seq": 0, "cut": 0, "window_epoch": 0, "created_at": now, "updated_at": now}
            new = {"key": self.key, "name": json.dumps(self.session_id), **begun}
            try:
                connection.execute(sa.insert(self.tables.sessions).values(**new, **self._empty_window()))
            except exc.IntegrityError as error:
                raise ConcurrentCreateError from error
            row = self.lock(connection, *columns, **values)
        assert row is not None  # noqa: S101  # it was made in this transaction
        return row

    def _empty_window(self) -> dict[str, Any]:
        return {
            "tokens": self.settings.budget.fixed,
            "open_calls": None,
            "settings_digest": self.settings.digest,
            "display": display_of(None),
        }

    def update(self, connection: sa.Connection, session: int, **values: Any) -> None:
        """Change columns of a session's row."""
        update = sa.update(self.tables.sessions).where(self._s.id == session)
        connection.execute(update.values(**values))

    def window_update(self, connection: sa.Connection, row: sa.Row[Any]) -> WindowUpdate:
        """Return what changes its window, of a row that is locked."""
        rows = SessionRows(connection, self.tables, row.id, self.session_id)
        return WindowUpdate(rows, self.settings, row, self.recomputed, self.at_once)

    def refresh_if_outdated(self, connection: sa.Connection) -> sa.Row[Any] | None:
        """Take the session; compute its window anew if that is outdated. Return its row."""
        row = self.lock(connection)
        if row is not None and self.is_outdated(row.settings_digest):
            self.window_update(connection, row).apply([])
            row = self.lock(connection)
        return row

    def clear(self, connection: sa.Connection) -> bool:
        """Delete the messages; the session stays, and its sequence goes on. Tell whether their terms went, too."""
        row = self.lock(connection)
        return row is None or self._empty(connection, row)

    def _empty(self, connection: sa.Connection, row: sa.Row[Any]) -> bool:
        connection.execute(sa.delete(self.tables.messages).where(self._m.session_id == row.id))
        acknowledged = None if row.acknowledged is None else row.next_seq - 1
        is_done = row.indexed_by is None or self.terms(connection, row.id).delete_between(0, row.next_seq)
        begun = {"cut": row.next_seq, "state": None, "window_epoch": row.window_epoch + 1, "acknowledged": acknowledged}
        unindexed = None if is_done else 0
        self.update(connection, row.id, **begun, unindexed=unindexed, **self._empty_window())
        return is_done

    def delete(self, connection: sa.Connection) -> bool:
        """Delete the session and its messages; tell whether that is done: terms may be too many to go at once."""
        row = self.lock(connection)
        if row is None:
            return True
        is_done = self._empty(connection, row)
        if is_done:
            connection.execute(sa.delete(self.tables.sessions).where(self._s.id == row.id))
        return is_done

    def terms(self, connection: sa.Connection, session: int) -> SessionTerms:
        """Return the terms of its messages."""
        return SessionTerms(connection, self.tables, session, self.session_id)

    def set_metadata(self, connection: sa.Connection, text: str) -> None:
        """Keep this with the session, and make the session if need be."""
        self._lock_or_begin(connection, metadata=text)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a list of sessions says about one."""

    session_id: str  # its id
    appended: int  # how many messages were ever appended to it; its next sequence number
    tokens: int  # what its window costs, as counted when it was last written
    created_at: datetime  # when it was made, in UTC
    updated_at: datetime  # when it was last written, in UTC
    metadata: dict[str, Any]  # what `set_metadata` kept with it


def list_sessions(connection: sa.Connection, tables: Tables, after: int) -> dict[int, SessionInfo]:
    """Read a page of sessions behind one, by the number of their row."""
    s = tables.sessions.c
    page: sa.Select[Any] = sa.select(s.id, s.name, s.next_seq, s.tokens, s.created_at, s.updated_at, s.metadata)
    infos: dict[int, SessionInfo] = {}
    for row in connection.execute(page.where(s.id > after).order_by(s.id).limit(PAGE)):
        created_at, updated_at = (time.replace(tzinfo=UTC) for time in (row.created_at, row.updated_at))
        metadata = json.loads(row.metadata) if row.metadata else {}
        infos[row.id] = SessionInfo(json.loads(row.name), row.next_seq, row.tokens, created_at, updated_at, metadata)
    return infos


def _position(stored: Any) -> Position | None:
    """Return a position as it is stored: two values in a list, or the number alone."""
    if stored is None or isinstance(stored, list):
        return None if stored is None else Position(*stored)
    return Position(stored, None)


def _now() -> datetime:
    """Return the time, as every database keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)
