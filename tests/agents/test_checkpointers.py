"""Through any checkpointer an agent goes on as it was; with structured answers, with fallbacks, in many threads."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from pydantic import BaseModel

from langchain_tokenbuffer import TokenBufferMiddleware
from tests.agents.postgres import schema_url
from tests.agents.scripted import (
    ENCODING,
    FOREVER,
    Binding,
    look,
    looking,
    middleware_within,
    request,
    sent_by,
)
from tests.builders import ai_calling, count_words, repeat_word, texts_of
from tests.oracle import breaches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from langgraph.checkpoint.base import BaseCheckpointSaver

TURNS, BUDGET = 5, 300


@contextmanager
def postgres() -> Iterator[BaseCheckpointSaver[Any]]:
    """Yield a checkpointer in a schema of its own, where a server answers."""
    saver = pytest.importorskip("langgraph.checkpoint.postgres").PostgresSaver
    with schema_url() as url, saver.from_conn_string(url) as opened:
        opened.setup()
        yield opened


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseCheckpointSaver[Any]]:
    if request.param == "memory":
        yield InMemorySaver()
    elif request.param == "sqlite":
        with SqliteSaver.from_conn_string(str(tmp_path / "a.sqlite")) as opened:
            yield opened
    else:
        with postgres() as opened:
            yield opened


def talked(saver: BaseCheckpointSaver[Any], *, fresh: bool, **options: Any) -> tuple[Binding, dict[str, Any]]:
    """Talk so many turns; with an agent anew at each if it is to be fresh."""
    model = Binding(
        replies=[reply for n in range(TURNS) for reply in (ai_calling(("look", {"at": n}, "c")), AIMessage("Seen."))]
    )
    state: dict[str, Any] = {}

    def agent() -> Any:
        return create_agent(model, [look()], middleware=[middleware_within(BUDGET, **options)], checkpointer=saver)

    held = agent()
    for n in range(TURNS):
        asked = {"messages": [HumanMessage(f"Look, {n}.")]}
        state = (agent() if fresh else held).invoke(asked, {**FOREVER, "configurable": {"thread_id": "1"}})
    return model, state


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_through_any_checkpointer_the_windows_are_those_of_a_running_process(saver: BaseCheckpointSaver[Any]) -> None:
    one, _ = talked(InMemorySaver(), fresh=False)
    other, state = talked(saver, fresh=True, evict_from_state=True)
    assert [*map(texts_of, other.seen)] == [*map(texts_of, one.seen)]
    assert (max(other.sent()) <= BUDGET, len(state["messages"]) < 4 * TURNS, breaches(state["messages"])) == (
        True,
        True,
        set(),
    )


# --- structured answers -------------------------------------------------------------------------


class Place(BaseModel):
    """Where it was."""

    at: int


@pytest.mark.parametrize("strategy", [ToolStrategy(Place), ProviderStrategy(Place)])
def test_a_running_agent_that_answers_in_a_format_stays_within_budget(strategy: Any) -> None:
    last = AIMessage('{"at": 3}') if isinstance(strategy, ProviderStrategy) else ai_calling(("Place", {"at": 3}, "p"))
    model = Binding(replies=[*looking(12)[:-1], last])
    agent: Any = create_agent(model, [look()], response_format=strategy, middleware=[middleware_within(700)])
    state = agent.invoke({"messages": [HumanMessage("Look everywhere.")]}, FOREVER)
    assert (state["structured_response"], max(model.sent()) <= 700) == (Place(at=3), True)
    assert len(model.seen[-1]) < 2 * len(model.seen) - 1


# --- models with fallbacks ----------------------------------------------------------------------


class Down(Binding):
    """A model that is down."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.seen.append(messages)
        msg = "down"
        raise ConnectionError(msg)


def test_a_model_with_fallbacks_sends_each_the_same_window_within_budget() -> None:
    first, second = Down(replies=[]), Binding(replies=looking(12))
    model: Any = first.with_fallbacks([second])
    agent: Any = create_agent(model, [look()], middleware=[middleware_within(600)])
    agent.invoke({"messages": [HumanMessage("Look everywhere.")]}, FOREVER)
    assert [*map(texts_of, first.seen)] == [*map(texts_of, second.seen)]
    assert (len(second.seen), max(second.sent()) <= 600) == (13, True)


def test_of_a_model_with_fallbacks_the_smallest_window_is_the_budget() -> None:
    events: list[Any] = []
    profiles = [{"max_input_tokens": n, "max_output_tokens": 100} for n in (4000, 2000)]
    models = [Binding(replies=looking(1), profile=each) for each in profiles]  # type: ignore[arg-type]
    middleware = [TokenBufferMiddleware(token_counter=ENCODING, on_trim=events.append)]
    model: Any = models[0].with_fallbacks(models[1:])
    agent: Any = create_agent(model, [look()], middleware=middleware)
    agent.invoke({"messages": [HumanMessage("Look.")]}, FOREVER)
    assert {each.max_tokens for each in events} == {1800}


# --- many threads -------------------------------------------------------------------------------


def test_more_threads_than_are_held_are_each_seen_as_alone() -> None:
    counted: list[int] = []

    def counting(messages: Sequence[BaseMessage]) -> int:
        counted.append(len(messages))
        return count_words(messages)

    threads = [[HumanMessage(f"{n} {m} {repeat_word(9)}", id=f"{n} {m}") for m in range(8)] for n in range(40)]
    shared = TokenBufferMiddleware(60, token_counter=counting)
    sent: list[list[str]] = []
    for length in range(2, 9, 3):
        sent = [texts_of(sent_by(shared, request(thread[:length])).messages) for thread in threads]
    alone = [
        texts_of(sent_by(TokenBufferMiddleware(60, token_counter=count_words), request(each)).messages)
        for each in threads
    ]
    assert sent == alone
    assert len(counted) < 2 * 40 * 8
