"""The request a plan becomes, and what the reply brings into the agent's state.

The only place that copies messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from langchain.agents.middleware.types import ExtendedModelResponse, ModelResponse
from langchain_core.messages import RemoveMessage
from langgraph.types import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import AnyMessage, BaseMessage

    from langchain_tokenbuffer._agents.conversation import AgentConversation
    from langchain_tokenbuffer._agents.facts import Request
    from langchain_tokenbuffer._agents.plan import CallPlan


@dataclass(frozen=True, slots=True)
class RenderedCall:
    """A model call as it is sent.

    Attributes:
        plan: What was decided.
        original: The request as it came.
        request: The request with the window for its messages.
        shown: These messages.
        tokens: What the request costs, in tokens.
        evicted: The messages that leave the agent's state with the reply.
    """

    plan: CallPlan
    original: Request
    request: Request
    shown: Sequence[BaseMessage]
    tokens: int
    evicted: list[BaseMessage]

    def reusable_tokens(self) -> int:
        """Return how much of the request begins as the last call's did, in tokens."""
        counter, messages = self.plan.facts.counter, self.plan.conversation.messages
        clamped = self.plan.call.clamped
        saved = {
            index: (clamped[index] if index in clamped else counter.tokens([messages[index]])[0])
            - counter.tokens([shown])[0]
            for index, shown in zip(self.plan.kept, self.shown, strict=True)
            if shown is not messages[index]
        }
        return self.plan.call.reusable_tokens(saved)

    def with_updates(self, response: ModelResponse[Any]) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Return the response, with what changes in the agent's state."""
        update: dict[str, Any] = {}
        if self.evicted:
            update["messages"] = [RemoveMessage(id=str(each.id)) for each in self.evicted]
        plan = self.plan
        private = plan.state.save(plan.conversation, plan.call, plan.thinned, self.evicted)
        if private is not None:
            update["token_buffer"] = private
        if not update:
            return response
        return ExtendedModelResponse(model_response=response, command=Command(update=update))


def render(plan: CallPlan, request: Request) -> RenderedCall:
    """Return the request that a plan makes of one."""
    conversation, clamped, thinned = plan.conversation, plan.call.clamped, set(plan.thinned)
    shown: list[BaseMessage] = []
    for index in plan.kept:
        copy = conversation.thinned(index) if index in thinned else None
        message = copy or conversation.messages[index]
        if index in clamped:
            message = conversation.meter.clamped(message, clamped[index])
        shown.append(message)
    tokens = plan.tokens
    if not plan.is_charged_as_shown:
        counter = plan.facts.counter
        tokens = plan.facts.fixed - counter.constant + counter(shown)
    sent = request
    if clamped or thinned or len(shown) < len(conversation.messages):
        sent = request.override(messages=cast("list[AnyMessage]", shown))
    evicted = []
    if plan.facts.settings.evict_from_state:
        evicted = _evictable(plan, plan.facts.read(request.state["messages"]))
    return RenderedCall(plan, request, sent, shown, tokens, evicted)


# --- what leaves the state ------------------------------------------------------------------------


def _evictable(plan: CallPlan, stored: AgentConversation) -> list[BaseMessage]:
    """Return the state's messages that left the window for good, whole steps only.

    What `oversize="drop"` left out behind the cut stays: what comes next depends on it.
    """
    whole = _whole_units_left(plan)
    evicted: list[range] = []
    turn_stays = False  # a step that stays needs the human message of its turn
    for unit in reversed(stored.units() if whole else []):
        is_question = stored.kinds[unit.start] == "human"
        stays = (is_question and turn_stays) or not whole.issuperset(stored.ids[unit.start : unit.stop])
        turn_stays = (stays or turn_stays) and not is_question
        if not stays:
            evicted.append(unit)
    return [message for unit in reversed(evicted) for message in stored.messages[unit.start : unit.stop]]


def _whole_units_left(plan: CallPlan) -> set[str | None]:
    """Return the ids of what left, where the whole unit did.

    A unit is whole in the state and in the request: LangChain adds errors for calls that could not
    be read to the request alone, and other middlewares take messages out of it.
    """
    conversation, end = plan.conversation, plan.call.cut
    if end == len(conversation.messages):  # no tail: the newest turn was left out
        humans = [i for i, kind in enumerate(conversation.kinds) if kind == "human"]
        end = max(humans, default=0)
    left = {index for index in plan.dropped if index < end}
    return {
        conversation.ids[i]
        for unit in (conversation.units() if left else ())
        if all(i in left and conversation.ids[i] for i in unit)
        for i in unit
    }
