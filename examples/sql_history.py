"""Two worker processes share one session in a database, and no message is lost.

On SQLite as it is; on PostgreSQL with a URL:

    python examples/sql_history.py postgresql+psycopg://postgres@127.0.0.1:5432/test
"""

import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from langchain_core.messages import AIMessage, HumanMessage

from langchain_tokenbuffer import SQLTokenBufferHistory

TURNS = 10


def history(url: str, session_id: str) -> SQLTokenBufferHistory:
    """Return a new object over the session; every worker and every request makes its own."""
    return SQLTokenBufferHistory(session_id, url, max_tokens=120, token_counter="o200k_base")


def work(url: str, session_id: str, name: str) -> None:
    """Be a worker: answer questions, each time with the window as the other one left it."""
    for number in range(TURNS):
        question = HumanMessage(f"{name} asks number {number}: where is the bakery?")
        window = [*history(url, session_id).messages, question]
        reply = AIMessage(f"I have seen {len(window)} messages. Two streets from here, {name}.")
        history(url, session_id).add_messages([question, reply])


def main(url: str) -> None:
    """Start both workers, then look at what they left."""
    session_id = f"example-{uuid.uuid4().hex[:8]}"
    command = [sys.executable, __file__, "worker", url, session_id]
    workers = [subprocess.Popen([*command, name]) for name in ("ann", "bob")]  # noqa: S603
    for worker in workers:
        worker.wait()

    shared = history(url, session_id)
    stored = [str(message.content) for message in shared.all_messages()]
    window = shared.messages
    for name in ("ann", "bob"):
        count = sum(text.startswith(f"{name} asks") for text in stored)
        print(f"{name} stored {count} of {TURNS} questions")
    turns = zip(stored[::2], stored[1::2], strict=True)
    whole = all(question.split(" asks")[0] in reply for question, reply in turns)
    print(f"{len(stored)} messages are stored; every reply follows its question: {whole}")
    print(f"the model sees {len(window)} of them, {shared.buffer.token_counter(window)} tokens")
    left = shared.evicted(lambda messages: print(f"handed over, oldest: {messages[0].content!r}"))
    print(f"{left} messages left the window, and were handed over once: {shared.evicted(print)} more")
    shared.delete_session()


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        work(*sys.argv[2:])
    else:
        given = [argument for argument in sys.argv[1:] if "://" in argument]
        with tempfile.TemporaryDirectory() as folder:
            url = os.environ.get("TOKENBUFFER_EXAMPLE_URL", f"sqlite:///{Path(folder)}/chats.db")
            main(given[0] if given else url)
