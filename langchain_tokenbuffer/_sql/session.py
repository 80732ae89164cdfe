"""One session of the SQL history: what is done to it, each operation once, over a `Connection`.

Every operation that changes a session begins with the UPDATE of its row. That is the lock, on
every database, and what takes sequence numbers. An append costs the new messages, and the window
only when that moves (see `window`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import exc

from langchain_tokenbuffer._sql.engines import RacedError
from langchain_tokenbuffer._sql.rows import New, Stored, key_of, read
from langchain_tokenbuffer._sql.schema import Mark, Tables
from langchain_tokenbuffer._sql.window import PAGE, Move, Settings, seen_of
from langchain_tokenbuffer.errors import TokenBudgetError
from langchain_tokenbuffer.order import repair

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer.buffer import TokenBuffer


class Seen(NamedTuple):
    """What reading the window found; `settings` tells under which it was computed."""

    settings: str
    rows: list[Stored]
    sizes: dict[int, int]
    shortage: dict[str, Any] | None


class Batch(NamedTuple):
    """What left the window and was not acknowledged, and what acknowledging it needs to know."""

    session: int
    epoch: int
    rows: list[Stored]
    marked: list[int]
    passed: int | None


class Imported(NamedTuple):
    """How far the import from a source comes with an append, and how far it had to be before."""

    source: str
    after: int
    upto: int


class AlreadyStoredError(Exception):
    """The append was stored by an earlier try, or repeats the session's last messages."""


class AlreadyImportedError(Exception):
    """An import came further than this append begins."""

    def __init__(self, upto: int) -> None:
        super().__init__(upto)
        self.upto = upto


class Session:
    """One session under one buffer's settings."""

    def __init__(self, tables: Tables, session_id: str, buffer: TokenBuffer) -> None:
        self._s = tables.sessions.c
        self._m = tables.messages.c
        self._tables = tables
        self.session_id = session_id
        self._key = key_of(session_id)
        self._name = json.dumps(session_id)
        self.buffer = buffer
        self.settings = Settings(buffer)

    # --- reading ---

    def seen(self, connection: sa.Connection) -> Seen | None:
        """Read the window: one statement, so one state of the session, that costs the window."""
        s, m, own = self._s, self._m, self._own
        seq = sa.literal(-1).label("seq")
        session = sa.select(seq, s.seen.label("payload"), s.settings).where(s.key == self._key)
        row = sa.select(m.seq, m.payload, sa.literal("").label("settings"))
        tail = row.where(
            m.session_id == own(s.id),
            m.seq >= own(s.cut),
            m.seq < own(s.next_seq),
            sa.or_(m.mark.is_(None), m.mark == sa.literal_column(str(int(Mark.STAYS)))),
        )
        held = row.where(
            m.session_id == own(s.id),
            m.mark == sa.literal_column(str(int(Mark.STAYS))),
            m.seq < own(s.cut),
        )
        found = connection.execute(sa.union_all(session, held, tail)).all()
        rows = [Stored(place, payload) for place, payload, _ in found if place >= 0]
        for place, payload, settings in found:
            if place < 0:
                said = json.loads(payload)
                sizes = {int(index): size for index, size in said["sizes"].items()}
                return Seen(settings, sorted(rows), sizes, said["shortage"])
        return None

    def show(self, seen: Seen | None) -> list[BaseMessage]:
        """Return the messages of a window.

        Raises:
            TokenBudgetError: If what must stay does not fit.
        """
        if seen is None:
            return []
        buffer = self.buffer
        if not buffer.token_counter.additive:
            return buffer.trim([message for _, message in read(seen.rows, self.session_id)])
        if seen.shortage is not None:
            raise TokenBudgetError(**seen.shortage)
        messages = [
            buffer.clamped(message, seen.sizes[seq]) if seq in seen.sizes else message
            for seq, message in read(seen.rows, self.session_id)
        ]
        if len(messages) < len(seen.rows):  # one that is missing must not poison the rest
            messages = buffer.trim(repair(messages)[0])
        return messages

    def page(self, connection: sa.Connection, after: int, size: int) -> list[Stored]:
        """Read the messages behind a sequence number, oldest first."""
        m = self._m
        rows = sa.select(m.seq, m.payload).where(
            m.session_id == self._own(self._s.id), m.seq > after
        )
        return [Stored(*row) for row in connection.execute(rows.order_by(m.seq).limit(size))]

    def _own(self, column: sa.Column[Any]) -> sa.ScalarSelect[Any]:
        """Return what the session's row says, as part of a statement on its messages.

        Not a join: PostgreSQL expects a third of a session behind a cut that it is joined with,
        and between two numbers a two-hundredth, for which it uses the index.
        """
        return sa.select(column).where(self._s.key == self._key).scalar_subquery()

    def metadata(self, connection: sa.Connection) -> dict[str, Any]:
        """Read what the session carries beside its messages."""
        text = connection.scalar(sa.select(self._s.metadata).where(self._s.key == self._key))
        return dict(json.loads(text)) if text else {}

    def imported(self, connection: sa.Connection, source: str) -> int | None:
        """Read how far the import from a source came."""
        text = connection.scalar(sa.select(self._s.imported).where(self._s.key == self._key))
        return json.loads(text).get(source) if text else None

    # --- appending ---

    def append(
        self,
        connection: sa.Connection,
        new: Sequence[New],
        key: str,
        imported: Imported | None = None,
    ) -> None:
        """Store messages, all or none, and move the window.

        Raises:
            AlreadyStoredError: If they are stored.
            AlreadyImportedError: If the import came further.
        """
        s, m = self._s, self._m
        cost = sum(each.sized.cost for each in new)
        stored_as = sa.exists(
            sa.select(m.seq).where(m.session_id == s.id, m.append_key == sa.literal(key))
        )
        row = self._lock(
            connection,
            (s.imported, stored_as.label("is_stored")),
            next_seq=s.next_seq + len(new),
            tokens=s.tokens + cost,
        )
        if row is None:
            self._begin(connection)
            self.append(connection, new, key, imported)
            return
        first = row.next_seq - len(new)
        if row.is_stored or (imported is None and self._repeats(connection, row.id, first, new)):
            raise AlreadyStoredError
        if imported is not None:
            positions = json.loads(row.imported) if row.imported else {}
            if positions.get(imported.source, -1) > imported.after:
                raise AlreadyImportedError(positions[imported.source])
            positions[imported.source] = imported.upto
            self._update(connection, row.id, imported=json.dumps(positions))
        marks: dict[int, int] = {}
        is_same = row.settings == self.settings.digest
        if not (is_same and row.steady and row.tokens <= self.buffer.max_tokens):
            marks = self._move(connection, row).through(new)
        connection.execute(
            sa.insert(self._tables.messages), self._rows(row.id, first, new, key, marks)
        )

    def _rows(
        self, session: int, first: int, new: Sequence[New], key: str, marks: Mapping[int, int]
    ) -> list[dict[str, Any]]:
        now = _now()
        # The key is on the last one: that is what stays in the window longest.
        keys = [None] * (len(new) - 1) + [key]
        return [
            {
                "session_id": session,
                "seq": seq,
                "append_key": append_key,
                "created_at": now,
                "kind": sized.kind,
                "calls": sized.calls,
                "pinned": int(sized.pinned),
                "tokens": sized.cost,
                "counter": self.settings.counter,
                "mark": marks.get(seq),
                "payload": payload,
            }
            for seq, append_key, (sized, payload, _) in zip(
                range(first, first + len(new)), keys, new, strict=True
            )
        ]

    def _repeats(
        self, connection: sa.Connection, session: int, first: int, new: Sequence[New]
    ) -> bool:
        """Tell whether the messages all carry ids and are the session's last ones already."""
        if not all(each.message.id for each in new):
            return False
        m = self._m
        last = connection.scalars(
            sa.select(m.payload)
            .where(m.session_id == session, m.seq >= first - len(new), m.seq < first)
            .order_by(m.seq)
        )
        return list(last) == [each.payload for each in new]

    def _lock(
        self, connection: sa.Connection, columns: Sequence[Any] = (), **values: Any
    ) -> sa.Row[Any] | None:
        """Take the session: the UPDATE is the lock. Return its row, or None if there is none."""
        s = self._s
        mine = s.key == self._key
        values = values or {"next_seq": s.next_seq}
        update = sa.update(self._tables.sessions).where(mine)
        taken = connection.execute(update.values(updated_at=_now(), **values))
        if not taken.rowcount:
            return None
        row = sa.select(
            s.id, s.next_seq, s.cut, s.tokens, s.steady, s.settings, s.epoch, s.acknowledged
        )
        return connection.execute(row.add_columns(*columns).where(mine)).one()

    def _begin(self, connection: sa.Connection) -> None:
        """Make the session."""
        now = _now()
        try:
            connection.execute(
                sa.insert(self._tables.sessions).values(
                    key=self._key,
                    name=self._name,
                    next_seq=0,
                    cut=0,
                    tokens=self.buffer.budget().fixed,
                    steady=0,
                    settings=self.settings.digest,
                    seen=seen_of(None),
                    epoch=0,
                    created_at=now,
                    updated_at=now,
                )
            )
        except exc.IntegrityError as error:
            raise RacedError from error

    def _update(self, connection: sa.Connection, session: int, **values: Any) -> None:
        update = sa.update(self._tables.sessions).where(self._s.id == session)
        connection.execute(update.values(**values))

    def _move(self, connection: sa.Connection, row: sa.Row[Any]) -> Move:
        return Move(connection, self._tables, self.settings, self.session_id, row)

    def settle(self, connection: sa.Connection) -> sa.Row[Any] | None:
        """Take the session; compute its window anew if the settings are others by now."""
        row = self._lock(connection)
        if row is not None and row.settings != self.settings.digest:
            self._move(connection, row).through(())
            row = self._lock(connection)
        return row

    # --- what left ---

    def left(self, connection: sa.Connection, limit: int) -> Batch | None:
        """Read what left the window and was not acknowledged, oldest first."""
        s, m = self._s, self._m
        known: sa.Select[Any] = sa.select(s.id, s.cut, s.epoch, s.acknowledged, s.settings)
        row: sa.Row[Any] | None = connection.execute(known.where(s.key == self._key)).one_or_none()
        if row is None:
            return None
        if row.settings != self.settings.digest or row.acknowledged is None:
            row = self.settle(connection)
            if row is None:
                return None
            if row.acknowledged is None:  # from now on nothing is purged before it was handed over
                self._update(connection, row.id, acknowledged=-1)
        select = sa.select(m.seq, m.payload).where(m.session_id == row.id)
        select = select.order_by(m.seq).limit(limit)
        after = -1 if row.acknowledged is None else row.acknowledged
        passed = connection.execute(
            select.where(m.mark.is_(None), m.seq > after, m.seq < row.cut)
        ).all()
        marked = connection.execute(select.where(m.mark == int(Mark.LEFT))).all()
        marks = {each.seq for each in marked}
        rows = sorted(Stored(*each) for each in (*passed, *marked))[:limit]
        if not rows:
            return None
        return Batch(
            row.id,
            row.epoch,
            rows,
            marked=[each.seq for each in rows if each.seq in marks],
            passed=max((each.seq for each in rows if each.seq not in marks), default=None),
        )

    def acknowledge(self, connection: sa.Connection, batch: Batch) -> None:
        """Do not hand a batch over again, unless the window was computed anew meanwhile."""
        s, m = self._s, self._m
        passed = -1 if batch.passed is None else batch.passed
        further = sa.case((s.acknowledged < passed, passed), else_=s.acknowledged)
        taken = connection.execute(
            sa.update(self._tables.sessions)
            .where(s.id == batch.session, s.epoch == batch.epoch)
            .values(acknowledged=further)
        )
        if not taken.rowcount or not batch.marked:
            return
        reached = connection.scalar(sa.select(s.acknowledged).where(s.id == batch.session))
        update = sa.update(self._tables.messages)
        for seqs in _pages(batch.marked):
            these = (m.session_id == batch.session, m.mark == int(Mark.LEFT), m.seq.in_(seqs))
            mark = sa.case((m.seq <= reached, None), else_=int(Mark.ACKNOWLEDGED))
            connection.execute(update.where(*these).values(mark=mark))

    # --- letting go ---

    def purge(self, connection: sa.Connection, before: int | datetime, limit: int) -> int:
        """Delete the oldest messages that left the window; return how many."""
        row = self.settle(connection)
        if row is None:
            return 0
        m = self._m
        if isinstance(before, datetime):  # clocks differ, so up to the first one that is younger
            younger = sa.select(m.seq).where(m.session_id == row.id, m.created_at >= before)
            first = connection.scalar(younger.order_by(m.seq).limit(1))
            before = row.cut if first is None else first
        old = [m.session_id == row.id, m.seq < min(before, row.cut)]
        if row.acknowledged is None:
            old.append(sa.or_(m.mark.is_(None), m.mark != int(Mark.STAYS)))
        else:
            handed = sa.and_(m.mark.is_(None), m.seq <= row.acknowledged)
            old.append(sa.or_(handed, m.mark == int(Mark.ACKNOWLEDGED)))
        seqs = connection.scalars(sa.select(m.seq).where(*old).order_by(m.seq).limit(limit)).all()
        if seqs:
            delete = sa.delete(self._tables.messages)
            connection.execute(delete.where(m.session_id == row.id, m.seq.in_(seqs)))
        return len(seqs)

    def clear(self, connection: sa.Connection) -> None:
        """Delete the messages; the session stays, and its sequence goes on."""
        row = self._lock(connection)
        if row is None:
            return
        connection.execute(sa.delete(self._tables.messages).where(self._m.session_id == row.id))
        self._update(
            connection,
            row.id,
            cut=row.next_seq,
            tokens=self.buffer.budget().fixed,
            steady=0,
            settings=self.settings.digest,
            seen=seen_of(None),
            state=None,
            epoch=row.epoch + 1,
            acknowledged=None if row.acknowledged is None else row.next_seq - 1,
        )

    def delete(self, connection: sa.Connection) -> None:
        """Delete the session and its messages."""
        row = self._lock(connection)
        if row is not None:
            messages, sessions = self._tables.messages, self._tables.sessions
            connection.execute(sa.delete(messages).where(self._m.session_id == row.id))
            connection.execute(sa.delete(sessions).where(self._s.id == row.id))

    def set_metadata(self, connection: sa.Connection, text: str) -> None:
        """Keep this with the session, and make the session if need be."""
        if self._lock(connection, metadata=text) is None:
            self._begin(connection)
            self._lock(connection, metadata=text)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a list of sessions says about one.

    Attributes:
        session_id: Its id.
        appended: How many messages were ever appended to it; its next sequence number.
        tokens: What its window costs, as counted when it was last written.
        created_at: When it was made, in UTC.
        updated_at: When it was last written, in UTC.
        metadata: What `set_metadata` kept with it.
    """

    session_id: str
    appended: int
    tokens: int
    created_at: datetime
    updated_at: datetime
    metadata: dict[str, Any]


def list_sessions(
    connection: sa.Connection, tables: Tables, after: int
) -> tuple[list[SessionInfo], int | None]:
    """Read a page of sessions behind one, and where the next page begins."""
    s = tables.sessions.c
    page: sa.Select[Any] = sa.select(
        s.id, s.name, s.next_seq, s.tokens, s.created_at, s.updated_at, s.metadata
    )
    rows = connection.execute(page.where(s.id > after).order_by(s.id).limit(PAGE)).all()
    infos = [
        SessionInfo(
            json.loads(name),
            appended,
            tokens,
            created.replace(tzinfo=UTC),
            updated.replace(tzinfo=UTC),
            json.loads(metadata) if metadata else {},
        )
        for _, name, appended, tokens, created, updated, metadata in map(tuple, rows)
    ]
    return infos, rows[-1][0] if rows else None


def _pages(seqs: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(seqs), PAGE):
        yield seqs[start : start + PAGE]


def _now() -> datetime:
    """Return the time, as every database keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)
