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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

logger = logging.getLogger(__name__)


class RunView:
    """What the present run sees of a history; outside of runs nothing is fixed."""

    def __init__(self, history: BaseChatMessageHistory) -> None:
        self._history = history
        self._messages: list[BaseMessage] | None = None

    def fixed(self) -> list[BaseMessage] | None:
        """Return what this run has read before, as a new list; `None` if it has to be read."""
        if self._messages is None or not self._is_inside():
            return None
        return list(self._messages)

    def fix(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        """Fix what was read, if inside a run, and return it as a new list."""
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


def write(history: BaseChatMessageHistory, messages: Sequence[BaseMessage]) -> None:
    """Write messages once; a write that fails is logged and raised.

    It is not tried again: a store that lost its answer may hold the messages, and would hold them
    twice. `RunnableWithMessageHistory` swallows what a write raises, so without the log a lost
    turn would go unnoticed.
    """
    stored = 0
    try:
        for part in _parts(history, messages):
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
            await history.aadd_messages(part)
            stored += len(part)
    except Exception as error:
        _log(error, history, stored, len(messages))
        raise


def _parts(
    history: BaseChatMessageHistory, messages: Sequence[BaseMessage], *, is_async: bool = False
) -> list[list[BaseMessage]]:
    """Return what is written at once: everything, or single messages where the history does so.

    Such a history would do the same by itself, but not say how far it came.
    """
    kind, base = type(history), BaseChatMessageHistory
    one_by_one = kind.add_messages is base.add_messages and not (
        is_async and kind.aadd_messages is not base.aadd_messages
    )
    return [[message] for message in messages] if one_by_one else [list(messages)]


def _log(error: Exception, history: BaseChatMessageHistory, stored: int, count: int) -> None:
    # The error's kind only: its text may quote the messages.
    logger.error(
        "Could not store %d of %d messages of session %r: %s. Not tried again.",
        count - stored,
        count,
        getattr(history, "session_id", None),
        type(error).__name__,
    )
