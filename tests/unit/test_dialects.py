"""What a message is, in any dialect: its kind, its calls, the calls it answers."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_tokenbuffer._messages.kinds import MessageFacts, call_ids, facts_of, kind_of, result_id
from langchain_tokenbuffer._messages.stand_ins import NO_RESULT, stand_in

CALL: Any = {"name": "read", "args": {}, "id": "1", "type": "tool_call"}
OTHER_CALL: Any = {**CALL, "id": "2"}
BROKEN_CALL: Any = {"name": "read", "args": "{", "id": "3", "error": None, "type": "invalid_tool_call"}
TEXT = {"type": "text", "text": "Hello"}


def responses(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "id": "item", "call_id": "1", **fields}


WAITING: dict[str, tuple[AIMessage, list[str | None]]] = {
    "LangChain's tool calls": (AIMessage("", tool_calls=[CALL, OTHER_CALL]), ["1", "2"]),
    "a call that could not be parsed": (AIMessage("", tool_calls=[CALL], invalid_tool_calls=[BROKEN_CALL]), ["1", "3"]),
    "a call in the standard content too": (AIMessage([TEXT, CALL], tool_calls=[CALL]), ["1"]),
    "a call in the standard content without its id": (
        AIMessage([{"type": "tool_call", "name": "read", "args": {}}], tool_calls=[CALL]),
        ["1"],
    ),
    "a call in the content alone": (AIMessage([TEXT, CALL]), ["1"]),
    "one id twice": (AIMessage([CALL], tool_calls=[CALL, CALL]), ["1", "1"]),
    "OpenAI's chat calls": (
        AIMessage("", additional_kwargs={"tool_calls": [{"id": "1", "function": {"name": "read", "arguments": "{}"}}]}),
        ["1"],
    ),
    "an old function call": (
        AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": ""}}),
        [None],
    ),
    "function_call": (AIMessage([responses("function_call", name="read")], tool_calls=[CALL]), ["1"]),
    "custom_tool_call": (AIMessage([responses("custom_tool_call", name="read")], tool_calls=[CALL]), ["1"]),
    "computer_call": (AIMessage([responses("computer_call")]), ["1"]),
    "computer_call beside a tool call": (AIMessage([responses("computer_call")], tool_calls=[OTHER_CALL]), ["1", "2"]),
    "computer_call as standard content wraps it": (
        AIMessage([{"type": "non_standard", "value": responses("computer_call")}]),
        ["1"],
    ),
    "computer_call beside the content": (
        AIMessage([TEXT], additional_kwargs={"tool_outputs": [responses("computer_call")]}),
        ["1"],
    ),
    "local_shell_call": (AIMessage([responses("local_shell_call")]), ["1"]),
    "shell_call": (AIMessage([responses("shell_call")]), ["1"]),
    "apply_patch_call": (AIMessage([responses("apply_patch_call")]), ["1"]),
    "mcp_approval_request": (AIMessage([{"type": "mcp_approval_request", "id": "1"}]), ["1"]),
    "tool_search_call of the client": (AIMessage([responses("tool_search_call", execution="client")]), ["1"]),
    "Anthropic's tool_use": (AIMessage([{"type": "tool_use", "id": "1", "name": "read", "input": {}}]), ["1"]),
    "Bedrock's toolUse": (AIMessage([{"toolUse": {"toolUseId": "1", "name": "read", "input": {}}}]), ["1"]),
    "Bedrock's toolUse, listed too": (
        AIMessage([{"toolUse": {"toolUseId": "1", "name": "read", "input": {}}}], tool_calls=[CALL]),
        ["1"],
    ),
    "Gemini's functionCall": (AIMessage([{"functionCall": {"name": "read", "args": {}}}]), [None]),
}


@pytest.mark.parametrize(("message", "ids"), WAITING.values(), ids=WAITING)
def test_a_call_waits_for_its_result_once(message: AIMessage, ids: list[str | None]) -> None:
    assert list(facts_of(message).calls) == ids


SERVER_RUN: dict[str, list[dict[str, Any]]] = {
    "web_search_call": [{"type": "web_search_call", "id": "1", "status": "completed"}],
    "file_search_call": [{"type": "file_search_call", "id": "1"}],
    "code_interpreter_call": [{"type": "code_interpreter_call", "id": "1"}],
    "image_generation_call": [{"type": "image_generation_call", "id": "1"}],
    "mcp_call": [{"type": "mcp_call", "id": "1"}],
    "mcp_list_tools": [{"type": "mcp_list_tools", "id": "1"}],
    "tool_search_call of the server": [
        {"type": "tool_search_call", "id": "1", "call_id": None, "execution": "server"},
        {"type": "tool_search_output", "id": "2", "call_id": None, "execution": "server", "tools": []},
    ],
    "a hosted shell": [responses("shell_call"), responses("shell_call_output", output=[])],
    "server_tool_use": [
        {"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "1", "content": []},
    ],
    "mcp_tool_use": [
        {"type": "mcp_tool_use", "id": "1", "name": "echo", "input": {}, "server_name": "s"},
        {"type": "mcp_tool_result", "tool_use_id": "1", "content": []},
    ],
    "Bedrock's server_tool_use": [
        {"toolUse": {"toolUseId": "1", "name": "search", "input": {}, "type": "server_tool_use"}},
        {"toolResult": {"toolUseId": "1", "content": []}},
    ],
    "Gemini's toolCall": [
        {"toolCall": {"id": "1", "toolType": "GOOGLE_SEARCH", "args": {}}},
        {"toolResponse": {"id": "1", "toolType": "GOOGLE_SEARCH", "response": {}}},
    ],
    "Gemini's code": [
        {"executableCode": {"code": "1 + 1", "language": "PYTHON"}},
        {"codeExecutionResult": {"output": "2", "outcome": "OUTCOME_OK"}},
    ],
    "server_tool_call": [
        {"type": "server_tool_call", "id": "1", "name": "web_search", "args": {}},
        {"type": "server_tool_result", "tool_call_id": "1", "status": "success"},
    ],
}


@pytest.mark.parametrize("content", SERVER_RUN.values(), ids=SERVER_RUN)
def test_what_the_provider_runs_waits_for_nothing(content: list[Any]) -> None:
    assert facts_of(AIMessage(content)) == MessageFacts("ai")


SEARCH = {"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "1", "content": []}


def test_a_server_call_may_be_answered_by_a_later_message() -> None:
    assert facts_of(AIMessage([SEARCH])) == MessageFacts("ai", server_calls=("1",))


def test_a_server_result_in_a_later_message_is_a_result() -> None:
    assert facts_of(AIMessage([FOUND, TEXT])) == MessageFacts("ai", results=("1",))


CARRIED: dict[str, dict[str, Any]] = {
    "Anthropic's tool_result": {"type": "tool_result", "tool_use_id": "1", "content": "Done."},
    "Bedrock's toolResult": {"toolResult": {"toolUseId": "1", "content": [{"text": "Done."}]}},
    "mcp_approval_response": {"type": "mcp_approval_response", "approval_request_id": "1", "approve": True},
    "apply_patch_call_output": responses("apply_patch_call_output", status="completed"),
    "computer_call_output": responses("computer_call_output", output={}),
    "custom_tool_call_output": responses("custom_tool_call_output", output="Done."),
    "function_call_output": responses("function_call_output", output="Done."),
    "shell_call_output": responses("shell_call_output", output=[]),
    "local_shell_call_output": {"type": "local_shell_call_output", "id": "1", "output": "Done."},
    "tool_search_output": responses("tool_search_output", tools=[]),
    "Gemini's functionResponse": {"functionResponse": {"id": "1", "name": "read", "response": {}}},
    "one that standard content wraps": {
        "type": "non_standard",
        "value": {"type": "mcp_approval_response", "approval_request_id": "1", "approve": True},
    },
}


@pytest.mark.parametrize("block", CARRIED.values(), ids=CARRIED)
def test_a_human_message_of_results_alone_is_a_result(block: dict[str, Any]) -> None:
    assert facts_of(HumanMessage([block, {"cachePoint": {"type": "default"}}])) == MessageFacts("tool", results=("1",))


@pytest.mark.parametrize("block", CARRIED.values(), ids=CARRIED)
def test_a_human_message_of_results_and_text_is_both(block: dict[str, Any]) -> None:
    assert facts_of(HumanMessage([block, TEXT])) == MessageFacts("human", results=("1",))


ANSWERS: dict[str, tuple[BaseMessage, tuple[str | None, ...]]] = {
    "a tool message": (ToolMessage("Done.", tool_call_id="1"), ("1",)),
    "a screenshot": (
        ToolMessage("data:image/png;base64,", tool_call_id="1", additional_kwargs={"type": "computer_call_output"}),
        ("1",),
    ),
    "an old function's": (FunctionMessage(name="read", content="Done."), (None,)),
    "Anthropic's results in a tool message": (
        ToolMessage([{"type": "tool_result", "tool_use_id": each} for each in "12"], tool_call_id="1"),
        ("1", "2"),
    ),
}


@pytest.mark.parametrize(("message", "ids"), ANSWERS.values(), ids=ANSWERS)
def test_a_tool_message_answers_its_calls(message: BaseMessage, ids: tuple[str | None, ...]) -> None:
    assert facts_of(message) == MessageFacts("tool", results=ids)


def test_a_kind_is_the_one_of_the_facts() -> None:
    message = HumanMessage([CARRIED["Anthropic's tool_result"]])
    assert (kind_of(message), result_id(message), call_ids(AIMessage("", tool_calls=[CALL]))) == ("tool", "1", ["1"])


PLAIN: dict[str, BaseMessage] = {
    "system": SystemMessage("Be brief."),
    "human": HumanMessage([TEXT, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]),
    "ai": ChatMessage(role="assistant", content="Hello"),
    "other": ChatMessage(role="narrator", content="Hello"),
}


@pytest.mark.parametrize(("kind", "message"), PLAIN.items())
def test_a_plain_message_is_its_kind_and_nothing_else(kind: Any, message: BaseMessage) -> None:
    assert facts_of(message) == MessageFacts(kind)


@pytest.mark.parametrize("mark", [{"lc_source": "summarization"}, {"deepagents_notification": {"task_id": "1"}}])
def test_a_marked_human_message_is_a_notification(mark: dict[str, Any]) -> None:
    assert facts_of(HumanMessage("A task is done.", additional_kwargs=mark)).is_notification


def test_other_extras_make_no_notification() -> None:
    assert not facts_of(HumanMessage("Hello", additional_kwargs={"pinned": True})).is_notification


@pytest.mark.parametrize(
    "block",
    [{"type": "compaction", "content": "Before."}, {"type": "compaction", "id": "cmp_1", "encrypted_content": "abc"}],
    ids=["Anthropic", "OpenAI"],
)
def test_a_compaction_block_is_seen(block: dict[str, Any]) -> None:
    assert facts_of(AIMessage([block, TEXT])).has_compaction


@pytest.mark.parametrize(("message", "ids"), WAITING.values(), ids=WAITING)
def test_a_stand_in_answers_its_call(message: AIMessage, ids: list[str | None]) -> None:
    answered = [facts_of(stand_in(message, place)) for place in range(len(ids))]
    assert answered == [MessageFacts("tool", results=(each,)) for each in ids]


@pytest.mark.parametrize("own", ["ai-7", None])
def test_a_stand_in_has_an_id_of_its_own_and_keeps_it(own: str | None) -> None:
    message = AIMessage("", tool_calls=[CALL, OTHER_CALL], id=own)
    ids = [stand_in(message, place).id for place in (0, 1, 0, 1)]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2


def test_a_stand_in_says_that_there_is_no_result() -> None:
    assert stand_in(AIMessage("", tool_calls=[CALL]), 0).content == NO_RESULT


SENT: dict[str, str] = {  # what langchain-openai sends a stand-in as, by the call
    "LangChain's tool calls": "function_call_output",
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "computer_call": "computer_call_output",
    "computer_call beside the content": "computer_call_output",
    "apply_patch_call": "apply_patch_call_output",
    "mcp_approval_request": "mcp_approval_response",
    "tool_search_call of the client": "tool_search_output",
}


@pytest.mark.parametrize(("call", "sent"), SENT.items())
def test_a_stand_in_is_sent_as_its_call_needs_it(call: str, sent: str) -> None:
    from langchain_openai.chat_models import base  # noqa: PLC0415  # seconds

    if f'"{sent}"' not in inspect.getsource(base):
        pytest.skip(f"this langchain-openai sends no {sent}")
    message, _ = WAITING[call]
    items = base._construct_responses_api_input([message, stand_in(message, 0)])
    assert items[-1]["type"] == sent
    assert "1" in (items[-1].get("call_id"), items[-1].get("approval_request_id"))


ODD: dict[str, BaseMessage] = {
    "content that is None": HumanMessage.model_construct(content=None),
    "content that is a number": AIMessage.model_construct(content=5),
    "no extras": AIMessage.model_construct(content=[TEXT], additional_kwargs=None),
    "a human message without extras": HumanMessage.model_construct(content=[TEXT], additional_kwargs=None),
    "blocks that are none": HumanMessage.model_construct(content=[None, 5, {}, {5: 6}, {"type": 7}, {"type": None}]),
    "a wrap around nothing": AIMessage([{"type": "non_standard"}, {"type": "non_standard", "value": None}]),
    "an id that is a number": AIMessage([{"type": "server_tool_use", "id": 5}]),
}


@pytest.mark.parametrize("message", ODD.values(), ids=ODD)
def test_odd_content_has_a_kind_and_no_calls(message: BaseMessage) -> None:
    assert facts_of(message) == MessageFacts(kind_of(message))
