"""Which messages were handed over: within a process each is only once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeAlias

from langchain_core.runnables.config import ensure_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_core.messages import BaseMessage

_REMEMBERED = 50_000
"""Messages; about 5 MB. What was forgotten and is still in a state is handed over again."""

_Name: TypeAlias = tuple[object, str | None, int]


class HandedOver:
    """The messages that were handed over, in all threads of the running graphs; after a restart none."""

    def __init__(self) -> None:
        self._names: dict[_Name, None] = {}
        self._lock = threading.Lock()

    def among(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return those of the messages that were."""
        with self._lock:
            return [message for message, name in self._named(messages) if name in self._names]

    def add(self, messages: Sequence[BaseMessage]) -> None:
        with self._lock:
            self._names.update((name, None) for _, name in self._named(messages))
            while len(self._names) > _REMEMBERED:
                del self._names[next(iter(self._names))]

    @staticmethod
    def _named(messages: Sequence[BaseMessage]) -> Iterable[tuple[BaseMessage, _Name]]:
        """Ids are only unique where LangGraph made them, so the thread and the content are part of the name."""
        thread = ensure_config()["configurable"].get("thread_id") if messages else None
        return [(message, (thread, message.id, hash(str(message.content)))) for message in messages]
