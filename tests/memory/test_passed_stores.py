"""A store that somebody passes is windowed, and nothing is deleted from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.memory.stand_ins import AsyncOnlyHistory, contents, in_words, said, save, shown

if TYPE_CHECKING:
    from langchain_core.chat_history import BaseChatMessageHistory


def test_a_passed_store_is_windowed(foreign: BaseChatMessageHistory) -> None:
    memory = in_words(4, chat_memory=foreign)
    for number in range(5):
        save(memory, said(number), said(number))
    assert shown(memory) == ["w3", "w3", "w4", "w4"]


def test_nothing_is_deleted_from_a_passed_store(foreign: BaseChatMessageHistory) -> None:
    memory = in_words(4, chat_memory=foreign)
    for number in range(5):
        save(memory, said(number), said(number))
    memory.load_memory_variables({})
    assert contents(foreign.messages) == [said(n) for n in range(5) for _ in range(2)]


async def test_a_passed_store_is_windowed_the_same_in_async(
    foreign: BaseChatMessageHistory,
) -> None:
    memory = in_words(4, chat_memory=foreign)
    for number in range(5):
        await memory.asave_context({"input": said(number)}, {"output": said(number)})
    assert await memory.aload_memory_variables({}) == memory.load_memory_variables({})


def test_a_shortened_copy_is_not_written_to_a_passed_store(
    foreign: BaseChatMessageHistory,
) -> None:
    memory = in_words(30, chat_memory=foreign)
    save(memory, "why", said(1, 500))
    memory.load_memory_variables({})
    assert contents(foreign.messages) == ["why", said(1, 500)]


def test_another_memorys_store_is_only_windowed() -> None:
    store = in_words(100).chat_memory
    memory = in_words(4, chat_memory=store)
    for number in range(5):
        save(memory, said(number), said(number))
    assert len(store.messages) == 10


async def test_an_async_history_is_windowed() -> None:
    memory = in_words(4, chat_memory=AsyncOnlyHistory(), return_messages=True)
    for number in range(5):
        await memory.asave_context({"input": said(number)}, {"output": said(number)})
    loaded = await memory.aload_memory_variables({})
    assert contents(loaded["history"]) == ["w3", "w3", "w4", "w4"]


async def test_nothing_is_deleted_from_an_async_history() -> None:
    history = AsyncOnlyHistory()
    memory = in_words(4, chat_memory=history)
    for number in range(5):
        await memory.asave_context({"input": said(number)}, {"output": said(number)})
    await memory.aload_memory_variables({})
    assert len(await history.aget_messages()) == 10


async def test_an_async_history_is_cleared_in_async() -> None:
    history = AsyncOnlyHistory()
    memory = in_words(4, chat_memory=history)
    await memory.asave_context({"input": "a"}, {"output": "b"})
    await memory.aclear()
    assert await history.aget_messages() == []
