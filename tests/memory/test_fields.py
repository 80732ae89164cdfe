"""The drop-in memory has the fields, the defaults and the dumps of the classic class."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_classic.memory.chat_memory import BaseChatMemory
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import ConversationTokenBufferMemory
from tests.builders import run_script
from tests.memory.stand_ins import (
    CHAT,
    ClassicMemory,
    PassedHistory,
    memory_of_words,
    save,
    stored_in,
)


@pytest.mark.parametrize("name", list(ClassicMemory.model_fields))
def test_the_memory_has_every_classic_field(name: str) -> None:
    assert name in ConversationTokenBufferMemory.model_fields


@pytest.mark.parametrize("name", sorted({*ClassicMemory.model_fields} - {"chat_memory", "llm"}))
def test_a_default_is_the_classic_one(name: str, classic: ClassicMemory) -> None:
    assert getattr(ConversationTokenBufferMemory(llm=CHAT), name) == getattr(classic, name)


@pytest.mark.parametrize(
    ("name", "value"), [("trim_to", 1.0), ("start_on", "human"), ("oversize", "clamp"),
                        ("on_evict", None)]
)  # fmt: skip
def test_a_default_of_a_new_setting_is_as_documented(name: str, value: object) -> None:
    assert getattr(ConversationTokenBufferMemory(llm=CHAT), name) == value


def test_arguments_are_given_by_name_as_to_the_classic_class() -> None:
    with pytest.raises(TypeError, match="positional"):
        ConversationTokenBufferMemory(CHAT)  # type: ignore[call-arg, arg-type]


def test_the_memory_takes_every_classic_argument() -> None:
    options: dict[str, Any] = {
        "chat_memory": PassedHistory(),
        "output_key": "out",
        "input_key": "in",
        "return_messages": True,
        "human_prefix": "Me",
        "ai_prefix": "You",
        "llm": CHAT,
        "memory_key": "past",
        "max_token_limit": 7,
    }
    memory = ConversationTokenBufferMemory(**options)
    assert {name: getattr(memory, name) for name in options} == options


def test_the_memory_is_a_chat_memory() -> None:
    assert isinstance(ConversationTokenBufferMemory(llm=CHAT), BaseChatMemory)


def test_the_memorys_own_store_is_an_in_memory_history() -> None:
    memory = ConversationTokenBufferMemory(llm=CHAT)
    assert isinstance(memory.chat_memory, InMemoryChatMessageHistory)


def test_two_memories_share_no_store() -> None:
    first, second = memory_of_words(100), memory_of_words(100)
    save(first, "hi", "hello")
    assert stored_in(second) == []


def test_the_model_stays_the_same_object() -> None:
    assert ConversationTokenBufferMemory(llm=CHAT).llm is CHAT


def test_a_model_with_bound_options_is_seen_through() -> None:
    bound: Any = CHAT.bind(stop=["x"])
    assert ConversationTokenBufferMemory(llm=bound).llm is CHAT


def test_the_memory_dumps_as_json_what_the_classic_class_dumps(classic: ClassicMemory) -> None:
    memory = ConversationTokenBufferMemory(llm=CHAT)
    for each in (memory, classic):
        each.save_context({"input": "hi"}, {"output": "hello"})
    theirs = json.loads(classic.model_dump_json())
    ours = json.loads(memory.model_dump_json())
    assert {name: ours[name] for name in theirs} == theirs


def test_the_memory_dumps_what_the_classic_class_dumps(classic: ClassicMemory) -> None:
    theirs, ours = classic.model_dump(), ConversationTokenBufferMemory(llm=CHAT).model_dump()
    assert {name: ours[name] for name in theirs} == theirs


def test_a_callable_is_dumped_as_what_it_is() -> None:
    assert json.loads(memory_of_words(5).model_dump_json())["llm"] == "count_content_words"


def test_an_encoding_name_is_dumped_as_it_is() -> None:
    memory = ConversationTokenBufferMemory(llm="o200k_base")
    assert json.loads(memory.model_dump_json())["llm"] == "o200k_base"


def test_the_handler_of_evictions_is_not_dumped() -> None:
    assert "on_evict" not in memory_of_words(5, on_evict=print).model_dump()


def test_the_repr_of_the_memory_names_its_settings() -> None:
    assert "max_token_limit=5" in repr(memory_of_words(5))


def test_the_repr_of_the_memory_shows_no_key() -> None:
    llm = ChatOpenAI(api_key=SecretStr("sk-very-secret"), model="gpt-4o")
    assert "sk-very-secret" not in repr(ConversationTokenBufferMemory(llm=llm))


def test_nothing_warns_from_import_to_use() -> None:
    script = """
import asyncio, warnings
warnings.simplefilter("error")
from langchain_tokenbuffer import ConversationTokenBufferMemory
memory = ConversationTokenBufferMemory(llm=len, max_token_limit=3, on_evict=lambda gone: None)
memory.save_context({"input": "hi"}, {"output": "hello"})
asyncio.run(memory.asave_context({"input": "hi"}, {"output": "hello"}))
memory.load_memory_variables({})
asyncio.run(memory.aload_memory_variables({}))
memory.clear()
asyncio.run(memory.aclear())
"""
    assert run_script(script) == ""
