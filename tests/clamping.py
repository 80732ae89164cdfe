"""Shortening one message, by a `TokenCounter` as users have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_tokenbuffer._counting import clamp as clamping
from langchain_tokenbuffer.counters import message_counter

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer import TokenCounter


def clamp(message: BaseMessage, tokens: int, counter: TokenCounter) -> BaseMessage:
    """Return a message, shortened to at most so many tokens."""
    return clamping.clamp(message, tokens, message_counter(counter))


def min_tokens(message: BaseMessage, counter: TokenCounter) -> int:
    """Return the fewest tokens to which a message can be clamped."""
    return clamping.min_tokens(message, message_counter(counter))
