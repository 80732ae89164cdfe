"""What every history of ours promises, whatever it stands on."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import sqlalchemy as sa
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.language_models import FakeListChatModel, FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from sqlalchemy.ext.asyncio import create_async_engine

from langchain_tokenbuffer import (
    ConversationTokenBufferMemory,
    TokenBudgetError,
    TokenBuffer,
    TokenBufferChatMessageHistory,
)
from tests.builders import count_words, turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.sql.conftest import Place

    History: TypeAlias = Any  # what all of them share is BaseChatMessageHistory, and `buffer`
    Make: TypeAlias = Callable[..., History]

pytestmark = pytest.mark.filterwarnings("ignore:.*(MessageHistory|deprecated)")

KINDS = ["view", "path", "memory", "engine", "async engine", "postgresql", "mariadb", "asyncpg"]


@pytest.fixture(params=KINDS)
async def make(
    request: pytest.FixtureRequest, tmp_path: Path, shared_place: Callable[[str], Place]
) -> AsyncIterator[Make]:
    """Return what makes a new history object over the one session of this test."""
    kind = request.param
    session_id = uuid.uuid4().hex
    if kind == "view":
        stored = InMemoryChatMessageHistory()

        def view(**options: Any) -> TokenBufferChatMessageHistory:
            return TokenBufferChatMessageHistory(stored, **{"max_tokens": 40, "token_counter": count_words, **options})

        yield view
        return
    database = {"postgresql": "postgresql", "asyncpg": "postgresql", "mariadb": "mariadb"}
    place = shared_place(database.get(kind, "sqlite"))
    connection: Any = place.url
    dispose: Any = None
    if kind == "path":
        connection = tmp_path / "chats.db"
    elif kind == "memory":
        connection = "sqlite://"
    elif kind == "engine":
        connection = place.engine()
        dispose = connection.dispose
    elif kind in ("async engine", "asyncpg"):
        driver = "sqlite+aiosqlite" if kind == "async engine" else "postgresql+asyncpg"
        connection = create_async_engine(sa.make_url(place.url).set(drivername=driver))

    def history(**options: Any) -> History:
        return place.history(session_id, connection=connection, **{"max_tokens": 40, **options})

    yield history
    await asyncio.to_thread(history().delete_session)
    if dispose is not None:
        dispose()
    elif kind in ("async engine", "asyncpg"):
        await connection.dispose()


def buffer_window(messages: list[BaseMessage], max_tokens: int = 40) -> list[BaseMessage]:
    return TokenBuffer(max_tokens, token_counter=count_words).trim(messages)


TURNS = [message for n in range(7) for message in turn(n)]


class TestEveryHistory:
    """The contract."""

    def test_nothing_is_shown_of_a_session_that_does_not_exist(self, make: Make) -> None:
        assert make().messages == []

    def test_a_new_object_shows_what_another_one_wrote(self, make: Make) -> None:
        make().add_messages(turn(1))
        assert make().messages == turn(1)

    async def test_what_was_written_async_is_read_sync_and_the_other_way_round(self, make: Make) -> None:
        await make().aadd_messages(turn(1))
        await asyncio.to_thread(make().add_messages, turn(2))
        found = await asyncio.to_thread(lambda: make().messages)
        assert found == await make().aget_messages() == [*turn(1), *turn(2)]

    def test_the_window_is_that_of_a_token_buffer(self, make: Make) -> None:
        for n in range(7):
            make().add_messages(turn(n))
        assert make().messages == buffer_window(TURNS)

    async def test_the_window_is_the_same_async(self, make: Make) -> None:
        for n in range(7):
            await make().aadd_messages(turn(n))
        assert await make().aget_messages() == buffer_window(TURNS)

    def test_messages_added_one_by_one_are_kept_in_order(self, make: Make) -> None:
        history = make()
        for message in TURNS:
            history.add_message(message)
        assert make().messages == buffer_window(TURNS)

    def test_what_a_generator_yields_is_stored(self, make: Make) -> None:
        make().add_messages(message for message in turn(1))
        assert make().messages == turn(1)

    async def test_what_a_generator_yields_is_stored_async(self, make: Make) -> None:
        await make().aadd_messages(message for message in turn(1))
        assert await make().aget_messages() == turn(1)

    def test_writing_nothing_changes_nothing(self, make: Make) -> None:
        make().add_messages([])
        assert make().messages == []

    def test_the_list_is_a_new_one_each_time(self, make: Make) -> None:
        history = make()
        history.add_messages(turn(1))
        history.messages.clear()
        assert history.messages == turn(1)

    def test_after_clear_nothing_is_there(self, make: Make) -> None:
        make().add_messages(TURNS)
        make().clear()
        assert make().messages == []

    async def test_after_aclear_nothing_is_there(self, make: Make) -> None:
        await make().aadd_messages(TURNS)
        await make().aclear()
        assert await make().aget_messages() == []

    def test_what_comes_after_clear_begins_anew(self, make: Make) -> None:
        make().add_messages(TURNS)
        make().clear()
        make().add_messages(turn(8))
        assert make().messages == turn(8)

    def test_what_does_not_fit_is_shortened(self, make: Make) -> None:
        long: list[BaseMessage] = [HumanMessage("why " * 100)]
        make().add_messages(long)
        assert make().messages == buffer_window(long) != long

    def test_a_write_never_raises_for_reasons_of_budget(self, make: Make) -> None:
        make(oversize="raise").add_messages([HumanMessage("why " * 100)])
        with pytest.raises(TokenBudgetError):
            _ = make(oversize="raise").messages

    async def test_a_read_that_does_not_fit_raises_async_too(self, make: Make) -> None:
        await make(oversize="raise").aadd_messages([HumanMessage("why " * 100)])
        with pytest.raises(TokenBudgetError):
            await make(oversize="raise").aget_messages()

    def test_the_repr_shows_the_settings_and_no_message(self, make: Make) -> None:
        history = make()
        history.add_messages([HumanMessage("a secret")])
        assert "TokenBuffer(40" in repr(history)
        assert "secret" not in repr(history)

    async def test_a_history_works_from_several_event_loops(self, make: Make) -> None:
        history = make()
        await history.aadd_messages(turn(0))
        for n in (1, 2):
            add = history.aadd_messages(turn(n))
            await asyncio.to_thread(asyncio.run, add)
        assert await history.aget_messages() == TURNS[:6]

    def test_a_history_serves_the_drop_in_memory(self, make: Make) -> None:
        def memory() -> ConversationTokenBufferMemory:
            return ConversationTokenBufferMemory(
                llm=count_words, max_token_limit=40, chat_memory=make(), return_messages=True
            )

        for n in range(7):
            memory().save_context({"input": f"question {n}"}, {"output": f"answer {n}"})
        window = memory().load_memory_variables({})["history"]
        assert window == make().messages[-len(window) :]
        assert window[-1].content == "answer 6"

    async def test_a_history_serves_the_drop_in_memory_async(self, make: Make) -> None:
        memory = ConversationTokenBufferMemory(
            llm=count_words, max_token_limit=40, chat_memory=make(), return_messages=True
        )
        for n in range(7):
            await memory.asave_context({"input": f"question {n}"}, {"output": f"answer {n}"})
        assert (await memory.aload_memory_variables({}))["history"][-1].content == "answer 6"

    def test_runs_with_message_history_store_every_turn(self, make: Make) -> None:
        chain = with_history(make, FakeListChatModel(responses=[f"answer {n}" for n in range(7)]))
        for n in range(7):
            chain.invoke({"question": f"question {n}"}, CONFIG)
        wanted = [text for n in range(7) for text in (f"question {n}", f"answer {n}")]
        window = [message.content for message in make().messages]
        assert window == wanted[-len(window) :]

    async def test_async_runs_with_message_history_store_every_turn(self, make: Make) -> None:
        chain = with_history(make, FakeListChatModel(responses=[f"answer {n}" for n in range(7)]))
        for n in range(7):
            await chain.ainvoke({"question": f"question {n}"}, CONFIG)
        window = [message.content for message in await make().aget_messages()]
        assert window[-2:] == ["question 6", "answer 6"]

    def test_a_reply_that_comes_from_a_cache_with_its_id_is_stored_again(self, make: Make) -> None:
        reply = AIMessage("the same", id="run-1")
        chain = with_history(make, FakeMessagesListChatModel(responses=[reply, reply]))
        chain.invoke({"question": "one"}, CONFIG)
        chain.invoke({"question": "two"}, CONFIG)
        assert [message.content for message in make().messages] == [
            "one",
            "the same",
            "two",
            "the same",
        ]

    @pytest.mark.parametrize("key", [None, "history"])
    def test_a_run_sees_one_view_while_another_one_writes(self, make: Make, key: str | None) -> None:
        make().add_messages(turn(0))

        def meanwhile(value: Any) -> AIMessage:
            make().add_messages([HumanMessage("in between"), AIMessage("yes")])
            return AIMessage("done")

        chain: Any = RunnableWithMessageHistory(
            RunnableLambda(meanwhile),
            lambda session_id: make(max_tokens=400),
            input_messages_key="question" if key else None,
            history_messages_key=key,
        )
        question = HumanMessage("mine")
        chain.invoke({"question": [question]} if key else [question], CONFIG)
        assert [message.content for message in make(max_tokens=400).messages[2:]] == [
            "in between",
            "yes",
            "mine",
            "done",
        ]


CONFIG: Any = {"configurable": {"session_id": "s"}}


def with_history(make: Make, model: Runnable[Any, Any]) -> RunnableWithMessageHistory:
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])

    def history(session_id: str) -> BaseChatMessageHistory:
        found: BaseChatMessageHistory = make()
        return found

    return RunnableWithMessageHistory(
        prompt | model,
        history,
        input_messages_key="question",
        history_messages_key="history",
    )
