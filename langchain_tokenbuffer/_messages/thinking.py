"""Leaving a model's thinking out of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_tokenbuffer._messages.blocks import block_type
from langchain_tokenbuffer._messages.kinds import call_ids, kind_of

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


def without_thinking(message: BaseMessage) -> BaseMessage | None:
    """Return a copy without thinking blocks; `None` if it has none, or nothing else."""
    if kind_of(message) != "ai" or isinstance(message.content, str):
        return None
    blocks = [block for block in message.content if block_type(block).role != "thinking"]
    if len(blocks) == len(message.content) or not (blocks or call_ids(message)):
        return None
    return message.model_copy(update={"content": blocks})
