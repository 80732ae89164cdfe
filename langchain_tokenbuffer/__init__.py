"""Short-term memory for LangChain that fits a token budget.

Counted exactly, cut safely, cheap to cache, with the same answer on every LangChain surface.
Importing the package imports no LangChain: every name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_tokenbuffer._window import Window
    from langchain_tokenbuffer.buffer import TokenBuffer
    from langchain_tokenbuffer.chat_history import TokenBufferChatMessageHistory
    from langchain_tokenbuffer.counters import TokenCounter
    from langchain_tokenbuffer.errors import TokenBudgetError, TokenBufferError
    from langchain_tokenbuffer.memory import ConversationTokenBufferMemory

__version__ = "0.1.0"

__all__ = [
    "ConversationTokenBufferMemory",
    "TokenBudgetError",
    "TokenBuffer",
    "TokenBufferChatMessageHistory",
    "TokenBufferError",
    "TokenCounter",
    "Window",
]

_HOMES = {
    "ConversationTokenBufferMemory": "memory",
    "TokenBudgetError": "errors",
    "TokenBuffer": "buffer",
    "TokenBufferChatMessageHistory": "chat_history",
    "TokenBufferError": "errors",
    "TokenCounter": "counters",
    "Window": "_window",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
