"""Calling the user's functions, plain or async: what left a window is handed over, what they raise is logged."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage

logger = logging.getLogger(__name__)

OnEvict: TypeAlias = Callable[[list["BaseMessage"]], Awaitable[None] | None]


def is_async(function: object) -> bool:
    """Tell whether calling it returns a coroutine, as far as that can be known before."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # an object with an async one
    )


@contextmanager
def logged_failure(what: str, then: str, *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Log at ERROR what a user's function raises, and go on: the reply it stands behind was paid for.

    `what` failed, and `then` that happens. Exceptions of the types in `passing` go through: they are no failure.
    """
    try:
        yield
    except passing:
        raise
    except Exception:
        logger.exception("%s failed; %s", what, then)


def sync_handler(handler: OnEvict | None, refusal: str, at_once: str = "") -> Callable[[list[BaseMessage]], None]:
    """Return what hands over to a handler, if there are a handler and messages.

    A coroutine function is refused at once. What only returns something to await, such as a lambda around one, is
    refused when it is called: it has to be done when it returns.
    """
    if is_async(handler):
        raise TypeError(f"{refusal} {at_once}".rstrip())

    def deliver(messages: list[BaseMessage]) -> None:
        returned = handler(messages) if messages and handler is not None else None
        if inspect.isawaitable(returned):
            if inspect.iscoroutine(returned):
                returned.close()
            raise TypeError(refusal)

    return deliver


def async_handler(handler: OnEvict | None) -> Callable[[list[BaseMessage]], Awaitable[None]]:
    """Return what hands over to a handler of either kind, and awaits what can be awaited."""

    async def deliver(messages: list[BaseMessage]) -> None:
        returned = handler(messages) if messages and handler is not None else None
        if inspect.isawaitable(returned):
            await returned

    return deliver
