"""A fallback to a model of another vocabulary."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer import TokenBufferMiddleware
from tests.agents.scripted import Scripted

if TYPE_CHECKING:
    from collections.abc import Callable

CONVERSATION: list[BaseMessage] = [
    message
    for n in range(20)
    for message in (HumanMessage(f"안녕하세요, {n}번째 질문입니다."), AIMessage("다시 만나서 반가워요. " * 3))
]
CONVERSATION.append(HumanMessage("그리고 지금은요?"))


def invoked(agent: Any, state: Any) -> None:
    agent.invoke(state)


def ainvoked(agent: Any, state: Any) -> None:
    asyncio.run(agent.ainvoke(state))


def seen_by(asked: Scripted, *fallbacks: Scripted, invoke: Callable[[Any, Any], None]) -> list[str]:
    """Return the texts of the window that the last of the models was sent."""
    before = [ModelFallbackMiddleware(*fallbacks)] if fallbacks else []
    agent = create_agent(asked, middleware=[*before, TokenBufferMiddleware(300)])
    invoke(agent, {"messages": CONVERSATION})
    return [message.text for message in (asked, *fallbacks)[-1].seen[0]]


def answering(model_name: str) -> Scripted:
    return Scripted(replies=[AIMessage("네.")], model_name=model_name)


def failing(model_name: str) -> Scripted:
    return Scripted(replies=[RuntimeError("It is down.")], model_name=model_name)


@pytest.mark.parametrize("invoke", [invoked, ainvoked])
def test_after_a_fallback_the_window_is_that_models(invoke: Callable[[Any, Any], None]) -> None:
    window = seen_by(failing("gpt-4o"), answering("gpt-4"), invoke=invoke)
    assert window == seen_by(answering("gpt-4"), invoke=invoke)


def test_the_models_before_and_after_the_fallback_have_windows_of_their_own() -> None:
    assert seen_by(answering("gpt-4o"), invoke=invoked) != seen_by(answering("gpt-4"), invoke=invoked)
