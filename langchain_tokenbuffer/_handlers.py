"""Handing messages that left a window to the user's function, plain or async."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

OnEvict: TypeAlias = Callable[[list["BaseMessage"]], Awaitable[None] | None]


def is_async(function: object) -> bool:
    """Tell whether calling it returns a coroutine, as far as that can be known before."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # an object with an async one
    )


def hand_over(handler: OnEvict | None, messages: list[BaseMessage], refusal: str) -> None:
    """Call a handler, if there are a handler and messages; it has to be done when it returns.

    Raises:
        TypeError: With `refusal`, if it only returned something to await, such as a lambda around a coroutine function
            does.
    """
    returned = handler(messages) if messages and handler is not None else None
    if inspect.isawaitable(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        raise TypeError(refusal)


async def ahand_over(handler: OnEvict | None, messages: list[BaseMessage]) -> None:
    """`hand_over`, and await what the handler returns, if that can be awaited."""
    returned = handler(messages) if messages and handler is not None else None
    if inspect.isawaitable(returned):
        await returned


def sync_handler(handler: OnEvict | None, refusal: str) -> Callable[[list[BaseMessage]], None]:
    """Return what hands over to a handler; a coroutine function is refused at once."""
    if is_async(handler):
        raise TypeError(refusal)
    return partial(hand_over, handler, refusal=refusal)


def async_handler(handler: OnEvict | None) -> Callable[[list[BaseMessage]], Awaitable[None]]:
    """Return what hands over to a handler of either kind."""
    return partial(ahand_over, handler)
