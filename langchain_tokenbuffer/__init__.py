"""Short-term memory for LangChain that fits a token budget.

Counted exactly, cut safely, cheap to cache, with the same answer on every LangChain surface. Importing the package
imports no LangChain: every name is loaded when it is first used, and one whose extra is not installed is a stand-in
that says what to install when it is constructed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from langchain_tokenbuffer._window.budget import Window
    from langchain_tokenbuffer.buffer import TokenBuffer
    from langchain_tokenbuffer.chat_history import TokenBufferChatMessageHistory
    from langchain_tokenbuffer.counters import TokenCounter
    from langchain_tokenbuffer.errors import TokenBudgetError, TokenBufferError
    from langchain_tokenbuffer.memory import ConversationTokenBufferMemory
    from langchain_tokenbuffer.middleware import TokenBufferMiddleware
    from langchain_tokenbuffer.order import Violation, repair, validate
    from langchain_tokenbuffer.recall import recall_tool
    from langchain_tokenbuffer.sql import SQLTokenBufferHistory

__version__ = "0.2.0"

__all__ = [
    "ConversationTokenBufferMemory",
    "SQLTokenBufferHistory",
    "TokenBudgetError",
    "TokenBuffer",
    "TokenBufferChatMessageHistory",
    "TokenBufferError",
    "TokenBufferMiddleware",
    "TokenCounter",
    "Violation",
    "Window",
    "recall_tool",
    "repair",
    "validate",
]

_HOMES = {
    "ConversationTokenBufferMemory": "memory",
    "SQLTokenBufferHistory": "sql",
    "TokenBudgetError": "errors",
    "TokenBuffer": "buffer",
    "TokenBufferChatMessageHistory": "chat_history",
    "TokenBufferError": "errors",
    "TokenBufferMiddleware": "middleware",
    "TokenCounter": "counters",
    "Violation": "order",
    "Window": "_window.budget",
    "recall_tool": "recall",
    "repair": "order",
    "validate": "order",
}
_EXTRAS = {"middleware": "agents", "sql": "sql"}
"""Module to the extra that brings what it needs."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    home = _HOMES[name]
    try:
        value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    except ImportError as error:
        if home not in _EXTRAS:
            raise
        value = _stand_in(name, _EXTRAS[home], error)
    globals()[name] = value
    return value


def _stand_in(name: str, extra: str, error: ImportError) -> type:
    """Return a class that can be imported, documented and pickled, and not constructed."""
    how = f'{name} needs an extra: pip install "langchain-tokenbuffer[{extra}]"'

    def refuse(*_: object, **__: object) -> NoReturn:
        msg = f"{how} ({error})"
        raise ImportError(msg) from error

    members = {"__doc__": how, "__module__": __name__, "__qualname__": name, "__new__": refuse}
    return type(name, (), members)


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
