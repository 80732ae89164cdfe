"""To how many tokens each message is clamped when what must stay does not fit."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer._window.units import Part


def shrink_parts(parts: Sequence[Part], floors: Sequence[int], excess: int) -> list[int] | None:
    """Shrink the biggest tool results, then the biggest other texts, until `excess` tokens are saved.

    Returns the new tokens of each part, none below its floor; `None` if not even the floors save enough.
    """
    tokens = [part.tokens for part in parts]
    for of_results in (True, False):
        group = [i for i, part in enumerate(parts) if (part.kind == "tool") is of_results]
        shrunk = shrink([tokens[i] for i in group], [floors[i] for i in group], excess)
        for i, fewer in zip(group, shrunk, strict=True):
            excess -= tokens[i] - fewer
            tokens[i] = fewer
    return tokens if excess <= 0 else None


def shrink(tokens: Sequence[int], floors: Sequence[int], excess: int) -> list[int]:
    """Shrink the biggest of these numbers of tokens to one common level, so that `excess` is saved.

    The level is the highest integer that saves enough; nothing shrinks below its floor, or when `excess` is not
    positive. When even the floors do not save enough, the floors are returned.
    """
    if excess <= 0 or not tokens:
        return list(tokens)

    def at(level: int) -> list[int]:
        return [min(each, max(level, floor)) for each, floor in zip(tokens, floors, strict=True)]

    total = sum(tokens)
    # Savings fall as the level rises, so shortfalls rise: the first level that saves too little lies one above the
    # one wanted. The biggest number is such a level.
    level = bisect_left(range(max(tokens)), 1, key=lambda level: int(total - sum(at(level)) < excess))
    return at(max(level - 1, 0))
