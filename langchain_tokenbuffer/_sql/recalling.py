"""Asking a session for what left its window: its terms are completed first, in portions, then ranked.

A portion is read and made into terms without a lock; under the lock only those of its messages that have left by then
are stored. So it may be interrupted anywhere, and several processes may do it at once: who comes second does the next.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from langchain_tokenbuffer._recall.ranking import NewestAsk, ranking
from langchain_tokenbuffer._sql.recomputing import awrite, bound, write
from langchain_tokenbuffer._sql.rows import StoredRow
from langchain_tokenbuffer._sql.schema import Mark
from langchain_tokenbuffer._sql.terms import INDEX_RULE, PORTION, has_left, read_postings, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_tokenbuffer._recall.ranking import Ask, Posting, Ranked, Ranking
    from langchain_tokenbuffer._sql.database import Database
    from langchain_tokenbuffer._sql.session import Session
    from langchain_tokenbuffer._sql.terms import SessionTerms

logger = logging.getLogger(__name__)

_TRIES = 3
_SHARED = (
    "Session %r cannot be recalled: others change its terms all the time. Processes that recall one session need the "
    "same settings, and all of them the extra of recall or none."
)


class Portion(NamedTuple):
    """Messages whose terms may be missing."""

    session: int  # the id of its row
    start: int  # the first sequence number, and
    stop: int  # the one behind the last
    rows: list[StoredRow]


def begin(session: Session, connection: sa.Connection) -> None:
    """Have the terms of what leaves from now on stored."""
    row = session.refresh_if_outdated(connection)
    if row is not None and row.indexed_by != INDEX_RULE:
        session.update(connection, row.id, indexed_by=INDEX_RULE, unindexed=0)


def read_portion(session: Session, connection: sa.Connection) -> Portion | None:
    """Read the next messages whose terms may be missing; `None` if there are none, or others do it by another rule."""
    s, m = session.tables.sessions.c, session.tables.messages.c
    about: sa.Select[Any] = sa.select(s.id, s.cut, s.indexed_by, s.unindexed)
    row = connection.execute(about.where(s.key == session.key)).one_or_none()
    if row is None or row.indexed_by != INDEX_RULE or row.unindexed is None:
        return None
    start = row.unindexed
    stop = max(start, row.cut, _behind_last_left(session, connection, row))
    these = sa.select(m.seq, m.payload).where(m.session_id == row.id, m.seq >= start, m.seq < stop)
    page = [StoredRow(*each) for each in connection.execute(these.order_by(m.seq).limit(PORTION))]
    rows = shorten(page)
    is_all = len(rows) == len(page) < PORTION
    return Portion(row.id, start, stop if is_all else rows[-1].seq + 1, rows)


def _behind_last_left(session: Session, connection: sa.Connection, row: sa.Row[Any]) -> int:
    """Return the number behind the last message that left though it lies behind the cut, if there is one."""
    m = session.tables.messages.c
    left = sa.select(m.seq).where(m.session_id == row.id, m.seq >= row.cut)
    last = left.where(m.mark.in_((int(Mark.LEFT), int(Mark.ACKNOWLEDGED)))).order_by(m.seq.desc()).limit(1)
    seq = connection.scalar(last)
    return 0 if seq is None else seq + 1


def store_portion(session: Session, connection: sa.Connection, portion: Portion, postings: Sequence[Posting]) -> None:
    """Store the terms of those messages of a portion that have left, unless another process was first."""
    row = session.lock(connection)
    if row is None or (row.id, row.indexed_by, row.unindexed) != (portion.session, INDEX_RULE, portion.start):
        return
    m, terms = session.tables.messages.c, session.terms(connection, row.id)
    these = sa.select(m.seq).where(m.session_id == row.id, m.seq >= portion.start, m.seq < portion.stop)
    left = set(connection.scalars(these.where(has_left(session.tables, row.cut))))
    if not terms.delete_between(portion.start, portion.stop):
        return  # the same portion comes again
    terms.store([posting for posting in postings if posting.message in left])
    is_all = portion.stop >= max(row.cut, _behind_last_left(session, connection, row))
    terms.leave_from(None if is_all else portion.stop)


def complete(database: Database, session: Session) -> None:
    """Store the terms that are missing."""
    write(database, session, begin)
    while (portion := database.read(bound(read_portion, session))) is not None:
        postings = list(read_postings(portion.rows, session.session_id))
        write(database, session, store_portion, portion, postings)


async def acomplete(database: Database, session: Session) -> None:
    """`complete`, without blocking the event loop."""
    await awrite(database, session, begin)
    while (portion := await database.aread(bound(read_portion, session))) is not None:
        postings = await database.in_thread(list, read_postings(portion.rows, session.session_id))
        await awrite(database, session, store_portion, portion, postings)


def rank(session: Session, connection: sa.Connection, question: Iterable[str]) -> list[Ranked] | None:
    """Rank what left by the terms of a question; `None` if terms are missing."""
    s = session.tables.sessions.c
    about: sa.Select[Any] = sa.select(s.id, s.next_seq, s.settings_digest, s.indexed_by, s.unindexed)
    about = about.add_columns(*_reading_by_index(connection))
    row = connection.execute(about.where(s.key == session.key)).one_or_none()
    if row is None:
        return []
    if session.is_outdated(row.settings_digest) or row.indexed_by != INDEX_RULE or row.unindexed is not None:
        return None
    return _answered(ranking(question, row.next_seq), session.terms(connection, row.id))


def _reading_by_index(connection: sa.Connection) -> list[sa.ColumnElement[str]]:
    """Return what has PostgreSQL read postings by an index, until the transaction ends.

    Where its statistics are old, or know nothing of a term, it reads all postings of the term and sorts them.
    """
    if connection.dialect.name != "postgresql":
        return []
    ways = ("bitmapscan", "seqscan", "sort")
    return [sa.func.set_config(f"enable_{way}", "off", True).label(way) for way in ways]  # noqa: FBT003


def _answered(ranking: Ranking, terms: SessionTerms) -> list[Ranked]:
    try:
        ask = next(ranking)
        while True:
            ask = ranking.send(_answer(ask, terms))
    except StopIteration as end:
        ranked: list[Ranked] = end.value
        return ranked


def _answer(ask: Ask, terms: SessionTerms) -> list[Posting]:
    if isinstance(ask, NewestAsk):
        return terms.newest(ask.terms, ask.limit)
    return terms.look_up(ask.terms, ask.passages)
