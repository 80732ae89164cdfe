"""The one driver that follows a conversation through the replay, from model call to model call.

It is fed messages in numbers, and alone knows what left, what changed since the last model call, why, and how much of
the request begins as the last one did. Every surface uses this class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from langchain_tokenbuffer._window.billing import Billing
from langchain_tokenbuffer._window.replay import Replay
from langchain_tokenbuffer._window.shortage import FIXED_PART, budget_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_tokenbuffer._counting.reported_usage import Anchor, Report
    from langchain_tokenbuffer._messages.slots import Slot
    from langchain_tokenbuffer._messages.violations import Violation
    from langchain_tokenbuffer._window.budget import Budget, MessageSource, MessageTokens, Window
    from langchain_tokenbuffer.errors import TokenBudgetError

WindowReason: TypeAlias = Literal["fits", "held", "moved", "clamped"]
"""Why a window is what it is: everything is seen; the cut stayed where it was; it moved; something had to be shortened
now."""


class CallWindow(NamedTuple):
    """The window of the model call that comes now, compared with the last call's."""

    cut: int  # index at which the window's tail begins
    clamped: Mapping[int, int]  # index to tokens of the kept messages that are shortened, clamped or cleared
    cleared: frozenset[int]  # of these, the results that are cleared
    tokens: int  # estimated bill, with clamped messages at their clamp target
    total_tokens: int  # the same with every message of the conversation
    reason: WindowReason
    previous_length: int  # how many messages there were at the last call; 0 if this is the first
    first_changed: int  # the first index at which the request is not the last call's
    unchanged_tokens: int  # what is charged for the window's messages before `first_changed`
    unchanged_unreported_tokens: int  # what is charged for those of them that no report covers
    billing: Billing  # turns counts into bills
    anchor: Anchor  # the last report that counts, as counted and as billed
    first_unreported: int  # index of the first message that came after that report

    @property
    def moved(self) -> bool:
        """Whether the request does not extend the last call's."""
        return self.first_changed < self.previous_length

    def reusable_tokens(self, saved: Mapping[int, int]) -> int:
        """Return how much of the request begins as the last call's did, in tokens.

        Nothing at the first call; the fixed part counts as unchanged.

        Args:
            saved: By index, tokens by which a shown copy is smaller than its charge.
        """
        if not self.previous_length:
            return 0
        unchanged = {index: tokens for index, tokens in saved.items() if index < self.first_changed}
        unreported = [tokens for index, tokens in unchanged.items() if index >= self.first_unreported]
        bill = self.billing.estimated_bill(
            self.anchor,
            self.unchanged_tokens - sum(unchanged.values()),
            self.unchanged_unreported_tokens - sum(unreported),
        )
        return bill - self.billing.reserved


class WindowDriver:
    """Follows one conversation through the replay.

    Law: what it comes to depends on the messages and the settings alone, not on when it was asked. Nobody sets its
    fields from outside. `billing` turns counts into bills; by default they are equal. `start` is the index of the first
    message.
    """

    def __init__(self, budget: Budget, billing: Billing | None = None, *, start: int = 0) -> None:
        self._billing = billing or Billing(budget)
        self._replay = Replay(budget)
        self._replay.skip_to(start)
        self._anchor = self._billing.anchor
        self._first_unreported = self._billing.first_unreported
        self._unreported: int | None = None  # the window's tokens that no report covers; None: to be computed
        self._total_tokens = 0  # of all messages
        self._total_unreported_tokens = 0
        self._used_slack = False
        self._has_dropped = False
        self._window: Window | None = None
        self._drop_errors: list[TokenBudgetError] = []
        # Since the last model call, which saw what came before the newest AI message:
        self._previous_length = 0
        self._first_changed = 0
        self._left_since_call: list[int] = []

    @classmethod
    def resume(cls, budget: Budget, state: Sequence[Any]) -> WindowDriver:
        """Return a driver that goes on where another one stopped; see `state`."""
        self = cls(budget)
        self._replay = Replay.from_state(budget, state)
        return self

    def state(self) -> list[Any]:
        """Return what resuming needs, as JSON can hold it: the window, not what was called."""
        return self._replay.state()

    # --- going on ---

    def push(self, message: MessageTokens, source: MessageSource, at: int | None = None) -> list[int]:
        """Follow the conversation by one message; return what left, as `Replay.push` does."""
        replay = self._replay
        index = replay.count if at is None else at
        if message.kind == "ai":
            self._begin_call(index, message)
        elif message.kind == "human" and self._anchor.thought and not message.results:
            self._anchor = self._anchor._replace(thought=0)
        self._total_tokens += message.tokens
        if self._anchor.billed:
            self._rescale(index, message)
        elif self._billing.limits:
            replay.rebase(self._billing.budget_at(index))
        left = replay.push(message, source, at)
        self._follow_up(index, message, left)
        return left

    def skip_to(self, index: int) -> None:
        self._replay.skip_to(index)

    def can_continue(self, billing: Billing) -> bool:
        """Tell whether the conversation would have come to the same under these settings."""
        followed, asked = (each.until(self.count, with_slack=self._used_slack) for each in (self._billing, billing))
        return followed == asked

    def continue_under(self, billing: Billing) -> None:
        """Take settings for which `can_continue` is true."""
        self._billing = billing
        self._window = None
        if not self._anchor.billed:
            self._replay.rebase(billing.budget_at(self.count - 1))

    def take_drop_errors(self) -> list[TokenBudgetError]:
        """Return why units were left out, each once."""
        errors, self._drop_errors = self._drop_errors, []
        return errors

    def _begin_call(self, index: int, reply: MessageTokens) -> None:
        """A reply comes: what came before it is what the model saw."""
        self._previous_length = self._first_changed = index
        self._left_since_call = []
        if reply.report is not None:
            self._use_report(index, reply.report, reply.tokens)

    def _use_report(self, index: int, report: Report, tokens: int) -> None:
        """Let the budget be worth what a report says, from its message on and no sooner."""
        billing, window = self._billing, self._replay.message_tokens
        anchor = billing.anchor_after(self._anchor, report, window, self._window_unreported(), tokens)
        if anchor is None:
            self._anchor = self._anchor.doubting(report, billing.overhead + window)
            return
        self._anchor, self._first_unreported = anchor, index + 1
        self._total_unreported_tokens = self._unreported = 0
        if not anchor.billed:
            self._replay.rebase(self._billing.budget_at(index))

    def _rescale(self, index: int, message: MessageTokens) -> None:
        """Rescale the budget for tokens that no usage report covers."""
        unreported = self._window_unreported()
        if index >= self._first_unreported:
            unreported += message.clamped_tokens
            self._total_unreported_tokens += message.tokens
        self._unreported = unreported
        self._replay.rebase(self._billing.budget_under(self._anchor, unreported, index))

    def _follow_up(self, index: int, message: MessageTokens, left: list[int]) -> None:
        replay, changed = self._replay, self._replay.changed
        self._window = None
        self._used_slack |= replay.tokens > replay.budget.max_tokens
        if message.kind == "system":  # `_rescale` has added it, but `tokens_from` never has what is in the head
            self._unreported = None
        if changed > index:
            return  # most messages are only appended
        self._unreported = None
        self._left_since_call += left
        self._has_dropped |= bool(left)
        if replay.drop_error is not None:
            self._drop_errors.append(self._as_billed(replay.drop_error))
        if changed < index:
            # Messages before the newest left or were shortened: the next request does not extend the last one.
            if self._anchor.previous_billed:  # so the bills of the two say nothing of how a request grows
                self._anchor = self._anchor.without_previous()
            self._first_changed = min(self._first_changed, changed)

    # --- what it has come to; see also `Replay` ---

    @property
    def count(self) -> int:
        """The index of the next message."""
        return self._replay.count

    @property
    def cut(self) -> int:
        return self._replay.cut

    @property
    def tokens(self) -> int:
        """What is charged for the window, with the fixed part, in tokens."""
        return self._replay.tokens

    @property
    def open_calls(self) -> list[str | None] | None:
        return self._replay.open_calls

    @property
    def has_question(self) -> bool:
        return self._replay.has_question

    @property
    def strays(self) -> Sequence[int]:
        return self._replay.strays

    @property
    def kept_before_cut(self) -> list[int]:
        return self._replay.kept_before_cut

    @property
    def shortage(self) -> TokenBudgetError | None:
        """Why the last message does not fit, if nothing allowed makes it fit."""
        shortage = self._replay.shortage
        return None if shortage is None else self._as_billed(shortage)

    @property
    def left_since_call(self) -> list[int]:
        """The indices that left the window since the last model call, in no order."""
        return self._left_since_call

    def slots(self) -> list[Slot]:
        """Return what is in the window, in order; raise as `Replay.slots` does. O(window)."""
        if (shortage := self.shortage) is not None:
            raise shortage
        return self._replay.slots()

    def mended(self) -> tuple[Violation, ...]:
        """Return what is out of order in the window, and what was done."""
        return self._replay.mended()

    def clamped(self) -> dict[int, int]:
        """Return index and tokens of what is shortened, clamped or cleared, as a new dict."""
        return dict(self._replay.clamped)

    def window(self) -> Window:
        """Return the window, or raise as `slots` does. O(conversation), once for the same."""
        if (shortage := self.shortage) is not None:
            raise shortage
        if self._window is None:
            self._window = self._replay.window()
        return self._window

    def call(self, *, first_thinned: int | None = None, is_thinned: bool = False) -> CallWindow:
        """Return the window of the model call that comes now, compared with the last call's.

        `first_thinned` is the first message whose thinking is left out for the first time, `is_thinned` whether any is.
        """
        replay = self._replay
        # A request changes where the window does, or before that, where thinking is left out for the first time.
        first_changed = self._first_changed if first_thinned is None else min(self._first_changed, first_thinned)
        later = replay.tokens_from(first_changed)
        unreported = self._window_unreported()
        bill = self._billing.estimated_bill
        return CallWindow(
            cut=replay.cut,
            clamped=replay.clamped,
            cleared=replay.cleared,
            tokens=bill(self._anchor, replay.message_tokens, unreported),
            total_tokens=bill(self._anchor, self._total_tokens, self._total_unreported_tokens),
            reason=self._reason(first_changed, is_shortened=bool(replay.clamped) or is_thinned),
            previous_length=self._previous_length,
            first_changed=first_changed,
            unchanged_tokens=replay.message_tokens - later,
            unchanged_unreported_tokens=max(0, unreported - later),
            billing=self._billing,
            anchor=self._anchor,
            first_unreported=self._first_unreported,
        )

    def _reason(self, first_changed: int, *, is_shortened: bool) -> WindowReason:
        # Where the window itself changed: leaving thinking out clamps nothing anew behind it.
        if max(self._replay.clamped, default=-1) >= self._first_changed:
            return "clamped"
        if first_changed < self._previous_length:
            return "moved"
        return "held" if self._has_dropped or is_shortened else "fits"

    def _window_unreported(self) -> int:
        """Return what the window has of messages that no report covers, in tokens."""
        if not self._anchor.billed:
            return 0
        if self._unreported is None:
            self._unreported = self._replay.tokens_since(self._first_unreported)
        return self._unreported

    def _as_billed(self, error: TokenBudgetError) -> TokenBudgetError:
        """Return the error in billed tokens, as the caller reads it."""
        if not self._anchor.billed:
            return error
        window = error.tokens - self._replay.budget.fixed
        unreported = min(window, self._replay.tokens_since(self._first_unreported))
        tokens = self._billing.estimated_bill(self._anchor, window, unreported)
        made_of = {name: n * tokens // error.tokens for name, n in error.made_of.items()}
        made_of[FIXED_PART] += tokens - sum(made_of.values())
        budget = self._billing.budget_at(self.count - 1)
        return budget_error(made_of, budget.max_tokens, clamped=budget.oversize == "clamp")
