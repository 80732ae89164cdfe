"""Agents without a network: a model that plays replies, tools that play results, transcripts."""

from __future__ import annotations

import json
from collections.abc import Sequence  # noqa: TC003  # pydantic reads it
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import openai
import pytest
from langchain.agents import create_agent, factory
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field

from langchain_tokenbuffer.counters import TokenCounter
from langchain_tokenbuffer.middleware import TokenBufferMiddleware
from tests.builders import ai_calling, count_words, repeat_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from langchain_core.callbacks import CallbackManagerForLLMRun


ENCODING = "o200k_base"
FOREVER = RunnableConfig(recursion_limit=10_000)
COUNTER = TokenCounter(ENCODING)
SYSTEM = "Look everywhere."
answers_invalid_calls = pytest.mark.skipif(
    not hasattr(factory, "_patch_invalid_tool_calls"),
    reason="this langchain leaves invalid tool calls without a result",
)


class Scripted(BaseChatModel):
    """A chat model that plays replies and remembers what it was sent."""

    replies: list[Any]  # messages, or exceptions to raise
    model_name: str = "gpt-4o"
    max_tokens: int | None = None
    seen: list[list[BaseMessage]] = Field(default_factory=list)
    asked: list[Sequence[Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Leave the replies out: LangChain makes the repr of a model at every call."""
        return [("model_name", self.model_name)]

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        self.asked.append(tools)
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.seen.append(list(messages))
        reply = self.replies[len(self.seen) - 1]
        if isinstance(reply, Exception):
            raise reply
        # A copy: the graph gives the message an id, and a script may be played again.
        return ChatResult(generations=[ChatGeneration(message=reply.model_copy())])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        return self._generate(messages)


def looking(steps: int, *, id_: str = "call_1") -> list[AIMessage]:
    """Replies of an agent that looks so many times, always under the same id, and is done."""
    return [ai_calling(("look", {"at": i}, id_)) for i in range(steps)] + [AIMessage("Done.")]


def look(text: str = "word " * 40) -> BaseTool:
    """A tool that answers with a text and where it looked."""

    def answer(at: int) -> str:
        return f"{at}: {text}"

    return StructuredTool.from_function(answer, name="look", description="Look at a place.")


def thread_config(name: str = "1") -> RunnableConfig:
    return {**FOREVER, "configurable": {"thread_id": name}}


def agent_of(model: Scripted, *, saver: Any = None, **options: Any) -> Any:
    options = {"max_tokens": 600, "token_counter": ENCODING, **options}
    middleware = TokenBufferMiddleware(**options)
    return create_agent(model, [look()], system_prompt=SYSTEM, middleware=[middleware], checkpointer=saver)


def run_agent(model: Scripted, **options: Any) -> dict[str, Any]:
    asked = {"messages": [HumanMessage("Look.")]}
    return dict(agent_of(model, **options).invoke(asked, thread_config()))


def count_request(messages: list[BaseMessage]) -> int:
    return COUNTER.count(messages, tools=[look()])


def thinking_replies(steps: int) -> list[AIMessage]:
    """Replies of a model that thinks at every step."""
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    return [
        AIMessage([thought, {"type": "text", "text": "I look."}], tool_calls=reply.tool_calls)
        for reply in looking(steps)
    ]


# --- refusals ------------------------------------------------------------------------------


def bad_request(text: str, body: object = None) -> openai.BadRequestError:
    """A provider's 400, as the OpenAI client raises it."""
    response: Any = SimpleNamespace(request=None, status_code=400, headers={})
    return openai.BadRequestError(text, response=response, body=body)


def llama_error(counted: int, allowed: int) -> Exception:
    """What llama.cpp's server answers."""
    body = {
        "code": 400,
        "message": "the request exceeds the available context size, try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": counted,
        "n_ctx": allowed,
    }
    return bad_request(f"Error code: 400 - {{'error': {body}}}", body)


class Small(Scripted):
    """A model that finds requests of more than `allowed` tokens too long."""

    allowed: int
    refusals: int = 0

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        if count_request(messages) > self.allowed:
            self.refusals += 1
            raise llama_error(2 * count_request(messages), 2 * self.allowed)  # its tokens are half as large
        return super()._generate(messages, *args, **kwargs)


class Backend(Scripted):
    """A model that replies in so many words, and refuses what its `refuses` says, naming no limit."""

    refuses: Any  # given what a request costs and which it is
    words: int = 20
    refusals: int = 0

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.replies.append(AIMessage(repeat_word(self.words)))
        if self.refuses(count_words(messages), len(self.seen)):
            self.refusals += 1
            self.seen.append(messages)
            raise ContextOverflowError
        return super()._generate(messages, *args, **kwargs)


class Answers:
    """A handler that raises or replies, in order, and keeps what it was sent."""

    def __init__(self, *answers: Exception | AIMessage) -> None:
        self.answers = list(answers)
        self.sent: list[list[BaseMessage]] = []

    def __call__(self, request: ModelRequest[Any]) -> ModelResponse[Any]:
        self.sent.append([*request.messages])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ModelResponse(result=[answer])


# --- transcripts ------------------------------------------------------------------------------


@dataclass
class Transcript:
    """A recorded conversation, as an agent plays it."""

    id: str
    system: str | None
    turns: list[list[str]] = field(default_factory=list)  # of human messages before a reply
    replies: list[AIMessage] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    schemas: list[dict[str, Any]] = field(default_factory=list)

    def tools(self, done: int = 0) -> list[BaseTool]:
        """Tools that play the recorded results, in order, from the one after those done."""
        results = iter(self.results[done:])

        def play(**_: Any) -> str:
            return next(results)

        return [
            StructuredTool(
                name=schema["name"],
                description=schema["description"],
                args_schema=schema["parameters"],
                func=play,
            )
            for schema in self.schemas
        ]


def transcripts(folder: Path, name: str) -> Iterator[Transcript]:
    """Yield the recorded conversations of a file."""
    with (folder / f"{name}.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            yield _transcript(json.loads(line))


def _transcript(record: dict[str, Any]) -> Transcript:
    messages = record["messages"]
    system = messages.pop(0)["content"] if messages[0]["role"] == "system" else None
    script = Transcript(record["id"], system)
    before = ""
    for message in messages:
        text, role = message["content"] or "", message["role"]
        if role == "user":
            if before != "user":
                script.turns.append([])
            script.turns[-1].append(text)
        elif role == "tool":
            script.results.append(text)
        else:
            script.replies.append(_reply(text, message.get("tool_calls") or []))
        before = role
    script.replies.append(AIMessage("Done."))  # what was recorded may end with a question
    used = {each["name"] for reply in script.replies for each in reply.tool_calls}
    known = {tool["function"]["name"]: tool["function"] for tool in record.get("tools", [])}
    script.schemas = [known.get(name) or _stand_in(name) for name in sorted(used | known.keys())]
    return script


def _reply(text: str, calls: list[dict[str, Any]]) -> AIMessage:
    made, broken = [], []
    for each in calls:
        name, arguments = each["function"]["name"], each["function"]["arguments"]
        try:
            made.append(ToolCall(name=name, args=json.loads(arguments), id=each["id"]))
        except ValueError:
            broken.append(
                InvalidToolCall(type="invalid_tool_call", name=name, args=arguments, id=each["id"], error=None)
            )
    return AIMessage(content=text, tool_calls=made, invalid_tool_calls=broken)


def _stand_in(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {}, "additionalProperties": True}
    return {"name": name, "description": f"The recorded {name}.", "parameters": parameters}


# --- playing ----------------------------------------------------------------------------------


@dataclass
class Played:
    """What came of playing a transcript: what the model was sent, and what the state holds."""

    sent: list[list[BaseMessage]]
    state: list[BaseMessage]

    def before(self, number: int) -> list[BaseMessage]:
        """What the state held at a model call: all before its reply."""
        replies = [i for i, message in enumerate(self.state) if isinstance(message, AIMessage)]
        return self.state[: replies[number]]


def play(script: Transcript, *middleware: TokenBufferMiddleware) -> Played:
    """Play a transcript through an agent."""
    model, agent = _agent(script, *middleware)
    state: dict[str, Any] = {"messages": []}
    for turn in script.turns:
        asked = [*state["messages"], *map(HumanMessage, turn)]
        state = agent.invoke({"messages": asked}, FOREVER)
    return Played(model.seen, state["messages"])


async def aplay(script: Transcript, *middleware: TokenBufferMiddleware) -> Played:
    """Play a transcript through an agent, async."""
    model, agent = _agent(script, *middleware)
    state: dict[str, Any] = {"messages": []}
    for turn in script.turns:
        asked = [*state["messages"], *map(HumanMessage, turn)]
        state = await agent.ainvoke({"messages": asked}, FOREVER)
    return Played(model.seen, state["messages"])


def _agent(script: Transcript, *middleware: TokenBufferMiddleware) -> tuple[Scripted, Any]:
    model = Scripted(replies=script.replies)
    system = None if script.system is None else SystemMessage(script.system)
    tools = script.tools()
    return model, create_agent(model, tools, system_prompt=system, middleware=middleware)


def play_resumed(script: Transcript, saver: Callable[[], AbstractContextManager[Any]], **options: Any) -> Played:
    """Play a transcript one model call at a time; each with an agent and a checkpointer anew."""
    config: RunnableConfig = {**FOREVER, "configurable": {"thread_id": script.id}}
    sent: list[list[BaseMessage]] = []
    state: list[BaseMessage] = []
    done = 0

    def go_on(asked: dict[str, Any] | None) -> bool:
        nonlocal state, done
        model = Scripted(replies=script.replies[len(sent) :])
        middleware = TokenBufferMiddleware(token_counter=ENCODING, **options)
        with saver() as checkpointer:
            agent: Any = create_agent(
                model,
                script.tools(done),
                system_prompt=script.system,
                middleware=[middleware],
                checkpointer=checkpointer,
            )
            state = agent.invoke(asked, config, interrupt_before=["model"])["messages"]
            goes_on = bool(agent.get_state(config).next)
        if model.seen:
            done += len(script.replies[len(sent)].tool_calls)
            sent.extend(model.seen)
        return goes_on

    for turn in script.turns:
        asked: dict[str, Any] | None = {"messages": list(map(HumanMessage, turn))}
        while go_on(asked):
            asked = None
    return Played(sent, state)


# --- one call, without a graph ----------------------------------------------------------------


def middleware_within(max_tokens: int = 300, **options: Any) -> TokenBufferMiddleware:
    """A middleware that counts exactly."""
    return TokenBufferMiddleware(max_tokens, token_counter=ENCODING, **options)


def request(messages: Sequence[BaseMessage], **options: Any) -> ModelRequest[Any]:
    """A model request as the agent makes it; the state holds the same messages."""
    state: Any = {"messages": [*messages], "token_buffer": options.pop("known", None)}
    model = options.pop("model", None) or Scripted(replies=[])
    return ModelRequest(model=model, messages=[*state["messages"]], state=state, **options)


def sent_by(middleware: TokenBufferMiddleware, asked: ModelRequest[Any]) -> ModelRequest[Any]:
    """The request a middleware hands on."""
    handed: list[ModelRequest[Any]] = []

    def handler(request: ModelRequest[Any]) -> ModelResponse[Any]:
        handed.append(request)
        return ModelResponse(result=[AIMessage("ok")])

    middleware.wrap_model_call(asked, handler)
    return handed[0]
