"""The threads of a SQLite file that LangGraph's saver wrote."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._replay.transcripts import UnreadableError
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = "checkpoints"
WAIT = 3.0  # seconds that is waited for whoever writes to a file
_NEWEST = (
    "SELECT thread_id, type, checkpoint, max(checkpoint_id) FROM checkpoints "
    "WHERE checkpoint_ns = '' GROUP BY thread_id ORDER BY thread_id"
)
_INSTALL = 'pip install --upgrade "langchain-tokenbuffer[agents]"'


def table_names(path: str) -> list[str]:
    """Return the names of the tables of a SQLite file, in order."""
    with _opened(path) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return [str(name) for (name,) in rows]


def threads(path: str) -> Iterator[dict[str, Any]]:
    """Yield the newest state of every thread.

    Only the types LangGraph calls safe, messages among them, are made of what is stored.
    """
    try:
        from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer  # noqa: PLC0415

        serde = JsonPlusSerializer(allowed_msgpack_modules=None)
    except (ImportError, TypeError) as error:  # an old one would make whatever is stored
        msg = f"Reading a checkpoint file needs a current LangGraph: {_INSTALL}"
        raise TokenBufferError(msg) from error
    with _opened(path) as connection:
        rows = connection.execute(_NEWEST).fetchall()
    for thread, kind, blob, _ in rows:
        try:
            values = serde.loads_typed((kind, blob))["channel_values"]
        except Exception as error:
            raise UnreadableError(found=f"a checkpoint of thread {thread!r} that LangGraph cannot load") from error
        yield {"id": thread, "messages": values.get("messages", [])}


@contextmanager
def _opened(path: str) -> Iterator[sqlite3.Connection]:
    """Open a file to be read alone."""
    uri = f"{Path(path).resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=WAIT)) as connection:
            yield connection
    except sqlite3.Error as error:
        if "locked" in str(error):
            msg = f"the SQLite file is locked: somebody has been writing to it for {WAIT:.0f} s; try again, or copy it"
            raise TokenBufferError(msg) from error
        raise UnreadableError(found=f"a SQLite file that cannot be read ({error})") from error
