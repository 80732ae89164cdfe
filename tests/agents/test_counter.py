"""`TokenCounter` where LangChain's own middlewares count."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    SummarizationMiddleware,
)
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_tokenbuffer import TokenCounter
from tests.builders import ai_calling, chat


def state(messages: list[BaseMessage]) -> Any:
    return {"messages": messages}


def test_a_token_counter_counts_for_the_summarization_middleware() -> None:
    model = FakeMessagesListChatModel(responses=[AIMessage("A summary."), AIMessage("Done.")])
    middleware = SummarizationMiddleware(
        model=model,
        trigger=("tokens", 100),
        keep=("messages", 2),
        token_counter=TokenCounter("o200k_base"),
    )
    agent = create_agent(model, middleware=[middleware])
    messages = agent.invoke(state([*chat(20), HumanMessage("And now?")]))["messages"]
    assert "A summary." in messages[0].text


def test_below_its_trigger_the_summarization_middleware_keeps_all() -> None:
    model = FakeMessagesListChatModel(responses=[AIMessage("Done.")])
    middleware = SummarizationMiddleware(
        model=model,
        trigger=("tokens", 1000),
        keep=("messages", 2),
        token_counter=TokenCounter("o200k_base"),
    )
    agent = create_agent(model, middleware=[middleware])
    asked = [*chat(20), HumanMessage("And now?")]
    assert len(agent.invoke(state(asked))["messages"]) == len(asked) + 1


class Recording(FakeMessagesListChatModel):
    """A model that keeps what it was asked."""

    asked: ClassVar[list[BaseMessage]] = []

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.asked[:] = messages
        return super()._generate(messages, *args, **kwargs)


@pytest.mark.parametrize(("trigger", "kept"), [(100, "[cleared]"), (100_000, "found " * 200)])
def test_a_token_counter_counts_for_the_context_editing_middleware(trigger: int, kept: str) -> None:
    model = Recording(responses=[AIMessage("Done.")])
    middleware = ContextEditingMiddleware(
        edits=[ClearToolUsesEdit(trigger=trigger, keep=0)],
        token_counter=TokenCounter("o200k_base"),
    )
    steps: list[BaseMessage] = [
        HumanMessage("Look it up."),
        ai_calling(("look_up", {}, "1")),
        ToolMessage("found " * 200, tool_call_id="1"),
    ]
    create_agent(model, middleware=[middleware]).invoke(state(steps))
    assert model.asked[-1].text == kept
