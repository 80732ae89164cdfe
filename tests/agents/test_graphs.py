"""An agent inside a graph: what it learned, and what it handed over, is known at the next turn."""

from __future__ import annotations

import json
import logging
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain.tools import tool
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send

from langchain_tokenbuffer import TokenBufferMiddleware
from tests.agents.scripted import Backend, Scripted, thread_config
from tests.builders import ai_calling, count_words, texts_of

if TYPE_CHECKING:
    from collections.abc import Callable

TURNS = 12
Agent: TypeAlias = Any  # LangChain types compiled graphs so
Layout: TypeAlias = "Callable[[Talk], Agent]"


def never(tokens: int, number: int) -> bool:
    return False


class Talk:
    """A conversation of an agent that is built for one graph or more."""

    def __init__(
        self, refuses: Callable[[int, int], bool] = never, *, evicts: bool = True, max_tokens: int = 60
    ) -> None:
        self.model: Any = Backend(replies=[], refuses=refuses, words=5)
        self.handed: list[str | None] = []
        self.options: dict[str, Any] = {"max_tokens": max_tokens, "token_counter": count_words}
        if evicts:
            self.options |= {"evict_from_state": True, "on_evict": self._keep}
        self.saver = InMemorySaver()
        self.messages: list[BaseMessage] = []  # in the state of the graph, after the last turn

    def agent(self, **options: Any) -> Agent:
        """Return the agent; each has a middleware of its own."""
        return create_agent(self.model, middleware=[TokenBufferMiddleware(**self.options)], **options)

    def _keep(self, messages: list[BaseMessage]) -> None:
        self.handed += [message.id for message in messages]

    def graph(self, node: Any) -> Agent:
        """Return a graph whose only node this is."""
        builder: Any = StateGraph(MessagesState)
        return builder.add_node("node", node).add_edge(START, "node").compile(checkpointer=self.saver)

    def play(self, graph: Agent, turns: range = range(TURNS)) -> Talk:
        """Play some turns."""
        for turn in turns:
            self.messages = graph.invoke(asked(turn), thread_config())["messages"]
        return self


def asked(turn: int) -> dict[str, Any]:
    return {"messages": [HumanMessage(f"question {turn} of six words here")]}


def plain(talk: Talk) -> Agent:
    return talk.agent(checkpointer=talk.saver)


def node(talk: Talk) -> Agent:
    return talk.graph(talk.agent())


def node_that_keeps_its_state(talk: Talk) -> Agent:
    return talk.graph(talk.agent(checkpointer=True))


def called_in_a_node(talk: Talk) -> Agent:
    agent = talk.agent()
    return talk.graph(lambda state: {"messages": agent.invoke(state)["messages"][-1:]})


def built_in_a_node(talk: Talk) -> Agent:
    return talk.graph(lambda state: {"messages": talk.agent().invoke(state)["messages"][-1:]})


def two_levels_down(talk: Talk) -> Agent:
    builder: Any = StateGraph(MessagesState)
    return talk.graph(builder.add_node("inner", talk.agent()).add_edge(START, "inner").compile())


def node_that_removes(talk: Talk) -> Agent:
    agent = talk.agent()

    def call(state: MessagesState) -> dict[str, Any]:
        messages = agent.invoke({"messages": state["messages"]})["messages"]
        kept = {message.id for message in messages}
        left = [RemoveMessage(id=str(each.id)) for each in state["messages"] if each.id not in kept]
        return {"messages": [*left, *messages]}

    return talk.graph(call)


class Newest(MessagesState):
    messages: Annotated[list[AnyMessage], lambda _, new: new]


def only_keeper(talk: Talk) -> Agent:
    """The agent keeps the conversation, the graph around it only the newest message."""
    agent = talk.agent(checkpointer=True)
    builder: Any = StateGraph(Newest)
    builder.add_node("node", lambda state: {"messages": agent.invoke(state)["messages"][-1:]})
    return builder.add_edge(START, "node").compile(checkpointer=talk.saver)


HOLDING = [node, node_that_keeps_its_state, called_in_a_node, built_in_a_node, two_levels_down]
REACHED = [node_that_removes, only_keeper]


class Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture(scope="module")
def played() -> Callable[[Layout], tuple[Talk, list[str]]]:
    """Return a conversation as a layout plays it, once for all tests, and what was logged at WARNING."""

    @cache
    def play(layout: Layout) -> tuple[Talk, list[str]]:
        logger, warnings = logging.getLogger("langchain_tokenbuffer"), Warnings()
        logger.addHandler(warnings)
        talk = Talk()
        talk.play(layout(talk))
        logger.removeHandler(warnings)
        return talk, warnings.texts

    return play


# --- what leaves --------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [*HOLDING, *REACHED])
def test_an_agent_in_a_graph_hands_over_what_it_does_alone_and_once(layout: Layout, played: Any) -> None:
    (talk, _), (alone, _) = played(layout), played(plain)
    assert len(talk.handed) == len(set(talk.handed)) == len(alone.handed) > TURNS


@pytest.mark.parametrize("layout", [*HOLDING, *REACHED])
def test_an_agent_in_a_graph_sees_what_it_does_alone(layout: Layout, played: Any) -> None:
    (talk, _), (alone, _) = played(layout), played(plain)
    assert list(map(texts_of, talk.model.seen)) == list(map(texts_of, alone.model.seen))


@pytest.mark.parametrize("layout", HOLDING)
def test_eviction_that_does_not_reach_the_messages_says_so_once(layout: Layout, played: Any) -> None:
    talk, (warning,) = played(layout)
    assert len(talk.messages) == 2 * TURNS
    assert ("return RemoveMessage" in warning, "checkpointer=True" in warning) == (True, True)


@pytest.mark.parametrize("layout", [plain, *REACHED])
def test_eviction_that_reaches_the_messages_is_no_warning(layout: Layout, played: Any) -> None:
    talk, warnings = played(layout)
    assert (warnings, len(talk.messages) < TURNS) == ([], True)


async def test_an_async_run_in_a_graph_hands_over_the_same(played: Any) -> None:
    talk, (alone, _) = Talk(), played(plain)
    graph = node(talk)
    for turn in range(TURNS):
        await graph.ainvoke(asked(turn), thread_config())
    assert len(talk.handed) == len(set(talk.handed)) == len(alone.handed)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelno >= logging.WARNING]


def test_after_a_restart_nothing_is_handed_over_that_a_reply_lists(played: Any) -> None:
    talk, (alone, _) = Talk(), played(plain)
    talk.play(node(talk), range(TURNS - 2))
    talk.play(node(talk), range(TURNS - 2, TURNS))
    assert len(talk.handed) == len(set(talk.handed)) == len(alone.handed)


def test_of_two_agents_that_share_messages_one_hands_over() -> None:
    talk = Talk()
    builder: Any = StateGraph(MessagesState)
    builder.add_node("one", talk.agent()).add_node("other", talk.agent()).add_edge(START, "one").add_edge(
        "one", "other"
    )
    talk.play(builder.compile(checkpointer=talk.saver))
    assert len(talk.handed) == len(set(talk.handed)) > TURNS


def test_of_agents_that_run_at_once_one_hands_over(caplog: pytest.LogCaptureFixture) -> None:
    def share(state: MessagesState) -> list[Send]:
        return [Send("worker", {"messages": [*state["messages"], HumanMessage(f"part {n}")]}) for n in range(3)]

    talk = Talk()
    builder: Any = StateGraph(MessagesState)
    builder.add_node("worker", talk.agent()).add_conditional_edges(START, share, ["worker"])
    talk.play(builder.compile(checkpointer=talk.saver), range(8))
    assert len(talk.handed) == len(set(talk.handed)) > TURNS
    assert len(warnings_in(caplog)) == 1


def test_a_caller_that_keeps_the_messages_is_told(caplog: pytest.LogCaptureFixture) -> None:
    talk, messages = Talk(), list[BaseMessage]()
    agent = talk.agent()
    for turn in range(TURNS):
        messages += asked(turn)["messages"]
        messages.append(agent.invoke({"messages": messages})["messages"][-1])
    assert (len(talk.handed) == len(set(talk.handed)), len(warnings_in(caplog))) == (True, 1)


@pytest.mark.parametrize("layout", [node, node_that_keeps_its_state])
def test_the_models_update_in_a_node_is_one_dict(layout: Layout) -> None:
    graph = layout(Talk())
    chunks = [
        chunk
        for turn in range(TURNS)
        for _, chunk in graph.stream(asked(turn), thread_config(), stream_mode="updates", subgraphs=True)
    ]
    updates = [chunk["model"]["messages"] for chunk in chunks if "model" in chunk]
    assert [messages[-1].type for messages in updates] == ["ai"] * TURNS
    assert any(isinstance(each, RemoveMessage) for messages in updates for each in messages)


# --- what refusals taught -----------------------------------------------------------------------


def small(tokens: int, _: int) -> bool:
    return tokens > 30


@pytest.mark.parametrize(
    ("layout", "evicts"),
    [(node, False), (called_in_a_node, False), *((layout, True) for layout in (*HOLDING, *REACHED))],
)
def test_what_a_refusal_taught_is_known_at_the_next_turn(layout: Layout, evicts: bool) -> None:  # noqa: FBT001
    talk, alone = (Talk(small, max_tokens=100, evicts=evicts) for _ in range(2))
    alone.play(plain(alone))
    talk.play(layout(talk))
    assert list(map(texts_of, talk.model.seen)) == list(map(texts_of, alone.model.seen))


def test_after_a_restart_it_is_known_too() -> None:
    talk = Talk(small, max_tokens=100)
    for turn in range(TURNS):
        talk.play(node(talk), range(turn, turn + 1))
    assert talk.model.refusals == 2


def test_an_agent_that_is_a_tool_learns_for_the_next_turn() -> None:
    talk = Talk(small, max_tokens=100)
    worker = talk.agent()

    @tool
    def ask(question: str) -> str:
        """Ask a worker."""
        old = [text for n in range(4) for text in (("user", f"old question {n} of words"), ("ai", f"old answer {n}"))]
        text: str = worker.invoke({"messages": [*old, ("user", question)]})["messages"][-1].text
        return text

    replies = [ai_calling(("ask", {"question": f"question {n}"}, f"call {n // 2}")) for n in range(TURNS)]
    replies[1::2] = [AIMessage("Done.")] * (TURNS // 2)
    talk.play(create_agent(Scripted(replies=replies), [ask], checkpointer=talk.saver), range(TURNS // 2))
    assert talk.model.refusals == 2  # both at its first call


# --- what was thought ---------------------------------------------------------------------------


def test_thinking_that_stays_stays_in_a_node() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    replies = [AIMessage([thought, {"type": "text", "text": f"answer {n} of five words"}]) for n in range(TURNS)]
    talk, alone = Talk(max_tokens=50), Talk(max_tokens=50)
    for each, layout in ((talk, node), (alone, plain)):
        each.model = Scripted(replies=replies, model_name="claude-opus-4-5")
        each.play(layout(each))
    assert [[m.content for m in sent] for sent in talk.model.seen] == [
        [m.content for m in sent] for sent in alone.model.seen
    ]


# --- what replies carry -------------------------------------------------------------------------


def carried(messages: list[BaseMessage]) -> list[Any]:
    return [each.response_metadata["token_buffer"] for each in messages if "token_buffer" in each.response_metadata]


def test_what_a_reply_carries_is_plain_json() -> None:
    talk = Talk(small, max_tokens=100)
    found = carried(talk.play(node(talk)).messages)
    assert json.loads(json.dumps(found)) == found != []


def test_the_replies_list_what_was_handed_over() -> None:
    talk = Talk()
    found = carried(talk.play(node(talk)).messages)
    assert [each for one in found for each in one.get("left", [])] == talk.handed


def test_the_replies_of_a_thread_of_its_own_carry_nothing() -> None:
    talk = Talk(small, max_tokens=100)
    talk.play(plain(talk))
    history = plain(talk).get_state_history(thread_config())
    assert [each for state in history for each in carried(state.values["messages"])] == []


def test_nothing_is_carried_while_nothing_left_and_was_refused() -> None:
    talk = Talk(max_tokens=1000)
    assert carried(talk.play(node(talk)).messages) == []
