"""The tables of the SQL history.

| table | one row for | columns |
| --- | --- | --- |
| `<prefix>_sessions` | a session | `id` (primary key), `key` (unique: SHA-256 of the session id's bytes), `name` (the id as JSON), `metadata`, `imported` (how far imports came), `next_seq`, `cut`, `tokens` (the window's running total), `open_calls` (the calls that the next message may answer, as JSON; none: it may change more than that total), `settings_digest` (what the window was computed with), `display` (what a reader of it needs beside the rows), `state` (what its driver needs to go on), `window_epoch` (counts windows computed anew), `acknowledged`, `indexed_by` (the rule that its terms were made by; none: recall was never used), `unindexed` (from which message on what left may not have its terms yet; none: all has), `created_at`, `updated_at` |
| `<prefix>_messages` | a message | `session_id`, `seq` (together the primary key), `append_key` (unique within the session; of an append's last message), `created_at`, `kind`, `links` (its calls and results, as JSON), `pinned`, `tokens`, `counter` (what counted them), `mark`, `payload` (the message as ASCII JSON) |
| `<prefix>_terms` | a term in a passage of a message that left, once recall was used | `session_id`, `term` (a hash of 64 bits), `place` (`seq` times 1024, and the number of the passage in the message; together the primary key), `frequency` (of the term in the passage), `length` (of the passage, in terms) |
| `<prefix>_schema` | the tables | `version` |

A release that changes anything here adds a step to `migrations`.

A message is in the window if its `seq` is at least the session's `cut`, unless its `mark` says
otherwise. Marks are few, so theirs is a partial index where the database has such. Times are UTC.
Texts are ASCII, so no character set of a database loses anything.

Terms are derived from messages. Message and passage are one number, since no database here looks pairs up by an index: of
16 terms in 256 places, with a term of 18,000 places among them, SQLite read 10 times longer in pairs, MariaDB 20 times,
PostgreSQL 100 times. There is no foreign key: PostgreSQL checks it row by row.
"""  # noqa: E501  # a table

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_SCHEMA = re.compile(r"[A-Za-z0-9_-]{1,63}")  # PostgreSQL cuts longer names off: two would be one
_TABLES = ("sessions", "messages", "terms", "schema")
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts only INTEGER up
_TEXT = sa.Text().with_variant(mysql.LONGTEXT, "mysql", "mariadb")
_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

PASSAGES = 1 << 10
"""So many passages of one message have places of their own."""


class Mark(IntEnum):
    """Where a message is, if not where the cut says."""

    KEPT = 1  # in the window, though before the cut
    LEFT = 2  # not in the window, wherever the cut is; not acknowledged yet
    ACKNOWLEDGED = 3  # not in the window, wherever the cut is; acknowledged


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one prefix, described without a schema, and the schema they are in.

    One description serves all schemas: a connection translates it (`schema_translate_map`).
    """

    prefix: str
    sessions: sa.Table
    messages: sa.Table
    terms: sa.Table
    versions: sa.Table
    schema: str | None = None


def checked_name(value: object, name: str) -> str:
    """Return a name that is safe in SQL."""
    if not isinstance(value, str):
        msg = f"{name} must be a string, got {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    if not _NAME.fullmatch(value):
        msg = f"{name} must be 1 to 40 ASCII letters, digits and underscores, got {value!r}"
        raise ValueError(msg)
    return value


def checked_schema(value: object) -> str:
    """Return the name of a database schema; it is quoted in SQL, so it may be less plain than a prefix."""
    if not isinstance(value, str):
        msg = f"schema must be a string, got {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    if not _SCHEMA.fullmatch(value):
        msg = f"schema must be 1 to 63 ASCII letters, digits, underscores and hyphens, got {value!r}"
        raise ValueError(msg)
    return value


def tables(prefix: str, schema: str | None = None) -> Tables:
    """Return the tables of a prefix in a database schema; names that are not safe are refused."""
    return replace(_described(prefix), schema=None if schema is None else checked_schema(schema))


def metadata(prefix: str, schema: str | None = None) -> sa.MetaData:
    """Describe the tables of a prefix, in a schema, for tools that create or compare tables."""
    checked_name(prefix, "prefix")
    found = sa.MetaData(schema=None if schema is None else checked_schema(schema))
    sessions = _sessions(prefix, found)
    _messages(prefix, found, sessions)
    _terms(prefix, found)
    version = sa.Column("version", sa.Integer, primary_key=True, autoincrement=False)
    sa.Table(f"{prefix}_schema", found, version)
    return found


@lru_cache(maxsize=32)
def _described(prefix: str) -> Tables:
    found = metadata(prefix).tables
    sessions, messages, terms, versions = (found[f"{prefix}_{name}"] for name in _TABLES)
    return Tables(prefix, sessions, messages, terms, versions)


def schema_of(connection: sa.Connection) -> str | None:
    """Return the schema that a connection finds our tables in; None is its default one."""
    translated = connection.get_execution_options().get("schema_translate_map") or {}
    found = translated.get(None)
    return None if found is None else str(found)


def _sessions(prefix: str, metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
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
        sa.Column("open_calls", _TEXT),
        sa.Column("settings_digest", sa.CHAR(32), nullable=False),
        sa.Column("display", _TEXT, nullable=False),
        sa.Column("state", _TEXT),
        sa.Column("window_epoch", sa.BigInteger, nullable=False),
        sa.Column("acknowledged", sa.BigInteger),
        sa.Column("indexed_by", sa.String(32)),
        sa.Column("unindexed", sa.BigInteger),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sqlite_autoincrement=True,  # the id of a deleted session must not come again
    )


def _messages(prefix: str, metadata: sa.MetaData, sessions: sa.Table) -> sa.Table:
    messages = sa.Table(
        f"{prefix}_messages",
        metadata,
        sa.Column("session_id", _NUMBER, sa.ForeignKey(sessions.c.id), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("append_key", sa.CHAR(32)),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("links", _TEXT),
        sa.Column("pinned", sa.SmallInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("counter", sa.CHAR(32), nullable=False),
        sa.Column("mark", sa.SmallInteger),
        sa.Column("payload", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "seq"),
        sa.UniqueConstraint("session_id", "append_key", name=f"{prefix}_appends"),
    )
    marked = messages.c.mark.is_not(None)
    mark = (messages.c.session_id, messages.c.mark, messages.c.seq)
    sa.Index(f"{prefix}_marks", *mark, sqlite_where=marked, postgresql_where=marked)
    return messages


def _terms(prefix: str, metadata: sa.MetaData) -> None:
    terms = sa.Table(
        f"{prefix}_terms",
        metadata,
        sa.Column("session_id", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("term", sa.BigInteger, nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("frequency", sa.SmallInteger, nullable=False),
        sa.Column("length", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "term", "place"),
        sqlite_with_rowid=False,  # the primary key is the table, as in MariaDB
    )
    sa.Index(f"{prefix}_places", terms.c.session_id, terms.c.place)
