"""The sessions of this package's own history, as transcripts: read, and nothing else."""

from __future__ import annotations

import heapq
import sys
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import exc
from sqlalchemy.engine import URL

from langchain_tokenbuffer._replay.recognition import printable, shown
from langchain_tokenbuffer._replay.transcripts import Transcript, UnreadableError, transcript_of
from langchain_tokenbuffer._sql.database import Database
from langchain_tokenbuffer._sql.schema import tables
from langchain_tokenbuffer._sql.session import Session, list_sessions
from langchain_tokenbuffer._sql.settings import Settings
from langchain_tokenbuffer._sql.urls import is_in_memory, url_of
from langchain_tokenbuffer._sql.window import PAGE
from langchain_tokenbuffer.buffer import TokenBuffer
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._sql.schema import Tables
    from langchain_tokenbuffer._sql.session import SessionInfo

WAIT = 3  # seconds that is waited for whoever writes to a SQLite file
_SECRETS = ("pass", "pwd", "token", "secret", "key")  # in names of a URL's options
MOST_SESSIONS = 10_000
MOST_LETTERS = 64_000_000  # of stored messages, as JSON, so that a process of one gigabyte can hold them


def read(
    connection: str | Path, session: str | None, prefix: str, schema: str | None, note: Callable[[str], object]
) -> list[Transcript]:
    """See `histories.read`."""
    url = _read_only(connection)
    with _plain_errors(url):
        history = _History(url, tables(prefix, schema))
        try:
            return history.newest(note) if session is None else history.only(session)
        finally:
            history.database.close()


class _History:
    """A history, of which so much is read."""

    def __init__(self, url: URL, of: Tables) -> None:
        self._tables = of
        self._settings = Settings(TokenBuffer(1, token_counter=len))  # no window is asked for
        self._letters = sys.maxsize  # that may still be read
        self._count = 0  # sessions that were listed
        self.database = Database(url, self._tables, creates=False)

    def only(self, session_id: str) -> list[Transcript]:
        """Return one session, however long it is."""
        if messages := self._messages(session_id):
            return [_session(session_id, messages)]
        names = [shown(info.session_id) for info in islice(self._infos(), 5)]
        there = f"the first of those there are: {', '.join(names)}" if names else "there are none"
        msg = f"there is no session {shown(session_id)!r} with messages; {there}"
        raise TokenBufferError(msg)

    def newest(self, note: Callable[[str], object]) -> list[Transcript]:
        """Return all sessions, or of too many those used last."""
        self._letters = MOST_LETTERS
        last_used = heapq.nlargest(MOST_SESSIONS, self._infos(), key=lambda info: info.updated_at)
        found: list[tuple[SessionInfo, list[BaseMessage]]] = []
        for info in last_used:
            if (messages := self._messages(info.session_id)) is None:
                break
            found.append((info, messages))
        if len(found) < self._count:
            note(f"Read the {len(found):,} of {self._count:,} sessions used last; --session reads any one.")
        found.sort(key=lambda each: (each[0].created_at, each[0].session_id))
        transcripts = [_session(info.session_id, messages) for info, messages in found if messages]
        if not transcripts:
            raise UnreadableError(found=f"a history of {self._count:,} sessions, and no messages that could be held")
        return transcripts

    def _infos(self) -> Iterator[SessionInfo]:
        after = 0
        while page := self.database.read(list_sessions, self._tables, after):
            after = max(page)
            for info in page.values():
                self._count += 1
                yield info

    def _messages(self, session_id: str) -> list[BaseMessage] | None:
        """Return a session's messages, oldest first; `None` if they are more than may be read."""
        session, after = Session(self._tables, session_id, self._settings), -1
        messages: list[BaseMessage] = []
        while rows := self.database.read(session.read_page, after, PAGE):
            self._letters -= sum(len(row.payload) for row in rows)
            if self._letters < 0:
                return None
            after = rows[-1].seq
            messages += session.messages_of(rows)
        return messages


def _session(session_id: str, messages: list[BaseMessage]) -> Transcript:
    return replace(transcript_of(session_id, messages), is_session=True)


def _read_only(connection: str | Path) -> URL:
    """Return the URL; of a SQLite file one that can only be read."""
    if isinstance(connection, str):
        url = url_of(connection)
        if url.get_backend_name() != "sqlite":
            return url
        if is_in_memory(url):
            msg = "a database in memory is this process's own and empty; name the file"
            raise TokenBufferError(msg)
        connection = Path(str(url.database))
    path = connection.resolve(strict=True)
    query = {"mode": "ro", "uri": "true", "timeout": str(WAIT)}
    return URL.create("sqlite", database=f"file:{path.as_uri().removeprefix('file://')}", query=query)


def shown_url(connection: str) -> str:
    """Return a URL without what gives access."""
    url = url_of(connection)
    hidden = {key: "***" for key in url.query if any(secret in key.lower() for secret in _SECRETS)}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


@contextmanager
def _plain_errors(url: URL) -> Iterator[None]:
    """Say in a line what a database or its driver says, without the password."""
    try:
        yield
    except (exc.SQLAlchemyError, ImportError, OSError) as error:
        text = printable(str(getattr(error, "orig", None) or error))
        if url.password:
            text = text.replace(str(url.password), "***")
        if "is locked" in text:
            text = f"somebody has been writing to it for {WAIT} s, and it is locked; try again, or copy it"
        msg = f"the database cannot be read: {text}"
        raise TokenBufferError(msg) from None  # what it comes from may hold the password
