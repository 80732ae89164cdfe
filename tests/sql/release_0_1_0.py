"""What release 0.1.0 left in databases, and what it does with them.

`release_0_1_0.json` was written by that release itself, with what is `tests.builders.count_words`
now. The tables are described as it described them.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

if TYPE_CHECKING:
    from tests.sql.conftest import Place

ROWS = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="ascii"))
OPTIONS: dict[str, dict[str, Any]] = {
    "chat": {},
    "agent": {},
    "clamped": {},
    "dropped": {"oversize": "drop"},
    "raised": {"oversize": "raise"},
    "consumed": {},
    "cleared": {},
    "empty": {},
    "purged": {},
}
"""The sessions, and what they were written with beside 60 tokens."""
HANDED_OVER = 6
"""Of the messages of "consumed", acknowledged."""

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TEXT = sa.Text().with_variant(mysql.LONGTEXT, "mysql", "mariadb")
_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


class OldTables:
    """The tables of 0.1.0."""

    def __init__(self, prefix: str) -> None:
        metadata = sa.MetaData()
        self.sessions = sa.Table(
            f"{prefix}_sessions",
            metadata,
            sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
            sa.Column("key", sa.CHAR(64), nullable=False, unique=True),
            sa.Column("name", _TEXT, nullable=False),
            sa.Column("metadata", _TEXT),
            sa.Column("imported", _TEXT),
            sa.Column("next_seq", sa.BigInteger, nullable=False),
            sa.Column("cut", sa.BigInteger, nullable=False),
            sa.Column("tokens", sa.BigInteger, nullable=False),
            sa.Column("steady", sa.SmallInteger, nullable=False),
            sa.Column("settings", sa.CHAR(32), nullable=False),
            sa.Column("seen", _TEXT, nullable=False),
            sa.Column("state", _TEXT),
            sa.Column("epoch", sa.BigInteger, nullable=False),
            sa.Column("acknowledged", sa.BigInteger),
            sa.Column("created_at", _TIME, nullable=False),
            sa.Column("updated_at", _TIME, nullable=False),
            sqlite_autoincrement=True,
        )
        self.messages = sa.Table(
            f"{prefix}_messages",
            metadata,
            sa.Column("session_id", _NUMBER, sa.ForeignKey(self.sessions.c.id), nullable=False),
            sa.Column("seq", sa.BigInteger, nullable=False),
            sa.Column("append_key", sa.CHAR(32)),
            sa.Column("created_at", _TIME, nullable=False),
            sa.Column("kind", sa.String(8), nullable=False),
            sa.Column("calls", sa.Integer, nullable=False),
            sa.Column("pinned", sa.SmallInteger, nullable=False),
            sa.Column("tokens", sa.BigInteger, nullable=False),
            sa.Column("counter", sa.CHAR(32), nullable=False),
            sa.Column("mark", sa.SmallInteger),
            sa.Column("payload", _TEXT, nullable=False),
            sa.PrimaryKeyConstraint("session_id", "seq"),
            sa.UniqueConstraint("session_id", "append_key", name=f"{prefix}_appends"),
        )
        m = self.messages.c
        marked = m.mark.is_not(None)
        sa.Index(
            f"{prefix}_marks",
            m.session_id,
            m.mark,
            m.seq,
            sqlite_where=marked,
            postgresql_where=marked,
        )
        self.versions = sa.Table(
            f"{prefix}_schema",
            metadata,
            sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        )

    def fill(self, connection: sa.Connection) -> None:
        """Make the tables and put in what 0.1.0 left."""
        self.sessions.metadata.create_all(connection)
        ids: dict[int, int] = {}
        for row in ROWS["sessions"]:
            connection.execute(sa.insert(self.sessions).values(_row(row, without="id")))
            key = sa.select(self.sessions.c.id).where(self.sessions.c.key == row["key"])
            ids[row["id"]] = connection.scalar(key) or 0
        connection.execute(
            sa.insert(self.messages),
            [{**_row(row), "session_id": ids[row["session_id"]]} for row in ROWS["messages"]],
        )
        connection.execute(sa.insert(self.versions), ROWS["schema"])

    def lock(self, connection: sa.Connection) -> None:
        """Do what 0.1.0 begins every change of a session with, and reads windows by."""
        s = self.sessions.c
        update = sa.update(self.sessions).where(s.name == '"chat"')
        connection.execute(update.values(next_seq=s.next_seq + 2, tokens=s.tokens + 9))
        connection.execute(sa.select(s.id, s.next_seq, s.cut, s.tokens, s.steady, s.settings, s.epoch, s.acknowledged))

    def begin(self, connection: sa.Connection) -> None:
        """Make a session as 0.1.0 does."""
        row = _row(ROWS["sessions"][0], without="id")
        connection.execute(sa.insert(self.sessions).values({**row, "key": "0" * 64}))


def _row(row: dict[str, Any], without: str = "") -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if name.endswith("_at") else value
        for name, value in row.items()
        if name != without
    }


def fill(place: Place) -> OldTables:
    """Let a place have been used by 0.1.0."""
    tables = OldTables(place.prefix)
    engine = place.engine()
    with engine.begin() as connection:
        tables.fill(connection)
    engine.dispose()
    return tables
