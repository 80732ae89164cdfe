"""A file's bytes as transcripts: JSON, JSONL, or the SQLite file of LangGraph's checkpoints."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._replay.transcripts import Transcript, UnreadableError, transcripts_of
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SQLITE = b"SQLite format 3\0"
_NEWEST = (
    "SELECT thread_id, type, checkpoint, max(checkpoint_id) FROM checkpoints "
    "WHERE checkpoint_ns = '' GROUP BY thread_id ORDER BY thread_id"
)
_INSTALL = 'pip install --upgrade "langchain-tokenbuffer[agents]"'


def read(path: str) -> list[Transcript]:
    """Return the conversations of a file; `-` is the standard input. If it holds none that is an `UnreadableError`."""
    data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    try:
        if data.startswith(_SQLITE) and path != "-":
            return transcripts_of(list(_threads(path)), "thread")
        return transcripts_of(_values(data))
    except RecursionError as error:
        raise UnreadableError(found="JSON that is nested too deeply") from error


def _values(data: bytes) -> Any:
    """Return the value of a JSON file, or the list of those of a JSONL file."""
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        raise UnreadableError(found="bytes that are no text") from error
    if not text.strip():
        raise UnreadableError(found="an empty file")
    try:
        return json.loads(text)
    except ValueError as error:
        whole = error
    values = []
    # Not splitlines(): JSON texts may hold line separators of Unicode.
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                values.append(json.loads(line))
        except ValueError as error:
            why = f" in line {number} ({error})" if values else f" ({whole})"
            raise UnreadableError(found=f"no JSON{why}") from error
    return values


def _threads(path: str) -> Iterator[dict[str, Any]]:
    """Yield the newest state of every thread of a SQLite file that LangGraph's saver wrote.

    Only the types LangGraph calls safe, messages among them, are made of what is stored.
    """
    try:
        from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer  # noqa: PLC0415

        serde = JsonPlusSerializer(allowed_msgpack_modules=None)
    except (ImportError, TypeError) as error:  # an old one would make whatever is stored
        msg = f"Reading a checkpoint file needs a current LangGraph: {_INSTALL}"
        raise TokenBufferError(msg) from error
    try:
        with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(_NEWEST).fetchall()
    except sqlite3.Error as error:
        raise UnreadableError(found=f"a SQLite file that is no LangGraph checkpoint ({error})") from error
    for thread, kind, blob, _ in rows:
        try:
            values = serde.loads_typed((kind, blob))["channel_values"]
        except Exception as error:
            raise UnreadableError(found=f"a checkpoint of thread {thread!r} that LangGraph cannot load") from error
        yield {"id": thread, "messages": values.get("messages", [])}
