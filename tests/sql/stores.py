"""Histories of others, and what processes write into them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import sqlalchemy as sa
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from sqlalchemy.ext.asyncio import create_async_engine

from langchain_tokenbuffer import TokenBufferChatMessageHistory
from tests.builders import count_words

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # langchain-community says that it is at its end
    from langchain_community.chat_message_histories import (
        FileChatMessageHistory,
        PostgresChatMessageHistory,
        RedisChatMessageHistory,
        SQLChatMessageHistory,
    )

if TYPE_CHECKING:
    from langchain_core.chat_history import BaseChatMessageHistory

in_memory: dict[str, InMemoryChatMessageHistory] = {}


def history_in(kind: str, where: str, session_id: str) -> BaseChatMessageHistory:
    """Return a new history of a kind; `where` is a URL or a folder, and a session is a table or a file of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "redis":
            return RedisChatMessageHistory(session_id, where)
        if kind == "sql":
            engine = sa.create_engine(where, poolclass=sa.NullPool)
            return SQLChatMessageHistory(session_id, table_name=f"t{session_id[:12]}", connection=engine)
        if kind == "async sql":
            driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
            url = sa.make_url(where)
            made = create_async_engine(url.set(drivername=driver[url.get_backend_name()]), poolclass=sa.NullPool)
            return SQLChatMessageHistory(session_id, table_name=f"t{session_id[:12]}", connection=made)
        if kind == "postgres":
            plain = sa.make_url(where).set(drivername="postgresql").render_as_string(hide_password=False)
            return PostgresChatMessageHistory(session_id, plain, f"t{session_id[:12]}")
        if kind == "file":
            return FileChatMessageHistory(f"{where}/{session_id}.json")
    return in_memory.setdefault(session_id, InMemoryChatMessageHistory())


def view(history: BaseChatMessageHistory) -> TokenBufferChatMessageHistory:
    return TokenBufferChatMessageHistory(history, max_tokens=60, token_counter=count_words)


def step_turn(name: str) -> list[BaseMessage]:
    """Return a turn with a tool's result: a step that must stay together."""
    call = {"name": "look", "args": {}, "id": name}
    return [
        HumanMessage(f"{name} question"),
        AIMessage(f"{name} call", tool_calls=[call]),
        ToolMessage(f"{name} result", tool_call_id=name),
        AIMessage(f"{name} answer"),
    ]


def write_turns(kind: str, where: str, session_id: str, name: str, count: int) -> None:
    """Write turns through new views, as runs of a process do."""
    for n in range(count):
        history = history_in(kind, where, session_id)
        view(history).add_messages(step_turn(f"{name}{n}"))
        close(history)


def close(history: BaseChatMessageHistory) -> None:
    """End the connection that some keep."""
    if isinstance(history, PostgresChatMessageHistory):
        history.connection.close()
    if isinstance(history, RedisChatMessageHistory):
        history.redis_client.close()
