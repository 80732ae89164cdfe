"""What the processes of the concurrency tests do."""

from __future__ import annotations

import asyncio
import os
import random
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from langchain_tokenbuffer.order import validate
from langchain_tokenbuffer.sql import SQLTokenBufferHistory

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TOKENS = 200


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
    max_tokens: int = MAX_TOKENS
    isolation: str | None = None

    def history(self, session_id: str, connection: object = None) -> SQLTokenBufferHistory:
        return SQLTokenBufferHistory(
            session_id,
            connection or self.url,  # type: ignore[arg-type]
            max_tokens=self.max_tokens,
            token_counter=count,
            prefix=self.prefix,
        )

    def say(self, kind: str, text: str) -> None:
        """Write a line at once: what was said is known, also of a process that is killed."""
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
        handle = os.open(Path(self.folder) / f"{self.name}.{kind}", flags, 0o600)
        os.write(handle, f"{text}\n".encode())
        os.close(handle)


def marked_turn(mark: str) -> list[BaseMessage]:
    """Return a turn unlike all others, now and then with a tool's result."""
    question, reply = HumanMessage(f"{mark} question"), AIMessage(f"{mark} reply " + "la " * 9)
    if not mark.endswith("3"):
        return [question, reply]
    call = {"name": "look", "args": {}, "id": mark}
    result = ToolMessage(f"{mark} result", tool_call_id=mark)
    return [question, AIMessage(f"{mark} call", tool_calls=[call]), result, reply]


def check(job: Job, window: list[BaseMessage]) -> None:
    """Say what is wrong with a window."""
    if count(window) > job.max_tokens:
        job.say("bad", f"{count(window)} tokens")
    for violation in validate(window):
        job.say("bad", str(violation))


def write(job: Job, sessions: list[str], turns: int) -> None:
    """Append turns one after the other and read a window behind each."""
    try:
        for n in range(turns):
            session = sessions[n % len(sessions)]
            mark = f"{job.name}-{n}"
            job.history(session).add_messages(marked_turn(mark))
            job.say("done", f"{session} {mark}")
            check(job, job.history(session).messages)
    except BaseException:
        job.say("bad", traceback.format_exc())
        raise


def awrite(job: Job, sessions: list[str], turns: int, driver: str | None) -> None:
    """`write` with several turns at once on an event loop, through an AsyncEngine if need be."""

    async def one(n: int, connection: object) -> None:
        session = sessions[n % len(sessions)]
        mark = f"{job.name}-{n}"
        await job.history(session, connection).aadd_messages(marked_turn(mark))
        job.say("done", f"{session} {mark}")
        check(job, await job.history(session, connection).aget_messages())

    async def main() -> None:
        connection = None
        if driver is not None:
            connection = create_async_engine(make_url(job.url).set(drivername=driver))
        for start in range(0, turns, 4):
            await asyncio.gather(*(one(n, connection) for n in range(start, min(start + 4, turns))))
        if connection is not None:
            await connection.dispose()

    try:
        asyncio.run(main())
    except BaseException:
        job.say("bad", traceback.format_exc())
        raise


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


def consume(job: Job, session: str, times: int) -> None:
    """Hand over what left, with a handler that fails now and then."""
    dice = random.Random(job.name)

    def handler(messages: list[BaseMessage]) -> None:
        if dice.random() < 0.3:
            raise ConnectionError
        for message in messages:
            job.say("handed", message.text)

    for _ in range(times):
        try:
            job.history(session).evicted(handler, batch_size=7)
        except ConnectionError:
            pass
        except BaseException:
            job.say("bad", traceback.format_exc())
            raise
        time.sleep(0.02)
