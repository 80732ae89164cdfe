"""To how many tokens each message is clamped when what must stay does not fit."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer._window.units import Part


def shrink_parts(parts: Sequence[Part], floors: Sequence[int], excess: int) -> list[int] | None:
    """Shrink the biggest tool results, then the biggest other texts, until `excess` is saved.

    Args:
        parts: The messages that may be clamped.
        floors: The smallest each may become, in tokens.
        excess: Tokens to save.

    Returns:
        The new tokens of each part; `None` if not even the floors save enough.
    """
    sizes = [part.tokens for part in parts]
    for of_results in (True, False):
        group = [i for i, part in enumerate(parts) if (part.kind == "tool") is of_results]
        before = [sizes[i] for i in group]
        after = shrink(before, [floors[i] for i in group], excess)
        excess -= sum(before) - sum(after)
        for i, size in zip(group, after, strict=True):
            sizes[i] = size
    return sizes if excess <= 0 else None


def shrink(sizes: Sequence[int], floors: Sequence[int], excess: int) -> list[int]:
    """Shrink the biggest sizes to one common level, so that `excess` tokens are saved.

    The level is the highest integer that saves enough; nothing shrinks below its floor. When even
    the floors do not save enough, the floors are returned.

    Args:
        sizes: In tokens.
        floors: The smallest each may become, in tokens; `floors[i] <= sizes[i]`.
        excess: Tokens to save; nothing shrinks when it is not positive.

    Returns:
        The new sizes, in the order of `sizes`.
    """
    if excess <= 0 or not sizes:
        return list(sizes)

    def at(level: int) -> list[int]:
        return [min(size, max(level, floor)) for size, floor in zip(sizes, floors, strict=True)]

    total = sum(sizes)
    # Savings fall as the level rises, so shortfalls rise: the first level that saves too little
    # lies one above the one wanted. The biggest size is such a level.
    level = bisect_left(range(max(sizes)), 1, key=lambda level: int(total - sum(at(level)) < excess))
    return at(max(level - 1, 0))
