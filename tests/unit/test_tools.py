"""Tools as the TypeScript that OpenAI's models see."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_tokenbuffer._counting.tools import as_typescript


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
