"""What a message is to order and window, and which calls it makes or answers.

Imports no LangChain: kinds come from `.type`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

Kind: TypeAlias = Literal["system", "human", "ai", "tool", "other"]

_KINDS: dict[str, Kind] = {
    "system": "system",
    "developer": "system",
    "human": "human",
    "user": "human",
    "ai": "ai",
    "assistant": "ai",
    "tool": "tool",
    "function": "tool",
}


def kind_of(message: BaseMessage) -> Kind:
    """Return what a message is to the window; a chunk is what it is a chunk of.

    A chat message with a role of its own is what its role says. `"other"` belongs to whatever stands before it.
    """
    kind = _KINDS.get(message.type)
    if kind is not None:
        return kind
    name = message.type.removesuffix("MessageChunk").lower()
    if name == "chat":
        name = str(getattr(message, "role", "")).lower()
    return _KINDS.get(name, "other")


def call_ids(message: BaseMessage) -> list[str | None]:
    """Return the ids of the tool calls an AI message makes, in order; invalid calls count too.

    An old-style function call has no id and counts as `None`.
    """
    calls = [*(getattr(message, "tool_calls", None) or ())]
    calls += getattr(message, "invalid_tool_calls", None) or ()
    if not calls:
        extra = message.additional_kwargs
        calls = [*(extra.get("tool_calls") or ())]
        if not calls and extra.get("function_call"):
            return [None]
    return [call.get("id") if isinstance(call, dict) else None for call in calls]


def result_id(message: BaseMessage) -> str | None:
    """Return the id of the call a result answers; an old-style function result has none."""
    return getattr(message, "tool_call_id", None)
