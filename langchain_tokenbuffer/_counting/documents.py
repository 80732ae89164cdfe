"""What documents bring to a message beside their text: what is said of each, and how to cite them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_tokenbuffer._counting.families import ChatFormat

_CITED = ("document", "search_result")
_MAX_DEPTH = 4


def document_tokens(content: object, chat_format: ChatFormat, depth: int = 0) -> int:
    """Return what the documents of a content bring, those in results included."""
    if not isinstance(content, (list, tuple)) or depth > _MAX_DEPTH:
        return 0
    blocks = [block for block in content if isinstance(block, dict)]
    inner: int = sum(document_tokens(block.get("content"), chat_format, depth + 1) for block in blocks)
    documents = sum(1 for block in blocks if block.get("type") == "document")
    return inner + documents * chat_format.document + (chat_format.cited if any(map(_is_cited, blocks)) else 0)


def _is_cited(block: dict[str, Any]) -> bool:
    asked = block.get("citations") if block.get("type") in _CITED else None
    return isinstance(asked, dict) and bool(asked.get("enabled"))
