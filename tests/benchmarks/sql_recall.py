"""What recall costs the SQL history: ranking a long session against a short one, appending with it against without.

On SQLite, and on PostgreSQL and MariaDB where they answer (`TOKENBUFFER_TEST_POSTGRES_URL`, `..._MARIADB_URL`). The
short session has 20,000 messages, the long one 100,000, or a million with `TOKENBUFFER_BENCH_FULL=1`
(`TOKENBUFFER_BENCH_MESSAGES` is any other length).

The short session is written by the history itself, and its terms by its first recall: turns of 12 words each, of 5,000
words of which the n-th is drawn with a weight of 1 / (n + 2). The long one is that session's rows copied behind each
other by the database, each copy with a number of its own before its texts: a term is as dense in it, and has as many
more postings.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import sys
import tempfile
import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer._sql.rows import key_of
from langchain_tokenbuffer._sql.schema import PASSAGES, Tables, tables
from langchain_tokenbuffer.sql import SQLTokenBufferHistory
from tests.benchmarks.sql import urls
from tests.benchmarks.sql_figures import RECALL, Figure
from tests.benchmarks.sql_scale import name_of, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = os.environ.get("TOKENBUFFER_BENCH_FULL") == "1"
SHORT = 20_000
LONG = int(os.environ.get("TOKENBUFFER_BENCH_MESSAGES", "1000000" if FULL else "100000"))
BATCH = 1000
QUESTIONS = 100
TURNS = 200
MAX_TOKENS = 1000
RECALLED = 512

_random = random.Random(15)
_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "or")]
_WORDS = ["".join(_random.choices(_SYLLABLES, k=_random.randint(2, 4))) for _ in range(5000)]
_WEIGHTS = list(itertools.accumulate(1 / (n + 3) for n in range(len(_WORDS))))


def text(words: int = 12) -> str:
    """Return words as a chat may have them: few of them often."""
    return " ".join(_random.choices(_WORDS, cum_weights=_WEIGHTS, k=words))


def turns(count: int) -> list[BaseMessage]:
    """Return so many turns."""
    return [message for _ in range(count) for message in (HumanMessage(text()), AIMessage(text()))]


class Bench:
    """Sessions in one database."""

    def __init__(self, url: str) -> None:
        self.prefix = f"bench_{uuid.uuid4().hex[:8]}"
        self.engine = sa.create_engine(url)
        self.name = self.engine.dialect.name
        self.tables: Tables = tables(self.prefix)

    def history(self, session_id: str) -> SQLTokenBufferHistory:
        return SQLTokenBufferHistory(
            session_id, self.engine, max_tokens=MAX_TOKENS, token_counter="o200k_base", prefix=self.prefix
        )

    def fill(self, session_id: str, count: int) -> None:
        for _ in range(0, count, BATCH):
            self.history(session_id).add_messages(turns(BATCH // 2))

    def copy(self, session_id: str, other: str, times: int, *, has_terms: bool = True) -> None:
        """Make a session of another's rows, so many times behind each other."""
        s, m, t = self.tables.sessions, self.tables.messages, self.tables.terms
        with self.engine.begin() as connection:
            row = connection.execute(sa.select(s).where(s.c.key == key_of(session_id))).one()._asdict()
            of, length = row.pop("id"), row["next_seq"]
            ahead = (times - 1) * length
            # Without a stored state the window is read from the cut on.
            row |= {"key": key_of(other), "name": f'"{other}"', "state": None}
            row |= {"next_seq": row["next_seq"] + ahead, "cut": row["cut"] + ahead}
            row |= {} if has_terms else {"indexed_by": None}
            connection.execute(sa.insert(s).values(row))
            to = connection.scalar(sa.select(s.c.id).where(s.c.key == key_of(other)))
        for n in range(times):
            with self.engine.begin() as connection:
                for table, number, more in ((m, m.c.seq, length), (t, t.c.place, length * PASSAGES))[: 1 + has_terms]:
                    values: dict[str, Any] = {each.name: each for each in table.c}
                    values |= {"session_id": sa.literal(to), number.name: number + sa.literal(n * more)}
                    if table is m:
                        values["append_key"] = sa.null()
                        values["payload"] = sa.func.replace(m.c.payload, '"content":"', f'"content":"{n} ')
                    select = sa.select(*values.values()).where(table.c.session_id == of)
                    connection.execute(sa.insert(table).from_select(list(values), select))
                if has_terms and n < times - 1:  # what was in the window has terms of no copy yet
                    self._complete(connection, to, n * length + row["cut"] - ahead, (n + 1) * length)

    def _complete(self, connection: sa.Connection, session: int | None, start: int, stop: int) -> None:
        """Give some messages of a session the terms of the messages before them."""
        t = self.tables.terms.c
        span = (stop - start) * PASSAGES
        values: dict[str, Any] = {each.name: each for each in t} | {"place": t.place + sa.literal(span)}
        these = (t.session_id == session, t.place >= start * PASSAGES - span, t.place < start * PASSAGES)
        select = sa.select(*values.values()).where(*these)
        connection.execute(sa.insert(self.tables.terms).from_select(list(values), select))

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of the messages' table and of the terms', with their indexes."""
        names = self.tables.messages.name, self.tables.terms.name
        with self.engine.connect() as connection:
            if self.name == "postgresql":
                size = "SELECT pg_total_relation_size('{}')"
            elif self.name == "sqlite":
                size = (
                    "SELECT SUM(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name='{}')"
                )
            else:
                connection.execute(sa.text(f"ANALYZE TABLE {', '.join(names)}"))
                size = (
                    "SELECT SUM(stat_value) * @@innodb_page_size FROM mysql.innodb_index_stats "
                    "WHERE stat_name = 'size' AND table_name = '{}'"
                )
            messages, terms = (int(connection.scalar(sa.text(size.format(name))) or 0) for name in names)
        return messages, terms

    def drop(self) -> None:
        """Leave the database as it was."""
        ours = self.tables
        with self.engine.begin() as connection:
            for table in (ours.terms, ours.messages, ours.sessions, ours.versions):
                table.drop(connection)
        self.engine.dispose()


def figures_of(url: str) -> Iterator[Figure]:
    """Measure on one database."""
    bench, name = Bench(url), name_of(url)
    bench.fill("short", SHORT)
    first = timed(lambda: bench.history("short").recall(text(), RECALLED))
    print(f"{name}: the first recall takes {first / SHORT:.2f} ms a message")
    for what, size in zip(("bytes a message", "bytes a message more, for its terms"), bench.sizes(), strict=True):
        yield Figure(name, f"{what}, messages of 12 words, indexes included", size, SHORT)
    bench.copy("short", "long", LONG // SHORT)
    for _ in range(2):
        if not bench.history("long").recall(text(), RECALLED):
            sys.exit("Nothing was recalled")
    times: dict[str, list[float]] = {"long": [], "short": []}
    for _ in range(QUESTIONS):
        question = text()
        for session_id, spent in times.items():
            spent.append(timed(lambda s=session_id: bench.history(s).recall(question, RECALLED)))  # type: ignore[misc]  # noqa: B023
    what = f"recall {RECALLED} tokens in a session of {LONG:,} messages, against {SHORT:,}"
    yield Figure(name, what, *map(statistics.median, times.values()))
    for length, count in (("long", LONG), ("short", SHORT)):
        bench.copy("short", f"plain {length}", count // SHORT, has_terms=False)
        what = f"append a turn with recall in use, against without, {count:,} messages"
        yield Figure(name, what, *appends(bench, length))
    bench.drop()


def appends(bench: Bench, length: str) -> tuple[float, float]:
    """Return the mean times of appending a turn to a session with recall and to one without, in turns."""
    sums = dict.fromkeys((length, f"plain {length}"), 0.0)
    for _ in range(TURNS):
        turn = turns(1)
        for session_id in sums:
            sums[session_id] += timed(lambda s=session_id: bench.history(s).add_messages(turn))  # type: ignore[misc]  # noqa: B023
    recalled, plain = (total / TURNS for total in sums.values())
    return recalled, plain


def main() -> None:
    """Print the table, and write down what was measured in full."""
    print("## Recall in the SQL history\n")
    print("| what | first | second | ratio |")
    print("| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for url in urls(folder):
            figures = []
            for figure in figures_of(url):
                print(figure.row(), flush=True)
                figures.append(figure)
            if FULL:
                RECALL.write(figures)
    print()


if __name__ == "__main__":
    main()
