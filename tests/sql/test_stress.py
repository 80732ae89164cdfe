"""Many writers, killed writers and lost connections, on real databases, in real processes.

Small by default; `make test_full` runs 8 processes x 250 turns and 50 kills.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from langchain_tokenbuffer import TokenBuffer
from tests.scale import FULL
from tests.sql import release_0_1_0, workers
from tests.sql.workers import MAX_TOKENS, Job, count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkServerContext, ForkServerProcess

    from tests.sql.conftest import Place

PROCESSES = 8
TURNS = 250 if FULL else 24
KILLS = 50 if FULL else 6
TERMINATIONS = 50 if FULL else 8

ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mysql": None}


@pytest.fixture(scope="module")
def context() -> Iterator[ForkServerContext]:
    """Processes that have imported everything: none is forked from one with open connections."""
    root = Path(__file__).resolve().parents[2]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *([before] if before else [])])
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["tests.sql.workers"])
    yield found
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def job(place: Place, tmp_path: Path) -> Job:
    place.history("warm").create_tables()
    return Job(place.url, place.prefix, str(tmp_path), "w")


def run_processes(context: ForkServerContext, work: Callable[..., None], *jobs: tuple[Any, ...]) -> None:
    processes = [start(context, work, *args) for args in jobs]
    for process in processes:
        process.join(300)


def start(context: ForkServerContext, work: Callable[..., None], *args: Any) -> ForkServerProcess:
    process = context.Process(target=work, args=args, daemon=True)
    process.start()
    return process


def lines_of(job: Job, kind: str) -> list[str]:
    files = sorted(Path(job.folder).glob(f"*.{kind}"))
    return [line for file in files for line in file.read_text().splitlines()]


def stored_turns(job: Job, session: str) -> list[list[str]]:
    """Return the stored texts of a session, cut before every question."""
    turns: list[list[str]] = []
    for message in job.history(session).all_messages():
        if message.type == "human":
            turns.append([])
        turns[-1].append(message.text)
    return turns


def whole(mark: str) -> list[str]:
    return [message.text for message in workers.marked_turn(mark)]


def assert_nothing_is_lost_or_halved(job: Job, place: Place, session: str) -> None:
    """Every acknowledged turn once, every stored turn whole, the sequence without gaps."""
    turns = stored_turns(job, session)
    marks = [turn[0].split()[0] for turn in turns]
    acknowledged = [line.split()[1] for line in lines_of(job, "done") if line.split()[0] == session]
    assert not set(acknowledged) - set(marks)
    assert max(Counter(marks).values()) == 1
    assert turns == [whole(mark) for mark in marks]
    sequence = place.sequence(session)
    assert sequence == list(range(len(sequence)))
    everything = job.history(session).all_messages()
    expected = TokenBuffer(MAX_TOKENS, token_counter=count).trim(everything)
    assert job.history(session).messages == expected


@pytest.mark.parametrize("sessions", [1, 8])
def test_many_processes_sync_and_async_lose_nothing(
    job: Job, place: Place, context: ForkServerContext, sessions: int
) -> None:
    names = [uuid.uuid4().hex for _ in range(sessions)]
    driver = ASYNC_DRIVERS[sa.make_url(place.url).get_backend_name()]
    processes = []
    for n in range(PROCESSES):  # under two settings in turns
        each = replace(job, name=f"w{n}", max_tokens=MAX_TOKENS - n // 2 % 2 * 50)
        if n % 2 == 0:
            processes.append(start(context, workers.write, each, names, TURNS))
        else:
            by = driver if n % 4 == 1 else None
            processes.append(start(context, workers.awrite, each, names, TURNS, by))
    for process in processes:
        process.join(600)
    assert lines_of(job, "bad") == []
    assert len(lines_of(job, "done")) == PROCESSES * TURNS
    for name in names:
        assert_nothing_is_lost_or_halved(job, place, name)


def test_a_killed_writer_loses_nothing_acknowledged_and_leaves_no_half_turn(
    job: Job, place: Place, context: ForkServerContext
) -> None:
    session = uuid.uuid4().hex
    steady = start(context, workers.write, replace(job, name="steady"), [session], 10 * KILLS)
    dice = random.Random(5)
    for n in range(KILLS):
        each = replace(job, name=f"killed{n}", max_tokens=MAX_TOKENS - n % 2 * 50)
        process = start(context, workers.write, each, [session], 1_000_000)
        while not (Path(job.folder) / f"{each.name}.done").exists():
            time.sleep(0.005)
        time.sleep(dice.random() * 0.05)
        process.kill()
        process.join(60)
    steady.join(300)
    assert lines_of(job, "bad") == []
    assert {f"killed{n}" for n in range(KILLS)} <= {line.split()[1].partition("-")[0] for line in lines_of(job, "done")}
    assert_nothing_is_lost_or_halved(job, place, session)


def terminate_one(connection: sa.Connection, prefix: str) -> int:
    """End a server's process that works on the tables of a prefix; return how many were found."""
    if connection.dialect.name == "postgresql":
        end = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE :like AND pid != pg_backend_pid() AND xact_start IS NOT NULL LIMIT 1"
        )
        return len(connection.execute(sa.text(end), {"like": f"%{prefix}\\_%"}).all())
    working = "SELECT id FROM information_schema.processlist WHERE info LIKE :like AND id != connection_id() LIMIT 1"
    number = connection.scalar(sa.text(working), {"like": f"%{prefix}\\_%"})
    if number is None:
        return 0
    with suppress(sa.exc.DBAPIError):  # it has ended by itself
        connection.exec_driver_sql(f"KILL CONNECTION {number}")
    return 1


def test_a_terminated_backend_loses_nothing_acknowledged_and_leaves_no_half_turn(
    job: Job, place: Place, context: ForkServerContext
) -> None:
    if place.url.startswith("sqlite"):
        pytest.skip("SQLite has no backends")
    session = uuid.uuid4().hex
    turns = 15 * TERMINATIONS
    processes = [start(context, workers.write, replace(job, name=f"w{n}"), [session], turns) for n in range(3)]
    terminated = 0
    engine = place.engine(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        while terminated < TERMINATIONS and any(each.is_alive() for each in processes):
            terminated += terminate_one(connection, place.prefix)
            time.sleep(0.03)
    engine.dispose()
    for process in processes:
        process.join(300)
    assert terminated >= TERMINATIONS // 2
    assert lines_of(job, "bad") == []
    assert len(lines_of(job, "done")) == 3 * turns
    assert_nothing_is_lost_or_halved(job, place, session)


FIRST_USES = [(None, False), (None, True), ("REPEATABLE READ", False), ("SERIALIZABLE", False)]


@pytest.mark.parametrize(("isolation", "are_older"), FIRST_USES)
def test_many_processes_use_tables_for_the_first_time_that_are_missing_or_older(
    empty_place: Place,
    tmp_path: Path,
    context: ForkServerContext,
    isolation: str | None,
    are_older: bool,  # noqa: FBT001
) -> None:
    if empty_place.url.startswith("sqlite") and isolation == "REPEATABLE READ":
        pytest.skip("SQLite knows no such isolation")
    if are_older:
        release_0_1_0.fill(empty_place)
    job = Job(empty_place.url, empty_place.prefix, str(tmp_path), "w", isolation=isolation)
    at = time.time() + 0.5
    jobs = [(replace(job, name=f"w{n}"), at) for n in range(PROCESSES)]
    run_processes(context, workers.create, *jobs)
    assert (lines_of(job, "bad"), len(lines_of(job, "done"))) == ([], PROCESSES)
    assert len(stored_turns(job, "any")) == PROCESSES


def test_several_consumers_hand_over_everything_that_left_at_least_once(
    job: Job, place: Place, context: ForkServerContext
) -> None:
    session = uuid.uuid4().hex
    processes = [start(context, workers.write, replace(job, name=f"w{n}"), [session], TURNS) for n in range(2)]
    processes += [start(context, workers.consume, replace(job, name=f"c{n}"), session, 20) for n in range(3)]
    for process in processes:
        process.join(300)
    late: list[str] = []
    job.history(session).evicted(lambda messages: late.extend(m.text for m in messages))
    handed = {*lines_of(job, "handed"), *late}
    window = {message.text for message in job.history(session).messages}
    everything = {message.text for message in job.history(session).all_messages()}
    assert lines_of(job, "bad") == []
    assert handed == everything - window


def test_threads_of_one_process_lose_nothing(job: Job, place: Place) -> None:
    session = uuid.uuid4().hex
    threads = [
        threading.Thread(target=workers.write, args=(replace(job, name=f"w{n}"), [session], TURNS // 4))
        for n in range(PROCESSES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert lines_of(job, "bad") == []
    assert_nothing_is_lost_or_halved(job, place, session)
