"""`ConversationTokenBufferMemory(recall_tokens=...)`: what left stands in the last lines of the string."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import HumanMessage

from langchain_tokenbuffer import ConversationTokenBufferMemory
from langchain_tokenbuffer._recall.quotation import BEGIN, END
from tests.builders import letters_as_tokens
from tests.scale import examples

if TYPE_CHECKING:
    from collections.abc import Callable

LOCKER = "My locker at the station has the code 4711."
ASKED = {"input": "Which code has my locker?"}


LETTERS = FakeListLLM(responses=[], custom_get_token_ids=letters_as_tokens)  # a string costs its length


@pytest.fixture
def memory() -> ConversationTokenBufferMemory:
    found = remembering(max_token_limit=120, recall_tokens=60)
    fill(found)
    return found


def remembering(**settings: Any) -> ConversationTokenBufferMemory:
    return ConversationTokenBufferMemory(**{"llm": "o200k_base", **settings})


def fill(memory: ConversationTokenBufferMemory, turns: int = 12) -> None:
    memory.save_context({"input": LOCKER}, {"output": "Noted."})
    for n in range(turns):
        memory.save_context({"input": f"Play banjo number {n}."}, {"output": f"Song {n} was played with joy."})


def history_of(memory: ConversationTokenBufferMemory, inputs: dict[str, Any]) -> str:
    text = memory.load_memory_variables(inputs)["history"]
    assert isinstance(text, str)
    return text


def test_what_left_and_matches_stands_in_the_last_lines(memory: ConversationTokenBufferMemory) -> None:
    assert history_of(memory, ASKED).splitlines()[-3:] == [BEGIN, f'{{"type": "human", "text": "{LOCKER}"}}', END]


def test_the_window_stands_before_it(memory: ConversationTokenBufferMemory) -> None:
    assert history_of(memory, ASKED).startswith(f"{memory.buffer_as_str}\n")


@pytest.mark.parametrize(
    "inputs", [{}, {"input": "Umbrella against rain?"}, {"a": "locker", "b": "code"}, {"input": 7}]
)
def test_without_a_match_the_string_is_the_window(
    memory: ConversationTokenBufferMemory, inputs: dict[str, Any]
) -> None:
    assert history_of(memory, inputs) == memory.buffer_as_str


def test_a_message_can_be_the_input(memory: ConversationTokenBufferMemory) -> None:
    assert LOCKER in history_of(memory, {"input": HumanMessage(ASKED["input"])})


def test_the_input_key_says_which_input_asks(memory: ConversationTokenBufferMemory) -> None:
    memory.input_key = "question"
    assert LOCKER in history_of(memory, {"question": ASKED["input"], "mood": "glad"})


async def test_the_async_string_is_the_same(memory: ConversationTokenBufferMemory) -> None:
    assert (await memory.aload_memory_variables(ASKED))["history"] == history_of(memory, ASKED)


def test_the_own_store_keeps_what_left(memory: ConversationTokenBufferMemory) -> None:
    assert len(memory.chat_memory.messages) == 26


def test_what_is_recalled_is_never_stored(memory: ConversationTokenBufferMemory) -> None:
    memory.save_context(ASKED, {"output": "4711."})
    assert [message for message in memory.chat_memory.messages if BEGIN in message.text] == []


words = st.lists(
    st.sampled_from(["locker", "code", "banjo", "joy", "x\ny", "안녕하세요"]), min_size=1, max_size=20
).map(" ".join)


@pytest.mark.filterwarnings("ignore:Left out of the window")  # what recall leaves may be too little for a turn
@given(st.lists(words, max_size=12), words, st.integers(200, 600), st.integers(100, 190))
@settings(max_examples=examples(200), deadline=None)
def test_the_whole_string_is_within_the_limit(said: list[str], asked: str, limit: int, recalled: int) -> None:
    memory = remembering(llm=LETTERS, max_token_limit=limit, recall_tokens=recalled)
    for text in said:
        memory.save_context({"input": text}, {"output": text})
    assert len(history_of(memory, {"input": asked})) <= limit


def test_with_messages_the_error_names_what_recalls() -> None:
    with pytest.raises(ValueError, match=r"TokenBuffer\(..., recall_tokens=...\)"):
        remembering(recall_tokens=60, return_messages=True)


def test_on_evict_cannot_be_had_with_it() -> None:
    handed: list[Any] = []
    handler: Callable[[Any], None] = handed.append
    with pytest.raises(ValueError, match="recall_tokens=60 it keeps them"):
        remembering(recall_tokens=60, on_evict=handler)


def test_more_than_the_limit_cannot_be_recalled() -> None:
    with pytest.raises(ValueError, match="recall_tokens=60 leaves nothing of max_token_limit=60"):
        remembering(max_token_limit=60, recall_tokens=60)


def test_a_refused_setting_leaves_the_memory_as_it_was(memory: ConversationTokenBufferMemory) -> None:
    with pytest.raises(ValueError, match="recall_tokens"):
        memory.return_messages = True
    assert LOCKER in history_of(memory, ASKED)


@pytest.mark.parametrize("value", [True, "60", 60.0])
def test_what_is_recalled_is_an_int(value: object) -> None:
    with pytest.raises(TypeError, match="recall_tokens must be an int of at least 0"):
        remembering(max_token_limit=120, recall_tokens=value)


def test_the_classic_class_can_recall() -> None:
    memory = remembering(max_token_limit=120, recall_tokens=60, start_on=None, oversize="drop")
    fill(memory)
    assert LOCKER in history_of(memory, ASKED)
