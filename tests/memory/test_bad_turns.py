"""A turn that cannot be saved leaves nothing behind."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer import ConversationTokenBufferMemory
from tests.builders import contents_of, count_content_words, numbered_text
from tests.memory.stand_ins import FreshListHistory, memory_of_words, save, stored_in, window_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.chat_history import BaseChatMessageHistory


def squeamish(messages: Sequence[BaseMessage]) -> int:
    """Count, but not everything."""
    for message in messages:
        if message.content == "uncountable":
            msg = "cannot be counted"
            raise ArithmeticError(msg)
    return count_content_words(messages)


def squeamish_tens(messages: Sequence[BaseMessage]) -> int:
    """Count, but not everything, and not additively."""
    return -(-squeamish(messages) // 10) * 10


BAD_TURNS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"input": "uncountable"}, {"output": "r"}),
    ({"input": "q"}, {"output": "uncountable"}),
    ({}, {"output": "r"}),
    ({"input": "q"}, {}),
    ({"a": "1", "b": "2"}, {"output": "r"}),
    ({"input": None}, {"output": "r"}),
    ({"input": "q"}, {"output": None}),
    ({"input": "q"}, {"output": 3}),
]


@pytest.mark.parametrize(("inputs", "outputs"), BAD_TURNS)
@pytest.mark.parametrize("counter", [squeamish, squeamish_tens])
def test_a_bad_turn_leaves_its_own_store_as_it_was(
    save_either_way: Any, counter: Any, inputs: dict[str, Any], outputs: dict[str, Any]
) -> None:
    memory = ConversationTokenBufferMemory(llm=counter)
    save(memory, "a", "b")
    with pytest.raises((ValueError, ArithmeticError)):
        save_either_way(memory, inputs, outputs)
    assert stored_in(memory) == ["a", "b"]


@pytest.mark.parametrize(("inputs", "outputs"), BAD_TURNS)
def test_a_bad_turn_leaves_a_passed_store_as_it_was(
    foreign: BaseChatMessageHistory,
    save_either_way: Any,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
) -> None:
    memory = ConversationTokenBufferMemory(llm=squeamish, chat_memory=foreign)
    save(memory, "a", "b")
    with pytest.raises((ValueError, ArithmeticError)):
        save_either_way(memory, inputs, outputs)
    assert contents_of(foreign.messages) == ["a", "b"]


def test_after_a_bad_turn_the_next_is_saved() -> None:
    memory = ConversationTokenBufferMemory(llm=squeamish)
    with pytest.raises(ArithmeticError):
        save(memory, "q", "uncountable")
    save(memory, "a", "b")
    assert window_of(memory) == ["a", "b"]


class Interrupted:
    """A counter that fails when a test says so."""

    fails = False

    def __call__(self, messages: Sequence[BaseMessage]) -> int:
        if self.fails:
            raise ArithmeticError
        return count_content_words(messages)


def test_a_counter_that_fails_while_loading_changes_no_later_window() -> None:
    counter = Interrupted()
    memory = ConversationTokenBufferMemory(llm=counter, max_token_limit=10)
    save(memory, "a", "b")
    memory.chat_memory.add_messages([HumanMessage("c"), AIMessage("d")])
    counter.fails = True
    with pytest.raises(ArithmeticError):
        memory.load_memory_variables({})
    counter.fails = False
    assert window_of(memory) == ["a", "b", "c", "d"]


def test_what_was_left_out_with_a_warning_that_raises_leaves_with_the_next_save() -> None:
    memory = memory_of_words(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="Left out"):
            save(memory, "why", numbered_text(1, 500))
        warnings.simplefilter("ignore")
        save(memory, "a", "b")
    assert stored_in(memory) == ["why", "a", "b"]


@pytest.mark.parametrize(
    ("count", "error"), [(-1, ValueError), ("many", TypeError), (1.5, TypeError), (None, TypeError)]
)
def test_a_counter_that_returns_no_count_stores_nothing(count: Any, error: type[Exception]) -> None:
    memory = ConversationTokenBufferMemory(llm=lambda messages: count)
    with pytest.raises(error, match="token_counter"):
        save(memory, "a", "b")
    assert stored_in(memory) == []


def test_a_store_that_fails_raises_what_it_raises(save_either_way: Any) -> None:
    class Full(FreshListHistory):
        def add_messages(self, messages: Sequence[BaseMessage]) -> None:
            msg = "disk full"
            raise OSError(msg)

    with pytest.raises(OSError, match="disk full"):
        save_either_way(memory_of_words(5, chat_memory=Full()), {"input": "a"}, {"output": "b"})
