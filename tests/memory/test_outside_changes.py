"""Whatever is done to the store from outside, the window is that of what it holds now."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_tokenbuffer import ConversationTokenBufferMemory, TokenBuffer
from tests.builders import (
    contents_of,
    count_content_words,
    count_content_words_by_tens,
    numbered_text,
)
from tests.memory.stand_ins import (
    LIMITS,
    memory_after_seven_turns,
    memory_of_words,
    save,
    window_of,
)


def _append(memory: ConversationTokenBufferMemory) -> None:
    memory.chat_memory.add_messages([HumanMessage("new"), AIMessage("news")])


def _edit(memory: ConversationTokenBufferMemory) -> None:
    memory.chat_memory.messages[0].content = "edited to be long"


def _edit_newest(memory: ConversationTokenBufferMemory) -> None:
    memory.chat_memory.messages[-1].content = "edited to be long"


def _replace_one(memory: ConversationTokenBufferMemory) -> None:
    memory.chat_memory.messages[2] = HumanMessage("another question of five words")


def _replace_by_an_equal_one(memory: ConversationTokenBufferMemory) -> None:
    messages = memory.chat_memory.messages
    messages[2] = messages[2].model_copy()


def _remove_the_first_turn(memory: ConversationTokenBufferMemory) -> None:
    del memory.chat_memory.messages[:2]


def _remove_a_turn_inside(memory: ConversationTokenBufferMemory) -> None:
    del memory.chat_memory.messages[2:4]


def _remove_the_last_turn(memory: ConversationTokenBufferMemory) -> None:
    del memory.chat_memory.messages[-2:]


def _insert_a_system_message(memory: ConversationTokenBufferMemory) -> None:
    memory.chat_memory.messages.insert(0, SystemMessage("be brief"))


def _replace_the_list(memory: ConversationTokenBufferMemory) -> None:
    memory.chat_memory.messages = [HumanMessage("x"), AIMessage("y")]


def _replace_the_list_by_one_as_long(memory: ConversationTokenBufferMemory) -> None:
    count = len(memory.chat_memory.messages)
    memory.chat_memory.messages = [HumanMessage(f"other {n}") for n in range(count)]


def _replace_the_list_by_a_copy(memory: ConversationTokenBufferMemory) -> None:
    memory.chat_memory.messages = list(memory.chat_memory.messages)


def _reverse(memory: ConversationTokenBufferMemory) -> None:
    memory.chat_memory.messages.reverse()


def _clear_and_append(memory: ConversationTokenBufferMemory) -> None:
    memory.chat_memory.clear()
    _append(memory)


def _another_own_store(memory: ConversationTokenBufferMemory) -> None:
    memory.chat_memory = memory_of_words(1).chat_memory
    _append(memory)


CHANGES = [
    _append,
    _edit,
    _edit_newest,
    _replace_one,
    _replace_by_an_equal_one,
    _remove_the_first_turn,
    _remove_a_turn_inside,
    _remove_the_last_turn,
    _insert_a_system_message,
    _replace_the_list,
    _replace_the_list_by_one_as_long,
    _replace_the_list_by_a_copy,
    _reverse,
    _clear_and_append,
    _another_own_store,
]
changes = pytest.mark.parametrize("change", CHANGES, ids=[f.__name__.strip("_") for f in CHANGES])


@changes
@pytest.mark.parametrize("counter", [count_content_words, count_content_words_by_tens])
def test_a_change_from_outside_is_seen_on_load(change: Any, counter: Any) -> None:
    memory = memory_after_seven_turns(counter)
    change(memory)
    buffer = TokenBuffer(LIMITS[counter], token_counter=counter, trim_to=0.8)
    expected = buffer.trim(memory.chat_memory.messages)
    assert [id(m) for m in memory.buffer_as_messages] == [id(m) for m in expected]


@changes
@pytest.mark.parametrize("counter", [count_content_words, count_content_words_by_tens])
def test_a_change_from_outside_is_seen_by_the_next_load_and_save(change: Any, counter: Any) -> None:
    memory = memory_after_seven_turns(counter)
    change(memory)
    conversation = list(memory.chat_memory.messages)
    memory.load_memory_variables({})  # as a chain does before it saves
    save(memory, "what", "that")
    conversation += [HumanMessage("what"), AIMessage("that")]
    buffer = TokenBuffer(LIMITS[counter], token_counter=counter, trim_to=0.8)
    assert window_of(memory) == contents_of(buffer.trim(conversation))


@changes
def test_after_a_change_from_outside_a_save_alone_keeps_the_budget(change: Any) -> None:
    memory = memory_after_seven_turns()
    change(memory)
    save(memory, "what", "that")
    assert count_content_words(memory.buffer_as_messages) <= 10


def test_a_change_while_the_newest_message_stays_is_seen_on_load() -> None:
    memory = memory_of_words(100)
    for number in range(3):
        save(memory, numbered_text(number), numbered_text(number))
    memory.load_memory_variables({})
    memory.chat_memory.messages[0].content = numbered_text(9, 99)
    assert count_content_words(memory.buffer_as_messages) <= 100
