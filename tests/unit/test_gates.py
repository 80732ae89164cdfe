"""Waiting in line: who came first goes first, and nobody who gave up is in the way."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from langchain_tokenbuffer._gates import Gates
from tests.builders import run_script

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_for(is_so: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not is_so():
        pause.wait(0.001)


def in_line(gates: Gates, key: str = "k") -> int:
    return len(gates._lines.get(key, ()))


def test_threads_go_in_one_by_one_in_the_order_they_came() -> None:
    gates, order = Gates(), list[int]()

    def enter(n: int) -> None:
        with gates.hold("k"):
            order.append(n)

    with ThreadPoolExecutor(8) as threads, gates.hold("k"):
        for n in range(8):
            threads.submit(enter, n)
            wait_for(lambda n=n: in_line(gates) == n + 1)  # type: ignore[misc]
    assert order == list(range(8))


async def test_tasks_and_threads_are_in_one_line() -> None:
    gates, order = Gates(), list[str]()

    async def enter_async(name: str) -> None:
        async with gates.ahold("k"):
            order.append(name)

    def enter(name: str) -> None:
        with gates.hold("k"):
            order.append(name)

    async with gates.ahold("k"):
        first = asyncio.create_task(enter_async("task"))
        await asyncio.sleep(0)
        second = asyncio.create_task(asyncio.to_thread(enter, "thread"))
        await asyncio.to_thread(wait_for, lambda: in_line(gates) == 2)
        third = asyncio.create_task(enter_async("another task"))
        await asyncio.sleep(0)
    await asyncio.gather(first, second, third)
    assert order == ["task", "thread", "another task"]


def test_another_key_does_not_wait() -> None:
    gates = Gates()
    with gates.hold("a"), gates.hold("b", wait=0):
        assert in_line(gates, "b") == 0


def test_so_many_go_in_at_once_as_there_are_places() -> None:
    gates = Gates(2)
    with (
        gates.hold("k"),
        gates.hold("k", wait=0),
        pytest.raises(TimeoutError, match=r"in front for 0 s"),
        gates.hold("k", wait=0),
    ):
        pass


async def test_who_has_waited_long_enough_gives_up_async() -> None:
    gates = Gates()
    async with gates.ahold("k"):
        with pytest.raises(TimeoutError, match=r"in front for 0\.001 s"):
            async with gates.ahold("k", wait=0.001):
                pass
    async with gates.ahold("k", wait=0):
        assert in_line(gates) == 0


async def test_who_was_cancelled_is_not_in_the_way() -> None:
    gates, order = Gates(), list[int]()

    async def enter(n: int) -> None:
        async with gates.ahold("k"):
            order.append(n)

    async with gates.ahold("k"):
        tasks = [asyncio.create_task(enter(n)) for n in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
    tasks[1].cancel()  # it was let in, and does not know yet
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [2]


def test_nothing_is_kept_of_a_key_that_nobody_waits_for() -> None:
    gates = Gates()
    with gates.hold("k"):
        pass
    assert (gates._inside, gates._lines) == ({}, {})


FORKED = """
import os
from langchain_tokenbuffer._gates import Gates

gates = Gates()
with gates.hold("k"):
    if os.fork() == 0:
        with gates.hold("k", wait=0):
            os._exit(0)
    print(os.wait()[1])
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system does not fork")
def test_a_forked_process_waits_for_no_thread_of_its_parent() -> None:
    assert run_script(FORKED) == "0\n"
