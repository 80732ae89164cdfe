"""Reported usage as an anchor: what a provider billed is the truth up to the reply that says so.

Only what came after the last report is estimated; what earlier reports say about the messages
between them shows how far the estimate is off for this model and this conversation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import BaseMessage

_ENOUGH = 64
"""Estimated tokens between reports from which on their ratio says more than chance."""
_LEAST, _MOST = 0.5, 2.0
_UNSEEN = 40
"""Tokens of a reply's output that its message does not show, beside what it thought: Claude's tool
calls take about 37 beside name and arguments."""


class Report(NamedTuple):
    """What one reply says was billed for it, in tokens."""

    at: int
    input: int
    output: int


def reports(messages: Sequence[BaseMessage], model: str | None) -> list[Report]:
    """Return the reports in order; those of another model say nothing about this one."""
    found = []
    for index, message in enumerate(messages):
        usage: Any = getattr(message, "usage_metadata", None)
        if message.type not in ("ai", "AIMessageChunk") or not usage:
            continue
        if _is_of(message, model):
            read = int(usage.get("input_tokens") or 0), int(usage.get("output_tokens") or 0)
            if min(read) >= 0 and read[0]:
                found.append(Report(index, *read))
    return found


def anchored(
    messages: Sequence[BaseMessage],
    found: Sequence[Report],
    estimate: Callable[[Sequence[BaseMessage]], int],
) -> int:
    """Return what a request costs: the last report and an estimate of what came after it.

    Args:
        messages: The complete conversation, as it was sent.
        found: At least one report.
        estimate: What some messages cost, without the request's constant.
    """
    last = found[-1]
    billed = estimated = 0
    for before, after in pairwise(found):
        between = estimate(messages[before.at + 1 : after.at])
        grown = after.input - before.input - before.output
        if between and grown > 0:
            billed += grown
            estimated += between
    ratio = billed / estimated if estimated >= _ENOUGH else 1.0
    behind = estimate(messages[last.at + 1 :])
    # An output holds what was thought and is not in the message, so is never sent again.
    said = min(last.output, estimate(messages[last.at : last.at + 1]) + _UNSEEN)
    return last.input + said + round(behind * min(_MOST, max(_LEAST, ratio)))


def _is_of(message: BaseMessage, model: str | None) -> bool:
    """Tell whether a reply is this model's, as far as it says; a dated name is the same model."""
    metadata = message.response_metadata or {}
    said = metadata.get("model_name") or metadata.get("model")
    if not isinstance(said, str) or not said or not model:
        return True
    one, other = (name.lower().rpartition("/")[2] for name in (said, model))
    return one.startswith(other) or other.startswith(one)
