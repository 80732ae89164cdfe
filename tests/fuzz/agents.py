"""Random agents: what a model says, a tool answers and a user does is drawn from a seed and what was said last.

So an agent does the same sync, async and streamed, alone, as a node and as a sub-agent, and wherever time goes back to.
"""

from __future__ import annotations

import base64
import json
import random
import re
import struct
import zlib
from collections.abc import AsyncIterator, Iterator  # noqa: TC003  # pydantic reads it
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.middleware.types import AgentMiddleware, AgentState
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolCall
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import StructuredTool, ToolException
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import Field
from typing_extensions import override

from langchain_tokenbuffer import TokenBufferMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver

Way: TypeAlias = Literal["sync", "async", "stream", "astream"]
Shape: TypeAlias = Literal["plain", "node", "sub-agent"]

LONGEST_TURN = 6
IMAGE_WORDS = 40
SYSTEM = "You search, fetch and send, as you are told."
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480) + b"\x08\x02\0\0\0").decode()
WORDS = ["안녕하세요", "😀🎉👩‍👩‍👧‍👦", "<|endoftext|>", "naïve", "中文字符测试", "\u202eabc", "e\u0301\u0301", "word"]


# --- what is said -------------------------------------------------------------------------------


def text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) if rng.random() < 0.2 else f"w{rng.randrange(999)}" for _ in range(words))


def count(messages: Sequence[BaseMessage]) -> int:
    """Count as the user does: words, more for an image, calls and a message."""
    return 3 + sum(_count_one(message) for message in messages)


def _count_one(message: BaseMessage) -> int:
    blocks = message.content if isinstance(message.content, list) else []
    images = sum(isinstance(block, dict) and block.get("type") in ("image", "image_url") for block in blocks)
    calls = getattr(message, "tool_calls", None) or []
    called = sum(3 + len(json.dumps(call["args"]).split()) for call in calls)
    return 4 + len(message.text.split()) + IMAGE_WORDS * images + called


@dataclass(frozen=True)
class Mark:
    """How far a turn has come, as each message says where it begins. One that does not say so ends the turn."""

    step: int
    name: str

    @classmethod
    def of(cls, text: str) -> Mark:
        found = re.search(r"#(\d+)\.(\w+)#", text)
        return cls(int(found[1]), found[2]) if found else cls(LONGEST_TURN, "none")

    def next(self, *what: object) -> Mark:
        return Mark(self.step + 1, f"{zlib.crc32(repr((self.name, what)).encode()):08x}")

    def __str__(self) -> str:
        return f"#{self.step}.{self.name}#"

    def random(self, seed: int) -> random.Random:
        return random.Random(f"{seed} {self}")


class Improvising(BaseChatModel):
    """A model that says what the last message makes it say, and remembers what it was sent."""

    seed: int
    delegates: bool = False
    sent: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "improvising"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _reply(self, messages: list[BaseMessage]) -> AIMessage:
        self.sent.append([*messages])
        mark = Mark.of(messages[-1].text)
        rng, own = mark.random(self.seed), mark.next("reply")
        said = f"{own} " + text(rng, 900 if rng.random() < 0.03 else rng.randrange(1, 40))
        if mark.step >= LONGEST_TURN or rng.random() < 0.3:
            return AIMessage(said)
        delegates = self.delegates and mark.step == 0
        names, number = (["delegate"], 1) if delegates else (["search", "fetch", "send"], rng.choice([1, 1, 1, 2, 4]))
        calls = [
            ToolCall(name=rng.choice(names), args={"q": text(rng, 2), "mark": str(own.next(i))}, id=f"call_{i}")
            for i in range(number)
        ]
        if rng.random() < 0.05:
            calls[0]["name"] = "unknown"
        if rng.random() < 0.05:
            del calls[0]["args"]["q"]
        return AIMessage(said, tool_calls=calls)

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages))])

    @override
    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._generate(messages)

    @override
    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        reply = self._reply(messages)
        said = str(reply.content)
        for start in range(0, len(said), 100):
            yield ChatGenerationChunk(message=AIMessageChunk(content=said[start : start + 100]))
        chunks = [
            tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=i)
            for i, call in enumerate(reply.tool_calls)
        ]
        yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=chunks, chunk_position="last"))

    @override
    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for chunk in self._stream(messages):
            yield chunk


def tools_of(seed: int) -> list[StructuredTool]:
    """Tools that fail, show images and answer at enormous length now and then."""

    def answer(q: str, mark: str) -> Any:
        rng = Mark.of(mark).random(seed)
        if rng.random() < 0.1:
            msg = f"{mark} it failed: {q}"
            raise ToolException(msg)
        if rng.random() < 0.1:
            image = {"type": "image", "base64": PNG, "mime_type": "image/png"}
            return [{"type": "text", "text": f"{mark} {text(rng, 10)}"}, image]
        return f"{mark} " + text(rng, 1500 if rng.random() < 0.06 else rng.randrange(1, 60))

    async def aanswer(q: str, mark: str) -> Any:
        return answer(q, mark)

    return [
        StructuredTool.from_function(answer, aanswer, name=name, description="Answers.", handle_tool_error=True)
        for name in ("search", "fetch", "send")
    ]


# --- an agent -----------------------------------------------------------------------------------


@dataclass
class World:
    """One agent, what it was told and what came of it."""

    seed: int
    shape: Shape
    saved: bool = True
    is_straight: bool = False  # whether nothing is reviewed, edited or gone back to
    options: dict[str, Any] = field(default_factory=dict)
    model: Improvising = field(init=False)
    asked: list[list[BaseMessage]] = field(default_factory=list)  # of each call, before anything left
    handed_over: list[BaseMessage] = field(default_factory=list)
    reviews: bool = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(f"agent {self.seed}")
        evicts = rng.random() < 0.5
        self.options = {
            "max_tokens": rng.randrange(300, 1500),
            "trim_to": rng.choice([0.3, 0.6, 1.0]),
            "reserve_tokens": rng.choice([0, 0, 20]),
            "evict_from_state": evicts,
            "on_evict": self.handed_over.extend if evicts else None,
            **self.options,
        }
        self.model = Improvising(seed=self.seed)
        can_review = self.saved and self.shape != "sub-agent" and not self.is_straight
        self.reviews = rng.random() < 0.5 and can_review

    def graph(self, saver: BaseCheckpointSaver[Any] | None) -> Any:
        """Return the agent as it stands in its place, with a checkpointer where there is one."""
        if self.shape == "plain":
            return self._agent(saver)
        if self.shape == "node":
            graph = StateGraph(MessagesState).add_node("agent", self._agent(None))
            return graph.add_edge(START, "agent").add_edge("agent", END).compile(saver)
        return create_agent(
            Improvising(seed=self.seed, delegates=True), [self._delegate(), *tools_of(self.seed)], checkpointer=saver
        )

    def _agent(self, saver: BaseCheckpointSaver[Any] | None) -> Any:
        middleware: list[AgentMiddleware[Any, Any, Any]] = [
            Witness(self.asked),
            TokenBufferMiddleware(token_counter=count, **self.options),
        ]
        if self.reviews:
            middleware.insert(0, HumanInTheLoopMiddleware({"send": True}, description_prefix=""))
        return create_agent(
            self.model, tools_of(self.seed), system_prompt=SYSTEM, middleware=middleware, checkpointer=saver
        )

    def _delegate(self) -> StructuredTool:
        below = self._agent(None)

        def task(q: str, mark: str) -> dict[str, Any]:
            return {"messages": [HumanMessage(f"{Mark(0, Mark.of(mark).name)} {q}")]}

        def delegate(mark: str, q: str = "") -> str:
            return str(below.invoke(task(q, mark))["messages"][-1].text)

        async def adelegate(mark: str, q: str = "") -> str:
            done = await below.ainvoke(task(q, mark))
            return str(done["messages"][-1].text)

        return StructuredTool.from_function(delegate, adelegate, name="delegate", description="Delegates.")


class Witness(AgentMiddleware[AgentState[Any], Any, Any]):
    """Notes what the agent asks, before anything leaves the request."""

    def __init__(self, asked: list[list[BaseMessage]]) -> None:
        super().__init__()
        self.asked = asked

    @override
    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        self.asked.append([*request.messages])
        return handler(request)

    @override
    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        self.asked.append([*request.messages])
        return await handler(request)


# --- a conversation with it ---------------------------------------------------------------------


@dataclass
class Course:
    """How a conversation went: the model's calls, and between which of them the past was changed."""

    world: World
    state: list[BaseMessage] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)  # calls before which the past was edited or gone back to
    abandoned: int = 0  # how often calls were left without a result


async def converse(
    world: World, way: Way, saver: BaseCheckpointSaver[Any] | None, turns: int = 6, name: str = ""
) -> Course:
    """Talk to an agent for so many turns, sync or async, and return how it went."""
    course, agent = Course(world), Runs(world.graph(saver), way)
    config: RunnableConfig = {"recursion_limit": 200}
    if saver is not None:
        config["configurable"] = {"thread_id": name or f"{world.seed}"}
    for turn in range(turns):
        rng = random.Random(f"turn {world.seed} {turn}")
        question = _question(rng, turn)
        if saver is None:
            done = await agent.run({"messages": [*course.state, question]}, config)
            course.state = done["messages"]
            continue
        done = await agent.run({"messages": [question]}, config)
        await _review(agent, config, rng, done, course)
        await _change_the_past(agent, config, rng, course)
    if saver is not None:
        course.state = (await agent.state(config)).values["messages"]
    return course


def _question(rng: random.Random, turn: int) -> HumanMessage:
    mark = Mark(0, f"q{turn}")
    said = f"{mark} " + text(rng, 900 if rng.random() < 0.05 else rng.randrange(1, 40))
    if rng.random() < 0.1:
        image = {"type": "image", "base64": PNG, "mime_type": "image/png"}
        return HumanMessage([{"type": "text", "text": said}, image])
    return HumanMessage(said)


async def _review(
    agent: Runs, config: RunnableConfig, rng: random.Random, done: dict[str, Any], course: Course
) -> None:
    """Approve, edit or reject each call that waits for that; abandon it once in a while."""
    while waiting := done.get("__interrupt__"):
        if rng.random() < 0.2:
            course.abandoned += 1
            return
        decisions = [_decision(rng, each) for each in waiting[0].value["action_requests"]]
        done = await agent.run(Command(resume={"decisions": decisions}), config)


def _decision(rng: random.Random, action: dict[str, Any]) -> dict[str, Any]:
    kind = rng.choice(["approve", "edit", "reject"])
    args = action["args"]
    if kind == "edit":
        return {"type": kind, "edited_action": {"name": action["name"], "args": {**args, "q": "edited"}}}
    return {"type": kind, "message": f"{args['mark']} not today"} if kind == "reject" else {"type": kind}


async def _change_the_past(agent: Runs, config: RunnableConfig, rng: random.Random, course: Course) -> None:
    """Edit a message, or run a call of the past again, once in a while."""
    world, now = course.world, await agent.state(config)
    if now.next or world.shape == "sub-agent" or world.is_straight:
        return
    if rng.random() < 0.2:
        humans = [each for each in now.values["messages"] if each.type == "human"]
        edited = rng.choice(humans)
        text_ = f"{edited.text.split(maxsplit=1)[0]} edited {text(rng, 20)}"
        await agent.update(config, {"messages": [HumanMessage(text_, id=edited.id)]})
        course.breaks.append(len(world.asked))
    elif rng.random() < 0.2 and world.shape == "plain" and not world.reviews:
        before = [each async for each in agent.history(config) if each.next == ("model",)]
        if before:
            course.breaks.append(len(world.asked))
            await agent.run(None, rng.choice(before).config)


class Runs:
    """A graph, run in one of four ways."""

    def __init__(self, graph: Any, way: Way) -> None:
        self.graph = graph
        self.way = way

    async def run(self, asked: Any, config: RunnableConfig) -> dict[str, Any]:
        match self.way:
            case "sync":
                done = self.graph.invoke(asked, config)
            case "async":
                done = await self.graph.ainvoke(asked, config)
            case "stream":
                done = _last_values(self.graph.stream(asked, config, stream_mode=["values", "messages"]))
            case "astream":
                streamed = self.graph.astream(asked, config, stream_mode=["values", "messages"])
                done = _last_values([chunk async for chunk in streamed])
        return dict(done)

    @property
    def _is_async(self) -> bool:
        return self.way in ("async", "astream")

    async def state(self, config: RunnableConfig) -> Any:
        return await self.graph.aget_state(config) if self._is_async else self.graph.get_state(config)

    async def update(self, config: RunnableConfig, values: dict[str, Any]) -> None:
        if self._is_async:
            await self.graph.aupdate_state(config, values)
        else:
            self.graph.update_state(config, values)

    async def history(self, config: RunnableConfig) -> AsyncIterator[Any]:
        if self._is_async:
            async for each in self.graph.aget_state_history(config):
                yield each
        else:
            for each in self.graph.get_state_history(config):
                yield each


def _last_values(streamed: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the last state of a stream, with what it waits for."""
    done: dict[str, Any] = {}
    for mode, chunk in streamed:
        if mode == "values":
            done = {**done, **chunk} if "__interrupt__" in chunk else chunk
    return done
