"""A pickled or copied memory shows the same, and changes alone."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from langchain_tokenbuffer import ConversationTokenBufferMemory, TokenCounter
from tests.builders import count_content_words, numbered_text
from tests.memory.stand_ins import (
    PassedHistory,
    memory_after_seven_turns,
    memory_of_words,
    save,
    stored_in,
    window_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("llm", [count_content_words, "cl100k_base", TokenCounter("o200k_base")])
def test_the_memory_pickles_with_what_it_holds(llm: Any) -> None:
    memory = ConversationTokenBufferMemory(llm=llm, max_token_limit=40)
    for number in range(9):
        save(memory, numbered_text(number), numbered_text(number))
    assert window_of(pickle.loads(pickle.dumps(memory))) == window_of(memory)


def test_a_pickle_has_no_lock_and_no_cache_in_it() -> None:
    memory = ConversationTokenBufferMemory(llm="cl100k_base", max_token_limit=40)
    save(memory, "hi", "hello")
    memory.load_memory_variables({})
    fresh = ConversationTokenBufferMemory(llm="cl100k_base", max_token_limit=40)
    fresh.chat_memory.add_messages(memory.chat_memory.messages)
    assert len(pickle.dumps(memory)) == len(pickle.dumps(fresh))


def _pickled(memory: ConversationTokenBufferMemory) -> ConversationTokenBufferMemory:
    copied = pickle.loads(pickle.dumps(memory))
    assert isinstance(copied, ConversationTokenBufferMemory)
    return copied


COPIES: list[Callable[[ConversationTokenBufferMemory], ConversationTokenBufferMemory]] = [
    _pickled,
    copy.deepcopy,
    lambda memory: memory.model_copy(deep=True),
]


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "deepcopy", "model_copy"])
class TestCopy:
    """A copy with everything below it."""

    def test_a_copy_shows_the_same(self, copied: Any) -> None:
        memory = memory_after_seven_turns()
        assert window_of(copied(memory)) == window_of(memory)

    def test_a_copy_goes_on_as_the_original_does(self, copied: Any) -> None:
        memory = memory_after_seven_turns()
        other = copied(memory)
        for number in range(10, 20):
            save(memory, numbered_text(number, 2), numbered_text(number))
            save(other, numbered_text(number, 2), numbered_text(number))
        assert (window_of(other), stored_in(other)) == (window_of(memory), stored_in(memory))

    def test_a_copy_changes_nothing_in_the_original(self, copied: Any) -> None:
        memory = memory_after_seven_turns()
        before = stored_in(memory)
        for number in range(9):
            save(copied(memory), numbered_text(number), numbered_text(number))
        assert stored_in(memory) == before

    def test_a_copy_still_owns_its_store(self, copied: Any) -> None:
        other = copied(memory_after_seven_turns())
        for number in range(50):
            save(other, numbered_text(number), numbered_text(number))
        assert len(stored_in(other)) <= 10

    def test_a_copy_still_deletes_nothing_from_a_passed_store(self, copied: Any) -> None:
        other = copied(memory_of_words(4, chat_memory=PassedHistory()))
        for number in range(5):
            save(other, numbered_text(number), numbered_text(number))
        assert len(stored_in(other)) == 10


def test_a_shallow_copy_shares_the_store_as_the_classic_class_does() -> None:
    memory = memory_after_seven_turns()
    assert memory.model_copy().chat_memory is memory.chat_memory


def test_a_shallow_copy_with_another_limit_shows_its_own_window() -> None:
    memory = memory_after_seven_turns()
    other = memory.model_copy(update={"max_token_limit": 2})
    assert window_of(other) == ["w6", "w6"]


def test_the_original_sees_what_a_shallow_copy_deletes() -> None:
    memory = memory_after_seven_turns()
    save(memory.model_copy(update={"max_token_limit": 2}), "a", "b")
    assert window_of(memory) == ["a", "b"]
