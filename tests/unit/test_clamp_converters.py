"""What the integrations make of a clamped message: the same request, with shorter texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_tokenbuffer import TokenCounter
from tests.builders import ai_calling
from tests.clamping import clamp
from tests.dialects import BIG, IMAGE, REPLIES, RESULTS, blanked

if TYPE_CHECKING:
    from collections.abc import Callable

O200K = TokenCounter("o200k_base")


def _openai(messages: list[BaseMessage]) -> Any:
    module: Any = pytest.importorskip("langchain_openai.chat_models.base")
    return [module._convert_message_to_dict(message) for message in messages]


def _responses(messages: list[BaseMessage]) -> Any:
    module: Any = pytest.importorskip("langchain_openai.chat_models.base")
    return module._construct_responses_api_input(messages)


def _anthropic(messages: list[BaseMessage]) -> Any:
    module: Any = pytest.importorskip("langchain_anthropic.chat_models")
    return module._format_messages(messages, model=None)[1]


def _gemini(messages: list[BaseMessage]) -> Any:
    module: Any = pytest.importorskip("langchain_google_genai.chat_models")
    _, contents = module._parse_chat_history(messages)
    return [content.model_dump() for content in contents]


def _bedrock(messages: list[BaseMessage]) -> Any:
    module: Any = pytest.importorskip("langchain_aws.chat_models.bedrock_converse")
    return module._messages_to_bedrock(messages)[0]


CONVERTERS: dict[str, tuple[Callable[[list[BaseMessage]], Any], set[str]]] = {
    "OpenAI": (_openai, {"a text"}),
    "Responses": (
        _responses,
        {"a text", "input_text", "custom_tool_call_output", "a custom tool's blocks", "a wrapped block"},
    ),
    "Anthropic": (
        _anthropic,
        {
            *("a text", "text-plain", "a search result", "a text document", "a document of blocks"),
            *("a tool_result", "a tool_result of blocks", "an older text file"),
        },
    ),
    "Gemini": (_gemini, {"a text", "json", "a search result", "a text document"}),
    "Bedrock": (
        _bedrock,
        {
            *("a text", "json", "a search result", "Bedrock's text", "Bedrock's json"),
            *("Bedrock's document", "Bedrock's document with a type", "Bedrock's searchResult"),
            "Bedrock's guardContent",
        },
    ),
}
RESULT_CASES = [(name, shape) for name, (_, shapes) in CONVERTERS.items() for shape in sorted(shapes)]


@pytest.mark.parametrize(("name", "shape"), RESULT_CASES)
def test_a_converter_takes_a_clamped_result_as_it_took_the_whole_one(name: str, shape: str) -> None:
    convert = CONVERTERS[name][0]
    message = ToolMessage([RESULTS[shape](BIG)], tool_call_id="1", name="look")

    def sent(result: BaseMessage) -> Any:
        return convert([HumanMessage("q"), ai_calling(("look", {}, "1")), result])

    whole, shorter = sent(message), sent(clamp(message, 300, O200K))
    assert blanked(shorter) == blanked(whole)
    assert len(str(shorter)) < len(str(whole)) / 2


REPLY_CASES = [
    ("Responses", "output_text"),
    ("Responses", "refusal"),
    ("Responses", "an MCP call of OpenAI"),
    ("Responses", "a code interpreter"),
    ("Responses", "a file search"),
    ("Anthropic", "an MCP result of Anthropic"),
    ("Anthropic", "code execution of Anthropic"),
    ("Anthropic", "a fetched page"),
    ("Gemini", "code execution of Gemini"),
]


@pytest.mark.parametrize(("name", "shape"), REPLY_CASES)
def test_a_converter_takes_a_clamped_reply_as_it_took_the_whole_one(name: str, shape: str) -> None:
    convert = CONVERTERS[name][0]
    message = AIMessage([REPLIES[shape](BIG)])

    def sent(reply: BaseMessage) -> Any:
        return convert([HumanMessage("q"), reply, HumanMessage("and?")])

    whole, shorter = sent(message), sent(clamp(message, 300, O200K))
    assert blanked(shorter) == blanked(whole)
    assert len(str(shorter)) < len(str(whole)) / 2


def test_a_reasoning_item_stays_in_front_of_its_call() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA" * 20}
    call = {"type": "function_call", "id": "fc_1", "call_id": "1", "name": "look", "arguments": "{}"}
    reply = ai_calling(("look", {}, "1"), content=[reasoning, {"type": "text", "text": BIG, "id": "msg_1"}, call])
    sent = _responses([HumanMessage("q"), clamp(reply, 300, O200K), ToolMessage("r", tool_call_id="1")])
    assert [item.get("type") for item in sent[1:]] == ["reasoning", "message", "function_call", "function_call_output"]
    assert (sent[1], sent[3]) == (reasoning, call)


def test_a_screenshot_is_sent_whole() -> None:
    call = {
        "type": "computer_call",
        "id": "cu_1",
        "call_id": "1",
        "action": {"type": "screenshot"},
        "status": "completed",
    }
    result = ToolMessage(IMAGE, tool_call_id="1", additional_kwargs={"type": "computer_call_output"})
    sent = _responses([HumanMessage("q"), AIMessage([call]), clamp(result, 1, O200K)])
    assert sent[-1]["output"] == {"type": "input_image", "image_url": IMAGE}
