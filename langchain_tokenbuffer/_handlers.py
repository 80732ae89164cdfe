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


def sync_handler(handler: OnEvict | None, refusal: str) -> Callable[[list[BaseMessage]], None]:
    """Return what hands messages over and is done when it returns.

    Raises:
        TypeError: With `refusal`, now if the handler is a coroutine function, and when it is called
            if it only returns something to await.
    """
    if is_async(handler):
        raise TypeError(refusal)

    def deliver(messages: list[BaseMessage]) -> None:
        if messages and handler is not None:
            hand_over(handler, messages, refusal)

    return deliver


def async_handler(handler: OnEvict | None) -> Callable[[list[BaseMessage]], Awaitable[None]]:
    """Return what hands messages over and awaits the handler if need be."""

    async def deliver(messages: list[BaseMessage]) -> None:
        if messages and handler is not None:
            await ahand_over(handler, messages)

    return deliver


async def ahand_over(handler: OnEvict, messages: list[BaseMessage]) -> None:
    """Call a handler and await what it returns, if that can be awaited."""
    returned = handler(messages)
    if inspect.isawaitable(returned):
        await returned
