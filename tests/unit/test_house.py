"""How large a function and a module may be, as `CONTRIBUTING.md` says."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tests.builders import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES, BRANCHES, MODULE_LINES = 40, 10, 500
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DECISIONS = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.comprehension,
    ast.match_case,
)

SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "langchain_tokenbuffer").rglob("*.py"))
}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, source in SOURCES.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, FUNCTIONS):
                yield f"{name}:{node.lineno} {node.name}", node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of its body, without its docstring."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what belongs to a function, and not to one inside it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            yield from own_nodes(child)


def branches_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return one, and one more for each decision in it."""
    nodes = list(own_nodes(function))
    more = sum(len(node.values) - 1 for node in nodes if isinstance(node, ast.BoolOp))
    return 1 + more + sum(isinstance(node, DECISIONS) for node in nodes)


def test_a_function_has_at_most_40_lines() -> None:
    assert [where for where, function in functions() if lines_of(function) > LINES] == []


def test_a_function_has_at_most_10_branches() -> None:
    assert [where for where, function in functions() if branches_of(function) > BRANCHES] == []


def test_a_module_has_at_most_500_lines() -> None:
    lines = {name: source.count("\n") for name, source in SOURCES.items()}
    assert [name for name, count in lines.items() if count > MODULE_LINES] == []
