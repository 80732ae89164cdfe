"""How counted tokens become billed ones, as far as replies have reported their usage.

The replay goes on in counted tokens. A report only changes how many of them a budget is worth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from langchain_tokenbuffer._counting.reported_usage import NO_ANCHOR, Anchor, Report, is_plausible

if TYPE_CHECKING:
    from langchain_tokenbuffer._window.budget import Budget


@dataclass(frozen=True, slots=True)
class Billing:
    """How one request's counts become its bill, in tokens."""

    budget: Budget  # in counted tokens, while no report says otherwise
    limits: tuple[tuple[int, int | None], ...] = ()  # from an index on at most so many tokens, if not `None`; in order
    reserved: int = 0  # of it, what is kept free for what is not counted
    borrowed_tokenizer: bool = False  # whether texts are counted with another tokenizer than the model's
    is_estimate: bool = False  # whether reports are nearer the truth than the count
    anchor: Anchor = NO_ANCHOR  # what earlier reports have come to, before the first message
    first_unreported: int = 0  # index of the first message that this anchor does not cover

    @property
    def overhead(self) -> int:
        """What is counted beside the messages, rounded up, so that replays agree on it."""
        return self.budget.fixed - self.reserved

    def estimated_bill(self, anchor: Anchor, window: int, unreported: int) -> int:
        """Return what a request is billed whose messages are counted to `window`, `unreported` of it after reports."""
        if not anchor.billed:
            return self.budget.fixed - self.budget.slack + window
        return self.reserved + anchor.tokens(window, unreported, self.overhead)

    def budget_at(self, index: int) -> Budget:
        """Return the budget under which the message at an index comes."""
        limit = next((limit for start, limit in reversed(self.limits) if start <= index), None)
        return self.budget if limit is None else self.budget.limited(limit)

    def until(self, count: int, *, with_slack: bool) -> Billing:
        """Return what so many messages come under, whatever holds for later ones."""
        limits = tuple((start, limit) for start, limit in self.limits if start < count)
        budget = self.budget if with_slack else replace(self.budget, slack=0)
        return replace(self, budget=budget, limits=limits)

    def budget_under(self, anchor: Anchor, unreported: int, index: int) -> Budget:
        """Return the budget in counted tokens under which the message at an index comes, given what is reported."""
        budget = self.budget_at(index)
        if not anchor.billed:
            return budget
        room = anchor.room(budget.max_tokens - self.reserved, unreported, self.overhead)
        return replace(budget, max_tokens=budget.fixed + room, slack=0)

    def anchor_after(self, anchor: Anchor, report: Report, window: int, unreported: int, reply: int) -> Anchor | None:
        """Return the anchor after a reply counted to `reply`; `None` if its report is not to be believed yet.

        It answers messages counted to `window`, `unreported` of it behind the anchor. A report that cannot be this
        window's bill may be of a request with other tools, under other settings, or with messages that are deleted
        since. Two that agree are believed: the provider adds something by itself, or its vocabulary is another.
        """
        counted = self.overhead + window
        is_expected = is_plausible(report, counted) or (
            anchor.believes and is_plausible(report, anchor.tokens(window, unreported, self.overhead))
        )
        if not is_expected:
            if not anchor.agrees(report, counted):
                return None
            anchor = anchor._replace(believes=True)
        after = anchor.moved(report, window, reply, self.overhead, borrowed_tokenizer=self.borrowed_tokenizer)
        counts_exactly = not (self.is_estimate or self.borrowed_tokenizer or anchor.believes)
        return NO_ANCHOR if counts_exactly and report.input <= counted and not after.thought else after
