"""A message's thinking, and the message without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_tokenbuffer._messages.beside import BESIDE
from langchain_tokenbuffer._messages.blocks import block_type
from langchain_tokenbuffer._messages.kinds import call_ids, kind_of

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

_BESIDE = frozenset(name for name, kind in BESIDE.items() if block_type({"type": kind}).role == "thinking")
"""Under which names of `additional_kwargs` thinking stands."""


def has_thinking(message: BaseMessage) -> bool:
    """Tell whether an AI message holds thinking, in its content or beside it."""
    if kind_of(message) != "ai":
        return False
    content = message.content
    in_content = not isinstance(content, str) and any(block_type(block).role == "thinking" for block in content)
    return in_content or not _BESIDE.isdisjoint(message.additional_kwargs)


def without_thinking(message: BaseMessage) -> BaseMessage | None:
    """Return a copy without thinking; `None` if it has none."""
    if not has_thinking(message):
        return None
    content = message.content
    if not isinstance(content, str):
        content = [block for block in content if block_type(block).role != "thinking"]
        if not (content or call_ids(message)):
            content = [{"type": "text", "text": "..."}]  # no provider takes a message of nothing
    beside = {key: value for key, value in message.additional_kwargs.items() if key not in _BESIDE}
    return message.model_copy(update={"content": content, "additional_kwargs": beside})
