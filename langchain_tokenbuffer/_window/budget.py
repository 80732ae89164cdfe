"""What the decision is given, and what it answers: plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from langchain_tokenbuffer._counting.reported_usage import Report
    from langchain_tokenbuffer._messages.kinds import Kind

Oversize: TypeAlias = Literal["clamp", "raise", "drop"]


class MessageTokens(NamedTuple):
    """One message in numbers.

    Attributes:
        kind: What it is to the window.
        tokens: What it adds to a request.
        calls: How many tool calls it makes.
        pinned: Whether it stays whatever the budget.
        clamped: The tokens it was clamped to by a replay whose earlier messages are deleted since.
        report: What the provider billed for it, of a reply that may be believed.
    """

    kind: Kind
    tokens: int
    calls: int = 0
    pinned: bool = False
    clamped: int | None = None
    report: Report | None = None

    @property
    def clamped_tokens(self) -> int:
        """What it adds when it comes, in tokens."""
        return self.tokens if self.clamped is None else min(self.tokens, self.clamped)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a window may take and what happens when it cannot.

    Attributes:
        max_tokens: High-water mark, in tokens: a window never costs more.
        trim_to: Low-water mark in (0, 1]: the share of what `max_tokens` leaves to the tail that
            the tail takes after the cut has moved.
        fixed: What the request costs beside its messages, in tokens.
        slack: How much of `fixed` is only rounding, in tokens; what must stay may take it when
            it does not fit otherwise.
        oversize: `"clamp"`, `"raise"` or `"drop"`.
        drop_if_unclampable: Leave out what not even clamping fits, instead of raising.
        turns: Whether turns and steps are the units. `False`: single messages are the units,
            nothing is pinned, the window may be empty.
    """

    max_tokens: int
    trim_to: float = 0.6
    fixed: int = 0
    slack: int = 0
    oversize: Oversize = "clamp"
    drop_if_unclampable: bool = False
    turns: bool = True


def slack_of(max_tokens: int, fixed: int) -> int:
    """Return by how much the fixed part of a request is rounded up, in tokens.

    So a clock in the system prompt, or one tool more, does not move the cut.
    """
    return -fixed % max(1, max_tokens // 64)


@dataclass(frozen=True, slots=True)
class Window:
    """What the model sees of a conversation, by index into it.

    Attributes:
        kept: Indices of the messages in the window, in order.
        dropped: Indices of all the others, in order.
        clamped: Index to size in tokens of the kept messages whose text is shortened to that size.
        cut: Index at which the window's tail begins: from here on every message is kept, unless
            `oversize="drop"` left it out. The length of the conversation when there is no tail.
        tokens: What the window costs, with the fixed part of the request.
        thinned: Indices of the kept AI messages whose stale thinking blocks are left out.
    """

    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    clamped: dict[int, int] = field(hash=False)
    cut: int
    tokens: int
    thinned: tuple[int, ...] = ()
