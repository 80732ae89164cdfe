"""A store that somebody passes is windowed, and nothing is deleted from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.builders import contents_of, numbered_text
from tests.memory.stand_ins import AsyncOnlyHistory, memory_of_words, save, window_of

if TYPE_CHECKING:
    from langchain_core.chat_history import BaseChatMessageHistory


def test_a_passed_store_is_windowed(foreign: BaseChatMessageHistory) -> None:
    memory = memory_of_words(4, chat_memory=foreign)
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    assert window_of(memory) == ["w3", "w3", "w4", "w4"]


def test_nothing_is_deleted_from_a_passed_store(foreign: BaseChatMessageHistory) -> None:
    memory = memory_of_words(4, chat_memory=foreign)
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    memory.load_memory_variables({})
    assert contents_of(foreign.messages) == [numbered_text(n) for n in range(5) for _ in range(2)]


async def test_a_passed_store_is_windowed_the_same_in_async(
    foreign: BaseChatMessageHistory,
) -> None:
    memory = memory_of_words(4, chat_memory=foreign)
    for number in range(5):
        await memory.asave_context({"input": numbered_text(number)}, {"output": numbered_text(number)})
    assert await memory.aload_memory_variables({}) == memory.load_memory_variables({})


def test_a_shortened_copy_is_not_written_to_a_passed_store(
    foreign: BaseChatMessageHistory,
) -> None:
    memory = memory_of_words(30, chat_memory=foreign)
    save(memory, "why", numbered_text(1, 500))
    memory.load_memory_variables({})
    assert contents_of(foreign.messages) == ["why", numbered_text(1, 500)]


def test_another_memorys_store_is_only_windowed() -> None:
    store = memory_of_words(100).chat_memory
    memory = memory_of_words(4, chat_memory=store)
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    assert len(store.messages) == 10


async def test_an_async_history_is_windowed() -> None:
    memory = memory_of_words(4, chat_memory=AsyncOnlyHistory(), return_messages=True)
    for number in range(5):
        await memory.asave_context({"input": numbered_text(number)}, {"output": numbered_text(number)})
    loaded = await memory.aload_memory_variables({})
    assert contents_of(loaded["history"]) == ["w3", "w3", "w4", "w4"]


async def test_nothing_is_deleted_from_an_async_history() -> None:
    history = AsyncOnlyHistory()
    memory = memory_of_words(4, chat_memory=history)
    for number in range(5):
        await memory.asave_context({"input": numbered_text(number)}, {"output": numbered_text(number)})
    await memory.aload_memory_variables({})
    assert len(await history.aget_messages()) == 10


async def test_an_async_history_is_cleared_in_async() -> None:
    history = AsyncOnlyHistory()
    memory = memory_of_words(4, chat_memory=history)
    await memory.asave_context({"input": "a"}, {"output": "b"})
    await memory.aclear()
    assert await history.aget_messages() == []
