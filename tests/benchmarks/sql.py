"""What the SQL history costs: a long session against a short one, many against few, and community's.

On SQLite, and on PostgreSQL and MariaDB where they answer (`TOKENBUFFER_TEST_POSTGRES_URL` and
`TOKENBUFFER_TEST_MARIADB_URL`). What is compared alternates within one run and is shown as a ratio of medians;
milliseconds are for orientation. The long session has 100,000 messages, or `TOKENBUFFER_BENCH_MESSAGES`; with
`TOKENBUFFER_BENCH_FULL=1` a million, there are 200,000 sessions, and the figures are written into `results.json` and
onto the page.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import warnings
from typing import TYPE_CHECKING

import sqlalchemy as sa

from langchain_tokenbuffer import TokenBuffer
from tests.benchmarks.sql_figures import SCALE
from tests.benchmarks.sql_scale import (
    FULL,
    MAX_TOKENS,
    TURN,
    many_sessions,
    measured,
    name_of,
    new_data,
    settings_change,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.sql_figures import Figure

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_community.chat_message_histories import SQLChatMessageHistory

POSTGRES = os.environ.get("TOKENBUFFER_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
MARIADB = os.environ.get("TOKENBUFFER_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test")
LONG = 1_000_000 if FULL else int(os.environ.get("TOKENBUFFER_BENCH_MESSAGES", "100000"))
SHORT = 100
COMMUNITY = 10_000


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


def long_session(url: str) -> Iterator[Figure]:
    """Measure a long session against a short one, and community's against ours."""
    data = new_data(url)
    name, history = name_of(url), data.history
    short = same_window(LONG, SHORT)
    history("short").add_messages(TURN * (short // 2))
    data.lengthen("long", LONG)
    history("community").add_messages(TURN * (COMMUNITY // 2))
    sizes = {len(history(session_id).messages) for session_id in ("short", "long")}
    if len(sizes) > 1:
        sys.exit(f"The windows compared are not of one size: {sizes}")
    what = f"session of {LONG:,} against {short} messages"
    yield measured(
        name, f"read the window, {what}", lambda: history("long").messages, lambda: history("short").messages
    )
    yield measured(
        name,
        f"append a turn, {what}",
        lambda: history("long").add_messages(TURN),
        lambda: history("short").add_messages(TURN),
    )
    engine = sa.create_engine(url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SQLChatMessageHistory("community", connection=engine, table_name=f"{data.prefix}_old")
        theirs.add_messages(TURN * (COMMUNITY // 2))
        what = f"read, community's `SQLChatMessageHistory` against ours, {COMMUNITY:,} messages"
        yield measured(name, what, lambda: theirs.messages, lambda: history("community").messages, 9)
    with engine.begin() as connection:
        sa.Table(f"{data.prefix}_old", sa.MetaData()).drop(connection)
    engine.dispose()
    data.drop()


def urls(folder: str) -> Sequence[str]:
    """Return the databases there are."""
    found = [f"sqlite:///{folder}/chats.db"]
    for url in (POSTGRES, MARIADB):
        engine = sa.create_engine(url, connect_args={"connect_timeout": 2})
        try:
            with engine.connect():
                found.append(url)
        except sa.exc.DBAPIError:
            print(f"(nothing answers at {sa.make_url(url)!r})")
        engine.dispose()
    return found


def main() -> None:
    """Print the table, and write down what was measured in full."""
    print("## SQL history\n")
    print("| what | first | second | ratio |")
    print("| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for url in urls(folder):
            figures = []
            for figure in itertools.chain(long_session(url), many_sessions(url), settings_change(url)):
                print(figure.row(), flush=True)
                figures.append(figure)
            if FULL:
                SCALE.write(figures)
    print()


if __name__ == "__main__":
    main()
