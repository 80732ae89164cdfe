"""Dicts as the APIs write them, read as messages: nothing is lost, nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage, convert_to_messages

from langchain_tokenbuffer import TokenBuffer, TokenCounter
from langchain_tokenbuffer._messages.convert import as_messages
from langchain_tokenbuffer._messages.kinds import facts_of

USER = {"role": "user", "content": "Where is the bakery?"}
FUNCTION = {"name": "look", "arguments": '{"word": "bakery"}'}

LOOPS: dict[str, list[dict[str, Any]]] = {  # a question, two calls at once, their results, a reply
    "OpenAI chat, without content": [
        USER,
        {"role": "assistant", "tool_calls": [{"id": id_, "type": "function", "function": FUNCTION} for id_ in "12"]},
        {"role": "tool", "tool_call_id": "1", "content": "Found."},
        {"role": "tool", "tool_call_id": "2", "content": "Found."},
        {"role": "assistant", "content": "There.", "refusal": None, "audio": None, "tool_calls": None},
    ],
    "OpenAI Responses": [
        USER,
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"},
        {"type": "function_call", "id": "fc_1", "call_id": "1", **FUNCTION},
        {"type": "function_call", "id": "fc_2", "call_id": "2", **FUNCTION},
        {"type": "function_call_output", "call_id": "1", "output": "Found."},
        {"type": "function_call_output", "call_id": "2", "output": "Found."},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "There."}]},
    ],
    "Anthropic": [
        USER,
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": id_, "name": "look", "input": {}} for id_ in "12"],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id_, "content": "Found."} for id_ in "12"]},
        {"role": "assistant", "content": [{"type": "text", "text": "There."}]},
    ],
    "Gemini": [
        {"role": "user", "parts": [{"text": "Where is the bakery?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}} for _ in "12"]},
        {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"at": "there"}}} for _ in "12"]},
        {"role": "model", "parts": [{"text": "There."}]},
    ],
    "Gemini with ids": [
        {"role": "user", "parts": [{"text": "Where is the bakery?"}]},
        {"role": "model", "parts": [{"function_call": {"id": id_, "name": "look", "args": {}}} for id_ in "12"]},
        {
            "role": "function",
            "parts": [{"function_response": {"id": id_, "name": "look", "response": {}}} for id_ in "12"],
        },
        {"role": "model", "parts": [{"text": "There."}]},
    ],
    "Bedrock": [
        {"role": "user", "content": [{"text": "Where is the bakery?"}]},
        {
            "role": "assistant",
            "content": [{"toolUse": {"toolUseId": id_, "name": "look", "input": {}}} for id_ in "12"],
        },
        {"role": "user", "content": [{"toolResult": {"toolUseId": id_, "content": [{"text": "x"}]}} for id_ in "12"]},
        {"role": "assistant", "content": [{"text": "There."}]},
    ],
    "Cohere": [
        USER,
        {
            "role": "assistant",
            "tool_plan": "I look it up.",
            "tool_calls": [{"id": id_, "type": "function", "function": FUNCTION} for id_ in "12"],
        },
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "document", "document": {"data": {"a": "b"}}}]},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "document", "document": {"data": {"a": "b"}}}]},
        {"role": "assistant", "content": [{"type": "text", "text": "There."}]},
    ],
    "Ollama": [
        USER,
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [{"function": {"name": "look", "arguments": {"word": "bakery"}}} for _ in "12"],
        },
        {"role": "tool", "tool_name": "look", "content": "Found."},
        {"role": "tool", "tool_name": "look", "content": "Found."},
        {"role": "assistant", "content": "There."},
    ],
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_two_calls_and_their_results_are_one_step(loop: list[dict[str, Any]]) -> None:
    messages = as_messages(loop)
    facts = [facts_of(message) for message in messages]
    assert len(facts[1].calls) == 2
    assert [result for each in facts for result in each.results] == list(facts[1].calls)


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_the_dicts_are_counted_as_the_messages_they_are(loop: list[dict[str, Any]]) -> None:
    counter = TokenCounter("o200k_base")
    assert counter(loop) == counter(as_messages(loop))


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_step_more_changes_no_message_before(loop: list[dict[str, Any]]) -> None:
    assert as_messages([*loop, USER])[:-1] == as_messages(loop)


READABLE: list[Any] = [
    USER,
    {"role": "assistant", "content": "Hi.", "name": "bot", "id": "1"},
    {"role": "assistant", "content": None, "function_call": FUNCTION},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": FUNCTION}]},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "name": "look", "args": {}, "type": "tool_call"}]},
    {"role": "developer", "content": "Be brief."},
    {"role": "function", "name": "look", "content": "Found."},
    {"role": "tool", "name": "look", "tool_call_id": "1", "content": "Found."},
    {"type": "human", "content": "Hi."},
    {"type": "ai", "content": "Hi."},
    ("user", "Hi."),
    "Hi.",
]


@pytest.mark.parametrize("value", READABLE)
def test_what_langchain_reads_is_read_as_it_reads_it(value: Any) -> None:
    assert as_messages([value]) == convert_to_messages([value])


ITEMS: dict[str, tuple[dict[str, Any], BaseMessage]] = {
    "a screenshot": (
        {"type": "computer_call_output", "call_id": "1", "output": {"type": "computer_screenshot", "image_url": "x"}},
        ToolMessage(
            [{"type": "input_image", "image_url": "x"}],
            tool_call_id="1",
            additional_kwargs={"type": "computer_call_output"},
        ),
    ),
    "an approval": (
        {"type": "mcp_approval_response", "approval_request_id": "1", "approve": True},
        HumanMessage([{"type": "mcp_approval_response", "approval_request_id": "1", "approve": True}]),
    ),
    "a custom tool's output": (
        {"type": "custom_tool_call_output", "call_id": "1", "output": "x"},
        ToolMessage([{"type": "custom_tool_call_output", "call_id": "1", "output": "x"}], tool_call_id="1"),
    ),
    "a compaction": (
        {"type": "compaction", "encrypted_content": "x"},
        AIMessage([{"type": "compaction", "encrypted_content": "x"}]),
    ),
    "a user's message": (
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]},
        HumanMessage([{"type": "input_text", "text": "Hi."}]),
    ),
    "a reply as a string": (
        {"type": "message", "role": "assistant", "content": "Hi."},
        AIMessage([{"type": "output_text", "text": "Hi."}]),
    ),
}


@pytest.mark.parametrize(("item", "message"), ITEMS.values(), ids=ITEMS)
def test_an_item_is_a_message(item: dict[str, Any], message: BaseMessage) -> None:
    assert as_messages([item]) == [message]


def test_arguments_that_are_no_json_are_an_invalid_call() -> None:
    raw = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "look", "arguments": '{"word'}}]}
    (message,) = as_messages([raw])
    assert isinstance(message, AIMessage)
    assert [call["args"] for call in message.invalid_tool_calls] == ['{"word']


def test_the_signature_of_a_gemini_call_is_kept() -> None:
    part = {"functionCall": {"name": "look", "args": {}, "id": "1"}, "thoughtSignature": "c2ln"}
    (message,) = as_messages([{"role": "model", "parts": [part]}])
    assert message.additional_kwargs == {"__gemini_function_call_thought_signatures__": {"1": "c2ln"}}


PARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "data": (
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
        {"type": "media", "mime_type": "image/png", "data": "iVBORw=="},
    ),
    "an address": ({"fileData": {"fileUri": "gs://a"}}, {"type": "media", "file_uri": "gs://a"}),
    "a thought": (
        {"text": "Hm.", "thought": True, "thoughtSignature": "c2ln"},
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
    ),
    "a signed text": (
        {"text": "Hi.", "thought_signature": "c2ln"},
        {"type": "text", "text": "Hi.", "extras": {"signature": "c2ln"}},
    ),
    "code": (
        {"executableCode": {"code": "1 + 1", "language": "PYTHON"}},
        {"type": "executable_code", "executable_code": "1 + 1", "language": "PYTHON"},
    ),
    "its output": (
        {"codeExecutionResult": {"output": "2", "outcome": "OUTCOME_OK"}},
        {"type": "code_execution_result", "code_execution_result": "2", "outcome": "OUTCOME_OK"},
    ),
}


@pytest.mark.parametrize(("part", "block"), PARTS.values(), ids=PARTS)
def test_a_gemini_part_is_a_block_that_langchain_sends(part: dict[str, Any], block: dict[str, Any]) -> None:
    genai = pytest.importorskip("langchain_google_genai.chat_models")
    (message,) = as_messages([{"role": "model", "parts": [part]}])
    assert message.content == [block]
    assert len(genai._convert_to_parts(message.content)) == 1


def test_images_of_ollama_are_blocks() -> None:
    (message,) = as_messages([{"role": "user", "content": "What is it?", "images": ["abc"]}])
    assert message.content == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "abc"}},
    ]


WRONG: dict[str, tuple[list[Any], str]] = {
    "a result without an id or a call": ([{"role": "tool", "tool_name": "look", "content": ""}], "'look' has no id"),
    "a second result of one call": ([*LOOPS["Ollama"][:4], LOOPS["Ollama"][2]], "no call before it is open"),
    "another tool's result": ([*LOOPS["Ollama"][:2], {"role": "tool", "tool_name": "b", "content": ""}], "'b' has no"),
    "a reference": ([{"type": "item_reference", "id": "rs_1"}], "'item_reference' is no message"),
    "a call that is no function": (
        [{"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "custom": {"name": "look"}}]}],
        "type 'custom' is not read",
    ),
    "a dict that is no message": ([{"question": "Where?"}], "role"),
}


@pytest.mark.parametrize(("values", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_read_is_an_error_that_says_what_is_read(values: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        as_messages(values)
    assert "Gemini" in caught.value.__notes__[-1]


def test_a_single_item_is_one_message() -> None:
    assert (
        len(TokenBuffer(1000, token_counter="o200k_base").trim({"type": "function_call", "call_id": "1", **FUNCTION}))
        == 1
    )
