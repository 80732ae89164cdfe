"""What LangChain's packages know of blocks, the table knows: their converters are read, and each type is counted."""

from __future__ import annotations

import ast
import base64
import gzip
import importlib.util
import json
import random
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer._messages.blocks import BLOCK_TYPES, OPAQUE, read_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
# Of what their code compares the type, where it is a block's: not an event's, an annotation's, a tool's or a source's.
BLOCK = re.compile(r"(?:\w+_)?(?:blocks?|block_dict|block_type|part|item|item_type|output|value)(?:\[\d\])?")
NO_BLOCK = re.compile(r"(?:array|object|null|any|auto)$|.*_delta$|.*_citation$")
WRAPPERS = frozenset({"non_standard"})


def _subject(node: ast.expr) -> str | None:
    """Return of what an expression is the type, or the name of a variable that holds one."""
    match node:
        case ast.Subscript(value=value, slice=ast.Constant(value="type")):
            return ast.unparse(value)
        case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[ast.Constant(value="type"), *_]):
            return ast.unparse(value)
        case ast.Attribute(value=value, attr="type"):
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
            others = [text for side in sides if _subject(side) is None for text in _texts(side, named)]
            yield from ((subject, text) for subject in filter(None, map(_subject, sides)) for text in others)
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


def members_of_bedrock() -> list[str]:
    """Return the keys of Converse's blocks, which have no type."""
    botocore = pytest.importorskip("botocore")
    (path,) = Path(botocore.__file__).parent.glob("data/bedrock-runtime/*/service-2.json.gz")
    shapes = json.loads(gzip.decompress(path.read_bytes()))["shapes"]
    return sorted({key for shape in ("ContentBlock", "ToolResultContentBlock") for key in shapes[shape]["members"]})


def members_of_gemini() -> list[str]:
    """Return the fields of Gemini's parts that hold something, not those that say something about it."""
    genai = importlib.util.find_spec("google.genai.types") if importlib.util.find_spec("google") else None
    if genai is None or genai.origin is None:
        pytest.skip("needs google-genai")
    source = Path(genai.origin).read_text(encoding="utf-8")
    part = source.partition("\nclass Part(")[2].partition("\nclass ")[0]
    fields = re.findall(r"^  (\w+): Optional\[(\w+)\]", part, re.MULTILINE)
    about = ("Metadata", "Resolution", "Processing", "Transcription", "bool", "bytes", "dict")
    return sorted(name for name, kind in fields if not kind.endswith(about))


@pytest.mark.parametrize("package", PACKAGES)
def test_the_table_knows_every_type_of_a_packages_converters(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    assert [kind for kind in types_known_to(package) if kind not in BLOCK_TYPES] == []


def test_the_converters_name_types() -> None:
    assert {"computer_call", "image_url", "server_tool_use", "tool_use"} <= {
        kind for package in ("langchain_core", "langchain_openai") for kind in types_known_to(package)
    }


@pytest.mark.parametrize("members", [members_of_bedrock, members_of_gemini])
def test_the_table_knows_every_part_without_a_type(members: Callable[[], list[str]]) -> None:
    assert [name for name in members() if read_block({name: {}}).row is OPAQUE] == []


COUNTER = TokenCounter("o200k_base")
WORDS = "word " * 200
FILE = random.Random(7).randbytes(60_000)
SEALED = base64.b64encode(FILE[:9000]).decode()
HELD: dict[str, tuple[bytes, str, int]] = {  # a file for each way to bill one, its media type, and the least it costs
    "image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 1024, 1024) + FILE, "image/png", 85 + 4 * 170),
    "audio": (b"ID3" + FILE, "audio/mp3", 40),  # 4 s at 128 kbit/s
    "video": (b"\0\0\0\x20ftyp" + FILE, "video/mp4", 250),
    "file": (b"%PDF-1.4 " + b"/Type /Page " * 3 + FILE, "application/pdf", 3 * 250),
}


def tokens_of(*blocks: dict[str, Any]) -> int:
    return COUNTER([AIMessage(list(blocks))]) - COUNTER([AIMessage([])])


@pytest.mark.parametrize("kind", [kind for kind, row in BLOCK_TYPES.items() if row.billing in HELD])
@pytest.mark.parametrize("is_encoded", [True, False], ids=["encoded", "bytes"])
def test_a_file_costs_its_pages_its_seconds_or_its_pixels(kind: str, *, is_encoded: bool) -> None:
    data, media_type, least = HELD[BLOCK_TYPES[kind].billing]
    source = {"media_type": media_type, "data": base64.b64encode(data).decode() if is_encoded else data}
    shapes = {"type": kind, "source": source}, {"type": kind, kind: source}, {"type": kind, **source}
    assert [shape for shape in shapes if tokens_of(shape) < least] == []


@pytest.mark.parametrize("kind", [kind for kind, row in BLOCK_TYPES.items() if row.billing in HELD])
def test_a_file_somewhere_else_costs_something(kind: str) -> None:
    assert tokens_of({"type": kind, "url": "https://example.com/a"}) >= 85


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, row in BLOCK_TYPES.items() for key in row.text_keys])
def test_a_text_costs_its_tokens(kind: str, key: str) -> None:
    shown = {"type": kind, key: [{"type": "text", "text": WORDS}]}
    assert (tokens_of({"type": kind, key: WORDS}) >= 200, tokens_of(shown) >= 200) == (True, True)


@pytest.mark.parametrize("kind", [kind for kind, row in BLOCK_TYPES.items() if row.billing in ("json", "listed")])
def test_arguments_and_outputs_cost_their_tokens(kind: str) -> None:
    assert tokens_of({"type": kind, "input": {"words": WORDS}}) >= 200


@pytest.mark.parametrize("kind", [kind for kind, row in BLOCK_TYPES.items() if row.role not in ("media", "text")])
def test_a_sealed_text_costs_by_its_length(kind: str) -> None:
    if BLOCK_TYPES[kind].billing == "image":
        pytest.skip("an image")
    block = {"type": kind, "encrypted_content": SEALED}
    assert 9000 // 8 < tokens_of(block) < 9000
