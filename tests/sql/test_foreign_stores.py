"""What a view can promise over the histories of others, as `docs/histories.md` lists it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from tests.oracle import breaches
from tests.sql import stores
from tests.sql.stores import history_in, step_turn, view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkServerContext
    from pathlib import Path

    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.messages import BaseMessage

    from tests.sql.conftest import Place

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated")

RUNS = 6
NAMES = [f"run{n}" for n in range(RUNS)]
CONFIG: Any = {"configurable": {"session_id": "s"}}


@dataclass(frozen=True)
class Store:
    """A session in a store of a kind."""

    kind: str
    where: str
    session_id: str

    def history(self, kind: str = "") -> BaseChatMessageHistory:
        return history_in(kind or self.kind, self.where, self.session_id)

    def texts(self) -> list[str]:
        history = self.history()
        found = [str(message.text) for message in history.messages]
        stores.close(history)
        return found


@pytest.fixture
def store(
    request: pytest.FixtureRequest, shared_place: Callable[[str], Place], tmp_path: Path, session_id: str
) -> Iterator[Store]:
    """A new session in the store that a test asks for, where that answers."""
    kind, _, database = request.param.partition(" on ")
    where = str(tmp_path)
    if kind == "redis":
        where = request.getfixturevalue("redis_url")
    elif database:
        where = shared_place(database).url
    found = Store(kind, where, session_id)
    history = found.history()  # some make their table here
    yield found
    history.clear()
    stores.close(history)
    if database:
        name = f"t{session_id[:12]}"
        shared_place(database).drop(name)


SQL = ["sql on sqlite", "sql on postgresql", "sql on mariadb"]
ALL = ["redis", "postgres on postgresql", "file", "memory", *SQL]
KEPT = ["redis", "postgres on postgresql", *SQL]
"""What keeps what several processes write."""


def whole(texts: list[str]) -> list[str]:
    """Return the names of the turns that stand together, in order."""
    starts = range(0, len(texts), 4)
    names = [texts[i].split()[0] for i in starts]
    return [name for i, name in zip(starts, names, strict=True) if texts[i : i + 4] == texts_of(name)]


def texts_of(name: str) -> list[str]:
    return [message.text for message in step_turn(name)]


def chain_over(store: Store, kind: str = "") -> RunnableWithMessageHistory:
    """Return a chain whose runs answer with a step, over a new view each."""

    def answer(messages: Any) -> list[BaseMessage]:
        return step_turn(messages[-1].text.split()[0])[1:]

    return RunnableWithMessageHistory(RunnableLambda(answer), lambda _: view(store.history(kind)))


@pytest.mark.parametrize("store", ALL, indirect=True)
def test_concurrent_runs_of_a_process_lose_and_tear_nothing(store: Store) -> None:
    chain_over(store).batch([[step_turn(name)[0]] for name in NAMES], CONFIG)
    assert sorted(whole(store.texts())) == NAMES
    assert len(store.texts()) == 4 * RUNS


@pytest.mark.parametrize("store", [each for each in ALL if each != "sql on mariadb"], indirect=True)
async def test_concurrent_async_runs_of_a_process_lose_and_tear_nothing(store: Store) -> None:
    kind = store.kind.replace("sql", "async sql")  # MariaDB has no asynchronous driver here
    await chain_over(store, kind).abatch([[step_turn(name)[0]] for name in NAMES], CONFIG)
    assert sorted(whole(store.texts())) == NAMES
    assert len(store.texts()) == 4 * RUNS


# --- between processes --------------------------------------------------------------------------


def write_in_processes(store: Store, context: ForkServerContext) -> list[str]:
    """Let two processes write; return the names of their turns."""
    args = (store.kind, store.where, store.session_id)
    processes = [context.Process(target=stores.write_turns, args=(*args, name, RUNS // 2)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [f"{name}{n}" for name in ("a", "b") for n in range(RUNS // 2)]


@pytest.mark.parametrize("store", KEPT, indirect=True)
def test_what_several_processes_write_is_all_there(store: Store, context: ForkServerContext) -> None:
    names = write_in_processes(store, context)
    found = store.texts()
    assert sorted(found) == sorted(text for name in names for text in texts_of(name))
    assert all([text for text in found if text.split()[0] == name] == texts_of(name) for name in names)


@pytest.mark.parametrize("store", ["sql on sqlite", "sql on mariadb"], indirect=True)
def test_what_several_processes_write_in_a_statement_stays_together(store: Store, context: ForkServerContext) -> None:
    names = write_in_processes(store, context)
    assert sorted(whole(store.texts())) == names


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_each_process_has_a_memory_of_its_own(store: Store, context: ForkServerContext) -> None:
    write_in_processes(store, context)
    assert store.texts() == []


def interrupted(store: Store, at: str, other: Callable[[], None]) -> BaseChatMessageHistory:
    """Return a history beside which another process does something, once, before one of its methods returns."""
    history, waiting = store.history(), [other]
    kind = type(history)

    def then(self: Any, *args: Any) -> Any:
        original = getattr(kind, at)
        result = original.__get__(self)
        result = result if at == "messages" else result(*args)
        if waiting:
            waiting.pop()()
        return result

    history.__class__ = type(kind.__name__, (kind,), {at: property(then) if at == "messages" else then})
    return history


@pytest.mark.parametrize("store", ["redis", "postgres on postgresql"], indirect=True)
def test_a_turn_that_another_process_comes_into_is_shown_in_order(store: Store) -> None:
    def other() -> None:
        stores.write_turns(store.kind, store.where, store.session_id, "other", 1)

    history = interrupted(store, "add_message", other)
    view(history).add_messages(step_turn("torn"))
    found = store.texts()
    shown = view(history).messages
    stores.close(history)
    assert found == ["torn question", *texts_of("other0"), *texts_of("torn")[1:]]
    assert breaches(shown) == set()


@pytest.mark.parametrize("store", ["file"], indirect=True)
def test_a_file_loses_what_another_process_writes_meanwhile(store: Store) -> None:
    def other() -> None:
        stores.write_turns(store.kind, store.where, store.session_id, "other", 1)

    view(interrupted(store, "messages", other)).add_messages(step_turn("mine"))
    assert store.texts() == texts_of("mine")
