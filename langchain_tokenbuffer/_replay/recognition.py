"""What a file that holds no conversation looks like, so that the refusal says it; no content is quoted."""

from __future__ import annotations

import re

_BEGINNINGS: dict[bytes, str] = {
    b"\x1f\x8b": "a gzip file: decompress it first",
    b"BZh": "a bzip2 file: decompress it first",
    b"\xfd7zXZ": "an xz file: decompress it first",
    b"\x28\xb5\x2f\xfd": "a Zstandard file: decompress it first",
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"RIFF": "an image, sound or film",
    b"%PDF": "a PDF",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\x7fELF": "a program",
    b"\x80\x02": "a Python pickle",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
}

_EXPORTS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"mapping", "title"}), "an export of ChatGPT"),
    (frozenset({"chat_messages"}), "an export of Claude"),
    (frozenset({"chunkedPrompt"}), "an export of Google AI Studio"),
    (frozenset({"resourceSpans"}), "spans of OpenTelemetry"),
    (frozenset({"observations"}), "a trace of Langfuse"),
    (frozenset({"traceId", "observationType"}), "a trace of Langfuse"),
    (frozenset({"instruction", "output"}), "training data of single answers"),
    (frozenset({"prompt", "completion"}), "training data of single answers"),
    (frozenset({"cells", "nbformat"}), "a Jupyter notebook"),
    (frozenset({"ts", "user", "text"}), "an export of Slack"),
    (frozenset({"from", "value"}), "training data in the form of ShareGPT"),
    (frozenset({"conversations"}), "training data in the form of ShareGPT"),
)
"""By keys that its objects have, what a tool writes that is not read."""

_MOST = 40  # letters that are shown of a key or a number
_TEXTS: tuple[tuple[str, str], ...] = (
    (r"(?i)<!doctype html|<html", "an HTML page"),
    (r"<", "XML or HTML"),
    (r"[^\n,]*(,)[^\n]*\n[^\n,]*,", "a CSV table"),
    (r"[^\n\t]*(\t)[^\n]*\n[^\n\t]*\t", "a table"),
    (r"(---|[\w-]+:(\s|$))", "YAML"),
)


def kind_of_bytes(data: bytes) -> str | None:
    """Return what bytes that are no text are, by how they begin."""
    return next((kind for beginning, kind in _BEGINNINGS.items() if data.startswith(beginning)), None)


def kind_of_text(text: str) -> str | None:
    """Return what a text that is no JSON is."""
    text = text.lstrip("\ufeff \t\r\n")
    if text.startswith(("{", "[")):
        return None  # JSON that is broken
    return next((kind for pattern, kind in _TEXTS if re.match(pattern, text)), None)


def export_name(value: object) -> str | None:
    """Return which tool writes such JSON, by the keys of its objects."""
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict):
        return None
    return next((name for keys, name in _EXPORTS if keys <= first.keys()), None)


def shown(value: object) -> str:
    """Return a key, a number or a name as one short line that no terminal takes for a command."""
    try:
        text = str(value)
    except ValueError:  # an int of more digits than Python spells
        return "a huge number"
    text = printable(text)
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def printable(text: str) -> str:
    """Return a text as one line, without what a terminal might take for a command."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
