"""Every middleware that LangChain ships, in front of ours and behind it."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent, middleware
from langchain.agents.middleware import ClearToolUsesEdit
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver

from tests.agents.scripted import FOREVER, Binding, Scripted, look, looking, middleware_within
from tests.oracle import breaches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langchain_core.runnables import RunnableConfig

STEPS = 7
BUDGET = 450
LOOK: dict[str, Any] = {"messages": [HumanMessage("Look everywhere.")]}
THREAD: RunnableConfig = {**FOREVER, "configurable": {"thread_id": "1"}}


class Choosing(Scripted):
    """A model that chooses the one tool there is."""

    def with_structured_output(self, *args: Any, **kwargs: Any) -> Any:
        return RunnableLambda(lambda _: {"tools": ["look"]})


def said(text: str = "seen") -> Scripted:
    return Scripted(replies=[AIMessage(text)] * 50)


def classifier(answer: dict[str, Any]) -> Any:
    """A decision model that always answers the same."""
    decisions = pytest.importorskip("langchain_core.decisions")

    class Deciding(decisions.BaseDecisionModel):  # type: ignore[name-defined, misc]
        _provider = "nobody"

        def _classify(self, state: Any, questions: dict[str, Any]) -> Any:
            answers = dict.fromkeys(questions, answer)
            return decisions.ClassifierResponse.model_validate({"model": "nobody", "answers": answers})

    return Deciding(model="nobody")


def router(of: Any, _: Path) -> Any:
    answer = {"type": "choice", "choice": "one", "probabilities": {"one": 1.0}, "confidence": 1.0}
    choices = {"one": middleware.model_router.ModelChoice(Binding(replies=looking(STEPS)), "any")}
    return of(choices=choices, instructions="Choose.", classifier=classifier(answer))


# Without ShellToolMiddleware, which leaves the pipes of its shell open: to the model it is a tool.
SHIPPED: dict[str, Callable[[Any, Path], Any]] = {
    "AutoModeMiddleware": lambda of, _: of(tools=["look"], classifier=classifier({"type": "noul", "noul": 0.0})),
    "ContextEditingMiddleware": lambda of, _: of(edits=[ClearToolUsesEdit(trigger=300)]),
    "FilesystemFileSearchMiddleware": lambda of, path: of(root_path=str(path), use_ripgrep=False),
    "HumanInTheLoopMiddleware": lambda of, _: of({"send": True}),
    "LLMToolEmulator": lambda of, _: of(model=said("word " * 40), tools=["look"]),
    "LLMToolSelectorMiddleware": lambda of, _: of(model=Choosing(replies=[])),
    "ModelCallLimitMiddleware": lambda of, _: of(run_limit=100),
    "ModelFallbackMiddleware": lambda of, _: of(said()),
    "ModelRefusalMiddleware": lambda of, _: of(),
    "ModelRetryMiddleware": lambda of, _: of(initial_delay=0, jitter=False),
    "ModelRouterMiddleware": router,
    "PIIMiddleware": lambda of, _: of("email", apply_to_tool_results=True, apply_to_output=True),
    "SummarizationMiddleware": lambda of, _: of(said("A summary."), trigger=("messages", 10), keep=("messages", 4)),
    "TodoListMiddleware": lambda of, _: of(system_prompt="Write to-dos. " * 10, tool_description="Writes to-dos."),
    "ToolCallLimitMiddleware": lambda of, _: of(run_limit=100),
    "ToolErrorMiddleware": lambda of, _: of(lambda *_: "It failed."),
    "ToolRetryMiddleware": lambda of, _: of(initial_delay=0, jitter=False),
}


def made(name: str, path: Path) -> Any:
    of = getattr(middleware, name, None)
    if of is None:
        pytest.skip(f"this langchain has no {name}")
    return SHIPPED[name](of, path)


def chain(name: str, place: str, path: Path, **options: Any) -> list[Any]:
    ours = middleware_within(BUDGET, **options)
    return [made(name, path), ours] if place == "before" else [ours, made(name, path)]


# Those that wrap the model call or change the state's messages.
AROUND = ["ContextEditingMiddleware", "LLMToolSelectorMiddleware", "ModelRetryMiddleware", "SummarizationMiddleware"]
PLACES = list(product(["before", "behind"], SHIPPED))
BESIDES = list(product(["before", "behind"], AROUND))
ignoring_beta = pytest.mark.filterwarnings("ignore:.*beta:Warning")


@ignoring_beta
@pytest.mark.parametrize(("place", "name"), PLACES)
def test_beside_a_shipped_middleware_every_call_is_within_budget_and_valid(
    place: str, name: str, tmp_path: Path
) -> None:
    model = Binding(replies=looking(STEPS))
    agent: Any = create_agent(model, [look()], middleware=chain(name, place, tmp_path))
    state = agent.invoke(LOOK, FOREVER)
    assert (max(model.sent(), default=0) <= BUDGET, [*map(breaches, model.seen)]) == (True, [set()] * len(model.seen))
    assert state["messages"][-1].text == "Done."


@ignoring_beta
@pytest.mark.parametrize(("place", "name"), BESIDES)
async def test_beside_a_shipped_middleware_async_sends_the_same(place: str, name: str, tmp_path: Path) -> None:
    models = [Binding(replies=looking(STEPS)) for _ in range(2)]
    agents: list[Any] = [create_agent(each, [look()], middleware=chain(name, place, tmp_path)) for each in models]
    agents[0].invoke(LOOK, FOREVER)
    await agents[1].ainvoke(LOOK, FOREVER)
    assert models[1].sent() == models[0].sent()


@ignoring_beta
@pytest.mark.parametrize(("place", "name"), BESIDES)
def test_beside_a_shipped_middleware_what_left_leaves_the_state(place: str, name: str, tmp_path: Path) -> None:
    model, handed = Binding(replies=looking(STEPS)), list[Any]()
    behind = chain(name, place, tmp_path, evict_from_state=True, on_evict=handed.extend)
    agent: Any = create_agent(model, [look()], middleware=behind, checkpointer=InMemorySaver())
    state = agent.invoke(LOOK, THREAD)
    stays, ids = {each.id for each in state["messages"]}, [each.id for each in handed]
    assert (breaches(state["messages"]), stays & set(ids), len(ids) - len(set(ids))) == (set(), set(), 0)
