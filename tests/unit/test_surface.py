"""The public surface: its names, and what importing them brings."""

from __future__ import annotations

import inspect
import pickle
import pydoc
from typing import TYPE_CHECKING

import pytest
from langchain_core.chat_history import InMemoryChatMessageHistory

import langchain_tokenbuffer
from langchain_tokenbuffer import (
    ConversationTokenBufferMemory,
    SQLTokenBufferHistory,
    TokenBudgetError,
    TokenBuffer,
    TokenBufferChatMessageHistory,
    TokenBufferMiddleware,
    TokenCounter,
)
from tests.builders import ROOT, run_script

if TYPE_CHECKING:
    from collections.abc import Callable

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


def test_dir_lists_the_surface_and_nothing_else() -> None:
    assert [name for name in dir(langchain_tokenbuffer) if not name.startswith("__")] == SURFACE


MEMBERS = {
    "ConversationTokenBufferMemory": "buffer buffer_as_messages buffer_as_str",
    "SQLTokenBufferHistory": (
        "aall_messages aclose acreate_tables adelete_before adelete_session aevicted aget_metadata aiter_messages"
        " all_messages arecall asessions aset_metadata buffer close create_tables delete_before delete_session evicted"
        " get_metadata import_message_store import_messages imported iter_messages messages recall sessions"
        " set_metadata"
    ),
    "TokenBudgetError": "is_retryable",
    "TokenBuffer": "atrim awindow trim window",
    "TokenBufferChatMessageHistory": "arecall messages recall",
    "TokenBufferError": "",
    "TokenBufferMiddleware": "",
    "TokenCounter": "count describe",
    "Violation": "code detail index",
    "Window": "clamped cleared cut dropped kept mended recalled thinned tokens",
}
"""What `dir()` shows of a public class beyond what its bases from elsewhere have."""


def members_of(name: str) -> list[str]:
    """Return the public names that a class has of us."""
    public = getattr(langchain_tokenbuffer, name)
    theirs = {
        each for base in public.__mro__ if not base.__module__.startswith("langchain_tokenbuffer") for each in dir(base)
    }
    return sorted(each for each in set(dir(public)) - theirs if not each.startswith("_"))


@pytest.mark.parametrize("name", MEMBERS)
def test_dir_of_a_class_shows_what_is_listed(name: str) -> None:
    assert members_of(name) == MEMBERS[name].split()


@pytest.mark.parametrize("name", [name for name in MEMBERS if name not in ("Violation", "Window")])  # fields
def test_a_member_has_a_docstring(name: str) -> None:
    public = getattr(langchain_tokenbuffer, name)
    members = {each: inspect.getattr_static(public, each) for each in members_of(name)}
    assert [each for each, member in members.items() if not (member.__doc__ or isinstance(member, bool))] == []


class History(InMemoryChatMessageHistory):
    """A subclass, since the class itself warns when made."""


INSTANCES: dict[str, Callable[[], object]] = {
    "ConversationTokenBufferMemory": lambda: ConversationTokenBufferMemory(llm=len),
    "SQLTokenBufferHistory": lambda: SQLTokenBufferHistory("a", "sqlite://", max_tokens=9, token_counter=len),
    "TokenBudgetError": lambda: TokenBudgetError("too small", tokens=2, max_tokens=1),
    "TokenBuffer": lambda: TokenBuffer(9, token_counter=len),
    "TokenBufferChatMessageHistory": lambda: TokenBufferChatMessageHistory(History(), max_tokens=9, token_counter=len),
    "TokenBufferMiddleware": lambda: TokenBufferMiddleware(9, token_counter=len),
    "TokenCounter": lambda: TokenCounter("o200k_base"),
}
BESIDE_ARGUMENTS = {"TokenBufferChatMessageHistory": {"buffer"}}
"""What instances show that neither their class shows nor an argument names."""


@pytest.mark.parametrize("name", INSTANCES)
def test_dir_of_an_instance_shows_its_arguments_beside_its_class(name: str) -> None:
    if name == "TokenBufferMiddleware":
        pytest.importorskip("langchain")
    instance, public = INSTANCES[name](), getattr(langchain_tokenbuffer, name)
    own = {each for each in set(dir(instance)) - set(dir(public)) if not each.startswith("_")}
    arguments = set(inspect.signature(public).parameters)
    assert own - arguments == BESIDE_ARGUMENTS.get(name, set())


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Tokenbuffer'"):
        _ = langchain_tokenbuffer.Tokenbuffer


def test_import_star_brings_the_surface() -> None:
    names: dict[str, object] = {}
    exec("from langchain_tokenbuffer import *", names)
    assert set(SURFACE) <= names.keys()


def test_pydoc_renders_the_package() -> None:
    assert "token budget" in pydoc.render_doc(langchain_tokenbuffer)


@pytest.mark.parametrize("name", [name for name in SURFACE if name != "TokenBufferError"])  # it is as `Exception` is
def test_a_signature_names_its_arguments(name: str) -> None:
    if name == "TokenBufferMiddleware":
        pytest.importorskip("langchain")
    kinds = {each.kind for each in inspect.signature(getattr(langchain_tokenbuffer, name)).parameters.values()}
    assert kinds - {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


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
