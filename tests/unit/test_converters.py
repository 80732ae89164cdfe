"""What LangChain's packages know of blocks, the table knows: their converters are read, and each type is counted."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer._messages.blocks import BLOCK_TYPES, read_block

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES: dict[str, tuple[str, ...]] = {
    "langchain_core": ("messages/block_translators/*.py", "language_models/_utils.py", "messages/utils.py"),
    "langchain_openai": ("chat_models/*.py",),
    "langchain_anthropic": ("*.py",),
    "langchain_google_genai": ("chat_models.py", "_compat.py"),
    "langchain_aws": ("chat_models/bedrock*.py", "chat_models/_*.py", "chat_models/anthropic.py"),
    "langchain_mistralai": ("*.py",),
    "langchain_ollama": ("*.py",),
    "langchain_cohere": ("chat_models.py",),
    "langchain_deepseek": ("*.py",),
    "langchain_groq": ("*.py",),
    "langchain_xai": ("*.py",),
}
# What their code compares the type of, where that is a block's: not an event's, an annotation's, a tool's or a source's.
BLOCK = re.compile(r"(?:\w+_)?(?:block|blocks|block_dict|block_type|part|parts|item|item_type|output|val|value)(?:\[\d\])?")
NO_BLOCK = re.compile(r"(?:array|object|null|any|auto)$|.*_delta$|.*_citation$")
WRAPPERS = frozenset({"non_standard"})


def _subject(node: ast.expr) -> str | None:
    """Return of what an expression is the type, or the name of a variable that holds one."""
    match node:
        case ast.Subscript(value=value, slice=ast.Constant(value="type")):
            return ast.unparse(value)
        case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[ast.Constant(value="type"), *_]):
            return ast.unparse(value)
        case ast.NamedExpr(value=value):
            return _subject(value)
        case ast.Name(id=name) if name.endswith("type"):
            return name
    return None


def _texts(node: ast.AST, named: dict[str, list[str]]) -> list[str]:
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Name(id=name):
            return named.get(name, [])
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts) | ast.Call(args=parts):
            return [text for part in parts for text in _texts(part, named)]
    return []


def _compared(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield what is compared with a type, and the type: also sets, names of sets, and match cases."""
    named = {
        target.id: _texts(node.value, {})
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for subject in filter(None, map(_subject, sides)):
                yield from ((subject, text) for side in sides for text in _texts(side, named))
        elif isinstance(node, ast.Match) and (subject := _subject(node.subject)):
            values = (each.value for case in node.cases for each in ast.walk(case) if isinstance(each, ast.MatchValue))
            yield from ((subject, text) for value in values for text in _texts(value, named))


def types_known_to(package: str) -> list[str]:
    """Return the types of blocks that the converters of a package name; none where it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return []
    files = (path for pattern in PACKAGES[package] for path in Path(spec.origin).parent.glob(pattern))
    found = (pair for path in files for pair in _compared(ast.parse(path.read_text(encoding="utf-8"))))
    types = {text for subject, text in found if BLOCK.fullmatch(subject) and not NO_BLOCK.fullmatch(text)}
    return sorted(text for text in types - WRAPPERS if re.fullmatch(r"[a-z][a-z0-9_.-]*", text))
