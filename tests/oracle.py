"""Law 2 of `docs/design.md` by an independent hand.

Calls and results pair inside a step, a human message comes first. Shares no line with the
package: kinds by class, calls by `tool_calls`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Breach = tuple[str, int]
"""What is wrong, and the index of the message it is wrong with."""


def breaches(messages: Sequence[BaseMessage]) -> set[Breach]:
    """Return what a provider would refuse: `orphan`, `unanswered`, `not_human_first`."""
    found: set[Breach] = set()
    body = [i for i in range(len(messages)) if i >= head_length(messages)]
    has_human = any(isinstance(messages[i], HumanMessage) for i in body)
    if has_human and not isinstance(messages[body[0]], HumanMessage):
        found.add(("not_human_first", body[0]))
    open_calls: list[str | None] = []
    step = -1
    for i in body:
        message = messages[i]
        if isinstance(message, (AIMessage, HumanMessage)):
            if open_calls:
                found.add(("unanswered", step))
            step = i
            open_calls = [call["id"] for call in message.tool_calls] if isinstance(message, AIMessage) else []
        elif isinstance(message, ToolMessage):
            if message.tool_call_id in open_calls:
                # list.remove takes the first: equal ids pair in order of appearance.
                open_calls.remove(message.tool_call_id)
            else:
                found.add(("orphan", i))
    return found  # calls still open in the last step are a step still running


def head_length(messages: Sequence[BaseMessage]) -> int:
    """Return how many leading messages are system messages."""
    return next(
        (i for i, message in enumerate(messages) if not isinstance(message, SystemMessage)),
        len(messages),
    )


def current_question(messages: Sequence[BaseMessage]) -> int | None:
    """Return the index of the current turn's human message."""
    humans = [i for i, message in enumerate(messages) if isinstance(message, HumanMessage)]
    return humans[-1] if humans else None
