"""What earlier calls of a thread taught, and what later calls, and other processes, are to know.

The agent's private state holds it in plain JSON types, by message id. What it says of a message holds only while all up
to that message is as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_tokenbuffer._agents.limits import Limits
from langchain_tokenbuffer._counting.reported_usage import NO_ANCHOR, Anchor
from langchain_tokenbuffer._window.billing import Billing
from langchain_tokenbuffer._window.replay import RULE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._agents.conversation import AgentConversation
    from langchain_tokenbuffer._agents.facts import RequestFacts
    from langchain_tokenbuffer._agents.limits import UnsavedLimits
    from langchain_tokenbuffer._window.driver import CallWindow
    from langchain_tokenbuffer.errors import TokenBudgetError


class Overflowed(NamedTuple):
    """What refusals of one call taught so far."""

    limits: Limits
    refusals: int  # how often this call was refused
    tokens: int  # what the last of these requests cost; the next one costs less


class ThreadState:
    """What the private state knows of a thread, for one request."""

    def __init__(self, raw: dict[str, Any], facts: RequestFacts, limits: Limits, overflowed: Overflowed | None) -> None:
        self.raw = raw  # the private state as it is
        self.limits = limits  # of the request's model
        self.overflowed = overflowed  # what refusals of this very request taught
        self._facts = facts
        self.max_tokens = limits.under(facts.max_tokens)  # the budget in force
        self._budget = facts.budget(facts.max_tokens)
        self.thinned: set[str] = set(raw.get("thinned", ()))  # ids of messages whose thinking is left out for good

    @classmethod
    def load(
        cls,
        state: Mapping[str, Any],
        facts: RequestFacts,
        ids: Sequence[str | None],
        unsaved: UnsavedLimits,
        overflowed: Overflowed | None = None,
    ) -> ThreadState:
        """Read the agent's state, and what no state holds of the messages with these ids."""
        raw = state.get("token_buffer") or {}
        if overflowed is not None:
            limits = overflowed.limits
        else:
            limits = unsaved.find(facts.model, ids) or Limits.load(raw.get("limits", {}).get(facts.model))
        return cls(raw, facts, limits, overflowed)

    def making_room(self, shortage: TokenBudgetError, conversation: AgentConversation) -> ThreadState:
        """Return the state under a limit that what must stay fits; raise the shortage if there is none.

        What is only a guess, or tried, refuses nothing by itself.
        """
        is_guess = self.overflowed is not None or self.limits.refused is not None
        most = self._facts.max_tokens if self.overflowed is None else self.overflowed.tokens - 1
        if not (is_guess and self.max_tokens < shortage.tokens <= most):
            raise shortage
        limits = self.limits.raised(conversation.id_before_newest, shortage.tokens)
        return ThreadState(self.raw, self._facts, limits, self.overflowed)

    def under(self, facts: RequestFacts) -> ThreadState:
        """Return the same under other facts."""
        return ThreadState(self.raw, facts, self.limits, self.overflowed)

    @property
    def basis(self) -> list[Any]:
        """The settings under which anchors and clamped tokens hold, in JSON types."""
        budget = self._budget
        settings = [budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize]
        return [RULE, *settings, self._facts.counter.describe()]

    def apply_to(self, conversation: AgentConversation) -> None:
        """Apply what earlier calls say of the messages."""
        reported_from, _, _ = self._earlier_reports(conversation)
        conversation.apply_earlier_calls(reported_from, self._clamped_tokens(conversation))

    def billing(self, conversation: AgentConversation) -> Billing:
        """Return how counts become bills, by the reports before those."""
        _, anchor, first_unreported = self._earlier_reports(conversation)
        most = self._facts.max_tokens
        return Billing(
            self._budget,
            limits=tuple(
                (start, self._facts.budget(most if limit is None else min(limit, most)))
                for start, limit in self.limits.starts(conversation.ids)
            ),
            reserved=self._facts.reserved,
            borrowed_tokenizer=self._facts.counter.borrowed_tokenizer,
            is_estimate=self._facts.counter.is_estimate,
            anchor=anchor,
            first_unreported=first_unreported,
        )

    def _earlier_reports(self, conversation: AgentConversation) -> tuple[int, Anchor, int]:
        """Return the first index whose report counts, the anchor before it, and the first index that does not cover.

        Where nothing is known, all replies are taken to answer requests with these settings.
        """
        anchored = self.raw.get("anchored")
        if not self._facts.uses_reports or (anchored and self.raw["basis"] != self.basis):
            return len(conversation.messages), NO_ANCHOR, 0
        last_id, anchor, first_unreported_id = anchored or (None, None, None)
        if last_id is None:  # since the beginning
            return 0, NO_ANCHOR, 0
        places = {each: index for index, each in enumerate(conversation.ids)}
        first = places.get(last_id, -1) + 1
        if anchor is None:
            return first, NO_ANCHOR, 0
        return first, Anchor(*anchor), places.get(first_unreported_id, first)

    def _clamped_tokens(self, conversation: AgentConversation) -> dict[int, int]:
        """Return the tokens of clamped messages by index, where all up to the message is as it was."""
        stored = self.raw.get("sizes")
        if not stored or self.raw["basis"] != self.basis:
            return {}
        marks = conversation.fingerprints(stored)
        return {
            index: stored[each][0]
            for index, each in enumerate(conversation.ids)
            if each in marks and stored[each][1] == marks[each]
        }

    # --- saving ---

    def save(
        self,
        conversation: AgentConversation,
        call: CallWindow,
        thinned: Sequence[int],
        evicted: Sequence[BaseMessage],
        tokens: int,
        added: int,
    ) -> dict[str, Any] | None:
        """Return the private state after a call that cost so many tokens; `None` if it stays as it is.

        `thinned` are the indices whose thinking was left out, `evicted` the messages that later calls do not see, `added`
        the tokens that middlewares behind add to requests.
        """
        evicts = self._facts.settings.evict_from_state
        left = {message.id for message in evicted}
        saved: dict[str, Any] = {"limits": self._saved_limits(conversation, tokens, left), "added": added}
        saved |= self._saved_anchor(conversation.messages, call, left)
        if evicts:  # later replays cannot find this out without the deleted messages
            saved |= self._saved_clamped(conversation, call, left)
        if evicts or self.thinned:
            saved["thinned"] = [conversation.ids[index] for index in thinned]
        saved = {name: value for name, value in saved.items() if value}
        return None if saved == self.raw else saved

    def _saved_limits(self, conversation: AgentConversation, tokens: int, left: set[str | None]) -> dict[str, Any]:
        """Return the limits of all models, of which this one's request succeeded."""
        facts = self._facts
        last_id = conversation.ids[-1] if conversation.ids else None
        known = {model: Limits.load(raw) for model, raw in self.raw.get("limits", {}).items()}
        known[facts.model] = self.limits.after_success(last_id, facts.max_tokens, tokens)
        return {model: limits.without(left).dump() for model, limits in known.items() if limits != Limits()}

    def _saved_anchor(self, messages: Sequence[BaseMessage], call: CallWindow, left: set[str | None]) -> dict[str, Any]:
        """Return under which settings replies reported their usage, and from which one on."""
        anchored = self.raw.get("anchored")
        # Also kept while a model without reports runs; else old reports would count again after it.
        if anchored is None and not self._facts.uses_reports:
            return {}
        basis = self.basis
        evicts = self._facts.settings.evict_from_state
        if anchored is None and not evicts:
            # All replies so far are taken to answer requests with these settings.
            return {"basis": basis, "anchored": [None, None, None]}
        if evicts or self.raw["basis"] != basis:
            anchored = _anchor_after(messages, call, left)
        return {"basis": basis, "anchored": anchored}

    def _saved_clamped(
        self, conversation: AgentConversation, call: CallWindow, left: set[str | None]
    ) -> dict[str, Any]:
        """Return the clamped tokens that a replay can no longer find out without the deleted messages."""
        ids = conversation.ids
        clamped = {name: tokens for index, tokens in call.clamped.items() if (name := ids[index])}
        if not clamped:
            return {}
        marks = conversation.fingerprints(clamped, without=left)
        marked = {name: [tokens, marks[name]] for name, tokens in clamped.items()}
        return {"basis": self.basis, "sizes": marked}


def _anchor_after(messages: Sequence[BaseMessage], call: CallWindow, left: set[str | None]) -> list[Any]:
    """Return the id of the last message, the anchor a call came to, and the id of the first that does not cover."""
    last_id = messages[-1].id if messages else None
    if last_id is None or call.anchor is NO_ANCHOR:
        return [last_id, None, None]
    later = (each.id for each in messages[call.first_unreported :])
    return [last_id, list(call.anchor), next((each for each in later if each not in left), None)]
