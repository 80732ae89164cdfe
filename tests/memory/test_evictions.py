"""What leaves the memory is handed to `on_evict`, once, before it is deleted."""

from __future__ import annotations

import asyncio
import functools
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from tests.builders import contents_of, numbered_text
from tests.memory.stand_ins import memory_of_words, save, stored_in, window_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_tokenbuffer import ConversationTokenBufferMemory


class Evictions:
    """A handler that keeps what it was given, and what the store held at that moment."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.stored: list[list[object]] = []
        self.memory: ConversationTokenBufferMemory | None = None
        self.fails = False

    def __call__(self, gone: list[BaseMessage]) -> None:
        self.batches.append(contents_of(gone))
        if self.memory is not None:
            self.stored.append(stored_in(self.memory))
        if self.fails:
            msg = "the archive is full"
            raise OSError(msg)


def _evicting(limit: int = 2, **options: Any) -> tuple[ConversationTokenBufferMemory, Evictions]:
    evictions = Evictions()
    memory = evictions.memory = memory_of_words(limit, on_evict=evictions, **options)
    return memory, evictions


def test_what_leaves_is_handed_out_in_order(save_either_way: Any) -> None:
    memory, evictions = _evicting(4)
    for number in range(3):
        save_either_way(memory, {"input": f"q{number}"}, {"output": f"r{number}"})
    save_either_way(memory, {"input": "q3 q3"}, {"output": "r3 r3"})
    assert evictions.batches == [["q0", "r0"], ["q1", "r1", "q2", "r2"]]


def test_nothing_is_handed_out_while_everything_fits() -> None:
    memory, evictions = _evicting(100)
    save(memory, "a", "b")
    assert evictions.batches == []


def test_the_very_messages_are_handed_out() -> None:
    gone: list[BaseMessage] = []
    memory = memory_of_words(2, on_evict=gone.extend)
    save(memory, "a", "b")
    first = memory.chat_memory.messages[0]
    save(memory, "c", "d")
    assert gone[0] is first


def test_the_new_turn_is_stored_and_nothing_deleted_when_messages_are_handed_out(
    save_either_way: Any,
) -> None:
    memory, evictions = _evicting()
    save_either_way(memory, {"input": "a"}, {"output": "b"})
    save_either_way(memory, {"input": "c"}, {"output": "d"})
    assert evictions.stored == [["a", "b", "c", "d"]]


def test_messages_are_deleted_after_the_handler_returned(save_either_way: Any) -> None:
    memory, _ = _evicting()
    save_either_way(memory, {"input": "a"}, {"output": "b"})
    save_either_way(memory, {"input": "c"}, {"output": "d"})
    assert stored_in(memory) == ["c", "d"]


def test_what_was_left_out_is_handed_out_too() -> None:
    memory, evictions = _evicting(2, oversize="drop")
    save(memory, "a", numbered_text(1, 9))
    assert evictions.batches == [[numbered_text(1, 9)]]


def test_what_a_handler_raises_is_logged_as_an_error(save_either_way: Any, caplog: pytest.LogCaptureFixture) -> None:
    memory, evictions = _evicting()
    save(memory, "a", "b")
    evictions.fails = True
    save_either_way(memory, {"input": "c"}, {"output": "d"})
    assert [(each.levelname, "archive is full" in str(each.exc_text)) for each in caplog.records] == [("ERROR", True)]


@pytest.fixture
def refused(save_either_way: Any) -> tuple[ConversationTokenBufferMemory, Evictions]:
    """A memory whose handler has refused the messages `a` and `b`."""
    memory, evictions = _evicting()
    save_either_way(memory, {"input": "a"}, {"output": "b"})
    evictions.fails = True
    save_either_way(memory, {"input": "c"}, {"output": "d"})
    evictions.fails = False
    return memory, evictions


def test_nothing_is_deleted_when_the_handler_raises(
    refused: tuple[ConversationTokenBufferMemory, Evictions],
) -> None:
    assert stored_in(refused[0]) == ["a", "b", "c", "d"]


def test_what_the_handler_refused_is_not_in_the_window(
    refused: tuple[ConversationTokenBufferMemory, Evictions],
) -> None:
    assert window_of(refused[0]) == ["c", "d"]


def test_what_the_handler_refused_comes_again_with_the_next_save(
    refused: tuple[ConversationTokenBufferMemory, Evictions],
) -> None:
    memory, evictions = refused
    save(memory, "e", "f")
    assert evictions.batches[-1] == ["a", "b", "c", "d"]


def test_what_the_handler_refused_leaves_when_the_handler_takes_it(
    refused: tuple[ConversationTokenBufferMemory, Evictions],
) -> None:
    save(refused[0], "e", "f")
    assert stored_in(refused[0]) == ["e", "f"]


def test_what_the_handler_refused_comes_again_after_loading_in_between(
    refused: tuple[ConversationTokenBufferMemory, Evictions],
) -> None:
    memory, evictions = refused
    memory.load_memory_variables({})
    save(memory, "e", "f")
    assert evictions.batches[-1] == ["a", "b", "c", "d"]


def test_what_the_handler_refused_survives_pickling() -> None:
    memory = memory_of_words(2, on_evict=_refuse)
    save(memory, "a", "b")
    save(memory, "c", "d")
    gone: list[BaseMessage] = []
    again = pickle.loads(pickle.dumps(memory))
    again.on_evict = gone.extend
    save(again, "e", "f")
    assert contents_of(gone) == ["a", "b", "c", "d"]


def _refuse(gone: list[BaseMessage]) -> None:
    msg = "the archive is full"
    raise OSError(msg)


class AsyncEvictions:
    """A handler that is an object with an async call."""

    def __init__(self) -> None:
        self.gone: list[object] = []

    async def __call__(self, gone: list[BaseMessage]) -> None:
        await asyncio.sleep(0)
        self.gone += contents_of(gone)

    async def method(self, gone: list[BaseMessage]) -> None:
        await self(gone)


def _coroutine_handlers() -> list[tuple[str, Callable[[AsyncEvictions], Any]]]:
    return [
        ("function", lambda kept: kept.method),
        ("object", lambda kept: kept),
        ("partial", lambda kept: functools.partial(kept.method)),
    ]


@pytest.mark.parametrize(
    "handler",
    [make for _, make in _coroutine_handlers()],
    ids=[n for n, _ in _coroutine_handlers()],
)
class TestCoroutineHandler:
    """A handler that is a coroutine function, in any of its forms."""

    async def test_the_async_twin_awaits_a_coroutine_handler(self, handler: Any) -> None:
        kept = AsyncEvictions()
        memory = memory_of_words(2, on_evict=handler(kept))
        await memory.asave_context({"input": "a"}, {"output": "b"})
        await memory.asave_context({"input": "c"}, {"output": "d"})
        assert (kept.gone, stored_in(memory)) == (["a", "b"], ["c", "d"])

    def test_saving_in_sync_is_a_type_error(self, handler: Any) -> None:
        memory = memory_of_words(2, on_evict=handler(AsyncEvictions()))
        with pytest.raises(TypeError, match="asave_context"):
            save(memory, "a", "b")

    def test_saving_in_sync_stores_nothing(self, handler: Any) -> None:
        memory = memory_of_words(2, on_evict=handler(AsyncEvictions()))
        with pytest.raises(TypeError):
            save(memory, "a", "b")
        assert stored_in(memory) == []


def _hidden_coroutine() -> tuple[ConversationTokenBufferMemory, AsyncEvictions]:
    kept = AsyncEvictions()
    return memory_of_words(2, on_evict=lambda gone: kept(gone)), kept  # noqa: PLW0108  # that is the point


async def test_a_lambda_around_a_coroutine_function_is_awaited_by_the_async_twin() -> None:
    memory, kept = _hidden_coroutine()
    await memory.asave_context({"input": "a"}, {"output": "b"})
    await memory.asave_context({"input": "c"}, {"output": "d"})
    assert (kept.gone, stored_in(memory)) == (["a", "b"], ["c", "d"])


def test_a_lambda_around_a_coroutine_function_deletes_nothing_in_sync(caplog: pytest.LogCaptureFixture) -> None:
    memory, _ = _hidden_coroutine()
    save(memory, "a", "b")
    save(memory, "c", "d")
    assert (stored_in(memory), "asave_context" in caplog.text) == (["a", "b", "c", "d"], True)


def test_what_a_handler_returns_is_ignored(save_either_way: Any) -> None:
    memory = memory_of_words(2, on_evict=lambda gone: len(gone))  # noqa: PLW0108
    save_either_way(memory, {"input": "a"}, {"output": "b"})
    save_either_way(memory, {"input": "c"}, {"output": "d"})
    assert stored_in(memory) == ["c", "d"]


async def test_nothing_is_deleted_when_the_handler_is_cancelled() -> None:
    entered = asyncio.Event()

    async def slow(gone: list[BaseMessage]) -> None:
        entered.set()
        await asyncio.sleep(60)

    memory = memory_of_words(2, on_evict=slow)
    await memory.asave_context({"input": "a"}, {"output": "b"})
    saving = asyncio.create_task(memory.asave_context({"input": "c"}, {"output": "d"}))
    await entered.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert stored_in(memory) == ["a", "b", "c", "d"]


async def test_what_was_cancelled_comes_again() -> None:
    entered, batches = asyncio.Event(), list[list[object]]()

    async def slow_at_first(gone: list[BaseMessage]) -> None:
        batches.append(contents_of(gone))
        entered.set()
        if len(batches) == 1:
            await asyncio.sleep(60)

    memory = memory_of_words(2, on_evict=slow_at_first)
    await memory.asave_context({"input": "a"}, {"output": "b"})
    saving = asyncio.create_task(memory.asave_context({"input": "c"}, {"output": "d"}))
    await entered.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    await memory.asave_context({"input": "e"}, {"output": "f"})
    assert batches == [["a", "b"], ["a", "b", "c", "d"]]


async def test_messages_that_one_task_is_evicting_are_not_handed_to_another() -> None:
    batches: list[list[object]] = []

    async def slow(gone: list[BaseMessage]) -> None:
        batches.append(contents_of(gone))
        await asyncio.sleep(0.01)

    memory = memory_of_words(2, on_evict=slow)
    await memory.asave_context({"input": "0"}, {"output": "0"})
    await asyncio.gather(*(memory.asave_context({"input": str(n)}, {"output": str(n)}) for n in range(1, 6)))
    handed_out = [content for batch in batches for content in batch]
    assert len(handed_out) == len(set(handed_out)) * 2 == 10


def test_a_handler_may_write_a_summary_into_the_store() -> None:
    def summarize(gone: list[BaseMessage]) -> None:
        summary = SystemMessage(f"{len(gone)} older")
        messages = memory.chat_memory.messages
        messages[:] = [summary, *(m for m in messages if m.type != "system")]

    memory = memory_of_words(6, on_evict=summarize)
    for number in range(5):
        save(memory, numbered_text(number, 2), numbered_text(number))
    assert stored_in(memory) == ["2 older", "w4 w4", "w4"]


def test_a_handler_may_append_to_the_store_while_the_newest_is_left_out() -> None:
    def append(gone: list[BaseMessage]) -> None:
        memory.chat_memory.add_messages([HumanMessage("and"), AIMessage("so")])

    memory = memory_of_words(4, oversize="drop", on_evict=append)
    save(memory, "why", numbered_text(1, 9))
    assert stored_in(memory) == ["why", "and", "so"]


def test_a_handler_may_clear_the_memory() -> None:
    memory: ConversationTokenBufferMemory = memory_of_words(2, on_evict=lambda gone: memory.clear())
    save(memory, "a", "b")
    save(memory, "c", "d")
    save(memory, "e", "f")
    assert stored_in(memory) == ["e", "f"]


def test_a_handler_may_load_the_memory() -> None:
    seen: list[object] = []
    memory: ConversationTokenBufferMemory = memory_of_words(2, on_evict=lambda gone: seen.append(window_of(memory)))
    save(memory, "a", "b")
    save(memory, "c", "d")
    assert seen == [["c", "d"]]


def test_one_message_stored_twice_leaves_once_at_a_time() -> None:
    twice = HumanMessage("hi")
    gone: list[BaseMessage] = []
    memory = memory_of_words(3, on_evict=gone.extend)
    memory.chat_memory.add_messages([twice, AIMessage("ho"), twice])
    save(memory, "a", "b")
    assert (contents_of(gone), stored_in(memory)) == (["hi", "ho"], ["hi", "a", "b"])
