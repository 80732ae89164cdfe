"""The drop-in memory: what it keeps, what it shows, what it lets go of."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import json
import logging
import pickle
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_classic.memory.chat_memory import BaseChatMemory
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    message_to_dict,
    messages_from_dict,
)
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import (
    ConversationTokenBufferMemory,
    TokenBudgetError,
    TokenBuffer,
    TokenCounter,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_classic.memory import ConversationTokenBufferMemory as ClassicMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

CHAT = ChatOpenAI(api_key=SecretStr("x"), model="gpt-4o")
COMPLETION = OpenAI(api_key=SecretStr("x"), model="gpt-3.5-turbo-instruct")

INPUTS = (
    "Hi, what's up?",
    "Just working on writing some documentation!",
    "For LangChain! Have you heard of it?",
    "Haha nope, although a lot of people confuse it for that",
)
REPLIES = (
    " Hi there! I'm doing great, just enjoying the day. How about you?",
    " Sounds like a productive day! What kind of documentation are you writing?",
    (
        " Yes, I have heard of LangChain! It is a decentralized language-learning platform that "
        "connects native speakers and learners in real time. Is that the documentation you're "
        "writing about?"
    ),
    " Oh, I see. Is there another language learning platform you're referring to?",
)


# --- stand-ins ------------------------------------------------------------------------------------


def words(messages: Sequence[BaseMessage]) -> int:
    """Count words: numbers one can check by eye."""
    return sum(len(str(message.content).split()) for message in messages)


def tens(messages: Sequence[BaseMessage]) -> int:
    """Count words, the sum rounded up to tens: not additive."""
    return -(-words(messages) // 10) * 10


def said(number: int, size: int = 1) -> str:
    """Return a text of so many words that only this number has."""
    return " ".join([f"w{number}"] * size)


def save(memory: ConversationTokenBufferMemory, question: str, reply: str) -> None:
    memory.save_context({"input": question}, {"output": reply})


def contents(messages: Sequence[BaseMessage]) -> list[object]:
    return [message.content for message in messages]


def held(memory: ConversationTokenBufferMemory) -> list[object]:
    return contents(memory.chat_memory.messages)


def shown(memory: ConversationTokenBufferMemory) -> list[object]:
    return contents(memory.buffer_as_messages)


def in_words(limit: int, **options: Any) -> ConversationTokenBufferMemory:
    return ConversationTokenBufferMemory(llm=words, max_token_limit=limit, **options)


class PassedHistory(InMemoryChatMessageHistory):
    """An in-memory history that somebody passes; a subclass, since the class itself warns."""


class FreshListHistory(BaseChatMessageHistory):
    """A history that returns a fresh list at every read, as databases do."""

    def __init__(self) -> None:
        self._stored: list[BaseMessage] = []

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        return list(self._stored)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self._stored.extend(messages)

    def clear(self) -> None:
        self._stored.clear()


class FileHistory(BaseChatMessageHistory):
    """A history in a file: at every read the messages are new objects."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        if not self._path.exists():
            return []
        return messages_from_dict(json.loads(self._path.read_text()))

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        stored = [message_to_dict(message) for message in (*self.messages, *messages)]
        self._path.write_text(json.dumps(stored))

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)


class AsyncOnlyHistory(BaseChatMessageHistory):
    """A history that can be read and written only in async."""

    def __init__(self) -> None:
        self._stored: list[BaseMessage] = []

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        raise AssertionError

    async def aget_messages(self) -> list[BaseMessage]:
        await asyncio.sleep(0)
        return list(self._stored)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        raise AssertionError

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        await asyncio.sleep(0)
        self._stored.extend(messages)

    def clear(self) -> None:
        raise AssertionError

    async def aclear(self) -> None:
        self._stored.clear()


@pytest.fixture(params=["in_memory", "fresh_list", "file"])
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> BaseChatMessageHistory:
    """A store that somebody passes as `chat_memory`."""
    if request.param == "in_memory":
        return PassedHistory()
    return FreshListHistory() if request.param == "fresh_list" else FileHistory(tmp_path / "h.json")


@pytest.fixture
def classic() -> ClassicMemory:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ClassicMemory(llm=CHAT)


@pytest.fixture(params=["sync", "async"])
def save_either_way(
    request: pytest.FixtureRequest,
) -> Callable[[ConversationTokenBufferMemory, dict[str, Any], dict[str, Any]], None]:
    """`save_context` or its async twin."""
    if request.param == "sync":
        return lambda memory, inputs, outputs: memory.save_context(inputs, outputs)
    return lambda memory, inputs, outputs: asyncio.run(memory.asave_context(inputs, outputs))


# --- the classic constructor and fields -----------------------------------------------------------


@pytest.mark.parametrize("name", list(ClassicMemory.model_fields))
def test_every_classic_field_is_there(name: str) -> None:
    assert name in ConversationTokenBufferMemory.model_fields


@pytest.mark.parametrize("name", sorted({*ClassicMemory.model_fields} - {"chat_memory", "llm"}))
def test_a_default_is_the_classic_one(name: str, classic: ClassicMemory) -> None:
    assert getattr(ConversationTokenBufferMemory(llm=CHAT), name) == getattr(classic, name)


@pytest.mark.parametrize(
    ("name", "value"), [("trim_to", 1.0), ("start_on", "human"), ("oversize", "clamp"),
                        ("on_evict", None)]
)  # fmt: skip
def test_a_default_of_our_own_is_as_documented(name: str, value: object) -> None:
    assert getattr(ConversationTokenBufferMemory(llm=CHAT), name) == value


def test_arguments_are_given_by_name_as_to_the_classic_class() -> None:
    with pytest.raises(TypeError, match="positional"):
        ConversationTokenBufferMemory(CHAT)  # type: ignore[call-arg, arg-type]


def test_it_takes_every_classic_argument() -> None:
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


def test_it_is_a_chat_memory() -> None:
    assert isinstance(ConversationTokenBufferMemory(llm=CHAT), BaseChatMemory)


def test_its_own_store_is_an_in_memory_history() -> None:
    memory = ConversationTokenBufferMemory(llm=CHAT)
    assert isinstance(memory.chat_memory, InMemoryChatMessageHistory)


def test_two_memories_share_no_store() -> None:
    first, second = in_words(100), in_words(100)
    save(first, "hi", "hello")
    assert held(second) == []


def test_the_model_stays_the_same_object() -> None:
    assert ConversationTokenBufferMemory(llm=CHAT).llm is CHAT


def test_a_model_with_bound_options_is_seen_through() -> None:
    bound: Any = CHAT.bind(stop=["x"])
    assert ConversationTokenBufferMemory(llm=bound).llm is CHAT


def test_it_dumps_as_json_what_the_classic_class_dumps(classic: ClassicMemory) -> None:
    memory = ConversationTokenBufferMemory(llm=CHAT)
    for each in (memory, classic):
        each.save_context({"input": "hi"}, {"output": "hello"})
    theirs = json.loads(classic.model_dump_json())
    ours = json.loads(memory.model_dump_json())
    assert {name: ours[name] for name in theirs} == theirs


def test_it_dumps_what_the_classic_class_dumps(classic: ClassicMemory) -> None:
    theirs, ours = classic.model_dump(), ConversationTokenBufferMemory(llm=CHAT).model_dump()
    assert {name: ours[name] for name in theirs} == theirs


def test_a_callable_is_dumped_as_what_it_is() -> None:
    assert json.loads(in_words(5).model_dump_json())["llm"] == "words"


def test_an_encoding_name_is_dumped_as_it_is() -> None:
    memory = ConversationTokenBufferMemory(llm="o200k_base")
    assert json.loads(memory.model_dump_json())["llm"] == "o200k_base"


def test_the_handler_of_evictions_is_not_dumped() -> None:
    assert "on_evict" not in in_words(5, on_evict=print).model_dump()


def test_its_repr_names_its_settings() -> None:
    assert "max_token_limit=5" in repr(in_words(5))


def test_its_repr_shows_no_key() -> None:
    llm = ChatOpenAI(api_key=SecretStr("sk-very-secret"), model="gpt-4o")
    assert "sk-very-secret" not in repr(ConversationTokenBufferMemory(llm=llm))


def test_nothing_warns_from_import_to_use() -> None:
    script = """
import asyncio
from langchain_tokenbuffer import ConversationTokenBufferMemory
memory = ConversationTokenBufferMemory(llm=len, max_token_limit=3, on_evict=lambda gone: None)
memory.save_context({"input": "hi"}, {"output": "hello"})
asyncio.run(memory.asave_context({"input": "hi"}, {"output": "hello"}))
memory.load_memory_variables({})
asyncio.run(memory.aload_memory_variables({}))
memory.clear()
asyncio.run(memory.aclear())
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")


# --- bad settings ---------------------------------------------------------------------------------

BAD = [
    ("max_token_limit", 0, ValueError),
    ("max_token_limit", -3, ValueError),
    ("max_token_limit", 2.5, TypeError),
    ("max_token_limit", "60", TypeError),
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
def test_a_bad_setting_is_refused_at_construction_by_name(
    name: str, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match=name):
        ConversationTokenBufferMemory(**{"llm": words, name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value", "error"), BAD)
def test_a_bad_setting_is_refused_at_assignment_by_name(
    name: str, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match=name):
        setattr(in_words(60), name, value)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, value, _ in BAD[:-1]])
def test_a_setting_refused_at_assignment_stays_as_it_was(name: str, value: object) -> None:
    memory = in_words(60)
    before = getattr(memory, name)
    with pytest.raises((TypeError, ValueError)):
        setattr(memory, name, value)
    assert getattr(memory, name) == before


def test_a_missing_model_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="llm"):
        ConversationTokenBufferMemory()  # type: ignore[call-arg]


@pytest.mark.parametrize("oversize", ["clamp", "raise"])
def test_single_messages_can_only_be_dropped(oversize: str) -> None:
    with pytest.raises(ValueError, match="oversize"):
        in_words(60, start_on=None, oversize=oversize)


def test_settings_that_do_not_go_together_are_refused_at_assignment_too() -> None:
    memory = in_words(60)
    with pytest.raises(ValueError, match="oversize"):
        memory.start_on = None
    assert memory.start_on == "human"


def test_evictions_are_not_announced_from_a_store_that_was_passed(
    foreign: BaseChatMessageHistory,
) -> None:
    with pytest.raises(ValueError, match="on_evict"):
        in_words(60, chat_memory=foreign, on_evict=print)


def test_evictions_are_not_announced_from_another_memorys_store() -> None:
    with pytest.raises(ValueError, match="on_evict"):
        in_words(60, chat_memory=in_words(60).chat_memory, on_evict=print)


def test_a_store_passed_later_is_refused_beside_a_handler_of_evictions() -> None:
    memory = in_words(60, on_evict=print)
    with pytest.raises(ValueError, match="on_evict"):
        memory.chat_memory = PassedHistory()


def test_a_store_refused_later_is_not_taken() -> None:
    memory = in_words(60, on_evict=print)
    own = memory.chat_memory
    with pytest.raises(ValueError, match="on_evict"):
        memory.chat_memory = PassedHistory()
    assert memory.chat_memory is own


# --- the seed facts -------------------------------------------------------------------------------


def _two_turns(**options: Any) -> ConversationTokenBufferMemory:
    memory = ConversationTokenBufferMemory(llm=COMPLETION, max_token_limit=10, **options)
    save(memory, "hi", "whats up")
    save(memory, "not much you", "not much")
    return memory


def test_ten_tokens_hold_the_second_turn() -> None:
    expected = {"history": "Human: not much you\nAI: not much"}
    assert _two_turns().load_memory_variables({}) == expected


def test_ten_tokens_hold_the_second_turn_as_messages() -> None:
    expected = {"history": [HumanMessage("not much you"), AIMessage("not much")]}
    assert _two_turns(return_messages=True).load_memory_variables({}) == expected


def _sixty_tokens() -> Iterator[ConversationTokenBufferMemory]:
    memory = ConversationTokenBufferMemory(llm=COMPLETION, max_token_limit=60)
    for question, reply in zip(INPUTS, REPLIES, strict=True):
        save(memory, question, reply)
        yield memory


def test_sixty_tokens_hold_28_54_50_and_35_tokens_of_the_seed_conversation() -> None:
    sizes = [
        COMPLETION.get_num_tokens_from_messages(memory.buffer_as_messages)
        for memory in _sixty_tokens()
    ]
    assert sizes == [28, 54, 50, 35]


def test_the_fourth_prompt_of_the_seed_conversation_has_the_third_exchange_alone() -> None:
    histories = [memory.load_memory_variables({})["history"] for memory in _sixty_tokens()]
    assert histories[2] == f"Human: {INPUTS[2]}\nAI: {REPLIES[2]}"


# --- what it shows --------------------------------------------------------------------------------


def test_the_buffer_is_a_string() -> None:
    memory = in_words(60)
    save(memory, "hi", "hello")
    assert memory.buffer == "Human: hi\nAI: hello"


def test_the_buffer_is_a_list_when_messages_are_asked_for() -> None:
    memory = in_words(60, return_messages=True)
    save(memory, "hi", "hello")
    assert memory.buffer == [HumanMessage("hi"), AIMessage("hello")]


def test_the_buffer_as_a_string_does_not_ask_for_the_setting() -> None:
    memory = in_words(60, return_messages=True)
    save(memory, "hi", "hello")
    assert memory.buffer_as_str == "Human: hi\nAI: hello"


def test_the_buffer_as_messages_does_not_ask_for_the_setting() -> None:
    memory = in_words(60)
    save(memory, "hi", "hello")
    assert memory.buffer_as_messages == [HumanMessage("hi"), AIMessage("hello")]


def test_the_messages_shown_are_the_stored_ones() -> None:
    memory = in_words(60)
    save(memory, "hi", "hello")
    assert memory.buffer_as_messages[0] is memory.chat_memory.messages[0]


def test_an_empty_memory_shows_an_empty_string() -> None:
    assert in_words(60).load_memory_variables({}) == {"history": ""}


def test_an_empty_memory_shows_no_messages() -> None:
    assert in_words(60, return_messages=True).load_memory_variables({}) == {"history": []}


def test_its_one_variable_is_the_memory_key() -> None:
    assert in_words(60, memory_key="past").memory_variables == ["past"]


def test_it_loads_under_the_memory_key() -> None:
    assert in_words(60, memory_key="past").load_memory_variables({}) == {"past": ""}


async def test_it_loads_the_same_in_async() -> None:
    memory = in_words(60, memory_key="past")
    save(memory, "hi", "hello")
    assert await memory.aload_memory_variables({}) == memory.load_memory_variables({})


async def test_it_loads_messages_in_async() -> None:
    memory = in_words(60, return_messages=True)
    save(memory, "hi", "hello")
    assert await memory.aload_memory_variables({}) == memory.load_memory_variables({})


def test_prefixes_stand_in_the_string() -> None:
    memory = in_words(60, human_prefix="Me", ai_prefix="You")
    save(memory, "hi", "hello")
    assert memory.buffer == "Me: hi\nYou: hello"


def test_changing_the_shown_list_changes_nothing() -> None:
    memory = in_words(60)
    save(memory, "hi", "hello")
    memory.buffer_as_messages.clear()
    assert shown(memory) == ["hi", "hello"]


# --- which input and which output -----------------------------------------------------------------


def _saved(inputs: dict[str, Any], outputs: dict[str, Any], **options: Any) -> list[object]:
    memory = in_words(60, **options)
    memory.save_context(inputs, outputs)
    return held(memory)


def test_the_only_input_and_output_are_saved_whatever_their_names() -> None:
    assert _saved({"question": "q"}, {"reply": "r"}) == ["q", "r"]


def test_the_input_key_says_which_input_is_saved() -> None:
    assert _saved({"a": "1", "b": "2"}, {"output": "r"}, input_key="b") == ["2", "r"]


def test_the_memory_key_is_no_input() -> None:
    assert _saved({"history": "h", "input": "q"}, {"output": "r"}) == ["q", "r"]


def test_stop_words_are_no_input() -> None:
    assert _saved({"stop": ["x"], "input": "q"}, {"output": "r"}) == ["q", "r"]


def test_several_inputs_without_an_input_key_are_the_classic_error() -> None:
    with pytest.raises(ValueError, match="One input key expected"):
        _saved({"a": "1", "b": "2"}, {"output": "r"})


def test_the_output_key_says_which_output_is_saved() -> None:
    assert _saved({"input": "q"}, {"a": "1", "b": "2"}, output_key="b") == ["q", "2"]


def test_of_several_outputs_the_one_called_output_is_saved_with_the_classic_warning() -> None:
    with pytest.warns(UserWarning, match="got multiple output keys"):
        assert _saved({"input": "q"}, {"output": "r", "answer": "a"}) == ["q", "r"]


@pytest.mark.parametrize(
    ("keys", "saved"),
    [
        (["text", "response", "result", "answer"], "answer"),
        (["text", "response", "result"], "result"),
        (["text", "response"], "response"),
        (["text", "source_documents"], "text"),
        (["source_documents", "answer"], "answer"),
    ],
)
def test_of_several_outputs_the_first_known_one_is_saved(keys: list[str], saved: str) -> None:
    assert _saved({"input": "q"}, {key: f"the {key}" for key in keys}) == ["q", f"the {saved}"]


def test_several_outputs_of_unknown_names_are_the_classic_error() -> None:
    with pytest.raises(ValueError, match="Got multiple output keys"):
        _saved({"input": "q"}, {"a": "1", "b": "2"})


def test_no_output_at_all_is_the_classic_error() -> None:
    with pytest.raises(ValueError, match="Got multiple output keys"):
        _saved({"input": "q"}, {})


def test_content_blocks_are_saved_as_they_are() -> None:
    blocks = [{"type": "text", "text": "look at this"}]
    assert _saved({"input": blocks}, {"output": "r"}) == [blocks, "r"]


# --- clearing -------------------------------------------------------------------------------------


def test_clear_empties_it() -> None:
    memory = in_words(60)
    save(memory, "hi", "hello")
    memory.clear()
    assert (shown(memory), held(memory)) == ([], [])


async def test_aclear_empties_it() -> None:
    memory = in_words(60)
    save(memory, "hi", "hello")
    await memory.aclear()
    assert (shown(memory), held(memory)) == ([], [])


def test_clear_empties_a_store_that_was_passed(foreign: BaseChatMessageHistory) -> None:
    memory = in_words(60, chat_memory=foreign)
    save(memory, "hi", "hello")
    memory.clear()
    assert foreign.messages == []


def test_after_clear_it_begins_anew() -> None:
    memory = in_words(4)
    for number in range(4):
        save(memory, said(number), said(number))
    memory.clear()
    save(memory, "hi", "hello")
    assert shown(memory) == ["hi", "hello"]


def test_clear_forgets_evictions_that_were_not_acknowledged() -> None:
    evicted: list[object] = []

    def refuse(gone: list[BaseMessage]) -> None:
        raise OSError

    memory = in_words(2, on_evict=refuse)
    save(memory, "a", "b")
    with pytest.raises(OSError):  # noqa: PT011  # it says nothing
        save(memory, "c", "d")
    memory.on_evict = lambda gone: evicted.extend(contents(gone))
    memory.clear()
    save(memory, "e", "f")
    save(memory, "g", "h")
    assert evicted == ["e", "f"]


# --- the budget -----------------------------------------------------------------------------------


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


# --- what does not fit ----------------------------------------------------------------------------


def test_one_long_reply_never_empties_it() -> None:
    memory = in_words(30)
    save(memory, "why", said(1, 500))
    assert [message.type for message in memory.buffer_as_messages] == ["human", "ai"]


def test_one_long_reply_is_shown_shortened() -> None:
    memory = in_words(30)
    save(memory, "why", said(1, 500))
    assert "tokens omitted" in memory.buffer_as_str


def test_one_long_reply_is_stored_whole() -> None:
    memory = in_words(30)
    save(memory, "why", said(1, 500))
    assert held(memory) == ["why", said(1, 500)]


def test_one_long_question_is_shown_shortened() -> None:
    memory = in_words(30)
    save(memory, said(1, 500), "because")
    assert "tokens omitted" in memory.buffer_as_str


async def test_one_long_reply_is_shown_the_same_in_async() -> None:
    memory = in_words(30)
    await memory.asave_context({"input": "why"}, {"output": said(1, 500)})
    assert await memory.aload_memory_variables({}) == memory.load_memory_variables({})


def test_a_shortened_reply_stays_as_it_is_over_later_turns() -> None:
    memory = in_words(60, trim_to=0.5)
    save(memory, "why", said(1, 500))
    texts = []
    for number in range(2, 8):
        save(memory, said(number), said(number))
        texts.append(shown(memory)[1])
    assert ("omitted" in str(texts[0]), len(set(texts))) == (True, 1)


def test_a_shortened_reply_leaves_when_its_turn_does() -> None:
    memory = in_words(30)
    save(memory, "why", said(1, 500))
    for number in range(2, 30):
        save(memory, said(number), said(number))
    assert said(1, 500) not in held(memory)


def _overfull(**options: Any) -> tuple[ConversationTokenBufferMemory, list[str]]:
    """Save a turn of which not even the marker fits, and load; return the warnings."""
    memory = in_words(2, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        save(memory, "why", said(1, 500))
        memory.load_memory_variables({})
        memory.load_memory_variables({})
    return memory, [str(warning.message) for warning in caught]


def test_what_not_even_shortening_fits_is_left_out() -> None:
    memory, _ = _overfull()
    assert shown(memory) == ["why"]


def test_what_is_left_out_leaves_memory() -> None:
    memory, _ = _overfull()
    assert held(memory) == ["why"]


def test_what_is_left_out_is_said_once() -> None:
    _, caught = _overfull()
    assert len(caught) == 1


def test_what_is_left_out_is_said_with_both_numbers() -> None:
    _, [said_once] = _overfull()
    assert "needs 6 tokens" in said_once
    assert "max_tokens is 2" in said_once


def test_what_is_left_out_of_a_passed_store_is_said_once(foreign: BaseChatMessageHistory) -> None:
    _, caught = _overfull(chat_memory=foreign)
    assert len(caught) == 1


def test_a_limit_below_a_requests_own_cost_is_said_once_a_turn() -> None:
    memory = ConversationTokenBufferMemory(llm=CHAT, max_token_limit=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(3):
            save(memory, said(number), said(number))
            memory.load_memory_variables({})
            memory.load_memory_variables({})
    assert len(caught) == 3


def test_after_what_was_left_out_the_next_turn_is_followed_as_ever() -> None:
    memory = in_words(4)
    with pytest.warns(UserWarning, match="Left out"):
        save(memory, said(1, 500), "because")
    for number in range(2, 6):
        save(memory, said(number), said(number))
    assert held(memory) == ["w4", "w4", "w5", "w5"]


def test_dropping_logs_what_was_left_out(caplog: pytest.LogCaptureFixture) -> None:
    memory = in_words(4, oversize="drop")
    with caplog.at_level(logging.WARNING, logger="langchain_tokenbuffer"):
        save(memory, "why", said(1, 500))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_dropping_leaves_out_the_reply_alone() -> None:
    memory = in_words(4, oversize="drop")
    save(memory, "why", said(1, 500))
    assert held(memory) == ["why"]


def test_dropping_leaves_out_a_question_with_its_turn() -> None:
    memory = in_words(4, oversize="drop")
    save(memory, said(1, 500), "because")
    assert held(memory) == []


def test_dropping_single_messages_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    memory = in_words(4, start_on=None, oversize="drop")
    save(memory, "why", said(1, 500))
    assert caplog.records == []


def test_system_messages_that_do_not_fit_are_said_with_both_numbers() -> None:
    memory = in_words(5)
    memory.chat_memory.add_message(SystemMessage(said(0, 9)))
    with pytest.warns(UserWarning, match=r"needs 9 tokens.*max_tokens is 5"):
        assert shown(memory) == []


@pytest.fixture
def raising(foreign: BaseChatMessageHistory) -> ConversationTokenBufferMemory:
    return in_words(5, oversize="raise", chat_memory=foreign)


def test_raising_raises_from_save_with_both_numbers(save_either_way: Any) -> None:
    with pytest.raises(TokenBudgetError, match=r"needs 501 tokens.*max_tokens is 5"):
        save_either_way(in_words(5, oversize="raise"), {"input": "why"}, {"output": said(1, 500)})


def test_raising_stores_nothing(save_either_way: Any) -> None:
    memory = in_words(5, oversize="raise")
    save(memory, "a", "b")
    with pytest.raises(TokenBudgetError):
        save_either_way(memory, {"input": "why"}, {"output": said(1, 500)})
    assert held(memory) == ["a", "b"]


def test_raising_stores_nothing_in_a_passed_store(
    raising: ConversationTokenBufferMemory, save_either_way: Any
) -> None:
    save(raising, "a", "b")
    with pytest.raises(TokenBudgetError):
        save_either_way(raising, {"input": "why"}, {"output": said(1, 500)})
    assert held(raising) == ["a", "b"]


def test_raising_lets_what_fits_through(raising: ConversationTokenBufferMemory) -> None:
    for number in range(4):
        save(raising, said(number), said(number))
    assert shown(raising) == ["w2", "w2", "w3", "w3"]


def test_raising_raises_on_load_when_the_limit_was_lowered() -> None:
    memory = in_words(50, oversize="raise")
    save(memory, said(1, 20), said(1, 20))
    memory.max_token_limit = 5
    with pytest.raises(TokenBudgetError):
        memory.load_memory_variables({})


async def test_raising_reads_an_async_history_in_async() -> None:
    memory = in_words(5, oversize="raise", chat_memory=AsyncOnlyHistory())
    await memory.asave_context({"input": "a"}, {"output": "b"})
    with pytest.raises(TokenBudgetError):
        await memory.asave_context({"input": "why"}, {"output": said(1, 500)})


# --- stores that were passed ----------------------------------------------------------------------


def test_a_passed_store_is_windowed(foreign: BaseChatMessageHistory) -> None:
    memory = in_words(4, chat_memory=foreign)
    for number in range(5):
        save(memory, said(number), said(number))
    assert shown(memory) == ["w3", "w3", "w4", "w4"]


def test_nothing_is_deleted_from_a_passed_store(foreign: BaseChatMessageHistory) -> None:
    memory = in_words(4, chat_memory=foreign)
    for number in range(5):
        save(memory, said(number), said(number))
    memory.load_memory_variables({})
    assert contents(foreign.messages) == [said(n) for n in range(5) for _ in range(2)]


async def test_a_passed_store_is_windowed_the_same_in_async(
    foreign: BaseChatMessageHistory,
) -> None:
    memory = in_words(4, chat_memory=foreign)
    for number in range(5):
        await memory.asave_context({"input": said(number)}, {"output": said(number)})
    assert await memory.aload_memory_variables({}) == memory.load_memory_variables({})


def test_a_shortened_copy_is_not_written_to_a_passed_store(
    foreign: BaseChatMessageHistory,
) -> None:
    memory = in_words(30, chat_memory=foreign)
    save(memory, "why", said(1, 500))
    memory.load_memory_variables({})
    assert contents(foreign.messages) == ["why", said(1, 500)]


def test_another_memorys_store_is_only_windowed() -> None:
    store = in_words(100).chat_memory
    memory = in_words(4, chat_memory=store)
    for number in range(5):
        save(memory, said(number), said(number))
    assert len(store.messages) == 10


async def test_an_async_history_is_windowed() -> None:
    memory = in_words(4, chat_memory=AsyncOnlyHistory(), return_messages=True)
    for number in range(5):
        await memory.asave_context({"input": said(number)}, {"output": said(number)})
    loaded = await memory.aload_memory_variables({})
    assert contents(loaded["history"]) == ["w3", "w3", "w4", "w4"]


async def test_nothing_is_deleted_from_an_async_history() -> None:
    history = AsyncOnlyHistory()
    memory = in_words(4, chat_memory=history)
    for number in range(5):
        await memory.asave_context({"input": said(number)}, {"output": said(number)})
    await memory.aload_memory_variables({})
    assert len(await history.aget_messages()) == 10


async def test_an_async_history_is_cleared_in_async() -> None:
    history = AsyncOnlyHistory()
    memory = in_words(4, chat_memory=history)
    await memory.asave_context({"input": "a"}, {"output": "b"})
    await memory.aclear()
    assert await history.aget_messages() == []


# --- evictions ------------------------------------------------------------------------------------


class Evictions:
    """A handler that keeps what it was given, and what the store held at that moment."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.stored: list[list[object]] = []
        self.memory: ConversationTokenBufferMemory | None = None
        self.fails = False

    def __call__(self, gone: list[BaseMessage]) -> None:
        self.batches.append(contents(gone))
        if self.memory is not None:
            self.stored.append(held(self.memory))
        if self.fails:
            msg = "the archive is full"
            raise OSError(msg)


def _evicting(limit: int = 2, **options: Any) -> tuple[ConversationTokenBufferMemory, Evictions]:
    evictions = Evictions()
    memory = evictions.memory = in_words(limit, on_evict=evictions, **options)
    return memory, evictions


def test_what_leaves_is_handed_out_in_order(save_either_way: Any) -> None:
    memory, evictions = _evicting(4)
    for number in range(3):
        save_either_way(memory, {"input": f"q{number}"}, {"output": f"r{number}"})
    save_either_way(memory, {"input": "q3 q3"}, {"output": "r3 r3"})
    assert evictions.batches == [["q0", "r0"], ["q1", "r1", "q2", "r2"]]


def test_nothing_is_handed_out_while_everything_fits() -> None:
    memory, evictions = _evicting(100)
    save(memory, "a", "b")
    assert evictions.batches == []


def test_the_very_messages_are_handed_out() -> None:
    gone: list[BaseMessage] = []
    memory = in_words(2, on_evict=gone.extend)
    save(memory, "a", "b")
    first = memory.chat_memory.messages[0]
    save(memory, "c", "d")
    assert gone[0] is first


def test_the_new_turn_is_stored_and_nothing_deleted_when_they_are_handed_out(
    save_either_way: Any,
) -> None:
    memory, evictions = _evicting()
    save_either_way(memory, {"input": "a"}, {"output": "b"})
    save_either_way(memory, {"input": "c"}, {"output": "d"})
    assert evictions.stored == [["a", "b", "c", "d"]]


def test_they_are_deleted_after_the_handler_returned(save_either_way: Any) -> None:
    memory, _ = _evicting()
    save_either_way(memory, {"input": "a"}, {"output": "b"})
    save_either_way(memory, {"input": "c"}, {"output": "d"})
    assert held(memory) == ["c", "d"]


def test_what_was_left_out_is_handed_out_too() -> None:
    memory, evictions = _evicting(2, oversize="drop")
    save(memory, "a", said(1, 9))
    assert evictions.batches == [[said(1, 9)]]


def test_what_a_handler_raises_goes_through(save_either_way: Any) -> None:
    memory, evictions = _evicting()
    save(memory, "a", "b")
    evictions.fails = True
    with pytest.raises(OSError, match="archive"):
        save_either_way(memory, {"input": "c"}, {"output": "d"})


@pytest.fixture
def refused(save_either_way: Any) -> tuple[ConversationTokenBufferMemory, Evictions]:
    """A memory whose handler has refused the messages `a` and `b`."""
    memory, evictions = _evicting()
    save_either_way(memory, {"input": "a"}, {"output": "b"})
    evictions.fails = True
    with pytest.raises(OSError, match="archive"):
        save_either_way(memory, {"input": "c"}, {"output": "d"})
    evictions.fails = False
    return memory, evictions


def test_nothing_is_deleted_when_the_handler_raises(
    refused: tuple[ConversationTokenBufferMemory, Evictions],
) -> None:
    assert held(refused[0]) == ["a", "b", "c", "d"]


def test_what_the_handler_refused_is_not_in_the_window(
    refused: tuple[ConversationTokenBufferMemory, Evictions],
) -> None:
    assert shown(refused[0]) == ["c", "d"]


def test_what_the_handler_refused_comes_again_with_the_next_save(
    refused: tuple[ConversationTokenBufferMemory, Evictions],
) -> None:
    memory, evictions = refused
    save(memory, "e", "f")
    assert evictions.batches[-1] == ["a", "b", "c", "d"]


def test_what_the_handler_refused_leaves_when_it_takes_it(
    refused: tuple[ConversationTokenBufferMemory, Evictions],
) -> None:
    save(refused[0], "e", "f")
    assert held(refused[0]) == ["e", "f"]


def test_what_the_handler_refused_comes_again_after_loading_in_between(
    refused: tuple[ConversationTokenBufferMemory, Evictions],
) -> None:
    memory, evictions = refused
    memory.load_memory_variables({})
    save(memory, "e", "f")
    assert evictions.batches[-1] == ["a", "b", "c", "d"]


def test_what_the_handler_refused_survives_pickling() -> None:
    memory = in_words(2, on_evict=_refuse)
    save(memory, "a", "b")
    with pytest.raises(OSError, match="archive"):
        save(memory, "c", "d")
    gone: list[BaseMessage] = []
    again = pickle.loads(pickle.dumps(memory))
    again.on_evict = gone.extend
    save(again, "e", "f")
    assert contents(gone) == ["a", "b", "c", "d"]


def _refuse(gone: list[BaseMessage]) -> None:
    msg = "the archive is full"
    raise OSError(msg)


class AsyncEvictions:
    """A handler that is an object with an async call."""

    def __init__(self) -> None:
        self.gone: list[object] = []

    async def __call__(self, gone: list[BaseMessage]) -> None:
        await asyncio.sleep(0)
        self.gone += contents(gone)

    async def method(self, gone: list[BaseMessage]) -> None:
        await self(gone)


def _coroutine_handlers() -> list[tuple[str, Callable[[AsyncEvictions], Any]]]:
    return [
        ("function", lambda kept: kept.method),
        ("object", lambda kept: kept),
        ("partial", lambda kept: functools.partial(kept.method)),
    ]


@pytest.mark.parametrize(
    "handler",
    [make for _, make in _coroutine_handlers()],
    ids=[n for n, _ in _coroutine_handlers()],
)
class TestCoroutineHandler:
    """A handler that is a coroutine function, in any of its forms."""

    async def test_it_is_awaited_by_the_async_twin(self, handler: Any) -> None:
        kept = AsyncEvictions()
        memory = in_words(2, on_evict=handler(kept))
        await memory.asave_context({"input": "a"}, {"output": "b"})
        await memory.asave_context({"input": "c"}, {"output": "d"})
        assert (kept.gone, held(memory)) == (["a", "b"], ["c", "d"])

    def test_saving_in_sync_is_a_type_error(self, handler: Any) -> None:
        memory = in_words(2, on_evict=handler(AsyncEvictions()))
        with pytest.raises(TypeError, match="asave_context"):
            save(memory, "a", "b")

    def test_saving_in_sync_stores_nothing(self, handler: Any) -> None:
        memory = in_words(2, on_evict=handler(AsyncEvictions()))
        with pytest.raises(TypeError):
            save(memory, "a", "b")
        assert held(memory) == []


def _hidden_coroutine() -> tuple[ConversationTokenBufferMemory, AsyncEvictions]:
    kept = AsyncEvictions()
    return in_words(2, on_evict=lambda gone: kept(gone)), kept  # noqa: PLW0108  # that is the point


async def test_a_lambda_around_a_coroutine_function_is_awaited_by_the_async_twin() -> None:
    memory, kept = _hidden_coroutine()
    await memory.asave_context({"input": "a"}, {"output": "b"})
    await memory.asave_context({"input": "c"}, {"output": "d"})
    assert (kept.gone, held(memory)) == (["a", "b"], ["c", "d"])


def test_a_lambda_around_a_coroutine_function_deletes_nothing_in_sync() -> None:
    memory, _ = _hidden_coroutine()
    save(memory, "a", "b")
    with pytest.raises(TypeError, match="asave_context"):
        save(memory, "c", "d")
    assert held(memory) == ["a", "b", "c", "d"]


def test_what_a_handler_returns_is_ignored(save_either_way: Any) -> None:
    memory = in_words(2, on_evict=lambda gone: len(gone))  # noqa: PLW0108
    save_either_way(memory, {"input": "a"}, {"output": "b"})
    save_either_way(memory, {"input": "c"}, {"output": "d"})
    assert held(memory) == ["c", "d"]


async def test_nothing_is_deleted_when_the_handler_is_cancelled() -> None:
    entered = asyncio.Event()

    async def slow(gone: list[BaseMessage]) -> None:
        entered.set()
        await asyncio.sleep(60)

    memory = in_words(2, on_evict=slow)
    await memory.asave_context({"input": "a"}, {"output": "b"})
    saving = asyncio.create_task(memory.asave_context({"input": "c"}, {"output": "d"}))
    await entered.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert held(memory) == ["a", "b", "c", "d"]


async def test_what_was_cancelled_comes_again() -> None:
    entered, batches = asyncio.Event(), list[list[object]]()

    async def slow_at_first(gone: list[BaseMessage]) -> None:
        batches.append(contents(gone))
        entered.set()
        if len(batches) == 1:
            await asyncio.sleep(60)

    memory = in_words(2, on_evict=slow_at_first)
    await memory.asave_context({"input": "a"}, {"output": "b"})
    saving = asyncio.create_task(memory.asave_context({"input": "c"}, {"output": "d"}))
    await entered.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    await memory.asave_context({"input": "e"}, {"output": "f"})
    assert batches == [["a", "b"], ["a", "b", "c", "d"]]


async def test_what_one_task_is_busy_with_is_not_handed_to_another() -> None:
    batches: list[list[object]] = []

    async def slow(gone: list[BaseMessage]) -> None:
        batches.append(contents(gone))
        await asyncio.sleep(0.01)

    memory = in_words(2, on_evict=slow)
    await memory.asave_context({"input": "0"}, {"output": "0"})
    await asyncio.gather(
        *(memory.asave_context({"input": str(n)}, {"output": str(n)}) for n in range(1, 6))
    )
    handed_out = [content for batch in batches for content in batch]
    assert len(handed_out) == len(set(handed_out)) * 2 == 10


def test_a_handler_may_write_a_summary_into_the_store() -> None:
    def summarize(gone: list[BaseMessage]) -> None:
        summary = SystemMessage(f"{len(gone)} older")
        messages = memory.chat_memory.messages
        messages[:] = [summary, *(m for m in messages if m.type != "system")]

    memory = in_words(6, on_evict=summarize)
    for number in range(5):
        save(memory, said(number, 2), said(number))
    assert held(memory) == ["2 older", "w4 w4", "w4"]


def test_a_handler_may_append_to_the_store_while_the_newest_is_left_out() -> None:
    def append(gone: list[BaseMessage]) -> None:
        memory.chat_memory.add_messages([HumanMessage("and"), AIMessage("so")])

    memory = in_words(4, oversize="drop", on_evict=append)
    save(memory, "why", said(1, 9))
    assert held(memory) == ["why", "and", "so"]


def test_a_handler_may_clear_the_memory() -> None:
    memory: ConversationTokenBufferMemory = in_words(2, on_evict=lambda gone: memory.clear())
    save(memory, "a", "b")
    save(memory, "c", "d")
    save(memory, "e", "f")
    assert held(memory) == ["e", "f"]


def test_a_handler_may_load_the_memory() -> None:
    seen: list[object] = []
    memory: ConversationTokenBufferMemory = in_words(
        2, on_evict=lambda gone: seen.append(shown(memory))
    )
    save(memory, "a", "b")
    save(memory, "c", "d")
    assert seen == [["c", "d"]]


def test_one_message_stored_twice_leaves_once_at_a_time() -> None:
    twice = HumanMessage("hi")
    gone: list[BaseMessage] = []
    memory = in_words(3, on_evict=gone.extend)
    memory.chat_memory.add_messages([twice, AIMessage("ho"), twice])
    save(memory, "a", "b")
    assert (contents(gone), held(memory)) == (["hi", "ho"], ["hi", "a", "b"])


# --- bad input never leaves a half-saved turn -----------------------------------------------------


def squeamish(messages: Sequence[BaseMessage]) -> int:
    """Count, but not everything."""
    for message in messages:
        if message.content == "uncountable":
            msg = "cannot be counted"
            raise ArithmeticError(msg)
    return words(messages)


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
    assert held(memory) == ["a", "b"]


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
    assert contents(foreign.messages) == ["a", "b"]


def test_after_a_bad_turn_the_next_is_saved() -> None:
    memory = ConversationTokenBufferMemory(llm=squeamish)
    with pytest.raises(ArithmeticError):
        save(memory, "q", "uncountable")
    save(memory, "a", "b")
    assert shown(memory) == ["a", "b"]


class Interrupted:
    """A counter that fails when it is told to."""

    fails = False

    def __call__(self, messages: Sequence[BaseMessage]) -> int:
        if self.fails:
            raise ArithmeticError
        return words(messages)


def test_a_counter_that_fails_while_loading_changes_no_later_window() -> None:
    counter = Interrupted()
    memory = ConversationTokenBufferMemory(llm=counter, max_token_limit=10)
    save(memory, "a", "b")
    memory.chat_memory.add_messages([HumanMessage("c"), AIMessage("d")])
    counter.fails = True
    with pytest.raises(ArithmeticError):
        memory.load_memory_variables({})
    counter.fails = False
    assert shown(memory) == ["a", "b", "c", "d"]


def test_what_was_left_out_with_a_warning_that_raises_leaves_with_the_next_save() -> None:
    memory = in_words(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="Left out"):
            save(memory, "why", said(1, 500))
        warnings.simplefilter("ignore")
        save(memory, "a", "b")
    assert held(memory) == ["why", "a", "b"]


@pytest.mark.parametrize(
    ("count", "error"), [(-1, ValueError), ("many", TypeError), (1.5, TypeError), (None, TypeError)]
)
def test_a_counter_that_returns_no_count_stores_nothing(count: Any, error: type[Exception]) -> None:
    memory = ConversationTokenBufferMemory(llm=lambda messages: count)
    with pytest.raises(error, match="token_counter"):
        save(memory, "a", "b")
    assert held(memory) == []


def test_a_store_that_fails_raises_what_it_raises(save_either_way: Any) -> None:
    class Full(FreshListHistory):
        def add_messages(self, messages: Sequence[BaseMessage]) -> None:
            msg = "disk full"
            raise OSError(msg)

    with pytest.raises(OSError, match="disk full"):
        save_either_way(in_words(5, chat_memory=Full()), {"input": "a"}, {"output": "b"})


# --- changes from outside -------------------------------------------------------------------------


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
    memory.chat_memory = in_words(1).chat_memory
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


LIMITS: dict[Any, int] = {words: 10, tens: 40}
"""Each lets four or five turns of two words in."""


def _lived(counter: Any = words) -> ConversationTokenBufferMemory:
    memory = ConversationTokenBufferMemory(
        llm=counter, max_token_limit=LIMITS[counter], trim_to=0.8
    )
    for number in range(7):
        save(memory, said(number), said(number))
    memory.load_memory_variables({})
    return memory


@changes
@pytest.mark.parametrize("counter", [words, tens])
def test_a_change_from_outside_is_seen_on_load(change: Any, counter: Any) -> None:
    memory = _lived(counter)
    change(memory)
    buffer = TokenBuffer(LIMITS[counter], token_counter=counter, trim_to=0.8)
    expected = buffer.trim(memory.chat_memory.messages)
    assert [id(m) for m in memory.buffer_as_messages] == [id(m) for m in expected]


@changes
@pytest.mark.parametrize("counter", [words, tens])
def test_a_change_from_outside_is_seen_by_the_next_load_and_save(change: Any, counter: Any) -> None:
    memory = _lived(counter)
    change(memory)
    conversation = list(memory.chat_memory.messages)
    memory.load_memory_variables({})  # as a chain does before it saves
    save(memory, "what", "that")
    conversation += [HumanMessage("what"), AIMessage("that")]
    buffer = TokenBuffer(LIMITS[counter], token_counter=counter, trim_to=0.8)
    assert shown(memory) == contents(buffer.trim(conversation))


@changes
def test_after_a_change_from_outside_a_save_alone_keeps_the_budget(change: Any) -> None:
    memory = _lived()
    change(memory)
    save(memory, "what", "that")
    assert words(memory.buffer_as_messages) <= 10


def test_a_change_while_the_newest_message_stays_is_seen_on_load() -> None:
    memory = in_words(100)
    for number in range(3):
        save(memory, said(number), said(number))
    memory.load_memory_variables({})
    memory.chat_memory.messages[0].content = said(9, 99)
    assert words(memory.buffer_as_messages) <= 100


# --- settings assigned later ----------------------------------------------------------------------


def test_a_lower_limit_takes_effect_on_load() -> None:
    memory = in_words(100)
    for number in range(5):
        save(memory, said(number), said(number))
    memory.max_token_limit = 4
    assert shown(memory) == ["w3", "w3", "w4", "w4"]


def test_a_lower_limit_takes_effect_on_save() -> None:
    memory = in_words(100)
    for number in range(4):
        save(memory, said(number), said(number))
    memory.max_token_limit = 4
    save(memory, said(4), said(4))
    assert held(memory) == ["w3", "w3", "w4", "w4"]


def test_another_counter_takes_effect() -> None:
    memory = in_words(4)
    for number in range(2):
        save(memory, said(number), said(number))
    memory.llm = tens
    memory.max_token_limit = 20
    save(memory, said(2, 10), said(2, 10))
    assert held(memory) == [said(2, 10), said(2, 10)]


def test_another_low_water_mark_takes_effect() -> None:
    memory = in_words(4)
    for number in range(2):
        save(memory, said(number), said(number))
    memory.trim_to = 0.5
    save(memory, said(2), said(2))
    assert held(memory) == ["w2", "w2"]


def test_another_policy_takes_effect() -> None:
    memory = in_words(4)
    memory.oversize = "raise"
    with pytest.raises(TokenBudgetError):
        save(memory, said(1, 9), said(1, 9))


def test_single_messages_can_be_chosen_later() -> None:
    memory = in_words(3)
    memory.oversize = "drop"
    memory.start_on = None
    for number in range(2):
        save(memory, said(number), said(number))
    assert held(memory) == ["w0", "w1", "w1"]


def test_a_handler_of_evictions_can_be_assigned_later() -> None:
    gone: list[BaseMessage] = []
    memory = in_words(2)
    save(memory, "a", "b")
    memory.on_evict = gone.extend
    save(memory, "c", "d")
    assert contents(gone) == ["a", "b"]


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
    memory = in_words(60)
    save(memory, "hi", "hello")
    setattr(memory, name, value)
    assert memory.load_memory_variables({}) == loaded


def test_a_store_assigned_later_is_only_windowed() -> None:
    memory = in_words(4)
    memory.chat_memory = PassedHistory()
    for number in range(5):
        save(memory, said(number), said(number))
    assert len(held(memory)) == 10


# --- pickles and copies ---------------------------------------------------------------------------


@pytest.mark.parametrize("llm", [words, "cl100k_base", TokenCounter("o200k_base")])
def test_it_pickles_with_what_it_holds(llm: Any) -> None:
    memory = ConversationTokenBufferMemory(llm=llm, max_token_limit=40)
    for number in range(9):
        save(memory, said(number), said(number))
    assert shown(pickle.loads(pickle.dumps(memory))) == shown(memory)


def test_a_pickle_has_no_lock_and_no_cache_in_it() -> None:
    memory = ConversationTokenBufferMemory(llm="cl100k_base", max_token_limit=40)
    save(memory, "hi", "hello")
    memory.load_memory_variables({})
    fresh = ConversationTokenBufferMemory(llm="cl100k_base", max_token_limit=40)
    fresh.chat_memory.add_messages(memory.chat_memory.messages)
    assert len(pickle.dumps(memory)) == len(pickle.dumps(fresh))


def _pickled(memory: ConversationTokenBufferMemory) -> ConversationTokenBufferMemory:
    copied = pickle.loads(pickle.dumps(memory))
    assert isinstance(copied, ConversationTokenBufferMemory)
    return copied


COPIES: list[Callable[[ConversationTokenBufferMemory], ConversationTokenBufferMemory]] = [
    _pickled,
    copy.deepcopy,
    lambda memory: memory.model_copy(deep=True),
]


@pytest.mark.parametrize("copied", COPIES, ids=["pickle", "deepcopy", "model_copy"])
class TestCopy:
    """A copy with everything below it."""

    def test_it_shows_the_same(self, copied: Any) -> None:
        memory = _lived()
        assert shown(copied(memory)) == shown(memory)

    def test_it_goes_on_as_the_original_does(self, copied: Any) -> None:
        memory = _lived()
        other = copied(memory)
        for number in range(10, 20):
            save(memory, said(number, 2), said(number))
            save(other, said(number, 2), said(number))
        assert (shown(other), held(other)) == (shown(memory), held(memory))

    def test_it_changes_nothing_in_the_original(self, copied: Any) -> None:
        memory = _lived()
        before = held(memory)
        for number in range(9):
            save(copied(memory), said(number), said(number))
        assert held(memory) == before

    def test_it_still_owns_its_store(self, copied: Any) -> None:
        other = copied(_lived())
        for number in range(50):
            save(other, said(number), said(number))
        assert len(held(other)) <= 10

    def test_it_still_deletes_nothing_from_a_passed_store(self, copied: Any) -> None:
        other = copied(in_words(4, chat_memory=PassedHistory()))
        for number in range(5):
            save(other, said(number), said(number))
        assert len(held(other)) == 10


def test_a_shallow_copy_shares_the_store_as_the_classic_class_does() -> None:
    memory = _lived()
    assert memory.model_copy().chat_memory is memory.chat_memory


def test_a_shallow_copy_with_another_limit_shows_its_own_window() -> None:
    memory = _lived()
    other = memory.model_copy(update={"max_token_limit": 2})
    assert shown(other) == ["w6", "w6"]


def test_the_original_sees_what_a_shallow_copy_deletes() -> None:
    memory = _lived()
    save(memory.model_copy(update={"max_token_limit": 2}), "a", "b")
    assert shown(memory) == ["a", "b"]


# --- counters -------------------------------------------------------------------------------------


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


# --- threads and many turns -----------------------------------------------------------------------


def _in_threads(work: Callable[[int], None], count: int = 8) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001  # a thread's error is nobody's otherwise
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert errors == []


def _turns_of(number: int) -> list[str]:
    return [f"t{number}n{turn}" for turn in range(60)]


ALL_TURNS = sorted(turn for number in range(8) for turn in _turns_of(number))


def _save_turns(memory: ConversationTokenBufferMemory, number: int) -> None:
    for turn in _turns_of(number):
        save(memory, turn, turn)


@pytest.mark.parametrize("options", [{}, {"start_on": None, "oversize": "drop"}])
def test_eight_threads_lose_nothing_of_what_fits(options: dict[str, Any]) -> None:
    memory = in_words(10_000, **options)
    _in_threads(lambda number: _save_turns(memory, number))
    assert sorted(map(str, shown(memory)[::2])) == ALL_TURNS


def test_eight_threads_do_not_mix_their_turns() -> None:
    memory = in_words(10_000)
    _in_threads(lambda number: _save_turns(memory, number))
    assert held(memory)[::2] == held(memory)[1::2]


@pytest.mark.parametrize(
    "options", [{}, {"trim_to": 0.5}, {"start_on": None, "oversize": "drop"}, {"oversize": "drop"}]
)
def test_what_leaves_under_eight_threads_is_handed_out_exactly_once(
    options: dict[str, Any],
) -> None:
    gone: list[BaseMessage] = []
    memory = in_words(20, on_evict=gone.extend, **options)

    def work(number: int) -> None:
        for turn in _turns_of(number):
            save(memory, turn, turn)
            memory.load_memory_variables({})

    _in_threads(work)
    kept = [*gone, *memory.chat_memory.messages]
    assert sorted(str(message.content) for message in kept) == sorted(ALL_TURNS * 2)


def test_a_window_under_eight_threads_never_costs_more_than_the_limit() -> None:
    memory = in_words(20)
    sizes: list[int] = []

    def work(number: int) -> None:
        for turn in _turns_of(number):
            save(memory, turn, turn)
            sizes.append(words(memory.buffer_as_messages))

    _in_threads(work)
    assert max(sizes) <= 20


async def test_fifty_tasks_at_once_lose_nothing_of_what_fits() -> None:
    memory = in_words(10_000)
    turns = [f"t{number}" for number in range(50)]
    await asyncio.gather(
        *(memory.asave_context({"input": turn}, {"output": turn}) for turn in turns)
    )
    assert sorted(map(str, shown(memory)[::2])) == sorted(turns)


def _lists_of(memory: ConversationTokenBufferMemory) -> int:
    """Return how many items the biggest list, dict or set has that the memory reaches."""
    seen: set[int] = set()
    todo: list[object] = [memory._cache.store_window, memory.chat_memory.messages]
    biggest = 0
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, (type, str, int)) or callable(thing):
            continue
        seen.add(id(thing))
        if isinstance(thing, (list, dict, set)):
            biggest = max(biggest, len(thing))
        todo += gc.get_referents(thing)
    return biggest


@pytest.mark.parametrize("options", [{}, {"trim_to": 0.6}, {"start_on": None, "oversize": "drop"}])
def test_many_turns_do_not_make_it_grow(options: dict[str, Any]) -> None:
    memory = ConversationTokenBufferMemory(llm="cl100k_base", max_token_limit=200, **options)
    sizes = []
    for number in range(1200):
        save(memory, f"question {number}", f"reply {number}")
        if number in (200, 1199):
            sizes.append(_lists_of(memory))
    assert sizes[1] <= sizes[0] + 4
