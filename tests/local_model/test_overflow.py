"""What the server says of a prompt that is too long, and how the middleware goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from openai import BadRequestError

from examples.local_model import QUESTIONS, Ledger, chat_model
from langchain_tokenbuffer import TokenBufferMiddleware, TokenCounter
from langchain_tokenbuffer._counting.overflow import Overflow, overflow_of
from tests.local_model.conftest import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.local_model import OwnTokenizer, Served
    from langchain_tokenbuffer.middleware import TrimEvent

CONTEXT = 512


@pytest.fixture(scope="module")
def narrow() -> Iterator[Served]:
    with served("smollm2", CONTEXT) as address:
        yield address


@pytest.fixture
def too_long() -> list[BaseMessage]:
    """A conversation of about 700 tokens."""
    turns = [(HumanMessage(each), AIMessage("That is hard to say. " * 12)) for each in QUESTIONS]
    return [*(message for turn in turns for message in turn), HumanMessage("Why?")]


def test_the_servers_answer_is_an_overflow_although_langchain_has_another_name_for_it(
    narrow: Served, ledger: Ledger, too_long: list[BaseMessage], counter: TokenCounter
) -> None:
    with pytest.raises(BadRequestError) as refused:
        chat_model(narrow, ledger).invoke(too_long)
    assert not isinstance(refused.value, ContextOverflowError)
    assert overflow_of(refused.value) == Overflow(counter(too_long), CONTEXT)


@pytest.mark.parametrize("counted_by", ["its own tokenizer", "a stand-in"])
def test_a_budget_that_is_too_large_is_learned_from_one_refusal(
    narrow: Served,
    ledger: Ledger,
    too_long: list[BaseMessage],
    own: OwnTokenizer,
    counted_by: str,
) -> None:
    events: list[TrimEvent] = []
    model = chat_model(narrow, ledger, reply=16)
    trimming = TokenBufferMiddleware(
        4000,
        token_counter=own if counted_by == "its own tokenizer" else model,
        on_trim=events.append,
    )
    agent: Any = create_agent(model, middleware=[trimming], checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "one"}}

    agent.invoke({"messages": too_long}, thread)
    assert [event.reason for event in events] == ["fits", "overflow"]

    events.clear()
    for question in QUESTIONS:
        agent.invoke({"messages": [HumanMessage(question)]}, thread)
    assert len(events) == len(QUESTIONS)
    assert "overflow" not in {event.reason for event in events}
    assert [call.sent[-1].content for call in ledger.calls] == ["Why?", *QUESTIONS]
