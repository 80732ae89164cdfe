"""What `clear` and its async twin leave behind: nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.builders import contents_of, numbered_text
from tests.memory.stand_ins import memory_of_words, save, stored_in, window_of

if TYPE_CHECKING:
    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.messages import BaseMessage


def test_clear_empties_the_memory() -> None:
    memory = memory_of_words(60)
    save(memory, "hi", "hello")
    memory.clear()
    assert (window_of(memory), stored_in(memory)) == ([], [])


async def test_aclear_empties_the_memory() -> None:
    memory = memory_of_words(60)
    save(memory, "hi", "hello")
    await memory.aclear()
    assert (window_of(memory), stored_in(memory)) == ([], [])


def test_clear_empties_a_store_that_was_passed(foreign: BaseChatMessageHistory) -> None:
    memory = memory_of_words(60, chat_memory=foreign)
    save(memory, "hi", "hello")
    memory.clear()
    assert foreign.messages == []


def test_after_clear_the_memory_begins_anew() -> None:
    memory = memory_of_words(4)
    for number in range(4):
        save(memory, numbered_text(number), numbered_text(number))
    memory.clear()
    save(memory, "hi", "hello")
    assert window_of(memory) == ["hi", "hello"]


def test_clear_forgets_evictions_that_were_not_acknowledged() -> None:
    evicted: list[object] = []

    def refuse(gone: list[BaseMessage]) -> None:
        raise OSError

    memory = memory_of_words(2, on_evict=refuse)
    save(memory, "a", "b")
    save(memory, "c", "d")
    memory.on_evict = lambda gone: evicted.extend(contents_of(gone))
    memory.clear()
    save(memory, "e", "f")
    save(memory, "g", "h")
    assert evicted == ["e", "f"]
