"""What the integrations send of a window: each result behind its call, none alone, none missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from langchain_tokenbuffer import TokenBuffer, TokenBufferError
from langchain_tokenbuffer._messages.kinds import call_ids
from tests.builders import count_words
from tests.scale import examples
from tests.torn import BOTH, ODD, TWO, torn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_core.messages import BaseMessage


class Sent(NamedTuple):
    """One message on the wire: whose it is, its calls, its results, and whether it says anything else."""

    role: str
    calls: list[str]
    results: list[str]
    says: bool = False


def _chat(messages: list[BaseMessage]) -> Iterator[Sent]:
    base: Any = pytest.importorskip("langchain_openai.chat_models.base")
    for message in map(base._convert_message_to_dict, messages):
        calls = [call["id"] for call in message.get("tool_calls") or []]
        calls += ["function"] if message.get("function_call") else []
        results = {"tool": [message.get("tool_call_id")], "function": ["function"]}.get(message["role"], [])
        yield Sent(message["role"], calls, results, not results)


def _responses(messages: list[BaseMessage]) -> Iterator[Sent]:
    base: Any = pytest.importorskip("langchain_openai.chat_models.base")
    calls = {"function_call", "computer_call", "custom_tool_call"}
    for item in base._construct_responses_api_input(messages):
        kind, id_ = item.get("type", "message"), item.get("call_id")
        if kind == "mcp_approval_request":
            yield Sent("ai", [item["id"]], [])
        elif kind == "mcp_approval_response":
            yield Sent("tool", [], [item["approval_request_id"]])
        elif kind in calls:
            yield Sent("ai", [id_], [])
        elif kind.endswith("_output"):
            yield Sent("tool", [], [id_])
        else:
            yield Sent(item.get("role", kind), [], [], says=True)


def _anthropic(messages: list[BaseMessage]) -> Iterator[Sent]:
    module: Any = pytest.importorskip("langchain_anthropic.chat_models")
    for message in module._format_messages(messages, model=None)[1]:
        blocks = message["content"] if isinstance(message["content"], list) else []
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        yield Sent(message["role"], calls, results, len(results) < len(blocks) or not blocks)


def _bedrock(messages: list[BaseMessage]) -> Iterator[Sent]:
    module: Any = pytest.importorskip("langchain_aws.chat_models.bedrock_converse")
    for message in module._messages_to_bedrock(messages)[0]:
        calls = [block["toolUse"]["toolUseId"] for block in message["content"] if "toolUse" in block]
        results = [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
        yield Sent(message["role"], calls, results, len(results) < len(message["content"]))


def _gemini(messages: list[BaseMessage]) -> Iterator[Sent]:
    module: Any = pytest.importorskip("langchain_google_genai.chat_models")
    for content in module._parse_chat_history(messages)[1]:
        parts = [part.model_dump() for part in content.parts]
        calls = ["look" for part in parts if part.get("function_call")]
        results = ["look" for part in parts if part.get("function_response")]
        yield Sent(content.role, calls, results, len(results) < len(parts))


def faults(sent: Sequence[Sent]) -> list[str]:
    """Return what a provider would refuse: a result alone, or something said before all calls have results."""
    found: list[str] = []
    waiting: list[str] = []
    for message in sent:
        for result in message.results:
            if result in waiting:
                waiting.remove(result)
            else:
                found.append(f"{result} alone")
        if waiting and (message.calls or message.says) and message.role not in ("ai", "assistant", "model"):
            found.append(f"{waiting} unanswered")
            waiting = []
        waiting += message.calls
    return found


PLAIN = [message for message in ODD if message.type not in ("system", "critic", "chat") and message.content != ""]
CONVERTERS: dict[str, tuple[Callable[[list[BaseMessage]], Iterator[Sent]], list[str], list[BaseMessage]]] = {
    "OpenAI": (_chat, ["LangChain", "a function"], []),
    "Responses": (_responses, ["LangChain", "Responses", "a custom tool", "a computer", "an approval"], []),
    "Anthropic": (_anthropic, ["LangChain", "Anthropic", "Anthropic as sent"], [BOTH, TWO]),
    "Bedrock": (_bedrock, ["LangChain", "Anthropic"], [BOTH, TWO]),
    "Gemini": (_gemini, ["LangChain"], []),
}
_PARALLEL = [message for message in ODD if len(getattr(message, "tool_calls", [])) > 1]


@pytest.mark.parametrize("name", CONVERTERS)
def test_a_window_has_each_result_behind_its_call_on_the_wire(name: str) -> None:
    convert, dialects, odd = CONVERTERS[name]

    @settings(max_examples=examples(150))
    @given(torn(dialects, [*odd, *_PARALLEL]), st.integers(10, 120))
    def check(messages: list[BaseMessage], max_tokens: int) -> None:
        try:
            window = TokenBuffer(max_tokens, token_counter=count_words).trim(messages)
        except TokenBufferError:
            assume(condition=False)
            raise
        ids = [id_ for message in window for id_ in call_ids(message)]
        # Of an id that is repeated, in one message or several, these send one call or one result.
        assume(name not in ("Responses", "Gemini") or len(set(ids)) == len(ids))
        assert faults(list(convert(window))) == []

    check()
