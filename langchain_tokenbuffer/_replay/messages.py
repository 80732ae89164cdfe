"""Messages from plain data: dicts as the APIs write them, and the dumps LangChain makes.

Nothing is loaded or unpickled: a dump names a class, and the name is looked up in a short table. What an API writes is
read by `_messages/api_dicts.py`, as everywhere.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from langchain_core.messages import BaseMessage, messages_from_dict

from langchain_tokenbuffer._messages.api_dicts import ApiReader, is_item

# Class in a constructor dict -> type in the other dumps; a chunk is what it is a chunk of.
_CLASSES = {f"{name}Message": name.lower() for name in ("Human", "AI", "System", "Tool", "Function", "Chat")}
_CLASSES |= {f"{name}Chunk": kind for name, kind in _CLASSES.items()}
_BODIES = frozenset({"content", "tool_calls", "function_call", "thinking", "images", "tool_plan"})


def is_message(value: object) -> TypeGuard[BaseMessage | dict[str, Any]]:
    """Tell whether this is a message, or the dict of one: of an API, or dumped by LangChain."""
    if not isinstance(value, dict):
        return isinstance(value, BaseMessage)
    if isinstance(value.get("parts"), list) or is_item(value):
        return True
    return not _BODIES.isdisjoint(value) if "role" in value else _dumped(value) is not None


class MessageReader(ApiReader):
    """Reads the messages of a conversation in order, also what LangChain dumped."""

    def read(self, value: object) -> None:
        """Read one message, or one item."""
        dumped = _dumped(value) if isinstance(value, dict) else None
        if dumped is None:
            super().read(value)
            return
        kind, data = dumped
        content = data.get("content")
        fields = {**data, "content": "" if content is None else content}
        super().read(*messages_from_dict([{"type": kind, "data": fields}]))


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
