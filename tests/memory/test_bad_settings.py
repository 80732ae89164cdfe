"""A bad setting is refused by name, at construction and at assignment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from langchain_tokenbuffer import ConversationTokenBufferMemory
from tests.builders import count_content_words
from tests.memory.stand_ins import PassedHistory, memory_of_words

if TYPE_CHECKING:
    from langchain_core.chat_history import BaseChatMessageHistory

BAD = [
    ("max_token_limit", 0, ValueError),
    ("max_token_limit", -3, ValueError),
    ("max_token_limit", 2.5, TypeError),
    ("max_token_limit", "sixty", TypeError),
    ("max_token_limit", True, TypeError),
    ("max_token_limit", None, TypeError),
    ("trim_to", 0, ValueError),
    ("trim_to", 1.01, ValueError),
    ("trim_to", "half", TypeError),
    ("oversize", "shorten", ValueError),
    ("start_on", "ai", ValueError),
    ("llm", 3, TypeError),
    ("llm", None, TypeError),
    ("llm", "no_such_encoding", ValueError),
    ("on_evict", 3, ValueError),
    ("no_such_option", 3, ValueError),
]


@pytest.mark.parametrize(("name", "value", "error"), BAD)
def test_a_bad_setting_is_refused_at_construction_by_name(name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        ConversationTokenBufferMemory(**{"llm": count_content_words, name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value", "error"), BAD)
def test_a_bad_setting_is_refused_at_assignment_by_name(name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        setattr(memory_of_words(60), name, value)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, value, _ in BAD[:-1]])
def test_a_setting_refused_at_assignment_stays_as_it_was(name: str, value: object) -> None:
    memory = memory_of_words(60)
    before = getattr(memory, name)
    with pytest.raises((TypeError, ValueError)):
        setattr(memory, name, value)
    assert getattr(memory, name) == before


@pytest.mark.parametrize("limit", ["60", 6e1])
def test_a_limit_is_taken_as_the_classic_class_takes_it(limit: object) -> None:
    assert memory_of_words(limit).max_token_limit == 60  # type: ignore[arg-type]


def test_a_neighbours_word_for_the_limit_is_answered_with_ours() -> None:
    with pytest.raises(ValueError, match="did you mean 'max_token_limit'"):
        ConversationTokenBufferMemory(llm=count_content_words, max_tokens=60)  # type: ignore[call-arg]


def test_a_missing_model_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="llm"):
        ConversationTokenBufferMemory()  # type: ignore[call-arg]


@pytest.mark.parametrize("oversize", ["clamp", "raise"])
def test_single_messages_can_only_be_dropped(oversize: str) -> None:
    with pytest.raises(ValueError, match="oversize"):
        memory_of_words(60, start_on=None, oversize=oversize)


def test_settings_that_do_not_go_together_are_refused_at_assignment_too() -> None:
    memory = memory_of_words(60)
    with pytest.raises(ValueError, match="oversize"):
        memory.start_on = None
    assert memory.start_on == "human"


def test_evictions_are_not_announced_from_a_store_that_was_passed(
    foreign: BaseChatMessageHistory,
) -> None:
    with pytest.raises(ValueError, match="on_evict"):
        memory_of_words(60, chat_memory=foreign, on_evict=print)


def test_evictions_are_not_announced_from_another_memorys_store() -> None:
    with pytest.raises(ValueError, match="on_evict"):
        memory_of_words(60, chat_memory=memory_of_words(60).chat_memory, on_evict=print)


def test_a_store_passed_later_is_refused_beside_a_handler_of_evictions() -> None:
    memory = memory_of_words(60, on_evict=print)
    with pytest.raises(ValueError, match="on_evict"):
        memory.chat_memory = PassedHistory()


def test_a_store_refused_later_is_not_taken() -> None:
    memory = memory_of_words(60, on_evict=print)
    own = memory.chat_memory
    with pytest.raises(ValueError, match="on_evict"):
        memory.chat_memory = PassedHistory()
    assert memory.chat_memory is own
