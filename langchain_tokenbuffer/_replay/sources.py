"""All that a command is given, as transcripts: files, folders, databases, the standard input."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from langchain_tokenbuffer._replay import files, histories
from langchain_tokenbuffer._replay.recognition import printable
from langchain_tokenbuffer._replay.transcripts import EXPECTED, NAMELESS, Transcript, UnreadableError, longest
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from langchain_tokenbuffer._replay.histories import HistoryOptions

_SUFFIXES = (".json", ".jsonl", ".ndjson", ".db", ".sqlite", ".sqlite3")
"""What is looked into in a folder."""
_MOST_NAMED = 3  # files of which it is told why they were passed over


class SourceError(TokenBufferError):
    """A source that cannot be read: the message begins with its name."""


@dataclass
class Found:
    """What there is to replay."""

    name: str  # of it all
    transcripts: list[Transcript] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what the reader of a report should know, a sentence each


class _Source(NamedTuple):
    path: str  # or URL
    name: str  # as it is shown
    is_in_folder: bool


def read_all(given: Sequence[str], options: HistoryOptions = histories.ALL) -> Found:
    """Return the conversations of all that is given, in that order; those of a folder by their paths.

    One file has to hold a conversation. Of several, and in folders, what holds none is passed over, and `Found.notes`
    say so. What is the beginning of another conversation is left out, as in one file.

    Raises:
        SourceError: If what is given is not there or cannot be opened, or nothing holds a conversation.
    """
    sources = [source for each in given for source in _sources_of(each, is_only=len(given) == 1)]
    found = Found(_shown(given[0]) if len(given) == 1 else f"{len(given):,} sources")
    passed_over: dict[str, str] = {}
    for source in sources:
        try:
            found.transcripts += _read(source, options, found.notes.append, is_only=len(given) == 1)
        except UnreadableError as error:
            passed_over[source.name] = error.found
        except (OSError, TokenBufferError, ValueError) as error:
            _raise_for(source, error)
            passed_over[source.name] = _reason(error)
    if not found.transcripts:
        raise SourceError(_nothing(found.name, passed_over))
    if passed_over:
        found.notes.append(f"Passed over {len(passed_over):,} of {len(sources):,} files: {_listed(passed_over)}.")
    _keep_longest(found, of_several=len(sources) > 1)
    return found


def _named(transcripts: Sequence[Transcript], source: str) -> list[Transcript]:
    """Return conversations with their source in their names."""
    return [replace(each, name=source if each.name == NAMELESS else f"{source}: {each.name}") for each in transcripts]


def _raise_for(source: _Source, error: Exception) -> None:
    """Raise for what was asked for by name; a folder may hold anything."""
    if not source.is_in_folder:
        msg = f"{source.name}: {_reason(error)}"
        raise SourceError(msg) from error


def _nothing(name: str, passed_over: Mapping[str, str]) -> str:
    """Say that there is nothing to replay, and why."""
    if [*passed_over] == [name]:
        found = passed_over[name]
    elif passed_over:
        found = f"no conversation in {len(passed_over):,} files: {_listed(passed_over)}"
    else:
        found = "an empty folder"
    return f"{name}: found {found}; expected {EXPECTED}"


def _listed(passed_over: Mapping[str, str]) -> str:
    named = [f"{name} ({why})" for name, why in passed_over.items()][:_MOST_NAMED]
    more = len(passed_over) - len(named)
    return "; ".join(named) + (f"; and {more:,} more" if more else "")


def _keep_longest(found: Found, *, of_several: bool) -> None:
    """Leave out what is an earlier state of a conversation in another file; in one, that is done already."""
    kept = longest(found.transcripts) if of_several else found.transcripts
    if earlier := len(found.transcripts) - len(kept):
        found.notes.append(f"Left out {earlier:,} that are the beginning of another conversation.")
    found.transcripts = kept


def _sources_of(given: str, *, is_only: bool) -> list[_Source]:
    """Return a source, or those that a folder holds, in the order of their paths."""
    if given == files.STDIN or histories.is_url(given) or not Path(given).is_dir():
        return [_Source(given, _shown(given), is_in_folder=False)]
    try:
        paths = [*_paths_in(given)]
    except OSError as error:
        msg = f"{printable(given)}: {_reason(error)}"
        raise SourceError(msg) from error
    names = (os.path.relpath(path, given) if is_only else path for path in paths)
    return [_Source(path, printable(name), is_in_folder=True) for path, name in zip(paths, names, strict=True)]


def _paths_in(folder: str) -> Iterator[str]:
    os.scandir(folder).close()  # what walk() would pass over in silence
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (str(Path(root) / name) for name in sorted(names) if not name.startswith("."))


def _shown(given: str) -> str:
    if not histories.is_url(given):
        return printable(given)
    try:
        return printable(histories.shown_url(given))
    except (TokenBufferError, ValueError):  # without the extra, or no URL at all: it may hold a password
        return f"{printable(given.partition('://')[0])}://…"


def _read(
    source: _Source, options: HistoryOptions, note: Callable[[str], object], *, is_only: bool
) -> list[Transcript]:
    if source.is_in_folder and not source.path.lower().endswith(_SUFFIXES):
        suffix = Path(source.path).suffix
        raise UnreadableError(found=f"a name that ends in {suffix}" if suffix else "a name without an ending")
    reads = histories.read if histories.is_url(source.path) else files.read
    found = reads(source.path, options, note)
    return found if is_only and not source.is_in_folder else _named(found, source.name)


def _reason(error: Exception) -> str:
    return printable(str((isinstance(error, OSError) and error.strerror) or error))
