"""How a stored session's window changes: its driver goes on where another process stopped.

What the driver needs for that is stored with the session (`WindowDriver.state`) whenever the budget was passed; until
then a new message only adds to the sum. Messages in the window that are not where the cut says carry a mark.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_tokenbuffer._sql.rows import NewMessage, StoredRow, columns_of, decode_rows
from langchain_tokenbuffer._sql.schema import Mark, Tables
from langchain_tokenbuffer._window.budget import MessageTokens
from langchain_tokenbuffer._window.driver import WindowDriver
from langchain_tokenbuffer._window.replay import RULE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._window.budget import Budget
    from langchain_tokenbuffer.buffer import TokenBuffer

PAGE = 1000
"""Rows a statement reads, changes or deletes at once."""


class Settings:
    """What windows are computed with, and the digests that stored windows are compared by."""

    def __init__(self, buffer: TokenBuffer) -> None:
        self.buffer = buffer

    @cached_property
    def counter(self) -> str:
        """Of what counts, and by which rule messages are read: stored numbers with it are ours."""
        return _counter_digest(self.buffer)

    @cached_property
    def digest(self) -> str:
        """Of all that a window depends on beside its messages. The first time it may count."""
        budget = self.buffer.budget()
        settings = (budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize)
        return _digest([self.counter, *settings])

    @property
    def are_digested(self) -> bool:
        return "digest" in vars(self)


@dataclass(frozen=True)
class WindowUpdate:
    """One change of one session's window, over a connection that holds the session's lock."""

    connection: sa.Connection
    tables: Tables
    settings: Settings
    session_id: str
    row: sa.Row[Any]

    def apply(self, new: Sequence[NewMessage]) -> dict[int, int]:
        """Follow the new messages, store what the window came to, return their marks.

        A window that is outdated is computed anew, from the first message on.
        """
        row = self.row
        first = row.next_seq - len(new)
        budget, messages = self.settings.buffer.budget(), self.tables.messages.c
        is_outdated = row.settings_digest != self.settings.digest
        if is_outdated:
            driver = WindowDriver(budget)
            these = (messages.session_id == row.id, messages.mark.is_not(None))
            found = self.connection.execute(sa.select(messages.seq, messages.mark).where(*these))
            marked = {each.seq: each.mark for each in found}
        else:
            driver = self._resumed(budget)
            marked = dict.fromkeys(driver.kept_before_cut, int(Mark.KEPT))
        left = self._push(driver, self._numbers(driver.count, first), {})
        numbers = [(first + n, each.numbers) for n, each in enumerate(new)]
        texts = {first + n: each.message for n, each in enumerate(new)}
        left += self._push(driver, numbers, texts)
        driver.skip_to(row.next_seq)
        left_tail = {seq for seq in left if seq >= driver.cut}
        marks = _changed_marks(marked, set(driver.kept_before_cut), left_tail, driver.cut)
        self._change([{"at": seq, "mark": mark} for seq, mark in marks.items() if seq < first])
        self._store(driver, is_anew=is_outdated)
        return {seq: mark for seq, mark in marks.items() if seq >= first and mark is not None}

    def _store(self, driver: WindowDriver, *, is_anew: bool) -> None:
        row, values = self.row, dict[str, Any]()
        if is_anew:
            # A batch that a consumer is busy with was of another window. What was acknowledged
            # and is in the tail again is handed over when it leaves again.
            values["epoch"] = row.epoch + 1
            if row.acknowledged is not None:
                values["acknowledged"] = min(row.acknowledged, driver.cut - 1)
        update = sa.update(self.tables.sessions).where(self.tables.sessions.c.id == row.id)
        values |= {
            "cut": driver.cut,
            "tokens": driver.tokens,
            "append_only": int(driver.append_only),
            "settings_digest": self.settings.digest,
            "display": display_of(driver),
            "state": json.dumps(driver.state(), separators=(",", ":")),
        }
        self.connection.execute(update.values(**values))

    def _push(
        self, driver: WindowDriver, numbers: Iterable[tuple[int, MessageTokens]], texts: Mapping[int, BaseMessage]
    ) -> list[int]:
        """Push messages; return the sequence numbers of those that left."""
        buffer = self.settings.buffer

        def min_tokens(seq: int) -> int:
            message = texts[seq] if seq in texts else self._message_at(seq)
            return _UNCLAMPABLE if message is None else buffer.meter.min_tokens(message)

        left: list[int] = []
        for seq, each in numbers:  # purging leaves gaps
            left += driver.push(each, min_tokens, at=seq)
            buffer.log_dropped(driver.take_drop_errors())
        return left

    def _message_at(self, seq: int) -> BaseMessage | None:
        m = self.tables.messages.c
        payload = self.connection.scalar(sa.select(m.payload).where(m.session_id == self.row.id, m.seq == seq))
        rows = [StoredRow(seq, payload or "")]
        return dict(decode_rows(rows, self.session_id)).get(seq)

    def _resumed(self, budget: Budget) -> WindowDriver:
        """Return the driver as it was stored."""
        s = self.tables.sessions.c
        state = self.connection.scalar(sa.select(s.state).where(s.id == self.row.id))
        if state is not None:
            return WindowDriver.resume(budget, json.loads(state))
        # A session that was cleared does not begin at 0.
        return WindowDriver(budget, start=self.row.cut)

    def _numbers(self, start: int, stop: int) -> Iterator[tuple[int, MessageTokens]]:
        """Yield messages in numbers; what another counter counted is counted anew."""
        m = self.tables.messages.c
        payload = sa.case((m.counter == self.settings.counter, None), else_=m.payload)
        columns = sa.select(m.seq, m.kind, m.tokens, m.calls, m.pinned, payload.label("payload"))
        these = columns.where(m.session_id == self.row.id, m.seq < stop)
        rows: sa.Select[Any] = these.order_by(m.seq).limit(PAGE)
        while start < stop:
            page = self.connection.execute(rows.where(m.seq >= start)).all()
            others = [StoredRow(row.seq, row.payload) for row in page if row.payload is not None]
            recounted = self._recount(others)
            for seq, kind, tokens, calls, pinned, _ in map(tuple, page):
                stored = MessageTokens(kind, tokens, calls, bool(pinned))
                yield seq, recounted.get(seq, stored)
            start = page[-1].seq + 1 if page else stop

    def _recount(self, rows: Sequence[StoredRow]) -> dict[int, MessageTokens]:
        """Read messages into numbers anew and store these."""
        found = dict(decode_rows(rows, self.session_id))
        messages, meter = list(found.values()), self.settings.buffer.meter
        numbers = meter.numbers(messages, meter.keys(messages))
        recounted = dict(zip(found, numbers, strict=True))
        changes = [{"at": seq, **columns_of(each)} for seq, each in recounted.items()]
        self._change(changes, counter=self.settings.counter)
        return recounted

    def _change(self, changes: Sequence[Mapping[str, Any]], **values: Any) -> None:
        """Change columns of messages, of each `at` its place."""
        messages = self.tables.messages
        mine = messages.c.session_id == self.row.id
        update = sa.update(messages).where(mine, messages.c.seq == sa.bindparam("at"))
        if changes:
            self.connection.execute(update.values(**values), list(changes))


_UNCLAMPABLE = 1 << 62
"""The fewest tokens of a message that cannot be read: it is not clamped."""


def _changed_marks(marked: Mapping[int, int], kept: set[int], left_tail: set[int], cut: int) -> dict[int, int | None]:
    """Return the marks that change: `kept` stays before the cut, `left_tail` left behind it.

    What was kept before the cut and leaves now is handed over by its mark, wherever the consumers have come to: between
    their reading and their acknowledging it would be passed by.
    """
    marks: dict[int, int | None] = {}
    for seq in {*marked, *kept, *left_tail}:
        before = marked.get(seq)
        after: Mark | None
        if seq in kept:
            after = Mark.KEPT
        elif seq in left_tail:
            after = Mark.ACKNOWLEDGED if before == Mark.ACKNOWLEDGED else Mark.LEFT
        elif seq >= cut or before == Mark.ACKNOWLEDGED:
            after = None
        else:
            after = Mark.LEFT
        if after != before:
            marks[seq] = None if after is None else int(after)
    return marks


def display_of(driver: WindowDriver | None) -> str:
    """Return what a reader needs beside the rows: what is clamped, and why the last is missing."""
    error = driver.shortage if driver is not None else None
    shortage = error and {
        "message": str(error),
        "tokens": error.tokens,
        "max_tokens": error.max_tokens,
        "made_of": error.made_of,
    }
    clamped = driver.clamped() if driver is not None and error is None else {}
    return json.dumps({"sizes": clamped, "shortage": shortage})


_SAMPLES = (
    SystemMessage("Answer in one short sentence, please."),
    HumanMessage("Où est la boulangerie la plus proche ? 안녕하세요, 1 + 1?"),
    AIMessage("Two streets from here.", tool_calls=[{"name": "map", "args": {"n": 1}, "id": "1"}]),
    HumanMessage("x" * 100),
)


def _counter_digest(buffer: TokenBuffer) -> str:
    """Return what two counters share only if they count the same.

    Names are not enough: what has the same name may count differently after the next release, so what it makes of a few
    samples belongs to it. So does the rule: with it what a message is in numbers may change.
    """
    counter = buffer.token_counter
    return _digest([RULE, counter.describe(), counter.constant, *counter.tokens(_SAMPLES)])


def _digest(basis: Sequence[object]) -> str:
    return hashlib.sha256(repr(basis).encode("utf-8", "surrogatepass")).hexdigest()[:32]
