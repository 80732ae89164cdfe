"""What about the order of a conversation a provider refuses, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Always: TypeAlias = Literal["orphan_result", "missing_result", "first_not_human"]
Strict: TypeAlias = Literal[
    "late_system",
    "second_system",
    "consecutive_human",
    "human_after_result",
    "ends_with_ai",
    "open_step",
    "empty_text",
    "unknown_role",
]
Code: TypeAlias = Literal[Always, Strict]


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing about a conversation that a provider refuses.

    Attributes:
        code: What it is; the codes are stable (see `validate`).
        index: Index of the message it is about.
        detail: The same in words; from `repair` and in `Window.mended`, what was done about it.
    """

    code: Code
    index: int
    detail: str
