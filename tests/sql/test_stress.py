"""Many writers, killed writers and lost connections, on real databases, in real processes.

Small by default. `make stress` runs 2,400 turns on each database, with 50 kills, 50 terminated backends, and servers of
its own that it crashes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from langchain_tokenbuffer._sql import engines
from tests.scale import FULL
from tests.sql import release_0_1_0, servers, workers
from tests.sql.conftest import Place
from tests.sql.storm import ASYNC_DRIVERS, Plan, Storm, Verdict, judge, lines_of, stored, terminate_one
from tests.sql.workers import SETTINGS, Job, marked_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkServerContext, ForkServerProcess

PROCESSES = 8 if FULL else 5  # beside a storm, which has 8
SESSIONS = 8 if FULL else 3
TURNS = int(os.environ.get("TOKENBUFFER_TEST_TURNS", "2400" if FULL else "80"))
KILLS = 50 if FULL else 3
TERMINATIONS = 50 if FULL else 3
RESTARTS = 6  # only in a full run


@pytest.fixture
def job(place: Place, tmp_path: Path) -> Job:
    place.history("warm").create_tables()
    return Job(place.url, place.prefix, str(tmp_path), "w")


def run_processes(context: ForkServerContext, work: Callable[..., None], *jobs: tuple[Any, ...]) -> None:
    processes = [start(context, work, *args) for args in jobs]
    for process in processes:
        process.join(workers.PATIENCE)


def start(context: ForkServerContext, work: Callable[..., None], *args: Any) -> ForkServerProcess:
    process = context.Process(target=workers.patiently, args=(work, *args), daemon=True)
    process.start()
    return process


def writers(job: Job) -> list[tuple[Callable[..., None], *tuple[str | None, ...]]]:
    """Return what writes, and how it connects: from a thread, on an event loop by URL and by an AsyncEngine."""
    driver = ASYNC_DRIVERS.get(sa.make_url(job.url).get_backend_name())
    return [(workers.write,), (workers.awrite, None), (workers.awrite, driver)]


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def storm(
    request: pytest.FixtureRequest,
    shared_place: Callable[[str], Place],
    tmp_path: Path,
    context: ForkServerContext,
) -> Iterator[Storm]:
    """A storm over this machine's databases; a full one over a server of its own, which may be crashed."""
    kind = request.param
    sessions = [uuid.uuid4().hex for _ in range(SESSIONS)]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(servers.server(kind)) if FULL and kind != "sqlite" else None
        place = shared_place(kind) if server is None else Place(server.url, "storm")
        place.history("warm").create_tables()
        yield Storm(context, Job(place.url, place.prefix, str(tmp_path), "judge"), sessions, server)
        engines.ours.close_all()


def test_in_a_storm_nothing_is_lost_doubled_torn_or_over_budget(storm: Storm) -> None:
    has_server = not storm.job.url.startswith("sqlite")
    plan = Plan(TURNS, KILLS, TERMINATIONS * has_server, RESTARTS * (storm.server is not None))
    storm.run(plan)
    print(f"\n{storm.report()}")  # noqa: T201  # what `make stress` is run for
    assert judge(storm.job, storm.sessions) == Verdict()
    assert storm.fulfills(plan)
    if not plan.restarts:  # a server that is down is an error
        assert lines_of(storm.job, "failed") == []


@pytest.mark.parametrize("sessions", [1, 8])
def test_many_processes_sync_and_async_store_every_turn_and_see_no_error(
    job: Job, context: ForkServerContext, sessions: int
) -> None:
    names = [uuid.uuid4().hex for _ in range(sessions)]
    rounds = TURNS // PROCESSES // 4
    processes = []
    for n, (work, *driver) in zip(range(PROCESSES), itertools.cycle(writers(job)), strict=False):
        each = replace(job, name=f"w{n}", settings=SETTINGS)
        numbers = range(rounds if driver else 4 * rounds)
        processes.append(start(context, work, each, names, *driver, numbers))
    for process in processes:
        process.join(workers.PATIENCE)
    assert judge(job, names) == Verdict()
    assert (len(lines_of(job, "done")), lines_of(job, "failed")) == (PROCESSES * rounds * 4, [])


def test_who_writes_does_not_see_that_backends_are_ended(job: Job, context: ForkServerContext) -> None:
    if job.url.startswith("sqlite"):
        pytest.skip("SQLite has no backends")
    session = uuid.uuid4().hex
    processes = [
        start(context, work, replace(job, name=f"w{n}", settings=SETTINGS), [session], *driver)
        for n, (work, *driver) in enumerate(writers(job))
    ]
    ended, deadline = 0, time.monotonic() + 300
    while ended < TERMINATIONS and time.monotonic() < deadline:
        time.sleep(0.03)
        ended += terminate_one(job.url, job.prefix)
    (Path(job.folder) / "stop").touch()
    for process in processes:
        process.join(workers.PATIENCE)
    assert judge(job, [session]) == Verdict()
    assert (ended, lines_of(job, "failed")) == (TERMINATIONS, [])
    assert len(lines_of(job, "done")) == len(lines_of(job, "begun"))


HARM: dict[str, Callable[[Place, Job], None]] = {
    "lost": lambda place, _: place.change(sa.delete(place.tables.messages).where(place.tables.messages.c.seq > 20)),
    "doubled": lambda _, job: job.history("s").add_messages(marked_turn("w-0")),
    "torn": lambda place, _: place.change(sa.delete(place.tables.messages).where(place.tables.messages.c.seq == 1)),
    "invented": lambda _, job: job.history("s").add_messages(marked_turn("nobody-0")),
    "out_of_order": lambda _, job: job.say("done", "s w-9 0.5"),
    "wrong_windows": lambda place, _: place.change(sa.update(place.tables.sessions).values(cut=2)),
    "not_handed_over": lambda place, _: place.change(sa.update(place.tables.sessions).values(acknowledged=30)),
    "said": lambda _, job: job.say("bad", "201 tokens of 200"),
}


@pytest.mark.parametrize("kind", HARM)
def test_the_oracle_finds_what_is_wrong(lite: Place, tmp_path: Path, kind: str) -> None:
    job = Job(lite.url, lite.prefix, str(tmp_path), "w")
    workers.write(job, ["s"], range(20))
    HARM[kind](lite, job)
    assert getattr(judge(job, ["s"]), kind)


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
    assert sum(message.kind == "human" for message in stored(job, "any")) == PROCESSES


def test_several_consumers_hand_over_everything_that_left_and_nothing_else(
    job: Job, place: Place, context: ForkServerContext
) -> None:
    session = uuid.uuid4().hex
    jobs = [(workers.write, replace(job, name=f"w{n}"), [session], range(TURNS // 8)) for n in range(2)]
    jobs += [(workers.consume, replace(job, name=f"c{n}"), [session], range(20)) for n in range(3)]
    for process in [start(context, *each) for each in jobs]:
        process.join(workers.PATIENCE)
    late: list[str] = []
    job.history(session).evicted(lambda messages: late.extend(m.text for m in messages))
    handed = {*lines_of(job, "handed"), *late}
    window = {message.text for message in job.history(session).messages}
    everything = {message.text for message in stored(job, session)}
    assert (lines_of(job, "bad"), lines_of(job, "failed")) == ([], [])
    assert handed == everything - window


def test_threads_of_one_process_lose_nothing(job: Job) -> None:
    session = uuid.uuid4().hex
    threads = [
        threading.Thread(target=workers.write, args=(replace(job, name=f"w{n}"), [session], range(TURNS // 20)))
        for n in range(PROCESSES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert judge(job, [session]) == Verdict()
    assert (len(lines_of(job, "done")), lines_of(job, "failed")) == (PROCESSES * (TURNS // 20), [])
