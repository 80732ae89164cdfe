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
    from langchain_tokenbuffer._window.driver import CallWindow


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

    def __init__(self, raw: dict[str, Any], facts: RequestFacts, overflowed: Overflowed | None = None) -> None:
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
    def load(cls, state: Mapping[str, Any], facts: RequestFacts, overflowed: Overflowed | None = None) -> ThreadState:
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

    def save(
        self,
        conversation: AgentConversation,
        call: CallWindow,
        thinned: Sequence[int],
        evicted: Sequence[BaseMessage],
    ) -> dict[str, Any] | None:
        """Return the private state after a call; `None` if it stays as it is.

        Args:
            conversation: All messages of the request.
            call: The window that was sent.
            thinned: The messages whose thinking was left out.
            evicted: What later calls do not see.
        """
        evicts = self._facts.settings.evict_from_state
        # Later replays cannot find out themselves what deleted messages, or a limit, would teach.
        anew = evicts or self.overflowed is not None
        left = {message.id for message in evicted}
        names = [conversation.messages[index].id for index in thinned]
        saved = {
            "limits": self._limits,
            **self._saved_anchor(conversation.messages, call, left, anew=anew),
            **(self._saved_sizes(conversation, call, left) if evicts else {}),
            "thinned": names if anew or self.thinned else None,
        }
        saved = {name: value for name, value in saved.items() if value}
        return None if saved == self.raw else saved

    def _saved_anchor(
        self,
        messages: Sequence[BaseMessage],
        call: CallWindow,
        left: set[str | None],
        *,
        anew: bool,
    ) -> dict[str, Any]:
        """Return under which settings replies reported their usage, and from which one on.

        `anew`: replays cannot find this anchor themselves from now on.
        """
        # Also by a model whose reports are not used: what is forgotten would be used again.
        if not (self._facts.uses_reports or "anchored" in self.raw):
            return {}
        basis, anchored = self.settings_key, self.raw.get("anchored")
        if anchored is None or anew or self.raw["basis"] != basis:
            # What is not known yet is taken to be as it is now, from the beginning on.
            is_later = messages and (anew or anchored is not None)
            newest = messages[-1].id if is_later else None
            anchored = [newest, None, None] if newest is None else [newest, *_anchor_of(messages, call, left)]
        return {"basis": basis, "anchored": anchored}

    def _saved_sizes(self, conversation: AgentConversation, call: CallWindow, left: set[str | None]) -> dict[str, Any]:
        """Return what the evicted messages would teach a replay that no longer sees them."""
        messages = conversation.messages
        named = {messages[index].id: tokens for index, tokens in call.clamped.items()}
        sizes = {name: tokens for name, tokens in named.items() if name}
        if not sizes:
            return {}
        marks = conversation.fingerprints(sizes, without=left)
        marked = {name: [tokens, marks[name]] for name, tokens in sizes.items()}
        return {"basis": self.settings_key, "sizes": marked}


def _anchor_of(messages: Sequence[BaseMessage], call: CallWindow, left: set[str | None]) -> list[Any]:
    """Return the anchor a call came to, and the id of the first message it says nothing of."""
    if call.anchor is NO_ANCHOR:
        return [None, None]
    later = (each.id for each in messages[call.first_unreported :])
    return [list(call.anchor), next((each for each in later if each not in left), None)]
