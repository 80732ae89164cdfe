"""Random agents keep the laws in every place, through every checkpointer and every way to run them.

The oracle shares nothing with the package. `AGENT_FUZZ=150` sets how many agents are tried (`make fuzz`).
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from tests.agents.postgres import schema_url
from tests.fuzz.agents import SYSTEM, Course, Shape, Way, World, converse, count
from tests.oracle import breaches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from langgraph.checkpoint.base import BaseCheckpointSaver

TOOLS_AT_MOST = 150
AGENTS = int(os.environ.get("AGENT_FUZZ", "6"))
IS_LONG = AGENTS > 6
SHAPES: list[Shape] = ["plain", "node", "sub-agent"]
SAVERS = ["memory", "sqlite", "none", *(["postgres"] if IS_LONG else [])]


async def run(
    seed: int,
    way: Way,
    shape: Shape | None = None,
    saver: str | None = None,
    *,
    is_straight: bool = False,
    **options: Any,
) -> Course:
    """Run a random agent, in its own place and with its own checkpointer unless others are asked for."""
    shape = shape or SHAPES[seed % len(SHAPES)]
    saver = saver or SAVERS[(seed + seed // len(SHAPES)) % len(SAVERS)]
    world = World(seed, shape, saver != "none", is_straight, options)
    async with AsyncExitStack() as stack:
        return await converse(world, way, await opened(saver, way, stack))


async def opened(name: str, way: Way, stack: AsyncExitStack) -> BaseCheckpointSaver[Any] | None:
    """Return a checkpointer of a kind, empty."""
    if name == "sqlite" and way in ("async", "astream"):
        return await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(":memory:"))
    if name == "sqlite":
        return stack.enter_context(SqliteSaver.from_conn_string(":memory:"))
    if name == "postgres":
        return await stack.enter_async_context(postgres(way))
    return InMemorySaver() if name == "memory" else None


@asynccontextmanager
async def postgres(way: Way) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """Yield a checkpointer in a schema of its own, where a server answers."""
    kind = pytest.importorskip("langgraph.checkpoint.postgres").PostgresSaver
    akind = pytest.importorskip("langgraph.checkpoint.postgres.aio").AsyncPostgresSaver
    with schema_url() as url:
        if way in ("async", "astream"):
            async with akind.from_conn_string(url) as opened:
                await opened.setup()
                yield opened
        else:
            with kind.from_conn_string(url) as opened:
                opened.setup()
                yield opened


_SYNC: dict[int, Course] = {}


async def run_sync(seed: int) -> Course:
    """Run a random agent sync, once."""
    if seed not in _SYNC:
        _SYNC[seed] = await run(seed, "sync")
    return _SYNC[seed]


# --- the oracle ---------------------------------------------------------------------------------


def faults_of(course: Course) -> list[str]:
    """Return what of a conversation breaks a law, with the number of the call."""
    world = course.world
    calls = list(zip(world.asked, world.model.sent, strict=True))
    found = [f"call {n}: {fault}" for n, call in enumerate(calls) for fault in _faults_of_call(world, *call)]
    found += _faults_between_calls(course, calls)
    found += _faults_of_evicting(course)
    return found


def _faults_of_call(world: World, asked: list[BaseMessage], sent: list[BaseMessage]) -> Iterator[str]:
    limit, reserve = world.options["max_tokens"], world.options["reserve_tokens"]
    if count(sent) + reserve > limit:
        yield f"{count(sent)} and {reserve} of {limit} tokens"
    if breaches(sent):
        yield f"invalid: {breaches(sent)}"
    if (sent[0].type, sent[0].text) != ("system", SYSTEM):
        yield "the system message is not first"
    if sent[-1].id != asked[-1].id:
        yield "the newest message is not last"
    questions = [each.id for each in asked if isinstance(each, HumanMessage)]
    shown = [each.id for each in sent]
    if questions[-1] not in shown:
        yield "the question is not shown"
    given = {each.id: each for each in asked}
    invented = [each for each in sent[1:] if each.id not in given]
    if not all(isinstance(each, ToolMessage) and each.status == "error" for each in invented):
        yield "a message was invented"
    order = [each.id for each in asked if not isinstance(each, ToolMessage)]
    if [each for each in order if each in shown] != [each.id for each in sent[1:] if not isinstance(each, ToolMessage)]:
        yield "the order is another"
    for each in sent[1:]:
        before = given.get(each.id, each)
        if before is not each and (before.type != each.type or count([each]) >= count([before])):
            yield "a message was changed and is not shorter"


def _faults_between_calls(course: Course, calls: list[tuple[list[BaseMessage], list[BaseMessage]]]) -> Iterator[str]:
    limit, reserve = course.world.options["max_tokens"], course.world.options["reserve_tokens"]
    windows: dict[Any, Any] = {}
    gone, last = set[str | None](), list[BaseMessage]()
    for n, (asked, sent) in enumerate(calls):
        same = windows.setdefault(as_said(asked, ids=True), as_said(sent, ids=True))
        if same != as_said(sent, ids=True):
            yield f"call {n}: another window of the same messages"
        ids = [each.id for each in sent[1:]]
        before = [each.id for each in last[1:]]
        if n in course.breaks or not set(before) & {each.id for each in asked}:
            gone.clear()
        elif gone & set(ids):
            yield f"call {n}: what had left came back"
        else:
            known = set(before)
            new = asked[max(i for i, each in enumerate(asked) if each.id in known) + 1 :]
            fits = count([*last, *new]) + TOOLS_AT_MOST + reserve + limit // 64 < limit
            if fits and not course.abandoned and ids[: len(before)] != before:
                yield f"call {n}: the window changed though it fitted"
        gone |= {each.id for each in asked} - set(ids)
        last = sent


def _faults_of_evicting(course: Course) -> Iterator[str]:
    world = course.world
    handed = [(each.id, repr(each.content)) for each in world.handed_over]  # an edited one is another
    stays = {each.id for each in course.state}
    if len(handed) != len(set(handed)):
        yield "a message was handed over twice"
    handed_ids = {each.id for each in world.handed_over}
    if not handed_ids <= {each.id for asked in world.asked for each in asked}:
        yield "a message was handed over that never came"
    if world.shape != "plain" or course.breaks:
        return
    if stays & handed_ids and world.saved:
        yield "a message was handed over and is in the state"
    if not {each.id for asked in world.asked for each in asked} <= stays | handed_ids:
        yield "a message is lost"
    if not course.abandoned and breaches(course.state):
        yield f"the state is invalid: {breaches(course.state)}"


def as_said(messages: Sequence[BaseMessage], *, ids: bool = False) -> tuple[Any, ...]:
    """Return what a model is shown of messages, as something to compare."""
    return tuple(
        (
            each.id if ids else None,
            each.type,
            repr(each.content),
            repr(each.tool_calls if isinstance(each, AIMessage) else None),
        )
        for each in messages
    )


# --- what holds ---------------------------------------------------------------------------------

WAYS: list[Way] = ["async", "stream", "astream"]
IN_EVERY_WAY = list(product(range(AGENTS), WAYS) if IS_LONG else zip([0, 3, 5], WAYS, strict=True))


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("seed", range(AGENTS))
async def test_a_random_agent_keeps_the_laws(seed: int) -> None:
    assert faults_of(await run_sync(seed)) == []


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize(("seed", "way"), IN_EVERY_WAY)
async def test_a_random_agent_is_sent_the_same_in_every_way(seed: int, way: Way) -> None:
    one, other = await run_sync(seed), await run(seed, way)
    assert [*map(as_said, other.world.model.sent)] == [*map(as_said, one.world.model.sent)]


@pytest.mark.parametrize("seed", range(AGENTS if IS_LONG else 1))
async def test_alone_or_as_a_node_a_random_agent_is_sent_the_same(seed: int) -> None:
    options: dict[str, Any] = {"saver": "memory", "is_straight": True}
    one, other = await run(seed, "sync", "plain", **options), await run(seed, "sync", "node", **options)
    assert [*map(as_said, other.world.model.sent)] == [*map(as_said, one.world.model.sent)]


@pytest.mark.parametrize("seed", [29, 76])
async def test_what_left_the_state_of_a_node_stays_out_of_its_windows(seed: int) -> None:
    assert faults_of(await run(seed, "sync", "node", "memory")) == []


@pytest.mark.parametrize("seed", range(AGENTS if IS_LONG else 1))
async def test_through_every_checkpointer_a_random_agent_is_sent_the_same(seed: int) -> None:
    one, other = await run(seed, "sync", "plain", "memory"), await run(seed, "async", "plain", "sqlite")
    assert [*map(as_said, other.world.model.sent)] == [*map(as_said, one.world.model.sent)]
