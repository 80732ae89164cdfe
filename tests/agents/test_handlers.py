"""What fails behind the model costs no reply: `on_evict`, `on_trim`, and what retries model calls around them."""

from __future__ import annotations

import asyncio
import pickle
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain_core import exceptions
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from langchain_tokenbuffer import TokenBudgetError, TokenBufferMiddleware
from tests.agents.scripted import ENCODING, Scripted
from tests.builders import repeat_word

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.runnables import RunnableConfig

TURNS = 12
FAILURES = 3
CONFIG: RunnableConfig = {"configurable": {"thread_id": "1"}}
OUTER: dict[str, Callable[[Scripted], list[AgentMiddleware[Any, Any, Any]]]] = {
    "nothing": lambda _: [],
    "a retry": lambda _: [ModelRetryMiddleware(initial_delay=0, jitter=False)],
    "a fallback": lambda other: [ModelFallbackMiddleware(other)],
}


class Archive:
    """An `on_evict` that fails a few times."""

    def __init__(self, failures: int = FAILURES) -> None:
        self.failures = failures
        self.batches: list[list[str | None]] = []

    def __call__(self, messages: list[BaseMessage]) -> None:
        self.batches.append([message.id for message in messages])
        if len(self.batches) <= self.failures:
            msg = "the archive is down"
            raise OSError(msg)


class AsyncArchive(Archive):
    async def __call__(self, messages: list[BaseMessage]) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().__call__(messages)


def talker() -> Scripted:
    return Scripted(replies=[AIMessage(f"answer {n} " + repeat_word(20)) for n in range(2 * TURNS)])


def talking(model: Scripted, *outer: AgentMiddleware[Any, Any, Any], **options: Any) -> Any:
    options = {"token_counter": ENCODING, "evict_from_state": True, **options}
    middleware = [*outer, TokenBufferMiddleware(200, **options)]
    return create_agent(model, middleware=middleware, checkpointer=InMemorySaver())


def asked(turn: int) -> dict[str, Any]:
    return {"messages": [HumanMessage(f"question {turn} " + repeat_word(10))]}


@pytest.fixture(params=["sync", "async"])
def talk(request: pytest.FixtureRequest) -> Callable[[Any], list[Any]]:
    """Plays the turns of a conversation either way; returns the state after each."""
    if request.param == "sync":
        return lambda agent: [agent.invoke(asked(n), CONFIG) for n in range(TURNS)]

    async def play(agent: Any) -> list[Any]:
        return [await agent.ainvoke(asked(n), CONFIG) for n in range(TURNS)]

    return lambda agent: asyncio.run(play(agent))


@pytest.mark.parametrize("around", OUTER)
def test_an_on_evict_that_fails_costs_no_reply_and_no_second_call(around: str, talk: Any) -> None:
    model, other, archive = talker(), talker(), Archive()
    states = talk(talking(model, *OUTER[around](other), on_evict=archive))
    replies = [state["messages"][-1].text[:9].strip() for state in states]
    assert (len(model.seen), len(other.seen)) == (TURNS, 0)
    assert replies == [f"answer {n}" for n in range(TURNS)]


@pytest.mark.parametrize("archive", [Archive, AsyncArchive])
async def test_what_on_evict_did_not_take_comes_again_with_the_next_call(archive: type[Archive]) -> None:
    agent, taken = talking(talker(), on_evict=(evictions := archive())), evictions.batches
    for n in range(TURNS):
        await agent.ainvoke(asked(n), CONFIG)
    assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(taken[: FAILURES + 1]))


def test_an_on_evict_that_fails_removes_nothing(talk: Any) -> None:
    states = talk(talking(talker(), on_evict=Archive(failures=TURNS)))
    assert len(states[-1]["messages"]) == 2 * TURNS


def test_an_on_evict_that_fails_moves_no_window(talk: Any) -> None:
    one, other = talker(), talker()
    talk(talking(one, evict_from_state=False))
    talk(talking(other, on_evict=Archive()))
    assert [[m.text for m in sent] for sent in other.seen] == [[m.text for m in sent] for sent in one.seen]


def test_what_on_evict_took_comes_once(talk: Any) -> None:
    archive = Archive()
    talk(talking(talker(), on_evict=archive))
    taken = [each for batch in archive.batches[FAILURES:] for each in batch]
    assert len(taken) == len(set(taken)) > 0


def test_an_on_evict_that_fails_is_logged_as_an_error(talk: Any, caplog: pytest.LogCaptureFixture) -> None:
    talk(talking(talker(), on_evict=Archive()))
    errors = [str(each.exc_text) for each in caplog.records if each.levelname == "ERROR"]
    assert ["the archive is down" in each for each in errors] == [True] * FAILURES


def test_what_is_logged_quotes_no_message(talk: Any, caplog: pytest.LogCaptureFixture) -> None:
    talk(talking(talker(), on_evict=Archive()))
    assert "question" not in caplog.text


def test_an_on_trim_that_fails_costs_no_reply(talk: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        msg = "the dashboard is down"
        raise OSError(msg)

    talk(talking(model := talker(), on_trim=fail))
    assert (len(model.seen), caplog.text.count("on_trim failed")) == (TURNS, TURNS)


class Later:
    """Something to await that is no coroutine."""

    def __await__(self) -> Any: ...


async def _keep(_: list[BaseMessage]) -> None: ...


@pytest.mark.parametrize("on_evict", [lambda _: Later(), lambda messages: _keep(messages)])  # noqa: PLW0108
def test_a_sync_run_takes_what_turns_out_to_be_awaitable_for_a_failure(
    on_evict: Callable[[list[BaseMessage]], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    agent = talking(talker(), on_evict=on_evict)
    for n in range(TURNS):
        state = agent.invoke(asked(n), CONFIG)
    assert (len(state["messages"]), "on_evict is a coroutine function" in caplog.text) == (2 * TURNS, True)


def test_an_interrupt_in_on_evict_is_no_failure() -> None:
    taken: list[BaseMessage] = []

    def ask(messages: list[BaseMessage]) -> None:
        interrupt("May these leave?")
        taken.extend(messages)

    agent = talking(talker(), on_evict=ask)
    states = [agent.invoke(asked(n), CONFIG) for n in range(TURNS)]
    assert ([bool(each.get("__interrupt__")) for each in states].count(True) > 0, taken) == (True, [])


# --- what is not worth a retry ------------------------------------------------------------------


def too_small(*outer: AgentMiddleware[Any, Any, Any]) -> Any:
    middleware = [*outer, TokenBufferMiddleware(10, token_counter=ENCODING, oversize="raise")]
    return create_agent(talker(), middleware=middleware)


@pytest.mark.skipif(not hasattr(exceptions, "ModelError"), reason="this langchain-core has no ModelError")
def test_a_budget_that_is_too_small_is_tried_once_and_never_a_reply() -> None:
    tries: list[object] = []

    def tried(error: Exception) -> bool:
        tries.append(error)
        return isinstance(error, exceptions.ModelError) and error.is_retryable

    with pytest.raises(TokenBudgetError):
        too_small(ModelRetryMiddleware(retry_on=tried, initial_delay=0)).invoke(asked(0))
    assert len(tries) == 1


@pytest.mark.skipif(not hasattr(exceptions, "ModelError"), reason="this langchain-core has no ModelError")
def test_a_retry_by_default_raises_what_a_budget_is_too_small_for() -> None:
    with pytest.raises(TokenBudgetError):
        too_small(ModelRetryMiddleware(initial_delay=0, jitter=False)).invoke(asked(0))


def test_an_error_that_is_langchains_too_pickles() -> None:
    error = TokenBudgetError("too small", tokens=2, max_tokens=1)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.tokens) == (type(error), "too small", 2)
