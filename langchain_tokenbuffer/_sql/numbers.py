"""Stored messages in numbers, read a page at a time; what another counter counted is counted anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from langchain_tokenbuffer._sql.rows import StoredRow, columns_of, decode_rows, numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._messages.slots import Piece, StandIn
    from langchain_tokenbuffer._sql.schema import Tables
    from langchain_tokenbuffer._sql.settings import Settings
    from langchain_tokenbuffer._window.budget import MessageTokens
    from langchain_tokenbuffer._window.conversation import MessageMeter

_UNCLAMPABLE = 1 << 62  # the fewest tokens of a message that cannot be read: it is not clamped


class NumbersPage(NamedTuple):
    """Messages in numbers by sequence number, in order, and those that another counter counted."""

    numbers: dict[int, MessageTokens]
    others: list[StoredRow]
    end: int  # where the next page begins


class SessionRows(NamedTuple):
    """The rows of one session's messages, over a connection."""

    connection: sa.Connection
    tables: Tables
    session: int  # the id of its row
    session_id: str

    def page(self, start: int, stop: int, size: int, counter: str) -> NumbersPage:
        """Read messages between two sequence numbers in numbers, at most so many."""
        m = self.tables.messages.c
        payload = sa.case((m.counter == counter, None), else_=m.payload)
        columns = sa.select(m.seq, m.kind, m.tokens, m.links, m.pinned, payload.label("payload"))
        these: sa.Select[Any] = columns.where(m.session_id == self.session, m.seq >= start, m.seq < stop)
        rows = list(map(tuple, self.connection.execute(these.order_by(m.seq).limit(size))))
        numbers = {seq: numbers_of(kind, tokens, links, pinned) for seq, kind, tokens, links, pinned, _ in rows}
        others = [StoredRow(row[0], row[-1]) for row in rows if row[-1] is not None]
        return NumbersPage(numbers, others, rows[-1][0] + 1 if rows else stop)

    def store(self, counted: Mapping[int, MessageTokens], counter: str) -> None:
        """Store what messages were counted to."""
        self.change([{"at": seq, **columns_of(each)} for seq, each in counted.items()], counter=counter)

    def change(self, changes: Sequence[Mapping[str, Any]], **values: Any) -> None:
        """Change columns of messages, of each `at` its place."""
        messages = self.tables.messages
        mine = messages.c.session_id == self.session
        update = sa.update(messages).where(mine, messages.c.seq == sa.bindparam("at"))
        if changes:
            self.connection.execute(update.values(**values), list(changes))

    def message(self, seq: int) -> BaseMessage | None:
        """Read one message; `None` if it is not there or cannot be read."""
        m = self.tables.messages.c
        payload = self.connection.scalar(sa.select(m.payload).where(m.session_id == self.session, m.seq == seq))
        return dict(decode_rows([StoredRow(seq, payload or "")], self.session_id)).get(seq)

    def are_there(self, seqs: Sequence[int], size: int) -> bool:
        """Tell whether messages are still stored."""
        m = self.tables.messages.c
        found = 0
        for start in range(0, len(seqs), size):
            these = m.seq.in_(seqs[start : start + size])
            mine = sa.select(sa.func.count()).select_from(self.tables.messages)
            found += self.connection.scalar(mine.where(m.session_id == self.session, these)) or 0
        return found == len(seqs)


def count_anew(rows: Sequence[StoredRow], settings: Settings, session_id: str) -> dict[int, MessageTokens]:
    """Read messages into numbers; those that cannot be read are left out."""
    found, meter = dict(decode_rows(rows, session_id)), settings.meter
    messages = list(found.values())
    return dict(zip(found, meter.numbers(messages), strict=True))


class StoredSource:
    """Where a driver asks about messages of a session: those that come now are at hand, others are read."""

    def __init__(
        self,
        meter: MessageMeter,
        read: Callable[[int], BaseMessage | None],
        new: Mapping[int, BaseMessage] | None = None,
    ) -> None:
        self._meter = meter
        self._read = read
        self._new = new or {}

    def min_tokens(self, index: int) -> int:
        message = self._message(index)
        return _UNCLAMPABLE if message is None else self._meter.min_tokens(message)

    def mended_tokens(self, slot: StandIn | Piece) -> int | None:
        message = self._message(slot.index)
        return None if message is None else self._meter.mended_tokens(message, slot)

    def _message(self, seq: int) -> BaseMessage | None:
        return self._new[seq] if seq in self._new else self._read(seq)
