"""`TokenBufferChatMessageHistory`: a windowed view over any chat history."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.runnables.config import run_in_executor
from typing_extensions import override

from langchain_tokenbuffer._gates import Gates
from langchain_tokenbuffer._recall.recalling import LeftMessages
from langchain_tokenbuffer._run_view import RunView
from langchain_tokenbuffer._window.billing import Billing
from langchain_tokenbuffer._window.conversation import ConversationTokens
from langchain_tokenbuffer._window.settings import checked_max_tokens, suggests_options
from langchain_tokenbuffer.buffer import TokenBuffer, budget_of, meter_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence

    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._window.budget import Oversize
    from langchain_tokenbuffer.counters import CountedBy

logger = logging.getLogger(__name__)

_sessions = Gates()
_left = LeftMessages()  # of all sessions of the process: a view lives for one run
_WAIT = 30.0  # seconds that is waited for another who reads or writes the same session; then it is done all the same
_NAMES = ("session_id", "_session_id", "file_path")
"""Where LangChain's histories have what their session is known by. Two objects with the same are one session."""


class TokenBufferChatMessageHistory(BaseChatMessageHistory):
    """Shows the window of any chat history; writes through and deletes nothing.

    Law: `messages` is the window of `TokenBuffer` over what the history holds, as a new list each time. Inside a run of
    `RunnableWithMessageHistory` the first read fixes what the run sees, and the run's own write (or `clear`) releases
    it. Everywhere else, also as a memory's `chat_memory=`, every read is live. Within a process one session is read and
    written by one at a time, so concurrent runs on it lose, repeat and tear nothing.

    Edges: between processes that is as safe as the history is (`docs/histories.md` lists LangChain's): what stores each
    message by itself may have another's turn in the middle of one, and what writes a whole file may lose one. A view
    belongs to one run, so `get_session_history` must return a **new** wrapper each time (wrapping the same stored
    history). One instance shared by concurrent runs is safe only with `history_messages_key`, otherwise it loses
    messages and logs a warning, and after a run that failed it shows that run's view until the next write. A write
    never raises for reasons of budget. A turn is written at once where the history has `add_messages`. Each message
    is written once: a write that fails is logged at ERROR with session and message counts and raised
    (`RunnableWithMessageHistory` swallows it), and never tried again, since a store that only lost its answer holds the
    messages.

    Args:
        history: Where the messages are: any `BaseChatMessageHistory`.
        max_tokens: High-water mark, in tokens: a window never costs more.
        token_counter: What counts, as for `TokenBuffer`.
        trim_to: Low-water mark in (0, 1], as for `TokenBuffer`.
        oversize: `"clamp"`, `"raise"` or `"drop"`, as for `TokenBuffer`.
        pin: Tells which messages stay, as for `TokenBuffer`.
        clear_results: Whether results of old steps are cleared before whole steps leave, as for `TokenBuffer`.
        reserve_tokens: Kept free of `max_tokens`, in tokens.

    Raises:
        TypeError: If an argument has the wrong type; it names the argument.
        ValueError: If a value is out of range; it names the argument and what is accepted.

    Example:
        ```python
        def get_session_history(session_id: str) -> BaseChatMessageHistory:
            return TokenBufferChatMessageHistory(
                RedisChatMessageHistory(session_id), max_tokens=4000, token_counter=model
            )
        ```
    """

    @suggests_options
    def __init__(
        self,
        history: BaseChatMessageHistory,
        *,
        max_tokens: int,
        token_counter: CountedBy,
        trim_to: float = 0.6,
        oversize: Oversize = "clamp",
        pin: Callable[[BaseMessage], bool] | None = None,
        clear_results: bool = False,
        reserve_tokens: int = 0,
    ) -> None:
        """Wrap the history; read nothing yet."""
        super().__init__()
        if not isinstance(history, BaseChatMessageHistory):
            msg = f"history must be a BaseChatMessageHistory, got {history!r}"
            raise TypeError(msg)
        self.history = history
        self.buffer = TokenBuffer(
            max_tokens,
            token_counter=token_counter,
            trim_to=trim_to,
            oversize=oversize,
            pin=pin,
            clear_results=clear_results,
            reserve_tokens=reserve_tokens,
        )
        self._view = RunView(self)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # read-only, as in the base's own implementations
        """The window, as a new list.

        Raises:
            TokenBudgetError: If what must stay does not fit and `oversize` cannot make it fit.
        """
        if (fixed := self._view.fixed()) is not None:
            return fixed
        with self._alone():
            messages = self.history.messages
        return self._view.fix(self.buffer.trim(messages))

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        """`messages`, with the history's own async reading."""
        if (fixed := self._view.fixed()) is not None:
            return fixed
        async with self._aalone():
            messages = await self.history.aget_messages()
        return self._view.fix(await self.buffer.atrim(messages))

    def recall(self, question: str | BaseMessage, max_tokens: int) -> list[Document]:
        """Return passages of messages that left the window, as far as they match a question.

        A `TokenBuffer` in a chain with `recall_tokens` asks for them, and quotes them.

        Args:
            question: What is asked, in words that the messages may have, too.
            max_tokens: What the passages may cost when they are quoted, in tokens.

        Returns:
            The best that fit, oldest first: the passage in `page_content`; in `metadata` the kind of its message
            (`type`), the place of that in the history (`message`), its own place in it (`passage`), and its `score`.
            Passages that follow each other are one.
        """
        checked_max_tokens(max_tokens)
        with self._alone():
            messages = self.history.messages
        return self._recalled(messages, question, max_tokens)

    async def arecall(self, question: str | BaseMessage, max_tokens: int) -> list[Document]:
        """`recall`, with the history's own async reading."""
        checked_max_tokens(max_tokens)
        async with self._aalone():
            messages = await self.history.aget_messages()
        return await run_in_executor(None, self._recalled, messages, question, max_tokens)

    def _recalled(self, messages: list[BaseMessage], question: str | BaseMessage, max_tokens: int) -> list[Document]:
        conversation = ConversationTokens(messages, meter_of(self.buffer))
        return _left.documents(conversation, Billing(budget_of(self.buffer)), question, max_tokens)

    @override
    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Write through."""
        with self._alone(), self._writing(messages, "add_messages") as waiting:
            while waiting:
                self.history.add_messages(waiting[0])
                del waiting[0]

    @override
    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """`add_messages`, with the history's own async writing."""
        async with self._aalone():
            with self._writing(messages, "add_messages", "aadd_messages") as waiting:
                while waiting:
                    await self.history.aadd_messages(waiting[0])
                    del waiting[0]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only one in the process that reads or writes the session."""
        with ExitStack() as stack:
            try:
                stack.enter_context(_sessions.hold(self._session(), _WAIT))
            except TimeoutError as error:
                logger.warning("%s Done all the same.", error)
            yield

    @asynccontextmanager
    async def _aalone(self) -> AsyncIterator[None]:
        """`_alone`, without blocking the event loop."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(_sessions.ahold(self._session(), _WAIT))
            except TimeoutError as error:
                logger.warning("%s Done all the same.", error)
            yield

    def _session(self) -> Hashable:
        """Return what is the same for all views of one session."""
        history = self.history
        names = (getattr(history, name, None) for name in _NAMES)
        return type(history), next((str(name) for name in names if name is not None), id(history))

    @contextmanager
    def _writing(self, messages: Sequence[BaseMessage], *ways: str) -> Iterator[list[list[BaseMessage]]]:
        """Yield what is written at once: all, or single messages if the history does so anyway.

        By itself such a history would not say how far it came. What was written is to be deleted from the list.
        """
        messages = list(messages)  # whatever can be iterated over, once
        kind, base = type(self.history), BaseChatMessageHistory
        one_by_one = all(getattr(kind, way) is getattr(base, way) for way in ways)
        waiting = [[each] for each in messages] if one_by_one else [messages]
        try:
            yield waiting
        except Exception as error:
            lost, session_id = sum(map(len, waiting)), getattr(self.history, "session_id", None)
            what = "Could not store %d of %d messages of session %r: %s. Not tried again."
            # The error's kind only: its text may quote the messages.
            logger.error(what, lost, len(messages), session_id, type(error).__name__)  # noqa: TRY400
            raise
        finally:
            self._view.release()

    @override
    def clear(self) -> None:
        """Clear the history."""
        self.history.clear()
        self._view.release()

    @override
    async def aclear(self) -> None:
        """`clear`, with the history's own async clearing."""
        await self.history.aclear()
        self._view.release()

    def __repr__(self) -> str:
        """Show the settings, no messages."""
        return f"TokenBufferChatMessageHistory({type(self.history).__name__}, {self.buffer!r})"
