"""Why what must stay does not fit: its parts, in words and in tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_tokenbuffer._window.units import parts_of
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langchain_tokenbuffer._window.budget import Budget, MessageSource
    from langchain_tokenbuffer._window.units import Part, Unit

FIXED_PART = "the fixed part of the request"
"""Its name among what the tokens of an error are made of."""


def shortage_of(
    budget: Budget, head_tokens: int, pinned: Iterable[Unit], tail: Iterable[Unit], source: MessageSource
) -> TokenBudgetError:
    """Say what must stay, what it needs, and what to do."""
    clamps = budget.oversize == "clamp"

    def least(part: Part) -> int:
        return part.min_tokens(source) if clamps and part.kind != "system" else part.tokens

    held, newest = "what is pinned", "the question"
    if not any(unit.begins_turn for unit in tail):
        held, newest = "the question and what is pinned", "the newest step"
    made_of = {
        "the system messages": head_tokens,
        held: sum(map(least, parts_of(pinned))),
        newest: sum(map(least, parts_of(tail))),
        FIXED_PART: budget.fixed - budget.slack,
    }
    return budget_error(made_of, budget.max_tokens, clamped=clamps)


def budget_error(made_of: Mapping[str, int], max_tokens: int, *, clamped: bool) -> TokenBudgetError:
    """Return the error that says what must stay, what it needs, and what to do.

    Args:
        made_of: What must stay, in tokens by name.
        max_tokens: The budget it does not fit, in tokens.
        clamped: Whether these are already the smallest clamps.
    """
    tokens = sum(made_of.values())
    parts = ", ".join(f"{name} {n}" for name, n in made_of.items() if n)
    even, otherwise = (" even when clamped", "") if clamped else ("", ', or allow "clamp"')
    message = (
        f"What must stay needs {tokens} tokens{even} ({parts}); max_tokens is "
        f"{max_tokens}. Raise max_tokens, shorten or unpin what must stay{otherwise}."
    )
    return TokenBudgetError(message, tokens=tokens, max_tokens=max_tokens, made_of=made_of)
