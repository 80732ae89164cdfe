"""`SQLTokenBufferHistory`: a durable chat history whose tail is read by tokens."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from langchain_core.chat_history import BaseChatMessageHistory
from typing_extensions import override

from langchain_tokenbuffer._handlers import async_handler, sync_handler
from langchain_tokenbuffer._messages.convert import as_messages
from langchain_tokenbuffer._run_view import RunView
from langchain_tokenbuffer._sql import evictions, importing, recalling
from langchain_tokenbuffer._sql import schema as sql_schema
from langchain_tokenbuffer._sql.database import Database
from langchain_tokenbuffer._sql.handle import SessionHandle
from langchain_tokenbuffer._sql.session import Session
from langchain_tokenbuffer._sql.settings import Settings
from langchain_tokenbuffer._sql.window import PAGE
from langchain_tokenbuffer._window.settings import checked_max_tokens, checked_session_id, suggests_options
from langchain_tokenbuffer.buffer import TokenBuffer

metadata = sql_schema.metadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage, MessageLikeRepresentation

    from langchain_tokenbuffer._handlers import OnEvict
    from langchain_tokenbuffer._messages.convert import MessagesLike
    from langchain_tokenbuffer._sql.handle import Connection
    from langchain_tokenbuffer._window.budget import Oversize
    from langchain_tokenbuffer.counters import CountedBy

_ASYNC_HANDLER = "handler is a coroutine function, which aevicted awaits and evicted cannot."


class SQLTokenBufferHistory(SessionHandle, BaseChatMessageHistory):
    """A chat history in a database: everything is stored, `messages` is the window.

    Laws: `messages` is what `TokenBuffer.trim` makes of `all_messages()`, in whatever portions and by whatever
    processes these were appended; reading it is one statement, O(window), however long the session. An append is one
    transaction, all of it or nothing, in a sequence without gaps, also under many writers; a try whose answer was lost
    is found and not stored twice. A run of `RunnableWithMessageHistory` sees one stable view, as with
    `TokenBufferChatMessageHistory`. Settings that changed are noticed, and the session is computed anew, once, in one
    transaction; two settings in turns on one session pay that each time.

    Edges: messages that all carry ids and equal the session's last ones are taken for a repeat. A message that cannot
    be read is logged at ERROR with session and sequence number and left out; the others are shown. With a counter that
    is not additive the window is within budget, but may be smaller than `TokenBuffer`'s, which looks at every message.
    What purging deletes is as if it had never been; a window that is computed anew later sees what is left.

    One object serves sync and async, threads and event loops. From a path, a URL or an `Engine` async calls run in
    threads, no more than its pool has connections. An `AsyncEngine` connects as it was told to, or not at all: in the
    loop of its first async use, to which calls from other threads and loops turn. There a sync call is refused. While
    that loop does not run, calls run in a loop of the process's own and connect each time. Engines made of a URL are
    shared per process, at most 32 at once, until `close()`; after a fork they connect anew. Appends to one session wait
    for each other, first come first served, at most 30 s. A cancelled append may still be stored, never half. On SQLite
    connections wait 30 s for each other, unless told otherwise, and use WAL.

    `docs/sql.md` tells how to run it, and `metadata(prefix, schema)` of this module describes the tables. They have a
    version: at first use an older release's are brought up, or refused with `create_tables=False`, and a newer one's
    are refused with what to install. Release 0.1.0 refuses newer ones, too; with `create_tables=False` it fails for a
    missing column before anything is stored.

    Args:
        session_id: Whose conversation this is: any string.
        connection: The path of a SQLite file, a URL, an `Engine` or an `AsyncEngine`. `sqlite://` is in memory, one for
            the process.
        max_tokens: High-water mark, in tokens: a window never costs more.
        token_counter: What counts, as for `TokenBuffer`.
        trim_to: Low-water mark in (0, 1], as for `TokenBuffer`.
        oversize: `"clamp"`, `"raise"` or `"drop"`, as for `TokenBuffer`.
        pin: As for `TokenBuffer`; a message is asked about when it is appended.
        clear_results: As for `TokenBuffer`, and so is the following.
        reserve_tokens: Kept free of `max_tokens`, in tokens.
        prefix: What the names of the tables begin with.
        schema: The database schema the tables are in.
        create_tables: Create missing tables and bring up older ones at first use. Pass `False` where that is the job of
            a migration, and call `create_tables()` there.

    Raises:
        TypeError: If an argument has the wrong type; it names the argument and what to pass.
        ValueError: If a value is out of range; it names the argument and what is accepted.
        TokenBufferError: At first use, if the tables are refused.

    Example:
        ```python
        def get_session_history(session_id: str) -> BaseChatMessageHistory:
            return SQLTokenBufferHistory(session_id, "chats.db", max_tokens=4000, token_counter=model)
        ```
    """

    @suggests_options
    def __init__(
        self,
        session_id: str,
        connection: Connection,
        *,
        max_tokens: int,
        token_counter: CountedBy,
        trim_to: float = 0.6,
        oversize: Oversize = "clamp",
        pin: Callable[[BaseMessage], bool] | None = None,
        clear_results: bool = False,
        reserve_tokens: int = 0,
        prefix: str = "tokenbuffer",
        schema: str | None = None,
        create_tables: bool = True,
    ) -> None:
        """Check the arguments; connect to nothing yet."""
        super().__init__()
        self.session_id = checked_session_id(session_id)
        buffer = TokenBuffer(
            max_tokens,
            token_counter=token_counter,
            trim_to=trim_to,
            oversize=oversize,
            pin=pin,
            clear_results=clear_results,
            reserve_tokens=reserve_tokens,
        )
        tables = sql_schema.tables(prefix, schema)
        self._database = Database(connection, tables, creates=create_tables)
        self._session = Session(tables, session_id, Settings(buffer))
        self._view = RunView(self)

    @property
    def buffer(self) -> TokenBuffer:
        """What windows are decided by. Changing its settings is as passing others to the constructor."""
        return self._session.buffer

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # read-only, as in the base's own implementations
        """The window, as a new list.

        Raises:
            TokenBudgetError: If what must stay does not fit and `oversize` cannot make it fit.
        """
        if (fixed := self._view.fixed()) is not None:
            return fixed
        session = self._session
        window = self._database.read(session.read_window)
        if window is not None and session.is_outdated(window.settings):
            window = self._write(Session.refresh_window)
        return self._view.fix(session.show(window))

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        """`messages`, without blocking the event loop."""
        if (fixed := self._view.fixed()) is not None:
            return fixed
        session = self._session
        window = await self._aread(session.read_window)
        if window is not None and session.is_outdated(window.settings):
            window = await self._awrite(Session.refresh_window)
        return self._view.fix(await self._database.in_thread(session.show, window))

    # --- writing ---

    @override
    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages: one transaction, in order, all or none.

        What is transient (locks, timeouts, serialization failures, lost connections) is tried again a few times with
        the same key. What fails for good is logged at ERROR, without its texts, and raised with a note on what was
        stored.
        """
        messages = list(messages)  # whatever can be iterated over, once
        try:
            with self._session.logging_loss(messages):
                new = self._session.new_messages(messages)
                self._write(Session.append, new, uuid.uuid4().hex)
        finally:
            self._view.release()

    @override
    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """`add_messages`, without blocking the event loop."""
        messages = list(messages)  # whatever can be iterated over, once
        try:
            with self._session.logging_loss(messages):
                new = await self._database.in_thread(self._session.new_messages, messages)
                await self._awrite(Session.append, new, uuid.uuid4().hex)
        finally:
            self._view.release()

    @override
    def clear(self) -> None:
        """Delete the session's messages. The session stays, and its sequence goes on."""
        self._write_all(Session.clear)
        self._view.release()

    @override
    async def aclear(self) -> None:
        """`clear`, without blocking the event loop."""
        await self._awrite_all(Session.clear)
        self._view.release()

    def all_messages(self) -> list[BaseMessage]:
        """Return everything that is stored of the session, oldest first."""
        return list(self.iter_messages())

    async def aall_messages(self) -> list[BaseMessage]:
        """`all_messages`, without blocking the event loop."""
        return [message async for message in self.aiter_messages()]

    def iter_messages(self, page_size: int = PAGE) -> Iterator[BaseMessage]:
        """Yield everything that is stored of the session, oldest first, a page at a time."""
        after = -1
        while rows := self._database.read(self._session.read_page, after, page_size):
            after = rows[-1].seq
            yield from self._session.messages_of(rows)

    async def aiter_messages(self, page_size: int = PAGE) -> AsyncIterator[BaseMessage]:
        """`iter_messages`, without blocking the event loop."""
        after = -1
        while rows := await self._aread(self._session.read_page, after, page_size):
            after = rows[-1].seq
            for message in await self._database.in_thread(self._session.messages_of, rows):
                yield message

    def evicted(self, handler: OnEvict, *, batch_size: int = PAGE) -> int:
        """Hand over what left the window since the last time, oldest first.

        Law: every message that left is handed over at least once, and not again after the handler returned; if it
        raises, the same messages come again. From the first call on purging keeps what was not handed over.

        Edges: several consumers at once lose nothing, but may get the same messages. What came back into the window,
        because the settings changed, is handed over again when it leaves again. A message that cannot be read is passed
        over, and logged.

        Args:
            handler: Called with a list of messages, outside any transaction.
            batch_size: The most messages of one call.

        Returns:
            How many messages were handed over.

        Raises:
            TypeError: If the handler is a coroutine function; nothing is acknowledged.
        """
        deliver, count = sync_handler(handler, _ASYNC_HANDLER), 0
        while batch := self._write(evictions.pending, batch_size):
            messages = self._session.messages_of(batch.rows)
            deliver(messages)
            self._write(evictions.acknowledge, batch)
            count += len(messages)
        return count

    async def aevicted(self, handler: OnEvict, *, batch_size: int = PAGE) -> int:
        """`evicted`, without blocking the event loop; awaits the handler if need be."""
        deliver, count = async_handler(handler), 0
        while batch := await self._awrite(evictions.pending, batch_size):
            messages = await self._database.in_thread(self._session.messages_of, batch.rows)
            await deliver(messages)
            await self._awrite(evictions.acknowledge, batch)
            count += len(messages)
        return count

    # --- recall ---

    def recall(self, question: str | BaseMessage, max_tokens: int) -> list[Document]:
        """Return passages of what left the window that match a question, the oldest first.

        Laws: what is found is a function of the session's messages, the settings and the question; other sessions have
        no part in it. Together the passages cost at most `max_tokens` as they stand in a quotation. However long the
        session is, the same few postings are read, and the messages that are shown.

        Edges: the first call stores the terms of what left before, in portions that may be interrupted and go on; from
        then on an append stores those of what it makes leave. A question of fewer than two terms takes those of the
        one before it in the window, too. A message that cannot be read is passed over, and logged. Where `messages`
        would raise for its budget nothing is found.

        Args:
            question: A text, or a message.
            max_tokens: The most the passages may cost, in tokens.

        Returns:
            Documents with the text of a passage as `page_content` and as `metadata` its message's `type` and sequence
            number (`message`), the number of the `passage` in it, and the `score`; passages that follow each other are
            one.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If `max_tokens` is less than 1.
        """
        most = checked_max_tokens(max_tokens)
        terms = recalling.terms_of_question(self._database, self._session, question)
        found = recalling.recall(self._database, self._session, terms, most)
        return [match.document() for match in found]

    async def arecall(self, question: str | BaseMessage, max_tokens: int) -> list[Document]:
        """`recall`, without blocking the event loop."""
        most = checked_max_tokens(max_tokens)
        await self._digest()
        terms = await recalling.aterms_of_question(self._database, self._session, question)
        found = await recalling.arecall(self._database, self._session, terms, most)
        return [match.document() for match in found]

    # --- retention ---

    def delete_before(self, before: int | datetime, *, limit: int = 10_000) -> int:
        """Delete the oldest messages for good; never one that is in the window.

        Oldest first, in transactions of at most 1000. Once `evicted` was used, only what was handed over and
        acknowledged.

        Args:
            before: What left the window before this goes: a sequence number (the first message ever appended has 0), or
                a time; one without a time zone is UTC.
            limit: The most messages one call deletes; call again until it returns 0.

        Returns:
            How many messages were deleted.
        """
        bound, deleted = evictions.checked_bound(before), 0
        while size := max(0, min(PAGE, limit - deleted)):
            count = self._write(evictions.purge, bound, size)
            deleted += count
            if count < size:
                break
        return deleted

    async def adelete_before(self, before: int | datetime, *, limit: int = 10_000) -> int:
        """`delete_before`, without blocking the event loop."""
        bound, deleted = evictions.checked_bound(before), 0
        while size := max(0, min(PAGE, limit - deleted)):
            count = await self._awrite(evictions.purge, bound, size)
            deleted += count
            if count < size:
                break
        return deleted

    def delete_session(self) -> None:
        """Delete the session with its messages and metadata."""
        self._write_all(Session.delete)
        self._view.release()

    async def adelete_session(self) -> None:
        """`delete_session`, without blocking the event loop."""
        await self._awrite_all(Session.delete)
        self._view.release()

    def import_messages(
        self,
        source: BaseChatMessageHistory | MessagesLike | Iterable[MessageLikeRepresentation],
        *,
        name: str | None = None,
        progress: bool | Callable[[int, int], None] = True,
    ) -> int:
        """Append what another history holds; a second call goes on where the first one stopped.

        How far it came is stored with each portion, in its transaction, under `name`. So an import that was
        interrupted, or that runs twice at once, stores nothing twice. With it goes a fingerprint of what was imported:
        a source that is another one, was filled anew or has lost messages is refused.

        Args:
            source: Any history, or messages: of a LangGraph thread `graph.get_state(config).values["messages"]`. Of a
                view of ours only its window is imported: pass the history it wraps.
            name: What to call the source, for example a thread's id; by default its class.
            progress: Show a bar on a terminal, or call this with done and total.

        Returns:
            How many messages were imported now.

        Raises:
            ValueError: If what was imported under that name is not what the source begins with.
        """
        name = name or type(source).__name__
        if isinstance(source, SQLTokenBufferHistory):
            source = source.all_messages()
        messages = as_messages(source.messages if isinstance(source, BaseChatMessageHistory) else source)
        pages = importing.list_pages(messages, self.session_id)
        show = importing.progress_shower(len(messages), progress)
        return importing.import_pages(pages, self._database, self._session, name, show)

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
        """Import all sessions of a table of langchain-community's or langchain-postgres' message history.

        Resumable and repeatable as `import_messages` is, also while the old table still grows: a second call brings
        what came since. A row that cannot be read is logged at ERROR with its id and session, and left out. Sessions
        are called by their id as a string, also where the table has it as a UUID.

        Args:
            source: Where the old table is: a path, URL or engine. It is only read. While it is imported from, the rows
                of a session must stay as they are, or all go.
            connection: Where the messages go, as for the constructor.
            max_tokens: As for the constructor, and so are the following up to `schema`.
            token_counter: See there.
            trim_to: See there.
            oversize: See there.
            prefix: See there.
            schema: See there.
            table: The old table's name.
            session_column: The name of its column with the session id.
            name: What to call the source in what is stored about the import; by default the names of its database and
                table. Two sources of one name are taken for one.
            progress: Show a bar on a terminal, or call this with done and total.

        Returns:
            How many messages were imported now.

        Raises:
            ValueError: If of a session rows that were imported have changed or are not there any more.
        """
        old = importing.OldTable(Database(source, None, creates=False), table, session_column)
        tables = sql_schema.tables(prefix, schema)
        buffer = TokenBuffer(max_tokens, token_counter=token_counter, trim_to=trim_to, oversize=oversize)
        like, database = Session(tables, "", Settings(buffer)), Database(connection, tables, creates=True)
        show = importing.progress_shower(old.count(), progress)
        return importing.import_pages(old.pages(), database, like, name or old.name, show)

    def __repr__(self) -> str:
        """Show the session and the settings: no address, no messages."""
        return f"SQLTokenBufferHistory({self.session_id!r}, {self._database.dialect.name}, {self.buffer!r})"
