"""Uses a type checker has to refuse; each says behind it which error that is."""

from __future__ import annotations

from langchain_core.messages import BaseMessage, HumanMessage

from langchain_tokenbuffer import (
    ConversationTokenBufferMemory,
    SQLTokenBufferHistory,
    TokenBuffer,
    TokenBufferChatMessageHistory,
    TokenBufferMiddleware,
    TokenCounter,
    Window,
    validate,
)


def count_as_text(messages: list[BaseMessage]) -> str:
    return str(len(messages))


def wrong(seen: Window) -> None:
    TokenBuffer("100", token_counter=len)  # E: arg-type
    TokenBuffer(100)  # E: call-arg
    TokenBuffer(100, len)  # E: call-arg
    TokenBuffer(100, token_counter=7)  # E: arg-type
    TokenBuffer(100, token_counter=count_as_text)  # E: arg-type
    TokenBuffer(100, token_counter=len, oversize="shorten")  # E: arg-type
    TokenBuffer(100, token_counter=len, pin=lambda message: message.nothing)  # E: attr-defined
    TokenBuffer(100, token_counter=len).trim(7)  # E: arg-type
    seen.cut = 3  # E: misc
    TokenCounter("o200k_base", exact="global")  # E: arg-type
    TokenCounter("o200k_base").count([HumanMessage("hello")], tools=7)  # E: arg-type
    ConversationTokenBufferMemory(llm="o200k_base", max_token_limit="100")  # E: arg-type
    TokenBufferChatMessageHistory([], max_tokens=100, token_counter=len)  # E: arg-type
    TokenBufferMiddleware(("share", 0.8))  # E: arg-type
    TokenBufferMiddleware(on_evict=count_as_text)  # E: arg-type
    SQLTokenBufferHistory(7, "chats.db", max_tokens=100, token_counter=len)  # E: arg-type
    validate([7])  # E: list-item
    _ = validate([HumanMessage("hello")]).code  # E: attr-defined
