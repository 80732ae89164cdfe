"""Event loops: one of ours in a thread, and asking another thread's for something."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

R = TypeVar("R")

_LOOK_AGAIN = 0.5  # seconds after which one looks whether the other loop still runs

_ENDED = "The event loop that this AsyncEngine is used in has ended meanwhile; it is not known what was done."

_lock = threading.Lock()
_background: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_inherited: asyncio.AbstractEventLoop | None = None


def running() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def background() -> asyncio.AbstractEventLoop:
    """Return the process's own loop, which runs in a thread for as long as the process does."""
    global _background, _thread  # noqa: PLW0603  # one for the process
    with _lock:
        if _background is None:
            _background = asyncio.new_event_loop()
            _thread = threading.Thread(target=_background.run_forever, name="tokenbuffer-sql-loop", daemon=True)
            _thread.start()
        return _background


def run_in(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, R]) -> R:
    """Run it in a loop of another thread, and wait."""
    future = _submit(loop, coroutine)
    try:
        while not wait([future], _LOOK_AGAIN).done:
            _check_running(loop, future)
        return _result(future)
    finally:
        future.cancel()


async def arun_in(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, R]) -> R:
    """`run_in`, without blocking the loop this is called in."""
    future = _submit(loop, coroutine)
    here = asyncio.wrap_future(future)
    try:
        while not (await asyncio.wait([here], timeout=_LOOK_AGAIN))[0]:
            _check_running(loop, future)
        return _result(future)
    finally:
        here.cancel()


def _submit(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, R]) -> Future[R]:
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:  # closed just now
        coroutine.close()
        raise


def _check_running(loop: asyncio.AbstractEventLoop, future: Future[Any]) -> None:
    if not loop.is_running() and not future.done():
        raise RuntimeError(_ENDED)


def _result(future: Future[R]) -> R:
    if future.cancelled():  # by the other loop, at its end
        raise RuntimeError(_ENDED)
    return future.result()


@atexit.register
def _stop() -> None:
    """Leave no loop open."""
    global _background, _thread
    with _lock:
        loop, thread, _background, _thread = _background, _thread, None, None
    if loop is not None and thread is not None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(1)
        if not loop.is_running():
            loop.close()


def _after_fork() -> None:
    """The thread is only in the parent; the loop is kept, since it cannot be closed."""
    global _background, _thread, _lock, _inherited
    _inherited, _background, _thread, _lock = _background or _inherited, None, None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
