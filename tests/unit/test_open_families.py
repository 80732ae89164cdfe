"""What models cost that are neither OpenAI's nor Anthropic's, by recorded bills and by what their templates say."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, convert_to_messages

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer._counting import resolve
from langchain_tokenbuffer._counting.gemini_tools import as_declarations, as_python
from langchain_tokenbuffer.counters import message_counter

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]

ASKED = HumanMessage("Where is the nearest bakery?")

# --- recorded bills -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[Row]:
    """The requests in OpenAI's shape, of text alone."""
    lines = (shared_data / "billed_more.jsonl").read_text(encoding="utf-8").splitlines()
    every = map(json.loads, lines)
    return [row for row in every if row["kind"].endswith((".chat", "cohere")) and "messages" in row["request"]]


def difference(row: Row) -> tuple[int, int]:
    """Return how far a count is off the bill, and the bill, in tokens."""
    request = row["request"]
    messages = [{"content": None, **message} for message in request["messages"]]
    for message in messages:
        for call in message.get("tool_calls") or ():
            call.setdefault("type", "function")
            call["function"]["arguments"] = call["function"]["arguments"] or "{}"
    counted = TokenCounter(row["model"]).count(
        convert_to_messages(messages),
        tools=request.get("tools") or (),
        response_format=request.get("response_format"),
    )
    return counted - row["input_tokens"], row["input_tokens"]


KINDS = {"text": ("plain",), "tools": ("tools", "tools+calls")}
BILLED = {  # the least share that is near without any extra, within 3 % or 2 tokens of the bill
    ("mistral", "text"): 0.6,
    ("mistral", "tools"): 0.2,
    ("deepseek-", "text"): 0.6,
    ("deepseek-", "tools"): 0.5,
    ("grok", "text"): 0.9,
    ("grok", "tools"): 0.6,
    ("command", "text"): 0.5,
    ("command", "tools"): 0.8,
    ("gpt-oss", "text"): 0.9,
    ("llama-3", "text"): 0.6,
    ("qwen3", "text"): 0.9,
}


def those(rows: list[Row], model: str, kind: str) -> list[tuple[int, int]]:
    return [
        difference(row)
        for row in rows
        if model in row["model"].lower() and row["category"] in KINDS[kind] and "openrouter" not in row["provider"]
    ]


@pytest.mark.parametrize(("model", "kind"), BILLED)
def test_a_family_counts_near_its_bills(
    rows: list[Row], model: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "is_installed", lambda _: False)
    near = [abs(off) <= max(2, 0.03 * billed) for off, billed in those(rows, model, kind)]
    assert sum(near) / len(near) >= BILLED[model, kind]


@pytest.mark.parametrize(("model", "kind"), BILLED)
def test_a_family_is_rarely_counted_low(
    rows: list[Row], model: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "is_installed", lambda _: False)
    low = [-off > max(2, 0.03 * billed) for off, billed in those(rows, model, kind)]
    assert sum(low) / len(low) <= (0.2 if model in ("gpt-oss", "llama-3", "qwen3", "command") else 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_with_mistrals_vocabulary_most_counts_are_the_bill(rows: list[Row], kind: str) -> None:
    pytest.importorskip("mistral_common")
    exact = [abs(off) <= 2 for off, _ in those(rows, "mistral", kind)]
    assert sum(exact) / len(exact) >= 0.8


# --- what templates say ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gemini-2.5-flash", "mistral-large-latest"])
def test_a_response_schema_that_is_not_billed_costs_nothing(name: str) -> None:
    counter = TokenCounter(name)
    schema = {"title": "city", "type": "object", "properties": {"name": {"type": "string"}}}
    assert counter.count([ASKED], response_format=schema) == counter.count([ASKED])


def test_where_any_json_is_asked_for_deepseek_bills_20_more() -> None:
    counter = TokenCounter("deepseek-chat")
    assert counter.count([ASKED], response_format={"type": "json_object"}) == counter.count([ASKED]) + 20


def test_a_system_message_of_llama_shares_its_place_with_the_date() -> None:
    counter = TokenCounter("llama-3.3-70b-versatile")
    texts = counter([SystemMessage("Hello"), ASKED]) - counter([ASKED])
    assert texts == 1


@pytest.mark.parametrize("name", ["llama-3.1-8b", "Llama-3.3-70B-Instruct", "llama3.2", "llama-v3p3-70b"])
def test_llama_begins_with_the_date_from_31_on(name: str) -> None:
    assert TokenCounter(name).count([ASKED]) == TokenCounter("llama3-8b-8192").count([ASKED]) + 25


@pytest.mark.parametrize("name", ["nova-2-lite", "command-a-03-2025", "grok-4.3", "gpt-oss-120b", "llama-3.3-70b"])
def test_a_window_does_not_pay_for_what_the_provider_adds_itself(name: str) -> None:
    counter = TokenCounter(name)
    assert counter.count([ASKED]) > counter([ASKED])


@pytest.mark.parametrize("name", ["gemini-2.0-flash", "mistral-small-latest", "llama-3.3-70b", "sonar"])
@pytest.mark.parametrize("message", [HumanMessage(""), AIMessage(""), SystemMessage("")])
def test_no_message_is_for_nothing(name: str, message: Any) -> None:
    counter = message_counter(TokenCounter(name))
    assert counter.tokens([message]) >= [1]


@pytest.mark.parametrize("name", ["gemini-3-flash", "qwen3", "mistral-large-latest", "deepseek-chat"])
def test_every_call_of_a_message_costs_the_same(name: str) -> None:
    call = {"name": "look_up", "args": {"word": "bread"}, "id": "1"}
    one, two, three = message_counter(TokenCounter(name)).tokens(
        [AIMessage("", tool_calls=[call] * n) for n in (1, 2, 3)]
    )
    assert three - two == two - one > 0


def test_geminis_functions_are_shown_with_what_they_refer_to() -> None:
    place = {"type": "object", "properties": {"street": {"type": "string", "description": "Its street's name."}}}
    counter = TokenCounter("gemini-2.5-flash")

    def tool(schema: Row) -> Row:
        return {"type": "function", "function": {"name": "look_up", "description": "", "parameters": schema}}

    properties = {name: {"$ref": "#/$defs/Place"} for name in ("start", "end")}
    referring = {"type": "object", "properties": properties, "$defs": {"Place": place}}
    inlined = {"type": "object", "properties": dict.fromkeys(properties, place)}
    assert counter.count([ASKED], tools=[tool(referring)]) == counter.count([ASKED], tools=[tool(inlined)])


def test_a_function_that_refers_to_nothing_counts() -> None:
    counter = TokenCounter("gemini-2.5-flash")
    broken = {"name": "look_up", "description": "", "parameters": {"$ref": "#/$defs/Nothing"}}
    assert counter.count([ASKED], tools=[broken]) > counter.count([ASKED])


OWN_PROMPTS = {
    "deepseek-chat": 0,
    "deepseek-v4-flash": 79,
    "us.amazon.nova-pro-v1:0": 0,
    "us.amazon.nova-2-lite-v1:0": 46,
    "command-r-08-2024": 60,
    "command-a-03-2025": 490,
    "command-a-reasoning-08-2025": 1381,
    "gemini-2.5-flash": 0,
    "grok-4.3": 187,
}


@pytest.mark.parametrize(("name", "tokens"), OWN_PROMPTS.items())
def test_a_whole_request_pays_for_the_providers_own_prompt(name: str, tokens: int) -> None:
    counter = TokenCounter(name)
    assert counter.count([ASKED]) - counter([ASKED]) == tokens


@pytest.mark.parametrize(("name", "tokens"), [("gemini-2.0-flash", 0), ("gemini-2.5-flash", 1), ("gemini-3-flash", 1)])
def test_gemini_bills_a_token_for_each_message_from_25_on(name: str, tokens: int) -> None:
    ours, without = TokenCounter(name), TokenCounter("gemini-2.0-flash")  # which share their vocabulary
    assert ours([ASKED]) - without([ASKED]) == tokens


def test_a_system_message_takes_more_at_cohere() -> None:
    system, asked = message_counter(TokenCounter("command-a-03-2025")).tokens([SystemMessage(ASKED.text), ASKED])
    assert system - asked == 31


def test_an_argument_of_a_call_takes_more_than_its_json_at_deepseek() -> None:
    counter = message_counter(TokenCounter("deepseek-chat"))
    calls = [{"name": "look_up", "args": args, "id": "1"} for args in ({}, {"word": "bread"})]
    none, one = counter.tokens([AIMessage("", tool_calls=[call]) for call in calls])
    shown, empty = counter.tokens([HumanMessage('{"word": "bread"}'), HumanMessage("{}")])
    assert one - none == shown - empty + 5


def test_a_further_tool_takes_22_less_than_its_json_with_nova_1() -> None:
    tool = {"type": "function", "function": {"name": "look_up", "description": "", "parameters": {}}}
    first, second = TokenCounter("nova-lite"), TokenCounter("nova-2-lite")
    more = [
        counter.count([ASKED], tools=[tool] * 2) - counter.count([ASKED], tools=[tool]) for counter in (first, second)
    ]
    assert more[0] == more[1] - 22


def test_a_page_is_counted_as_each_gemini_bills_it() -> None:
    page = {
        "type": "file",
        "base64": base64.b64encode(b"%PDF-1.4\n/Type /Page\n" * 60).decode(),
        "mime_type": "application/pdf",
    }
    pages = [TokenCounter(name)([HumanMessage([page])]) for name in ("gemini-2.5-flash", "gemini-3-flash")]
    assert pages == [60 * 1350 + 1, 60 * 2400 + 1]


# --- Gemini's tools -------------------------------------------------------------------------------


STRING = {"type": "string"}
PLACE = {"type": "object", "description": "A place.", "properties": {"street": STRING}, "required": ["street"]}


def function(properties: Row, *required: str) -> Row:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": "look_up", "description": "Look.", "parameters": parameters}}


def test_gemini_25_sees_a_tool_as_python() -> None:
    tool = function({"word": {**STRING, "description": "Any."}, "times": {"type": "integer"}}, "word")
    assert as_python([tool]) == (
        "def look_up(\n    word: str,\n    times: int | None = None,\n) -> dict:\n"
        '  """Look.\n\n  Args:\n    word: Any.\n    times: \n  """\n'
    )


def test_gemini_25_sees_an_object_among_the_arguments_as_a_dataclass() -> None:
    shown = as_python([function({"places": {"type": "array", "items": PLACE}}, "places")])
    assert shown.startswith(
        "@dataclasses.dataclass(kw_only=True)\nclass LookUpPlaces:\n"
        '  """A place.\n\n  Attributes:\n    street: \n  """\n  street: str\n\n\ndef look_up(\n'
    )
    assert "places: list[LookUpPlaces]," in shown


KINDS_OF_ARGUMENTS: dict[str, tuple[Row, str]] = {
    "an enum": ({**STRING, "enum": ["a", "b"]}, 'Literal["a", "b"]'),
    "one of several": ({"anyOf": [STRING, {"type": "null"}]}, "str | None"),
    "an array": ({"type": "array", "items": {"type": "number"}}, "list[float]"),
    "an object of anything": ({"type": "object"}, "dict"),
    "anything": ({}, "Any"),
}


@pytest.mark.parametrize(("value", "kind"), KINDS_OF_ARGUMENTS.values(), ids=KINDS_OF_ARGUMENTS)
def test_gemini_25_sees_an_arguments_type_as_an_annotation(value: Row, kind: str) -> None:
    assert f"    it: {kind},\n" in as_python([function({"it": value}, "it")])


def test_gemini_3_sees_a_tool_as_gemma_4_does() -> None:
    tool = function({"word": {**STRING, "description": ""}, "sort": {**STRING, "enum": ["a"]}}, "word")
    assert as_declarations([tool]).replace("\x01", "|") == (
        "|declaration:look_up{description:|Look.|,parameters:{type:|OBJECT|,properties:{word:{type:|STRING|},"
        "sort:{type:|STRING|,enum:[|a|]}},required:[|word|]}}|"
    )


@pytest.mark.parametrize("shown", [as_python, as_declarations])
def test_a_tool_that_google_runs_itself_counts_as_json(shown: Any) -> None:
    assert shown([{"google_search": {}}]) == '{"google_search": {}}'


# A city or two integers, as they were billed
BILLED_TOOLS = {
    "gemini-2.5-flash": ({"city": STRING}, "get_weather", "Get the current weather for a city.", 40),
    "gemini-3-flash-preview": ({"city": STRING}, "favorite_color", "Returns a person's favourite colour", 46),
}


@pytest.mark.parametrize("name", BILLED_TOOLS)
def test_with_gemmas_vocabulary_a_tool_costs_what_gemini_billed(name: str) -> None:
    pytest.importorskip("splintr")
    properties, called, description, billed = BILLED_TOOLS[name]
    tool = function(properties, *properties)
    tool["function"] |= {"name": called, "description": description}
    counter = TokenCounter(name)
    assert counter.count([ASKED], tools=[tool]) - counter.count([ASKED]) == pytest.approx(billed, abs=2)
