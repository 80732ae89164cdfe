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

from langchain_tokenbuffer._messages.slots import slot_as_json
from langchain_tokenbuffer._sql.rows import NewMessage, StoredRow, columns_of, decode_rows, numbers_of
from langchain_tokenbuffer._sql.schema import Mark, Tables
from langchain_tokenbuffer._window.driver import WindowDriver
from langchain_tokenbuffer._window.replay import RULE
from langchain_tokenbuffer.errors import NothingLeftError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._messages.slots import Piece, StandIn
    from langchain_tokenbuffer._window.budget import Budget, MessageTokens
    from langchain_tokenbuffer.buffer import TokenBuffer

PAGE = 1000  # rows a statement reads, changes or deletes at once
_UNCLAMPABLE = 1 << 62  # the fewest tokens of a message that cannot be read: it is not clamped


class Settings:
    """What windows are computed with, and the digests that stored windows are compared by."""

    def __init__(self, buffer: TokenBuffer) -> None:
        self.buffer = buffer

    @cached_property
    def counter(self) -> str:
        """Of what counts, and by which rule messages are read: stored numbers with it are ours.

        A name is not enough: what has the same may count differently after the next release, so what it makes of a few
        samples belongs to it. So does the rule: with it what a message is in numbers may change.
        """
        counter = self.buffer.token_counter
        return _digest([RULE, counter.describe(), counter.constant, *counter.tokens(_SAMPLES)])

    @cached_property
    def digest(self) -> str:
        """Of all that a window depends on beside its messages. The first time it may count."""
        budget = self.buffer.budget()
        settings = (budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize, budget.clear_results)
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
            these = sa.select(messages.seq, messages.mark).where(messages.session_id == row.id)
            found = self.connection.execute(these.where(messages.mark.is_not(None)))
            marked = {each.seq: each.mark for each in found}
        else:
            driver = self._resumed(budget)
            marked = dict.fromkeys(driver.kept_before_cut, int(Mark.KEPT))
        left = self._push(driver, self._numbers(driver.count, first), {})
        numbered = dict(enumerate(new, first))
        numbers = [(seq, each.numbers) for seq, each in numbered.items()]
        left += self._push(driver, numbers, {seq: each.message for seq, each in numbered.items()})
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
        state = json.dumps(driver.state(), separators=(",", ":"))
        update = sa.update(self.tables.sessions).where(self.tables.sessions.c.id == row.id).values(**values)
        update = update.values(cut=driver.cut, tokens=driver.tokens, open_calls=_as_json(driver.open_calls))
        update = update.values(settings_digest=self.settings.digest, display=display_of(driver), state=state)
        self.connection.execute(update)

    def _push(
        self, driver: WindowDriver, numbers: Iterable[tuple[int, MessageTokens]], texts: Mapping[int, BaseMessage]
    ) -> list[int]:
        """Push messages; return the sequence numbers of those that left."""
        buffer, source, left = self.settings.buffer, _Source(self, texts), list[int]()
        for seq, each in numbers:  # purging leaves gaps
            left += driver.push(each, source, at=seq)
            buffer.log_dropped(driver.take_drop_errors())
        return left

    def message_at(self, seq: int) -> BaseMessage | None:
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
        columns = sa.select(m.seq, m.kind, m.tokens, m.links, m.pinned, payload.label("payload"))
        these = columns.where(m.session_id == self.row.id, m.seq < stop)
        rows: sa.Select[Any] = these.order_by(m.seq).limit(PAGE)
        while start < stop:
            page = self.connection.execute(rows.where(m.seq >= start)).all()
            others = [StoredRow(row.seq, row.payload) for row in page if row.payload is not None]
            recounted = self._recount(others)
            for seq, kind, tokens, links, pinned, _ in map(tuple, page):
                yield seq, recounted.get(seq) or numbers_of(kind, tokens, links, pinned)
            start = page[-1].seq + 1 if page else stop

    def _recount(self, rows: Sequence[StoredRow]) -> dict[int, MessageTokens]:
        """Read messages into numbers anew and store these."""
        found = dict(decode_rows(rows, self.session_id))
        messages, meter = list(found.values()), self.settings.buffer.meter
        numbers = meter.numbers(messages)
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


def _changed_marks(marked: Mapping[int, int], kept: set[int], left_tail: set[int], cut: int) -> dict[int, int | None]:
    """Return the marks that change: `kept` stays before the cut, `left_tail` left behind it.

    What was kept before the cut and leaves now is handed over by its mark, wherever the consumers have come to: between
    their reading and their acknowledging it would be passed by.
    """
    marks: dict[int, int | None] = {}
    for seq in {*marked, *kept, *left_tail}:
        before = marked.get(seq)
        after: Mark | None = Mark.LEFT
        if seq in kept:
            after = Mark.KEPT
        elif seq in left_tail:
            after = Mark.ACKNOWLEDGED if before == Mark.ACKNOWLEDGED else Mark.LEFT
        elif seq >= cut or before == Mark.ACKNOWLEDGED:
            after = None
        if after != before:
            marks[seq] = None if after is None else int(after)
    return marks


def display_of(driver: WindowDriver | None) -> str:
    """Return what a reader needs beside the rows: what is clamped, and why the last is missing."""
    if driver is None:
        return json.dumps({"sizes": {}, "shortage": None})
    if (error := driver.shortage) is None:
        display: dict[str, Any] = {"sizes": driver.clamped(), "shortage": None}
        try:
            slots = driver.slots()
        except NothingLeftError as nothing:
            return json.dumps({**display, "nothing_left": nothing.results})
        if driver.mended():
            display["mended"] = [driver.count, list(map(slot_as_json, slots))]
        return json.dumps(display)
    about = {"tokens": error.tokens, "max_tokens": error.max_tokens, "made_of": error.made_of}
    return json.dumps({"sizes": {}, "shortage": {"message": str(error), **about}})


class _Source:
    """Where a driver asks about messages of a session: those that come now are at hand, others are read."""

    def __init__(self, update: WindowUpdate, new: Mapping[int, BaseMessage]) -> None:
        self._update = update
        self._new = new

    def min_tokens(self, index: int) -> int:
        message = self._message(index)
        return _UNCLAMPABLE if message is None else self._update.settings.buffer.meter.min_tokens(message)

    def mended_tokens(self, slot: StandIn | Piece) -> int | None:
        message = self._message(slot.index)
        return None if message is None else self._update.settings.buffer.meter.mended_tokens(message, slot)

    def _message(self, seq: int) -> BaseMessage | None:
        return self._new[seq] if seq in self._new else self._update.message_at(seq)


_SAMPLES = (
    SystemMessage("Answer in one short sentence, please."),
    HumanMessage("Où est la boulangerie la plus proche ? 안녕하세요, 1 + 1?"),
    AIMessage("Two streets from here.", tool_calls=[{"name": "map", "args": {"n": 1}, "id": "1"}]),
    HumanMessage("x" * 100),
)


def _as_json(open_calls: Sequence[str | None] | None) -> str | None:
    return None if open_calls is None else json.dumps(open_calls)


def _digest(basis: Sequence[object]) -> str:
    return hashlib.sha256(repr(basis).encode("utf-8", "surrogatepass")).hexdigest()[:32]
