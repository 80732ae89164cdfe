"""The public API as a user's type checker sees it; `make type` is what checks this file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate

import langchain_tokenbuffer
from langchain_tokenbuffer import (
    ConversationTokenBufferMemory,
    SQLTokenBufferHistory,
    TokenBudgetError,
    TokenBuffer,
    TokenBufferChatMessageHistory,
    TokenBufferError,
    TokenBufferMiddleware,
    TokenCounter,
    Violation,
    Window,
    repair,
    validate,
)
from langchain_tokenbuffer.order import Code

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from langchain_core.runnables import RunnableSerializable
    from sqlalchemy.ext.asyncio import AsyncEngine

    from langchain_tokenbuffer.middleware import TrimEvent

MODEL = ParrotFakeChatModel()
MESSAGES: list[BaseMessage] = [HumanMessage("hello"), AIMessage("hi")]


def count_words(messages: Sequence[BaseMessage]) -> int:
    return sum(len(message.text.split()) for message in messages)


def the_root() -> None:
    assert_type(langchain_tokenbuffer.__version__, str)
    assert_type(langchain_tokenbuffer.__all__, list[str])


def what_counts(tokenizer_json: Path) -> None:
    TokenBuffer(100, token_counter=MODEL)
    TokenBuffer(100, token_counter=MODEL.bind_tools([]))
    TokenBuffer(100, token_counter="o200k_base")
    TokenBuffer(100, token_counter=tokenizer_json)
    TokenBuffer(100, token_counter=len)
    TokenBuffer(100, token_counter=count_words)
    TokenBuffer(100, token_counter=TokenCounter(MODEL, exact="remote"))


async def buffer(messages: list[HumanMessage]) -> None:
    kept = TokenBuffer(100, token_counter=len, trim_to=1, pin=lambda m: m.type == "human", oversize="drop")
    assert_type(kept.trim(messages), list[BaseMessage])
    assert_type(kept.trim("hello"), list[BaseMessage])
    assert_type(kept.trim([("human", "hello"), {"role": "user", "content": "x"}]), list[BaseMessage])
    assert_type(await kept.atrim(messages), list[BaseMessage])
    assert_type(kept.window(messages), Window)
    assert_type(await kept.awindow(messages), Window)
    assert_type(kept.invoke(messages), list[BaseMessage])
    assert_type(await kept.ainvoke(messages), list[BaseMessage])
    assert_type(kept.token_counter, TokenCounter)


def chain() -> RunnableSerializable[dict[str, Any], AIMessage]:
    prompt = ChatPromptTemplate.from_messages(["{question}"])
    made = prompt | TokenBuffer(100, token_counter=len) | MODEL
    assert_type(made.invoke({"question": "hello"}), AIMessage)
    return made


def window(seen: Window) -> None:
    assert_type(seen.kept, tuple[int, ...])
    assert_type(seen.dropped, tuple[int, ...])
    assert_type(seen.clamped, dict[int, int])
    assert_type(seen.cut, int)
    assert_type(seen.tokens, int)


def counter() -> None:
    counts = TokenCounter("o200k_base")
    assert_type(counts(MESSAGES), int)
    assert_type(counts.count(MESSAGES, tools=[count_words], response_format={}, anchor=True), int)
    assert_type(counts.describe(), str)


async def memory() -> None:
    remembers = ConversationTokenBufferMemory(
        llm=MODEL,
        max_token_limit=100,
        memory_key="history",
        return_messages=True,
        chat_memory=InMemoryChatMessageHistory(),
        trim_to=0.5,
        oversize="raise",
        on_evict=lambda messages: print(len(messages)),  # noqa: T201
    )
    remembers.save_context({"input": "a"}, {"output": "b"})
    await remembers.asave_context({"input": "a"}, {"output": "b"})
    assert_type(remembers.load_memory_variables({}), dict[str, Any])
    assert_type(await remembers.aload_memory_variables({}), dict[str, Any])
    assert_type(remembers.buffer_as_messages, list[BaseMessage])
    assert_type(remembers.buffer_as_str, str)


async def chat_history(stored: BaseChatMessageHistory) -> None:
    view = TokenBufferChatMessageHistory(stored, max_tokens=100, token_counter=len)
    history: BaseChatMessageHistory = view
    history.add_user_message("hello")
    assert_type(view.messages, list[BaseMessage])
    assert_type(await view.aget_messages(), list[BaseMessage])


async def sql(path: Path, engine: sa.Engine, async_engine: AsyncEngine) -> None:
    SQLTokenBufferHistory("ann", path, max_tokens=100, token_counter=len)
    SQLTokenBufferHistory("ann", engine, max_tokens=100, token_counter=len)
    SQLTokenBufferHistory("ann", async_engine, max_tokens=100, token_counter=len)
    history = SQLTokenBufferHistory("ann", "sqlite://", max_tokens=100, token_counter=len)
    shared: BaseChatMessageHistory = history
    shared.add_ai_message("hi")
    assert_type(history.messages, list[BaseMessage])
    assert_type(await history.aget_messages(), list[BaseMessage])
    assert_type(history.all_messages(), list[BaseMessage])
    assert_type(history.evicted(lambda messages: None), int)
    assert_type(await history.aevicted(forget), int)


async def forget(messages: list[BaseMessage]) -> None:
    messages.clear()


def middleware() -> None:
    def on_trim(event: TrimEvent) -> None:
        assert_type(event.window, Window)
        assert_type(event.tokens_after, int)

    TokenBufferMiddleware()
    TokenBufferMiddleware(("fraction", 0.8), token_counter=MODEL, on_trim=on_trim)
    TokenBufferMiddleware(8000, evict_from_state=True, on_evict=forget, reserve_tokens=100)


def order(violation: Violation) -> None:
    assert_type(validate(MESSAGES, strict=True), list[Violation])
    assert_type(repair(MESSAGES), tuple[list[BaseMessage], list[Violation]])
    code: Code = violation.code
    assert_type((code, violation.index, violation.detail), tuple[Code, int, str])


def errors() -> None:
    try:
        TokenBuffer(1, token_counter=len).trim(MESSAGES)
    except TokenBudgetError as error:
        assert_type(error.tokens, int)
        assert_type(error.max_tokens, int)
        base: TokenBufferError = error
        raise base from None
