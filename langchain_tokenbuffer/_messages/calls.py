"""The calls a message makes and the results it carries, wherever its dialect puts them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_tokenbuffer._messages.beside import blocks_beside
from langchain_tokenbuffer._messages.blocks import Block, read_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage


class Call(NamedTuple):
    """A call that waits for a result in a later message."""

    id: str | None
    name: str
    answer: str | None  # the type of block that answers it; `None` is a plain tool message


class Pairing(NamedTuple):
    """What a message hangs on others by: what is paired inside the message is left out."""

    calls: tuple[Call, ...]
    server_calls: tuple[str, ...]  # of tools the provider runs: a later message may hold their results
    results: tuple[str, ...]


def pairing_of(message: BaseMessage) -> Pairing:
    """Return the calls and results of an AI message."""
    blocks = list(blocks_of(message))
    listed = [_listed_call(call) for call in _listed(message)]
    # Without an id a call in the content is one of those that are listed.
    calls = [_call_in(block) for block in blocks if _role(block) == "call" and (block.id or not listed)]
    calls += _not_among(listed, calls)
    if not calls and isinstance(function := _extra(message).get("function_call"), dict):
        calls = [Call(None, _text(function.get("name")) or "", None)]
    return _paired_inside(calls, _ids(blocks, "server_call"), _ids(blocks, "result"))


def _ids(blocks: list[Block], role: str) -> list[str]:
    return [id_ for block in blocks if _role(block) == role and (id_ := block.id)]


def _call_in(block: Block) -> Call:
    return Call(block.id, _text(block.body.get("name")) or "", block.row.answer)


def _not_among(listed: list[Call], calls: list[Call]) -> list[Call]:
    """Return the listed calls that the content does not hold, equal ids as often as they are listed."""
    held = Counter(call.id for call in calls)
    left = []
    for call in listed:
        if held[call.id]:
            held[call.id] -= 1
        else:
            left.append(call)
    return left


def _paired_inside(calls: list[Call], server_calls: list[str], results: list[str]) -> Pairing:
    open_results = []
    for result in results:
        answered = next((call for call in calls if call.id == result), None)
        if answered is not None:
            calls.remove(answered)
        elif result in server_calls:
            server_calls.remove(result)
        else:
            open_results.append(result)
    return Pairing(tuple(calls), tuple(server_calls), tuple(open_results))


def results_in(message: BaseMessage) -> list[str | None]:
    """Return the ids that the blocks of a message answer."""
    return [block.id for block in blocks_of(message) if block.row.role == "result"]


def blocks_of(message: BaseMessage) -> Iterator[Block]:
    """Yield the blocks of a message, those beside its content included."""
    content = message.content
    if isinstance(content, list):
        yield from map(read_block, content)
    if extra := _extra(message):
        yield from map(read_block, blocks_beside(extra))


def _role(block: Block) -> str:
    """Return the role of a block. OpenAI's tool search and Bedrock's calls run on either side: the block says where."""
    role = block.row.role
    if role == "server_call" and block.body.get("execution") == "client":
        return "call"
    if role == "call" and block.body.get("type") == "server_tool_use":
        return "server_call"
    return role


def listed_ids(message: BaseMessage) -> list[object]:
    """Return the ids of the calls that a message lists beside its content; an old function call has none."""
    ids: list[object] = [call.get("id") for call in _listed(message)]
    return ids or [None] * bool(_extra(message).get("function_call"))


def _listed(message: BaseMessage) -> list[dict[str, Any]]:
    fields = message.__dict__
    calls = [*_items(fields.get("tool_calls")), *_items(fields.get("invalid_tool_calls"))]
    calls = calls or _items(_extra(message).get("tool_calls"))
    return [call if isinstance(call, dict) else {} for call in calls]


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _listed_call(call: dict[str, Any]) -> Call:
    function = call.get("function")
    name = call.get("name") or (function.get("name") if isinstance(function, dict) else None)
    return Call(_text(call.get("id")), _text(name) or "", None)


def _text(value: object) -> str | None:
    """Return a name or an id; what is no text is none."""
    return value if isinstance(value, str) else None


def _extra(message: BaseMessage) -> dict[str, Any]:
    extra = message.__dict__.get("additional_kwargs")
    return extra if isinstance(extra, dict) else {}
