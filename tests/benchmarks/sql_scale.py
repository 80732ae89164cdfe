"""What much data costs the SQL history: many sessions, long ones, and one that is computed anew beside others.

`sql.py` prints the rows. What is compared alternates within one run. Data is copied inside the database from what the
history wrote itself; a session whose messages are copied is computed anew by the history before it is measured.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer._sql.rows import key_of
from langchain_tokenbuffer._sql.schema import Tables, tables
from langchain_tokenbuffer.sql import SQLTokenBufferHistory
from tests.benchmarks.sql_figures import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL = os.environ.get("TOKENBUFFER_BENCH_FULL") == "1"
MANY, FEW = (200_000 if FULL else 20_000), 1_000
CHANGED = 300_000 if FULL else 30_000
ROUNDS = 300
MAX_TOKENS = 1000
BATCH = 10_000
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}
TURN: list[BaseMessage] = [
    HumanMessage("Could you tell me where the nearest bakery is, and when it opens?"),
    AIMessage("It is two streets from here, on the left, and it opens at seven o'clock."),
]


def measured(
    database: str, what: str, first: Callable[[], object], second: Callable[[], object], rounds: int = ROUNDS
) -> Figure:
    """Run two things in turns and return the median of each."""
    times: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        for call, spent in zip((first, second), times, strict=True):
            spent.append(timed(call))
    return Figure(database, what, statistics.median(times[0]), statistics.median(times[1]))


def timed(call: Callable[[], object]) -> float:
    """Return how many milliseconds a call takes."""
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


class Data(NamedTuple):
    """Tables of the history in a database, and a way to fill them fast."""

    url: str
    prefix: str

    @property
    def tables(self) -> Tables:
        return tables(self.prefix, None)

    def history(self, session_id: str, max_tokens: int = MAX_TOKENS) -> SQLTokenBufferHistory:
        return SQLTokenBufferHistory(
            session_id, self.url, max_tokens=max_tokens, token_counter="o200k_base", prefix=self.prefix
        )

    def lengthen(self, session_id: str, length: int) -> None:
        """Give a session so many messages, and let the history compute its window."""
        history = self.history(session_id)
        history.add_messages(TURN * (min(BATCH, length) // 2))
        engine, messages, s = sa.create_engine(self.url), self.tables.messages, self.tables.sessions.c
        with engine.begin() as connection:
            row = connection.scalar(sa.select(s.id).where(s.key == key_of(session_id)))
            for start in range(BATCH, length, BATCH):
                here = messages.c.session_id == row, messages.c.seq < min(BATCH, length - start)
                copies = _copies(self.tables, seq=messages.c.seq + start, session_id=messages.c.session_id)
                connection.execute(_insert(self.tables, copies.where(*here)))
            # Computed with other settings than any: when it is next used, that is done anew.
            outdated = sa.update(self.tables.sessions).where(s.id == row).values(next_seq=length, settings_digest="")
            connection.execute(outdated)
        engine.dispose()
        _ = history.messages

    def multiply(self, session_id: str, count: int) -> None:
        """Make so many sessions like one."""
        engine, s, m = sa.create_engine(self.url), self.tables.sessions, self.tables.messages
        with engine.begin() as connection:
            (row,) = connection.execute(sa.select(s).where(s.c.key == key_of(session_id))).mappings()
            like = {name: value for name, value in row.items() if name != "id"}
            for start in range(0, count, BATCH):
                names = map(str, range(start, min(start + BATCH, count)))
                new = [{**like, "key": key_of(name), "name": json.dumps(name)} for name in names]
                connection.execute(sa.insert(s), new)
            others = s.c.id != row["id"]
            copies = _copies(self.tables, seq=m.c.seq, session_id=s.c.id).select_from(m.join(s, sa.true()))
            connection.execute(_insert(self.tables, copies.where(m.c.session_id == row["id"], others)))
        _gather_statistics(engine, self.tables)
        engine.dispose()

    def drop(self) -> None:
        """Leave the database as it was."""
        engine = sa.create_engine(self.url)
        self.tables.sessions.metadata.drop_all(engine)
        engine.dispose()


def _copies(described: Tables, **changed: Any) -> sa.Select[Any]:
    """Select messages to be stored once more, with other values in some columns."""
    changed["append_key"] = sa.null()
    return sa.select(*(changed.get(column.name, column) for column in described.messages.c))


def _insert(described: Tables, rows: sa.Select[Any]) -> sa.Insert:
    return sa.insert(described.messages).from_select([column.name for column in described.messages.c], rows)


def _gather_statistics(engine: sa.Engine, described: Tables) -> None:
    """Let a server's planner know what was stored, as it would in time."""
    verb = {"postgresql": "ANALYZE", "mysql": "ANALYZE TABLE", "mariadb": "ANALYZE TABLE"}.get(engine.dialect.name)
    if verb is not None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in (described.sessions, described.messages):
                connection.exec_driver_sql(f"{verb} {table.name}")


def many_sessions(url: str) -> Iterator[Figure]:
    """Measure in tables with many sessions against such with few."""
    many, few = new_data(url), new_data(url)
    for data, count in ((many, MANY), (few, FEW)):
        data.history("like").add_messages(TURN * 2)
        data.multiply("like", count)
    dice = random.Random(7)

    def some(data: Data, count: int) -> SQLTokenBufferHistory:
        return data.history(str(dice.randrange(count)))

    name, what = name_of(url), f"{MANY:,} sessions against {FEW:,}"
    yield measured(name, f"read a window, {what}", lambda: some(many, MANY).messages, lambda: some(few, FEW).messages)
    yield measured(
        name,
        f"append a turn, {what}",
        lambda: some(many, MANY).add_messages(TURN),
        lambda: some(few, FEW).add_messages(TURN),
    )
    many.drop()
    few.drop()


def settings_change(url: str) -> Iterator[Figure]:
    """Measure another session's reads while a long session is computed anew, in the same process."""
    data = new_data(url)
    data.lengthen("long", CHANGED)
    data.history("other").add_messages(TURN * 20)
    usual = _reads(data, lambda count: count < ROUNDS)
    change: list[float] = []
    changed = data.history("long", MAX_TOKENS - 100)
    thread = threading.Thread(target=lambda: change.append(timed(lambda: changed.messages)))
    thread.start()
    beside = _reads(data, lambda _: thread.is_alive())
    thread.join()
    usual += _reads(data, lambda count: count < ROUNDS)  # also behind it, if the machine has got more or less busy
    what = f"read another session while settings change on {CHANGED:,} messages"
    yield Figure(name_of(url), f"{what}, against usual", statistics.median(beside), statistics.median(usual))
    yield Figure(name_of(url), "the worst of these reads, against the change", max(beside), change[0])
    data.drop()


def _reads(data: Data, goes_on: Callable[[int], bool]) -> list[float]:
    """Return how many milliseconds reads of a session take, with a little rest between them."""
    times: list[float] = []
    while goes_on(len(times)):
        times.append(timed(lambda: data.history("other").messages))
        time.sleep(0.002)
    return times


def name_of(url: str) -> str:
    """Return what a row calls a database: its name and version."""
    engine = sa.create_engine(url)
    with engine.connect():
        version = ".".join(map(str, (engine.dialect.server_version_info or ())[:2]))
    engine.dispose()
    name = "mariadb" if getattr(engine.dialect, "is_mariadb", False) else engine.dialect.name
    return f"{NAMES.get(name, name)} {version}"


def new_data(url: str) -> Data:
    """Return tables of their own in a database."""
    return Data(url, f"bench_{uuid.uuid4().hex[:8]}")
