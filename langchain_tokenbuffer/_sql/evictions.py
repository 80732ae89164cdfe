"""What left a session's window: handed over, acknowledged, and deleted in the end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from langchain_tokenbuffer._sql.rows import StoredRow
from langchain_tokenbuffer._sql.schema import Mark
from langchain_tokenbuffer._sql.window import PAGE

if TYPE_CHECKING:
    from langchain_tokenbuffer._sql.session import Session


class Batch(NamedTuple):
    """What left the window and was not acknowledged, and what acknowledging it needs to know.

    Attributes:
        session: The session's id in the tables.
        epoch: Which of its windows this left.
        rows: The messages, oldest first.
        marked: The sequence numbers of those that carry a mark.
        last_unmarked: The last sequence number of the others.
    """

    session: int
    epoch: int
    rows: list[StoredRow]
    marked: list[int]
    last_unmarked: int | None


class Evictions:
    """What left one session's window, each operation over a `Connection`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sessions = session.tables.sessions
        self._messages = session.tables.messages
        self._s = self._sessions.c
        self._m = self._messages.c

    def pending(self, connection: sa.Connection, limit: int) -> Batch | None:
        """Read what left the window and was not acknowledged, oldest first."""
        row = self._consumed(connection)
        if row is None:
            return None
        m = self._m
        select = sa.select(m.seq, m.payload).where(m.session_id == row.id)
        select = select.order_by(m.seq).limit(limit)
        after = -1 if row.acknowledged is None else row.acknowledged
        unmarked = select.where(m.mark.is_(None), m.seq > after, m.seq < row.cut)
        rows = [StoredRow(*each) for each in connection.execute(unmarked)]
        marked = [
            StoredRow(*each) for each in connection.execute(select.where(m.mark == int(Mark.LEFT)))
        ]
        marks = {each.seq for each in marked}
        rows = sorted(rows + marked)[:limit]
        if not rows:
            return None
        return Batch(
            row.id,
            row.epoch,
            rows,
            marked=[each.seq for each in rows if each.seq in marks],
            last_unmarked=max((each.seq for each in rows if each.seq not in marks), default=None),
        )

    def _consumed(self, connection: sa.Connection) -> sa.Row[Any] | None:
        """Return the session's row, up to date; from now on nothing is purged unacknowledged."""
        s, session = self._s, self._session
        known: sa.Select[Any] = sa.select(s.id, s.cut, s.epoch, s.acknowledged, s.settings_digest)
        row = connection.execute(known.where(s.key == session.key)).one_or_none()
        if row is None or not (
            session.is_outdated(row.settings_digest) or row.acknowledged is None
        ):
            return row
        row = session.refresh_if_outdated(connection)
        if row is not None and row.acknowledged is None:
            session.update(connection, row.id, acknowledged=-1)
        return row

    def acknowledge(self, connection: sa.Connection, batch: Batch) -> None:
        """Do not hand a batch over again, unless the window was computed anew meanwhile."""
        s, m = self._s, self._m
        last = -1 if batch.last_unmarked is None else batch.last_unmarked
        further = sa.case((s.acknowledged < last, last), else_=s.acknowledged)
        taken = connection.execute(
            sa.update(self._sessions)
            .where(s.id == batch.session, s.epoch == batch.epoch)
            .values(acknowledged=further)
        )
        if not taken.rowcount or not batch.marked:
            return
        reached = connection.scalar(sa.select(s.acknowledged).where(s.id == batch.session))
        mark = sa.case((m.seq <= reached, None), else_=int(Mark.ACKNOWLEDGED))
        for start in range(0, len(batch.marked), PAGE):
            seqs = batch.marked[start : start + PAGE]
            these = (m.session_id == batch.session, m.mark == int(Mark.LEFT), m.seq.in_(seqs))
            connection.execute(sa.update(self._messages).where(*these).values(mark=mark))

    def purge(self, connection: sa.Connection, before: int | datetime, limit: int) -> int:
        """Delete the oldest messages that left the window; return how many."""
        row = self._session.refresh_if_outdated(connection)
        if row is None:
            return 0
        m = self._m
        if isinstance(before, datetime):  # clocks differ, so up to the first one that is younger
            younger = sa.select(m.seq).where(m.session_id == row.id, m.created_at >= before)
            first = connection.scalar(younger.order_by(m.seq).limit(1))
            before = row.cut if first is None else first
        old = [m.session_id == row.id, m.seq < min(before, row.cut)]
        if row.acknowledged is None:
            old.append(sa.or_(m.mark.is_(None), m.mark != int(Mark.KEPT)))
        else:
            handed_over = sa.and_(m.mark.is_(None), m.seq <= row.acknowledged)
            old.append(sa.or_(handed_over, m.mark == int(Mark.ACKNOWLEDGED)))
        seqs = connection.scalars(sa.select(m.seq).where(*old).order_by(m.seq).limit(limit)).all()
        if seqs:
            delete = sa.delete(self._messages)
            connection.execute(delete.where(m.session_id == row.id, m.seq.in_(seqs)))
        return len(seqs)


def checked_bound(before: object) -> int | datetime:
    """Return a sequence number, or a time as the tables have it.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(before, datetime):
        return before.astimezone(UTC).replace(tzinfo=None) if before.tzinfo else before
    if isinstance(before, bool) or not isinstance(before, int):
        msg = f"before must be a sequence number or a datetime, got {before!r}"
        raise TypeError(msg)
    return before
