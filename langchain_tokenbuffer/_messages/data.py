"""Files that stand encoded in a message: no provider bills their letters, and a part of one is worth nothing."""

from __future__ import annotations

import re
from typing import TypeGuard

_LEAST = 768  # so many letters in a row are no word
_ENCODED = re.compile(rf"data:[^,]{{0,200}},|[A-Za-z0-9+/=_\r\n-]{{{_LEAST}}}")
"""The beginning of an encoded file."""


def is_data(value: object) -> TypeGuard[str | bytes]:
    """Tell whether a value is a file, as bytes or encoded."""
    return isinstance(value, bytes) or (isinstance(value, str) and _ENCODED.match(value) is not None)


_AFTER = re.compile(r"[A-Za-z0-9+/=_-]*")
_ADDRESS = re.compile(r"data:[^\s,]{0,200},$")


def around(text: str, at: int) -> tuple[int, int]:
    """Return where the encoded file that a place in a text lies in begins and ends; the place itself if in none."""
    run = _AFTER.match(text, at)
    end = at if run is None else run.end()
    before = _AFTER.match(text[:at][::-1])
    start = at if before is None else at - before.end()
    if address := _ADDRESS.search(text[max(0, start - 256) : start]):
        start -= len(address[0])
    elif end - start < _LEAST:
        return at, at
    return (start, end) if start < at < end else (at, at)
