"""One run, one stable view of a history.

`RunnableWithMessageHistory` reads a history when a run begins, and when it ends reads it again to slice the new
messages off by *length*. A history that changed meanwhile, because another run wrote or because a window moved, loses
or repeats messages. So inside such a run the first read fixes what is seen, until the run has written.

Nothing of a run is the same at its beginning and at its end but its history, so a view is a history's. One that serves
several runs at once cannot tell which of them reads; that is noticed when one of them writes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from langchain_core.runnables.config import var_child_runnable_config

if TYPE_CHECKING:
    from uuid import UUID

    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig

logger = logging.getLogger(__name__)

_SHARED = (
    "One %s of session %r serves several runs of RunnableWithMessageHistory at once: messages get lost. Let "
    "get_session_history return a new one each time."
)


class RunView:
    """What the present run sees of a history; outside of runs nothing is fixed."""

    def __init__(self, history: BaseChatMessageHistory) -> None:
        self._history = history
        self._messages: list[BaseMessage] | None = None
        self._readers: set[UUID | None] = set()  # a run reads as one at its beginning, as another at its end
        self._has_warned = False

    def fixed(self) -> list[BaseMessage] | None:
        """Return what this run has read before, as a new list; `None` if it has to be read."""
        if self._messages is None or (config := self._config()) is None:
            return None
        self._readers.add(_reader(config))
        return list(self._messages)

    def fix(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        """Fix what was read, if inside a run, and return it as a new list."""
        if (config := self._config()) is not None:
            self._messages = messages
            self._readers.add(_reader(config))
        return list(messages)

    def release(self) -> None:
        """Let the next read be live again."""
        config = self._config()
        if config is not None and (writer := _reader(config)) in self._readers:
            # Who writes as it has read has sliced. Its beginning is one other reader; more are other runs'.
            self._warn_if(len(self._readers - {writer}) > 1)
        self._messages, self._readers = None, set()

    def _warn_if(self, is_shared: bool) -> None:  # noqa: FBT001
        if is_shared and not self._has_warned:
            self._has_warned = True
            history = self._history
            logger.warning(_SHARED, type(history).__name__, getattr(history, "session_id", None))

    def _config(self) -> RunnableConfig | None:
        """Return what the present run is configured with, if it is a run over this history."""
        config = var_child_runnable_config.get()
        inside = (config or {}).get("configurable", {}).get("message_history")
        return config if inside is self._history else None


def _reader(config: RunnableConfig) -> UUID | None:
    """Return which step of a run this is."""
    return getattr(config.get("callbacks"), "parent_run_id", None)
