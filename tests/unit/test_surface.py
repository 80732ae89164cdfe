"""The public surface: its names, what importing them costs, and which way imports run."""

from __future__ import annotations

import ast
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import langchain_tokenbuffer

ROOT = Path(__file__).resolve().parents[2]
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
    "repair",
    "validate",
]
BELOW: dict[str, set[str]] = {
    "_handlers": set(),
    "errors": set(),
    "_messages.kinds": set(),
    "_messages.blocks": set(),
    "_messages.thinking": {"_messages.blocks", "_messages.kinds"},
    "_messages.convert": set(),
    "order": {"_messages.blocks", "_messages.kinds"},
    "vocabularies": {"errors"},
    "_window": {"_messages.kinds", "errors"},
    "_counting.count_cache": set(),
    "_counting.tokenizers": {"vocabularies"},
    "_counting.tools": set(),
    "_counting.images": {"_messages.blocks"},
    "_counting.content": {"_counting.images", "_counting.tools", "_messages.blocks"},
    "_counting.providers": {"_counting.images"},
    "_counting.message_counters": {
        "_counting.content",
        "_counting.count_cache",
        "_counting.providers",
        "_counting.tokenizers",
        "_counting.tools",
    },
    "_counting.resolve": {
        "_counting.message_counters",
        "_counting.count_cache",
        "_counting.providers",
        "_counting.tokenizers",
        "errors",
        "vocabularies",
    },
    "_counting.anchoring": set(),
    "counters": {
        "_counting.anchoring",
        "_counting.resolve",
        "_counting.message_counters",
        "_counting.tokenizers",
        "_messages.convert",
    },
    "_counting.clamp": {"_counting.tokenizers", "_messages.blocks"},
    "buffer": {
        "_counting.clamp",
        "_messages.convert",
        "_messages.kinds",
        "_window",
        "counters",
        "errors",
    },
    "_run_view": set(),
    "_thread_state": {"_counting.anchoring", "_messages.kinds"},
    "_request_view": {
        "_counting.anchoring",
        "_messages.kinds",
        "_thread_state",
        "_window",
        "buffer",
        "counters",
        "errors",
    },
    "_counting.overflow": {"_counting.providers"},
    "chat_history": {"_run_view", "_window", "buffer", "counters"},
    "memory": {"_handlers", "_window", "buffer", "counters", "errors"},
    "middleware": {
        "_counting.anchoring",
        "_handlers",
        "_messages.thinking",
        "_counting.overflow",
        "_request_view",
        "_thread_state",
        "_window",
        "buffer",
        "counters",
        "errors",
    },
    "_sql.schema": {"errors"},
    "_sql.engines": {"_sql.schema"},
    "_sql.rows": {"_window"},
    "_sql.window": {"_sql.rows", "_sql.schema", "_window", "buffer", "errors"},
    "_sql.session": {
        "_sql.engines",
        "_sql.rows",
        "_sql.schema",
        "_sql.window",
        "buffer",
        "errors",
        "order",
    },
    "_sql.importing": {"_sql.engines", "_sql.schema", "_sql.session", "_sql.window"},
    "sql": {
        "_handlers",
        "_run_view",
        "_sql.engines",
        "_sql.importing",
        "_sql.rows",
        "_sql.schema",
        "_sql.session",
        "_sql.window",
        "_window",
        "buffer",
        "counters",
    },
    "_replay.messages": set(),
    "_replay.transcripts": {"_replay.messages", "errors"},
    "_replay.files": {"_replay.transcripts", "errors"},
    "_replay.naming": {"_counting.resolve", "counters", "vocabularies"},
    "_replay.measuring": {
        "_replay.transcripts",
        "_request_view",
        "_window",
        "buffer",
        "counters",
        "errors",
    },
    "_replay.advice": {"_replay.measuring"},
    "_replay.report": {"_replay.advice", "_replay.measuring"},
    "_replay.scene": {"_replay.advice", "_replay.measuring", "_replay.report"},
    "_replay.table": {"_replay.advice", "_replay.measuring", "_replay.report"},
    "_replay.picture": {"_replay.report", "_replay.scene"},
    "_replay.page": {"_replay.measuring", "_replay.report", "_replay.scene"},
    "replay": {
        "_replay.advice",
        "_replay.files",
        "_replay.measuring",
        "_replay.naming",
        "_replay.page",
        "_replay.picture",
        "_replay.report",
        "_replay.table",
        "_replay.transcripts",
        "errors",
    },
    "__main__": {"replay"},
}
"""What each module may import of the package: imports run one way, and no adapter knows another."""
CORE = {"langchain_core", "typing_extensions"}
HOSTS: dict[str, set[str]] = {
    "_handlers": CORE,
    "errors": set(),
    "_messages.kinds": set(),
    "_messages.blocks": set(),
    "_messages.thinking": CORE,
    "_messages.convert": CORE,
    "order": CORE,  # only where it makes messages, not when it is imported
    "vocabularies": {"tiktoken"},
    "_window": set(),
    "_counting.count_cache": CORE,
    "_counting.tokenizers": CORE,
    "_counting.tools": CORE,
    "_counting.images": set(),
    "_counting.providers": {"tiktoken"},
    "_counting.content": set(),
    "_counting.message_counters": CORE,
    "_counting.resolve": CORE | {"tokenizers"},
    "_counting.anchoring": CORE,
    "counters": CORE,
    "_counting.clamp": CORE,
    "buffer": CORE,
    "_run_view": CORE | {"tenacity"},
    "_thread_state": CORE,
    "_request_view": CORE,
    "_counting.overflow": CORE,
    "chat_history": CORE,
    "memory": CORE | {"langchain_classic", "pydantic"},
    "middleware": CORE | {"langchain", "langgraph"},
    "_sql.schema": {"sqlalchemy"},
    "_sql.engines": {"sqlalchemy", "tenacity"},
    "_sql.rows": CORE,
    "_sql.window": CORE | {"sqlalchemy"},
    "_sql.session": CORE | {"sqlalchemy"},
    "_sql.importing": CORE | {"sqlalchemy"},
    "sql": CORE | {"sqlalchemy"},
    "_replay.messages": CORE,
    "_replay.transcripts": CORE,
    "_replay.files": {"langgraph"},
    "_replay.naming": set(),
    "_replay.measuring": set(),
    "_replay.advice": set(),
    "_replay.report": set(),
    "_replay.scene": set(),
    "_replay.table": {"rich"},
    "_replay.picture": {"matplotlib"},
    "_replay.page": set(),
    "replay": set(),
    "__main__": set(),
}
"""What each module may import from outside."""
FOLDERS = {
    f"langchain_tokenbuffer.{folder}".rstrip(".")
    for folder in ("", "_counting", "_messages", "_replay", "_sql")
}


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


@pytest.mark.parametrize(
    "module", ["_window", "order", "errors", "_messages.blocks", "_messages.thinking"]
)
def test_the_pure_modules_import_no_langchain(module: str) -> None:
    code = f"import sys, langchain_tokenbuffer.{module}; print('langchain_core' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "False\n"


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
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA.format(name=name, host=host)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert f'pip install "langchain-tokenbuffer[{extra}]"' in done.stdout


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
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.startswith("langchain_core")


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
        "import sys, langchain_tokenbuffer as package;"
        f"print(sorted(set('{heavy}'.split('|')) & set(sys.modules)), package.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.split(" ")[0].strip() == "[]"


def test_no_warning_comes_from_importing_every_name() -> None:
    code = "from langchain_tokenbuffer import *"
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:langchain_tokenbuffer", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stderr == ""


# --- which way imports run ----------------------------------------------------------------------


def imports_of(module: str) -> tuple[set[str], set[str]]:
    """Return the modules of the package, and the packages outside, that a module imports."""
    inside: set[str] = set()
    outside: set[str] = set()
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found = [node.module or ""]
            if found[0] in FOLDERS:
                found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in found:
            root, _, rest = name.partition(".")
            if root == "langchain_tokenbuffer":
                inside.add(rest)
            elif root not in sys.stdlib_module_names:
                outside.add(root)
    return inside, outside


MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__init__"
)


def test_every_module_has_its_place() -> None:
    assert sorted(BELOW) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_lies_below_it(module: str) -> None:
    assert imports_of(module)[0] <= BELOW[module]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_outside_only_its_own_hosts(module: str) -> None:
    assert imports_of(module)[1] <= HOSTS[module]


def test_imports_run_in_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(BELOW):
        ready = {module for module, below in BELOW.items() if below <= done} - done
        assert ready, f"a circle among {sorted(set(BELOW) - done)}"
        done |= ready
