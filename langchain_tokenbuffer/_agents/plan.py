"""What one model call is sent, and why: numbers alone, a pure function of what came before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from langchain_tokenbuffer._agents.state import Overflowed, ThreadState
from langchain_tokenbuffer._counting.overflow import overflow_of
from langchain_tokenbuffer._counting.reported_usage import NO_ANCHOR, is_by, report_of
from langchain_tokenbuffer._messages.thinking import without_thinking
from langchain_tokenbuffer._window.conversation import ConversationTokens
from langchain_tokenbuffer._window.drivers import fit_whole
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._agents.facts import RequestFacts
    from langchain_tokenbuffer._window.budget import MessageTokens
    from langchain_tokenbuffer._window.driver import CallWindow, WindowDriver
    from langchain_tokenbuffer._window.drivers import DriverCache

_OVERFLOW_SHARE = 0.8
"""Of what a provider refused as too long, what is tried instead."""


class AgentConversation(ConversationTokens):
    """An agent's messages in numbers, with what the provider and earlier calls say of them."""

    def __init__(
        self, messages: Sequence[BaseMessage], facts: RequestFacts, state: ThreadState
    ) -> None:
        super().__init__(list(messages), facts.meter)
        first, reporter = state.reports_from(messages), facts.reporter
        self._clamped = state.clamped_tokens(messages)
        self._reports = {
            index: report
            for index, message in enumerate(messages[first:], first)
            if (report := report_of(message)) is not None and is_by(message, reporter)
        }
        for index in {*self._reports, *self._clamped}:  # another report, another conversation
            extra = self._reports.get(index), self._clamped.get(index)
            self.keys[index] = hash((self.keys[index], *extra))

    @override
    def numbers(self, start: int = 0) -> list[MessageTokens]:
        numbers = super().numbers(start)
        for index in {*self._reports, *self._clamped}:
            if index >= start:
                numbers[index - start] = numbers[index - start]._replace(
                    clamped=self._clamped.get(index), report=self._reports.get(index)
                )
        return numbers


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What one model call is sent.

    Attributes:
        facts: What the request is counted by, and what it may take.
        state: What earlier calls of the thread taught.
        conversation: The messages in numbers.
        kept: Indices of the messages that are sent, in order.
        thinned: Of these, the AI messages whose thinking is left out.
        call: The window beside the last call's.
        tokens: What the request is billed, by what is charged for its messages.
    """

    facts: RequestFacts
    state: ThreadState
    conversation: ConversationTokens
    kept: Sequence[int]
    thinned: tuple[int, ...]
    call: CallWindow
    tokens: int

    @property
    def messages(self) -> Sequence[BaseMessage]:
        """All messages of the request."""
        return self.conversation.messages

    @property
    def dropped(self) -> tuple[int, ...]:
        """Indices of the messages that are not sent."""
        inside = set(self.kept)
        return tuple(index for index in range(len(self.messages)) if index not in inside)


def plan_call(
    facts: RequestFacts, state: ThreadState, messages: Sequence[BaseMessage], drivers: DriverCache
) -> CallPlan:
    """Decide what a call is sent.

    Args:
        facts: What the request is counted by, and what it may take.
        state: What earlier calls of the thread taught.
        messages: All messages of the request.
        drivers: A cache; the plan is the same with an empty one.

    Raises:
        TokenBudgetError: If what must stay does not fit and `oversize` cannot make it fit.
    """
    conversation = AgentConversation(messages, facts, state)
    if not facts.counter.additive:
        driver, tokens = fit_whole(state.budget, conversation)
        return _plan(facts, state, conversation, driver, tokens)
    billing = state.billing(messages)
    name = (facts.model, messages[0].id or conversation.keys[0]) if messages else None
    with drivers.follow(name, billing, conversation) as driver:
        return _plan(facts, state, conversation, driver)


def _plan(
    facts: RequestFacts,
    state: ThreadState,
    conversation: ConversationTokens,
    driver: WindowDriver,
    tokens: int | None = None,
) -> CallPlan:
    kept = driver.kept()
    thinned = _thinned(facts, state, conversation, driver, kept)
    call = driver.call(thinned)
    if conversation.messages and not kept:
        # Only `oversize="drop"` gets here; no provider takes a request without messages.
        msg = (
            f"Nothing of the conversation fits {state.max_tokens} tokens beside the {facts.fixed} "
            "of the fixed part; raise max_tokens, or let it clamp."
        )
        raise TokenBudgetError(msg, tokens=call.total_tokens, max_tokens=state.max_tokens)
    tokens = call.tokens if tokens is None else tokens
    return CallPlan(facts, state, conversation, kept, thinned, call, tokens)


def _thinned(
    facts: RequestFacts,
    state: ThreadState,
    conversation: ConversationTokens,
    driver: WindowDriver,
    kept: Sequence[int],
) -> tuple[int, ...]:
    """Return the kept messages whose thinking was produced under another window."""
    if not facts.binds_thinking:
        return ()
    # A new limit is another budget: all thinking so far is bound to windows of the old one.
    end = driver.stale_before if state.overflowed is None else driver.running_from
    messages = conversation.messages
    return tuple(
        index
        for index in kept
        if (index < end or messages[index].id in state.thinned)
        and without_thinking(messages[index]) is not None
    )


def overflow_limit(plan: CallPlan, tokens: int, error: Exception) -> Overflowed:
    """Return what a refused call teaches.

    Args:
        plan: The call.
        tokens: What was sent, as counted.
        error: What the provider said.

    Raises:
        Exception: The error itself, if it is no refusal of length or nothing smaller is allowed.
    """
    overflow = overflow_of(error)
    if overflow is None or plan.state.overflowed is not None:
        raise error
    reserved = plan.facts.settings.reserve_tokens
    sent = tokens - reserved
    limit = int(_OVERFLOW_SHARE * sent) + reserved
    if overflow.counted and overflow.allowed:
        # The provider's own count of this very request tells what its limit is in our tokens.
        limit = min(limit, overflow.allowed * sent // overflow.counted)
    if limit < 1:
        raise error
    return Overflowed(limit, plan.call.anchor, plan.call.first_unreported)


def charges_as_shown(plan: CallPlan) -> bool:
    """Tell whether what is charged for the messages is what they cost as they are shown."""
    is_reported = plan.call.anchor is not NO_ANCHOR
    as_shown = plan.facts.counter.additive and not plan.thinned and not plan.call.clamped
    return is_reported or as_shown
