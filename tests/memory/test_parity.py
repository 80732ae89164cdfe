"""The drop-in memory beside the class it replaces, on the same conversations."""

from __future__ import annotations

import asyncio
import itertools
import random
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListLLM
from langchain_openai import OpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import ConversationTokenBufferMemory
from tests.builders import letters_as_tokens
from tests.memory.stand_ins import CHAT, COMPLETION, ClassicMemory, PassedHistory
from tests.scale import examples

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_classic.memory import ConversationBufferMemory, ConversationBufferWindowMemory
    from langchain_classic.memory.buffer import ConversationStringBufferMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_core.messages import BaseMessage


LETTERS = FakeListLLM(responses=[""], custom_get_token_ids=letters_as_tokens)
OPENAI_LETTERS = OpenAI(api_key=SecretStr("x"), model="gpt-3.5-turbo-instruct", custom_get_token_ids=letters_as_tokens)
MODELS: dict[str, Any] = {
    "chat": CHAT,
    "completion": COMPLETION,
    "custom_get_token_ids": LETTERS,
    "openai_custom_get_token_ids": OPENAI_LETTERS,
}
MOST = {"chat": 120, "completion": 120, "custom_get_token_ids": 400}
"""Limits are drawn up to here: of the size of a few turns, so that some fit and some do not."""

TEXTS = (
    "",
    "hi",
    "whats up",
    "not much you",
    "Where is the nearest bakery?",
    "안녕하세요, 오늘은 어때요?",
    "def f(x):\n    return {'a': [x] * 3}\n",
    " leading and trailing ",
    "🥐" * 5,
    "Human: hi\nAI: a line that looks like a turn",
    "one two three four five six seven eight nine ten " * 3,
    "x" * 70,
)
Turn = tuple[str, str]
turns = st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from(TEXTS)), min_size=1, max_size=7)


class _AfterSave(NamedTuple):
    """What the classic class holds after a save, or that it raised."""

    messages: list[BaseMessage]
    raised: bool


def _classic_states(llm: Any, limit: int, conversation: Sequence[Turn]) -> Iterator[_AfterSave]:
    """Save a conversation with the classic class, turn by turn, until it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        memory = ClassicMemory(llm=llm, max_token_limit=limit, chat_memory=PassedHistory())
    for question, reply in conversation:
        try:
            memory.save_context({"input": question}, {"output": reply})
        except IndexError:
            yield _AfterSave([], raised=True)
            return
        yield _AfterSave(list(memory.chat_memory.messages), raised=False)


def _types_and_contents(messages: Sequence[BaseMessage]) -> list[tuple[str, object]]:
    return [(message.type, message.content) for message in messages]


def _check_exact_mode(llm: Any, limit: int, conversation: Sequence[Turn]) -> None:
    ours = ConversationTokenBufferMemory(llm=llm, max_token_limit=limit, start_on=None, oversize="drop")
    states = _classic_states(llm, limit, conversation)
    # It stops where the classic class raises: what that holds then is no window.
    for (question, reply), classic in zip(conversation, states, strict=False):
        ours.save_context({"input": question}, {"output": reply})
        expected = [] if classic.raised else _types_and_contents(classic.messages)
        assert _types_and_contents(ours.chat_memory.messages) == expected
        assert _types_and_contents(ours.buffer_as_messages) == expected


def _check_default_mode(llm: Any, limit: int, conversation: Sequence[Turn]) -> None:
    ours = ConversationTokenBufferMemory(llm=llm, max_token_limit=limit)
    states = _classic_states(llm, limit, conversation)
    for (question, reply), classic in zip(conversation, states, strict=True):
        ours.save_context({"input": question}, {"output": reply})
        from_human = list(itertools.dropwhile(lambda message: message.type != "human", classic.messages))
        assert _types_and_contents(ours.chat_memory.messages) == _types_and_contents(from_human)
        assert _types_and_contents(ours.buffer_as_messages) == _types_and_contents(from_human)


def _biggest_turn(llm: Any, conversation: Sequence[Turn]) -> int:
    """Return what the biggest turn costs as a conversation of its own, in tokens."""
    sizes: list[int] = []
    for turn in conversation:
        history = PassedHistory()
        history.add_user_message(turn[0])
        history.add_ai_message(turn[1])
        sizes.append(llm.get_num_tokens_from_messages(history.messages))
    return max(sizes)


@pytest.mark.parametrize("name", MODELS)
@given(conversation=turns, data=st.data())
@settings(max_examples=examples(100))
def test_single_messages_leave_exactly_as_with_the_classic_class(
    name: str, conversation: list[Turn], data: st.DataObject
) -> None:
    limit = data.draw(st.integers(1, MOST.get(name, 400)))
    _check_exact_mode(MODELS[name], limit, conversation)


@pytest.mark.parametrize("name", MODELS)
@given(conversation=turns, data=st.data())
@settings(max_examples=examples(100))
def test_by_default_the_memory_keeps_the_classic_window_from_its_first_human_message_on(
    name: str, conversation: list[Turn], data: st.DataObject
) -> None:
    llm = MODELS[name]
    least = _biggest_turn(llm, conversation)
    limit = data.draw(st.integers(least, least + MOST.get(name, 400)))
    _check_default_mode(llm, limit, conversation)


def _random_conversation(rng: random.Random) -> list[Turn]:
    return [(rng.choice(TEXTS), rng.choice(TEXTS)) for _ in range(rng.randint(1, 8))]


@pytest.mark.parametrize("name", MODELS)
def test_over_many_random_conversations_single_messages_leave_as_with_the_classic_class(
    name: str,
) -> None:
    rng = random.Random(f"exact {name}")
    for _ in range(examples(1000)):
        _check_exact_mode(MODELS[name], rng.randint(1, MOST.get(name, 400)), _random_conversation(rng))


@pytest.mark.parametrize("name", MODELS)
def test_over_many_random_conversations_the_default_is_the_classic_window_from_a_human_on(
    name: str,
) -> None:
    rng = random.Random(f"default {name}")
    for _ in range(examples(1000)):
        conversation = _random_conversation(rng)
        limit = _biggest_turn(MODELS[name], conversation) + rng.randint(0, 150)
        _check_default_mode(MODELS[name], limit, conversation)


@pytest.mark.parametrize("limit", [1, 2])
def test_the_classic_class_raises_below_the_three_tokens_of_a_chat_request(limit: int) -> None:
    [after] = _classic_states(CHAT, limit, [("hi", "whats up")])
    assert after.raised


@pytest.mark.parametrize("limit", [1, 2])
@given(conversation=turns)
@settings(max_examples=20)
def test_where_the_classic_class_raises_for_a_tiny_limit_the_memory_is_empty(
    limit: int, conversation: list[Turn]
) -> None:
    ours = ConversationTokenBufferMemory(llm=CHAT, max_token_limit=limit, start_on=None, oversize="drop")
    for question, reply in conversation:
        ours.save_context({"input": question}, {"output": reply})
        assert ours.chat_memory.messages == ours.buffer_as_messages == []


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("modes", [{}, {"start_on": None, "oversize": "drop"}, {"trim_to": 0.6}])
@given(conversation=turns, data=st.data())
@settings(max_examples=15)
def test_saving_and_loading_are_the_same_in_sync_and_async(
    name: str, modes: dict[str, Any], conversation: list[Turn], data: st.DataObject
) -> None:
    limit = data.draw(st.integers(40, MOST.get(name, 400)))
    options: dict[str, Any] = {"llm": MODELS[name], "max_token_limit": limit, **modes}
    in_sync = ConversationTokenBufferMemory(**options)
    in_async = ConversationTokenBufferMemory(**options)

    async def save_and_load() -> list[tuple[object, object]]:
        seen: list[tuple[object, object]] = []
        for question, reply in conversation:
            await in_async.asave_context({"input": question}, {"output": reply})
            shown = await in_async.aload_memory_variables({})
            seen.append((shown, _types_and_contents(in_async.chat_memory.messages)))
        return seen

    expected: list[tuple[object, object]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a turn too big even to be clamped
        for question, reply in conversation:
            in_sync.save_context({"input": question}, {"output": reply})
            shown = in_sync.load_memory_variables({})
            expected.append((shown, _types_and_contents(in_sync.chat_memory.messages)))
        assert asyncio.run(save_and_load()) == expected


@pytest.mark.parametrize("name", MODELS)
@given(conversation=turns)
@settings(max_examples=25)
def test_the_string_that_the_memory_shows_is_the_classic_one(name: str, conversation: list[Turn]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classic = ClassicMemory(llm=MODELS[name], max_token_limit=10**6, human_prefix="Me", ai_prefix="You")
    ours = ConversationTokenBufferMemory(llm=MODELS[name], max_token_limit=10**6, human_prefix="Me", ai_prefix="You")
    for question, reply in conversation:
        classic.save_context({"input": question}, {"output": reply})
        ours.save_context({"input": question}, {"output": reply})
    assert ours.load_memory_variables({}) == classic.load_memory_variables({})


# --- what the README says of the other classes ------------------------------------------------


def _filled(memory: Any) -> Any:
    for n in range(9):
        memory.save_context({"input": f"Question {n}?"}, {"output": f"Answer {n}."})
    return memory.load_memory_variables({})["history"]


def _shown_by(make: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _filled(make())


@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("as_list", [False, True])
def test_counting_messages_shows_what_the_window_memory_shows(k: int, as_list: bool) -> None:  # noqa: FBT001
    ours = ConversationTokenBufferMemory(llm=len, max_token_limit=2 * k, return_messages=as_list)
    shown = _shown_by(lambda: ConversationBufferWindowMemory(k=k, return_messages=as_list, chat_memory=PassedHistory()))
    assert _filled(ours) == shown


@pytest.mark.parametrize("as_list", [False, True])
def test_within_the_budget_the_memory_shows_what_the_buffer_memory_shows(as_list: bool) -> None:  # noqa: FBT001
    ours = ConversationTokenBufferMemory(llm=CHAT, return_messages=as_list)
    shown = _shown_by(lambda: ConversationBufferMemory(return_messages=as_list, chat_memory=PassedHistory()))
    assert _filled(ours) == shown


def test_within_the_budget_the_memory_shows_what_the_string_memory_shows() -> None:
    shown = _shown_by(ConversationStringBufferMemory).lstrip()
    assert _filled(ConversationTokenBufferMemory(llm=CHAT)) == shown
