"""What the processes of the concurrency tests do."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from sqlalchemy import create_engine, exc, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from langchain_tokenbuffer._sql import engines
from langchain_tokenbuffer.sql import SQLTokenBufferHistory
from tests.oracle import breaches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MAX_TOKENS = 200
SETTINGS = (MAX_TOKENS, 150)
"""Two budgets, in tokens, to be used in turns."""
PATIENCE = 300.0  # seconds


class HandlerError(Exception):
    """What a consumer's handler raises."""


def count(messages: Sequence[BaseMessage]) -> int:
    """Count words and two for each message: additive, and no vocabulary to load."""
    return sum(2 + len(message.text.split()) for message in messages)


@dataclass(frozen=True)
class Job:
    """Where a worker writes, and where it says what was acknowledged."""

    url: str
    prefix: str
    folder: str
    name: str
    settings: tuple[int, ...] = (MAX_TOKENS,)
    isolation: str | None = None
    cancelled: float = 0.0  # in how many rounds of an asynchronous process a task is cancelled

    def max_tokens(self, n: int) -> int:
        """Return the budget whose turn it is."""
        return self.settings[n % len(self.settings)]

    def history(self, session_id: str, connection: object = None, n: int = 0) -> SQLTokenBufferHistory:
        return SQLTokenBufferHistory(
            session_id,
            connection or self.url,  # type: ignore[arg-type]
            max_tokens=self.max_tokens(n),
            token_counter=count,
            prefix=self.prefix,
        )

    def say(self, kind: str, text: str) -> None:
        """Write a line at once: what was said is known, also of a process that is killed."""
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
        handle = os.open(Path(self.folder) / f"{self.name}.{kind}", flags, 0o600)
        os.write(handle, f"{text}\n".encode())
        os.close(handle)

    @contextmanager
    def saying_errors(self, what: str) -> Iterator[None]:
        """Say what goes wrong: that a database failed, and after how many seconds, or what no user should see."""
        began = time.monotonic()
        try:
            yield
        except (exc.DBAPIError, exc.TimeoutError, TimeoutError, OSError) as error:
            waited = time.monotonic() - began
            self.say("failed", f"{what} {waited:.1f} {type(error).__name__}: {error}".replace("\n", " "))
        except (HandlerError, asyncio.CancelledError):
            raise
        except BaseException:
            self.say("bad", traceback.format_exc())
            raise


def marked_turn(mark: str) -> list[BaseMessage]:
    """Return a turn unlike all others, now and then with a tool's result."""
    question, reply = HumanMessage(f"{mark} question"), AIMessage(f"{mark} reply " + "la " * 9)
    if not mark.endswith("3"):
        return [question, reply]
    call = {"name": "look", "args": {}, "id": mark}
    result = ToolMessage(f"{mark} result", tool_call_id=mark)
    return [question, AIMessage(f"{mark} call", tool_calls=[call]), result, reply]


def wrongs(window: list[BaseMessage], max_tokens: int) -> Iterator[str]:
    """Yield what is wrong with a window by itself."""
    if count(window) > max_tokens:
        yield f"{count(window)} tokens of {max_tokens}"
    if found := breaches(window):
        yield f"not valid: {found}"


# --- what a process does: some turns, or until it is told to end --------------------------------


def patiently(work: Callable[..., None], *args: object) -> None:
    """Work in a process that waits for others for as long as a busy machine may need: no wait is a fault."""
    engines.WAIT = PATIENCE
    work(*args)


def until_told(job: Job) -> Iterator[int]:
    """Count up until there is a file that says to stop."""
    stop = Path(job.folder) / "stop"
    return itertools.takewhile(lambda _: not stop.exists(), itertools.count())


def begin(job: Job, sessions: list[str], n: int) -> tuple[str, str]:
    """Return the session of a turn that begins now, and its mark."""
    mark = f"{job.name}-{n}"
    job.say("begun", f"{mark} {time.monotonic()}")
    return sessions[0 if n % 2 else n // 2 % len(sessions)], mark  # the first one gets most


def write(job: Job, sessions: list[str], numbers: Iterable[int] | None = None) -> None:
    """Append turns one after the other and read a window behind each."""
    for n in until_told(job) if numbers is None else numbers:
        session, mark = begin(job, sessions, n)
        with job.saying_errors(mark):
            history = job.history(session, n=n)
            history.add_messages(marked_turn(mark))
            job.say("done", f"{session} {mark} {time.monotonic()}")
            for wrong in wrongs(job.history(session, n=n).messages, job.max_tokens(n)):
                job.say("bad", wrong)


def awrite(job: Job, sessions: list[str], driver: str | None = None, rounds: Iterable[int] | None = None) -> None:
    """`write` with four turns at once in each round, on an event loop; a driver is that of an AsyncEngine."""
    dice = random.Random(job.name)

    async def append(n: int, connection: object) -> None:
        session, mark = begin(job, sessions, n)
        with job.saying_errors(mark):
            await job.history(session, connection, n).aadd_messages(marked_turn(mark))
            job.say("done", f"{session} {mark} {time.monotonic()}")
            for wrong in wrongs(await job.history(session, connection, n).aget_messages(), job.max_tokens(n)):
                job.say("bad", wrong)

    async def main() -> None:
        connection = None
        if driver is not None:
            connection = create_async_engine(make_url(job.url).set(drivername=driver))
        for n in until_told(job) if rounds is None else rounds:
            tasks = [asyncio.create_task(append(4 * n + k, connection)) for k in range(4)]
            if dice.random() < job.cancelled:
                await asyncio.sleep(dice.random() * 0.05)
                if tasks[0].cancel():
                    job.say("cancelled", str(4 * n))
            await asyncio.gather(*tasks, return_exceptions=True)
        if connection is not None:
            await connection.dispose()

    asyncio.run(main())


def consume(job: Job, sessions: list[str], numbers: Iterable[int] | None = None) -> None:
    """Hand over what left, with a handler that fails now and then."""
    dice = random.Random(f"{job.name} {time.monotonic()}")

    def handler(messages: list[BaseMessage]) -> None:
        if dice.random() < 0.3:
            raise HandlerError
        for message in messages:
            job.say("handed", message.text)

    for n in until_told(job) if numbers is None else numbers:
        with suppress(HandlerError), job.saying_errors("consumer"):
            job.history(sessions[n % len(sessions)], n=n // len(sessions)).evicted(handler, batch_size=7)
        time.sleep(0.02)


def create(job: Job, at: float) -> None:
    """Use the tables, which are missing or older, for the first time, at a time."""
    engine = None if job.isolation is None else create_engine(job.url, isolation_level=job.isolation)
    history = job.history("any", engine)
    time.sleep(max(0.0, at - time.time()))
    try:
        history.add_messages(marked_turn(job.name))
        job.say("done", "created")
        if engine is not None:
            engine.dispose()
    except BaseException:
        job.say("bad", traceback.format_exc())
        raise
