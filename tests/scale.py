"""How much a run tries: everything in `make test_full`, a share of it in `make test`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
FULL = os.environ.get("TOKENBUFFER_TEST_FULL") == "1"


def some(items: Sequence[T]) -> Sequence[T]:
    """Return all items in a full run, else every third."""
    return items if FULL else items[::3]


def examples(number: int) -> int:
    """Return how many examples Hypothesis is to try: an eighth of a full run's."""
    return number if FULL else max(10, number // 8)
