"""The terms of one session's messages, over a connection: stored when these leave the window, asked for by the ranking.

The law of what is stored, for a session that has a rule (`indexed_by`): a message before `unindexed` has its terms, as
that rule makes them, if it left the window, else none; all have where `unindexed` is none. Behind it anything may be
stored; `recalling` makes that good before it reads.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from langchain_tokenbuffer._recall.passages import RECALL_RULE, read_passages
from langchain_tokenbuffer._recall.postings import postings_of
from langchain_tokenbuffer._recall.ranking import Posting
from langchain_tokenbuffer._recall.terms import STEMMER
from langchain_tokenbuffer._sql.rows import StoredRow, decode_rows
from langchain_tokenbuffer._sql.schema import PASSAGES, Mark, Tables

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from langchain_tokenbuffer._recall.ranking import Place

logger = logging.getLogger(__name__)

INDEX_RULE = f"{RECALL_RULE} {STEMMER}"
"""By what this process makes terms: others are not to be compared with them."""
PORTION = 250  # messages whose terms are stored in one transaction, at most
_LETTERS = 250_000  # of stored messages, the same
_DELETED = 10_000  # rows of terms that are deleted at once, about


class SessionTerms(NamedTuple):
    """The rows of one session's terms."""

    connection: sa.Connection
    tables: Tables
    session: int  # the id of its row
    session_id: str

    # --- asked for ---

    def newest(self, terms: Sequence[int], limit: int) -> list[Posting]:
        """Read the newest postings of each term: of each at most `limit` entries of an index."""
        each = [sa.select(self._newest(term, limit).subquery()) for term in terms]
        return self._postings(sa.union_all(*each)) if each else []

    def _newest(self, term: int, limit: int) -> sa.Select[Any]:
        t = self.tables.terms.c
        return self._columns().where(t.term == term).order_by(t.place.desc()).limit(limit)

    def look_up(self, terms: Sequence[int], passages: Sequence[Place]) -> list[Posting]:
        """Read the postings of terms in passages: each a look-up in an index."""
        t = self.tables.terms.c
        places = [_number(message, passage) for message, passage in passages]
        return self._postings(self._columns().where(t.term.in_(terms), t.place.in_(places)))

    def _columns(self) -> sa.Select[Any]:
        t = self.tables.terms.c
        return sa.select(t.term, t.place, t.frequency, t.length).where(t.session_id == self.session)

    def _postings(self, select: sa.Select[Any] | sa.CompoundSelect[Any]) -> list[Posting]:
        rows = sorted(map(tuple, self.connection.execute(select)), key=lambda row: -row[1])
        return [Posting(term, *divmod(place, PASSAGES), *numbers) for term, place, *numbers in rows]

    # --- stored ---

    def store(self, postings: Sequence[Posting]) -> None:
        """Store postings of messages that have none."""
        rows: dict[tuple[int, int], dict[str, int]] = {}
        for term, message, passage, frequency, length in postings:
            place = _number(message, passage)
            # Somebody may have searched for two terms of one hash.
            same = rows.setdefault((term, place), {"term": term, "place": place, "frequency": 0, "length": length})
            same["frequency"] += frequency
        if rows:
            insert = sa.insert(self.tables.terms).values(session_id=self.session)
            self.connection.execute(insert, list(rows.values()))

    def delete(self, seqs: Collection[int]) -> None:
        """Delete the terms of messages."""
        for first, last in _runs(seqs):
            while not self.delete_between(first, last + 1):
                pass

    def delete_between(self, start: int, stop: int) -> bool:
        """Delete the terms of the messages from one sequence number up to another; tell whether these were all.

        Many go in portions, the oldest first: each call deletes one.
        """
        t = self.tables.terms.c
        mine = t.session_id == self.session, t.place >= _number(start)
        places = sa.select(t.place).where(*mine, t.place < _number(stop)).order_by(t.place).limit(1)
        # MariaDB locks, for what deletes nothing, the room for what others store.
        if self.connection.scalar(places) is None:
            return True
        next_one = self.connection.scalar(places.offset(_DELETED))
        end = _number(stop) if next_one is None else next_one + 1
        self.connection.execute(sa.delete(self.tables.terms).where(*mine, t.place < end))
        return next_one is None

    # --- as the window moves ---

    def follow(self, row: sa.Row[Any], left: Iterable[int], back: Iterable[int], new: Mapping[int, str]) -> None:
        """See that the law holds where messages have left or come back; `new` are those that are not stored yet.

        What is too much for one transaction, or for another rule to do, is left to the next that recalls.
        """
        left, back = _before(row.unindexed, left), _before(row.unindexed, back)
        if not (left or back):
            return
        rows = self._rows(left, new) if row.indexed_by == INDEX_RULE and len(left) <= PORTION >= len(back) else None
        if rows is None or len(shorten(rows)) < len(rows):
            self.leave_from(min((*left, *back)))
            return
        self.delete(back)
        self.store(list(read_postings(rows, self.session_id)))

    def _rows(self, seqs: Sequence[int], new: Mapping[int, str]) -> list[StoredRow]:
        m = self.tables.messages.c
        stored = [seq for seq in seqs if seq not in new]
        these = sa.select(m.seq, m.payload).where(m.session_id == self.session, m.seq.in_(stored))
        found = [StoredRow(*row) for row in self.connection.execute(these)] if stored else []
        return found + [StoredRow(seq, new[seq]) for seq in seqs if seq in new]

    def leave_from(self, seq: int | None) -> None:
        """Note from which message on terms may be missing, or too many."""
        sessions = self.tables.sessions
        self.connection.execute(sa.update(sessions).where(sessions.c.id == self.session).values(unindexed=seq))


def has_left(tables: Tables, cut: int) -> sa.ColumnElement[bool]:
    """Return the condition for a message to have left a window with this cut."""
    m = tables.messages.c
    kept, left = int(Mark.KEPT), (int(Mark.LEFT), int(Mark.ACKNOWLEDGED))
    before = sa.and_(m.seq < cut, sa.or_(m.mark.is_(None), m.mark != kept))
    return sa.or_(before, sa.and_(m.seq >= cut, m.mark.in_(left)))


def shorten(rows: Sequence[StoredRow]) -> list[StoredRow]:
    """Return the first of these messages, as many as one transaction may store the terms of; at least one."""
    letters = list(accumulate(len(row.payload) for row in rows))
    return list(rows[: max(1, bisect_right(letters, _LETTERS))])


def read_postings(rows: Iterable[StoredRow], session_id: str) -> Iterator[Posting]:
    """Yield the postings of messages; one that cannot be read is logged and passed over."""
    for seq, message in decode_rows(rows, session_id):
        try:
            yield from postings_of(seq, read_passages(message))
        except Exception as error:  # noqa: BLE001  # a turn must not be lost for what can be found of an old one
            kind = type(error).__name__  # a traceback would quote the message
            logger.error("Message %d of session %r cannot be recalled: %s", seq, session_id, kind)  # noqa: TRY400


def _before(stop: int | None, seqs: Iterable[int]) -> list[int]:
    return [seq for seq in seqs if stop is None or seq < stop]


def _number(message: int, passage: int = 0) -> int:
    return message * PASSAGES + passage


def _runs(seqs: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of numbers that follow each other."""
    for _, run in groupby(enumerate(sorted(seqs)), key=lambda each: each[1] - each[0]):
        numbers = [seq for _, seq in run]
        yield numbers[0], numbers[-1]
