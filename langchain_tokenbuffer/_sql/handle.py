"""One session in a database, and what is done with it that needs none of its messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from typing_extensions import override

from langchain_tokenbuffer._sql import migrations, recomputing
from langchain_tokenbuffer._sql import schema as sql_schema
from langchain_tokenbuffer._sql.database import A, Database, Operation, R
from langchain_tokenbuffer._sql.end import ClosedAtEnd
from langchain_tokenbuffer._sql.session import Session, SessionInfo, list_sessions

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterator, Mapping

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncEngine

    from langchain_tokenbuffer._sql.recomputing import SessionOperation

    Connection: TypeAlias = str | os.PathLike[str] | sa.URL | sa.Engine | AsyncEngine


class SessionHandle(ClosedAtEnd):
    """A session under its settings, the database it is in, and how both are worked on, sync and async."""

    _database: Database
    _session: Session

    def _write(self, operation: SessionOperation[*A, R], *args: *A) -> R:
        """Run what writes to the session."""
        return recomputing.write(self._database, self._session, operation, *args)

    async def _awrite(self, operation: SessionOperation[*A, R], *args: *A) -> R:
        """`_write`, without blocking the event loop."""
        await self._digest()
        return await recomputing.awrite(self._database, self._session, operation, *args)

    def _write_all(self, operation: SessionOperation[bool]) -> None:
        """Run what writes to the session until it says that all is done: each time in a transaction of its own."""
        while not self._write(operation):
            pass

    async def _awrite_all(self, operation: SessionOperation[bool]) -> None:
        """`_write_all`, without blocking the event loop."""
        while not await self._awrite(operation):
            pass

    async def _aread(self, operation: Operation[*A, R], *args: *A) -> R:
        """Run what only reads, without blocking the event loop."""
        await self._digest()
        return await self._database.aread(operation, *args)

    async def _digest(self) -> None:
        """See that nothing is counted for the settings in the event loop."""
        settings = self._session.settings
        if not settings.are_digested:
            await self._database.in_thread(lambda: settings.digest)

    def get_metadata(self) -> dict[str, Any]:
        """Return what was kept with the session."""
        return self._database.read(self._session.metadata)

    async def aget_metadata(self) -> dict[str, Any]:
        """`get_metadata`, without blocking the event loop."""
        return await self._aread(self._session.metadata)

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Keep this with the session instead of what was kept before.

        Raises:
            TypeError: If JSON cannot hold it.
        """
        self._write(Session.set_metadata, json.dumps(dict(metadata)))

    async def aset_metadata(self, metadata: Mapping[str, Any]) -> None:
        """`set_metadata`, without blocking the event loop."""
        await self._awrite(Session.set_metadata, json.dumps(dict(metadata)))

    @staticmethod
    def sessions(
        connection: Connection, *, prefix: str = "tokenbuffer", schema: str | None = None
    ) -> Iterator[SessionInfo]:
        """Yield all sessions, in the order they were made, a page at a time."""
        tables, after = sql_schema.tables(prefix, schema), 0
        database = Database(connection, tables, creates=True)
        while page := database.read(list_sessions, tables, after):
            after = max(page)
            yield from page.values()

    @staticmethod
    async def asessions(
        connection: Connection, *, prefix: str = "tokenbuffer", schema: str | None = None
    ) -> AsyncIterator[SessionInfo]:
        """`sessions`, without blocking the event loop."""
        tables, after = sql_schema.tables(prefix, schema), 0
        database = Database(connection, tables, creates=True)
        while page := await database.aread(list_sessions, tables, after):
            after = max(page)
            for info in page.values():
                yield info

    def create_tables(self) -> None:
        """Create the tables where they are missing, and bring up those of an older release.

        Safe at any time and in many processes. Nothing is lost, but there is no way back: to an older release they are
        the tables of a newer one.

        Raises:
            TokenBufferError: If a newer release made them; it says what to install.
        """
        self._database.without_tables().write("", migrations.create, self._session.tables)

    async def acreate_tables(self) -> None:
        """`create_tables`, without blocking the event loop."""
        await self._database.without_tables().awrite("", migrations.create, self._session.tables)

    def imported(self, source: str) -> int | None:
        """Return how far the import from a source came: a count of messages, or a row's id."""
        return None if (found := self._database.read(self._session.imported, source)) is None else found.number

    @override
    def close(self) -> None:
        """Close the connections that this process has to the history's path or URL, as soon as nobody uses them.

        A closed history, and others over the same database, connect again when they are used. An `Engine` or
        `AsyncEngine` belongs to whoever made it and stays open.
        """
        self._database.close()

    @override
    async def aclose(self) -> None:
        """`close`, without blocking the event loop."""
        await self._database.aclose()
