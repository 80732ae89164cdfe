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
from tests.builders import contents_of, count_content_words, numbered_text
from tests.memory.stand_ins import CHAT, COMPLETION, PassedHistory, memory_of_words, save, stored_in, window_of


def test_what_leaves_the_window_leaves_memory() -> None:
    memory = memory_of_words(4)
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    assert stored_in(memory) == ["w3", "w3", "w4", "w4"]


def test_the_window_begins_with_a_human_message() -> None:
    memory = memory_of_words(5)
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    assert [message.type for message in memory.buffer_as_messages] == ["human", "ai"] * 2


def test_single_messages_leave_one_by_one_when_that_is_asked_for() -> None:
    memory = memory_of_words(5, start_on=None, oversize="drop")
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    assert stored_in(memory) == ["w2", "w3", "w3", "w4", "w4"]


def test_loading_enforces_the_budget() -> None:
    memory = memory_of_words(4)
    for number in range(5):
        memory.chat_memory.add_messages([HumanMessage(numbered_text(number)), AIMessage(numbered_text(number))])
    assert window_of(memory) == ["w3", "w3", "w4", "w4"]


def test_loading_deletes_nothing() -> None:
    memory = memory_of_words(4)
    for number in range(5):
        memory.chat_memory.add_messages([HumanMessage(numbered_text(number)), AIMessage(numbered_text(number))])
    memory.load_memory_variables({})
    assert len(stored_in(memory)) == 10


def test_saving_deletes_what_was_stored_by_others_and_left_the_window() -> None:
    memory = memory_of_words(4)
    memory.chat_memory.add_messages([HumanMessage("old"), AIMessage("old")])
    save(memory, numbered_text(1), numbered_text(1))
    save(memory, numbered_text(2), numbered_text(2))
    assert stored_in(memory) == ["w1", "w1", "w2", "w2"]


def test_the_low_water_mark_lets_more_go_at_once() -> None:
    memory = memory_of_words(10, trim_to=0.4)
    for number in range(6):
        save(memory, numbered_text(number), numbered_text(number))
    assert stored_in(memory) == ["w4", "w4", "w5", "w5"]


@pytest.mark.parametrize("trim_to", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("limit", [7, 20, 45])
def test_the_memory_shows_what_a_token_buffer_shows_of_the_whole_conversation(trim_to: float, limit: int) -> None:
    memory = memory_of_words(limit, trim_to=trim_to)
    buffer = TokenBuffer(limit, token_counter=count_content_words, trim_to=trim_to)
    conversation: list[BaseMessage] = []
    differ = []
    for number in range(40):
        question, reply = (
            numbered_text(number, 1 + number % 3),
            numbered_text(number, 1 + number % 4),
        )
        save(memory, question, reply)
        conversation += [HumanMessage(question), AIMessage(reply)]
        if window_of(memory) != contents_of(buffer.trim(conversation)):
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
def test_what_the_memory_deleted_changes_no_window(
    turns: list[tuple[int, int]], limit: int, trim_to: float, oversize: str, loads: str
) -> None:
    options = {"trim_to": trim_to, "oversize": oversize}
    memory, keeping = memory_of_words(limit, **options), memory_of_words(limit, **options)
    keeping.chat_memory = PassedHistory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what not even shortening fits
        for number, (question, reply) in enumerate(turns):
            for each in (memory, keeping):
                save(each, numbered_text(number, question), numbered_text(number, reply))
            if loads == "always":
                memory.load_memory_variables({})
            begun_anew = window_of(copy.deepcopy(memory))
            assert window_of(memory) == window_of(keeping) == begun_anew


def test_system_messages_stay() -> None:
    memory = memory_of_words(6)
    memory.chat_memory.add_message(SystemMessage("be brief"))
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    assert window_of(memory) == ["be brief", "w3", "w3", "w4", "w4"]


def test_pinned_messages_stay_in_the_window_and_in_memory() -> None:
    memory = memory_of_words(6)
    pinned = HumanMessage("remember this", additional_kwargs={"pinned": True})
    memory.chat_memory.add_message(pinned)
    for number in range(5):
        save(memory, numbered_text(number), numbered_text(number))
    assert stored_in(memory) == ["remember this", "w3", "w3", "w4", "w4"]


@pytest.mark.parametrize("oversize", ["clamp", "drop"])
@pytest.mark.parametrize("limit", [3, 10, 60])
def test_a_window_never_costs_more_than_the_limit_of_a_chat_model(limit: int, oversize: Any) -> None:
    memory = ConversationTokenBufferMemory(llm=CHAT, max_token_limit=limit, return_messages=True, oversize=oversize)
    sizes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for number in range(12):
            save(memory, numbered_text(number, number), numbered_text(number, 40 * (number % 3)))
            sizes.append(CHAT.get_num_tokens_from_messages(memory.buffer_as_messages))
    assert max(sizes) <= limit


def test_text_that_spells_a_special_token_is_saved_like_any_other() -> None:
    memory = ConversationTokenBufferMemory(llm=CHAT)
    save(memory, "<|endoftext|>", "<|im_start|>")
    assert window_of(memory) == ["<|endoftext|>", "<|im_start|>"]


@pytest.mark.parametrize("prefix", ["Human", "The customer who rang this morning"])
def test_the_string_is_within_the_limit_as_the_string_it_is(prefix: str) -> None:
    memory = ConversationTokenBufferMemory(llm=COMPLETION, max_token_limit=100, human_prefix=prefix)
    longest = 0
    for number in range(60):
        memory.save_context({"input": f"q{number}"}, {"output": f"a{number}"})
        longest = max(longest, COMPLETION.get_num_tokens(memory.load_memory_variables({})["history"]))
    assert 80 < longest <= 100
