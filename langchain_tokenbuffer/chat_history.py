"""`TokenBufferChatMessageHistory`: a windowed view over any chat history."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from langchain_core.chat_history import BaseChatMessageHistory
from typing_extensions import override

from langchain_tokenbuffer._run_view import RunView
from langchain_tokenbuffer.buffer import TokenBuffer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._window.budget import Oversize
    from langchain_tokenbuffer.counters import CountedBy

logger = logging.getLogger(__name__)


class TokenBufferChatMessageHistory(BaseChatMessageHistory):
    """Shows the window of any chat history; writes through and deletes nothing.

    Law: `messages` is the window of `TokenBuffer` over what the history holds, as a new list each time. Inside a run of
    `RunnableWithMessageHistory` the first read fixes what the run sees, and the run's own write (or `clear`) releases
    it, so concurrent runs on one session lose and repeat nothing. Everywhere else, also as a memory's `chat_memory=`,
    every read is live.

    Edge: a view belongs to one run, so `get_session_history` must return a **new** wrapper each time (wrapping the same
    stored history). One instance shared by concurrent runs is safe only with `history_messages_key`, and after a run
    that failed it shows that run's view until the next write. A write never raises for reasons of budget. Each message
    is written once: a write that fails is logged at ERROR with session and message counts and raised
    (`RunnableWithMessageHistory` swallows it), and never tried again, since a store that only lost its answer holds the
    messages.

    Args:
        history: Where the messages are: any `BaseChatMessageHistory`.
        max_tokens: High-water mark, in tokens: a window never costs more.
        token_counter: What counts, as for `TokenBuffer`.
        trim_to: Low-water mark in (0, 1], as for `TokenBuffer`.
        oversize: `"clamp"`, `"raise"` or `"drop"`, as for `TokenBuffer`.
        clear_results: Whether results of old steps are cleared before whole steps leave, as for `TokenBuffer`.

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

    def __init__(
        self,
        history: BaseChatMessageHistory,
        *,
        max_tokens: int,
        token_counter: CountedBy,
        trim_to: float = 0.6,
        oversize: Oversize = "clamp",
        clear_results: bool = False,
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
            clear_results=clear_results,
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
        return self._view.fix(self.buffer.trim(self.history.messages))

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        """`messages`, with the history's own async reading."""
        if (fixed := self._view.fixed()) is not None:
            return fixed
        return self._view.fix(await self.buffer.atrim(await self.history.aget_messages()))

    @override
    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Write through."""
        with self._writing(messages, "add_messages") as waiting:
            while waiting:
                self.history.add_messages(waiting[0])
                del waiting[0]

    @override
    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """`add_messages`, with the history's own async writing."""
        with self._writing(messages, "add_messages", "aadd_messages") as waiting:
            while waiting:
                await self.history.aadd_messages(waiting[0])
                del waiting[0]

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
