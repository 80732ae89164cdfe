"""A storm over a database, and what must be true behind it.

Eight processes write and hand over, sync and async, each with two settings in turns, some of their tasks cancelled,
while processes are killed, servers' backends ended and servers crashed. The oracle reads the tables by itself.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tests.reference import M, Reference
from tests.sql import workers
from tests.sql.workers import SETTINGS, Job, marked_turn, wrongs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkServerContext, ForkServerProcess

    from tests.sql.servers import Server

ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
CANCELLED = 0.3  # in how many rounds of an asynchronous process a task is cancelled
LIMIT = 1800  # seconds


@dataclass(frozen=True)
class Plan:
    """How long a storm goes on: until all of this has happened."""

    turns: int
    kills: int
    terminations: int = 0  # of servers' backends
    restarts: int = 0  # of the server, every second one a crash


@dataclass
class Storm:
    """Runs the processes and ends some of them."""

    context: ForkServerContext
    job: Job
    sessions: list[str]
    server: Server | None = None
    kills: int = 0
    terminations: int = 0
    restarts: int = 0
    _running: list[tuple[Callable[..., None], str | None, ForkServerProcess]] = field(default_factory=list)
    _dice: random.Random = field(default_factory=lambda: random.Random(16))

    def run(self, plan: Plan) -> None:
        """Run until the plan is fulfilled, and all processes have ended."""
        driver = ASYNC_DRIVERS.get(sa.make_url(self.job.url).get_backend_name())
        kinds: list[tuple[Callable[..., None], str | None]] = [
            (workers.write, None),
            (workers.awrite, None),
            (workers.awrite, driver),
            (workers.consume, None),
        ]
        for kind in kinds * 2:
            self._start(*kind)
        deadline = time.monotonic() + LIMIT
        while not self.fulfills(plan) and time.monotonic() < deadline:
            time.sleep(0.02 + self._dice.random() * 0.1)
            self._do_harm(plan)
        (Path(self.job.folder) / "stop").touch()
        for _, _, process in self._running:
            process.join(workers.PATIENCE)
            process.kill()

    def fulfills(self, plan: Plan) -> bool:
        """Tell whether all that was planned has happened."""
        done = (self.kills, self.terminations, self.restarts, len(lines_of(self.job, "done")))
        wanted = (plan.kills, plan.terminations, plan.restarts, plan.turns)
        return all(one >= other for one, other in zip(done, wanted, strict=True))

    def report(self) -> str:
        """Say how much has happened."""
        said = {kind: len(lines_of(self.job, kind)) for kind in ("done", "cancelled", "failed", "handed")}
        harm = f"{self.kills} kills, {self.terminations} terminated backends, {self.restarts} restarts"
        what = "{done} turns acknowledged, {cancelled} tasks cancelled, {failed} errors raised, {handed} handed over"
        return f"{sa.make_url(self.job.url).get_backend_name()}: {what.format(**said)}, {harm}"

    def _do_harm(self, plan: Plan) -> None:
        """End something, where it is due: all harm is spread over all turns."""
        share = len(lines_of(self.job, "done")) / plan.turns
        if self.kills < min(share, 1) * plan.kills:
            self._kill_one()
        if self.terminations < min(share, 1) * plan.terminations:
            with suppress(sa.exc.DBAPIError):
                self.terminations += terminate_one(self.job.url, self.job.prefix)
        if self.server is not None and self.restarts < min(share, 1) * plan.restarts:
            self.restarts += 1
            self.server.stop(crashes=self.restarts % 2 == 1)
            self.server.start()

    def _kill_one(self) -> None:
        work, driver, process = self._running.pop(self._dice.randrange(len(self._running)))
        process.kill()
        process.join(60)
        self.kills += 1
        self._start(work, driver)

    def _start(self, work: Callable[..., None], driver: str | None) -> None:
        name = f"p{len(self._running)}k{self.kills}"
        job = replace(self.job, name=name, settings=SETTINGS, cancelled=CANCELLED)
        args = (job, self.sessions) if driver is None else (job, self.sessions, driver)
        process = self.context.Process(target=workers.patiently, args=(work, *args), daemon=True)
        process.start()
        self._running.append((work, driver, process))


def terminate_one(url: str, prefix: str) -> int:
    """End one of a server's processes that work on the tables of a prefix; return how many were found."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            end = (
                "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity "
                "WHERE query LIKE :like AND pid != pg_backend_pid() AND xact_start IS NOT NULL "
                "ORDER BY random() LIMIT 1) AS working"
            )
            return len(connection.execute(sa.text(end), {"like": f"%{prefix}\\_%"}).all())
        working = (
            "SELECT id FROM information_schema.processlist "
            "WHERE info LIKE :like AND id != connection_id() ORDER BY rand() LIMIT 1"
        )
        number = connection.scalar(sa.text(working), {"like": f"%{prefix}\\_%"})
        if number is None:
            return 0
        with suppress(sa.exc.DBAPIError):  # it has ended by itself
            connection.exec_driver_sql(f"KILL CONNECTION {number}")
        return 1


def lines_of(job: Job, kind: str) -> list[str]:
    """Return what the processes said."""
    files = sorted(Path(job.folder).glob(f"*.{kind}"))
    return [line for file in files for line in file.read_text().splitlines()]


# --- the oracle ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """A message as the oracle reads it out of a row."""

    seq: int
    kind: str
    text: str
    calls: tuple[str, ...]
    results: tuple[str, ...]


def stored(job: Job, session: str) -> list[Message]:
    """Read a session's rows, past the package."""
    engine = sa.create_engine(job.url, poolclass=sa.NullPool)
    rows = (
        f"SELECT m.seq, m.payload FROM {job.prefix}_messages m JOIN {job.prefix}_sessions s ON s.id = m.session_id "
        "WHERE s.name = :name ORDER BY m.seq"
    )
    with engine.connect() as connection:
        return [_message(*row) for row in connection.execute(sa.text(rows), {"name": json.dumps(session)})]


def _message(seq: int, payload: str) -> Message:
    found = json.loads(payload)
    data: dict[str, Any] = found["data"]
    calls = tuple(call["id"] for call in data.get("tool_calls") or ())
    results = (data["tool_call_id"],) if data.get("tool_call_id") else ()
    return Message(seq, found["type"], data["content"], calls, results)


@dataclass
class Verdict:
    """What is wrong behind a storm: all of it is to be empty."""

    lost: list[str] = field(default_factory=list)  # acknowledged, and not there
    doubled: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)  # there, and never begun
    out_of_order: list[str] = field(default_factory=list)  # acknowledged before another began, and behind it
    wrong_windows: list[str] = field(default_factory=list)
    not_handed_over: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # what the processes found wrong: over budget, not valid, errors


def judge(job: Job, sessions: list[str]) -> Verdict:
    """Compare what is stored with what was begun and acknowledged."""
    verdict = Verdict(said=lines_of(job, "bad"))
    begun = {mark: float(at) for mark, at in map(str.split, lines_of(job, "begun"))}
    done = {mark: (session, float(at)) for session, mark, at in map(str.split, lines_of(job, "done"))}
    handed = set(lines_of(job, "handed"))
    for session in sessions:
        messages = stored(job, session)
        turns = list(_turns(messages))
        marks = [texts[0].split()[0] for texts in turns]
        mine = {mark for mark, (where, _) in done.items() if where == session}
        verdict.lost += sorted(mine - set(marks))
        verdict.doubled += [mark for mark, times in Counter(marks).items() if times > 1]
        verdict.torn += [mark for mark, texts in zip(marks, turns, strict=True) if texts != _whole(mark)]
        verdict.torn += [] if [m.seq for m in messages] == list(range(len(messages))) else [f"{session}: gaps"]
        verdict.invented += sorted(set(marks) - begun.keys())
        verdict.out_of_order += _out_of_order(marks, begun, {mark: at for mark, (_, at) in done.items()})
        verdict.wrong_windows += _wrong_windows(job, session, messages)
        verdict.not_handed_over += _not_handed_over(job, session, messages, handed)
    return verdict


def _turns(messages: list[Message]) -> Iterator[list[str]]:
    texts: list[str] = []
    for message in messages:
        if message.kind == "human" and texts:
            yield texts
            texts = []
        texts.append(message.text)
    if texts:
        yield texts


def _whole(mark: str) -> list[str]:
    return [message.text for message in marked_turn(mark)]


def _out_of_order(marks: list[str], begun: dict[str, float], done: dict[str, float]) -> Iterator[str]:
    """Yield what was acknowledged before one that stands before it began."""
    newest = 0.0
    for mark in marks:
        if done.get(mark, newest) < newest:
            yield mark
        newest = max(newest, begun.get(mark, 0.0))


def _wrong_windows(job: Job, session: str, messages: list[Message]) -> Iterator[str]:
    """Yield the settings whose window is not the one that the text of the rule gives."""
    costs = [2 + len(message.text.split()) for message in messages]
    numbers = [M(m.kind, cost, m.calls, results=m.results) for m, cost in zip(messages, costs, strict=True)]
    for n, max_tokens in enumerate(SETTINGS):
        expected = _reference_window(max_tokens, numbers)
        found = replace(job, settings=SETTINGS).history(session, n=n).messages
        if [message.text for message in found] != [messages[i].text for i in expected]:
            yield f"{session} in {max_tokens}: another than the reference's"
        yield from wrongs(found, max_tokens)


def _reference_window(max_tokens: int, numbers: list[M]) -> list[int]:
    entries, _, _ = Reference(max_tokens, 0.6).play(numbers)
    return [int(str(entry[0])) for entry in entries]


def _not_handed_over(job: Job, session: str, messages: list[Message], handed: set[str]) -> list[str]:
    late: list[str] = []
    history = job.history(session)
    history.evicted(lambda batch: late.extend(message.text for message in batch))
    in_window = {message.text for message in history.messages}
    return [m.text for m in messages if m.text not in in_window and m.text not in handed and m.text not in late]
