"""What is no transcript ends with 2 and one line, which says what it looks like and what is read."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import pickle
import sqlite3
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from langchain_tokenbuffer.replay import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]

TALK = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello!"}]
TEXT = json.dumps(TALK)


def writes(data: bytes | str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data if isinstance(data, bytes) else data.encode())


def dumps(value: object) -> Callable[[Path], object]:
    return writes(json.dumps(value))


def zips(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("talk.json", TEXT)


def makes_tables(*statements: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return write


def breaks_a_database(path: Path) -> None:
    makes_tables("CREATE TABLE checkpoints (thread_id)")(path)
    path.write_bytes(path.read_bytes()[:1000] + b"\xff" * 3000)


def fills_a_folder(path: Path) -> None:
    path.mkdir()
    (path / "a.png").touch()
    (path / "b.json").write_text("{")


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty file": (writes(""), "found an empty file"),
    "blanks": (writes(" \n\t\n"), "found an empty file"),
    "a byte order mark alone": (writes(b"\xef\xbb\xbf"), "found an empty file"),
    "null bytes": (writes(b"\0" * 64), "found an empty file"),
    "JSON that stops": (writes(TEXT[:-9]), "found no JSON ("),
    "JSON with a comma too many": (writes(f"{TEXT[:-1]},]"), "found no JSON ("),
    "JSON with comments": (writes(f"// a log\n{TEXT}"), "found no JSON ("),
    "JSONL with a broken line": (writes(f"{json.dumps(TALK[0])}\n{{\n{json.dumps(TALK[1])}\n"), "no JSON in line 2"),
    "Python's repr": (writes(repr(TALK)), "found no JSON ("),
    "Latin-1": (writes(TEXT.replace("Hello?", "Grüß Gott").encode("latin-1")), "found bytes that are no text"),
    "UTF-16 without a byte order mark, half": (writes(TEXT.encode("utf-16-le")[:-1]), "found bytes that are no text"),
    "a CSV table": (writes("role,content\nuser,Hello?\n"), "what looks like a CSV table"),
    "a table with tabs": (writes("role\tcontent\nuser\tHello?\n"), "what looks like a table"),
    "an HTML page": (writes("<!DOCTYPE html>\n<html><body>Hello?</body></html>"), "what looks like an HTML page"),
    "XML": (writes("<?xml version='1.0'?><talk/>"), "what looks like XML"),
    "YAML": (writes("messages:\n  - role: user\n"), "what looks like YAML"),
    "Markdown": (writes("# Notes\n\nHello?\n"), "found no JSON ("),
    "gzip": (lambda path: path.write_bytes(gzip.compress(TEXT.encode())), "(a gzip file: decompress it first)"),
    "bzip2": (lambda path: path.write_bytes(bz2.compress(TEXT.encode())), "(a bzip2 file: decompress it first)"),
    "xz": (lambda path: path.write_bytes(lzma.compress(TEXT.encode())), "(an xz file: decompress it first)"),
    "a ZIP archive": (zips, "a ZIP archive"),
    "a PNG image": (writes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "(a PNG image)"),
    "a JPEG image": (writes(b"\xff\xd8\xff\xe0\0\x10JFIF"), "(a JPEG image)"),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(TALK)), "(a Python pickle)"),
    "Parquet": (writes(b"PAR1\x15\x04\x95\xff\xfePAR1"), "(a Parquet file)"),
    "a number": (writes("7"), "found 7;"),
    "a text": (writes('"Hello?"'), "found a text;"),
    "null": (writes("null"), "found None;"),
    "not a number": (writes("NaN"), "found nan;"),
    "infinity": (writes("[1e999]"), "found inf at place 1 of 1"),
    "a number of 6,000 digits": (writes("9" * 6000), "found no JSON ("),
    "a number of 3,000 digits": (writes("9" * 3000), f"found {'9' * 40}…;"),
    "an empty list": (writes("[]"), "found an empty list"),
    "an empty object": (writes("{}"), "the keys (none)"),
    "lists in lists": (writes("[[[[]]]]"), "found an empty list"),
    "objects in objects": (dumps({"values": {"values": {"values": {}}}}), "an object with the keys values"),
    "100,000 brackets": (writes("[" * 100_000), "JSON that is nested too deeply"),
    "a key twice": (writes(f'{{"messages": {TEXT}, "messages": []}}'), "the key 'messages' twice"),
    "a key with a newline in it": (dumps({"a\nb\x1b[31m": 1}), "the keys a b?[31m"),
    "no messages": (dumps({"messages": []}), "found no messages"),
    "messages that are texts": (dumps({"messages": ["Hello?"]}), "found a text where message 1 should be"),
    "a message without a role": (dumps({"messages": [{"content": "Hello?"}]}), "the keys content where message 1"),
    "a role that nobody has": (dumps([{"role": "wizard", "content": "a"}]), "a message 1 that cannot be built"),
    "a content that is a number": (writes('[{"role": "user", "content": NaN}]'), "a message 1 that cannot be built"),
    "a result without a call": (dumps([{"role": "tool", "content": "a"}]), "a message 1 that cannot be built"),
    "a call that is a number": (dumps([{"role": "assistant", "tool_calls": [7]}]), "a message 1 that cannot be built"),
    "calls that are a number": (dumps([{"role": "assistant", "tool_calls": 7}]), "a message 1 that cannot be built"),
    "a reply alone": (dumps([TALK[1]]), "found messages that call no model"),
    "what is to be embedded": (dumps({"model": "text-embedding-3-small", "input": "a"}), "the keys model, input"),
    "an export of ChatGPT": (dumps([{"title": "a", "mapping": {}}]), "an export of ChatGPT"),
    "an export of Claude": (dumps([{"uuid": "a", "name": "a", "chat_messages": []}]), "an export of Claude"),
    "an export of Slack": (dumps([{"user": "U1", "text": "a", "ts": "1.0"}]), "an export of Slack"),
    "ShareGPT": (dumps([{"conversations": [{"from": "human", "value": "a"}]}]), "in the form of ShareGPT"),
    "spans": (dumps({"resourceSpans": []}), "spans of OpenTelemetry"),
    "a notebook": (dumps({"cells": [], "nbformat": 4}), "a Jupyter notebook"),
    "a run without messages": (dumps({"run_type": "chain", "inputs": {"a": 1}, "outputs": {}}), "carry no messages"),
    "a SQLite file of something else": (
        makes_tables("CREATE TABLE notes (text)", "CREATE TABLE users (name)"),
        "found a SQLite file with the tables notes, users",
    ),
    "a SQLite file without tables": (makes_tables("PRAGMA user_version = 1"), "found a SQLite file with no tables"),
    "a SQLite file without its columns": (
        makes_tables("CREATE TABLE checkpoints (a)"),
        "found a SQLite file that cannot be read (no such column",
    ),
    "a SQLite file that is broken": (breaks_a_database, "found a SQLite file that cannot be read ("),
    "the beginning of a SQLite file": (writes(b"SQLite format 3\0"), "found a SQLite file"),
    "a history without its version": (
        makes_tables("CREATE TABLE tokenbuffer_messages (a)"),
        "The tables of 'tokenbuffer_messages' are not there",
    ),
    "a folder without anything": (lambda path: path.mkdir(), "found an empty folder"),
    "a folder of pictures": (
        fills_a_folder,
        "found no conversation in 2 files: a.png (a name that ends in .png); b.json (no JSON",
    ),
    "a named pipe": (os.mkfifo, "this is a named pipe"),
    "a device": (lambda path: path.symlink_to("/dev/null"), "this is a device"),
    "a link to itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    "nothing": (lambda path: None, "No such file or directory"),
}


def refusal(capsys: Captured, *arguments: str) -> str:
    assert main(["replay", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_file_ends_with_2_and_one_line_that_says_what_it_is(odd: str, tmp_path: Path, capsys: Captured) -> None:
    make, found = ODD[odd]
    path = tmp_path / "odd\nfile"
    make(path)
    line = refusal(capsys, str(path))
    assert line.startswith("langchain-tokenbuffer: ")
    assert f"odd file: {found}" in line or found in line.partition("odd file: ")[2]
    assert line.isprintable()
    assert len(line) < 900


@pytest.mark.parametrize("odd", [odd for odd, (_, found) in ODD.items() if "found " in found])
def test_a_refusal_says_what_is_read(odd: str, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "odd"
    ODD[odd][0](path)
    assert "; expected a list of messages, " in refusal(capsys, str(path))


def test_a_file_without_permission_is_refused(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "talk.json"
    path.write_text(TEXT)
    path.chmod(0)
    if os.access(path, os.R_OK):  # of root: refused by hand

        def refuse(_: object) -> bytes:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    assert refusal(capsys, str(path)).endswith("talk.json: Permission denied")


def test_a_database_that_somebody_writes_to_is_refused_after_a_while(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_tokenbuffer._replay.checkpoints.WAIT", 0.01)
    path = tmp_path / "talk.db"
    makes_tables("CREATE TABLE checkpoints (a)")(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert "the SQLite file is locked" in refusal(capsys, str(path))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense://", "nonsense"),
        ("://", "no URL"),
        ("sqlite://", "a database in memory"),
        ("sqlite:////nowhere/chat.db", "No such file"),
        ("postgresql+nodriver://ann:hunter2@localhost/chat", "nodriver"),
        ("postgresql+psycopg://ann:hunter2@/chat?host=/nowhere&connect_timeout=1&sslpassword=hunter2", "ann:***@"),
    ],
)
def test_a_database_that_cannot_be_read_is_refused_without_its_password(
    url: str, why: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_tokenbuffer._sql.database._TRIES", 1)
    line = refusal(capsys, url)
    assert why in line
    assert "hunter2" not in line


def test_a_file_has_no_sessions(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "talk.json"
    path.write_text(TEXT)
    assert "this is no database, which alone has sessions" in refusal(capsys, str(path), "--session", "ann")
