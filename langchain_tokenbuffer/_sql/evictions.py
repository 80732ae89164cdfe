"""What left a session's window: handed over, acknowledged, and deleted in the end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from langchain_tokenbuffer._sql.database import lock_limit
from langchain_tokenbuffer._sql.rows import StoredRow
from langchain_tokenbuffer._sql.schema import Mark
from langchain_tokenbuffer._sql.window import PAGE

if TYPE_CHECKING:
    from langchain_tokenbuffer._sql.session import Session


class Batch(NamedTuple):
    """What left the window and was not acknowledged, and what acknowledging it needs to know."""

    session: int
    epoch: int  # which of the session's windows this left
    rows: list[StoredRow]  # oldest first
    marked: set[int]  # the sequence numbers of those that may carry a mark


def pending(session: Session, connection: sa.Connection, limit: int) -> Batch | None:
    """Read what left the window and was not acknowledged, oldest first."""
    row = _consumed(connection, session)
    if row is None:
        return None
    m = session.tables.messages.c
    these = sa.select(m.seq, m.payload).where(m.session_id == row.id).order_by(m.seq).limit(limit)
    after = -1 if row.acknowledged is None else row.acknowledged
    # Two statements, each for an index of its own.
    tail = connection.execute(these.where(m.mark.is_(None), m.seq > after, m.seq < row.cut))
    marked = connection.execute(these.where(m.mark == int(Mark.LEFT))).all()
    rows = sorted(StoredRow(*each) for each in (*tail, *marked))[:limit]
    return Batch(row.id, row.window_epoch, rows, {each.seq for each in marked}) if rows else None


def _consumed(connection: sa.Connection, session: Session) -> sa.Row[Any] | None:
    """Return the session's row, up to date; from now on nothing is purged unacknowledged."""
    s = session.tables.sessions.c
    columns: sa.Select[Any] = sa.select(s.id, s.cut, s.window_epoch, s.acknowledged, s.settings_digest)
    # Locked at once: a snapshot from before the lock would not have what others appended meanwhile.
    mine = columns.where(s.key == session.key, lock_limit(connection))
    row = connection.execute(mine.with_for_update()).one_or_none()
    if row is None or not (session.is_outdated(row.settings_digest) or row.acknowledged is None):
        return row
    row = session.refresh_if_outdated(connection)
    if row is not None and row.acknowledged is None:
        session.update(connection, row.id, acknowledged=-1)
    return row


def acknowledge(session: Session, connection: sa.Connection, batch: Batch) -> None:
    """Do not hand a batch over again, unless the window was computed anew meanwhile."""
    s, m = session.tables.sessions.c, session.tables.messages.c
    last = max((seq for seq, _ in batch.rows if seq not in batch.marked), default=-1)
    taken = connection.execute(
        sa.update(session.tables.sessions)
        .where(s.id == batch.session, s.window_epoch == batch.epoch, lock_limit(connection))
        .values(acknowledged=sa.case((s.acknowledged < last, last), else_=s.acknowledged))
    )
    marked = [seq for seq, _ in batch.rows if seq in batch.marked]
    if not taken.rowcount or not marked:
        return
    reached = connection.scalar(sa.select(s.acknowledged).where(s.id == batch.session))
    mark = sa.case((m.seq <= reached, None), else_=int(Mark.ACKNOWLEDGED))
    for start in range(0, len(marked), PAGE):
        these = m.seq.in_(marked[start : start + PAGE])
        update = sa.update(session.tables.messages).where(m.session_id == batch.session, these)
        connection.execute(update.where(m.mark == int(Mark.LEFT)).values(mark=mark))


def purge(session: Session, connection: sa.Connection, before: int | datetime, limit: int) -> int:
    """Delete the oldest messages that left the window; return how many."""
    row = session.refresh_if_outdated(connection)
    if row is None:
        return 0
    m = session.tables.messages.c
    if isinstance(before, datetime):  # clocks differ, so up to the first one that is younger
        younger = sa.select(m.seq).where(m.session_id == row.id, m.created_at >= before)
        first = connection.scalar(younger.order_by(m.seq).limit(1))
        before = row.cut if first is None else first
    if row.acknowledged is None:
        may_go = sa.or_(m.mark.is_(None), m.mark != int(Mark.KEPT))
    else:
        handed_over = sa.and_(m.mark.is_(None), m.seq <= row.acknowledged)
        may_go = sa.or_(handed_over, m.mark == int(Mark.ACKNOWLEDGED))
    old = sa.select(m.seq).where(m.session_id == row.id, m.seq < min(before, row.cut), may_go)
    seqs = connection.scalars(old.order_by(m.seq).limit(limit)).all()
    if seqs:
        session.window_update(connection, row).save_state()
        connection.execute(sa.delete(session.tables.messages).where(m.session_id == row.id, m.seq.in_(seqs)))
        if row.indexed_by is not None:
            session.terms(connection, row.id).delete(seqs)
    return len(seqs)


def checked_bound(before: object) -> int | datetime:
    """Return a sequence number, or a time as the tables have it."""
    if isinstance(before, datetime):
        return before.astimezone(UTC).replace(tzinfo=None) if before.tzinfo else before
    if isinstance(before, bool) or not isinstance(before, int):
        msg = f"before must be a sequence number or a datetime, got {before!r}"
        raise TypeError(msg)
    return before
