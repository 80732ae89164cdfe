"""What mending makes: stand-ins for results that never came, and messages of which something is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._messages.blocks import block_type, read_block
from langchain_tokenbuffer._messages.calls import pairing_of
from langchain_tokenbuffer._messages.kinds import facts_of
from langchain_tokenbuffer._messages.slots import Piece, StandIn
from langchain_tokenbuffer._messages.stand_ins import stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage

NO_TEXT = "[no text]"


def mended(message: BaseMessage, slot: StandIn | Piece) -> BaseMessage | None:
    """Return what stands at a place, made of the message it is about; `None` if nothing can answer the call."""
    if isinstance(slot, StandIn):
        return None if _is_nameless(message, slot.call) else stand_in(message, slot.call)
    piece = message
    if slot.results is not None:
        piece = _with_results(piece, slot.results, rest=slot.rest)
    for _ in range(slot.nameless):
        piece = _without_nameless_call(piece)
    return piece


def _is_nameless(message: BaseMessage, call: int) -> bool:
    """Tell whether a call has no id, and is not the one of a message that calls a function as of old."""
    if pairing_of(message).calls[call].id is not None:
        return False
    is_listed = getattr(message, "tool_calls", None) or getattr(message, "invalid_tool_calls", None)
    return bool(is_listed or not message.additional_kwargs.get("function_call"))


def _with_results(message: BaseMessage, results: Sequence[int], *, rest: bool) -> BaseMessage:
    """Return a copy with these of its results, and with everything else or without."""
    blocks = list(_chosen_blocks(message, results, rest=rest))
    if not blocks and rest:
        blocks = [{"type": "text", "text": NO_TEXT}]
    update: dict[str, Any] = {"content": blocks}
    if not rest and message.id is not None:  # the message itself is elsewhere, under its id
        update["id"] = f"{message.id}-results-{'-'.join(map(str, results))}"
    return message.model_copy(update=update)


def _chosen_blocks(message: BaseMessage, results: Sequence[int], *, rest: bool) -> Iterator[str | dict[str, Any]]:
    """Yield the blocks that are these results, and all that are none or none of them."""
    waiting = [(each, result in results) for result, each in enumerate(facts_of(message).results)]
    for block in message.content if isinstance(message.content, list) else ():
        read = read_block(block)
        result = next((each for each in waiting if read.row.role == "result" and each[0] == read.id), None)
        if result is None:
            is_chosen = rest
        else:
            waiting.remove(result)
            is_chosen = result[1]
        if is_chosen:
            yield block


def _without_nameless_call(message: BaseMessage) -> BaseMessage:
    """Leave out the last call that has no id, also where it stands as the provider sent it."""
    update: dict[str, Any] = {} if message.content else {"content": NO_TEXT}
    if isinstance(message.content, list):
        blocks = _named(message.content)
        update["content"] = blocks or NO_TEXT
    extra = message.additional_kwargs
    if extra.get("tool_calls"):
        update["additional_kwargs"] = {**extra, "tool_calls": _named(extra["tool_calls"])}
    for name in ("invalid_tool_calls", "tool_calls"):
        calls = getattr(message, name, None) or []
        if len(_named(calls)) < len(calls):
            update[name] = _named(calls)
            break
    return message.model_copy(update=update)


def _named(calls: Sequence[Any]) -> list[Any]:
    """Return calls, or blocks, without the last call that has no id."""
    nameless = [i for i, call in enumerate(calls) if _lacks_id(call)]
    return [call for i, call in enumerate(calls) if i not in nameless[-1:]]


def _lacks_id(call: object) -> bool:
    if not isinstance(call, dict):
        return False
    is_block = "type" in call and call["type"] not in ("function", "tool_call", "invalid_tool_call")
    if is_block:
        return block_type(call).role == "call" and read_block(call).id is None
    return not isinstance(call.get("id"), str)
