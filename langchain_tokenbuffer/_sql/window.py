"""How a stored session's window changes: its driver goes on where another process stopped.

What the driver needs for that is stored with the session (`WindowDriver.state`) whenever the
budget was passed; until then a new message only adds to the sum. Messages in the window that are
not where the cut says carry a mark.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_tokenbuffer._sql.rows import NewMessage, StoredRow, columns_of, decode_rows
from langchain_tokenbuffer._sql.schema import Mark, Tables
from langchain_tokenbuffer._window.budget import MessageTokens
from langchain_tokenbuffer._window.driver import WindowDriver
from langchain_tokenbuffer._window.replay import RULE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer.buffer import TokenBuffer

PAGE = 1000
"""Rows a statement reads, changes or deletes at once."""


class Settings:
    """What windows are computed with, and the digests that stored windows are compared by."""

    def __init__(self, buffer: TokenBuffer) -> None:
        self.buffer = buffer
        self._digests: tuple[str, str] | None = None

    @property
    def counter(self) -> str:
        """Of what counts, and by which rule messages are read: stored numbers with it are ours."""
        return self.digests()[0]

    @property
    def digest(self) -> str:
        """Of all that a window depends on beside its messages."""
        return self.digests()[1]

    @property
    def are_digested(self) -> bool:
        """Whether the digests are known; before, they may take some counting."""
        return self._digests is not None

    def digests(self) -> tuple[str, str]:
        if self._digests is None:
            counter = _counter_digest(self.buffer)
            budget = self.buffer.budget()
            settings = (budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize)
            self._digests = counter, _digest([counter, *settings])
        return self._digests


class WindowUpdate:
    """One change of one session's window, over a connection that holds the session's lock."""

    def __init__(
        self,
        connection: sa.Connection,
        tables: Tables,
        settings: Settings,
        session_id: str,
        row: sa.Row[Any],
    ) -> None:
        self._connection = connection
        self._messages = tables.messages
        self._sessions = tables.sessions
        self._settings = settings
        self._buffer = settings.buffer
        self._meter = settings.buffer.meter
        self._session_id = session_id
        self._row = row

    def apply(self, new: Sequence[NewMessage]) -> dict[int, int]:
        """Follow the new messages, store what the window came to, return their marks.

        A window that is outdated is computed anew, from the first message on.
        """
        row = self._row
        first = row.next_seq - len(new)
        texts = {first + n: each.message for n, each in enumerate(new)}
        is_outdated = row.settings_digest != self._settings.digest
        if is_outdated:
            driver = WindowDriver(self._buffer.budget())
            marked = self._marked()
        else:
            driver = self._resumed()
            marked = dict.fromkeys(driver.kept_before_cut, int(Mark.KEPT))
        left = self._push(driver, self._numbers(driver.count, first), texts)
        numbers = ((first + n, each.numbers) for n, each in enumerate(new))
        left += self._push(driver, numbers, texts)
        driver.skip_to(row.next_seq)
        cut = driver.cut
        left_tail = {seq for seq in left if seq >= cut}
        marks = _changed_marks(marked, set(driver.kept_before_cut), left_tail, cut)
        self._mark({seq: mark for seq, mark in marks.items() if seq < first})
        self._store(driver, self._new_epoch(cut) if is_outdated else {})
        return {seq: mark for seq, mark in marks.items() if seq >= first and mark is not None}

    def _new_epoch(self, cut: int) -> dict[str, Any]:
        """Return what changes for consumers where the window was computed anew.

        What was acknowledged and is in the tail again is handed over when it leaves again. A batch
        that a consumer is busy with was of another window.
        """
        row = self._row
        values = {"epoch": row.epoch + 1}
        if row.acknowledged is not None:
            values["acknowledged"] = min(row.acknowledged, cut - 1)
        return values

    def _store(self, driver: WindowDriver, values: Mapping[str, Any]) -> None:
        self._connection.execute(
            sa.update(self._sessions)
            .where(self._sessions.c.id == self._row.id)
            .values(
                cut=driver.cut,
                tokens=driver.tokens,
                append_only=int(driver.append_only),
                settings_digest=self._settings.digest,
                display=display_of(driver),
                state=json.dumps(driver.state(), separators=(",", ":")),
                **values,
            )
        )

    def _push(
        self,
        driver: WindowDriver,
        numbers: Iterator[tuple[int, MessageTokens]],
        texts: Mapping[int, BaseMessage],
    ) -> list[int]:
        """Push messages; return the sequence numbers of those that left."""

        def min_tokens(seq: int) -> int:
            message = texts[seq] if seq in texts else self._message_at(seq)
            return _UNCLAMPABLE if message is None else self._meter.min_tokens(message)

        left: list[int] = []
        for seq, each in numbers:  # purging leaves gaps
            left += driver.push(each, min_tokens, at=seq)
            self._buffer.log_dropped(driver.take_drop_errors())
        return left

    def _message_at(self, seq: int) -> BaseMessage | None:
        m = self._messages.c
        payload = self._connection.scalar(
            sa.select(m.payload).where(m.session_id == self._row.id, m.seq == seq)
        )
        return dict(decode_rows([StoredRow(seq, payload or "")], self._session_id)).get(seq)

    def _resumed(self) -> WindowDriver:
        """Return the driver as it was stored."""
        budget = self._buffer.budget()
        s = self._sessions.c
        state = self._connection.scalar(sa.select(s.state).where(s.id == self._row.id))
        if state is not None:
            return WindowDriver.resume(budget, json.loads(state))
        # A session that was cleared does not begin at 0.
        return WindowDriver(budget, start=self._row.cut)

    def _numbers(self, start: int, stop: int) -> Iterator[tuple[int, MessageTokens]]:
        """Yield messages in numbers; what another counter counted is counted anew."""
        m = self._messages.c
        payload = sa.case((m.counter == self._settings.counter, None), else_=m.payload)
        columns = sa.select(m.seq, m.kind, m.tokens, m.calls, m.pinned, payload.label("payload"))
        while page := self._page(columns, start, stop):
            others = [StoredRow(row.seq, row.payload) for row in page if row.payload is not None]
            recounted = self._recount(others)
            for seq, kind, tokens, calls, pinned, _ in map(tuple, page):
                stored = MessageTokens(kind, tokens, calls, bool(pinned))
                yield seq, recounted.get(seq, stored)
            start = page[-1].seq + 1

    def _page(self, columns: sa.Select[Any], start: int, stop: int) -> Sequence[sa.Row[Any]]:
        if start >= stop:
            return ()
        m = self._messages.c
        these = columns.where(m.session_id == self._row.id, m.seq >= start, m.seq < stop)
        return self._connection.execute(these.order_by(m.seq).limit(PAGE)).all()

    def _recount(self, rows: Sequence[StoredRow]) -> dict[int, MessageTokens]:
        """Read messages into numbers anew and store these."""
        found = dict(decode_rows(rows, self._session_id))
        if not found:
            return {}
        messages = list(found.values())
        numbers = self._meter.numbers(messages, self._meter.keys(messages))
        recounted = dict(zip(found, numbers, strict=True))
        changes = [{"at": seq, **columns_of(each)} for seq, each in recounted.items()]
        self._change(changes, counter=self._settings.counter)
        return recounted

    def _marked(self) -> dict[int, int]:
        m = self._messages.c
        found = self._connection.execute(
            sa.select(m.seq, m.mark).where(m.session_id == self._row.id, m.mark.is_not(None))
        )
        return {seq: mark for seq, mark in map(tuple, found)}  # noqa: C416  # no pairs to mypy

    def _mark(self, marks: Mapping[int, int | None]) -> None:
        self._change([{"at": seq, "mark": mark} for seq, mark in marks.items()])

    def _change(self, changes: Sequence[Mapping[str, Any]], **values: Any) -> None:
        """Change columns of messages, of each `at` its place."""
        m = self._messages.c
        update = sa.update(self._messages).where(
            m.session_id == self._row.id, m.seq == sa.bindparam("at")
        )
        if changes:
            self._connection.execute(update.values(**values), list(changes))


_UNCLAMPABLE = 1 << 62
"""The fewest tokens of a message that cannot be read: it is not clamped."""


def _changed_marks(
    marked: Mapping[int, int], kept: set[int], left_tail: set[int], cut: int
) -> dict[int, int | None]:
    """Return the marks that change, by sequence number.

    What was kept before the cut and leaves now is handed over by its mark, wherever the consumers
    have come to: between their reading and their acknowledging it would be passed by.

    Args:
        marked: The marks before.
        kept: What is in the window, though before the cut.
        left_tail: What left the window, though behind the cut.
        cut: Where the tail begins.
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
    if driver is None:
        return json.dumps({"sizes": {}, "shortage": None})
    error = driver.shortage
    if error is None:
        return json.dumps({"sizes": driver.clamped(), "shortage": None})
    shortage = {
        "message": str(error),
        "tokens": error.tokens,
        "max_tokens": error.max_tokens,
        "made_of": error.made_of,
    }
    return json.dumps({"sizes": {}, "shortage": shortage})


_SAMPLES = (
    SystemMessage("Answer in one short sentence, please."),
    HumanMessage("Où est la boulangerie la plus proche ? 안녕하세요, 1 + 1?"),
    AIMessage("Two streets from here.", tool_calls=[{"name": "map", "args": {"n": 1}, "id": "1"}]),
    HumanMessage("x" * 100),
)


def _counter_digest(buffer: TokenBuffer) -> str:
    """Return what two counters share only if they count the same.

    Names are not enough where a function counts: the same name may count differently after the
    next release, so what it makes of a few samples belongs to it. So does the rule: with it what
    a message is in numbers may change.
    """
    counter = buffer.token_counter
    basis: list[object] = [RULE, counter.describe(), counter.constant]
    if counter.tokenizer is None:
        basis += counter.tokens(_SAMPLES, counter.keys(_SAMPLES))
    return _digest(basis)


def _digest(basis: Sequence[object]) -> str:
    return hashlib.sha256(repr(basis).encode("utf-8", "surrogatepass")).hexdigest()[:32]
