"""A pickled or copied memory shows the same, and lives on alone."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from langchain_tokenbuffer import ConversationTokenBufferMemory, TokenCounter
from tests.memory.stand_ins import PassedHistory, held, in_words, lived, said, save, shown, words

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("llm", [words, "cl100k_base", TokenCounter("o200k_base")])
def test_it_pickles_with_what_it_holds(llm: Any) -> None:
    memory = ConversationTokenBufferMemory(llm=llm, max_token_limit=40)
    for number in range(9):
        save(memory, said(number), said(number))
    assert shown(pickle.loads(pickle.dumps(memory))) == shown(memory)


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

    def test_it_shows_the_same(self, copied: Any) -> None:
        memory = lived()
        assert shown(copied(memory)) == shown(memory)

    def test_it_goes_on_as_the_original_does(self, copied: Any) -> None:
        memory = lived()
        other = copied(memory)
        for number in range(10, 20):
            save(memory, said(number, 2), said(number))
            save(other, said(number, 2), said(number))
        assert (shown(other), held(other)) == (shown(memory), held(memory))

    def test_it_changes_nothing_in_the_original(self, copied: Any) -> None:
        memory = lived()
        before = held(memory)
        for number in range(9):
            save(copied(memory), said(number), said(number))
        assert held(memory) == before

    def test_it_still_owns_its_store(self, copied: Any) -> None:
        other = copied(lived())
        for number in range(50):
            save(other, said(number), said(number))
        assert len(held(other)) <= 10

    def test_it_still_deletes_nothing_from_a_passed_store(self, copied: Any) -> None:
        other = copied(in_words(4, chat_memory=PassedHistory()))
        for number in range(5):
            save(other, said(number), said(number))
        assert len(held(other)) == 10


def test_a_shallow_copy_shares_the_store_as_the_classic_class_does() -> None:
    memory = lived()
    assert memory.model_copy().chat_memory is memory.chat_memory


def test_a_shallow_copy_with_another_limit_shows_its_own_window() -> None:
    memory = lived()
    other = memory.model_copy(update={"max_token_limit": 2})
    assert shown(other) == ["w6", "w6"]


def test_the_original_sees_what_a_shallow_copy_deletes() -> None:
    memory = lived()
    save(memory.model_copy(update={"max_token_limit": 2}), "a", "b")
    assert shown(memory) == ["a", "b"]
