"""The memory keeps what fits, and deletes the rest from its own store."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_tokenbuffer import ConversationTokenBufferMemory, TokenBuffer
from tests.memory.stand_ins import (
    CHAT,
    PassedHistory,
    contents,
    held,
    in_words,
    said,
    save,
    shown,
    words,
)


def test_what_leaves_the_window_leaves_memory() -> None:
    memory = in_words(4)
    for number in range(5):
        save(memory, said(number), said(number))
    assert held(memory) == ["w3", "w3", "w4", "w4"]


def test_the_window_begins_with_a_human_message() -> None:
    memory = in_words(5)
    for number in range(5):
        save(memory, said(number), said(number))
    assert [message.type for message in memory.buffer_as_messages] == ["human", "ai"] * 2


def test_single_messages_leave_one_by_one_when_that_is_asked_for() -> None:
    memory = in_words(5, start_on=None, oversize="drop")
    for number in range(5):
        save(memory, said(number), said(number))
    assert held(memory) == ["w2", "w3", "w3", "w4", "w4"]


def test_loading_enforces_the_budget() -> None:
    memory = in_words(4)
    for number in range(5):
        memory.chat_memory.add_messages([HumanMessage(said(number)), AIMessage(said(number))])
    assert shown(memory) == ["w3", "w3", "w4", "w4"]


def test_loading_deletes_nothing() -> None:
    memory = in_words(4)
    for number in range(5):
        memory.chat_memory.add_messages([HumanMessage(said(number)), AIMessage(said(number))])
    memory.load_memory_variables({})
    assert len(held(memory)) == 10


def test_saving_deletes_what_was_stored_by_others_and_left_the_window() -> None:
    memory = in_words(4)
    memory.chat_memory.add_messages([HumanMessage("old"), AIMessage("old")])
    save(memory, said(1), said(1))
    save(memory, said(2), said(2))
    assert held(memory) == ["w1", "w1", "w2", "w2"]


def test_the_low_water_mark_lets_more_go_at_once() -> None:
    memory = in_words(10, trim_to=0.4)
    for number in range(6):
        save(memory, said(number), said(number))
    assert held(memory) == ["w4", "w4", "w5", "w5"]


@pytest.mark.parametrize("trim_to", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("limit", [7, 20, 45])
def test_it_shows_what_a_token_buffer_shows_of_the_whole_conversation(
    trim_to: float, limit: int
) -> None:
    memory = in_words(limit, trim_to=trim_to)
    buffer = TokenBuffer(limit, token_counter=words, trim_to=trim_to)
    conversation: list[BaseMessage] = []
    differ = []
    for number in range(40):
        question, reply = said(number, 1 + number % 3), said(number, 1 + number % 4)
        save(memory, question, reply)
        conversation += [HumanMessage(question), AIMessage(reply)]
        if shown(memory) != contents(buffer.trim(conversation)):
            differ.append(number)
    assert differ == []


sizes = st.sampled_from([1, 2, 5, 12, 100])


@given(
    turns=st.lists(st.tuples(sizes, sizes), min_size=1, max_size=9),
    limit=st.integers(8, 60),
    trim_to=st.sampled_from([0.4, 0.6, 1.0]),
    oversize=st.sampled_from(["clamp", "drop"]),
    loads=st.sampled_from(["never", "always"]),
)
def test_what_it_deleted_changes_no_window(
    turns: list[tuple[int, int]], limit: int, trim_to: float, oversize: str, loads: str
) -> None:
    options = {"trim_to": trim_to, "oversize": oversize}
    memory, keeping = in_words(limit, **options), in_words(limit, **options)
    keeping.chat_memory = PassedHistory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what not even shortening fits
        for number, (question, reply) in enumerate(turns):
            for each in (memory, keeping):
                save(each, said(number, question), said(number, reply))
            if loads == "always":
                memory.load_memory_variables({})
            begun_anew = shown(copy.deepcopy(memory))
            assert shown(memory) == shown(keeping) == begun_anew


def test_system_messages_stay() -> None:
    memory = in_words(6)
    memory.chat_memory.add_message(SystemMessage("be brief"))
    for number in range(5):
        save(memory, said(number), said(number))
    assert shown(memory) == ["be brief", "w3", "w3", "w4", "w4"]


def test_pinned_messages_stay_in_the_window_and_in_memory() -> None:
    memory = in_words(6)
    pinned = HumanMessage("remember this", additional_kwargs={"pinned": True})
    memory.chat_memory.add_message(pinned)
    for number in range(5):
        save(memory, said(number), said(number))
    assert held(memory) == ["remember this", "w3", "w3", "w4", "w4"]


@pytest.mark.parametrize("oversize", ["clamp", "drop"])
@pytest.mark.parametrize("limit", [3, 10, 60])
def test_a_window_never_costs_more_than_the_limit_of_a_chat_model(
    limit: int, oversize: Any
) -> None:
    memory = ConversationTokenBufferMemory(
        llm=CHAT, max_token_limit=limit, return_messages=True, oversize=oversize
    )
    sizes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for number in range(12):
            save(memory, said(number, number), said(number, 40 * (number % 3)))
            sizes.append(CHAT.get_num_tokens_from_messages(memory.buffer_as_messages))
    assert max(sizes) <= limit


def test_text_that_spells_a_special_token_is_saved_like_any_other() -> None:
    memory = ConversationTokenBufferMemory(llm=CHAT)
    save(memory, "<|endoftext|>", "<|im_start|>")
    assert shown(memory) == ["<|endoftext|>", "<|im_start|>"]
