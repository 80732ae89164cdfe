"""What can go wrong, as one small family."""

from __future__ import annotations

import sys
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


class TokenBufferError(Exception):
    """The root of every error this package raises on its own account.

    Bad arguments are plain `ValueError` and `TypeError`, as everywhere in Python.
    """


class TokenBudgetError(TokenBufferError):
    """What must stay does not fit, and `oversize` forbids or cannot make it fit.

    Its message says what happened, both numbers and what they are made of. Where langchain-core has a `ModelError`, it
    is one whose request is not worth a retry.

    Attributes:
        tokens: What the smallest allowed window needs, in tokens.
        max_tokens: The budget it does not fit, in tokens.
        made_of: What the tokens are made of, by name; empty where only the whole is known.
        is_retryable: Whether the same request may succeed, which is always false. The name is langchain-core's: what
            retries model calls asks a `ModelError` for it.
    """

    is_retryable = False

    def __new__(
        cls,
        message: str,  # noqa: ARG004  # kept by `__init__`; `help()` shows the signature of this
        *,
        tokens: int,  # noqa: ARG004
        max_tokens: int,  # noqa: ARG004
        made_of: Mapping[str, int] | None = None,  # noqa: ARG004
    ) -> Self:
        """Make it one of langchain-core's errors, where that is loaded: what retries model calls asks for those."""
        model_error = getattr(sys.modules.get(_LANGCHAIN), "ModelError", None)
        made: Self = super().__new__(_as_model_error(cls, model_error))  # type: ignore[arg-type]  # a class has a hash
        return made

    def __init__(self, message: str, *, tokens: int, max_tokens: int, made_of: Mapping[str, int] | None = None) -> None:
        """Keep the numbers beside the message."""
        super().__init__(message)
        self.tokens = tokens
        self.max_tokens = max_tokens
        self.made_of = dict(made_of or {})

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the numbers: `Exception` alone would pass on only the message."""
        rebuilt = partial(TokenBudgetError, tokens=self.tokens, max_tokens=self.max_tokens, made_of=self.made_of)
        return rebuilt, (str(self),)


class NothingLeftError(TokenBufferError):
    """Nothing of a conversation can be sent: all of it are results whose calls are not there."""

    def __init__(self, results: int) -> None:
        """Say how many there are, and what to do."""
        super().__init__(
            f"Nothing of the conversation can be sent: its {results} messages are tool results whose calls are not "
            "there. Begin with a human message, or keep the AI message that made the calls."
        )
        self.results = results

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the number, not with the message made of it."""
        return NothingLeftError, (self.results,)


_LANGCHAIN = "langchain_core.exceptions"


@cache
def _as_model_error(cls: type[Any], model_error: type[Exception] | None) -> type[Any]:
    """Return the class, or one of the same name that is a `ModelError` too."""
    if model_error is None or issubclass(cls, model_error):
        return cls
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (cls, model_error), names)
