"""One run, one stable view of a history.

`RunnableWithMessageHistory` reads a history when a run begins, and when it ends reads it again to
slice the new messages off by *length*. A history that changed meanwhile, because another run wrote
or because a window moved, loses or repeats messages. So inside such a run the first read fixes
what is seen, until the run has written.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.runnables.config import var_child_runnable_config
from tenacity import (
    AsyncRetrying,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

logger = logging.getLogger(__name__)


class RunView:
    """What the run that goes on sees of a history; outside such a run nothing is held."""

    def __init__(self, history: BaseChatMessageHistory) -> None:
        self._history = history
        self._messages: list[BaseMessage] | None = None

    def held(self) -> list[BaseMessage] | None:
        """Return what this run has read before, as a new list; `None` if it has to be read."""
        if self._messages is None or not self._is_inside():
            return None
        return list(self._messages)

    def hold(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        """Keep what was read, if inside a run, and return it as a new list."""
        if self._is_inside():
            self._messages = messages
        return list(messages)

    def release(self) -> None:
        """Let the next read be live again."""
        self._messages = None

    def _is_inside(self) -> bool:
        config = var_child_runnable_config.get()
        inside = (config or {}).get("configurable", {}).get("message_history")
        return inside is self._history


def _may_pass(error: BaseException) -> bool:
    """Tell whether trying again may help: not for bad input, and never for a cancellation."""
    return isinstance(error, Exception) and not isinstance(error, (TypeError, ValueError))


_RETRIES = {
    "stop": stop_after_attempt(3),
    "wait": wait_random_exponential(multiplier=0.05, max=1),
    "retry": retry_if_exception(_may_pass),
    "reraise": True,
}


def write(history: BaseChatMessageHistory, messages: Sequence[BaseMessage]) -> None:
    """Write messages; a failed write is tried again, then logged and raised.

    `RunnableWithMessageHistory` swallows what a write raises, so without the log a lost turn would
    go unnoticed. A history that stores messages one by one is retried one by one, so that none is
    stored twice.
    """
    stored = 0
    try:
        for part in _parts(history, messages):
            for attempt in Retrying(**_RETRIES):  # type: ignore[arg-type]  # a table of options
                with attempt:
                    history.add_messages(part)
            stored += len(part)
    except Exception as error:
        _log(error, history, stored, len(messages))
        raise


async def awrite(history: BaseChatMessageHistory, messages: Sequence[BaseMessage]) -> None:
    """`write`, with the history's own async writing."""
    stored = 0
    try:
        for part in _parts(history, messages, is_async=True):
            async for attempt in AsyncRetrying(**_RETRIES):  # type: ignore[arg-type]
                with attempt:
                    await history.aadd_messages(part)
            stored += len(part)
    except Exception as error:
        _log(error, history, stored, len(messages))
        raise


def _parts(
    history: BaseChatMessageHistory, messages: Sequence[BaseMessage], *, is_async: bool = False
) -> list[list[BaseMessage]]:
    """Return what is written at once: everything, or single messages where the history does so."""
    kind, base = type(history), BaseChatMessageHistory
    one_by_one = kind.add_messages is base.add_messages and not (
        is_async and kind.aadd_messages is not base.aadd_messages
    )
    return [[message] for message in messages] if one_by_one else [list(messages)]


def _log(error: Exception, history: BaseChatMessageHistory, stored: int, count: int) -> None:
    session = getattr(history, "session_id", None)
    # The error's kind only: its text may quote the messages.
    msg = "Could not store %d of %d messages of session %r: %s"
    logger.error(msg, count - stored, count, session, type(error).__name__)
