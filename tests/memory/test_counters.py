"""Whatever counts for the memory: functions, names, `TokenCounter`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from langchain_tokenbuffer import ConversationTokenBufferMemory, TokenCounter
from tests.builders import (
    contents_of,
    count_content_words,
    count_content_words_by_tens,
    numbered_text,
)
from tests.memory.stand_ins import CHAT, INPUTS, REPLIES, save, stored_in, window_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage


def test_len_counts_messages() -> None:
    memory = ConversationTokenBufferMemory(llm=len, max_token_limit=4)
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    assert stored_in(memory) == ["w3", "w3", "w4", "w4"]


def test_an_encoding_name_counts_in_the_chat_format() -> None:
    named = ConversationTokenBufferMemory(llm="o200k_base", max_token_limit=40)
    asked = ConversationTokenBufferMemory(llm=CHAT, max_token_limit=40)
    for question, reply in zip(INPUTS, REPLIES, strict=True):
        save(named, question, reply)
        save(asked, question, reply)
    assert window_of(named) == window_of(asked)


def test_a_token_counter_counts() -> None:
    memory = ConversationTokenBufferMemory(llm=TokenCounter(count_content_words), max_token_limit=4)
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    assert stored_in(memory) == ["w3", "w3", "w4", "w4"]


def test_a_counter_that_is_not_additive_keeps_the_budget() -> None:
    memory = ConversationTokenBufferMemory(llm=count_content_words_by_tens, max_token_limit=20)
    sizes = []
    for number in range(12):
        save(memory, numbered_text(number, 1 + number % 5), numbered_text(number, 1 + number % 3))
        sizes.append(count_content_words_by_tens(memory.buffer_as_messages))
    assert max(*sizes, count_content_words_by_tens(memory.chat_memory.messages)) <= 20


def test_a_counter_that_is_not_additive_hands_out_what_leaves_once() -> None:
    gone: list[BaseMessage] = []
    memory = ConversationTokenBufferMemory(llm=count_content_words_by_tens, max_token_limit=20, on_evict=gone.extend)
    for number in range(30):
        save(memory, f"q{number}", f"r{number}")
    expected = [f"{who}{number}" for number in range(30) for who in "qr"]
    assert contents_of(gone) + stored_in(memory) == expected


def with_a_surcharge(messages: Sequence[BaseMessage]) -> int:
    """Charge for the empty list too, and not additively."""
    return 50 + count_content_words_by_tens(messages)


def test_a_counter_for_which_nothing_fits_lets_saving_pass_with_a_warning() -> None:
    memory = ConversationTokenBufferMemory(llm=with_a_surcharge, max_token_limit=20)
    with pytest.warns(UserWarning, match="max_tokens is 20"):
        save(memory, "a", "b")
    assert stored_in(memory) == []


def test_a_counter_that_is_not_additive_loses_nothing_that_fits_as_a_whole() -> None:
    memory = ConversationTokenBufferMemory(llm=count_content_words_by_tens, max_token_limit=10)
    for number in range(3):
        save(memory, numbered_text(number, 2), numbered_text(number, 2))
    assert stored_in(memory) == [
        numbered_text(1, 2),
        numbered_text(1, 2),
        numbered_text(2, 2),
        numbered_text(2, 2),
    ]
