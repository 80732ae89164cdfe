"""One run, one stable view of a history.

`RunnableWithMessageHistory` reads a history when a run begins, and when it ends reads it again to slice the new
messages off by *length*. A history that changed meanwhile, because another run wrote or because a window moved, loses
or repeats messages. So inside such a run the first read fixes what is seen, until the run has written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.runnables.config import var_child_runnable_config

if TYPE_CHECKING:
    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.messages import BaseMessage


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
