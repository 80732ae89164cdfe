"""Drivers that go on: what many conversations, threads and models cost, in messages followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_tokenbuffer import TokenBudgetError, TokenBuffer
from langchain_tokenbuffer._window import drivers as _drivers
from langchain_tokenbuffer._window.driver import WindowDriver
from tests.builders import chat, count_words
from tests.scale import examples
from tests.strategies import conversations

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return how many messages were followed since this was asked last."""
    count, push = 0, WindowDriver.push

    def spy(self: WindowDriver, *args: Any) -> list[int]:
        nonlocal count
        count += 1
        return push(self, *args)

    def since() -> int:
        nonlocal count
        count, found = 0, count
        return found

    monkeypatch.setattr(WindowDriver, "push", spy)
    return since


def talk(name: str, turns: int) -> list[BaseMessage]:
    """Build a chat that is no other's from its first message on."""
    return [message.model_copy(update={"content": f"{name}: {message.content}"}) for message in chat(turns)]


def test_two_conversations_in_turn_are_followed_by_their_new_messages(
    pushed: Callable[[], int],
) -> None:
    buffer, talks = TokenBuffer(100, token_counter=count_words), [talk("a", 9), talk("b", 9)]
    for messages in talks:
        buffer.trim(messages[:10])
    pushed()
    for messages in talks:
        buffer.trim(messages[:12])
    assert pushed() == 4


def test_conversations_that_begin_with_the_same_messages_are_told_apart_by_the_next(
    pushed: Callable[[], int],
) -> None:
    buffer, same = TokenBuffer(100, token_counter=count_words), chat(1)
    talks = [[*same, *talk("a", 9)], [*same, *talk("b", 9)]]
    for messages in talks:
        buffer.trim(messages[:10])
    pushed()
    for messages in talks:
        buffer.trim(messages[:10])
    assert pushed() == 0


@pytest.mark.parametrize(("most", "again"), [(40, 0), (30, 20)])
def test_the_conversation_asked_for_longest_ago_goes_when_too_many_messages_are_held(
    monkeypatch: pytest.MonkeyPatch, pushed: Callable[[], int], most: int, again: int
) -> None:
    monkeypatch.setattr(_drivers, "MAX_MESSAGES", most)
    buffer = TokenBuffer(100, token_counter=count_words)
    for name in ("a", "b"):
        buffer.trim(talk(name, 10))
    pushed()
    buffer.trim(talk("a", 10))
    assert pushed() == again


def test_a_conversation_longer_than_the_bound_is_held_alone(
    monkeypatch: pytest.MonkeyPatch, pushed: Callable[[], int]
) -> None:
    monkeypatch.setattr(_drivers, "MAX_MESSAGES", 10)
    buffer, messages = TokenBuffer(100, token_counter=count_words), talk("a", 10)
    buffer.trim(messages)
    pushed()
    buffer.trim(messages)
    assert pushed() == 0


# --- what was followed is known by a few keys ---------------------------------------------------------------------


def letters(messages: list[BaseMessage]) -> int:
    return sum(len(each.text) for each in messages)


@pytest.mark.parametrize("length", [1, 255, 256, 257, 512, 700])
def test_a_conversation_of_any_length_is_followed_by_its_new_messages(pushed: Callable[[], int], length: int) -> None:
    buffer, messages = TokenBuffer(100, token_counter=letters), talk("a", 400)
    buffer.trim(messages[:length])
    pushed()
    buffer.trim(messages[: length + 2])
    assert pushed() == 2


@pytest.mark.parametrize("index", [0, 255, 256, 511, 512, 599])
def test_a_change_in_place_is_seen_wherever_it_is(pushed: Callable[[], int], index: int) -> None:
    buffer, messages = TokenBuffer(100, token_counter="o200k_base"), talk("a", 300)
    buffer.trim(messages)
    messages[index].content = "changed"
    pushed()
    buffer.trim(messages)
    assert pushed() == len(messages)


def test_a_pin_that_changes_its_mind_is_heard(pushed: Callable[[], int]) -> None:
    pinned: set[str] = set()
    buffer = TokenBuffer(100, token_counter="o200k_base", pin=lambda message: message.text in pinned)
    messages = talk("a", 300)
    assert 20 not in buffer.window(messages).kept
    pinned.add(messages[20].text)
    assert 20 in buffer.window(messages).kept
    pushed()
    buffer.trim(messages)
    assert pushed() == 0


def test_a_message_behind_a_shorter_conversation_is_new(pushed: Callable[[], int]) -> None:
    buffer, messages = TokenBuffer(100, token_counter="o200k_base"), talk("a", 300)
    buffer.trim(messages)
    pushed()
    buffer.trim(messages[:-1])
    assert pushed() == len(messages) - 1


_EDITS: list[Callable[[Any], object]] = [
    lambda message: setattr(message, "content", "another text, of more words than most of them"),
    lambda message: setattr(message, "type", "system"),
    lambda message: message.additional_kwargs.update(pinned=True),
    lambda message: [call["args"].update(q="w " * 30) for call in getattr(message, "tool_calls", ())],
    lambda message: [each.update(text="w " * 30) for each in message.content if isinstance(each, dict)],
]


@settings(max_examples=examples(200), deadline=None)
@given(conversations(), st.data())
def test_a_buffer_that_followed_answers_a_changed_conversation_as_a_fresh_one(
    messages: list[BaseMessage], data: st.DataObject
) -> None:
    def buffer() -> TokenBuffer:
        return TokenBuffer(60, token_counter="o200k_base")

    def answer(buffer: TokenBuffer, messages: list[BaseMessage]) -> object:
        try:
            return buffer.window(messages)
        except TokenBudgetError as error:
            return str(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_drivers, "STRETCH", data.draw(st.sampled_from([1, 3, 256])))
        followed = buffer()
        answer(followed, messages[: data.draw(st.integers(0, len(messages)))])
        for index in data.draw(st.lists(st.integers(0, len(messages) - 1), max_size=2)):
            data.draw(st.sampled_from(_EDITS))(messages[index])
        assert answer(followed, messages) == answer(buffer(), messages)
