"""A setting that is assigned later takes effect."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer import TokenBudgetError
from tests.builders import contents_of, count_content_words_by_tens, numbered_text
from tests.memory.stand_ins import PassedHistory, memory_of_words, save, stored_in, window_of


def test_a_lower_limit_takes_effect_on_load() -> None:
    memory = memory_of_words(100)
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    memory.max_token_limit = 4
    assert window_of(memory) == ["w3", "w3", "w4", "w4"]


def test_a_lower_limit_takes_effect_on_save() -> None:
    memory = memory_of_words(100)
    for number in range(4):
        save(memory, numbered_text(number), numbered_text(number))
    memory.max_token_limit = 4
    save(memory, numbered_text(4), numbered_text(4))
    assert stored_in(memory) == ["w3", "w3", "w4", "w4"]


def test_another_counter_takes_effect() -> None:
    memory = memory_of_words(4)
    for number in range(2):
        save(memory, numbered_text(number), numbered_text(number))
    memory.llm = count_content_words_by_tens
    memory.max_token_limit = 20
    save(memory, numbered_text(2, 10), numbered_text(2, 10))
    assert stored_in(memory) == [numbered_text(2, 10), numbered_text(2, 10)]


def test_another_low_water_mark_takes_effect() -> None:
    memory = memory_of_words(4)
    for number in range(2):
        save(memory, numbered_text(number), numbered_text(number))
    memory.trim_to = 0.5
    save(memory, numbered_text(2), numbered_text(2))
    assert stored_in(memory) == ["w2", "w2"]


def test_another_policy_takes_effect() -> None:
    memory = memory_of_words(4)
    memory.oversize = "raise"
    with pytest.raises(TokenBudgetError):
        save(memory, numbered_text(1, 9), numbered_text(1, 9))


def test_single_messages_can_be_chosen_later() -> None:
    memory = memory_of_words(3)
    memory.oversize = "drop"
    memory.start_on = None
    for number in range(2):
        save(memory, numbered_text(number), numbered_text(number))
    assert stored_in(memory) == ["w0", "w1", "w1"]


def test_a_handler_of_evictions_can_be_assigned_later() -> None:
    gone: list[BaseMessage] = []
    memory = memory_of_words(2)
    save(memory, "a", "b")
    memory.on_evict = gone.extend
    save(memory, "c", "d")
    assert contents_of(gone) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "value", "loaded"),
    [
        ("return_messages", True, {"history": [HumanMessage("hi"), AIMessage("hello")]}),
        ("memory_key", "past", {"past": "Human: hi\nAI: hello"}),
        ("human_prefix", "Me", {"history": "Me: hi\nAI: hello"}),
        ("ai_prefix", "You", {"history": "Human: hi\nYou: hello"}),
    ],
)
def test_a_setting_of_the_shape_takes_effect(name: str, value: Any, loaded: dict[str, Any]) -> None:
    memory = memory_of_words(60)
    save(memory, "hi", "hello")
    setattr(memory, name, value)
    assert memory.load_memory_variables({}) == loaded


def test_a_store_assigned_later_is_only_windowed() -> None:
    memory = memory_of_words(4)
    memory.chat_memory = PassedHistory()
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    assert len(stored_in(memory)) == 10
