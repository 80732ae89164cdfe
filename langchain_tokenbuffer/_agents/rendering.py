"""The request a plan becomes, and what the reply brings into the agent's state.

The only place that copies messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from langchain.agents.middleware.types import ExtendedModelResponse, ModelResponse
from langchain_core.messages import RemoveMessage
from langgraph.types import Command

from langchain_tokenbuffer._messages.thinking import without_thinking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import AnyMessage, BaseMessage

    from langchain_tokenbuffer._agents.conversation import AgentConversation
    from langchain_tokenbuffer._agents.facts import Request
    from langchain_tokenbuffer._agents.plan import CallPlan


@dataclass(frozen=True, slots=True)
class RenderedCall:
    """A model call as it is sent."""

    plan: CallPlan
    original: Request  # as it came
    request: Request  # with the window for its messages
    shown: Sequence[BaseMessage]  # the messages that are sent
    tokens: int  # what the request costs
    evicted: list[BaseMessage]  # the messages that leave the agent's state with the reply

    def reusable_tokens(self) -> int:
        """Return how much of the request begins as the last call's did, in tokens."""
        call, messages = self.plan.call, self.plan.conversation.messages

        def count(message: BaseMessage) -> int:
            return self.plan.facts.counter.tokens([message])[0]

        saved = {
            index: (call.clamped[index] if index in call.clamped else count(messages[index])) - count(shown)
            for index, shown in zip(self.plan.kept, self.shown, strict=True)
            if shown is not messages[index]
        }
        return call.reusable_tokens(saved)

    def with_updates(self, response: ModelResponse[Any]) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Return the response, with what changes in the agent's state."""
        update: dict[str, Any] = {}
        if self.evicted:
            update["messages"] = [RemoveMessage(id=str(each.id)) for each in self.evicted]
        plan = self.plan
        private = plan.state.save(plan.conversation, plan.call, plan.stale.record, self.evicted)
        if private is not None:
            update["token_buffer"] = private
        if not update:
            return response
        return ExtendedModelResponse(model_response=response, command=Command(update=update))


def render(plan: CallPlan, request: Request) -> RenderedCall:
    """Return the call that carries out a plan."""
    facts, messages = plan.facts, plan.conversation.messages
    shown = _shown(plan)
    tokens = plan.tokens
    if not plan.is_charged_as_shown:
        # The request's constant is in both, the fixed part and the count of the messages; it is charged once.
        tokens = facts.fixed - facts.counter.constant + facts.counter(shown)
    sent = request
    if plan.call.clamped or plan.thinned or len(shown) < len(messages):
        sent = request.override(messages=cast("list[AnyMessage]", shown))
    evicted: list[BaseMessage] = []
    if facts.settings.evict_from_state and (left_ids := _ids_left(plan)):
        evicted = _evictable(left_ids, facts.read_messages(request.state["messages"]))
    return RenderedCall(plan, request, sent, shown, tokens, evicted)


def _shown(plan: CallPlan) -> list[BaseMessage]:
    """Return the kept messages, without stale thinking and shortened where the plan says so."""
    conversation = plan.conversation
    thinned = {index: without_thinking(conversation.messages[index]) for index in plan.thinned}
    messages = {index: thinned.get(index) or conversation.messages[index] for index in plan.kept}
    return conversation.meter.show(messages, plan.kept, plan.call.clamped)


# --- what leaves the state --------------------------------------------------------------------------------------------


def _evictable(left_ids: set[str | None], stored: AgentConversation) -> list[BaseMessage]:
    """Return the state's messages of units that left completely, in order.

    A question whose turn has a later step that stays does so, too. What `oversize="drop"` left out behind the cut stays
    in the state: later replays decide by it.
    """
    evicted: list[BaseMessage] = []
    later_step_stays = False
    for unit in reversed(stored.units()):
        is_question = stored.kinds[unit.start] == "human"
        has_left = left_ids.issuperset(stored.ids[unit.start : unit.stop])
        if has_left and not (is_question and later_step_stays):
            evicted += reversed(stored.messages[unit.start : unit.stop])
        later_step_stays = not is_question and (later_step_stays or not has_left)
    return evicted[::-1]


def _ids_left(plan: CallPlan) -> set[str | None]:
    """Return the ids of the messages of units that left completely.

    A unit may be another one in the state and in the request: LangChain adds error results for unreadable calls only to
    the request, and other middlewares take messages out of it. So both are asked.
    """
    conversation, end = plan.conversation, plan.call.cut
    if end == len(conversation.messages):  # no tail: the newest turn was left out
        end = max((i for i, kind in enumerate(conversation.kinds) if kind == "human"), default=0)
    left = {index for index in plan.dropped if index < end and conversation.ids[index]}
    return {conversation.ids[i] for unit in conversation.units() if left.issuperset(unit) for i in unit}
