"""What can go wrong, as one small family."""

from __future__ import annotations


class TokenBufferError(Exception):
    """The root of every error this package raises on its own account.

    Bad arguments are plain `ValueError` and `TypeError`, as everywhere in Python.
    """


class TokenBudgetError(TokenBufferError):
    """What must stay does not fit, and `oversize` forbids or cannot make it fit.

    Args:
        message: What happened, both numbers and what they are made of.
        tokens: What the smallest allowed window needs, in tokens.
        max_tokens: The budget it does not fit, in tokens.

    Attributes:
        tokens: What the smallest allowed window needs, in tokens.
        max_tokens: The budget it does not fit, in tokens.
    """

    def __init__(self, message: str, *, tokens: int, max_tokens: int) -> None:
        """Keep both numbers beside the message."""
        super().__init__(message)
        self.tokens = tokens
        self.max_tokens = max_tokens

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with both numbers: `Exception` alone would pass on only the message."""
        return _rebuilt, (str(self), self.tokens, self.max_tokens)


def _rebuilt(message: str, tokens: int, max_tokens: int) -> TokenBudgetError:
    return TokenBudgetError(message, tokens=tokens, max_tokens=max_tokens)
