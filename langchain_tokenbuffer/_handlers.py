"""Handing messages that left a window to the user's function, plain or async."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

OnEvict: TypeAlias = Callable[[list["BaseMessage"]], Awaitable[None] | None]


def is_async(function: object) -> bool:
    """Tell whether calling it returns a coroutine, as far as that can be known before."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # an object with an async one
    )


def hand_over(handler: OnEvict, messages: list[BaseMessage], refusal: str) -> None:
    """Call a handler that has to be done when it returns.

    Raises:
        TypeError: With `refusal`, if it only returned something to await, such as a lambda around
            a coroutine function does.
    """
    returned = handler(messages)
    if inspect.isawaitable(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        raise TypeError(refusal)


async def ahand_over(handler: OnEvict, messages: list[BaseMessage]) -> None:
    """Call a handler and await what it returns, if that can be awaited."""
    returned = handler(messages)
    if inspect.isawaitable(returned):
        await returned
