"""`SQLTokenBufferHistory`: a durable chat history whose tail is read by tokens."""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage
from typing_extensions import override

from langchain_tokenbuffer._handlers import ahand_over, hand_over, is_async
from langchain_tokenbuffer._run_view import RunView
from langchain_tokenbuffer._sql import importing
from langchain_tokenbuffer._sql import schema as sql_schema
from langchain_tokenbuffer._sql.engines import Database
from langchain_tokenbuffer._sql.rows import New, Stored, encode, read
from langchain_tokenbuffer._sql.session import (
    AlreadyStoredError,
    Batch,
    Imported,
    Seen,
    Session,
    SessionInfo,
    list_sessions,
)
from langchain_tokenbuffer._sql.window import PAGE
from langchain_tokenbuffer.buffer import TokenBuffer

if TYPE_CHECKING:
    import os
    from collections.abc import (
        AsyncIterator,
        Callable,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncEngine

    from langchain_tokenbuffer._handlers import OnEvict
    from langchain_tokenbuffer._window import Oversize
    from langchain_tokenbuffer.counters import CountedBy

    Connection: TypeAlias = str | os.PathLike[str] | sa.URL | sa.Engine | AsyncEngine

T = TypeVar("T")

logger = logging.getLogger(__name__)

_ASYNC_HANDLER = "handler is a coroutine function, which aevicted awaits and evicted cannot."


class SQLTokenBufferHistory(BaseChatMessageHistory):
    """A chat history in a database: everything is stored, `messages` is the window.

    Laws: `messages` is what `TokenBuffer.trim` makes of `all_messages()`, in whatever portions and
    by whatever processes these were appended; reading it is one statement that costs the window,
    whatever the length of the session. An append is one transaction: all of it or nothing, in a
    sequence without gaps, also under many writers; a try whose answer was lost is found and not
    stored twice. A run of `RunnableWithMessageHistory` sees one stable view, as with
    `TokenBufferChatMessageHistory`. Settings that changed are noticed, and the session is computed
    anew, once, in one transaction; two settings in turns on one session pay that each time.

    Edges: messages that all carry ids and equal the session's last ones are taken for a repeat. A
    message that cannot be read is logged at ERROR with session and sequence number and left out;
    the others are shown. With a counter that is not additive the window is within budget, but may
    be smaller than `TokenBuffer`'s, which looks at every message. What purging deletes is as if it
    had never been; a window that is computed anew later sees what is left.

    One object serves sync and async, threads and event loops. From a path, a URL or an `Engine`
    async calls run in threads, no more than the engine's pool has connections; from an
    `AsyncEngine` in the loop it is first used in, and elsewhere in threads over an engine of its
    URL. Engines made of a URL are shared per process; after a fork they connect anew. A cancelled
    append may still be stored, never half.

    The tables and their columns are described in `langchain_tokenbuffer._sql.schema`. On SQLite
    connections wait 30 s for each other and use WAL.

    Args:
        session_id: Whose conversation this is: any string.
        connection: The path of a SQLite file, a URL, an `Engine` or an `AsyncEngine`. `sqlite://`
            is in memory, one for the process.
        max_tokens: High-water mark, in tokens: a window never costs more.
        token_counter: What counts, as for `TokenBuffer`.
        trim_to: Low-water mark in (0, 1], as for `TokenBuffer`.
        oversize: `"clamp"`, `"raise"` or `"drop"`, as for `TokenBuffer`.
        prefix: What the names of the tables begin with.
        schema: The database schema the tables are in.
        create_tables: Create missing tables at first use. Pass `False` where that is the job of a
            migration, and call `create_tables()` there.

    Raises:
        TypeError: If an argument has the wrong type; it names the argument and what to pass.
        ValueError: If a value is out of range; it names the argument and what is accepted.

    Example:
        ```python
        def get_session_history(session_id: str) -> BaseChatMessageHistory:
            return SQLTokenBufferHistory(
                session_id, "chats.db", max_tokens=4000, token_counter=model
            )
        ```
    """

    def __init__(
        self,
        session_id: str,
        connection: Connection,
        *,
        max_tokens: int,
        token_counter: CountedBy,
        trim_to: float = 0.6,
        oversize: Oversize = "clamp",
        prefix: str = "tokenbuffer",
        schema: str | None = None,
        create_tables: bool = True,
    ) -> None:
        """Check the arguments; connect to nothing yet."""
        super().__init__()
        if not isinstance(session_id, str):
            msg = f"session_id must be a string, got {session_id!r} ({type(session_id).__name__})"
            raise TypeError(msg)
        self.session_id = session_id
        self.buffer = TokenBuffer(
            max_tokens, token_counter=token_counter, trim_to=trim_to, oversize=oversize
        )
        tables = _tables(prefix, schema)
        self._database = Database(connection, tables, creates=create_tables)
        self._session = Session(tables, session_id, self.buffer)
        self._view = RunView(self)

    # --- the window ---

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # read-only, as in the base's own implementations
        """The window, as a new list.

        Raises:
            TokenBudgetError: If what must stay does not fit and `oversize` cannot make it fit.
        """
        held = self._view.held()
        if held is not None:
            return held
        shown = self._database.run(self._session.seen, self._shown)
        if shown is None:
            shown = self._database.run(self._settled, self._session.show)
        return self._view.hold(shown)

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        """`messages`, without blocking the event loop."""
        held = self._view.held()
        if held is not None:
            return held
        shown = await self._database.arun(self._session.seen, self._shown)
        if shown is None:
            shown = await self._database.arun(self._settled, self._session.show)
        return self._view.hold(shown)

    def _shown(self, seen: Seen | None) -> list[BaseMessage] | None:
        """Return the window, or None if it was computed under other settings."""
        if seen is not None and seen.settings != self._session.settings.digest:
            return None
        return self._session.show(seen)

    def _settled(self, connection: sa.Connection) -> Seen | None:
        self._session.settle(connection)
        return self._session.seen(connection)

    # --- writing ---

    @override
    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages: one transaction, in order, all or none.

        What may pass (locks, timeouts, serialization failures, lost connections) is tried again
        a few times with the same key. An append that fails for good is logged at ERROR, without
        its texts, and raised with a note on what was stored.
        """
        try:
            with self._reported(messages) as doubt:
                self._append(self._new(messages), in_doubt=doubt)
        finally:
            self._view.release()

    @override
    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """`add_messages`, without blocking the event loop."""
        try:
            with self._reported(messages) as doubt:
                new = await self._database.in_thread(lambda: self._new(messages))
                append = partial(self._session.append, new=new, key=uuid.uuid4().hex)
                with contextlib.suppress(AlreadyStoredError):
                    if new:
                        await self._database.arun(append, _same, doubt)
        finally:
            self._view.release()

    def _append(
        self,
        new: Sequence[New],
        imported: Imported | None = None,
        in_doubt: Callable[[], None] = lambda: None,
    ) -> None:
        append = partial(self._session.append, new=new, key=uuid.uuid4().hex, imported=imported)
        with contextlib.suppress(AlreadyStoredError):
            if new:
                self._database.run(append, _same, in_doubt)

    def _new(self, messages: Sequence[BaseMessage]) -> list[New]:
        """Count messages and write them down, before anything is locked."""
        for message in messages:
            if not isinstance(message, BaseMessage):
                msg = f"messages must be messages, got {type(message).__name__}"
                raise TypeError(msg)
        counter = self.buffer.token_counter
        prices = counter.tokens(messages, counter.keys(messages))
        _ = self._session.settings.digest
        return [
            New(self.buffer.sized(message, price), encode(message), message)
            for message, price in zip(messages, prices, strict=True)
        ]

    @contextlib.contextmanager
    def _reported(self, messages: Sequence[BaseMessage]) -> Iterator[Callable[[], None]]:
        """Log what could not be stored: `RunnableWithMessageHistory` swallows what is raised."""
        doubts: list[None] = []
        try:
            yield partial(doubts.append, None)
        except Exception as error:
            count = len(messages)
            fate = (
                "it is not known whether they were stored: the connection was lost in the commit"
                if doubts
                else "none of them was stored"
            )
            error.add_note(f"Appending {count} messages to session {self.session_id!r}: {fate}.")
            # The error's kind only: its text may quote the messages.
            logger.error(  # noqa: TRY400
                "Could not store %d messages of session %r (%s): %s",
                count,
                self.session_id,
                fate,
                type(error).__name__,
            )
            raise

    @override
    def clear(self) -> None:
        """Delete the session's messages. The session stays, and its sequence goes on."""
        self._database.run(self._session.clear, _same)
        self._view.release()

    @override
    async def aclear(self) -> None:
        """`clear`, without blocking the event loop."""
        await self._identified()
        await self._database.arun(self._session.clear, _same)
        self._view.release()

    # --- the transcript ---

    def all_messages(self) -> list[BaseMessage]:
        """Return everything that is stored of the session, oldest first."""
        return list(self.iter_messages())

    async def aall_messages(self) -> list[BaseMessage]:
        """`all_messages`, without blocking the event loop."""
        return [message async for message in self.aiter_messages()]

    def iter_messages(self, page_size: int = PAGE) -> Iterator[BaseMessage]:
        """Yield everything that is stored of the session, oldest first, a page at a time."""
        after: int | None = -1
        while after is not None:
            page = partial(self._session.page, after=after, size=page_size)
            messages, after = self._database.run(page, self._read)
            yield from messages

    async def aiter_messages(self, page_size: int = PAGE) -> AsyncIterator[BaseMessage]:
        """`iter_messages`, without blocking the event loop."""
        after: int | None = -1
        while after is not None:
            page = partial(self._session.page, after=after, size=page_size)
            messages, after = await self._database.arun(page, self._read)
            for message in messages:
                yield message

    def _read(self, rows: list[Stored]) -> tuple[list[BaseMessage], int | None]:
        messages = [message for _, message in read(rows, self.session_id)]
        return messages, rows[-1].seq if rows else None

    # --- what left the window ---

    def evicted(self, handler: OnEvict, *, batch_size: int = PAGE) -> int:
        """Hand over what left the window since the last time, oldest first.

        Law: every message that left is handed over at least once, and not again after the handler
        returned; if it raises, the same messages come again. Several consumers at once lose
        nothing, but may get the same messages. From the first call on purging keeps what was not
        handed over.

        Edges: messages that came back into the window, because the settings changed, are handed
        over again when they leave again. One that cannot be read is passed over, and logged.

        Args:
            handler: Called with a list of messages, outside any transaction.
            batch_size: The most messages of one call.

        Returns:
            How many messages were handed over.

        Raises:
            TypeError: If the handler is a coroutine function; nothing is acknowledged.
        """
        if is_async(handler):
            raise TypeError(_ASYNC_HANDLER)
        left = partial(self._session.left, limit=batch_size)
        count = 0
        while (batch := self._database.run(left, self._batch)) is not None:
            if batch[1]:
                hand_over(handler, batch[1], _ASYNC_HANDLER)
            self._database.run(partial(self._session.acknowledge, batch=batch[0]), _same)
            count += len(batch[1])
        return count

    async def aevicted(self, handler: OnEvict, *, batch_size: int = PAGE) -> int:
        """`evicted`, without blocking the event loop; awaits the handler if need be."""
        await self._identified()
        left = partial(self._session.left, limit=batch_size)
        count = 0
        while (batch := await self._database.arun(left, self._batch)) is not None:
            if batch[1]:
                await ahand_over(handler, batch[1])
            await self._database.arun(partial(self._session.acknowledge, batch=batch[0]), _same)
            count += len(batch[1])
        return count

    def _batch(self, batch: Batch | None) -> tuple[Batch, list[BaseMessage]] | None:
        if batch is None:
            return None
        return batch, [message for _, message in read(batch.rows, self.session_id)]

    # --- retention ---

    def delete_before(self, before: int | datetime, *, limit: int = 10_000) -> int:
        """Delete the oldest messages for good; never one that is in the window.

        Messages that left the window and are older than `before` are deleted, oldest first, at
        most `limit` of them, in transactions of at most 1000. Once `evicted` was used, only those
        that were handed over and acknowledged.

        Args:
            before: A sequence number (the first message ever appended has 0), or a time; one
                without a time zone is UTC.
            limit: The most messages one call deletes; call again until it returns 0.

        Returns:
            How many messages were deleted.
        """
        bound = _bound(before)
        deleted = 0
        while deleted < limit:
            count = min(PAGE, limit - deleted)
            done = self._database.run(
                partial(self._session.purge, before=bound, limit=count), _same
            )
            deleted += done
            if done < count:
                break
        return deleted

    async def adelete_before(self, before: int | datetime, *, limit: int = 10_000) -> int:
        """`delete_before`, without blocking the event loop."""
        await self._identified()
        bound = _bound(before)
        deleted = 0
        while deleted < limit:
            count = min(PAGE, limit - deleted)
            purge = partial(self._session.purge, before=bound, limit=count)
            done = await self._database.arun(purge, _same)
            deleted += done
            if done < count:
                break
        return deleted

    def delete_session(self) -> None:
        """Delete the session with its messages and metadata."""
        self._database.run(self._session.delete, _same)
        self._view.release()

    async def adelete_session(self) -> None:
        """`delete_session`, without blocking the event loop."""
        await self._database.arun(self._session.delete, _same)
        self._view.release()

    # --- about sessions ---

    def get_metadata(self) -> dict[str, Any]:
        """Return what was kept with the session."""
        return self._database.run(self._session.metadata, _same)

    async def aget_metadata(self) -> dict[str, Any]:
        """`get_metadata`, without blocking the event loop."""
        return await self._database.arun(self._session.metadata, _same)

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Keep this with the session instead of what was kept before.

        Raises:
            TypeError: If JSON cannot hold it.
        """
        text = json.dumps(dict(metadata))
        self._database.run(partial(self._session.set_metadata, text=text), _same)

    async def aset_metadata(self, metadata: Mapping[str, Any]) -> None:
        """`set_metadata`, without blocking the event loop."""
        await self._identified()
        text = json.dumps(dict(metadata))
        await self._database.arun(partial(self._session.set_metadata, text=text), _same)

    @staticmethod
    def sessions(
        connection: Connection, *, prefix: str = "tokenbuffer", schema: str | None = None
    ) -> Iterator[SessionInfo]:
        """Yield all sessions, in the order they were made, a page at a time."""
        database = Database(connection, _tables(prefix, schema), creates=True)
        after: int | None = 0
        while after is not None:
            page = partial(list_sessions, tables=database.tables, after=after)
            infos, after = database.run(page, _same)
            yield from infos

    @staticmethod
    async def asessions(
        connection: Connection, *, prefix: str = "tokenbuffer", schema: str | None = None
    ) -> AsyncIterator[SessionInfo]:
        """`sessions`, without blocking the event loop."""
        database = Database(connection, _tables(prefix, schema), creates=True)
        after: int | None = 0
        while after is not None:
            page = partial(list_sessions, tables=database.tables, after=after)
            infos, after = await database.arun(page, _same)
            for info in infos:
                yield info

    def create_tables(self) -> None:
        """Create the tables where they are missing; safe at any time and in many processes.

        Raises:
            TokenBufferError: If a newer release made them.
        """
        self._database.run(self._create, _same)

    async def acreate_tables(self) -> None:
        """`create_tables`, without blocking the event loop."""
        await self._database.arun(self._create, _same)

    def _create(self, connection: sa.Connection) -> None:
        sql_schema.create(connection, self._database.tables)

    # --- moving in ---

    def import_messages(
        self,
        source: BaseChatMessageHistory | Iterable[BaseMessage],
        *,
        name: str | None = None,
        progress: bool | Callable[[int, int], None] = True,
    ) -> int:
        """Append what another history holds; a second call goes on where the first one stopped.

        How far the import came is stored with each portion, in its transaction, under `name`. So
        an import that was interrupted, or that runs twice at once, stores nothing twice.

        Args:
            source: Any history, or messages. Of a view of ours only its window is imported: pass
                the history it wraps.
            name: What to call the source; by default its class.
            progress: Show a bar on a terminal, or call this with done and total.

        Returns:
            How many messages were imported now.
        """
        name = name or type(source).__name__
        if isinstance(source, SQLTokenBufferHistory):
            source = source.all_messages()
        messages = list(source.messages if isinstance(source, BaseChatMessageHistory) else source)
        return importing.messages(_importing(self), messages, name, progress)

    @classmethod
    def import_message_store(
        cls,
        source: Connection,
        connection: Connection,
        *,
        max_tokens: int,
        token_counter: CountedBy,
        trim_to: float = 0.6,
        oversize: Oversize = "clamp",
        prefix: str = "tokenbuffer",
        schema: str | None = None,
        table: str = "message_store",
        session_column: str = "session_id",
        name: str | None = None,
        progress: bool | Callable[[int, int], None] = True,
    ) -> int:
        """Import all sessions of a table of langchain-community's `SQLChatMessageHistory`.

        Resumable and repeatable as `import_messages` is, also while the old table still grows: a
        second call brings what came since. A row that cannot be read is logged at ERROR with its
        id and session, and left out.

        Args:
            source: Where the old table is: a path, URL or engine. It is only read.
            connection: Where the messages go, as for the constructor.
            max_tokens: As for the constructor, and so are the following up to `schema`.
            token_counter: See there.
            trim_to: See there.
            oversize: See there.
            prefix: See there.
            schema: See there.
            table: The old table's name.
            session_column: The name of its column with the session id.
            name: What to call the source in what is stored about the import; by default the names
                of its database and table. Two sources of one name are taken for one.
            progress: Show a bar on a terminal, or call this with done and total.

        Returns:
            How many messages were imported now.
        """

        def target(session_id: str) -> importing.Target:
            return _importing(
                cls(
                    session_id,
                    connection,
                    max_tokens=max_tokens,
                    token_counter=token_counter,
                    trim_to=trim_to,
                    oversize=oversize,
                    prefix=prefix,
                    schema=schema,
                )
            )

        database = Database(source, _tables(prefix, schema), creates=False)
        old = importing.OldTable(database, table, session_column)
        return importing.table(old, target, name, progress)

    def imported(self, source: str) -> int | None:
        """Return how far the import from a source came: a count of messages, or a row's id."""
        return self._database.run(partial(self._session.imported, source=source), _same)

    def _import(self, messages: Sequence[BaseMessage], imported: Imported) -> None:
        with self._reported(messages) as doubt:
            self._append(self._new(messages), imported, doubt)

    async def _identified(self) -> None:
        """Know the settings, which may need counting, before an event loop waits for them."""
        await self._database.in_thread(lambda: self._session.settings.digest)

    def __repr__(self) -> str:
        """Show the session and the settings: no address, no messages."""
        return (
            f"SQLTokenBufferHistory({self.session_id!r}, {self._database.dialect}, {self.buffer!r})"
        )


def _same(value: T) -> T:
    return value


def _importing(history: SQLTokenBufferHistory) -> importing.Target:
    return importing.Target(history.imported, history._import)  # noqa: SLF001  # our own


def _tables(prefix: object, schema: object) -> sql_schema.Tables:
    return sql_schema.tables(
        sql_schema.checked_name(prefix, "prefix"),
        None if schema is None else sql_schema.checked_name(schema, "schema"),
    )


def _bound(before: int | datetime) -> int | datetime:
    if isinstance(before, datetime):
        return before.astimezone(UTC).replace(tzinfo=None) if before.tzinfo else before
    if isinstance(before, bool) or not isinstance(before, int):
        msg = f"before must be a sequence number or a datetime, got {before!r}"
        raise TypeError(msg)
    return before
