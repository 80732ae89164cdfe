"""The request a plan becomes, and what leaves the state with its reply.

The only place that copies messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from langchain_tokenbuffer._agents.plan import CallPlan, charges_as_shown
from langchain_tokenbuffer._messages.kinds import kind_of
from langchain_tokenbuffer._messages.thinking import without_thinking

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import AnyMessage, BaseMessage

    from langchain_tokenbuffer._agents.facts import Request


@dataclass(frozen=True, slots=True)
class RenderedCall:
    """A request as it is sent.

    Attributes:
        plan: What was decided.
        request: The request with the window for its messages.
        shown: These messages.
        tokens: What the request costs, in tokens.
    """

    plan: CallPlan
    request: Request
    shown: Sequence[BaseMessage]
    tokens: int

    def reusable_tokens(self) -> int:
        """Return how much of the request begins as the last call's did, in tokens."""
        plan, counter = self.plan, self.plan.facts.counter
        clamped, messages = plan.call.clamped, plan.messages
        saved = {
            index: (clamped[index] if index in clamped else counter.tokens([messages[index]])[0])
            - counter.tokens([shown])[0]
            for index, shown in zip(plan.kept, self.shown, strict=True)
            if shown is not messages[index]
        }
        return plan.call.reusable_tokens(saved)


def render(plan: CallPlan, request: Request) -> RenderedCall:
    """Return the request that a plan makes of one."""
    messages, clamped, thinned = plan.messages, plan.call.clamped, set(plan.thinned)
    shown = []
    for index in plan.kept:
        message = messages[index]
        if index in thinned:
            message = without_thinking(message) or message
        if index in clamped:
            message = plan.facts.meter.clamped(message, clamped[index])
        shown.append(message)
    tokens = plan.tokens
    if not charges_as_shown(plan):
        counter = plan.facts.counter
        tokens = plan.facts.fixed - counter.constant + counter(shown)
    if clamped or thinned or len(shown) < len(messages):
        request = request.override(messages=cast("list[AnyMessage]", shown))
    return RenderedCall(plan, request, shown, tokens)


# --- what leaves the state ------------------------------------------------------------------------


def evictable(plan: CallPlan, stored: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the state's messages that left the window for good, whole steps only.

    What `oversize="drop"` left out behind the cut stays: what comes next depends on it.
    """
    whole = _whole_units_left(plan)
    evicted: list[Sequence[BaseMessage]] = []
    turn_stays = False  # a step that stays needs the human message of its turn
    for unit in reversed(list(_units(stored) if whole else ())):
        is_question = kind_of(unit[0]) == "human"
        stays = (is_question and turn_stays) or any(each.id not in whole for each in unit)
        turn_stays = (stays or turn_stays) and not is_question
        if not stays:
            evicted.append(unit)
    return [message for unit in reversed(evicted) for message in unit]


def _whole_units_left(plan: CallPlan) -> set[str | None]:
    """Return the ids of what left, where the whole unit did.

    A unit is whole in the state and in the request: LangChain adds errors for calls that could not
    be read to the request alone, and other middlewares take messages out of it.
    """
    end = plan.call.cut
    if end == len(plan.messages):  # no tail: the newest turn was left out
        humans = [i for i, each in enumerate(plan.messages) if kind_of(each) == "human"]
        end = max(humans, default=0)
    left = {id(plan.messages[index]) for index in plan.dropped if index < end}
    return {
        message.id
        for unit in (_units(plan.messages) if left else ())
        if all(id(message) in left and message.id for message in unit)
        for message in unit
    }


def _units(messages: Sequence[BaseMessage]) -> Iterator[list[BaseMessage]]:
    """Yield the conversation in units: what is evicted as a whole."""
    unit: list[BaseMessage] = []
    for message in messages:
        if unit and kind_of(message) in ("ai", "human"):
            yield unit
            unit = []
        unit.append(message)
    if unit:
        yield unit
