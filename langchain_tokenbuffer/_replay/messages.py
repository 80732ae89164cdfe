"""Messages out of plain data: OpenAI's and Anthropic's dicts, and the dumps LangChain makes.

Nothing is loaded or unpickled: a dump names a class, and the name is looked up in a short table.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    InvalidToolCall,
    ToolMessage,
    convert_to_messages,
    messages_from_dict,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLASSES = {
    # class in a constructor dict -> type in the other dumps; a chunk is what it is a chunk of
    "HumanMessage": "human",
    "AIMessage": "ai",
    "SystemMessage": "system",
    "ToolMessage": "tool",
    "FunctionMessage": "function",
    "ChatMessage": "chat",
}
_CLASSES |= {f"{name}Chunk": kind for name, kind in _CLASSES.items()}


def is_message(value: object) -> bool:
    """Tell whether this is the dict of a message, in one of the shapes known here."""
    if isinstance(value, BaseMessage):
        return True
    if not isinstance(value, dict):
        return False
    if "role" in value:
        return bool({"content", "tool_calls", "function_call"} & value.keys())
    return _dumped(value) is not None


def messages_of(raw: Any) -> list[BaseMessage]:
    """Return the messages one dict stands for: Anthropic's hold several tool results in one.

    Raises:
        ValueError: If the dict says something that no message can say (pydantic's own included).
    """
    if isinstance(raw, BaseMessage):
        return [raw]
    dumped = _dumped(raw)
    if dumped is None:
        return _of_role(raw)
    kind, data = dumped
    content = data.get("content")
    return messages_from_dict(
        [{"type": kind, "data": {**data, "content": "" if content is None else content}}]
    )


def _dumped(raw: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return type and fields of a message that LangChain dumped; `None` if it did not.

    Three shapes: `dumpd` and LangSmith's runs (constructor dicts), `messages_to_dict` (type and
    data), `model_dump` and states as JSON (type beside the fields).
    """
    if "role" in raw and raw.get("type") not in ("chat", "ChatMessageChunk"):
        return None
    kind, data = str(raw.get("type")), raw
    if kind == "constructor":
        id_, data = raw.get("id"), raw.get("kwargs", {})
        kind = _CLASSES.get(str(id_[-1]), "") if isinstance(id_, list) and id_ else ""
    elif isinstance(raw.get("data"), dict):
        data = raw["data"]
    kind = _CLASSES.get(kind, kind)  # a chunk's type is the name of its class
    if kind not in _CLASSES.values() or not isinstance(data, dict):
        return None
    known = "content" in data or "tool_calls" in data
    return (kind, {**data, "type": kind}) if known else None


def _of_role(raw: dict[str, Any]) -> list[BaseMessage]:
    content = raw.get("content")
    blocks = content if isinstance(content, list) else []
    results = [each for each in blocks if _is_block(each, "tool_result")]
    if results:
        others = [each for each in blocks if not _is_block(each, "tool_result")]
        said = _of_role({**raw, "content": others}) if others else []
        return [*map(_result, results), *said]
    raw = {**raw, "content": "" if content is None else content}
    calls, broken = _calls(raw.pop("tool_calls", None) or [])
    calls += [
        {"name": use.get("name"), "args": use.get("input") or {}, "id": use.get("id")}
        for use in blocks
        if not calls and _is_block(use, "tool_use")
    ]
    if raw["role"] in ("assistant", "ai"):
        raw["tool_calls"] = calls
    elif raw["role"] == "tool":
        raw["tool_call_id"] = raw.get("tool_call_id") or ""
    messages = convert_to_messages([raw])
    for message in messages:
        if broken and isinstance(message, AIMessage):
            message.invalid_tool_calls = broken
    return messages


def _is_block(value: object, kind: str) -> bool:
    return isinstance(value, dict) and value.get("type") == kind


def _result(block: dict[str, Any]) -> BaseMessage:
    content = block.get("content")
    return ToolMessage(
        content="" if content is None else content, tool_call_id=block.get("tool_use_id") or ""
    )


def _calls(raw: Sequence[Any]) -> tuple[list[dict[str, Any]], list[InvalidToolCall]]:
    """Return tool calls, and apart from them those whose arguments are no JSON object.

    Models write such arguments; a reader that stumbles over them could not read real logs.
    """
    calls: list[dict[str, Any]] = []
    broken: list[InvalidToolCall] = []
    for call in raw:
        function = call.get("function")
        if not isinstance(function, dict):
            calls.append(call)  # LangChain's own form
            continue
        name, args, id_ = function.get("name"), function.get("arguments"), call.get("id")
        with suppress(ValueError):
            args = json.loads(args) if isinstance(args, str) else args
        if isinstance(args, dict):
            calls.append({"name": name, "args": args, "id": id_, "type": "tool_call"})
        else:
            said = None if args is None else str(args)
            broken.append(
                InvalidToolCall(type="invalid_tool_call", name=name, args=said, id=id_, error=None)
            )
    return calls, broken
