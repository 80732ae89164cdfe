"""Where this package's own history is: a URL, or a SQLite file; which of it is to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType
    from typing import TypeAlias

    from langchain_tokenbuffer._replay.transcripts import Transcript

    Note: TypeAlias = Callable[[str], object]

_INSTALL = 'a history in a database needs an extra: pip install "langchain-tokenbuffer[sql]"'


@dataclass(frozen=True)
class HistoryOptions:
    """Which history of a database, and which session of it."""

    session: str | None = None  # its id; `None`: all
    prefix: str = "tokenbuffer"  # what the names of the tables begin with
    schema: str | None = None  # the database schema they are in


ALL = HistoryOptions()


def is_url(text: str) -> bool:
    """Tell a database's URL from a path."""
    return "://" in text


def table_of(options: HistoryOptions) -> str:
    """Return the name of a table that is only in a history."""
    return f"{options.prefix}_messages"


def read(connection: str | Path, options: HistoryOptions, note: Note) -> list[Transcript]:
    """Return the sessions of a history, in the order they were made, those without messages left out.

    Nothing is created, brought up or written. Of more than memory should hold, those that were used last are read, and
    `note` is told so.

    Args:
        connection: A URL, or the path of a SQLite file.
        options: Which of it.
        note: Called with what the reader of a report should know.

    Raises:
        TokenBufferError: If the database cannot be read, or there is no such session.
    """
    found: list[Transcript] = _sessions().read(connection, options.session, options.prefix, options.schema, note)
    return found


def shown_url(connection: str) -> str:
    """Return a URL without what gives access.

    Raises:
        TokenBufferError: If the extra is missing.
        ValueError: If it is no URL.
    """
    return str(_sessions().shown_url(connection))


def _sessions() -> ModuleType:
    try:
        import langchain_tokenbuffer._replay.sessions as found  # noqa: PLC0415  # the extra's
    except ImportError as error:
        msg = f"{_INSTALL} ({error})"
        raise TokenBufferError(msg) from error
    return found
