"""Moving a LangGraph thread into SQL: every message, once, also while the thread still grows. The model is scripted.

`import_messages` remembers how far it came under the thread's name, so it may be interrupted and called again.
"""

import tempfile
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from langchain_tokenbuffer import SQLTokenBufferHistory

agent = create_agent(FakeListChatModel(responses=["It is a number, as all of them are."]), checkpointer=InMemorySaver())


def config(thread_id: str) -> RunnableConfig:
    """Return what LangGraph calls a thread by."""
    return {"configurable": {"thread_id": thread_id}}


def talk(thread_id: str, numbers: range) -> None:
    """Let a thread grow."""
    for n in numbers:
        question: Any = {"messages": [("user", f"What is number {n} good for?")]}
        agent.invoke(question, config(thread_id))


def move(thread_id: str, database: Path) -> SQLTokenBufferHistory:
    """Import what the thread holds and the session does not."""
    history = SQLTokenBufferHistory(thread_id, database, max_tokens=100, token_counter="o200k_base")
    messages = agent.get_state(config(thread_id)).values["messages"]
    count = history.import_messages(messages, name=f"thread {thread_id}", progress=False)
    print(f"{thread_id}: {count} of {len(messages)} messages imported")
    return history


def main(database: Path) -> None:
    """Move two threads, one of them twice."""
    for thread_id, turns in (("ann", 8), ("bob", 3)):
        talk(thread_id, range(turns))
        move(thread_id, database)
    talk("ann", range(8, 10))
    history = move("ann", database)
    same = history.all_messages() == agent.get_state(config("ann")).values["messages"]
    print(f"the session holds what the thread holds: {same}")
    print(f"its window: {len(history.messages)} of {len(history.all_messages())} messages")
    for info in SQLTokenBufferHistory.sessions(database):
        print(f"stored: {info.session_id}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder) / "chats.db")
