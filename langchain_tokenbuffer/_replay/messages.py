"""Messages from plain data: OpenAI's and Anthropic's dicts, and the dumps LangChain makes.

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

from langchain_tokenbuffer._messages.blocks import block_type

if TYPE_CHECKING:
    from collections.abc import Sequence

# Class in a constructor dict -> type in the other dumps; a chunk is what it is a chunk of.
_CLASSES = {f"{name}Message": name.lower() for name in ("Human", "AI", "System", "Tool", "Function", "Chat")}
_CLASSES |= {f"{name}Chunk": kind for name, kind in _CLASSES.items()}


def is_message(value: object) -> bool:
    """Tell whether this is the dict of a message, in one of the shapes known here."""
    if not isinstance(value, dict):
        return isinstance(value, BaseMessage)
    if "role" in value:
        return bool({"content", "tool_calls", "function_call"} & value.keys())
    return _dumped(value) is not None


def messages_of(raw: Any) -> list[BaseMessage]:
    """Return the messages one dict stands for: Anthropic's hold several tool results in one."""
    if isinstance(raw, BaseMessage):
        return [raw]
    if (dumped := _dumped(raw)) is None:
        return _of_role(raw)
    kind, data = dumped
    return messages_from_dict([{"type": kind, "data": {**data, "content": _content(data)}}])


def _content(raw: dict[str, Any]) -> Any:
    content = raw.get("content")
    return "" if content is None else content


def _dumped(raw: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return type and fields of a message that LangChain dumped; `None` if it did not.

    Three shapes: `dumpd` and LangSmith's runs (constructor dicts), `messages_to_dict` (type and data), `model_dump` and
    states as JSON (type beside the fields).
    """
    if "role" in raw and raw.get("type") not in ("chat", "ChatMessageChunk"):
        return None
    kind, data = str(raw.get("type")), raw
    if kind == "constructor":
        path, data = raw.get("id"), raw.get("kwargs", {})
        kind = _CLASSES.get(str(path[-1]), "") if isinstance(path, list) and path else ""
    elif isinstance(raw.get("data"), dict):
        data = raw["data"]
    kind = _CLASSES.get(kind, kind)  # a chunk's type is the name of its class
    if kind not in _CLASSES.values() or not isinstance(data, dict):
        return None
    return (kind, {**data, "type": kind}) if {"content", "tool_calls"} & data.keys() else None


def _of_role(raw: dict[str, Any]) -> list[BaseMessage]:
    blocks = raw["content"] if isinstance(raw.get("content"), list) else []
    results = [block for block in blocks if block_type(block).role == "result"]
    if not results or raw["role"] in ("assistant", "ai"):  # what a provider's own tools found stays
        return _plain(raw, blocks)
    others = [block for block in blocks if block_type(block).role != "result"]
    messages = [ToolMessage(_content(each), tool_call_id=each.get("tool_use_id") or "") for each in results]
    return [*messages, *(_plain({**raw, "content": others}, others) if others else [])]


def _plain(raw: dict[str, Any], blocks: list[Any]) -> list[BaseMessage]:
    """Return the message of a dict that holds no results, with the calls among its blocks."""
    raw = {**raw, "content": _content(raw)}
    calls, broken = _calls(raw.pop("tool_calls", None) or [])
    if raw["role"] in ("assistant", "ai"):
        raw["tool_calls"] = calls or _calls_in(blocks)
    elif raw["role"] == "tool":
        raw["tool_call_id"] = raw.get("tool_call_id") or ""
    messages = convert_to_messages([raw])
    for message in messages:
        if broken and isinstance(message, AIMessage):
            message.invalid_tool_calls = broken
    return messages


def _calls_in(blocks: Sequence[Any]) -> list[dict[str, Any]]:
    found = [block for block in blocks if isinstance(block, dict) and block.get("type") == "tool_use"]  # Anthropic's
    return [{"name": each.get("name"), "args": each.get("input") or {}, "id": each.get("id")} for each in found]


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
            text = None if args is None else str(args)
            broken.append(InvalidToolCall(type="invalid_tool_call", name=name, args=text, id=id_, error=None))
    return calls, broken
