"""What earlier calls of a thread taught, and what later calls, and other processes, are to know.

The agent's private state holds it in plain JSON types, by message id. What it says of a message
holds only while all up to that message is as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_tokenbuffer._counting.reported_usage import NO_ANCHOR, Anchor
from langchain_tokenbuffer._window.billing import Billing
from langchain_tokenbuffer._window.replay import RULE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._agents.conversation import AgentConversation
    from langchain_tokenbuffer._agents.facts import RequestFacts
    from langchain_tokenbuffer._agents.plan import CallPlan


class Overflowed(NamedTuple):
    """What a provider's refusal teaches: a limit, and the usage known when it came."""

    limit: int
    anchor: Anchor
    first_unreported: int


class ThreadState:
    """What the private state knows of a thread, for one request.

    Attributes:
        raw: The private state as it is.
        overflowed: What a refusal of this very request taught.
        max_tokens: The budget in force: no more than any refusal allowed.
        budget: The same as the window takes it.
        thinned: Ids of the messages whose thinking is left out for good.
    """

    def __init__(
        self, raw: dict[str, Any], facts: RequestFacts, overflowed: Overflowed | None = None
    ) -> None:
        self.raw = raw
        self.overflowed = overflowed
        self._facts = facts
        self._limits: dict[str, int] = dict(raw.get("limits", {}))
        if overflowed is not None:
            self._limits[facts.model] = overflowed.limit
        self.max_tokens = min(facts.max_tokens, self._limits.get(facts.model, facts.max_tokens))
        self.budget = facts.budget(self.max_tokens)
        self.thinned: set[str] = set(raw.get("thinned", ()))

    @classmethod
    def load(
        cls, state: Mapping[str, Any], facts: RequestFacts, overflowed: Overflowed | None = None
    ) -> ThreadState:
        """Read the agent's state."""
        return cls(state.get("token_buffer") or {}, facts, overflowed)

    @property
    def settings_key(self) -> list[Any]:
        """Under which settings anchors and clamped sizes hold, in JSON types."""
        budget = self.budget
        settings = [budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize]
        return [RULE, *settings, self._facts.counter.describe()]

    def reported_from(self, conversation: AgentConversation) -> int:
        """Return the index from which on replies report the usage of requests like this."""
        if self.overflowed is not None or not self._facts.uses_reports:
            return len(conversation.messages)
        return self._anchored(conversation)[0]

    def billing(self, conversation: AgentConversation) -> Billing:
        """Return how counts become bills, by the reports before those."""
        anchor, first_unreported = NO_ANCHOR, 0
        if self.overflowed is not None:
            _, anchor, first_unreported = self.overflowed
        elif self._facts.uses_reports:
            _, anchor, first_unreported = self._anchored(conversation)
        return Billing(
            self.budget,
            reserved=self._facts.settings.reserve_tokens,
            borrowed_tokenizer=self._facts.counter.borrowed_tokenizer,
            is_estimate=self._facts.counter.is_estimate,
            anchor=anchor,
            first_unreported=first_unreported,
        )

    def _anchored(self, conversation: AgentConversation) -> tuple[int, Anchor, int]:
        """Return the first index to report, the anchor before it, and what that says nothing of.

        What is not known is taken to be like this request.
        """
        anchored = self.raw.get("anchored")
        if anchored is None:
            return 0, NO_ANCHOR, 0
        if self.raw["basis"] != self.settings_key:
            return len(conversation.messages), NO_ANCHOR, 0
        newest, anchor, unreported = anchored
        if newest is None:  # since the beginning
            return 0, NO_ANCHOR, 0
        places = {each: index for index, each in enumerate(conversation.ids)}
        first = places.get(newest, -1) + 1
        if anchor is None:
            return first, NO_ANCHOR, 0
        return first, Anchor(*anchor), places.get(unreported, first)

    def clamped_tokens(self, conversation: AgentConversation) -> dict[int, int]:
        """Return clamped sizes by index, where all up to the message is as it was."""
        sizes = self.raw.get("sizes")
        if not sizes or self.raw["basis"] != self.settings_key:
            return {}
        marks = conversation.fingerprints(sizes)
        return {
            index: sizes[each][0]
            for index, each in enumerate(conversation.ids)
            if each in marks and sizes[each][1] == marks[each]
        }

    # --- what is to be known ---

    def save(self, plan: CallPlan, evicted: Sequence[BaseMessage]) -> dict[str, Any] | None:
        """Return the private state after a call; `None` if it stays as it is."""
        # Later replays cannot find out themselves what deleted messages, or a limit, would teach.
        anew = self._facts.settings.evict_from_state or self.overflowed is not None
        left = {message.id for message in evicted}
        saved = {
            "limits": self._limits,
            **self._saved_anchor(plan, left, anew=anew),
            **self._saved_sizes(plan, left),
            "thinned": self._saved_thinned(plan) if anew or self.thinned else None,
        }
        saved = {name: value for name, value in saved.items() if value}
        return None if saved == self.raw else saved

    def _saved_anchor(self, plan: CallPlan, left: set[str | None], *, anew: bool) -> dict[str, Any]:
        """Return under which settings replies reported their usage, and from which one on.

        Args:
            plan: The call.
            left: Ids of what later calls do not see.
            anew: Whether replays cannot find this anchor themselves from now on.
        """
        # Also by a model whose reports are not used: what is forgotten would be used again.
        if not (self._facts.uses_reports or "anchored" in self.raw):
            return {}
        basis, anchor, messages = self.settings_key, plan.call.anchor, plan.conversation.messages
        anchored = self.raw.get("anchored") if self.raw.get("basis") == basis else None
        if anchored is not None and not anew:
            return {"basis": basis, "anchored": anchored}
        # What is not known yet is taken to be as it is now, from the beginning on.
        is_later = bool(messages) and (anew or "anchored" in self.raw)
        newest = messages[-1].id if is_later else None
        if newest is None or anchor is NO_ANCHOR:
            return {"basis": basis, "anchored": [newest, None, None]}
        unreported = messages[plan.call.first_unreported :]
        first = next((each.id for each in unreported if each.id not in left), None)
        return {"basis": basis, "anchored": [newest, list(anchor), first]}

    def _saved_sizes(self, plan: CallPlan, left: set[str | None]) -> dict[str, Any]:
        """Return what the evicted messages would teach a replay that no longer sees them."""
        clamped = plan.call.clamped if self._facts.settings.evict_from_state else {}
        messages = plan.conversation.messages
        sizes = {name: clamped[index] for index in clamped if (name := messages[index].id)}
        if not sizes:
            return {}
        marks = plan.conversation.fingerprints(sizes, without=left)
        marked = {name: [tokens, marks[name]] for name, tokens in sizes.items()}
        return {"basis": self.settings_key, "sizes": marked}

    def _saved_thinned(self, plan: CallPlan) -> list[str | None]:
        return [plan.conversation.messages[index].id for index in plan.thinned]
