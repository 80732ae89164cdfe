"""How a stored session's window moves: its replay, gone on with where another process stopped.

What the window came to is kept with the session as the state of its replay (`Replay.state`),
written only when the budget was passed; up to then a new message only adds to the sum. Messages
in the window that are not where the cut says carry a mark.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_tokenbuffer._sql.rows import New, Stored, read
from langchain_tokenbuffer._sql.schema import Mark, Tables
from langchain_tokenbuffer._window import Replay, Sized
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer.buffer import TokenBuffer

PAGE = 1000
"""Rows a statement reads, changes or deletes at once."""


class Settings:
    """What windows are computed with, and what tells whether a stored one was."""

    def __init__(self, buffer: TokenBuffer) -> None:
        self.buffer = buffer
        self._known: tuple[str, str] | None = None

    @property
    def counter(self) -> str:
        """What tells whether stored counts are this counter's."""
        return self._identify()[0]

    @property
    def digest(self) -> str:
        """What tells whether a stored window was computed under these settings."""
        return self._identify()[1]

    def _identify(self) -> tuple[str, str]:
        if self._known is None:
            counter = _identity(self.buffer)
            budget = self.buffer.budget()
            settings = (budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize)
            self._known = counter, _digest([counter, *settings])
        return self._known


class Move:
    """One move of one session's window, over a connection that holds the session's lock."""

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
        self._session_id = session_id
        self._row = row

    def through(self, new: Sequence[New]) -> dict[int, int]:
        """Live through the new messages, keep what the window came to, return their marks.

        Where the session's window was computed under other settings, live through everything.
        """
        row = self._row
        first = row.next_seq - len(new)
        texts = {first + n: each.message for n, each in enumerate(new)}
        is_same = row.settings == self._settings.digest
        if is_same:
            replay = self._resumed()
            marked = dict.fromkeys(replay.held, int(Mark.STAYS))
            before = self._sized(replay.count, first)
        else:
            replay = Replay(self._buffer.budget())
            marked = self._marked()
            before = self._recounted(first)
        left = self._push(replay, before, texts)
        left += self._push(replay, ((first + n, each.sized) for n, each in enumerate(new)), texts)
        replay.count = row.next_seq
        cut = replay.cut
        out = {seq for seq in left if seq >= cut}
        marks = _marks(marked, set(replay.held), out, cut)
        self._mark({seq: marks[seq] for seq in marks if seq < first})
        values: dict[str, Any] = {}
        if not is_same:
            # What was acknowledged and is in the tail again is handed over when it leaves again.
            # A batch that is in a consumer's hands was of another window.
            values["epoch"] = row.epoch + 1
            if row.acknowledged is not None:
                values["acknowledged"] = min(row.acknowledged, cut - 1)
        self._keep(replay, values)
        return {seq: mark for seq, mark in marks.items() if seq >= first and mark is not None}

    def _keep(self, replay: Replay, values: Mapping[str, Any]) -> None:
        self._connection.execute(
            sa.update(self._sessions)
            .where(self._sessions.c.id == self._row.id)
            .values(
                cut=replay.cut,
                tokens=replay.tokens,
                steady=int(replay.steady),
                settings=self._settings.digest,
                seen=seen_of(replay),
                state=json.dumps(replay.state(), separators=(",", ":")),
                **values,
            )
        )

    def _push(
        self,
        replay: Replay,
        sized: Iterator[tuple[int, Sized]],
        texts: Mapping[int, BaseMessage],
    ) -> list[int]:
        """Push messages; return the sequence numbers of those that left."""

        def floor(seq: int) -> int:
            message = texts[seq] if seq in texts else self._look_up(seq)
            return _UNKNOWN if message is None else self._buffer.smallest(message)

        left: list[int] = []
        for seq, each in sized:
            replay.count = seq  # what was purged leaves gaps
            left += replay.push(each, floor)
            if replay.left_out is not None:
                self._buffer.left_out(replay.left_out)
        return left

    def _look_up(self, seq: int) -> BaseMessage | None:
        m = self._messages.c
        payload = self._connection.scalar(
            sa.select(m.payload).where(m.session_id == self._row.id, m.seq == seq)
        )
        return dict(read([Stored(seq, payload or "")], self._session_id)).get(seq)

    def _resumed(self) -> Replay:
        """Return the replay as it was stored."""
        budget = self._buffer.budget()
        s = self._sessions.c
        state = self._connection.scalar(sa.select(s.state).where(s.id == self._row.id))
        if state is not None:
            return Replay.from_state(budget, json.loads(state))
        replay = Replay(budget)
        replay.count = self._row.cut  # a session that was cleared does not begin at 0
        return replay

    def _sized(self, start: int, stop: int) -> Iterator[tuple[int, Sized]]:
        """Yield messages in numbers, as they were counted when they were stored."""
        m = self._messages.c
        columns = sa.select(m.seq, m.kind, m.tokens, m.calls, m.pinned)
        while found := self._page(columns, start, stop):
            for seq, kind, tokens, calls, pinned in map(tuple, found):
                yield seq, Sized(kind, tokens, calls, bool(pinned))
            start = found[-1].seq + 1

    def _recounted(self, stop: int) -> Iterator[tuple[int, Sized]]:
        """Yield all messages in numbers; what another counter counted is counted anew."""
        m = self._messages.c
        payload = sa.case((m.counter == self._settings.counter, None), else_=m.payload)
        columns = sa.select(m.seq, m.kind, m.tokens, m.calls, m.pinned, payload.label("payload"))
        start = 0
        while found := self._page(columns, start, stop):
            others = [Stored(row.seq, row.payload) for row in found if row.payload is not None]
            counted = self._counted(others)
            for seq, kind, tokens, calls, pinned, _ in map(tuple, found):
                yield seq, Sized(kind, counted.get(seq, tokens), calls, bool(pinned))
            start = found[-1].seq + 1

    def _page(self, columns: sa.Select[Any], start: int, stop: int) -> Sequence[sa.Row[Any]]:
        if start >= stop:
            return ()
        m = self._messages.c
        these = columns.where(m.session_id == self._row.id, m.seq >= start, m.seq < stop)
        return self._connection.execute(these.order_by(m.seq).limit(PAGE)).all()

    def _counted(self, rows: Sequence[Stored]) -> dict[int, int]:
        """Count messages anew and store it."""
        known = dict(read(rows, self._session_id))
        counter, messages = self._buffer.token_counter, list(known.values())
        prices = counter.tokens(messages, counter.keys(messages))
        counted = dict(zip(known, prices, strict=True))
        changes = [{"at": seq, "price": price} for seq, price in counted.items()]
        self._change(changes, tokens=sa.bindparam("price"), counter=self._settings.counter)
        return counted

    def _marked(self) -> dict[int, int]:
        m = self._messages.c
        found = self._connection.execute(
            sa.select(m.seq, m.mark).where(m.session_id == self._row.id, m.mark.is_not(None))
        )
        return {seq: mark for seq, mark in map(tuple, found)}  # noqa: C416  # no pairs to mypy

    def _mark(self, marks: Mapping[int, int | None]) -> None:
        changes = [{"at": seq, "as_": mark} for seq, mark in marks.items()]
        self._change(changes, mark=sa.bindparam("as_"))

    def _change(self, changes: Sequence[Mapping[str, Any]], **values: Any) -> None:
        """Change messages, each at its place."""
        m = self._messages.c
        update = sa.update(self._messages).where(
            m.session_id == self._row.id, m.seq == sa.bindparam("at")
        )
        if changes:
            self._connection.execute(update.values(**values), list(changes))


_UNKNOWN = 1 << 62
"""The smallest size of a message that cannot be read: it is not clamped."""


def _marks(
    marked: Mapping[int, int], held: set[int], out: set[int], cut: int
) -> dict[int, int | None]:
    """Return the marks that change: what was marked, what stays and what is left out.

    What stayed before the cut and leaves now is handed over by its mark, wherever the consumers
    have come to: between their reading and their acknowledging it would be passed by.
    """
    marks: dict[int, int | None] = {}
    for seq in {*marked, *held, *out}:
        before = marked.get(seq)
        after: Mark | None
        if seq in held:
            after = Mark.STAYS
        elif seq in out:
            after = Mark.ACKNOWLEDGED if before == Mark.ACKNOWLEDGED else Mark.LEFT
        elif seq >= cut or before == Mark.ACKNOWLEDGED:
            after = None
        else:
            after = Mark.LEFT
        if after != before:
            marks[seq] = None if after is None else int(after)
    return marks


def seen_of(replay: Replay | None) -> str:
    """Return what a reader needs to know beside the rows: clamp sizes, and what does not fit."""
    sizes: dict[int, int] = {}
    shortage = None
    if replay is not None:
        try:
            sizes = replay.kept()[1]
        except TokenBudgetError as error:
            shortage = {
                "message": str(error),
                "tokens": error.tokens,
                "max_tokens": error.max_tokens,
            }
    return json.dumps({"sizes": sizes, "shortage": shortage})


_SAMPLES = (
    SystemMessage("Answer in one short sentence, please."),
    HumanMessage("Où est la boulangerie la plus proche ? 안녕하세요, 1 + 1?"),
    AIMessage("Two streets from here.", tool_calls=[{"name": "map", "args": {"n": 1}, "id": "1"}]),
    HumanMessage("x" * 100),
)


def _identity(buffer: TokenBuffer) -> str:
    """Return what two counters share only if they count the same.

    Names are not enough where a function counts: the same name may count differently after the
    next release, so what it makes of a few samples belongs to it.
    """
    counter = buffer.token_counter
    basis: list[object] = [counter.describe(), counter.constant]
    if counter.tokenizer is None:
        basis += counter.tokens(_SAMPLES, counter.keys(_SAMPLES))
    return _digest(basis)


def _digest(basis: Sequence[object]) -> str:
    return hashlib.sha256(repr(basis).encode("utf-8", "surrogatepass")).hexdigest()[:32]
