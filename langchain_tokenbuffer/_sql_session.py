"""One session of the SQL history: what is done to it, each operation once, over a `Connection`.

Every operation that changes a session begins with the UPDATE of its row. That is the lock, on
every database, and what takes sequence numbers. What the window came to is kept with the session
as the state of its replay (`Replay.state`), written only when the budget was passed; up to then a
new message only adds to the sum. So an append costs the new messages, and the window when it moves.
"""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from sqlalchemy import exc

from langchain_tokenbuffer._sql_engines import RacedError
from langchain_tokenbuffer._sql_rows import New, decode, key_of
from langchain_tokenbuffer._sql_schema import Mark, Tables
from langchain_tokenbuffer._window import Replay, Sized
from langchain_tokenbuffer.errors import TokenBudgetError
from langchain_tokenbuffer.order import repair

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer.buffer import TokenBuffer

logger = logging.getLogger(__name__)

PAGE = 1000
"""Rows a statement reads, changes or deletes at once."""


class Stored(NamedTuple):
    """A message as it was read, with its place."""

    seq: int
    payload: str


class Seen(NamedTuple):
    """What reading the window found; `settings` tells under which it was computed."""

    settings: str
    rows: list[Stored]
    sizes: dict[int, int]
    shortage: dict[str, Any] | None


class Batch(NamedTuple):
    """What left the window and was not acknowledged, and what acknowledging it needs to know."""

    session: int
    epoch: int
    rows: list[Stored]
    marked: list[int]
    passed: int | None


class Imported(NamedTuple):
    """How far the import from a source comes with an append, and how far it had to be before."""

    source: str
    after: int
    upto: int


class AlreadyStoredError(Exception):
    """The append was stored by an earlier try, or repeats the session's last messages."""


class AlreadyImportedError(Exception):
    """An import came further than this append begins."""

    def __init__(self, upto: int) -> None:
        super().__init__(upto)
        self.upto = upto


class Session:
    """One session under one buffer's settings."""

    def __init__(self, tables: Tables, session_id: str, buffer: TokenBuffer) -> None:
        self._s = tables.sessions.c
        self._m = tables.messages.c
        self._tables = tables
        self.session_id = session_id
        self._key = key_of(session_id)
        self._name = json.dumps(session_id)
        self.buffer = buffer
        self._identified: tuple[str, str] | None = None

    # --- settings ---

    @property
    def counter(self) -> str:
        """What tells whether stored counts are this counter's."""
        return self._identify()[0]

    @property
    def settings(self) -> str:
        """What tells whether a stored window was computed under these settings."""
        return self._identify()[1]

    def _identify(self) -> tuple[str, str]:
        if self._identified is None:
            counter = _identity(self.buffer)
            budget = self.buffer.budget()
            settings = (budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize)
            self._identified = counter, _digest([counter, *settings])
        return self._identified

    # --- reading ---

    def seen(self, connection: sa.Connection) -> Seen | None:
        """Read the window: one statement, so one state of the session, that costs the window."""
        s, m = self._s, self._m
        mine = s.key == self._key

        def own(column: sa.Column[Any]) -> sa.ScalarSelect[Any]:
            # Not a join: PostgreSQL expects a third of a session behind a cut that it is joined
            # with, and between two numbers a two-hundredth, for which it uses the index.
            return sa.select(column).where(mine).scalar_subquery()

        session = sa.select(sa.literal(-1).label("seq"), s.seen.label("payload"), s.settings).where(
            mine
        )
        row = sa.select(m.seq, m.payload, sa.literal("").label("settings"))
        tail = row.where(
            m.session_id == own(s.id),
            m.seq >= own(s.cut),
            m.seq < own(s.next_seq),
            sa.or_(m.mark.is_(None), m.mark == sa.literal_column(str(int(Mark.STAYS)))),
        )
        held = row.where(
            m.session_id == own(s.id),
            m.mark == sa.literal_column(str(int(Mark.STAYS))),
            m.seq < own(s.cut),
        )
        found = connection.execute(sa.union_all(session, held, tail)).all()
        rows = [Stored(seq, payload) for seq, payload, _ in found if seq >= 0]
        for seq, payload, settings in found:
            if seq < 0:
                said = json.loads(payload)
                sizes = {int(index): size for index, size in said["sizes"].items()}
                return Seen(settings, sorted(rows), sizes, said["shortage"])
        return None

    def show(self, seen: Seen | None) -> list[BaseMessage]:
        """Return the messages of a window.

        Raises:
            TokenBudgetError: If what must stay does not fit.
        """
        if seen is None:
            return []
        buffer = self.buffer
        if not buffer.token_counter.additive:
            return buffer.trim([message for _, message in self.read(seen.rows)])
        if seen.shortage is not None:
            raise TokenBudgetError(**seen.shortage)
        messages = [
            buffer.clamped(message, seen.sizes[seq]) if seq in seen.sizes else message
            for seq, message in self.read(seen.rows)
        ]
        if len(messages) < len(seen.rows):  # one that is missing must not poison the rest
            messages = buffer.trim(repair(messages)[0])
        return messages

    def read(self, rows: Sequence[Stored]) -> Iterator[tuple[int, BaseMessage]]:
        """Yield the messages of rows; one that cannot be read is named and left out."""
        for seq, payload in rows:
            try:
                yield seq, decode(payload)
            except Exception as error:  # noqa: BLE001  # whatever it is, the others can be read
                logger.error(  # noqa: TRY400  # a traceback would quote the message
                    "Message %d of session %r cannot be read: %s",
                    seq,
                    self.session_id,
                    type(error).__name__,
                )

    def page(self, connection: sa.Connection, after: int, size: int) -> list[Stored]:
        """Read the messages behind a sequence number, oldest first."""
        s, m = self._s, self._m
        found = connection.execute(
            sa.select(m.seq, m.payload)
            .join(self._tables.sessions, s.id == m.session_id)
            .where(s.key == self._key, m.seq > after)
            .order_by(m.seq)
            .limit(size)
        )
        return [Stored(*row) for row in found]

    def metadata(self, connection: sa.Connection) -> dict[str, Any]:
        """Read what the session carries beside its messages."""
        text = connection.scalar(sa.select(self._s.metadata).where(self._s.key == self._key))
        return dict(json.loads(text)) if text else {}

    def imported(self, connection: sa.Connection, source: str) -> int | None:
        """Read how far the import from a source came."""
        text = connection.scalar(sa.select(self._s.imported).where(self._s.key == self._key))
        return json.loads(text).get(source) if text else None

    # --- appending ---

    def append(
        self,
        connection: sa.Connection,
        new: Sequence[New],
        key: str,
        imported: Imported | None = None,
    ) -> None:
        """Store messages, all or none, and move the window.

        Raises:
            AlreadyStoredError: If they are stored.
            AlreadyImportedError: If the import came further.
        """
        s, m = self._s, self._m
        cost = sum(each.sized.cost for each in new)
        stored_as = sa.exists(
            sa.select(m.seq).where(m.session_id == s.id, m.append_key == sa.literal(key))
        )
        row = self._lock(
            connection,
            (s.imported, stored_as.label("is_stored")),
            next_seq=s.next_seq + len(new),
            tokens=s.tokens + cost,
        )
        if row is None:
            self._begin(connection)
            self.append(connection, new, key, imported)
            return
        first = row.next_seq - len(new)
        if row.is_stored or (imported is None and self._repeats(connection, row.id, first, new)):
            raise AlreadyStoredError
        if imported is not None:
            positions = json.loads(row.imported) if row.imported else {}
            if positions.get(imported.source, -1) > imported.after:
                raise AlreadyImportedError(positions[imported.source])
            positions[imported.source] = imported.upto
            self._update(connection, row.id, imported=json.dumps(positions))
        marks: dict[int, int] = {}
        is_same = row.settings == self.settings
        if not (is_same and row.steady and row.tokens <= self.buffer.max_tokens):
            marks = self._move(connection, row, new, is_same=is_same)
        connection.execute(
            sa.insert(self._tables.messages), self._rows(row.id, first, new, key, marks)
        )

    def _rows(
        self, session: int, first: int, new: Sequence[New], key: str, marks: Mapping[int, int]
    ) -> list[dict[str, Any]]:
        now = _now()
        # The key is on the last one: that is what stays in the window longest.
        keys = [None] * (len(new) - 1) + [key]
        return [
            {
                "session_id": session,
                "seq": seq,
                "append_key": append_key,
                "created_at": now,
                "kind": sized.kind,
                "calls": sized.calls,
                "pinned": int(sized.pinned),
                "tokens": sized.cost,
                "counter": self.counter,
                "mark": marks.get(seq),
                "payload": payload,
            }
            for seq, append_key, (sized, payload, _) in zip(
                range(first, first + len(new)), keys, new, strict=True
            )
        ]

    def _repeats(
        self, connection: sa.Connection, session: int, first: int, new: Sequence[New]
    ) -> bool:
        """Tell whether the messages all carry ids and are the session's last ones already."""
        if not all(each.message.id for each in new):
            return False
        m = self._m
        last = connection.scalars(
            sa.select(m.payload)
            .where(m.session_id == session, m.seq >= first - len(new), m.seq < first)
            .order_by(m.seq)
        )
        return list(last) == [each.payload for each in new]

    def _lock(
        self, connection: sa.Connection, columns: Sequence[Any] = (), **values: Any
    ) -> sa.Row[Any] | None:
        """Take the session: the UPDATE is the lock. Return its row, or None if there is none."""
        s = self._s
        mine = s.key == self._key
        values = values or {"next_seq": s.next_seq}
        update = sa.update(self._tables.sessions).where(mine)
        taken = connection.execute(update.values(updated_at=_now(), **values))
        if not taken.rowcount:
            return None
        row = sa.select(
            s.id, s.next_seq, s.cut, s.tokens, s.steady, s.settings, s.epoch, s.acknowledged
        )
        return connection.execute(row.add_columns(*columns).where(mine)).one()

    def _begin(self, connection: sa.Connection) -> None:
        """Make the session."""
        now = _now()
        try:
            connection.execute(
                sa.insert(self._tables.sessions).values(
                    key=self._key,
                    name=self._name,
                    next_seq=0,
                    cut=0,
                    tokens=self.buffer.budget().fixed,
                    steady=0,
                    settings=self.settings,
                    seen=_seen(None),
                    epoch=0,
                    created_at=now,
                    updated_at=now,
                )
            )
        except exc.IntegrityError as error:
            raise RacedError from error

    def _update(self, connection: sa.Connection, session: int, **values: Any) -> None:
        update = sa.update(self._tables.sessions).where(self._s.id == session)
        connection.execute(update.values(**values))

    # --- the window ---

    def _move(
        self, connection: sa.Connection, row: sa.Row[Any], new: Sequence[New], *, is_same: bool
    ) -> dict[int, int]:
        """Live through the new messages, keep what the window came to, return the new marks."""
        first = row.next_seq - len(new)
        texts = {first + n: each.message for n, each in enumerate(new)}
        moving = _Moving(self, connection, row.id, texts)
        if is_same:
            replay = self._resumed(connection, row)
            marked = dict.fromkeys(replay.held, int(Mark.STAYS))
            since: Iterator[tuple[int, Sized]] = self._sized(
                connection, row.id, replay.count, first
            )
        else:
            replay = Replay(self.buffer.budget())
            marked = self._marked(connection, row.id)
            since = self._recounted(connection, row.id, first)
        left = moving.push(replay, since)
        left += moving.push(replay, ((first + n, each.sized) for n, each in enumerate(new)))
        replay.count = row.next_seq
        cut = replay.cut
        out = {seq for seq in left if seq >= cut}
        marks = _marks(marked, set(replay.held), out, cut)
        self._mark(connection, row.id, {seq: marks[seq] for seq in marks if seq < first})
        values: dict[str, Any] = {}
        if not is_same:
            # What was acknowledged and is in the tail again is handed over when it leaves again.
            # A batch that is in a consumer's hands was of another window.
            values["epoch"] = row.epoch + 1
            if row.acknowledged is not None:
                values["acknowledged"] = min(row.acknowledged, cut - 1)
        self._update(
            connection,
            row.id,
            cut=cut,
            tokens=replay.tokens,
            steady=int(replay.steady),
            settings=self.settings,
            seen=_seen(replay),
            state=json.dumps(replay.state(), separators=(",", ":")),
            **values,
        )
        return {seq: mark for seq, mark in marks.items() if seq >= first and mark is not None}

    def _resumed(self, connection: sa.Connection, row: sa.Row[Any]) -> Replay:
        """Return the replay as it was stored."""
        budget = self.buffer.budget()
        state = connection.scalar(sa.select(self._s.state).where(self._s.id == row.id))
        if state is not None:
            return Replay.from_state(budget, json.loads(state))
        replay = Replay(budget)
        replay.count = row.cut  # a session that was cleared does not begin at 0
        return replay

    def _sized(
        self, connection: sa.Connection, session: int, start: int, stop: int
    ) -> Iterator[tuple[int, Sized]]:
        """Yield messages in numbers, as they were counted when they were stored."""
        m = self._m
        while start < stop:
            found = connection.execute(
                sa.select(m.seq, m.kind, m.tokens, m.calls, m.pinned)
                .where(m.session_id == session, m.seq >= start, m.seq < stop)
                .order_by(m.seq)
                .limit(PAGE)
            ).all()
            if not found:
                return
            for seq, kind, tokens, calls, pinned in found:
                yield seq, Sized(kind, tokens, calls, bool(pinned))
            start = found[-1].seq + 1

    def _recounted(
        self, connection: sa.Connection, session: int, stop: int
    ) -> Iterator[tuple[int, Sized]]:
        """Yield all messages in numbers; what another counter counted is counted anew."""
        m = self._m
        start = 0
        payload = sa.case((m.counter == self.counter, None), else_=m.payload)
        while True:
            found = connection.execute(
                sa.select(m.seq, m.kind, m.tokens, m.calls, m.pinned, payload)
                .where(m.session_id == session, m.seq >= start, m.seq < stop)
                .order_by(m.seq)
                .limit(PAGE)
            ).all()
            if not found:
                return
            others = [Stored(row.seq, row[5]) for row in found if row[5] is not None]
            counted = self._counted(connection, session, others)
            for seq, kind, tokens, calls, pinned, _ in found:
                yield seq, Sized(kind, counted.get(seq, tokens), calls, bool(pinned))
            start = found[-1].seq + 1

    def _counted(
        self, connection: sa.Connection, session: int, rows: Sequence[Stored]
    ) -> dict[int, int]:
        """Count messages anew and store it."""
        known = dict(self.read(rows))
        counter, messages = self.buffer.token_counter, list(known.values())
        prices = counter.prices(messages, counter.keys(messages))
        counted = dict(zip(known, prices, strict=True))
        m = self._m
        if counted:
            connection.execute(
                sa.update(self._tables.messages)
                .where(m.session_id == session, m.seq == sa.bindparam("at"))
                .values(tokens=sa.bindparam("price"), counter=self.counter),
                [{"at": seq, "price": price} for seq, price in counted.items()],
            )
        return counted

    def _marked(self, connection: sa.Connection, session: int) -> dict[int, int]:
        m = self._m
        found = connection.execute(
            sa.select(m.seq, m.mark).where(m.session_id == session, m.mark.is_not(None))
        )
        return {seq: mark for seq, mark in found}  # noqa: C416  # rows are no pairs to mypy

    def _mark(
        self, connection: sa.Connection, session: int, marks: Mapping[int, int | None]
    ) -> None:
        m = self._m
        if marks:
            connection.execute(
                sa.update(self._tables.messages)
                .where(m.session_id == session, m.seq == sa.bindparam("at"))
                .values(mark=sa.bindparam("as_")),
                [{"at": seq, "as_": mark} for seq, mark in marks.items()],
            )

    def settle(self, connection: sa.Connection) -> sa.Row[Any] | None:
        """Take the session; compute its window anew if the settings are others by now."""
        row = self._lock(connection)
        if row is not None and row.settings != self.settings:
            self._move(connection, row, (), is_same=False)
            row = self._lock(connection)
        return row

    # --- what left ---

    def left(self, connection: sa.Connection, limit: int) -> Batch | None:
        """Read what left the window and was not acknowledged, oldest first."""
        s, m = self._s, self._m
        known: sa.Select[Any] = sa.select(s.id, s.cut, s.epoch, s.acknowledged, s.settings)
        row: sa.Row[Any] | None = connection.execute(known.where(s.key == self._key)).one_or_none()
        if row is None:
            return None
        if row.settings != self.settings or row.acknowledged is None:
            row = self.settle(connection)
            if row is None:
                return None
            if row.acknowledged is None:  # from now on nothing is purged before it was handed over
                self._update(connection, row.id, acknowledged=-1)
        select = sa.select(m.seq, m.payload).where(m.session_id == row.id)
        select = select.order_by(m.seq).limit(limit)
        after = -1 if row.acknowledged is None else row.acknowledged
        passed = connection.execute(
            select.where(m.mark.is_(None), m.seq > after, m.seq < row.cut)
        ).all()
        marked = connection.execute(select.where(m.mark == int(Mark.LEFT))).all()
        marks = {each.seq for each in marked}
        rows = sorted(Stored(*each) for each in (*passed, *marked))[:limit]
        if not rows:
            return None
        return Batch(
            row.id,
            row.epoch,
            rows,
            marked=[each.seq for each in rows if each.seq in marks],
            passed=max((each.seq for each in rows if each.seq not in marks), default=None),
        )

    def acknowledge(self, connection: sa.Connection, batch: Batch) -> None:
        """Do not hand a batch over again, unless the window was computed anew meanwhile."""
        s, m = self._s, self._m
        passed = -1 if batch.passed is None else batch.passed
        further = sa.case((s.acknowledged < passed, passed), else_=s.acknowledged)
        taken = connection.execute(
            sa.update(self._tables.sessions)
            .where(s.id == batch.session, s.epoch == batch.epoch)
            .values(acknowledged=further)
        )
        if not taken.rowcount or not batch.marked:
            return
        reached = connection.scalar(sa.select(s.acknowledged).where(s.id == batch.session))
        update = sa.update(self._tables.messages)
        for seqs in _pages(batch.marked):
            these = (m.session_id == batch.session, m.mark == int(Mark.LEFT), m.seq.in_(seqs))
            mark = sa.case((m.seq <= reached, None), else_=int(Mark.ACKNOWLEDGED))
            connection.execute(update.where(*these).values(mark=mark))

    # --- letting go ---

    def purge(self, connection: sa.Connection, before: int | datetime, limit: int) -> int:
        """Delete the oldest messages that left the window; return how many."""
        row = self.settle(connection)
        if row is None:
            return 0
        m = self._m
        if isinstance(before, datetime):  # clocks differ, so up to the first one that is younger
            younger = sa.select(m.seq).where(m.session_id == row.id, m.created_at >= before)
            first = connection.scalar(younger.order_by(m.seq).limit(1))
            before = row.cut if first is None else first
        old = [m.session_id == row.id, m.seq < min(before, row.cut)]
        if row.acknowledged is None:
            old.append(sa.or_(m.mark.is_(None), m.mark != int(Mark.STAYS)))
        else:
            handed = sa.and_(m.mark.is_(None), m.seq <= row.acknowledged)
            old.append(sa.or_(handed, m.mark == int(Mark.ACKNOWLEDGED)))
        seqs = connection.scalars(sa.select(m.seq).where(*old).order_by(m.seq).limit(limit)).all()
        if seqs:
            delete = sa.delete(self._tables.messages)
            connection.execute(delete.where(m.session_id == row.id, m.seq.in_(seqs)))
        return len(seqs)

    def clear(self, connection: sa.Connection) -> None:
        """Delete the messages; the session stays, and its sequence goes on."""
        row = self._lock(connection)
        if row is None:
            return
        connection.execute(sa.delete(self._tables.messages).where(self._m.session_id == row.id))
        self._update(
            connection,
            row.id,
            cut=row.next_seq,
            tokens=self.buffer.budget().fixed,
            steady=0,
            settings=self.settings,
            seen=_seen(None),
            state=None,
            epoch=row.epoch + 1,
            acknowledged=None if row.acknowledged is None else row.next_seq - 1,
        )

    def delete(self, connection: sa.Connection) -> None:
        """Delete the session and its messages."""
        row = self._lock(connection)
        if row is not None:
            messages, sessions = self._tables.messages, self._tables.sessions
            connection.execute(sa.delete(messages).where(self._m.session_id == row.id))
            connection.execute(sa.delete(sessions).where(self._s.id == row.id))

    def set_metadata(self, connection: sa.Connection, text: str) -> None:
        """Keep this with the session, and make the session if need be."""
        if self._lock(connection, metadata=text) is None:
            self._begin(connection)
            self._lock(connection, metadata=text)


class _Moving:
    """Pushes messages through a replay and looks those up that must be clamped."""

    def __init__(
        self,
        session: Session,
        connection: sa.Connection,
        session_row: int,
        texts: Mapping[int, BaseMessage],
    ) -> None:
        self._session = session
        self._connection = connection
        self._row = session_row
        self._texts = texts

    def push(self, replay: Replay, sized: Iterator[tuple[int, Sized]]) -> list[int]:
        left: list[int] = []
        for seq, each in sized:
            replay.count = seq  # what was purged leaves gaps
            left += replay.push(each, self._floor)
            if replay.left_out is not None:
                self._session.buffer.left_out(replay.left_out)
        return left

    def _floor(self, seq: int) -> int:
        message = self._texts[seq] if seq in self._texts else self._look_up(seq)
        return self._session.buffer.smallest(message) if message is not None else 1 << 62

    def _look_up(self, seq: int) -> BaseMessage | None:
        m = self._session._m  # noqa: SLF001  # one class in two parts
        payload = self._connection.scalar(
            sa.select(m.payload).where(m.session_id == self._row, m.seq == seq)
        )
        found = dict(self._session.read([Stored(seq, payload or "")]))
        return found.get(seq)


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
        if seq in held:
            after: int | None = Mark.STAYS
        elif seq in out:
            after = Mark.ACKNOWLEDGED if before == Mark.ACKNOWLEDGED else Mark.LEFT
        elif seq >= cut or before == Mark.ACKNOWLEDGED:
            after = None
        else:
            after = Mark.LEFT
        if after != before:
            marks[seq] = None if after is None else int(after)
    return marks


def _seen(replay: Replay | None) -> str:
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
        basis += counter.prices(_SAMPLES, counter.keys(_SAMPLES))
    return _digest(basis)


def _digest(basis: Sequence[object]) -> str:
    return hashlib.sha256(repr(basis).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _pages(seqs: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(seqs), PAGE):
        yield seqs[start : start + PAGE]


def _now() -> datetime:
    """Return the time, as every database keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)
