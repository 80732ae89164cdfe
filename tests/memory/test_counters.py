"""Whatever counts for the memory: functions, names, `TokenCounter`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from langchain_tokenbuffer import ConversationTokenBufferMemory, TokenCounter
from tests.memory.stand_ins import (
    CHAT,
    INPUTS,
    REPLIES,
    contents,
    held,
    said,
    save,
    shown,
    tens,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage


def test_len_counts_messages() -> None:
    memory = ConversationTokenBufferMemory(llm=len, max_token_limit=4)
    for number in range(5):
        save(memory, said(number), said(number))
    assert held(memory) == ["w3", "w3", "w4", "w4"]


def test_an_encoding_name_counts_in_the_chat_format() -> None:
    named = ConversationTokenBufferMemory(llm="o200k_base", max_token_limit=40)
    asked = ConversationTokenBufferMemory(llm=CHAT, max_token_limit=40)
    for question, reply in zip(INPUTS, REPLIES, strict=True):
        save(named, question, reply)
        save(asked, question, reply)
    assert shown(named) == shown(asked)


def test_a_token_counter_counts() -> None:
    memory = ConversationTokenBufferMemory(llm=TokenCounter(words), max_token_limit=4)
    for number in range(5):
        save(memory, said(number), said(number))
    assert held(memory) == ["w3", "w3", "w4", "w4"]


def test_a_counter_that_is_not_additive_keeps_the_budget() -> None:
    memory = ConversationTokenBufferMemory(llm=tens, max_token_limit=20)
    sizes = []
    for number in range(12):
        save(memory, said(number, 1 + number % 5), said(number, 1 + number % 3))
        sizes.append(tens(memory.buffer_as_messages))
    assert max(*sizes, tens(memory.chat_memory.messages)) <= 20


def test_a_counter_that_is_not_additive_hands_out_what_leaves_once() -> None:
    gone: list[BaseMessage] = []
    memory = ConversationTokenBufferMemory(llm=tens, max_token_limit=20, on_evict=gone.extend)
    for number in range(30):
        save(memory, f"q{number}", f"r{number}")
    expected = [f"{who}{number}" for number in range(30) for who in "qr"]
    assert contents(gone) + held(memory) == expected


def with_a_surcharge(messages: Sequence[BaseMessage]) -> int:
    """Charge for the empty list too, and not additively."""
    return 50 + tens(messages)


def test_a_counter_for_which_nothing_fits_lets_saving_pass_with_a_warning() -> None:
    memory = ConversationTokenBufferMemory(llm=with_a_surcharge, max_token_limit=20)
    with pytest.warns(UserWarning, match="max_tokens is 20"):
        save(memory, "a", "b")
    assert held(memory) == []


def test_a_counter_that_is_not_additive_loses_nothing_that_fits_as_a_whole() -> None:
    memory = ConversationTokenBufferMemory(llm=tens, max_token_limit=10)
    for number in range(3):
        save(memory, said(number, 2), said(number, 2))
    assert held(memory) == [said(1, 2), said(1, 2), said(2, 2), said(2, 2)]
