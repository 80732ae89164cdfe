"""Agents that wait for people: calls approved, edited, rejected, abandoned."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from tests.agents.scripted import FOREVER, Binding, look, middleware_within
from tests.builders import ai_calling
from tests.oracle import breaches

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

TURNS, STEPS, BUDGET = 3, 2, 400
THREAD: RunnableConfig = {**FOREVER, "configurable": {"thread_id": "1"}}
EDITED = {"type": "edit", "edited_action": {"name": "look", "args": {"at": -1}}}
DECISIONS: dict[str, dict[str, Any] | None] = {
    "approved": {"type": "approve"},
    "edited": EDITED,
    "rejected": {"type": "reject", "message": "Not there."},
    "abandoned": None,
}


def script(*, abandoned: bool) -> Binding:
    steps = [ai_calling(*[("look", {"at": n}, f"call {n} {i}") for i in range(2)]) for n in range(STEPS)]
    turn = [*steps[: 1 if abandoned else STEPS], *([] if abandoned else [AIMessage("Seen.")])]
    return Binding(replies=[*turn * TURNS, AIMessage("Done.")])


async def talk(model: Binding, place: str, decision: dict[str, Any] | None, way: str, **options: Any) -> Any:
    """Ask so many times, decide each time alike; return the last state."""
    ours, review = middleware_within(BUDGET, **options), HumanInTheLoopMiddleware({"look": True})
    chain: list[Any] = [review, ours] if place == "before" else [ours, review]
    agent: Any = create_agent(model, [look()], middleware=chain, checkpointer=InMemorySaver())
    state: dict[str, Any] = {}

    async def run(asked: Any) -> dict[str, Any]:
        done: dict[str, Any] = await agent.ainvoke(asked, THREAD) if way == "async" else agent.invoke(asked, THREAD)
        return done

    for turn in range(TURNS + (decision is None)):
        state = await run({"messages": [HumanMessage(f"Look, {turn}. " + "please " * 20)]})
        while decision and (waiting := state.get("__interrupt__")):
            decisions = [decision] * len(waiting[0].value["action_requests"])
            state = await run(Command(resume={"decisions": decisions}))
    return state


CASES = list(product(["before", "behind"], DECISIONS))


@pytest.mark.parametrize(("place", "decided"), CASES)
async def test_every_call_is_valid_and_within_budget(place: str, decided: str) -> None:
    model = script(abandoned=decided == "abandoned")
    state = await talk(model, place, DECISIONS[decided], "sync", evict_from_state=decided in ("edited", "abandoned"))
    assert [found for sent in model.seen if (found := breaches(sent))] == []
    assert (max(model.sent()) <= BUDGET, state["messages"][-1].text in ("Done.", "Seen.")) == (True, True)


@pytest.mark.parametrize(("place", "decided"), CASES[::3])
async def test_async_the_windows_are_the_same(place: str, decided: str) -> None:
    models = [script(abandoned=decided == "abandoned") for _ in range(2)]
    for model, way in zip(models, ("sync", "async"), strict=True):
        await talk(model, place, DECISIONS[decided], way)
    assert [*map(said, models[1].seen)] == [*map(said, models[0].seen)]


@pytest.mark.parametrize("decided", ["approved", "rejected"])
async def test_the_newest_decision_is_in_the_window(decided: str) -> None:
    model = script(abandoned=False)
    await talk(model, "before", DECISIONS[decided], "sync")
    after_steps = [sent for n, sent in enumerate(model.seen) if n % (STEPS + 1)]
    assert {sent[-1].type for sent in after_steps} == {"tool"}


async def test_what_was_abandoned_is_answered_as_such_only_in_the_window() -> None:
    model = script(abandoned=True)
    state = await talk(model, "before", None, "sync")
    invented = {each.id for sent in model.seen for each in sent} - {each.id for each in state["messages"]}
    assert (len(invented) > 0, breaches(state["messages"]) != set()) == (True, True)


def said(messages: list[BaseMessage]) -> list[tuple[str, str]]:
    return [(each.type, each.text) for each in messages]
