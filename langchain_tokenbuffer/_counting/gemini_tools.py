"""Gemini's tools as the texts that its models see, which Google did not publish.

Gemini 3 sees them as the chat template of Gemma 4 writes them, Gemini 2.5 as Python. By recorded bills, with Gemma 4's
vocabulary: 14 lists of tools of Gemini 3, 13 within 2 tokens, 1 at Vertex 14 high; 19 of Gemini 2.5, 15 exact, 2 within
3 tokens, one 30 high, and one that refers to itself 340 low.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_tokenbuffer._counting.tools import MAX_DEPTH, as_json, as_text, inlined

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARK = "\x01"  # stands for a special token: a character that texts do not hold, and a token of any vocabulary
_EMPTY: tuple[object, ...] = ("", None, [], {})


def as_declarations(schemas: Sequence[dict[str, Any]]) -> str:
    """Return the functions in the words of Gemma 4's chat template: what Gemini 3 sees."""
    return "".join(map(_declaration, schemas))


def as_python(schemas: Sequence[dict[str, Any]]) -> str:
    """Return the functions as Python, objects among their arguments as dataclasses: what Gemini 2.5 sees."""
    return "".join(map(_definition, schemas))


def _function_in(schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return a tool's function; `None` for what the provider runs itself."""
    function = schema.get("function", schema)
    return inlined(function) if isinstance(function, dict) and "name" in function else None


def _dict_in(holder: dict[str, Any], key: str) -> dict[str, Any]:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


# --- Gemini 3 -------------------------------------------------------------------------------------


def _declaration(schema: dict[str, Any]) -> str:
    function = _function_in(schema)
    if function is None:
        return as_json(schema)
    parameters = {"type": "object", **_dict_in(function, "parameters")}
    declared = _declared({"description": function.get("description"), "parameters": parameters}, 0)
    return f"{_MARK}declaration:{as_text(function['name'])}{declared}{_MARK}"


def _declared(value: Any, depth: int, key: str = "") -> str:
    """Return a value of a declaration; what is empty is left out."""
    if isinstance(value, str):
        return f"{_MARK}{value.upper() if key == 'type' else value}{_MARK}"
    if depth > MAX_DEPTH or not isinstance(value, (dict, list)):
        return as_json(value)
    if isinstance(value, list):
        return f"[{','.join(_declared(item, depth + 1, key) for item in value)}]"
    shown = {str(name): item for name, item in value.items() if name != "additionalProperties" and item not in _EMPTY}
    return f"{{{','.join(f'{name}:{_declared(item, depth + 1, name)}' for name, item in shown.items())}}}"


# --- Gemini 2.5 -----------------------------------------------------------------------------------


class _Field(NamedTuple):
    """An argument, or a field of a dataclass."""

    name: str
    kind: str  # its annotation, and its default
    description: str


def _definition(schema: dict[str, Any]) -> str:
    function = _function_in(schema)
    if function is None:
        return as_json(schema)
    name, classes = as_text(function["name"]), list[str]()
    fields = _fields(_dict_in(function, "parameters"), _camel(name), classes, 0)
    arguments = "".join(f"    {field.name}: {field.kind},\n" for field in fields)
    return "".join(classes) + f"def {name}(\n{arguments}) -> dict:\n{_docstring(function, 'Args', fields)}"


def _fields(schema: dict[str, Any], owner: str, classes: list[str], depth: int) -> list[_Field]:
    required = schema.get("required")
    needed = required if isinstance(required, (list, tuple)) else ()
    return [
        _Field(
            str(name),
            _kind(value, owner + _camel(str(name)), classes, depth + 1) + ("" if name in needed else " | None = None"),
            as_text(value.get("description")),
        )
        for name, value in _dict_in(schema, "properties").items()
        if isinstance(value, dict)
    ]


def _docstring(schema: dict[str, Any], title: str, fields: Sequence[_Field]) -> str:
    lines = "".join(f"    {field.name}: {field.description}\n" for field in fields)
    return f'  """{as_text(schema.get("description"))}\n\n  {title}:\n{lines}  """\n'


_KINDS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", "object": "dict"}


def _kind(schema: dict[str, Any], name: str, classes: list[str], depth: int) -> str:
    """Return an annotation; the dataclasses that it needs are added to `classes`."""
    if depth > MAX_DEPTH:
        return as_json(schema)
    if isinstance(schema.get("enum"), list):
        return f"Literal[{', '.join(map(as_json, schema['enum']))}]"
    if isinstance(options := schema.get("anyOf"), list):
        return " | ".join(_kind(each, name, classes, depth + 1) for each in options if isinstance(each, dict))
    if schema.get("type") == "array":
        return f"list[{_kind(_dict_in(schema, 'items'), name, classes, depth + 1)}]"
    if not _dict_in(schema, "properties"):
        return _KINDS.get(as_text(schema.get("type")), "Any")
    fields = _fields(schema, name, classes, depth)
    lines = "".join(f"  {field.name}: {field.kind}\n" for field in fields)
    documented = _docstring(schema, "Attributes", fields)
    classes.append(f"@dataclasses.dataclass(kw_only=True)\nclass {name}:\n{documented}{lines}\n\n")
    return name


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.replace("-", "_").split("_"))
