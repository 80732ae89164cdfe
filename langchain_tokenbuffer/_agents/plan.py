"""What one model call is sent, and why: numbers alone, a pure function of what came before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from langchain_tokenbuffer._agents.thinking import StaleThinking, find_stale
from langchain_tokenbuffer._counting.overflow import overflow_of
from langchain_tokenbuffer._messages.slots import messages_of
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from langchain_tokenbuffer._agents.conversation import AgentConversation
    from langchain_tokenbuffer._agents.facts import RequestFacts
    from langchain_tokenbuffer._agents.state import Overflowed, ThreadState
    from langchain_tokenbuffer._counting.overflow import Overflow
    from langchain_tokenbuffer._messages.slots import Slot
    from langchain_tokenbuffer._messages.violations import Violation
    from langchain_tokenbuffer._window.billing import Billing
    from langchain_tokenbuffer._window.conversation import ConversationTokens
    from langchain_tokenbuffer._window.driver import CallWindow, WindowDriver

_SHARES = (0.8, 0.5, 0.5, 0.25)
"""Of what a provider refused as too long, what is tried instead: at the first refusal of a call, the second, ..."""
MAX_TRIES = len(_SHARES)

Follow: TypeAlias = (
    "Callable[[ConversationTokens, Billing, str], AbstractContextManager[tuple[WindowDriver, int | None]]]"
)
"""`DriverCache.follow`: lends a driver that has followed a conversation."""


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What one model call is sent."""

    facts: RequestFacts
    state: ThreadState
    conversation: AgentConversation  # all messages of the request
    slots: Sequence[Slot]  # what is sent, in order
    mended: tuple[Violation, ...]  # what of it was out of order, and what was done
    stale: StaleThinking  # what of it is left out
    call: CallWindow
    tokens: int  # estimated bill, with clamped messages at their clamp target

    @property
    def kept(self) -> tuple[int, ...]:
        """Indices of the messages that are sent, in the order of the request."""
        return messages_of(self.slots)

    @property
    def thinned(self) -> tuple[int, ...]:
        """Indices of the AI messages that are sent without their thinking."""
        return self.stale.left_out

    @property
    def dropped(self) -> tuple[int, ...]:
        """Indices of the messages that are not sent."""
        inside = set(self.kept)
        return tuple(i for i in range(len(self.conversation.messages)) if i not in inside)

    @property
    def is_charged_as_shown(self) -> bool:
        """Whether `tokens` is also what the messages cost as they are shown; else those are counted.

        It is by reports, or where what each message costs adds up and none is shown as a copy.
        """
        is_reported = self.call.anchor.billed > 0
        has_copies = bool(self.thinned or self.call.clamped)
        return is_reported or (self.facts.counter.additive and not has_copies)


def plan_call(facts: RequestFacts, state: ThreadState, conversation: AgentConversation, follow: Follow) -> CallPlan:
    """Decide what a call is sent, or raise `TokenBudgetError`."""
    while True:
        try:
            return _plan_under(facts, state, conversation, follow)
        except TokenBudgetError as shortage:
            if facts.fixed_tokens.added_behind:  # it was sent before, and what was only noticed refuses nothing
                facts = facts.without_added()
                state = state.under(facts)
                continue
            state = state.making_room(shortage, conversation)


def _plan_under(facts: RequestFacts, state: ThreadState, conversation: AgentConversation, follow: Follow) -> CallPlan:
    state.apply_to(conversation)
    messages = conversation.messages
    with follow(conversation, state.billing(conversation), facts.model) as (driver, whole_tokens):
        slots = driver.slots()
        stale = StaleThinking()
        if facts.thinking is not None:
            stale = find_stale(facts.thinking, state.shown, messages, slots, driver.clamped())
        call = driver.call(first_thinned=stale.first_new, is_thinned=bool(stale.left_out))
        mended = driver.mended()
    if messages and not slots:
        # Only `oversize="drop"` gets here; no provider takes a request without messages.
        msg = (
            f"Nothing of the conversation fits {state.max_tokens} tokens beside {facts.fixed} tokens for tools and "
            'system message; raise max_tokens or set oversize="clamp".'
        )
        raise TokenBudgetError(msg, tokens=call.total_tokens, max_tokens=state.max_tokens)
    tokens = call.tokens if whole_tokens is None else whole_tokens
    return CallPlan(facts, state, conversation, slots, mended, stale, call, tokens)


def learn_limit(plan: CallPlan, tokens: int, error: Exception) -> Overflowed:
    """Return what a refused call teaches, which was counted to so many tokens as it was sent.

    Raises the error itself if it does not say that the request is too long, or if nothing smaller is possible.
    """
    overflow, state = overflow_of(error), plan.state
    if overflow is None:
        raise error
    reserved = plan.facts.reserved
    earlier = 0 if state.overflowed is None else state.overflowed.refusals
    limit, is_named = _smaller(overflow, tokens - reserved, earlier)
    if limit < 1:
        raise error
    return state.after_refusal(plan.conversation, limit + reserved, tokens=tokens, is_named=is_named)


def _smaller(overflow: Overflow, sent: int, earlier: int) -> tuple[int, bool]:
    """Return what to try instead of so many tokens, and whether the provider named it; this call's refusals so far."""
    guess = int(_SHARES[min(earlier, len(_SHARES) - 1)] * sent)
    counted, allowed, excess = overflow
    if counted and allowed:
        # The provider's own count of this very request tells what its limit is in our tokens.
        allowed = allowed * sent // counted
    elif excess:
        allowed = sent - excess
    if allowed is None or allowed >= sent:
        return guess, False
    if not earlier or allowed <= guess:
        return allowed, True
    return guess, False
