"""What an agent streams is what it streams without the middleware; events are there for who asks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain.agents.middleware.types import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, InvalidToolCall, RemoveMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from langchain_tokenbuffer import TokenBufferMiddleware
from tests.agents.scripted import ENCODING, Scripted, answers_invalid_calls, look, looking
from tests.builders import ai_calling, repeat_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.runnables import RunnableConfig

TURNS = 10
CONFIG: RunnableConfig = {"configurable": {"thread_id": "1"}}


def talker() -> Scripted:
    return Scripted(replies=[AIMessage(f"answer {n} " + repeat_word(20)) for n in range(TURNS + 1)])


def talking(*outer: AgentMiddleware[Any, Any, Any], model: Scripted | None = None, **options: Any) -> Any:
    options = {"token_counter": ENCODING, "evict_from_state": True, **options}
    middleware = [*outer, TokenBufferMiddleware(options.pop("max_tokens", 200), **options)]
    return create_agent(model or talker(), middleware=middleware, checkpointer=InMemorySaver())


def asked(turn: int) -> dict[str, Any]:
    return {"messages": [HumanMessage(f"question {turn} " + repeat_word(10))]}


def streamed(agent: Any, mode: str) -> list[Any]:
    return [chunk for n in range(TURNS) for chunk in agent.stream(asked(n), CONFIG, stream_mode=mode)]


async def astreamed(agent: Any, mode: str) -> list[Any]:
    return [chunk for n in range(TURNS) async for chunk in agent.astream(asked(n), CONFIG, stream_mode=mode)]


def state_of(agent: Any) -> list[BaseMessage]:
    messages: list[BaseMessage] = agent.get_state(CONFIG).values["messages"]
    return messages


# --- outer middlewares ------------------------------------------------------------------------


@wrap_model_call
def reading(request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]) -> Any:
    """An outer middleware that reads a reply where LangChain's docs read it."""
    response = handler(request)
    assert isinstance(response.result[0], AIMessage)
    return response


@wrap_model_call
def replacing(request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]) -> Any:
    """An outer middleware that puts another reply in its place."""
    response = handler(request)
    response.result[0] = AIMessage(response.result[0].text.upper())
    return response


@wrap_model_call
def rebuilding(request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]) -> Any:
    """An outer middleware that answers with a reply of its own, as LangChain's docs do."""
    return ModelResponse(result=[AIMessage(handler(request).result[0].text.upper())])


OUTER = {"nothing": [], "one that reads": [reading], "one that replaces": [replacing]}


@pytest.mark.parametrize("around", OUTER)
def test_the_models_update_is_one_dict_that_ends_with_the_reply(around: str) -> None:
    updates = [chunk["model"] for chunk in streamed(talking(*OUTER[around]), "updates")]
    replies = [update["messages"][-1].text.lower()[:9].strip() for update in updates]
    assert replies == [f"answer {n}" for n in range(TURNS)]


async def test_async_streams_the_same_update() -> None:
    updates = [chunk["model"] for chunk in await astreamed(talking(), "updates")]
    assert [update["messages"][-1].type for update in updates] == ["ai"] * TURNS


@pytest.mark.parametrize("around", OUTER)
def test_an_update_that_removes_messages_removes_them(around: str) -> None:
    agent = talking(*OUTER[around])
    updates = [chunk["model"] for chunk in streamed(agent, "updates")]
    removed = [each for update in updates for each in update["messages"] if isinstance(each, RemoveMessage)]
    assert len(removed) + len(state_of(agent)) == 2 * TURNS
    assert len(removed) > TURNS


def test_what_an_outer_middleware_makes_of_a_reply_stays() -> None:
    streamed(agent := talking(replacing), "updates")
    assert state_of(agent)[-1].text.startswith(f"ANSWER {TURNS - 1}")


def test_a_reply_that_is_made_anew_outside_keeps_nothing_in_the_state() -> None:
    handed: list[str | None] = []
    agent = talking(rebuilding, on_evict=lambda messages: handed.extend(m.id for m in messages))
    streamed(agent, "updates")
    assert len(state_of(agent)) < TURNS
    assert len(handed) == len(set(handed)) >= 2 * TURNS - len(state_of(agent))


def test_a_tool_loops_updates_are_dicts_too() -> None:
    agent: Any = create_agent(
        Scripted(replies=looking(30)),
        [look()],
        middleware=[TokenBufferMiddleware(600, token_counter=ENCODING, evict_from_state=True)],
    )
    chunks = [*agent.stream(asked(0), {"recursion_limit": 200}, stream_mode="updates")]
    assert [chunk["model"]["messages"][-1].type for chunk in chunks if "model" in chunk] == ["ai"] * 31


class Place(BaseModel):
    at: int


def test_a_structured_answers_update_ends_with_what_it_ends_with_alone() -> None:
    replies = [ai_calling(("Place", {"at": n}, f"call {n}")) for n in range(TURNS)]
    middleware = TokenBufferMiddleware(300, token_counter=ENCODING, evict_from_state=True)
    agent: Any = create_agent(
        Scripted(replies=replies),
        middleware=[middleware],
        response_format=ToolStrategy(Place),
        checkpointer=InMemorySaver(),
    )
    updates = [chunk["model"] for chunk in streamed(agent, "updates")]
    assert [(update["messages"][-1].type, update["structured_response"].at) for update in updates] == [
        ("tool", n) for n in range(TURNS)
    ]
    assert any(isinstance(update["messages"][0], RemoveMessage) for update in updates)


@answers_invalid_calls
def test_a_call_that_could_not_be_read_leaves_no_removal_in_the_state() -> None:
    broken = InvalidToolCall(type="invalid_tool_call", name="look", args="{", id="broken", error="no JSON")
    calls = [InvalidToolCall({**broken, "id": f"b{n}"}) for n in range(TURNS)]
    replies = [AIMessage(repeat_word(20), invalid_tool_calls=[call]) for call in calls]
    handed: list[BaseMessage] = []
    agent = talking(model=Scripted(replies=replies), on_evict=handed.extend)
    updates = [chunk["model"] for chunk in streamed(agent, "updates")]
    assert {type(update) for update in updates} == {dict}
    assert [each for each in state_of(agent) if isinstance(each, RemoveMessage)] == []


@answers_invalid_calls
def test_after_a_call_that_could_not_be_read_messages_leave_again() -> None:
    broken = InvalidToolCall(type="invalid_tool_call", name="look", args="{", id="broken", error="no JSON")
    replies = [AIMessage(repeat_word(20), invalid_tool_calls=[broken] if n == 2 else []) for n in range(TURNS)]
    handed: list[BaseMessage] = []
    streamed(agent := talking(model=Scripted(replies=replies), on_evict=handed.extend), "updates")
    assert len(handed) + len(state_of(agent)) == 2 * TURNS + 1
    assert any(isinstance(each, ToolMessage) for each in handed)


def test_a_response_that_is_given_twice_stays_as_it_was() -> None:
    response = ModelResponse[Any](result=[AIMessage("from a cache")])

    @wrap_model_call
    def cached(request: ModelRequest[Any], handler: object) -> ModelResponse[Any]:
        return response

    middleware = TokenBufferMiddleware(200, token_counter=ENCODING, evict_from_state=True)
    agent: Any = create_agent(talker(), middleware=[middleware, cached], checkpointer=InMemorySaver())
    streamed(agent, "updates")
    assert [each.type for each in response.result] == ["ai"]


# --- what stays inside --------------------------------------------------------------------------


def test_nothing_is_learned_from_evicting_that_the_values_would_show() -> None:
    assert {key for chunk in streamed(talking(), "values") for key in chunk} == {"messages"}


def test_the_private_state_stays_out_of_what_a_run_returns() -> None:
    streamed(agent := talking(), "updates")
    assert set(agent.invoke(asked(TURNS), CONFIG)) == {"messages"}


def test_a_removal_is_no_message_of_the_stream() -> None:
    assert {type(message) for message, _ in streamed(talking(), "messages")}.isdisjoint({RemoveMessage})


# --- events ---------------------------------------------------------------------------------------


def test_events_are_streamed_for_who_asks() -> None:
    events: list[Any] = []
    agent = talking(stream_events=True, on_trim=events.append)
    chunks = streamed(agent, "custom")
    assert [chunk["token_buffer"] for chunk in chunks] == [event.as_json() for event in events]


async def test_async_streams_the_same_events() -> None:
    chunks = await astreamed(talking(stream_events=True), "custom")
    assert chunks == streamed(talking(stream_events=True), "custom")


def test_a_streamed_event_is_plain_json() -> None:
    chunks = streamed(talking(stream_events=True), "custom")
    assert (json.loads(json.dumps(chunks)), len(chunks)) == (chunks, TURNS)


def test_nobody_is_streamed_an_event_unasked() -> None:
    assert streamed(talking(), "custom") == []
