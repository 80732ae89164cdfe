"""Refusals for length through the real clients of LangChain's integrations, over HTTP on this machine."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_openai.chat_models import base as openai_models

from langchain_tokenbuffer.middleware import TokenBufferMiddleware
from tests.agents import providers
from tests.agents.scripted import ENCODING

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

OPENAI = "langchain_openai", "ChatOpenAI", "gpt-4o"
RESPONSES = "langchain_openai", "ChatOpenAI", "gpt-5"
CLAUDE = "langchain_anthropic", "ChatAnthropic", "claude-sonnet-9"
GEMINI = "langchain_google_genai", "ChatGoogleGenerativeAI", "gemini-2.5-flash"
CLIENTS: dict[str, tuple[tuple[str, str, str], Any, dict[str, Any]]] = {
    "OpenAI chat": (OPENAI, providers.openai_chat, {}),
    "OpenAI chat, in the stream": (OPENAI, providers.openai_chat_in_stream, {"streaming": True}),
    "vLLM": (OPENAI, providers.vllm, {}),
    "Responses": (RESPONSES, providers.openai_responses, {"use_responses_api": True}),
    "Responses, error": (RESPONSES, providers.openai_responses_error, {"use_responses_api": True, "streaming": True}),
    "Responses, failed": (RESPONSES, providers.openai_responses_failed, {"use_responses_api": True, "streaming": True}),
    "Anthropic": (CLAUDE, providers.anthropic, {}),
    "Anthropic, in the stream": (CLAUDE, providers.anthropic_in_stream, {"streaming": True}),
    "Gemini": (GEMINI, providers.gemini, {}),
}


@pytest.fixture(params=CLIENTS, scope="module")
def agent_and_provider(request: pytest.FixtureRequest) -> Iterator[tuple[Any, providers.StandIn]]:
    (package, name, model), answer, options = CLIENTS[request.param]
    pytest.importorskip(package)
    if request.param == "Responses, failed" and '"response.failed"' not in inspect.getsource(openai_models):
        pytest.skip("this langchain-openai does not tell of a response that failed")
    with pytest.MonkeyPatch.context() as patch, providers.standing_in(answer) as provider:
        patch.setenv("NO_PROXY", "127.0.0.1")
        client = getattr(importlib.import_module(package), name)
        chat = client(model=model, api_key="none", base_url=provider.address, max_retries=0, **options)
        yield create_agent(chat, middleware=[TokenBufferMiddleware(2600, token_counter=ENCODING)]), provider


@pytest.fixture
def served(agent_and_provider: tuple[Any, providers.StandIn]) -> tuple[Any, providers.StandIn]:
    """An agent whose model is served by a stand-in that was asked nothing yet, and that."""
    agent_and_provider[1].tokens.clear()
    return agent_and_provider


def too_long() -> dict[str, Any]:
    messages: list[BaseMessage] = []
    for _ in range(30):
        messages += [HumanMessage("question about bread " * 10), AIMessage("answer about flour " * 10)]
    return {"messages": [*messages, HumanMessage("And now?")]}


def test_an_agent_replies_after_a_refusal(served: tuple[Any, providers.StandIn]) -> None:
    agent, provider = served
    state = agent.invoke(too_long())
    assert (state["messages"][-1].text, provider.tokens[0] > providers.ALLOWED >= provider.tokens[-1]) == (
        "hello",
        True,
    )


def test_an_agent_streams_after_a_refusal(served: tuple[Any, providers.StandIn]) -> None:
    agent, provider = served
    text = "".join(chunk.text for chunk, _ in agent.stream(too_long(), stream_mode="messages"))
    assert (text, provider.tokens[0] > providers.ALLOWED >= provider.tokens[-1]) == ("hello", True)


async def test_an_agent_streams_async_after_a_refusal(served: tuple[Any, providers.StandIn]) -> None:
    agent, provider = served
    if provider.answer is providers.gemini:
        pytest.skip("google-genai leaves a coroutine unawaited when a stream is refused")
    text = "".join([chunk.text async for chunk, _ in agent.astream(too_long(), stream_mode="messages")])
    assert (text, provider.tokens[0] > providers.ALLOWED >= provider.tokens[-1]) == ("hello", True)
