"""One file as transcripts: JSON, JSONL, or a SQLite file of LangGraph's checkpoints or of this package's history."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._replay import checkpoints, histories
from langchain_tokenbuffer._replay.recognition import kind_of_bytes, kind_of_text, shown
from langchain_tokenbuffer._replay.transcripts import Transcript, UnreadableError, transcripts_of
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_tokenbuffer._replay.histories import HistoryOptions

_SQLITE = b"SQLite format 3\0"
_STREAMS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")  # what a shell puts a pipe at that something writes to
STDIN = "-"
_NO_SESSIONS = "this is no database, which alone has sessions; choose with --conversation"


def read(path: str, options: HistoryOptions = histories.ALL, note: Callable[[str], object] = bool) -> list[Transcript]:
    """Return the conversations of a file; `-` is the standard input.

    Args:
        path: Where it is.
        options: Which part of a history.
        note: Called with what the reader of a report should know.

    Raises:
        UnreadableError: If it holds none.
        OSError: If it cannot be read.
    """
    if path != STDIN:
        _refuse_endless(path)
    data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    try:
        if not data.startswith(_SQLITE):
            if options.session is not None:
                raise TokenBufferError(_NO_SESSIONS)
            return transcripts_of(_values(data))
        if path == STDIN:
            raise UnreadableError(found="a SQLite file on standard input, which is read by its path alone")
        return _of_sqlite(path, options, note)
    except RecursionError as error:
        raise UnreadableError(found="JSON that is nested too deeply") from error


def _refuse_endless(path: str) -> None:
    """Refuse what might be waited for, or read, for ever."""
    mode = Path(path).stat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or path.startswith(_STREAMS):
        return
    what = "a named pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
    msg = f"this is {what}, not a file; pass what it holds on standard input, as the file -"
    raise TokenBufferError(msg)


def _of_sqlite(path: str, options: HistoryOptions, note: Callable[[str], object]) -> list[Transcript]:
    names = checkpoints.table_names(path)
    if histories.table_of(options) in names:
        return histories.read(Path(path), options, note)
    if checkpoints.TABLE in names:
        return transcripts_of(list(checkpoints.threads(path)), "thread")
    tables = f"the tables {', '.join(map(shown, names[:6]))}" if names else "no tables"
    missing = f"none of them {checkpoints.TABLE} or {histories.table_of(options)}"
    raise UnreadableError(found=f"a SQLite file with {tables}, {missing}")


def _values(data: bytes) -> Any:
    """Return the value of a JSON file, or the list of those of a JSONL file."""
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        kind = kind_of_bytes(data)
        raise UnreadableError(found=f"bytes that are no text{f' ({kind})' if kind else ''}") from error
    if not text.strip("\ufeff\0 \t\r\n"):
        raise UnreadableError(found="an empty file")
    try:
        return _value(text)
    except ValueError as error:
        whole = error
    kind = kind_of_text(text)
    likeness = f", but what looks like {kind}" if kind else ""
    values = []
    # Not splitlines(): JSON texts may hold line separators of Unicode.
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                values.append(_value(line))
        except ValueError as error:
            why = f" in line {number} ({error})" if values else f" ({whole}){likeness}"
            raise UnreadableError(found=f"no JSON{why}") from error
    return values


def _value(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; of two values under one key nobody knows which is meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for at, (key, _) in enumerate(pairs) if key in dict(pairs[:at]))
        msg = f"an object has the key {shown(twice)!r} twice"
        raise ValueError(msg)
    return found
