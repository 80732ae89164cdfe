"""Drivers that go on: what many conversations, threads and models cost, in messages followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from langchain_tokenbuffer import TokenBuffer
from langchain_tokenbuffer._window import drivers as _drivers
from langchain_tokenbuffer._window.driver import WindowDriver
from tests.builders import chat, count_words

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
