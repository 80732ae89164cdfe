"""`TokenBufferChatMessageHistory`: a view, alone and inside `RunnableWithMessageHistory`."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_tokenbuffer import (
    ConversationTokenBufferMemory,
    TokenBuffer,
    TokenBufferChatMessageHistory,
)
from langchain_tokenbuffer import chat_history as chat_history_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_core.runnables import Runnable

CONFIG: Any = {"configurable": {"session_id": "s"}}


class Stored(BaseChatMessageHistory):
    """Stands for a database: every read is a fresh list, reads and writes are counted."""

    session_id = "s"

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[BaseMessage] = []
        self.reads = 0

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        self.reads += 1
        return list(self.rows)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.rows += messages

    def clear(self) -> None:
        self.rows = []


class AsyncStored(Stored):
    """A history whose async methods are its own."""

    async def aget_messages(self) -> list[BaseMessage]:
        await asyncio.sleep(0)
        return list(self.rows)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        await asyncio.sleep(0)
        self.rows += messages

    async def aclear(self) -> None:
        self.rows = []


class OneByOne(BaseChatMessageHistory):
    """A history that only has `add_message`, which fails for the calls it is made for."""

    def __init__(self, failing: set[int]) -> None:
        super().__init__()
        self.rows: list[BaseMessage] = []
        self.failing = failing
        self.calls = 0

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        return list(self.rows)

    def add_message(self, message: BaseMessage) -> None:
        self.calls += 1
        if self.calls in self.failing:
            msg = f"lost connection while storing {message.content}"
            raise ConnectionError(msg)
        self.rows.append(message)

    def clear(self) -> None:
        self.rows = []


def turns(count: int) -> list[BaseMessage]:
    return [
        message
        for turn in range(count)
        for message in (HumanMessage(content=f"q{turn}"), AIMessage(content=f"a{turn}"))
    ]


def view(history: BaseChatMessageHistory, limit: int = 4) -> TokenBufferChatMessageHistory:
    return TokenBufferChatMessageHistory(history, max_tokens=limit, token_counter=len, trim_to=1.0)


@pytest.fixture(params=[InMemoryChatMessageHistory, Stored, AsyncStored])
def history(request: pytest.FixtureRequest) -> Iterator[BaseChatMessageHistory]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the upstream classes' own deprecation
        yield request.param()


# --- a view -------------------------------------------------------------------------------------


def test_messages_is_the_window_of_the_buffer(history: BaseChatMessageHistory) -> None:
    history.add_messages(turns(5))
    assert view(history).messages == TokenBuffer(4, token_counter=len, trim_to=1.0).trim(turns(5))


async def test_the_async_read_is_the_sync_read(history: BaseChatMessageHistory) -> None:
    history.add_messages(turns(5))
    assert await view(history).aget_messages() == view(history).messages


def test_a_view_deletes_nothing(history: BaseChatMessageHistory) -> None:
    shown = view(history)
    shown.add_messages(turns(5))
    assert shown.messages == turns(5)[-4:]
    assert history.messages == turns(5)


async def test_an_async_write_goes_through(history: BaseChatMessageHistory) -> None:
    await view(history).aadd_messages(turns(5))
    assert history.messages == turns(5)


def test_single_messages_go_through(history: BaseChatMessageHistory) -> None:
    shown = view(history)
    shown.add_user_message("q0")
    shown.add_ai_message("a0")
    assert [message.content for message in history.messages] == ["q0", "a0"]


def test_clear_goes_through(history: BaseChatMessageHistory) -> None:
    history.add_messages(turns(1))
    view(history).clear()
    assert history.messages == []


async def test_aclear_goes_through(history: BaseChatMessageHistory) -> None:
    history.add_messages(turns(1))
    await view(history).aclear()
    assert history.messages == []


def test_messages_is_a_real_list_of_its_own(history: BaseChatMessageHistory) -> None:
    history.add_messages(turns(2))
    shown = view(history)
    read = shown.messages
    read.clear()
    assert type(read) is list
    assert len(shown.messages) == 4
    assert len(history.messages) == 4


def test_outside_a_run_every_read_is_live() -> None:
    history = Stored()
    shown = view(history)
    assert shown.messages == []
    history.add_messages(turns(1))
    assert shown.messages == turns(1)


def test_the_constructor_reads_nothing() -> None:
    history = Stored()
    view(history)
    assert history.reads == 0


def test_a_write_never_raises_for_reasons_of_budget() -> None:
    shown = TokenBufferChatMessageHistory(Stored(), max_tokens=1, token_counter=len, oversize="raise")
    shown.add_messages(turns(3))
    assert len(shown.history.messages) == 6


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"max_tokens": 0}, ValueError, "max_tokens"),
        ({"max_tokens": 1.5}, TypeError, "max_tokens"),
        ({"trim_to": 1.1}, ValueError, "trim_to"),
        ({"oversize": "crop"}, ValueError, "oversize"),
        ({"token_counter": 3}, TypeError, "token_counter"),
        ({"history": []}, TypeError, "history"),
    ],
)
def test_a_bad_argument_is_named(options: dict[str, Any], error: type[Exception], name: str) -> None:
    arguments: dict[str, Any] = {"max_tokens": 4, "token_counter": len, "history": Stored()}
    with pytest.raises(error, match=name):
        TokenBufferChatMessageHistory(**(arguments | options))


def test_a_view_serves_as_chat_memory_of_the_memory() -> None:
    history = Stored()
    memory = ConversationTokenBufferMemory(
        llm=len, max_token_limit=100, chat_memory=view(history), return_messages=True
    )
    for turn in range(5):
        memory.save_context({"input": f"q{turn}"}, {"output": f"a{turn}"})
    assert memory.load_memory_variables({})["history"] == turns(5)[-4:]
    assert len(history.rows) == 10


def test_the_repr_of_a_view_shows_no_message() -> None:
    history = Stored()
    history.add_messages([HumanMessage(content="secret")])
    assert "secret" not in repr(view(history))


# --- writes that fail ---------------------------------------------------------------------------


class LosesAnswers(Stored):
    """Stands for a store whose answer is lost on its way, when it has stored everything."""

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        super().add_messages(messages)
        msg = "lost connection"
        raise ConnectionError(msg)


def test_a_store_that_stored_and_lost_its_answer_holds_the_turn_once() -> None:
    history = LosesAnswers()
    with pytest.raises(ConnectionError):
        view(history).add_messages(turns(1))
    assert history.rows == turns(1)


async def test_a_store_that_lost_its_answer_holds_the_turn_once_async() -> None:
    history = LosesAnswers()
    with pytest.raises(ConnectionError):
        await view(history).aadd_messages(turns(1))
    assert history.rows == turns(1)


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failed_write_is_raised_and_not_tried_again(failing: int) -> None:
    history = OneByOne(failing={failing})
    with pytest.raises(ConnectionError):
        view(history).add_messages(turns(1))
    assert history.calls == failing


async def test_a_failed_async_write_is_raised_and_not_tried_again() -> None:
    history = OneByOne(failing={2})
    with pytest.raises(ConnectionError):
        await view(history).aadd_messages(turns(1))
    assert history.calls == 2


def test_a_lost_write_is_logged_with_session_and_count(caplog: pytest.LogCaptureFixture) -> None:
    history = OneByOne(failing={2})
    vars(history)["session_id"] = "abc"
    with caplog.at_level(logging.ERROR), pytest.raises(ConnectionError):
        view(history).add_messages(turns(1))
    assert [record.getMessage() for record in caplog.records] == [
        "Could not store 1 of 2 messages of session 'abc': ConnectionError. Not tried again."
    ]


def test_a_lost_generator_is_logged_with_its_count(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(ConnectionError):
        view(OneByOne(failing={1})).add_messages(message for message in turns(1))  # type: ignore[arg-type]
    assert "Could not store 2 of 2 messages" in caplog.text


async def test_a_lost_async_write_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(ConnectionError):
        await view(OneByOne(failing={1})).aadd_messages(turns(1))
    assert "Could not store 2 of 2 messages" in caplog.text


async def test_a_cancelled_write_is_not_tried_again() -> None:
    class Cancelled(AsyncStored):
        tries = 0

        async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
            self.tries += 1
            raise asyncio.CancelledError

    history = Cancelled()
    with pytest.raises(asyncio.CancelledError):
        await view(history).aadd_messages(turns(1))
    assert history.tries == 1


# --- inside RunnableWithMessageHistory ----------------------------------------------------------


def chain_over(
    get_session_history: Callable[[str], BaseChatMessageHistory],
    *,
    keyed: bool,
    inner: Callable[[list[BaseMessage]], None] = lambda _: None,
) -> Runnable[Any, Any]:
    """Return a chain that answers every question `q` with `a:q`."""

    def answer(value: Any) -> AIMessage:
        messages = value.to_messages() if keyed else value
        inner(messages)
        return AIMessage(content=f"a:{messages[-1].content}")

    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{q}")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RunnableWithMessageHistory's own deprecation
        if not keyed:
            return RunnableWithMessageHistory(RunnableLambda(answer), get_session_history)
        return RunnableWithMessageHistory(
            prompt | RunnableLambda(answer),
            get_session_history,
            input_messages_key="q",
            history_messages_key="history",
        )


def input_of(question: str, *, keyed: bool) -> Any:
    return {"q": question} if keyed else question


def expected_counts(questions: list[str]) -> Counter[str]:
    return Counter(questions) + Counter(f"a:{question}" for question in questions)


QUESTIONS = [f"q{number}" for number in range(8)]


@pytest.fixture(params=[False, True], ids=["whole", "keyed"])
def keyed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_run_sees_the_window_and_its_question(*, keyed: bool) -> None:
    history = Stored()
    history.add_messages(turns(5))
    seen: list[list[BaseMessage]] = []
    chain = chain_over(lambda _: view(history), keyed=keyed, inner=seen.append)
    chain.invoke(input_of("now", keyed=keyed), CONFIG)
    assert [message.content for message in seen[0]] == ["q3", "a3", "q4", "a4", "now"]


def test_a_run_stores_its_question_and_its_answer_once(*, keyed: bool) -> None:
    history = Stored()
    history.add_messages(turns(5))
    chain_over(lambda _: view(history), keyed=keyed).invoke(input_of("now", keyed=keyed), CONFIG)
    assert [message.content for message in history.rows[10:]] == ["now", "a:now"]


async def test_an_async_run_stores_its_question_and_its_answer_once(*, keyed: bool) -> None:
    history = AsyncStored()
    history.add_messages(turns(5))
    chain = chain_over(lambda _: view(history), keyed=keyed)
    await chain.ainvoke(input_of("now", keyed=keyed), CONFIG)
    assert [message.content for message in history.rows[10:]] == ["now", "a:now"]


def test_a_message_written_by_another_during_the_run_is_not_lost(*, keyed: bool) -> None:
    history = Stored()
    chain = chain_over(lambda _: view(history), keyed=keyed, inner=lambda _: history.add_messages(turns(3)))
    chain.invoke(input_of("now", keyed=keyed), CONFIG)
    assert [message.content for message in history.rows[-2:]] == ["now", "a:now"]


def test_batch_on_one_session_loses_and_repeats_nothing(*, keyed: bool) -> None:
    history = Stored()
    chain = chain_over(lambda _: view(history), keyed=keyed)
    chain.batch([input_of(question, keyed=keyed) for question in QUESTIONS], CONFIG)
    assert Counter(str(message.content) for message in history.rows) == expected_counts(QUESTIONS)


async def test_abatch_on_one_session_loses_and_repeats_nothing(*, keyed: bool) -> None:
    history = AsyncStored()
    chain = chain_over(lambda _: view(history), keyed=keyed)
    await chain.abatch([input_of(question, keyed=keyed) for question in QUESTIONS], CONFIG)
    assert Counter(str(message.content) for message in history.rows) == expected_counts(QUESTIONS)


async def test_gathered_runs_on_one_session_lose_and_repeat_nothing(*, keyed: bool) -> None:
    history = AsyncStored()
    chain = chain_over(lambda _: view(history), keyed=keyed)
    await asyncio.gather(*(chain.ainvoke(input_of(question, keyed=keyed), CONFIG) for question in QUESTIONS))
    assert Counter(str(message.content) for message in history.rows) == expected_counts(QUESTIONS)


def test_threads_on_one_session_lose_and_repeat_nothing(*, keyed: bool) -> None:
    history = Stored()
    chain = chain_over(lambda _: view(history), keyed=keyed)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda q: chain.invoke(input_of(q, keyed=keyed), CONFIG), QUESTIONS))
    assert Counter(str(message.content) for message in history.rows) == expected_counts(QUESTIONS)


def test_interleaved_streams_on_one_session_lose_and_repeat_nothing(*, keyed: bool) -> None:
    history = Stored()
    chain = chain_over(lambda _: view(history), keyed=keyed)
    streams = [chain.stream(input_of(question, keyed=keyed), CONFIG) for question in QUESTIONS]
    heads = [next(stream) for stream in streams]
    for stream in streams:
        list(stream)
    assert len(heads) == 8
    assert Counter(str(message.content) for message in history.rows) == expected_counts(QUESTIONS)


async def test_async_streams_on_one_session_lose_and_repeat_nothing(*, keyed: bool) -> None:
    history = AsyncStored()
    chain = chain_over(lambda _: view(history), keyed=keyed)

    async def consume(question: str) -> None:
        async for _ in chain.astream(input_of(question, keyed=keyed), CONFIG):
            await asyncio.sleep(0)

    await asyncio.gather(*map(consume, QUESTIONS))
    assert Counter(str(message.content) for message in history.rows) == expected_counts(QUESTIONS)


def test_upstream_alone_loses_messages_when_another_writes_during_the_run() -> None:
    """The failure this view is for; when this test fails, upstream has mended it."""
    history = Stored()
    chain = chain_over(lambda _: history, keyed=False, inner=lambda _: history.add_messages(turns(1)))
    chain.invoke("now", CONFIG)
    assert "now" not in [message.content for message in history.rows]


def test_the_runs_own_write_releases_the_view() -> None:
    history = Stored()
    shown = view(history)
    chain = chain_over(lambda _: shown, keyed=True)
    chain.invoke({"q": "one"}, CONFIG)
    seen: list[list[BaseMessage]] = []
    chain_over(lambda _: shown, keyed=True, inner=seen.append).invoke({"q": "two"}, CONFIG)
    assert [message.content for message in seen[0]] == ["one", "a:one", "two"]


def test_one_shared_instance_is_safe_with_a_history_key() -> None:
    history = Stored()
    shown = view(history)
    chain = chain_over(lambda _: shown, keyed=True)
    chain.batch([{"q": question} for question in QUESTIONS], CONFIG)
    assert Counter(str(message.content) for message in history.rows) == expected_counts(QUESTIONS)


@pytest.mark.parametrize("answers", [1, 2])
def test_one_shared_instance_that_serves_several_runs_at_once_warns(
    answers: int, caplog: pytest.LogCaptureFixture
) -> None:
    shown = view(Stored())
    chain = chain_over(lambda _: shown, keyed=False)
    streams = [chain.stream(question, CONFIG) for question in QUESTIONS[:answers]]
    for stream in streams:
        next(stream)
    for stream in streams:
        list(stream)
    warned = ["serves several runs" in record.getMessage() for record in caplog.records]
    assert warned == ([True] if answers > 1 else [])


@pytest.mark.parametrize("keyed", [False, True])
def test_one_instance_after_the_other_does_not_warn(*, keyed: bool, caplog: pytest.LogCaptureFixture) -> None:
    shown = view(Stored())
    chain = chain_over(lambda _: shown, keyed=keyed)
    for question in QUESTIONS:
        chain.invoke(input_of(question, keyed=keyed), CONFIG)
    assert caplog.records == []


# --- one session, several views -----------------------------------------------------------------


class Slow(OneByOne):
    """A history over a file: what is written is what was read, and one more."""

    def __init__(self, file: list[BaseMessage], session_id: str) -> None:
        super().__init__(failing=set())
        self.file, self.session_id = file, session_id

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        return list(self.file)

    def add_message(self, message: BaseMessage) -> None:
        read = list(self.file)
        time.sleep(0.001)
        self.file[:] = [*read, message]


def test_views_of_one_session_lose_and_tear_nothing_in_threads() -> None:
    file: list[BaseMessage] = []
    chain = chain_over(lambda _: view(Slow(file, "one")), keyed=True)
    chain.batch([{"q": question} for question in QUESTIONS], CONFIG)
    assert [message.content for message in file[1::2]] == [f"a:{message.content}" for message in file[::2]]
    assert len(file) == 2 * len(QUESTIONS)


async def test_views_of_one_session_lose_and_tear_nothing_on_an_event_loop() -> None:
    file: list[BaseMessage] = []
    chain = chain_over(lambda _: view(Slow(file, "two")), keyed=True)
    await chain.abatch([{"q": question} for question in QUESTIONS], CONFIG)
    assert [message.content for message in file[1::2]] == [f"a:{message.content}" for message in file[::2]]
    assert len(file) == 2 * len(QUESTIONS)


async def test_a_sync_write_on_the_event_loop_of_a_waiting_one_is_done_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(chat_history_module, "_WAIT", 0.05)
    stored = AsyncStored()
    write = asyncio.create_task(view(stored).aadd_messages(turns(1)))
    await asyncio.sleep(0)
    view(stored).add_messages(turns(1))
    await write
    assert len(stored.rows) == 4
    assert "Done all the same" in caplog.text


def test_a_view_of_another_history_inside_a_run_is_live() -> None:
    outer, other = Stored(), Stored()
    shown = view(other)
    reads: list[int] = []

    def inner(_: list[BaseMessage]) -> None:
        reads.append(len(shown.messages))
        other.add_messages(turns(1))
        reads.append(len(shown.messages))

    chain_over(lambda _: view(outer), keyed=True, inner=inner).invoke({"q": "now"}, CONFIG)
    assert reads == [0, 2]


def test_a_lost_turn_is_logged_although_the_run_swallows_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    history = OneByOne(failing=set(range(1, 100)))
    with caplog.at_level(logging.ERROR, logger="langchain_tokenbuffer"):
        answer = chain_over(lambda _: view(history), keyed=True).invoke({"q": "now"}, CONFIG)
    assert answer.content == "a:now"
    assert "Could not store 2 of 2 messages" in caplog.text


# --- pickles and copies -------------------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda history: pickle.loads(pickle.dumps(history))])
def test_a_copy_shows_the_same_window(history: BaseChatMessageHistory, again: Callable[[Any], Any]) -> None:
    history.add_messages(turns(5))
    assert again(view(history)).messages == turns(5)[-4:]


def test_a_deep_copy_writes_elsewhere(history: BaseChatMessageHistory) -> None:
    copy.deepcopy(view(history)).add_messages(turns(1))
    assert history.messages == []
