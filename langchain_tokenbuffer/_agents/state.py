"""What earlier calls of a thread taught, and what later calls, and other processes, are to know.

The agent's private state holds it in plain JSON types, by message id. What it says of a message holds only while all up
to that message is as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_tokenbuffer._agents.thinking import NO_RECORD, ShownRecord
from langchain_tokenbuffer._counting.reported_usage import NO_ANCHOR, Anchor
from langchain_tokenbuffer._window.billing import Billing
from langchain_tokenbuffer._window.replay import RULE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._agents.conversation import AgentConversation
    from langchain_tokenbuffer._agents.facts import RequestFacts
    from langchain_tokenbuffer._window.driver import CallWindow


class Overflowed(NamedTuple):
    """What a provider's refusal teaches."""

    limit: int  # the `max_tokens` to keep from now on
    anchor: Anchor  # what reports had come to when the refusal came
    first_unreported: int  # index of the first message that this anchor does not cover


class ThreadState:
    """What the private state knows of a thread, for one request."""

    def __init__(self, raw: dict[str, Any], facts: RequestFacts, overflowed: Overflowed | None = None) -> None:
        self.raw = raw  # the private state as it is
        self.overflowed = overflowed  # what a refusal of this very request taught
        self._facts = facts
        self._limits: dict[str, int] = dict(raw.get("limits", {}))
        if overflowed is not None:
            self._limits[facts.model] = overflowed.limit
        # The budget in force: no more than any refusal allowed.
        self.max_tokens = min(facts.max_tokens, self._limits.get(facts.model, facts.max_tokens))
        self.budget = facts.budget(self.max_tokens)
        # What the last call showed. Release 0.1.0 kept ids of what it left out, and not behind what: all is stale.
        self.shown = ShownRecord(0, 0, "") if "thinned" in raw else NO_RECORD
        if "shown" in raw:
            self.shown = ShownRecord(*raw["shown"])

    @classmethod
    def load(cls, state: Mapping[str, Any], facts: RequestFacts, overflowed: Overflowed | None = None) -> ThreadState:
        """Read the agent's state."""
        return cls(state.get("token_buffer") or {}, facts, overflowed)

    @property
    def basis(self) -> list[Any]:
        """The settings under which anchors and clamped tokens hold, in JSON types."""
        budget = self.budget
        settings = [budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize]
        return [RULE, *settings, self._facts.counter.describe()]

    def apply_to(self, conversation: AgentConversation) -> None:
        """Apply what earlier calls say of the messages."""
        reported_from, _, _ = self._earlier_reports(conversation)
        conversation.apply_earlier_calls(reported_from, self._clamped_tokens(conversation))

    def billing(self, conversation: AgentConversation) -> Billing:
        """Return how counts become bills, by the reports before those."""
        _, anchor, first_unreported = self._earlier_reports(conversation)
        return Billing(
            self.budget,
            reserved=self._facts.settings.reserve_tokens,
            borrowed_tokenizer=self._facts.counter.borrowed_tokenizer,
            is_estimate=self._facts.counter.is_estimate,
            anchor=anchor,
            first_unreported=first_unreported,
        )

    def _earlier_reports(self, conversation: AgentConversation) -> tuple[int, Anchor, int]:
        """Return the first index whose report counts, the anchor before it, and the first index that does not cover.

        Where nothing is known, all replies are taken to answer requests with these settings.
        """
        if self.overflowed is not None:
            return len(conversation.messages), self.overflowed.anchor, self.overflowed.first_unreported
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
        shown: ShownRecord,
        evicted: Sequence[BaseMessage],
    ) -> dict[str, Any] | None:
        """Return the private state after a call; `None` if it stays as it is.

        `shown` is what it showed, `evicted` the messages that later calls do not see.
        """
        evicts = self._facts.settings.evict_from_state
        # Later replays cannot find this out: messages are deleted, or windows so far were under another limit.
        must_store = evicts or self.overflowed is not None
        left = {message.id for message in evicted}
        saved: dict[str, Any] = {"limits": self._limits}
        saved |= self._saved_anchor(conversation.messages, call, left, must_store=must_store)
        if evicts:
            saved |= self._saved_clamped(conversation, call, left)
        saved["shown"] = self.raw.get("shown") if shown is NO_RECORD else list(shown)
        saved = {name: value for name, value in saved.items() if value}
        return None if saved == self.raw else saved

    def _saved_anchor(
        self, messages: Sequence[BaseMessage], call: CallWindow, left: set[str | None], *, must_store: bool
    ) -> dict[str, Any]:
        """Return under which settings replies reported their usage, and from which one on."""
        anchored = self.raw.get("anchored")
        # Also kept while a model without reports runs; else old reports would count again after it.
        if anchored is None and not self._facts.uses_reports:
            return {}
        basis = self.basis
        if anchored is None and not must_store:
            # All replies so far are taken to answer requests with these settings.
            return {"basis": basis, "anchored": [None, None, None]}
        if must_store or self.raw["basis"] != basis:
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
