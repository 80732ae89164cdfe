"""Tools as the TypeScript that OpenAI's models see."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_tokenbuffer._counting.tools import (
    as_commented,
    as_parallel_result,
    as_schema,
    as_typescript,
    called_tool,
)


def typescript_of(schema: Any, **root: Any) -> str:
    """What a model sees as the type of one required parameter."""
    parameters = {"properties": {"it": schema}, "required": ["it"], **root}
    text = as_typescript([{"function": {"name": "f", "parameters": parameters}}])
    return text.partition("{ it: ")[2].rpartition(" }) => any;")[0]


DEFINED = {"City": {"type": "string"}, "Self": {"$ref": "#/$defs/Self"}}


@pytest.mark.parametrize(
    ("schema", "want"),
    [
        pytest.param({"type": "integer"}, "number", id="integer"),
        pytest.param({"enum": ["a", 1]}, '"a" | 1', id="enum"),
        pytest.param({"const": "a"}, '"a"', id="const"),
        pytest.param({"type": ["string", "null"]}, "string | null", id="several types"),
        pytest.param({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string | null", id="any"),
        pytest.param({"type": "array", "items": {"type": "number"}}, "number[]", id="array"),
        pytest.param({"type": "array"}, "any[]", id="array of anything"),
        pytest.param({"additionalProperties": {"type": "number"}}, "{ [key: string]: number }", id="mapping"),
        pytest.param({"$ref": "#/$defs/City"}, "string", id="reference"),
        pytest.param({"$ref": "#/$defs/Nowhere"}, "any", id="reference to nothing"),
        pytest.param({"$ref": "#/$defs/City/type"}, "any", id="reference to no schema"),
        pytest.param({"$ref": "#/$defs/Self"}, '{"$ref": "#/$defs/Self"}', id="endless reference"),
        pytest.param({"type": "string", "default": "a"}, 'string // default: "a"', id="default"),
        pytest.param("no schema", "any", id="what is no schema"),
    ],
)
def test_a_parameters_type_is_shown_as_openai_shows_it(schema: Any, want: str) -> None:
    assert typescript_of(schema, **{"$defs": DEFINED}) == want


def properties_of(**schema: Any) -> str:
    """What a model sees of a tool with one required parameter that is described."""
    parameters = {"properties": {"it": {"type": "number", **schema}}, "required": ["it"]}
    text = as_typescript([{"function": {"name": "f", "parameters": parameters}}])
    return text.partition("(_: ")[2].rpartition(") => any;")[0]


DESCRIBED = {
    "title": ({"title": "It"}, "// It\n"),
    "title and description": ({"title": "It", "description": "The it."}, "// It\n// The it.\n"),
    "bounds": ({"exclusiveMaximum": 9, "minimum": -1}, "// minimum: -1\n// exclusiveMaximum: 9\n"),
    "format of one of several": ({"anyOf": [{"format": "date"}, {"type": "null"}]}, "// format: date\n"),
}


@pytest.mark.parametrize(("schema", "want"), DESCRIBED.values(), ids=DESCRIBED)
def test_what_is_said_of_a_parameter_stands_above_it(schema: Any, want: str) -> None:
    assert properties_of(**schema).startswith(f"{{\n{want}it: ")


def test_a_default_of_null_is_shown() -> None:
    assert typescript_of({"type": "string", "default": None}) == "string // default: null"


def test_the_description_of_all_parameters_stands_above_them() -> None:
    parameters = {"properties": {"it": {"type": "number"}}, "description": "Typed.", "required": ["it"]}
    text = as_typescript([{"function": {"name": "f", "parameters": parameters}}])
    assert "(_: // Typed.\n{ it: number })" in text


def test_a_described_object_is_described_once() -> None:
    inner = {"type": "object", "properties": {"a": {"type": "string"}}, "description": "Inner."}
    parameters = {"properties": {"it": inner}, "required": ["it"]}
    assert as_typescript([{"function": {"name": "f", "parameters": parameters}}]).count("Inner.") == 1


def test_a_tool_that_takes_a_text_is_shown_with_its_grammar() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: A"}
    shown = as_typescript([as_schema({"type": "custom", "name": "run", "description": "Runs.", "format": grammar})])
    assert "start: A" in shown
    assert "type run = (FREEFORM) => any;" in shown


CHOICES: dict[str, tuple[Any, str | None]] = {
    "nothing": (None, None),
    "auto": ("auto", None),
    "Anthropic's auto": ({"type": "auto"}, None),
    "Bedrock's auto": ({"auto": {}}, None),
    "none": ({"type": "none"}, None),
    "required": ("required", "any"),
    "true": (True, "any"),
    "Anthropic's any": ({"type": "any"}, "any"),
    "Bedrock's any": ({"any": {}}, "any"),
    "a name": ("look", "named"),
    "Anthropic's name": ({"type": "tool", "name": "look"}, "named"),
    "Bedrock's name": ({"tool": {"name": "look"}}, "named"),
    "OpenAI's name": ({"type": "function", "function": {"name": "look"}}, "named"),
    "OpenAI's name in Responses": ({"type": "function", "name": "look"}, "named"),
}


@pytest.mark.parametrize(("choice", "called"), CHOICES.values(), ids=CHOICES)
def test_a_tool_choice_is_read_in_any_providers_shape(choice: Any, called: str | None) -> None:
    assert called_tool(choice) == called


def test_each_line_of_a_description_begins_a_comment_for_gpt_3_5() -> None:
    text = as_commented([{"function": {"name": "f", "description": "Adds.\n\n    Args:\n        a: one"}}])
    assert "// Adds.\n//\n// Args:\n// a: one\ntype f = () => any;" in text


def test_a_tool_that_is_no_function_is_no_comment_for_gpt_3_5() -> None:
    tool = {"type": "web_search"}
    assert as_commented([tool]) == as_typescript([tool])


@pytest.mark.parametrize(
    ("result", "sent"),
    [
        pytest.param("one\ntwo", '"one\\ntwo"', id="text"),
        pytest.param('{\n  "a": 1\n}', '{"a": 1}', id="JSON with line breaks"),
        pytest.param("[" * 100_000, '"' + "[" * 100_000 + '"', id="JSON that is nested too deeply"),
    ],
)
def test_a_result_of_parallel_calls_is_sent_as_json(result: str, sent: str) -> None:
    assert as_parallel_result(result) == sent
