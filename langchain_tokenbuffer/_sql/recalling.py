"""Asking a session for what left its window: its terms are completed first, in portions, then ranked.

A portion is read and made into terms without a lock; under the lock only those of its messages that have left by then
are stored. So it may be interrupted anywhere, and several processes may do it at once: who comes second does the next.
"""

from __future__ import annotations

import json
import logging
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from langchain_tokenbuffer._recall.questions import ENOUGH, has_question_before, question_terms
from langchain_tokenbuffer._recall.ranking import rank
from langchain_tokenbuffer._recall.recalling import chosen, matches_of, text_tokens
from langchain_tokenbuffer._sql.recomputing import awrite, bound, write
from langchain_tokenbuffer._sql.rows import StoredRow, decode_rows
from langchain_tokenbuffer._sql.schema import Mark
from langchain_tokenbuffer._sql.terms import INDEX_RULE, PORTION, has_left, read_postings, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._recall.ranking import Posting, Ranked
    from langchain_tokenbuffer._recall.recalling import Match
    from langchain_tokenbuffer._sql.database import Database
    from langchain_tokenbuffer._sql.session import Session

logger = logging.getLogger(__name__)

_TRIES = 3
_READ = 32  # messages that are read at once
_LOOKED_BACK = (32, 256, 2048)
"""In how many of the newest messages the question before is looked for: more, if it is not there. A question of fewer
than two terms whose turn is longer stands for itself."""
_SHARED = (
    "Session %r cannot be recalled: others change its terms all the time. Processes that recall one session need the "
    "same settings, and all of them the extra of recall or none."
)


def terms_of_question(database: Database, session: Session, question: str | BaseMessage) -> list[str]:
    """Return the terms of a question, and of the one before it where they are too few.

    That one is looked for in what is stored, not in the window, which depends on the budget.
    """
    terms = question_terms([], question)
    for size in () if len(set(terms)) >= ENOUGH else _LOOKED_BACK:
        rows = database.read(session.read_newest, size)
        messages = session.messages_of(rows)
        terms = question_terms(messages, question)
        if len(rows) < size or has_question_before(messages):
            break
    return terms


async def aterms_of_question(database: Database, session: Session, question: str | BaseMessage) -> list[str]:
    """`terms_of_question`, without blocking the event loop."""
    terms = await database.in_thread(question_terms, [], question)
    for size in () if len(set(terms)) >= ENOUGH else _LOOKED_BACK:
        rows = await database.aread(session.read_newest, size)
        messages = await database.in_thread(session.messages_of, rows)
        terms = await database.in_thread(question_terms, messages, question)
        if len(rows) < size or has_question_before(messages):
            break
    return terms


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
    # Behind what has left nothing has terms: it may have come back into the window.
    is_last = portion.stop >= max(row.cut, _behind_last_left(session, connection, row))
    if not terms.delete_between(portion.start, row.next_seq if is_last else portion.stop):
        return  # the same portion comes again
    terms.store([posting for posting in postings if posting.message in left])
    terms.leave_from(None if is_last else portion.stop)


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


class Ranking(NamedTuple):
    """What matches a question, the best first."""

    session: int  # the id of its row
    ranked: list[Ranked]


def rank_session(session: Session, connection: sa.Connection, terms: Sequence[str]) -> Ranking | None:
    """Rank what left the window by the terms of a question; `None` if terms of messages are missing.

    Nothing matches where the window cannot be had: what must stay does not fit.
    """
    s = session.tables.sessions.c
    about: sa.Select[Any] = sa.select(s.id, s.next_seq, s.settings_digest, s.display, s.indexed_by, s.unindexed)
    about = about.add_columns(*_reading_by_index(connection))
    row = connection.execute(about.where(s.key == session.key)).one_or_none()
    if row is None:
        return Ranking(0, [])
    if session.is_outdated(row.settings_digest) or row.indexed_by != INDEX_RULE or row.unindexed is not None:
        return None
    display = json.loads(row.display)
    if display["shortage"] is not None or display.get("nothing_left"):
        return Ranking(0, [])
    return Ranking(row.id, rank(terms, row.next_seq, session.terms(connection, row.id)))


def _reading_by_index(connection: sa.Connection) -> list[sa.ColumnElement[str]]:
    """Return what has PostgreSQL read postings by an index, until the transaction ends.

    Where its statistics are old, or know nothing of a term, it reads all postings of the term and sorts them.
    """
    if connection.dialect.name != "postgresql":
        return []
    ways = ("bitmapscan", "seqscan", "sort")
    return [sa.func.set_config(f"enable_{way}", "off", True).label(way) for way in ways]  # noqa: FBT003


class Choice:
    """Chooses what fits of a ranking; the messages that it lacks for that are read for it, a few at a time."""

    def __init__(self, session: Session, ranking: Ranking, max_tokens: int) -> None:
        self.best: list[Match] = []
        self._session = session
        self._ranking = ranking
        self._max_tokens = max_tokens
        self._messages: dict[int, BaseMessage | None] = {}  # those that were read; `None`: there is none
        self._lacks = bool(ranking.ranked)

    def lacking(self) -> list[int]:
        """Return the sequence numbers of the messages to read next; none once enough is read."""
        unread = (each.message for each in self._ranking.ranked if each.message not in self._messages)
        return list(islice(dict.fromkeys(unread), _READ)) if self._lacks else []

    def read(self, connection: sa.Connection, seqs: Sequence[int]) -> list[StoredRow]:
        """Read messages."""
        m = self._session.tables.messages.c
        these = sa.select(m.seq, m.payload).where(m.session_id == self._ranking.session, m.seq.in_(seqs))
        return [StoredRow(*each) for each in connection.execute(these)]

    def take(self, seqs: Sequence[int], rows: Sequence[StoredRow]) -> None:
        """Choose again, from these messages, too. One that cannot be read is logged and passed over."""
        self._messages |= dict.fromkeys(seqs)
        self._messages |= decode_rows(rows, self._session.session_id)
        self._lacks = False
        matches, counter = matches_of(self._ranked(), self._messages), self._session.settings.meter.counter
        self.best = chosen(matches, self._max_tokens, text_tokens(counter))

    def _ranked(self) -> Iterator[Ranked]:
        """Yield passages, the best first, as far as their messages were read."""
        for each in self._ranking.ranked:
            if each.message not in self._messages:
                self._lacks = True
                return
            yield each


def recall(database: Database, session: Session, terms: Sequence[str], max_tokens: int) -> list[Match]:
    """Return what left the window and matches the terms of a question, as much as fits, oldest first.

    However long the session is, 128 postings are read for each of 16 terms, and 16 terms looked up in 256 passages, at
    most; then messages, the best first, until no more fits. What left before recall was used in the session, or since
    another rule was, gets its terms first.
    """
    for _ in range(_TRIES):
        if (ranking := database.read(bound(rank_session, session), terms)) is not None:
            break
        complete(database, session)
    choice = Choice(session, ranking or _nothing(session), max_tokens)
    while seqs := choice.lacking():
        choice.take(seqs, database.read(choice.read, seqs))
    return choice.best


async def arecall(database: Database, session: Session, terms: Sequence[str], max_tokens: int) -> list[Match]:
    """`recall`, without blocking the event loop."""
    for _ in range(_TRIES):
        if (ranking := await database.aread(bound(rank_session, session), terms)) is not None:
            break
        await acomplete(database, session)
    choice = Choice(session, ranking or _nothing(session), max_tokens)
    while seqs := choice.lacking():
        await database.in_thread(choice.take, seqs, await database.aread(choice.read, seqs))
    return choice.best


def _nothing(session: Session) -> Ranking:
    logger.warning(_SHARED, session.session_id)
    return Ranking(0, [])
