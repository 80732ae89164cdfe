"""Many threads, many tasks, many turns: nothing lost, nothing twice, nothing growing."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from langchain_tokenbuffer import ConversationTokenBufferMemory
from langchain_tokenbuffer._counting.message_counters import MessageCounter
from tests.builders import count_content_words
from tests.memory.stand_ins import memory_of_words, save, stored_in, window_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage


def _in_threads(work: Callable[[int], None], count: int = 8) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001  # a thread's error is nobody's otherwise
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert errors == []


def _turns_of(number: int) -> list[str]:
    return [f"t{number}n{turn}" for turn in range(60)]


ALL_TURNS = sorted(turn for number in range(8) for turn in _turns_of(number))


def _save_turns(memory: ConversationTokenBufferMemory, number: int) -> None:
    for turn in _turns_of(number):
        save(memory, turn, turn)


@pytest.mark.parametrize("options", [{}, {"start_on": None, "oversize": "drop"}])
def test_eight_threads_lose_nothing_of_what_fits(options: dict[str, Any]) -> None:
    memory = memory_of_words(10_000, **options)
    _in_threads(lambda number: _save_turns(memory, number))
    assert sorted(map(str, window_of(memory)[::2])) == ALL_TURNS


def test_eight_threads_do_not_mix_their_turns() -> None:
    memory = memory_of_words(10_000)
    _in_threads(lambda number: _save_turns(memory, number))
    assert stored_in(memory)[::2] == stored_in(memory)[1::2]


@pytest.mark.parametrize(
    "options", [{}, {"trim_to": 0.5}, {"start_on": None, "oversize": "drop"}, {"oversize": "drop"}]
)
def test_what_leaves_under_eight_threads_is_handed_out_exactly_once(
    options: dict[str, Any],
) -> None:
    gone: list[BaseMessage] = []
    memory = memory_of_words(20, on_evict=gone.extend, **options)

    def work(number: int) -> None:
        for turn in _turns_of(number):
            save(memory, turn, turn)
            memory.load_memory_variables({})

    _in_threads(work)
    kept = [*gone, *memory.chat_memory.messages]
    assert sorted(str(message.content) for message in kept) == sorted(ALL_TURNS * 2)


def test_a_window_under_eight_threads_never_costs_more_than_the_limit() -> None:
    memory = memory_of_words(20)
    sizes: list[int] = []

    def work(number: int) -> None:
        for turn in _turns_of(number):
            save(memory, turn, turn)
            sizes.append(count_content_words(memory.buffer_as_messages))

    _in_threads(work)
    assert max(sizes) <= 20


async def test_fifty_tasks_at_once_lose_nothing_of_what_fits() -> None:
    memory = memory_of_words(10_000)
    turns = [f"t{number}" for number in range(50)]
    await asyncio.gather(*(memory.asave_context({"input": turn}, {"output": turn}) for turn in turns))
    assert sorted(map(str, window_of(memory)[::2])) == sorted(turns)


def _lists_of(memory: ConversationTokenBufferMemory) -> int:
    """Return how many items the biggest list, dict or set has that the memory reaches; counts are the process's."""
    seen: set[int] = set()
    todo: list[object] = [memory._cache.store_window, memory.chat_memory.messages]
    biggest = 0
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, (type, str, int, MessageCounter)) or callable(thing):
            continue
        seen.add(id(thing))
        if isinstance(thing, (list, dict, set)):
            biggest = max(biggest, len(thing))
        todo += gc.get_referents(thing)
    return biggest


@pytest.mark.parametrize("options", [{}, {"trim_to": 0.6}, {"start_on": None, "oversize": "drop"}])
def test_many_turns_do_not_make_the_memory_grow(options: dict[str, Any]) -> None:
    memory = ConversationTokenBufferMemory(llm="cl100k_base", max_token_limit=200, **options)
    sizes = []
    for number in range(1200):
        save(memory, f"question {number}", f"reply {number}")
        if number in (200, 1199):
            sizes.append(_lists_of(memory))
    assert sizes[1] <= sizes[0] + 4
