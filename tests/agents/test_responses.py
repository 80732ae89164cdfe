"""OpenAI's Responses: a server that keeps what was said, and reasoning that comes as items."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import Field, SecretStr

from langchain_tokenbuffer import TokenBufferMiddleware, TokenCounter
from tests.agents.scripted import FOREVER, look
from tests.builders import ai_calling, repeat_word

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

TURNS = 10
BUDGET = 400
THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}
KEY = SecretStr("unused")


class Server(ChatOpenAI):
    """A model whose server keeps each response with all that it answers, as OpenAI's does."""

    payloads: list[dict[str, Any]] = Field(default_factory=list)
    kept: dict[str, list[Any]] = Field(default_factory=dict)
    refuses_over: int = 10**9

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        payload = self._get_request_payload(messages, **{k: v for k, v in kwargs.items() if k == "tools"})
        self.payloads.append(payload)
        name = f"resp_{len(self.payloads)}"
        self.kept[name] = [*self.kept.get(payload.get("previous_response_id", ""), []), *payload["input"]]
        if self.billed(name) > self.refuses_over:
            msg = f"This model's maximum context length is {self.refuses_over} tokens."
            raise ValueError(msg)
        said = repeat_word(40, "answer")
        self.kept[name].append(said)
        content: list[str | dict[Any, Any]] = [{"type": "text", "text": said, "annotations": [], "id": f"msg_{name}"}]
        reply = AIMessage(content, id=name, response_metadata={"id": name, "model_name": "gpt-5"})
        return ChatResult(generations=[ChatGeneration(message=reply)])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._generate(messages, **kwargs)

    def billed(self, name: str) -> int:
        """What stands behind a response, in words."""
        return sum(str(each).count("question") + str(each).count("answer") for each in self.kept[name])

    @property
    def chains(self) -> list[str | None]:
        return [payload.get("previous_response_id") for payload in self.payloads]


def server(**options: Any) -> Server:
    return Server(model="gpt-5", api_key=KEY, use_previous_response_id=True, **options)


def talk(model: Any, *, turns: int = TURNS, **options: Any) -> None:
    ours = TokenBufferMiddleware(options.pop("max_tokens", BUDGET), **options)
    agent = create_agent(model, middleware=[ours], checkpointer=InMemorySaver())
    for _ in range(turns):
        agent.invoke({"messages": [HumanMessage(repeat_word(40, "question"))]}, THREAD)


def test_while_everything_is_shown_the_server_is_left_what_it_keeps() -> None:
    talk(model := server(), max_tokens=10_000, turns=4)
    assert model.chains == [None, "resp_1", "resp_2", "resp_3"]


@pytest.mark.parametrize("evict", [False, True])
@pytest.mark.parametrize("wrapped", ["as it is", "bound", "with fallbacks"])
def test_what_the_server_keeps_is_within_the_budget(wrapped: str, evict: bool) -> None:  # noqa: FBT001
    model = server()
    asked: Any = {"as it is": model, "bound": model.bind(), "with fallbacks": model.with_fallbacks([model])}[wrapped]
    talk(asked, evict_from_state=evict, token_counter=TokenCounter(model))
    assert max(map(model.billed, model.kept)) <= BUDGET + 40  # with the reply


async def test_async_it_is_within_the_budget() -> None:
    model = server()
    agent: Any = create_agent(model, middleware=[TokenBufferMiddleware(BUDGET)], checkpointer=InMemorySaver())
    for _ in range(TURNS):
        await agent.ainvoke({"messages": [HumanMessage(repeat_word(40, "question"))]}, THREAD)
    assert max(map(model.billed, model.kept)) <= BUDGET + 40


def test_what_is_shortened_is_sent_anew() -> None:
    model, long = server(), repeat_word(5000, "question")
    agent: Any = create_agent(model, middleware=[TokenBufferMiddleware(BUDGET)], checkpointer=InMemorySaver())
    for each in ("question", long):
        agent.invoke({"messages": [HumanMessage(each)]}, THREAD)
    assert model.chains == [None, None]


def test_what_was_too_long_for_the_server_is_tried_again_without_what_it_keeps() -> None:
    talk(model := server(refuses_over=300), max_tokens=10_000)
    assert max(map(model.billed, model.kept)) <= 500
    assert [chain for chain in model.chains if chain is None][1:] != []


def test_once_the_state_is_what_the_server_keeps_it_is_left_to_it_again() -> None:
    talk(model := server(), evict_from_state=True)
    assert model.chains.count(None) < TURNS / 2


def test_the_state_keeps_the_ids_of_all_responses() -> None:
    saver = InMemorySaver()
    agent: Any = create_agent(server(), middleware=[TokenBufferMiddleware(BUDGET)], checkpointer=saver)
    for _ in range(TURNS):
        state = agent.invoke({"messages": [HumanMessage(repeat_word(40, "question"))]}, THREAD)
    replies = [each for each in state["messages"] if isinstance(each, AIMessage)]
    assert [each.response_metadata["id"] for each in replies] == [f"resp_{n}" for n in range(1, TURNS + 1)]


def test_a_model_that_is_sent_everything_gets_the_messages_as_they_are() -> None:
    seen: list[BaseMessage] = []

    class Plain(Server):
        def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
            seen.extend(messages)
            return super()._generate(messages, *args, **kwargs)

    talk(Plain(model="gpt-5", api_key=KEY, use_responses_api=True))
    assert all("id" in each.response_metadata for each in seen if isinstance(each, AIMessage))


# --- reasoning ----------------------------------------------------------------------------------


class Reasoning(Server):
    """A model that thinks before each call, and is billed for what it thought while the turn runs."""

    thought: int = 400
    bills: list[int] = Field(default_factory=list)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        tools, count = kwargs.get("tools", []), TokenCounter("gpt-5")
        hidden = sum(str(each.content).count("'rs_") for each in messages) * self.thought
        plain = [each.model_copy(update={"content": ""}) if isinstance(each, AIMessage) else each for each in messages]
        self.bills.append(count.count(plain, tools=tools) + hidden)
        n = len(self.bills)
        if n > TURNS:
            return ChatResult(generations=[ChatGeneration(message=AIMessage("Done."))])
        items = [{"type": "reasoning", "id": f"rs_{n}", "summary": [], "encrypted_content": SECRET}]
        reply = ai_calling(("look", {"at": n}, f"c{n}"), content=items)
        reply.usage_metadata = {
            "input_tokens": self.bills[-1],
            "output_tokens": self.thought + 20,
            "total_tokens": self.bills[-1] + self.thought + 20,
            "output_token_details": {"reasoning": self.thought},
        }
        reply.response_metadata = {"model_name": "gpt-5"}
        return ChatResult(generations=[ChatGeneration(message=reply)])


SECRET = base64.b64encode(bytes(range(256)) * 4).decode()


@pytest.mark.parametrize("thought", [20, 50])
def test_reasoning_that_is_billed_while_its_turn_runs_is_in_the_budget(thought: int) -> None:
    model = Reasoning(model="gpt-5", api_key=KEY, use_responses_api=True, thought=thought)
    agent: Any = create_agent(model, [look()], middleware=[TokenBufferMiddleware(700)])
    agent.invoke({"messages": [HumanMessage("Look everywhere.")]}, FOREVER)
    assert (len(model.bills), max(model.bills) <= 700) == (TURNS + 1, True)
