"""Which way imports run, and who may import what from outside: each rule once."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter

import pytest

from tests.builders import ROOT, run_script

PACKAGE = ROOT / "langchain_tokenbuffer"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "_gates", "_handlers", "_run_view", "_messages"),
    ("vocabularies",),
    ("_counting",),
    ("counters",),
    ("_window",),
    ("_recall",),
    ("order", "buffer"),
    ("memory", "chat_history", "middleware", "recall", "sql"),
    ("replay",),
    ("__main__",),
)
"""From what is imported to what imports it. A module sees its own folder and the layers above it
here: so no surface imports another, and none is imported by the core. `docs/design.md` draws the
same (`test_docs.py`)."""

FOLDER_OF = {"_agents": "middleware", "_memory": "memory", "_replay": "replay", "_sql": "sql"}
"""What belongs to one surface, which counts as a part of it."""

ONLY_FOR: dict[str, set[str]] = {
    "_gates": {"chat_history", "_sql"},
    "_run_view": {"chat_history", "sql"},
    "replay": {"__main__"},
}
"""What is there for a few alone."""

HOSTS: dict[str, set[str]] = {
    "ctok": {"_counting.extras"},
    "mistral_common": {"_counting.extras"},
    "splintr": {"_counting.extras"},
    "langchain": {"middleware", "_agents"},
    "langchain_classic": {"memory"},
    "langgraph": {"middleware", "_agents", "recall", "_replay.checkpoints"},
    "matplotlib": {"_replay.picture"},
    "pydantic": {"memory", "recall"},
    "rich": {"_replay.table", "_replay.progress"},
    "snowballstemmer": {"_recall.terms"},
    "sqlalchemy": {"sql", "_sql", "_replay.sessions"},
    "tenacity": {"_sql"},
    "tiktoken": {"vocabularies", "_counting"},
    "tokenizers": {"_counting"},
}
"""What is imported from outside, and where alone. `langchain_core` and `typing_extensions`, which
it brings, may be imported by all but these:"""
WITHOUT_LANGCHAIN = {"errors", "vocabularies", "__main__"}
IMPORTED_WITHOUT_LANGCHAIN = ["errors", "order", "_window"]
"""What does not import it when it is imported, but where it makes messages."""


def name_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {
    name_of(path.relative_to(PACKAGE).as_posix()): ast.parse(path.read_text(encoding="utf-8"))
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"  # it imports a name when somebody asks for it
}


def imported_by(tree: ast.Module) -> set[str]:
    """Return what a module imports, wherever in it: modules of ours without the package's name."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                is_module = name.removeprefix(f"{PACKAGE.name}.") in MODULES
                found.add(name if is_module else str(node.module))
    return {each.removeprefix(f"{PACKAGE.name}.") for each in found}


IMPORTS = {module: imported_by(tree) for module, tree in MODULES.items()}
OURS = {module: names & MODULES.keys() for module, names in IMPORTS.items()}
OUTSIDE = {
    module: {name.partition(".")[0] for name in names - MODULES.keys()} - sys.stdlib_module_names
    for module, names in IMPORTS.items()
}


def room_of(module: str) -> str:
    """Return the part of the map that a module belongs to."""
    top = module.partition(".")[0]
    return FOLDER_OF.get(top, top)


def layer_of(module: str) -> int:
    room = room_of(module)
    return next(i for i, rooms in enumerate(LAYERS) if room in rooms)


def is_in(module: str, places: set[str]) -> bool:
    return any(f"{module}.".startswith(f"{place}.") for place in places)


def test_every_module_has_its_place() -> None:
    places = {room for rooms in LAYERS for room in rooms}
    assert {room_of(module) for module in MODULES} - places == set()


def test_a_module_imports_only_from_its_own_folder_and_the_layers_before() -> None:
    assert [
        f"{module} imports {other}"
        for module, others in OURS.items()
        for other in others
        if room_of(module) != room_of(other) and layer_of(module) <= layer_of(other)
    ] == []


def test_what_is_there_for_a_few_is_imported_by_them_alone() -> None:
    assert [
        f"{module} imports {other}"
        for module, others in OURS.items()
        for other in others & ONLY_FOR.keys()
        if not is_in(module, ONLY_FOR[other])
    ] == []


def test_files_import_each_other_in_no_circle() -> None:
    TopologicalSorter(OURS).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", ["tests/oracle.py", "tests/reference.py"])
def test_what_the_package_is_judged_by_imports_nothing_of_it(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    roots = {each.partition(".")[0] for each in imported_by(tree)}
    assert roots - sys.stdlib_module_names <= {"langchain_core"}


def test_a_module_imports_from_outside_only_its_own_host() -> None:
    core = {"langchain_core", "typing_extensions"}
    assert [
        f"{module} imports {host}"
        for module, hosts in OUTSIDE.items()
        for host in hosts
        if (is_in(module, WITHOUT_LANGCHAIN) if host in core else not is_in(module, HOSTS.get(host, set())))
    ] == []


@pytest.mark.parametrize("module", IMPORTED_WITHOUT_LANGCHAIN)
def test_importing_the_decision_and_the_order_imports_no_langchain(module: str) -> None:
    code = f"import sys, langchain_tokenbuffer.{module}; print('langchain_core' in sys.modules)"
    assert run_script(code) == "False\n"
