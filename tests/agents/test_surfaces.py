"""The same window wherever an agent's messages are: deep agents, sub-agents, graphs, hooks."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain.agents.middleware import ContextEditingMiddleware, ModelRequest, wrap_model_call
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from langchain_tokenbuffer.buffer import TokenBuffer
from langchain_tokenbuffer.counters import TokenCounter
from langchain_tokenbuffer.order import validate
from tests.agents.scripted import (
    ENCODING,
    FOREVER,
    Scripted,
    look,
    looking,
    middleware_within,
)
from tests.builders import ai_calling, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COUNTER = TokenCounter(ENCODING)
LOOK: dict[str, Any] = {"messages": [HumanMessage("Look everywhere.")]}


def run_agent_with(model: Scripted, *chain: Any, tools: Sequence[Any] | None = None) -> None:
    agent: Any = create_agent(model, tools or [look()], middleware=chain)
    agent.invoke(LOOK, FOREVER)


# --- deepagents ---------------------------------------------------------------------------------


def deep_agent(model: Scripted, max_tokens: int) -> Any:
    from deepagents import create_deep_agent  # noqa: PLC0415  # half a second

    return create_deep_agent(
        model=model, tools=[look()], middleware=[middleware_within(max_tokens, reserve_tokens=500)]
    )


def test_a_deep_agent_stays_within_its_budget() -> None:
    model = Scripted(replies=looking(50))
    deep_agent(model, 4000).invoke(LOOK, FOREVER)
    assert max(COUNTER.count(sent, tools=model.asked[0]) for sent in model.seen) <= 4000


def test_a_deep_agents_windows_are_valid() -> None:
    model = Scripted(replies=looking(50))
    deep_agent(model, 4000).invoke(LOOK, FOREVER)
    assert [each.code for sent in model.seen for each in validate(sent)] == []


def test_a_deep_agents_conversation_is_trimmed() -> None:
    model = Scripted(replies=looking(50))
    deep_agent(model, 4000).invoke(LOOK, FOREVER)
    assert len(model.seen[-1]) < 100


# --- agents in agents ---------------------------------------------------------------------------


def test_a_sub_agent_has_a_window_of_its_own() -> None:
    inner = Scripted(replies=looking(30))
    below: Any = create_agent(inner, [look()], middleware=[middleware_within(600)])

    @tool
    def delegate(task: str) -> str:
        """Let another agent look."""
        done: dict[str, Any] = below.invoke({"messages": [HumanMessage(task)]}, FOREVER)
        return str(done["messages"][-1].content)

    outer = Scripted(replies=[ai_calling(("delegate", {"task": "Look everywhere."}, "d")), AIMessage("Done.")])
    run_agent_with(outer, middleware_within(600), tools=[delegate])
    alone = Scripted(replies=looking(30))
    run_agent_with(alone, middleware_within(600))
    assert list(map(len, inner.seen)) == list(map(len, alone.seen))


def test_one_middleware_may_serve_several_agents() -> None:
    shared = middleware_within(600)
    models = [Scripted(replies=looking(30)) for _ in range(2)]
    for model in models:
        run_agent_with(model, shared)
    assert list(map(len, models[0].seen)) == list(map(len, models[1].seen))


# --- among other middlewares --------------------------------------------------------------------


def test_what_earlier_middlewares_add_is_in_the_budget() -> None:
    @wrap_model_call
    def remind(request: ModelRequest[Any], handler: Callable[..., Any]) -> Any:
        memory = SystemMessage("Remember: " + "this " * 100)
        return handler(request.override(system_message=memory))

    model = Scripted(replies=looking(30))
    run_agent_with(model, remind, middleware_within(600))
    assert max(COUNTER.count(sent, tools=[look()]) for sent in model.seen) <= 600


def test_the_middleware_goes_behind_context_editing() -> None:
    model = Scripted(replies=looking(30))
    run_agent_with(model, ContextEditingMiddleware(), middleware_within(600))
    assert max(COUNTER.count(sent, tools=[look()]) for sent in model.seen) <= 600


# --- plain graphs -------------------------------------------------------------------------------


def test_a_bare_node_trims_before_it_calls_the_model() -> None:
    model, buffer = Scripted(replies=looking(30)), TokenBuffer(600, token_counter=ENCODING)

    def call_model(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [model.invoke(buffer.trim(state["messages"]))]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", call_model)
    graph.add_node("tools", ToolNode([look()]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition, ["tools", END])
    graph.add_edge("tools", "model")
    compiled: Any = graph.compile()
    compiled.invoke(LOOK, FOREVER)
    assert max(map(COUNTER, model.seen)) <= 600


def test_a_pre_model_hook_returns_the_window_as_the_models_input() -> None:
    from langgraph.prebuilt import create_react_agent  # noqa: PLC0415  # deprecated, in use

    model, buffer = Scripted(replies=looking(30)), TokenBuffer(600, token_counter=ENCODING)

    def hook(state: dict[str, Any]) -> dict[str, Any]:
        return {"llm_input_messages": buffer.trim(state["messages"])}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agent: Any = create_react_agent(model, [look()], pre_model_hook=hook, checkpointer=InMemorySaver())
    agent.invoke(LOOK, FOREVER | {"configurable": {"thread_id": "1"}})
    assert max(map(COUNTER, model.seen)) <= 600


# --- async --------------------------------------------------------------------------------------

FIRST_USE = """
import asyncio
from blockbuster import BlockBuster
from langchain_core.messages import HumanMessage
from langchain_tokenbuffer.middleware import TokenBufferMiddleware
from tests.agents.scripted import ENCODING, request

middleware = TokenBufferMiddleware(90, token_counter=ENCODING)
asked = request([HumanMessage("hello")])

async def handler(request):
    return None

async def main():
    guard = BlockBuster()
    guard.activate()  # any blocking call on the event loop raises from here on
    try:
        await middleware.awrap_model_call(asked, handler)
    finally:
        guard.deactivate()

asyncio.run(main())
print("not blocked")
"""


def test_the_first_use_does_not_block_the_event_loop() -> None:
    assert run_script(FIRST_USE) == "not blocked\n"
