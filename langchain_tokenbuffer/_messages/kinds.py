"""What a message is to order and window, which calls it makes and which it answers.

Imports no LangChain: kinds come from `.type`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from langchain_tokenbuffer._messages.calls import blocks_of, pairing_of, results_in

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


class MessageFacts(NamedTuple):
    """What order and window need to know of a message, in any dialect."""

    kind: Kind  # a human message that carries only results is a `"tool"`; beside a text they leave it `"human"`
    # Ids of the calls that wait for a result in a later message, in order of appearance. A call that stands in the
    # content and in the list of tool calls is one; what the provider runs itself waits for nothing.
    calls: tuple[str | None, ...] = ()
    results: tuple[str | None, ...] = ()  # ids of the calls it answers; old function results have none
    # Ids of calls that the provider runs itself and whose results are not in the message: an AI message behind it may
    # hold them among its `results`, and cannot stay without this one.
    server_calls: tuple[str, ...] = ()
    is_notification: bool = False  # a human message that no user wrote
    has_compaction: bool = False  # whether a block stands for all that came before it


_PLAIN: dict[Kind, MessageFacts] = {kind: MessageFacts(kind) for kind in ("system", "human", "ai", "tool", "other")}


def facts_of(message: BaseMessage) -> MessageFacts:
    """Return the facts of a message. O(blocks and calls), not of their texts."""
    kind = _kind_by_type(message)
    if kind == "tool":
        return MessageFacts("tool", results=_answered(message))
    if kind not in ("human", "ai"):
        return _PLAIN[kind]
    fields = message.__dict__
    if not fields.get("additional_kwargs") and isinstance(fields.get("content"), str):  # hot: most are no more
        calls = [*(fields.get("tool_calls") or ()), *(fields.get("invalid_tool_calls") or ())]
        return MessageFacts(kind, tuple([call.get("id") for call in calls])) if calls else _PLAIN[kind]
    return _human_facts(message) if kind == "human" else _ai_facts(message)


def _ai_facts(message: BaseMessage) -> MessageFacts:
    calls, server_calls, results = pairing_of(message)
    has_compaction = any(block.row.role == "compaction" for block in blocks_of(message))
    return MessageFacts("ai", tuple(call.id for call in calls), results, server_calls, has_compaction=has_compaction)


def kind_of(message: BaseMessage) -> Kind:
    """Return what a message is to the window; a chunk is what it is a chunk of.

    A chat message with a role of its own is what its role says. `"other"` belongs to whatever stands before it.
    """
    kind = _kind_by_type(message)
    return "tool" if kind == "human" and _has_only_results(message) else kind


def call_ids(message: BaseMessage) -> list[str | None]:
    """Return the ids of the calls of an AI message that wait for a result, in order."""
    return list(facts_of(message).calls)


def result_id(message: BaseMessage) -> str | None:
    """Return the id of the call a result answers; an old-style function result has none."""
    return next(iter(facts_of(message).results), None)


def _kind_by_type(message: BaseMessage) -> Kind:
    kind = _KINDS.get(message.type)
    if kind is not None:
        return kind
    name = message.type.removesuffix("MessageChunk").lower()
    if name == "chat":
        name = str(getattr(message, "role", "")).lower()
    return _KINDS.get(name, "other")


def _answered(message: BaseMessage) -> tuple[str | None, ...]:
    """Return the ids a tool message answers: several where it is made of Anthropic's results alone."""
    content = message.content
    if isinstance(content, list) and content:
        blocks = list(blocks_of(message))
        if all(block.kind == "tool_result" for block in blocks):
            return tuple(block.id for block in blocks)
    return (getattr(message, "tool_call_id", None),)


def _human_facts(message: BaseMessage) -> MessageFacts:
    kind: Kind = "tool" if _has_only_results(message) else "human"
    results = results_in(message) if isinstance(message.content, list) else ()
    return MessageFacts(kind, results=tuple(results), is_notification=_is_marked(message.additional_kwargs or {}))


def _is_marked(extra: dict[str, Any]) -> bool:
    """Tell whether a harness says that it wrote a message.

    By langchain-core's mark, which langchain's summaries carry too, or by that of deepagents' finished tasks.
    """
    return isinstance(extra.get("lc_source"), str) or isinstance(extra.get("deepagents_notification"), dict)


def _has_only_results(message: BaseMessage) -> bool:
    """Tell whether a message is made of results, marks for the prompt cache aside."""
    content = message.content
    if not isinstance(content, list):
        return False
    roles = [role for block in blocks_of(message) if (role := block.row.role) != "mark"]
    return bool(roles) and all(role == "result" for role in roles)
