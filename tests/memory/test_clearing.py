"""What `clear` and its async twin leave behind: nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.memory.stand_ins import contents, held, in_words, said, save, shown

if TYPE_CHECKING:
    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.messages import BaseMessage


def test_clear_empties_it() -> None:
    memory = in_words(60)
    save(memory, "hi", "hello")
    memory.clear()
    assert (shown(memory), held(memory)) == ([], [])


async def test_aclear_empties_it() -> None:
    memory = in_words(60)
    save(memory, "hi", "hello")
    await memory.aclear()
    assert (shown(memory), held(memory)) == ([], [])


def test_clear_empties_a_store_that_was_passed(foreign: BaseChatMessageHistory) -> None:
    memory = in_words(60, chat_memory=foreign)
    save(memory, "hi", "hello")
    memory.clear()
    assert foreign.messages == []


def test_after_clear_it_begins_anew() -> None:
    memory = in_words(4)
    for number in range(4):
        save(memory, said(number), said(number))
    memory.clear()
    save(memory, "hi", "hello")
    assert shown(memory) == ["hi", "hello"]


def test_clear_forgets_evictions_that_were_not_acknowledged() -> None:
    evicted: list[object] = []

    def refuse(gone: list[BaseMessage]) -> None:
        raise OSError

    memory = in_words(2, on_evict=refuse)
    save(memory, "a", "b")
    with pytest.raises(OSError):  # noqa: PT011  # it says nothing
        save(memory, "c", "d")
    memory.on_evict = lambda gone: evicted.extend(contents(gone))
    memory.clear()
    save(memory, "e", "f")
    save(memory, "g", "h")
    assert evicted == ["e", "f"]
