"""What the SQL history costs: a long session against a short one, and community's.

On SQLite, and on PostgreSQL where one answers (`TOKENBUFFER_TEST_POSTGRES_URL`). What is compared
alternates within one run and is shown as a ratio of medians; milliseconds are for orientation.
The long session has 100,000 messages; with `TOKENBUFFER_BENCH_FULL=1` a million, which takes some
minutes to write. `TOKENBUFFER_BENCH_MESSAGES` is any other length.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
import uuid
import warnings
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer import TokenBuffer
from langchain_tokenbuffer._sql.schema import tables
from langchain_tokenbuffer.sql import SQLTokenBufferHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_community.chat_message_histories import SQLChatMessageHistory

POSTGRES = os.environ.get("TOKENBUFFER_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
FULL = os.environ.get("TOKENBUFFER_BENCH_FULL") == "1"
LONG = int(os.environ.get("TOKENBUFFER_BENCH_MESSAGES", "1000000" if FULL else "100000"))
SHORT = 100
COMMUNITY = 10_000
BATCH = 10_000
ROUNDS = 300
MAX_TOKENS = 1000
TURN: list[BaseMessage] = [
    HumanMessage("Could you tell me where the nearest bakery is, and when it opens?"),
    AIMessage("It is two streets from here, on the left, and it opens at seven o'clock."),
]


class Measured(NamedTuple):
    """Medians of two things that alternated, in seconds."""

    first: float
    second: float

    def row(self, what: str) -> str:
        """Return a row of the table."""
        first, second = 1000 * self.first, 1000 * self.second
        return f"| {what} | {first:.2f} ms | {second:.2f} ms | {self.first / self.second:.2f} |"


def measured(first: Callable[[], object], second: Callable[[], object], rounds: int) -> Measured:
    """Run two things in turns and return the median of each."""
    times: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        for call, spent in zip((first, second), times, strict=True):
            began = time.perf_counter()
            call()
            spent.append(time.perf_counter() - began)
    return Measured(statistics.median(times[0]), statistics.median(times[1]))


def same_window(length: int, near: int) -> int:
    """Return how long a session near a length is whose window is as large as one of `length`."""
    buffer = TokenBuffer(MAX_TOKENS, token_counter="o200k_base")
    sizes = [len(buffer.window(TURN * turns).kept) for turns in range(near)]
    # All turns cost the same, so from the first cut on the sizes repeat.
    first = next(turns for turns in range(1, near) if sizes[turns] < sizes[turns - 1])
    again = next(turns for turns in range(first + 1, near) if sizes[turns] < sizes[turns - 1])
    period = again - first
    turns = first + (length // 2 - first) % period
    while turns < near // 2:
        turns += period
    return 2 * turns


def rows(url: str) -> Iterator[str]:
    """Measure on one database."""
    prefix = f"bench_{uuid.uuid4().hex[:8]}"
    name = sa.make_url(url).get_backend_name()

    def history(session_id: str) -> SQLTokenBufferHistory:
        return SQLTokenBufferHistory(session_id, url, max_tokens=MAX_TOKENS, token_counter="o200k_base", prefix=prefix)

    def fill(session_id: str, count: int) -> None:
        for start in range(0, count, BATCH):
            history(session_id).add_messages(TURN * (min(BATCH, count - start) // 2))

    short = same_window(LONG, SHORT)
    fill("short", short)
    fill("long", LONG)
    fill("community", COMMUNITY)
    sizes = {len(history(session_id).messages) for session_id in ("short", "long")}
    if len(sizes) > 1:
        sys.exit(f"The windows compared are not of one size: {sizes}")
    what = f"{LONG:,} against {short} messages, window of {sizes.pop()}"
    read = measured(lambda: history("long").messages, lambda: history("short").messages, ROUNDS)
    yield read.row(f"{name}: read the window, {what}")
    append = measured(
        lambda: history("long").add_messages(TURN),
        lambda: history("short").add_messages(TURN),
        ROUNDS,
    )
    yield append.row(f"{name}: append a turn, {what}")
    engine = sa.create_engine(url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SQLChatMessageHistory("community", connection=engine, table_name=f"{prefix}_old")
        theirs.add_messages(TURN * (COMMUNITY // 2))
        against = measured(lambda: theirs.messages, lambda: history("community").messages, 9)
    yield against.row(f"{name}: read, community's `SQLChatMessageHistory`, {COMMUNITY:,} messages")
    drop(engine, prefix)


def drop(engine: sa.Engine, prefix: str) -> None:
    """Leave the database as it was."""
    ours = tables(prefix, None)
    old = sa.Table(f"{prefix}_old", sa.MetaData())
    with engine.begin() as connection:
        for table in (ours.messages, ours.sessions, ours.terms, ours.versions, old):
            table.drop(connection)
    engine.dispose()


def urls(folder: str) -> Sequence[str]:
    """Return the databases there are."""
    found = [f"sqlite:///{folder}/chats.db"]
    engine = sa.create_engine(POSTGRES, connect_args={"connect_timeout": 2})
    try:
        with engine.connect():
            found.append(POSTGRES)
    except sa.exc.DBAPIError:
        print("(no PostgreSQL answers)")
    engine.dispose()
    return found


def main() -> None:
    """Print the table."""
    print("## SQL history\n")
    print("| what | first | second | ratio |")
    print("| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for url in urls(folder):
            for row in rows(url):
                print(row, flush=True)
    print()


if __name__ == "__main__":
    main()
