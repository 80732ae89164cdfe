"""What middlewares behind ours add to a request: noticed by what the model was sent, and in the budget from then on."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, ModelRetryMiddleware, wrap_model_call
from langchain.agents.middleware.types import AgentMiddleware
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from typing_extensions import override

from langchain_tokenbuffer import TokenBufferMiddleware, TokenCounter
from langchain_tokenbuffer.counters import message_counter
from tests.agents.scripted import ENCODING, FOREVER, Binding, Scripted, look, looking, middleware_within
from tests.builders import ai_calling, repeat_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.runnables import RunnableConfig

    from langchain_tokenbuffer.middleware import TrimEvent

COUNTER = TokenCounter(ENCODING)
LOOK: dict[str, Any] = {"messages": [HumanMessage("Look everywhere.")]}
BUDGET = 850
MEMORY = "Remember: " + repeat_word(400)
THREAD: RunnableConfig = {"recursion_limit": 10_000, "configurable": {"thread_id": "1"}}


class Adding(AgentMiddleware[Any, Any, Any]):
    """Changes each request as it is told."""

    def __init__(self, change: Callable[[ModelRequest[Any]], ModelRequest[Any]]) -> None:
        super().__init__()
        self.change = change

    @override
    def wrap_model_call(self, request: ModelRequest[Any], handler: Any) -> Any:
        return handler(self.change(request))

    @override
    async def awrap_model_call(self, request: ModelRequest[Any], handler: Any) -> Any:
        return await handler(self.change(request))


def remembering(request: ModelRequest[Any]) -> ModelRequest[Any]:
    return request.override(system_message=SystemMessage(MEMORY))


def reminding(request: ModelRequest[Any]) -> ModelRequest[Any]:
    return request.override(messages=[HumanMessage(MEMORY, id="reminder"), *request.messages])


def annotating(request: ModelRequest[Any]) -> ModelRequest[Any]:
    *earlier, newest = request.messages
    return request.override(messages=[*earlier, newest.model_copy(update={"content": f"{newest.content} {MEMORY}"})])


def equipping(request: ModelRequest[Any]) -> ModelRequest[Any]:
    wide = {"name": "wide", "description": MEMORY, "parameters": {"type": "object", "properties": {}}}
    return request.override(tools=[*request.tools, {"type": "function", "function": wide}])


CHANGES = [remembering, reminding, annotating, equipping]


def agent_with(model: Scripted, *behind: AgentMiddleware[Any, Any, Any], **options: Any) -> Any:
    saver = options.pop("checkpointer", None)
    ours = middleware_within(options.pop("max_tokens", BUDGET), **options)
    return create_agent(model, [look()], middleware=[ours, *behind], checkpointer=saver)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]


# --- in the budget ------------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_added_behind_is_in_the_budget_from_the_next_call_on(change: Any) -> None:
    model = Binding(replies=looking(9))
    agent_with(model, Adding(change)).invoke(LOOK, FOREVER)
    assert max(model.sent()) <= BUDGET


@pytest.mark.parametrize("change", [remembering, equipping])
async def test_async_the_windows_are_the_same(change: Any) -> None:
    one, other = Binding(replies=looking(9)), Binding(replies=looking(9))
    agent_with(one, Adding(change)).invoke(LOOK, FOREVER)
    await agent_with(other, Adding(change)).ainvoke(LOOK, FOREVER)
    assert other.sent() == one.sent()


def test_what_is_added_behind_takes_no_more_than_it_is() -> None:
    model = Binding(replies=looking(9))
    agent_with(model, Adding(remembering)).invoke(LOOK, FOREVER)
    assert max(model.sent()) > 0.9 * BUDGET


def test_what_a_middleware_in_the_middle_adds_is_in_the_budget_among_retries() -> None:
    model = Binding(replies=looking(9))
    behind = [ModelRetryMiddleware(initial_delay=0, jitter=False), Adding(remembering)]
    agent_with(model, *behind).invoke(LOOK, FOREVER)
    assert max(model.sent()) <= BUDGET


def test_an_event_says_what_is_added() -> None:
    events: list[TrimEvent] = []
    model = Binding(replies=looking(5))
    agent_with(model, Adding(remembering), on_trim=events.append).invoke(LOOK, FOREVER)
    assert [sum(each.made_of.values()) for each in events] == [each.tokens_after for each in events]
    assert ["added" in each.made_of for each in events] == [False, *[True] * 5]


def test_as_an_event_says_it_is_sent() -> None:
    events: list[TrimEvent] = []
    model = Binding(replies=looking(5))
    agent_with(model, Adding(remembering), on_trim=events.append).invoke(LOOK, FOREVER)
    assert [each.tokens_after for each in events][1:] == pytest.approx(model.sent()[1:], rel=0.02)


# --- who knows of it ----------------------------------------------------------------------------


def ask(turn: int) -> dict[str, Any]:
    return {"messages": [HumanMessage(f"{turn}: " + repeat_word(60))]}


def talker(turns: int) -> Binding:
    return Binding(replies=[AIMessage(repeat_word(60)) for _ in range(turns)])


def test_a_caller_that_keeps_the_messages_is_known_again_at_the_next_turn() -> None:
    model, state = talker(8), {"messages": list[BaseMessage]()}
    agent = agent_with(model, Adding(remembering))
    for turn in range(8):
        state = agent.invoke({"messages": [*state["messages"], *ask(turn)["messages"]]}, FOREVER)
    assert max(model.sent()) <= BUDGET


def test_an_agent_that_is_a_node_knows_it_at_the_next_turn() -> None:
    model = talker(8)
    graph = StateGraph(MessagesState).add_node("agent", agent_with(model, Adding(remembering)))
    compiled: Any = graph.add_edge(START, "agent").compile(InMemorySaver())
    for turn in range(8):
        compiled.invoke(ask(turn), THREAD)
    assert max(model.sent()) <= BUDGET


def test_another_process_knows_it_by_the_private_state() -> None:
    model, saver = talker(8), InMemorySaver()
    for turn in range(8):
        agent_with(model, Adding(remembering), checkpointer=saver).invoke(ask(turn), THREAD)
    assert max(model.sent()) <= BUDGET


def test_another_thread_is_not_taken_for_this_one() -> None:
    events: list[TrimEvent] = []
    agent = agent_with(talker(2), Adding(remembering), on_trim=events.append)
    for turn in range(2):
        agent.invoke(ask(turn), FOREVER)
    assert ["added" in each.made_of for each in events] == [False, False]


# --- what is said -------------------------------------------------------------------------------


def long_thread(turns: int = 20) -> dict[str, Any]:
    return {
        "messages": [each for turn in range(turns) for each in (*ask(turn)["messages"], AIMessage("yes " * 60))][:-1]
    }


def test_a_request_that_is_too_long_by_what_is_added_is_said_once_a_thread(caplog: pytest.LogCaptureFixture) -> None:
    agent = agent_with(Binding(replies=looking(4)), Adding(remembering), trim_to=1.0)
    agent.invoke(long_thread(), FOREVER)
    assert ["TokenBufferMiddleware added" in each for each in warnings_of(caplog)] == [True]


def test_the_reserve_it_names_is_right(caplog: pytest.LogCaptureFixture) -> None:
    options = {"trim_to": 1.0}
    agent_with(Binding(replies=looking(1)), Adding(remembering), **options).invoke(long_thread(), FOREVER)
    reserve = int(warnings_of(caplog)[0].rpartition("reserve_tokens=")[2].rstrip("."))
    caplog.clear()
    model, options = Binding(replies=looking(4)), {"trim_to": 1.0, "reserve_tokens": reserve}
    agent_with(model, Adding(remembering), **options).invoke(long_thread(), FOREVER)
    assert (max(model.sent()) <= BUDGET, warnings_of(caplog)) == (True, [])


def test_with_the_reserve_it_names_no_window_changes_by_what_is_noticed() -> None:
    reserve = COUNTER([SystemMessage(MEMORY)]) - message_counter(COUNTER).constant
    models = [Binding(replies=looking(4)) for _ in range(2)]
    for model, behind in zip(models, ([Adding(remembering)], []), strict=True):
        agent_with(model, *behind, reserve_tokens=reserve).invoke(long_thread(), FOREVER)
    assert [len(sent) - 1 for sent in models[0].seen] == [len(sent) for sent in models[1].seen]


def test_what_fits_is_said_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    agent_with(Binding(replies=looking(9)), Adding(remembering)).invoke(LOOK, FOREVER)
    assert warnings_of(caplog) == []


def test_what_is_too_large_for_the_budget_ends_no_run(caplog: pytest.LogCaptureFixture) -> None:
    model = Binding(replies=looking(4))
    agent_with(model, Adding(remembering), max_tokens=400).invoke(LOOK, FOREVER)
    assert (len(model.seen), len(warnings_of(caplog))) == (5, 1)


# --- what is not added --------------------------------------------------------------------------


def test_what_else_a_model_is_asked_behind_is_not_taken_for_the_request() -> None:
    judge = Scripted(replies=[AIMessage("fine")] * 40)

    @wrap_model_call
    def judging(request: ModelRequest[Any], handler: Callable[..., Any]) -> Any:
        judge.invoke([SystemMessage(repeat_word(5000)), HumanMessage("Is this fine?")])
        reply = handler(request)
        judge.invoke([SystemMessage(repeat_word(5000)), HumanMessage("Was this fine?")])
        return reply

    events: list[TrimEvent] = []
    agent_with(Binding(replies=looking(5)), judging, on_trim=events.append).invoke(LOOK, FOREVER)
    assert ["added" in each.made_of for each in events] == [False] * 6


def test_a_picture_is_not_taken_for_something_added() -> None:
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480)).decode()
    image = {"type": "image", "base64": png, "mime_type": "image/png"}
    asked = HumanMessage([{"type": "text", "text": "Look."}, image])
    events: list[TrimEvent] = []
    model = Binding(replies=looking(3))
    ours = TokenBufferMiddleware(5000, token_counter="gpt-4o", on_trim=events.append)
    create_agent(model, [look()], middleware=[ours]).invoke({"messages": [asked]}, FOREVER)
    assert ["added" in each.made_of for each in events] == [False] * 4


def test_less_is_never_more() -> None:
    def narrowing(request: ModelRequest[Any]) -> ModelRequest[Any]:
        return request.override(tools=[], messages=request.messages[-1:])

    events: list[TrimEvent] = []
    asked = [HumanMessage("Look."), AIMessage("Where?"), HumanMessage("Here.")]
    only = StructuredTool.from_function(lambda: "x", name="only", description="Answers.")
    ours = middleware_within(BUDGET, on_trim=events.append)
    agent: Any = create_agent(Scripted(replies=[AIMessage("ok")] * 2), [only], middleware=[ours, Adding(narrowing)])
    for _ in range(2):
        agent.invoke({"messages": asked}, FOREVER)
    assert ["added" in each.made_of for each in events] == [False, False]


# --- deepagents ---------------------------------------------------------------------------------


def test_what_a_deep_agent_remembers_and_can_is_in_the_budget(tmp_path: Any) -> None:
    deepagents = pytest.importorskip("deepagents")
    backends = pytest.importorskip("deepagents.backends")
    (tmp_path / "AGENTS.md").write_text("Remember this rule. " * 500)
    skill = tmp_path / "skills" / "looking"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(f"---\nname: looking\ndescription: {repeat_word(100)}\n---\nLook well.\n")
    model = Binding(replies=[ai_calling(("look", {"at": n}, f"c{n}")) for n in range(8)] + [AIMessage("Done.")])
    agent = deepagents.create_deep_agent(
        model,
        [look("word " * 600)],
        middleware=[middleware_within(7000)],
        memory=["/AGENTS.md"],
        skills=["/skills/"],
        backend=backends.FilesystemBackend(root_dir=tmp_path, virtual_mode=True),
    )
    agent.invoke(LOOK, FOREVER)
    system = str(model.seen[-1][0].content)
    assert ("Remember this rule." in system, "looking" in system, max(model.sent()) <= 7000) == (True, True, True)
    assert len(model.seen[-1]) < len(model.seen)


def test_a_deep_agents_sub_agent_gets_its_own() -> None:
    deepagents = pytest.importorskip("deepagents")
    from deepagents.middleware.subagents import GENERAL_PURPOSE_SUBAGENT  # noqa: PLC0415

    steps = [ai_calling(("look", {"at": n}, f"c{n}")) for n in range(8)]
    task = {"description": "Look everywhere.", "subagent_type": "general-purpose"}
    model = Binding(replies=[ai_calling(("task", task, "t")), *steps, AIMessage("Seen."), AIMessage("Done.")])
    agent = deepagents.create_deep_agent(
        model,
        [look("word " * 600)],
        middleware=[middleware_within(6000)],
        subagents=[{**GENERAL_PURPOSE_SUBAGENT, "middleware": [middleware_within(6000)]}],
    )
    agent.invoke(LOOK, FOREVER)
    assert (len(model.seen), max(model.sent()) <= 6000) == (11, True)
