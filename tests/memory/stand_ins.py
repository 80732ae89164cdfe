"""What the tests of the memory share: stores, counters, and short ways to save and look."""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import TYPE_CHECKING, Any

from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import ConversationTokenBufferMemory
from tests.builders import (
    contents_of,
    count_content_words,
    count_content_words_by_tens,
    numbered_text,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_classic import memory as classic_memory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ClassicMemory = classic_memory.ConversationTokenBufferMemory
CHAT = ChatOpenAI(api_key=SecretStr("x"), model="gpt-4o")
COMPLETION = OpenAI(api_key=SecretStr("x"), model="gpt-3.5-turbo-instruct")

INPUTS = (
    "Hi, what's up?",
    "Just working on writing some documentation!",
    "For LangChain! Have you heard of it?",
    "Haha nope, although a lot of people confuse it for that",
)
REPLIES = (
    " Hi there! I'm doing great, just enjoying the day. How about you?",
    " Sounds like a productive day! What kind of documentation are you writing?",
    (
        " Yes, I have heard of LangChain! It is a decentralized language-learning platform that "
        "connects native speakers and learners in real time. Is that the documentation you're "
        "writing about?"
    ),
    " Oh, I see. Is there another language learning platform you're referring to?",
)


def save(memory: ConversationTokenBufferMemory, question: str, reply: str) -> None:
    memory.save_context({"input": question}, {"output": reply})


def stored_in(memory: ConversationTokenBufferMemory) -> list[object]:
    return contents_of(memory.chat_memory.messages)


def window_of(memory: ConversationTokenBufferMemory) -> list[object]:
    return contents_of(memory.buffer_as_messages)


def memory_of_words(limit: int, **options: Any) -> ConversationTokenBufferMemory:
    return ConversationTokenBufferMemory(llm=count_content_words, max_token_limit=limit, **options)


class PassedHistory(InMemoryChatMessageHistory):
    """An in-memory history that somebody passes; a subclass, since the class itself warns."""


class FreshListHistory(BaseChatMessageHistory):
    """A history that returns a fresh list at every read, as databases do."""

    def __init__(self) -> None:
        self._stored: list[BaseMessage] = []

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        return list(self._stored)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self._stored.extend(messages)

    def clear(self) -> None:
        self._stored.clear()


class FileHistory(BaseChatMessageHistory):
    """A history in a file: at every read the messages are new objects."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        if not self._path.exists():
            return []
        return messages_from_dict(json.loads(self._path.read_text()))

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        stored = [message_to_dict(message) for message in (*self.messages, *messages)]
        self._path.write_text(json.dumps(stored))

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)


class AsyncOnlyHistory(BaseChatMessageHistory):
    """A history that can be read and written only in async."""

    def __init__(self) -> None:
        self._stored: list[BaseMessage] = []

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        raise AssertionError

    async def aget_messages(self) -> list[BaseMessage]:
        await asyncio.sleep(0)
        return list(self._stored)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        raise AssertionError

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        await asyncio.sleep(0)
        self._stored.extend(messages)

    def clear(self) -> None:
        raise AssertionError

    async def aclear(self) -> None:
        self._stored.clear()


LIMITS: dict[Any, int] = {count_content_words: 10, count_content_words_by_tens: 40}
"""Each lets four or five turns of two words in."""


def memory_after_seven_turns(counter: Any = count_content_words) -> ConversationTokenBufferMemory:
    memory = ConversationTokenBufferMemory(llm=counter, max_token_limit=LIMITS[counter], trim_to=0.8)
    for number in range(7):
        save(memory, numbered_text(number), numbered_text(number))
    memory.load_memory_variables({})
    return memory
