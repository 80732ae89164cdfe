"""Tools, tool calls and response formats as the texts that OpenAI puts before its models.

Tools are shown to the model as TypeScript, which OpenAI never published. The rules here reproduce its own example
(cookbook, "How to count tokens with tiktoken": 105 tokens on gpt-4, 101 on gpt-4o) and the 14 validated cases of
openai-messages-token-helper without a residual, and 29 recorded requests with tools, tool calls or a response format:
28 exactly, one with a token too many.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.json_schema import dereference_refs

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DEPTH = 32


def as_json(value: object, *, compact: bool = False) -> str:
    """Return the JSON text of anything; of what has none, its own text."""
    separators = (",", ":") if compact else None
    try:
        return json.dumps(value, ensure_ascii=False, default=str, separators=separators)
    except (ValueError, TypeError, RecursionError):
        pass
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # nested too deeply to be shown: nested too deeply to be sent
        return type(value).__name__


def as_text(value: object, *, compact: bool = False) -> str:
    """Return a text as it is, nothing for `None`, and the JSON text of anything else."""
    if value is None:
        return ""
    return value if isinstance(value, str) else as_json(value, compact=compact)


def as_schema(tool: Any) -> dict[str, Any]:
    """Return a tool as its provider's dict: OpenAI's, or what was given where that is no function.

    Law: it raises on nothing. What cannot be converted keeps its text.
    """
    if isinstance(tool, dict) and tool.get("type") == "custom" and "input_schema" not in tool:
        return tool  # OpenAI's, which takes a text; converting would lose its grammar
    try:
        return convert_to_openai_tool(tool)
    except Exception:  # noqa: BLE001  # a tool that a model would refuse still costs something
        return tool if isinstance(tool, dict) else {"name": as_json(tool)}


def as_functions(schemas: Sequence[dict[str, Any]]) -> str:
    """Return the functions alone, as JSON, each reference inlined: more than Gemini 2.0 sees of most tools."""
    return as_json([inlined(schema.get("function", schema)) for schema in schemas])


def inlined(function: dict[str, Any]) -> dict[str, Any]:
    """Return a function with each reference of its parameters as what it refers to."""
    try:
        parameters = dereference_refs(function["parameters"])
    except Exception:  # noqa: BLE001  # no parameters, or references to nothing
        return function
    return {**function, "parameters": {key: value for key, value in parameters.items() if key != "$defs"}}


def as_typescript(schemas: Sequence[dict[str, Any]]) -> str:
    """Return what the model sees of its tools."""
    types = "".join(f"{_function(schema)}\n\n" for schema in schemas)
    return f"# Tools\n\n## functions\n\nnamespace functions {{\n\n{types}}} // namespace functions"


def as_commented(schemas: Sequence[dict[str, Any]]) -> str:
    """Return the same as GPT-3.5 sees it: each line of a description begins a comment. 2 requests, residual 0."""
    return as_typescript([_commented(schema) for schema in schemas])


def _commented(schema: dict[str, Any]) -> dict[str, Any]:
    function = schema.get("function")
    if not isinstance(function, dict) or not isinstance(described := function.get("description"), str):
        return schema
    lines = (line.strip() for line in described.split("\n"))
    return {**schema, "function": {**function, "description": "\n// ".join(lines)}}


def _function(schema: dict[str, Any]) -> str:
    if schema.get("type") == "custom":
        return _custom(schema)
    function = schema.get("function")
    if not isinstance(function, dict):  # a provider's own tool: as JSON, which rounds up
        return as_json(schema)
    parameters = function.get("parameters")
    if not isinstance(parameters, dict):
        parameters = {}
    taken = f"(_: {_object(parameters, parameters, 0)})" if _properties(parameters) else "()"
    return f"{_comment(function)}type {as_text(function.get('name'))} = {taken} => any;"


def _custom(schema: dict[str, Any]) -> str:
    """A tool that takes a text. 1 request without a grammar, residual 0; how one is shown is not known, so as JSON."""
    tool = schema.get("custom", schema)
    tool = tool if isinstance(tool, dict) else schema
    grammar = f"// {as_json(schema)}\n" if tool.get("format") else ""
    return f"{_comment(tool)}{grammar}type {as_text(tool.get('name'))} = (FREEFORM) => any;"


def _comment(schema: dict[str, Any]) -> str:
    """Only the first line is a comment, and indentation is lost."""
    text = schema.get("description")
    if not text:
        return ""
    return "// " + "\n".join(line.strip() for line in as_text(text).split("\n")) + "\n"


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {str(name): value if isinstance(value, dict) else {} for name, value in properties.items()}


def _object(schema: dict[str, Any], root: dict[str, Any], depth: int) -> str:
    """Return an object's type: on one line, unless one of its properties is described."""
    properties = _properties(schema)
    required = schema.get("required")
    needed = required if isinstance(required, (list, tuple)) else ()
    shown = {
        name: f"{name}{'' if name in needed else '?'}: {_type(value, root, depth + 1)}" + _default(value)
        for name, value in properties.items()
    }
    title, described = _titled(schema), "" if depth else _comment(schema)  # a property's stands above its name
    comments = {name: _titled(value) + _comment(value) + _bounds(value) for name, value in properties.items()}
    if not title and not any(comments.values()):
        return described + "{ " + ", ".join(shown.values()) + " }"
    lines = (f"{comments[name]}{text},\n" for name, text in shown.items())
    return described + "{\n" + title + "".join(lines) + "}"


_BOUNDS = (
    "format",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)


def _bounds(schema: dict[str, Any]) -> str:
    """What a value must be, a line each, also where it is one of several."""
    options = [option for key in ("anyOf", "oneOf") for option in schema.get(key) or () if isinstance(option, dict)]
    return "".join(f"// {key}: {as_text(each[key])}\n" for each in (schema, *options) for key in _BOUNDS if key in each)


def _titled(schema: dict[str, Any]) -> str:
    return f"// {schema['title']}\n" if isinstance(schema.get("title"), str) else ""


def _default(schema: dict[str, Any]) -> str:
    """Whether models see a default is not known, so it counts."""
    return f" // default: {as_json(schema['default'])}" if "default" in schema else ""


def _type(schema: dict[str, Any], root: dict[str, Any], depth: int) -> str:
    if depth > MAX_DEPTH:
        return as_json(schema)
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _type(_referred(reference, root), root, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(key), list):
            options = [option for option in schema[key] if isinstance(option, dict)]
            return " | ".join(_type(option, root, depth + 1) for option in options)
    if isinstance(schema.get("enum"), list):
        return " | ".join(as_json(value) for value in schema["enum"])
    if "const" in schema:
        return as_json(schema["const"])
    return _named(schema, root, depth)


def _named(schema: dict[str, Any], root: dict[str, Any], depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_named({**schema, "type": each}, root, depth + 1) for each in kind)
    if kind in ("integer", "number"):
        return "number"
    if kind == "array":
        items = schema.get("items")
        return f"{_type(items if isinstance(items, dict) else {}, root, depth + 1)}[]"
    if _properties(schema):
        return _object(schema, root, depth)
    values = schema.get("additionalProperties")
    if isinstance(values, dict):  # how models see a mapping is not known; this rounds up
        return f"{{ [key: string]: {_type(values, root, depth + 1)} }}"
    return as_text(kind) or "any"


def _referred(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    value: Any = root
    for part in reference.removeprefix("#/").split("/"):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


_FREE_CHOICES = ("auto", "none")
_ANY_CHOICES = (True, "any", "required")


def called_tool(tool_choice: Any) -> Literal["any", "named"] | None:
    """Tell which tool must be called, by what the providers take as tool choice; `None`: none needs to be."""
    kind, is_named = tool_choice, tool_choice not in _ANY_CHOICES
    if isinstance(tool_choice, dict):
        # Bedrock's, {"tool": {"name": ...}}, has no type; OpenAI's has the name in "function", Anthropic's beside.
        kind = tool_choice.get("type") or next(iter(tool_choice), None)
        is_named = any("name" in each for each in (tool_choice, *_inner(tool_choice)))
    if not kind or kind in _FREE_CHOICES:
        return None
    return "named" if is_named else "any"


def _inner(value: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in value.values() if isinstance(each, dict)]


_UNSHOWN = frozenset({"required", "additionalProperties"})


def as_format(response_format: Any) -> str | None:
    """Return what the model sees of a response format; `None` if it sees nothing of it.

    Takes a pydantic class or what `response_format` takes at OpenAI: a JSON schema, or that inside
    `{"type": "json_schema", "json_schema": ...}`. The schema is shown as compact JSON, without the names in `_UNSHOWN`.
    """
    inner, schema = _format_in(response_format)
    if schema is None:
        return None
    name = as_text(inner.get("name") or inner.get("title")) or "response"
    described = f"// {as_text(inner['description'])}\n" if inner.get("description") else ""
    shown = as_json(_shown(schema, 0), compact=True)
    return f"# Response Formats\n\n## {name}\n\n{described}{shown}"


def as_indented(response_format: Any) -> str | None:
    """Return the schema of a response format as indented JSON: what Claude sees of it."""
    _, schema = _format_in(response_format)
    try:
        return None if schema is None else json.dumps(schema, ensure_ascii=False, default=str, indent=2)
    except (ValueError, TypeError, RecursionError):
        return as_json(schema)


def as_format_tool(response_format: Any) -> str | None:
    """Return a response format as the JSON of a tool that takes it as its arguments."""
    inner, schema = _format_in(response_format)
    if schema is None:
        return None
    function = {"name": inner.get("name"), "description": inner.get("description") or "", "parameters": schema}
    return as_json([{"type": "function", "function": function}])


def _format_in(response_format: Any) -> tuple[dict[str, Any], Any]:
    """Return what names a response format, and its schema; `None` if it has none."""
    given = response_format if isinstance(response_format, dict) else as_schema(response_format).get("function", {})
    if given.get("type") in ("json_object", "text") and not isinstance(given.get("json_schema"), dict):
        return given, None
    inner = given.get("json_schema", given)
    inner = inner if isinstance(inner, dict) else given
    return inner, inner.get("schema", inner.get("parameters", inner))


def _shown(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, list):
        return [_shown(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    shown = {key: _shown(item, depth + 1) for key, item in value.items() if key not in _UNSHOWN}
    if isinstance(value.get("properties"), dict):  # whose keys are names
        named = value["properties"].items()
        shown["properties"] = {name: _shown(item, depth + 1) for name, item in named}
    return shown


def as_parallel(calls: Sequence[tuple[str, str]]) -> str:
    """Return several calls, names and arguments, as the one call they are sent as."""
    uses = ",".join(f'{{"recipient_name":"functions.{name}","parameters":{arguments}}}' for name, arguments in calls)
    return f'{{"tool_uses":[{uses}]}}'


def as_parallel_result(text: str) -> str:
    """Return a result of one of several calls as it is sent: JSON as Python writes it, a text as a JSON string.

    So pretty-printed JSON costs less than its text, and a text with many lines more.
    """
    try:
        return json.dumps(json.loads(text))
    except (ValueError, RecursionError):
        return json.dumps(text)
