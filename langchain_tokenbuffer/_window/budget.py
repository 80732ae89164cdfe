"""What the decision is given, and what it answers: plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from langchain_tokenbuffer._counting.reported_usage import Report
    from langchain_tokenbuffer._messages.kinds import Kind
    from langchain_tokenbuffer._messages.slots import Piece, StandIn
    from langchain_tokenbuffer._messages.violations import Violation

Oversize: TypeAlias = Literal["clamp", "raise", "drop"]


class MessageTokens(NamedTuple):
    """One message in numbers."""

    kind: Kind  # what it is to the window
    tokens: int  # what it adds to a request
    calls: tuple[str | None, ...] = ()  # the ids of the calls it makes that wait for a result
    results: tuple[str | None, ...] = ()  # the ids of the calls it answers
    server_calls: tuple[str, ...] = ()  # of calls that the provider runs: the next AI message may have their results
    pinned: bool = False  # whether it stays whatever the budget
    is_notification: bool = False  # whether it is a human message that no user wrote
    compacts: bool = False  # whether it stands for everything before it
    clamped: int | None = None  # tokens it was clamped to by a replay whose earlier messages are deleted since
    report: Report | None = None  # what the provider billed for it, of a reply that may be believed

    @property
    def clamped_tokens(self) -> int:
        """What it adds when it comes, in tokens."""
        return self.tokens if self.clamped is None else min(self.tokens, self.clamped)


class MessageSource(Protocol):
    """Where a replay asks about the messages themselves, when it has to shorten or to mend."""

    def min_tokens(self, index: int) -> int:
        """Return the fewest tokens to which the message at an index can be clamped."""
        ...

    def mended_tokens(self, slot: StandIn | Piece) -> int | None:
        """Return what a stand-in or a piece costs; `None` for the stand-in of a call that nothing can answer."""
        ...


@dataclass(frozen=True, slots=True)
class Budget:
    """What a window may take and what happens when it cannot."""

    max_tokens: int  # high-water mark: a window never costs more
    trim_to: float = (
        0.6  # low-water mark: of what `max_tokens` leaves to the tail, the share it takes after the cut moved
    )
    fixed: int = 0  # what the request costs beside its messages, in tokens
    slack: int = 0  # how much of `fixed` is only rounding; what must stay may take it when it does not fit otherwise
    oversize: Oversize = "clamp"
    drop_if_unclampable: bool = False  # leave out what not even clamping fits, instead of raising
    clear_results: bool = False  # whether results of old steps go to their marker before whole steps leave
    turns: bool = True  # False: single messages are the units, nothing is pinned, the window may be empty

    @property
    def may_drop(self) -> bool:
        """Whether the newest unit may be left out when nothing else helps."""
        return self.oversize == "drop" or (self.drop_if_unclampable and self.oversize == "clamp")

    def limited(self, max_tokens: int) -> Budget:
        """Return it with at most so many tokens; the fixed part is rounded up anew."""
        if max_tokens >= self.max_tokens:
            return self
        exact = self.fixed - self.slack
        slack = slack_of(max_tokens, exact)
        return replace(self, max_tokens=max_tokens, fixed=exact + slack, slack=slack)


def slack_of(max_tokens: int, fixed: int) -> int:
    """Return by how much the fixed part of a request is rounded up, in tokens.

    So a clock in the system prompt, or one tool more, does not move the cut.
    """
    return -fixed % max(1, max_tokens // 64)


@dataclass(frozen=True, slots=True)
class Window:
    """What the model sees of a conversation, by index into it.

    Attributes:
        kept: Indices of the messages in the window, in its order: that of the input, but for results that mending put
            behind their call.
        dropped: Indices of all the others, in order.
        clamped: Index to tokens of the kept messages whose text is shortened to so many, without those of `cleared`.
        cut: Index at which the window's tail begins: from here on every message is kept, unless `oversize="drop"` left
            it out. The length of the conversation when there is no tail.
        tokens: What the window costs, with the fixed part of the request.
        thinned: Indices of the kept AI messages whose stale thinking blocks are left out.
        cleared: Indices of the kept tool results that are cleared: shortened to their marker.
        mended: What was out of order among the messages from the cut on and those kept before it, and what was done.
        recalled: Indices of the dropped messages of which something is quoted in front of the newest question.
    """

    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    clamped: dict[int, int] = field(hash=False)
    cut: int
    tokens: int
    thinned: tuple[int, ...] = ()
    mended: tuple[Violation, ...] = ()
    cleared: tuple[int, ...] = ()
    recalled: tuple[int, ...] = ()
