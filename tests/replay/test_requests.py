"""Requests and replies as the APIs have them, and the model that they name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, HumanMessage, messages_to_dict

from langchain_tokenbuffer._messages.convert import as_messages
from langchain_tokenbuffer._messages.kinds import facts_of
from langchain_tokenbuffer._replay.counters import Counters
from langchain_tokenbuffer._replay.transcripts import Transcript, transcripts_of
from langchain_tokenbuffer.counters import TokenCounter
from tests.unit.test_api_dicts import LOOPS

if TYPE_CHECKING:
    from langchain_tokenbuffer._replay.simulation import CountedTranscript

PARAMETERS = {"type": "object", "properties": {"word": {"type": "string"}}}
FUNCTION = {"name": "look", "description": "Look it up.", "parameters": PARAMETERS}
ASKED = "Where is the bakery?"

EXCHANGES: dict[str, dict[str, Any]] = {  # a system text, a question, a call, its result, a reply; one tool, one model
    "OpenAI chat": {
        "request": {
            "model": "gpt-4.1",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": ASKED},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "1", "content": "Found."},
            ],
            "tools": [{"type": "function", "function": FUNCTION}],
        },
        "response": {
            "model": "gpt-4.1-2025-04-14",
            "choices": [{"message": {"role": "assistant", "content": "There."}}],
        },
    },
    "OpenAI Responses": {
        "request": {
            "model": "gpt-4.1",
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": ASKED}]},
                {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "c2VhbGVk"},
                {"type": "function_call", "id": "fc_1", "call_id": "1", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "1", "output": "Found."},
            ],
            "tools": [{"type": "function", **FUNCTION, "strict": False}],
        },
        "response": {
            "object": "response",
            "model": "gpt-4.1-2025-04-14",
            "output": [
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "There.", "annotations": []}],
                }
            ],
        },
    },
    "Anthropic": {
        "request": {
            "model": "claude-sonnet-4-5",
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": ASKED},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "look", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "Found."}]},
            ],
            "tools": [{"name": "look", "description": "Look it up.", "input_schema": PARAMETERS}],
        },
        "response": {
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5-20250929",
            "content": [{"type": "text", "text": "There."}],
        },
    },
    "Gemini": {
        "model": "gemini-2.5-flash",
        "request": {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": ASKED}]},
                {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"found": True}}}]},
            ],
            "tools": [{"functionDeclarations": [FUNCTION]}],
        },
        "response": {
            "candidates": [{"content": {"role": "model", "parts": [{"text": "There."}]}}],
            "modelVersion": "gemini-2.5-flash",
        },
    },
    "Bedrock Converse": {
        "request": {
            "modelId": "anthropic.claude-3-haiku-20240307-v1:0",
            "system": [{"text": "Be brief."}],
            "messages": [
                {"role": "user", "content": [{"text": ASKED}]},
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "1", "name": "look", "input": {}}}]},
                {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"text": "Found."}]}}]},
            ],
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "look", "description": "x", "inputSchema": {"json": PARAMETERS}}}]
            },
        },
        "response": {"output": {"message": {"role": "assistant", "content": [{"text": "There."}]}}},
    },
    "Ollama": {
        "request": {
            "model": "qwen3:0.6b",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": ASKED},
                {
                    "role": "assistant",
                    "thinking": "Hm.",
                    "tool_calls": [{"function": {"name": "look", "arguments": {}}}],
                },
                {"role": "tool", "tool_name": "look", "content": "Found."},
            ],
            "tools": [{"type": "function", "function": FUNCTION}],
        },
        "response": {"model": "qwen3:0.6b", "message": {"role": "assistant", "content": "There."}},
    },
    "Cohere's first": {
        "request": {
            "model": "command-r-08-2024",
            "preamble": "Be brief.",
            "chat_history": [
                {"role": "USER", "message": "Hello?"},
                {"role": "CHATBOT", "message": "Hello!"},
            ],
            "message": ASKED,
        },
        "response": {"role": "assistant", "content": "There."},
    },
}
LOOP_KINDS = ["system", "human", "ai", "tool", "ai"]


def only(value: object) -> Transcript:
    (transcript,) = transcripts_of(json.loads(json.dumps(value)))
    return transcript


@pytest.mark.parametrize("api", [api for api in EXCHANGES if api != "Cohere's first"])
def test_an_exchange_of_an_api_is_one_conversation(api: str) -> None:
    facts = [facts_of(message) for message in only(EXCHANGES[api]).messages]
    assert [each.kind for each in facts] == LOOP_KINDS
    assert facts[2].calls == facts[3].results


def test_coheres_first_api_is_read() -> None:
    messages = only(EXCHANGES["Cohere's first"]).messages
    assert [message.type for message in messages] == ["system", "human", "ai", "human", "ai"]


@pytest.mark.parametrize("api", EXCHANGES)
def test_the_request_alone_is_the_same_without_its_reply(api: str) -> None:
    assert only(EXCHANGES[api]["request"]).messages == only(EXCHANGES[api]).messages[:-1]


@pytest.mark.parametrize("api", EXCHANGES)
def test_a_request_names_the_model_that_counts(api: str) -> None:
    exchange = EXCHANGES[api]
    request = exchange["request"]
    assert only(exchange).model == (request.get("model") or request.get("modelId") or exchange["model"])


@pytest.mark.parametrize("api", [api for api in EXCHANGES if api != "Cohere's first"])
def test_a_tool_counts_as_openais_does(api: str) -> None:
    counter = TokenCounter("o200k_base")
    (tool,) = only(EXCHANGES[api]).tools
    expected = counter.count([], tools=[{"type": "function", "function": FUNCTION}])
    assert abs(counter.count([], tools=[tool]) - expected) <= 3


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_dicts_in_a_file_are_the_messages_that_they_are_everywhere(loop: list[dict[str, Any]]) -> None:
    assert only(loop).messages == as_messages(loop)


def test_a_text_is_what_a_response_is_asked() -> None:
    request = {"model": "gpt-4.1", "input": ASKED, "instructions": "Be brief."}
    assert [(each.type, each.content) for each in only(request).messages] == [("system", "Be brief."), ("human", ASKED)]


def test_a_list_of_items_is_a_conversation() -> None:
    items = EXCHANGES["OpenAI Responses"]["request"]["input"]
    assert [message.type for message in only(items).messages] == ["human", "ai", "tool"]


def test_a_line_of_openais_batches_is_a_request() -> None:
    line = {"custom_id": "1", "method": "POST", "url": "/v1/responses", "body": {"model": "gpt-4.1", "input": ASKED}}
    assert (only(line).model, len(only(line).messages)) == ("gpt-4.1", 1)


def test_a_reply_that_the_request_holds_already_is_there_once() -> None:
    messages = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "There."}]
    assert len(only({"messages": messages, "response": messages[1]}).messages) == 2


# --- models ---------------------------------------------------------------------------------------

REPLY = AIMessage("There.", response_metadata={"model_name": "claude-sonnet-4-5"})
TALK = [HumanMessage(ASKED), REPLY]


@pytest.mark.parametrize(
    "value",
    [
        messages_to_dict(TALK),
        {"values": {"messages": messages_to_dict(TALK)}},
        {
            "run_type": "llm",
            "inputs": {"messages": [[dumpd(TALK[0])]]},
            "outputs": {"generations": [[{"message": dumpd(AIMessage("There."))}]]},
            "extra": {"invocation_params": {"model": "claude-sonnet-4-5"}},
        },
        {
            "run_type": "llm",
            "inputs": {"messages": [[dumpd(TALK[0])]]},
            "outputs": {},
            "extra": {"metadata": {"ls_model_name": "claude-sonnet-4-5"}},
        },
        {"id": "1", "model": "claude-sonnet-4-5", "request": {"messages": [{"role": "user", "content": ASKED}]}},
        {
            "request": {"model": "my-deployment", "messages": [{"role": "user", "content": ASKED}]},
            "reply": {"model": "claude-sonnet-4-5", "choices": []},
        },
    ],
)
def test_the_model_is_found_where_a_file_names_it(value: object) -> None:
    assert only(value).model == "claude-sonnet-4-5"


def test_the_newest_reply_names_the_model() -> None:
    older = AIMessage("Hello!", response_metadata={"model_name": "gpt-4o"})
    assert only(messages_to_dict([HumanMessage("Hello?"), older, *TALK])).model == "claude-sonnet-4-5"


@pytest.mark.parametrize("model", [None, 7, "", " ", "x" * 999, {"name": "gpt-4o"}])
def test_what_is_no_name_names_no_model(model: object) -> None:
    assert only({"model": model, "messages": [{"role": "user", "content": ASKED}]}).model is None


def counted(given: str | None, *models: str | None) -> list[CountedTranscript]:
    counters = Counters(given)
    return [counters.counted(Transcript("a", [HumanMessage(ASKED)], model=model)) for model in models]


def test_each_conversation_is_counted_as_its_own_model() -> None:
    found = counted(None, "gpt-4o", "gpt-4", None)
    assert [(each.transcript.model, each.transcript.model_from) for each in found] == [
        ("gpt-4o", "file"),
        ("gpt-4", "file"),
        ("gpt-4o", "default"),
    ]


def test_the_model_of_the_command_wins() -> None:
    assert [each.transcript.model for each in counted("gpt-4", "gpt-4o", None)] == ["gpt-4", "gpt-4"]


def test_a_file_cannot_have_another_file_opened_as_a_tokenizer() -> None:
    (found,) = counted(None, "/etc/tokenizer.json")
    assert found.cumulative[-1] > 0
