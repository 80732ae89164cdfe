"""What the memory shows: as a string, as messages, under which key."""

from __future__ import annotations

from langchain_core.messages import AIMessage, HumanMessage

from tests.memory.stand_ins import memory_of_words, save, window_of


def test_the_buffer_is_a_string() -> None:
    memory = memory_of_words(60)
    save(memory, "hi", "hello")
    assert memory.buffer == "Human: hi\nAI: hello"


def test_the_buffer_is_a_list_when_messages_are_asked_for() -> None:
    memory = memory_of_words(60, return_messages=True)
    save(memory, "hi", "hello")
    assert memory.buffer == [HumanMessage("hi"), AIMessage("hello")]


def test_the_buffer_as_a_string_does_not_ask_for_the_setting() -> None:
    memory = memory_of_words(60, return_messages=True)
    save(memory, "hi", "hello")
    assert memory.buffer_as_str == "Human: hi\nAI: hello"


def test_the_buffer_as_messages_does_not_ask_for_the_setting() -> None:
    memory = memory_of_words(60)
    save(memory, "hi", "hello")
    assert memory.buffer_as_messages == [HumanMessage("hi"), AIMessage("hello")]


def test_the_messages_shown_are_the_stored_ones() -> None:
    memory = memory_of_words(60)
    save(memory, "hi", "hello")
    assert memory.buffer_as_messages[0] is memory.chat_memory.messages[0]


def test_an_empty_memory_shows_an_empty_string() -> None:
    assert memory_of_words(60).load_memory_variables({}) == {"history": ""}


def test_an_empty_memory_shows_no_messages() -> None:
    assert memory_of_words(60, return_messages=True).load_memory_variables({}) == {"history": []}


def test_the_one_variable_of_the_memory_is_the_memory_key() -> None:
    assert memory_of_words(60, memory_key="past").memory_variables == ["past"]


def test_the_memory_loads_under_the_memory_key() -> None:
    assert memory_of_words(60, memory_key="past").load_memory_variables({}) == {"past": ""}


async def test_the_memory_loads_the_same_in_async() -> None:
    memory = memory_of_words(60, memory_key="past")
    save(memory, "hi", "hello")
    assert await memory.aload_memory_variables({}) == memory.load_memory_variables({})


async def test_the_memory_loads_messages_in_async() -> None:
    memory = memory_of_words(60, return_messages=True)
    save(memory, "hi", "hello")
    assert await memory.aload_memory_variables({}) == memory.load_memory_variables({})


def test_prefixes_stand_in_the_string() -> None:
    memory = memory_of_words(60, human_prefix="Me", ai_prefix="You")
    save(memory, "hi", "hello")
    assert memory.buffer == "Me: hi\nYou: hello"


def test_changing_the_shown_list_changes_nothing() -> None:
    memory = memory_of_words(60)
    save(memory, "hi", "hello")
    memory.buffer_as_messages.clear()
    assert window_of(memory) == ["hi", "hello"]
