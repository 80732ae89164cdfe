"""The public surface: its names, and what importing them brings."""

from __future__ import annotations

import pickle
import pydoc

import pytest

import langchain_tokenbuffer
from tests.builders import ROOT, run_script

PACKAGE = ROOT / "langchain_tokenbuffer"
SURFACE = [
    "ConversationTokenBufferMemory",
    "SQLTokenBufferHistory",
    "TokenBudgetError",
    "TokenBuffer",
    "TokenBufferChatMessageHistory",
    "TokenBufferError",
    "TokenBufferMiddleware",
    "TokenCounter",
    "Violation",
    "Window",
    "recall_tool",
    "repair",
    "validate",
]


def test_all_is_the_surface() -> None:
    assert sorted(langchain_tokenbuffer.__all__) == SURFACE


@pytest.mark.parametrize("name", SURFACE)
def test_a_public_name_resolves(name: str) -> None:
    assert getattr(langchain_tokenbuffer, name).__name__ == name


@pytest.mark.parametrize("name", SURFACE)
def test_a_public_name_has_a_docstring(name: str) -> None:
    assert getattr(langchain_tokenbuffer, name).__doc__


@pytest.mark.parametrize("name", SURFACE)
def test_a_public_name_is_in_the_changelog(name: str) -> None:
    assert name in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SURFACE)
def test_a_public_class_pickles_by_reference(name: str) -> None:
    value = getattr(langchain_tokenbuffer, name)
    assert pickle.loads(pickle.dumps(value)) is value


WITHOUT_EXTRA = """
import pickle, pydoc, sys
sys.modules["{host}"] = None  # as if it were not installed
import langchain_tokenbuffer
from langchain_tokenbuffer import *
assert hasattr(langchain_tokenbuffer, "{name}")
assert pickle.loads(pickle.dumps({name})) is {name}
assert "{name}" in pydoc.render_doc(langchain_tokenbuffer)
try:
    {name}()
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("name", "host", "extra"),
    [
        ("TokenBufferMiddleware", "langchain", "agents"),
        ("SQLTokenBufferHistory", "sqlalchemy", "sql"),
    ],
)
def test_without_its_extra_a_name_says_what_to_install(name: str, host: str, extra: str) -> None:
    printed = run_script(WITHOUT_EXTRA.format(name=name, host=host))
    assert f'pip install "langchain-tokenbuffer[{extra}]"' in printed
    assert "Traceback" not in printed


def test_a_name_without_an_extra_hides_no_import_error() -> None:
    code = """
import sys
sys.modules["langchain_core"] = None
import langchain_tokenbuffer
try:
    langchain_tokenbuffer.TokenBuffer
except ImportError as error:
    print(error.name)
"""
    assert run_script(code).startswith("langchain_core")


def test_dir_lists_the_surface() -> None:
    assert set(SURFACE) <= set(dir(langchain_tokenbuffer))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Tokenbuffer'"):
        _ = langchain_tokenbuffer.Tokenbuffer


def test_import_star_brings_the_surface() -> None:
    names: dict[str, object] = {}
    exec("from langchain_tokenbuffer import *", names)
    assert set(SURFACE) <= names.keys()


def test_pydoc_renders_the_package() -> None:
    assert "token budget" in pydoc.render_doc(langchain_tokenbuffer)


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_importing_the_package_imports_no_heavy_module() -> None:
    heavy = "langchain|langchain_core|langchain_classic|langchain_openai|tiktoken|sqlalchemy"
    code = (
        "import sys, warnings; warnings.simplefilter('error'); import langchain_tokenbuffer;"
        f"print(sorted(set('{heavy}'.split('|')) & set(sys.modules)))"
    )
    assert run_script(code) == "[]\n"


def test_no_warning_comes_from_importing_every_name() -> None:
    code = """
import warnings
warnings.filterwarnings("error", category=DeprecationWarning, module="langchain_tokenbuffer")
from langchain_tokenbuffer import *
"""
    assert run_script(code) == ""
