"""What requests cost, against what providers published and billed."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field, SecretStr

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer.counters import message_counter

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.outputs import ChatResult

Row = dict[str, Any]


def openai(name: str) -> TokenCounter:
    return TokenCounter(ChatOpenAI(model=name, api_key=SecretStr("unused")))


# --- published ------------------------------------------------------------------------------------

STRING = {"type": "string"}
WEATHER = {
    "name": "get_current_weather",
    "description": "Get the current weather in a given location",
    "parameters": {
        "type": "object",
        "properties": {
            "location": {**STRING, "description": "The city and state, e.g. San Francisco, CA"},
            "unit": {
                **STRING,
                "description": "The unit of temperature to return",
                "enum": ["celsius", "fahrenheit"],
            },
        },
        "required": ["location"],
    },
}


@pytest.mark.parametrize(("model", "tokens"), [("gpt-4", 105), ("gpt-4o", 101)])
def test_the_published_tools_example_counts_as_published(model: str, tokens: int) -> None:
    messages = [
        SystemMessage("You are a helpful assistant that can answer to questions about the weather."),
        HumanMessage("What's the weather like in San Francisco?"),
    ]
    assert openai(model).count(messages, tools=[WEATHER]) == tokens


def demonstration(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "name": "data_demonstration",
        "description": "This is the main function description",
        "parameters": {"type": "object", "properties": properties, "required": list(required)},
    }


def sources(parameters: dict[str, Any] | None) -> dict[str, Any]:
    described = {
        "name": "search_sources",
        "description": "Retrieve sources from the Azure AI Search index",
    }
    return {**described, "parameters": parameters} if parameters else described


def one(name: str, description: str, of: str, value: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {of: value}, "required": [of]}
    return {"name": name, "description": description, "parameters": parameters}


NEEDED = ["search_query"]
INNER = {"type": "object", "description": "The object data type as a property"}
MOOD = {**STRING, "enum": ["Happy", "Sad"]}
LOST = {**STRING, "description": "Description in a second object is lost"}
QUERY = {
    **STRING,
    "description": "Query string to retrieve documents from azure search eg: 'Health care plan'",
}
VALIDATED: dict[str, tuple[dict[str, Any], int]] = {
    # Billed for a system message "You are a bot." and the tool, as openai-messages-token-helper
    # publishes it; where it was asked with tool_choice="none", which takes one more, less that.
    "described": (
        sources({"type": "object", "properties": {"search_query": QUERY}, "required": ["search_query"]}),
        66,
    ),
    "no parameters": (sources(None), 42),
    "nothing required": (sources({"type": "object", "properties": {"search_query": STRING}}), 49),
    "not described": (
        sources({"type": "object", "properties": {"search_query": STRING}, "required": ["search_query"]}),
        49,
    ),
    "an enum of integers": (
        demonstration({"integer_enum": {"type": "integer", "enum": [-1, 1]}}),
        53,
    ),
    "an enum of strings": (
        {
            "name": "summarize_order",
            "description": "Summarize the customer order request",
            "parameters": {
                "type": "object",
                "properties": {
                    "product_name": {**STRING, "description": "Product name ordered by customer"},
                    "quantity": {"type": "integer", "description": "Quantity ordered by customer"},
                    "unit": {
                        **STRING,
                        "enum": ["meals", "days"],
                        "description": "unit of measurement of the customer order",
                    },
                },
                "required": ["product_name", "quantity", "unit"],
            },
        },
        85,
    ),
    "an inner object": (
        demonstration({"object_1": {**INNER, "properties": {"string1": STRING}}}, "object_1"),
        64,
    ),
    "an inner object with an enum alone": (
        demonstration({"object_1": {**INNER, "properties": {"string_2a": MOOD}}}, "object_1"),
        72,
    ),
    "an inner object with an enum": (
        demonstration(
            {"object_1": {**INNER, "properties": {"string_2a": MOOD, "string_2b": LOST}}},
            "object_1",
        ),
        88,
    ),
    "an inner object and a string": (
        demonstration(
            {
                "object_1": {**INNER, "properties": {"string_2a": MOOD, "string_2b": LOST}},
                "string_1": {**STRING, "description": "Not required gets a question mark"},
            },
            "object_1",
        ),
        102,
    ),
    "a boolean": (
        one(
            "human_escalation",
            "Check if user wants to escalate to a human",
            "requires_escalation",
            {
                "type": "boolean",
                "description": "If user is showing signs of frustration or anger in the query. "
                "Also if the user says they want to talk to a real person and not a chat bot.",
            },
        ),
        88,
    ),
    "an array": (
        one(
            "get_coordinates",
            "Get the latitude and longitude of multiple mailing addresses",
            "addresses",
            {
                "type": "array",
                "description": "The mailing addresses to be located",
                "items": STRING,
            },
        ),
        58,
    ),
    "null": (
        one(
            "get_null",
            "Get the null value",
            "null_value",
            {"type": "null", "description": "The null value to be returned"},
        ),
        54,
    ),
    "no type": (
        one(
            "get_no_type",
            "Get the no type value",
            "no_type_value",
            {"description": "The no type value to be returned"},
        ),
        58,
    ),
}


@pytest.mark.parametrize(("tool", "tokens"), VALIDATED.values(), ids=VALIDATED)
def test_a_validated_tool_counts_as_validated(tool: dict[str, Any], tokens: int) -> None:
    messages = [SystemMessage("You are a bot.")]
    assert openai("gpt-4").count(messages, tools=[tool]) == tokens


# --- tools of any kind ----------------------------------------------------------------------------


class Order(BaseModel):
    """An order."""

    product: str = Field(description="What is ordered.")
    inner: Order | None = None


def look_up(word: str) -> str:
    """Look a word up."""
    return word


TOOLS: dict[str, Any] = {
    "a function": look_up,
    "a pydantic class that holds itself": Order,
    "a dict of OpenAI's": {"type": "function", "function": WEATHER},
    "a dict of Anthropic's": {"name": "a", "description": "b", "input_schema": {"type": "object"}},
    "a tool of the provider's own": {"type": "web_search_preview"},
    "an unknown one": {"type": "hologram", "depth": 3},
    "an empty one": {},
    "no tool at all": 5,
    "a schema that is none": {"name": "a", "description": "b", "parameters": {"properties": [1]}},
    "types in a list": {
        "name": "a",
        "description": "b",
        "parameters": {"type": "object", "properties": {"c": {"type": ["string", "null"]}}},
    },
}


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5"])
@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_any_tool_costs_more_than_none(tool: Any, model: str) -> None:
    counter = openai(model)
    assert counter.count("Hi", tools=[tool]) > counter.count("Hi")


UNKNOWN: dict[str, dict[str, Any]] = {
    "a default": {**STRING, "default": "bread"},
    "a mapping": {"type": "object", "additionalProperties": {"type": "number"}},
}


@pytest.mark.parametrize("value", UNKNOWN.values(), ids=UNKNOWN)
def test_what_models_may_not_see_of_a_tool_rounds_up(value: dict[str, Any]) -> None:
    counter = openai("gpt-4o")
    less = {"type": value["type"]}
    assert counter.count("Hi", tools=[one("a", "b", "c", value)]) > counter.count(
        "Hi", tools=[one("a", "b", "c", less)]
    )


def test_a_callable_counts_tools_as_text() -> None:
    counter = TokenCounter(lambda messages: sum(len(message.text) for message in messages))
    assert counter.count("Hi", tools=[WEATHER]) > counter.count("Hi") + 100


FORMATS: dict[str, Any] = {
    "a pydantic class": Order,
    "a schema": {"title": "city", "type": "object", "properties": {"name": STRING}},
    "OpenAI's dict": {
        "type": "json_schema",
        "json_schema": {"name": "city", "schema": {"type": "object", "properties": {}}},
    },
}


@pytest.mark.parametrize("response_format", FORMATS.values(), ids=FORMATS)
def test_a_response_format_costs_more_than_none(response_format: Any) -> None:
    counter = openai("gpt-4o")
    assert counter.count("Hi", response_format=response_format) > counter.count("Hi")


def test_a_json_object_as_response_format_costs_nothing() -> None:
    counter = openai("gpt-4o")
    assert counter.count("Hi", response_format={"type": "json_object"}) == counter.count("Hi")


def test_a_property_may_be_named_required() -> None:
    schema = {"type": "object", "properties": {"required": {"type": "boolean"}}}
    empty = {"type": "object", "properties": {}}
    counter = openai("gpt-4o")
    assert counter.count("Hi", response_format=schema) > counter.count("Hi", response_format=empty)


# --- billed by OpenAI -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[Row]:
    lines = (shared_data / "billed_usage.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def chats(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["kind"] == "openai.chat"]


def has_tools(row: Row) -> bool:
    request = row["request"]
    return bool(request.get("tools")) or any(m.get("tool_calls") for m in request["messages"])


def residual(row: Row) -> int:
    """Return how many tokens the count is higher than the bill."""
    request = row["request"]
    messages = convert_to_messages([{"content": None, **each} for each in request["messages"]])
    counted = openai(row["model"]).count(
        messages,
        tools=request.get("tools", ()),
        response_format=request.get("response_format"),
    )
    return counted - int(row["input_tokens"])


def test_plain_requests_cost_what_was_billed(rows: list[Row]) -> None:
    plain = [row for row in chats(rows) if not has_tools(row) and "search" not in row["model"]]
    assert {row["id"]: residual(row) for row in plain} == {row["id"]: 0 for row in plain}


def test_search_models_are_not_counted_low(rows: list[Row]) -> None:
    searching = [row for row in chats(rows) if "search" in row["model"]]
    assert min(map(residual, searching)) >= 0


def test_requests_with_tools_cost_what_was_billed(rows: list[Row]) -> None:
    residuals = [residual(row) for row in chats(rows) if has_tools(row)]
    near = sum(abs(each) <= 2 for each in residuals)
    assert near / len(residuals) >= 0.95


def test_requests_with_tools_are_not_counted_low(rows: list[Row]) -> None:
    lowest = min(residual(row) / row["input_tokens"] for row in chats(rows) if has_tools(row))
    assert lowest >= -0.01


# --- billed by Anthropic --------------------------------------------------------------------------


class ChatAnthropic(BaseChatModel):
    """A stand-in: the real one counts by asking Anthropic."""

    model: str = "claude-sonnet-4-5"
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None

    @property
    def _llm_type(self) -> str:
        return "anthropic-chat"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def get_num_tokens_from_messages(self, *args: Any, **kwargs: Any) -> int:
        raise AssertionError


ChatAnthropic.__module__ = "langchain_anthropic.chat_models"


def claudes(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["kind"] == "anthropic.messages"]


def as_sent(request: Row) -> list[BaseMessage]:
    """Return a request of Anthropic's as the messages it was made of."""
    messages: list[BaseMessage] = []
    if request.get("system"):
        messages.append(SystemMessage(request["system"]))
    for message in request["messages"]:
        blocks = message["content"]
        if message["role"] == "assistant":
            calls = [
                {"name": block["name"], "args": block["input"], "id": block["id"]}
                for block in blocks
                if block["type"] == "tool_use"
            ]
            messages.append(AIMessage(blocks, tool_calls=calls))
            continue
        messages += [
            ToolMessage(block.get("content") or "", tool_call_id=block["tool_use_id"])
            for block in blocks
            if block["type"] == "tool_result"
        ]
        rest = [block for block in blocks if block["type"] != "tool_result"]
        if rest:
            kind = SystemMessage if message["role"] == "system" else HumanMessage
            messages.append(kind(rest))
    return messages


def estimated(row: Row) -> int:
    request = row["request"]
    form = (request.get("output_config") or {}).get("format")
    set_ = {name: request[name] for name in ("thinking", "output_config") if name in request}
    return TokenCounter(ChatAnthropic(model=row["model"], **set_)).count(
        as_sent(request),
        tools=request.get("tools", ()),
        response_format=form["schema"] if form else None,
    )


def test_an_estimate_before_any_anchor_is_not_low(rows: list[Row]) -> None:
    lowest = min(estimated(row) / row["input_tokens"] for row in claudes(rows))
    assert lowest >= 0.85


def follow_ups(rows: list[Row]) -> list[tuple[Row, Row]]:
    """Return pairs of requests of one conversation, the first one's reply in the second."""

    def shown(request: Row) -> list[str]:
        return [
            json.dumps([message["role"], *map(_without_marks, message["content"])]) for message in request["messages"]
        ]

    pairs = []
    for first in claudes(rows):
        before = shown(first["request"])
        for second in claudes(rows):
            after = shown(second["request"])
            same = all(first["request"].get(key) == second["request"].get(key) for key in ("model", "tools", "system"))
            if same and len(after) > len(before) and after[: len(before)] == before:
                pairs.append((first, second))
    return pairs


def _without_marks(block: Row) -> Row:
    return {key: value for key, value in sorted(block.items()) if key != "cache_control"}


def anchored(first: Row, second: Row) -> float:
    """Return the second request's count, anchored on the first reply, as a share of its bill."""
    messages = as_sent(second["request"])
    at = len(as_sent(first["request"]))
    usage = {key: first[key] for key in ("input_tokens", "output_tokens")}
    messages[at] = messages[at].model_copy(update={"usage_metadata": {**usage, "total_tokens": sum(usage.values())}})
    counter = TokenCounter(ChatAnthropic(model=first["model"]))
    counted = counter.count(messages, tools=second["request"].get("tools", ()), anchor=True)
    return counted / float(second["input_tokens"])


def test_an_anchored_estimate_is_near(rows: list[Row]) -> None:
    off = [abs(anchored(*pair) - 1) for pair in follow_ups(rows)]
    assert statistics.median(off) <= 0.03


def test_an_anchored_estimate_is_not_low(rows: list[Row]) -> None:
    assert min(anchored(*pair) for pair in follow_ups(rows)) >= 0.9


# --- anchors --------------------------------------------------------------------------------------


def reply(text: str, read: int, written: int, model: str = "claude-sonnet-4-5") -> AIMessage:
    return AIMessage(
        text,
        usage_metadata={
            "input_tokens": read,
            "output_tokens": written,
            "total_tokens": read + written,
        },
        response_metadata={"model_name": model},
    )


CLAUDE = TokenCounter(ChatAnthropic())
LONG = "Tell me about the bakery two streets from here, please. " * 40


def test_an_anchor_stands_for_everything_up_to_it() -> None:
    messages = [HumanMessage(LONG), reply("Yes.", 700, 5)]
    assert CLAUDE.count(messages, anchor=True) == 705


def test_without_an_anchor_no_report_is_read() -> None:
    messages = [HumanMessage(LONG), reply("Yes.", 700, 5)]
    silent = [HumanMessage(LONG), AIMessage("Yes.")]
    assert CLAUDE.count(messages) == CLAUDE.count(silent)


def test_what_follows_an_anchor_is_estimated() -> None:
    messages = [HumanMessage(LONG), reply("Yes.", 700, 5), HumanMessage(LONG)]
    behind = CLAUDE([HumanMessage(LONG)]) - message_counter(CLAUDE).constant
    assert CLAUDE.count(messages, anchor=True) == 705 + behind


def test_earlier_reports_say_how_far_an_estimate_is_off() -> None:
    behind = CLAUDE([HumanMessage(LONG)]) - message_counter(CLAUDE).constant
    messages = [
        HumanMessage(LONG),
        reply("Yes.", 700, 5),
        HumanMessage(LONG),
        reply("Yes.", 705 + behind // 2, 5),
        HumanMessage(LONG),
    ]
    assert CLAUDE.count(messages, anchor=True) == pytest.approx(710 + behind, rel=0.03)


def test_the_report_of_another_model_is_no_anchor() -> None:
    messages = [HumanMessage("Hi"), reply("Yes.", 9000, 5, "gpt-4o")]
    assert CLAUDE.count(messages, anchor=True) == CLAUDE.count(messages)


def test_the_report_of_the_dated_model_is_an_anchor() -> None:
    messages = [HumanMessage("Hi"), reply("Yes.", 900, 5, "claude-sonnet-4-5-20250929")]
    assert CLAUDE.count(messages, anchor=True) == 905


def test_a_reply_that_reports_nothing_is_no_anchor() -> None:
    messages = [HumanMessage("Hi"), AIMessage("Yes.")]
    assert CLAUDE.count(messages, anchor=True) == CLAUDE.count(messages)


def test_a_report_of_no_input_is_no_anchor() -> None:
    messages = [HumanMessage("Hi"), reply("Yes.", 0, 5)]
    assert CLAUDE.count(messages, anchor=True) == CLAUDE.count(messages)


def test_reports_between_which_the_prefix_shrank_say_nothing_of_the_estimate() -> None:
    behind = CLAUDE([HumanMessage(LONG)]) - message_counter(CLAUDE).constant
    messages = [
        HumanMessage(LONG),
        reply("Yes.", 700, 5),
        HumanMessage(LONG),
        reply("Yes.", 600, 5),
        HumanMessage(LONG),
    ]
    assert CLAUDE.count(messages, anchor=True) == 605 + behind


def test_what_was_thought_and_is_not_in_the_reply_is_not_counted_again() -> None:
    messages = [HumanMessage("Hi"), reply("Yes.", 100, 5000)]
    assert CLAUDE.count(messages, anchor=True) < 200


def test_where_counting_is_exact_a_report_says_what_stood_beside_the_messages() -> None:
    counter = openai("gpt-4o")
    asked = HumanMessage("Hi")
    messages = [asked, reply("Yes.", counter([asked]) + 250, 5, "gpt-4o"), HumanMessage("Why?")]
    assert counter.count(messages, tools=[WEATHER], anchor=True) == counter(messages) + 250


def test_an_anchor_is_not_read_in_windows() -> None:
    messages = [HumanMessage("Hi"), reply("Yes.", 9000, 5)]
    assert CLAUDE(messages) < 200
