"""Computing a long session's outdated window anew, in portions, before the session is locked.

Under the lock only what was appended meanwhile is left to do. Nobody else waits: a portion is one short transaction,
and between messages the replay lets other operations of the process go first.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import sqlalchemy as sa

from langchain_tokenbuffer._sql.database import A, R, active
from langchain_tokenbuffer._sql.numbers import NumbersPage, SessionRows, StoredSource, count_anew
from langchain_tokenbuffer._sql.window import LongSessionError, Recomputed
from langchain_tokenbuffer._window.driver import WindowDriver

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._sql.database import Database, Operation
    from langchain_tokenbuffer._sql.session import Session
    from langchain_tokenbuffer._window.budget import MessageTokens

SessionOperation: TypeAlias = "Callable[[Session, sa.Connection, *A], R]"

_PORTION = 250  # messages
_WORKS = 0.005  # seconds the replay works before it lets others go first again
_WAITS = 0.02  # seconds it waits for them at most


def write(database: Database, session: Session, operation: SessionOperation[*A, R], *args: *A) -> R:
    """Run what writes to a session."""
    while True:
        try:
            return database.write(session.key, bound(operation, session), *args)
        except LongSessionError:
            walk = _Walk(database, session)
        while database.read(walk.read_page):
            if walk.recount():
                database.write(session.key, walk.store)
            walk.push()
        session = walk.session_from_here()


async def awrite(database: Database, session: Session, operation: SessionOperation[*A, R], *args: *A) -> R:
    """`write`, without blocking the event loop."""
    while True:
        try:
            return await database.awrite(session.key, bound(operation, session), *args)
        except LongSessionError:
            walk = _Walk(database, session)
        while await database.aread(walk.read_page):
            if await database.in_thread(walk.recount):
                await database.awrite(session.key, walk.store)
            await database.in_thread(walk.push)
        session = walk.session_from_here()


def bound(operation: SessionOperation[*A, R], session: Session) -> Operation[*A, R]:
    """Return what is done to a session as an operation over a connection."""
    return lambda connection, *args: operation(session, connection, *args)


class _Walk:
    """Replays a session's messages, a page at a time. What runs over a connection may be run again."""

    def __init__(self, database: Database, session: Session) -> None:
        self._database = database
        self._session = session
        self._settings = session.settings
        self._digest = self._settings.digest
        self._driver = WindowDriver(self._settings.budget)
        self._row: int | None = None  # the id of the session's row
        self._page = NumbersPage({}, [], 0)
        self._counted: dict[int, MessageTokens] = {}
        self._tail: deque[int] = deque()  # the messages behind the cut
        self._left: list[int] = []
        self._works_until = 0.0

    def read_page(self, connection: sa.Connection) -> bool:
        """Read the next messages; tell whether there are so many that one does so without the lock."""
        s, start = self._session.tables.sessions.c, self._driver.count
        about = sa.select(s.id, s.next_seq).where(s.key == self._session.key)
        row = connection.execute(about).one_or_none()
        # Not the last one: whether it fits is known only where it is pushed.
        if row is None or row.id != (self._row or row.id) or row.next_seq - 1 - start < _PORTION:
            return False
        self._row = row.id
        self._page = self._rows(connection).page(start, row.next_seq - 1, _PORTION, self._settings.counter)
        return True

    def _rows(self, connection: sa.Connection) -> SessionRows:
        return SessionRows(connection, self._session.tables, self._row or 0, self._session.session_id)

    def recount(self) -> bool:
        """Count what another counter counted; tell whether there is something to store."""
        self._counted = count_anew(self._page.others, self._settings, self._session.session_id)
        return bool(self._counted)

    def store(self, connection: sa.Connection) -> None:
        """Store what was counted."""
        self._rows(connection).store(self._counted, self._settings.counter)

    def push(self) -> None:
        """Replay the messages of the page."""
        driver, source = self._driver, StoredSource(self._settings.meter, self._message)
        for seq, each in {**self._page.numbers, **self._counted}.items():
            if active:
                self._let_others_go_first()
            self._left += driver.push(each, source, at=seq)
            driver.take_drop_errors()
            self._tail.append(seq)
        driver.skip_to(self._page.end)
        while self._tail and self._tail[0] < driver.cut:
            self._tail.popleft()
        self._left = [seq for seq in self._left if seq >= driver.cut]

    def _message(self, seq: int) -> BaseMessage | None:
        return self._database.read(lambda connection: self._rows(connection).message(seq))

    def _let_others_go_first(self) -> None:
        """Sleep while others are at work: Python lets one thread run, and switches too seldom for them."""
        now = time.monotonic()
        if now < self._works_until:
            return
        while active and time.monotonic() - now < _WAITS:
            time.sleep(_WAITS / 20)
        self._works_until = time.monotonic() + _WORKS

    def session_from_here(self) -> Session:
        """Return the session, to go on from here; the second time, to do all under the lock."""
        session, driver = copy.copy(self._session), self._driver
        # What was needed was deleted meanwhile, or it would not be asked for again.
        session.at_once = session.recomputed is not None
        if self._row is not None:
            needed = [*driver.kept_before_cut, *self._tail]
            session.recomputed = Recomputed(self._row, self._digest, driver.state(), self._left, needed)
        return session
