"""What a message's content costs, block by block.

| block | costs |
| --- | --- |
| text, `input_text`, `output_text`, `text-plain`, `refusal`, `reasoning`, `thinking` | its text |
| `image`, `image_url`, `input_image` | its provider's formula, see `_images` |
| `tool_use`, `tool_call`, `function_call` | nothing, where the message lists the same calls |
| `tool_result`, and what else holds a list of blocks as `content` | its blocks, and its JSON text |
| `audio`, `input_audio` | a token for each 200 bytes (1,600 of wav): 10 a second at 16 kbit/s |
| `video` | a token for each 400 bytes, 3,000 where only its address is known |
| `file`, `document`, `input_file` | a text's text; else 3,000 for each page or 100 kB begun |
| all others, such as server tools, custom tools, unknown ones | their JSON text without data |

Where a provider bills less the count is high, so that a budget holds.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._counting.images import image_tokens
from langchain_tokenbuffer._counting.tools import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_tokenbuffer._counting.images import Images

_TEXTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "text-plain": "text",
    "refusal": "refusal",
    "reasoning": "reasoning",
    "thinking": "thinking",
}
_IMAGES = frozenset({"image", "image_url", "input_image"})
_CALLS = frozenset({"tool_use", "tool_call", "function_call"})

_BYTES_OF_AUDIO, _BYTES_OF_WAV = 200, 1600
_BYTES_OF_VIDEO, _VIDEO = 400, 3000
_PAGE, _BYTES_OF_PAGE = 3000, 100_000
_DEEP = 32


def content_tokens(
    content: object, count: Callable[[str], int], images: Images, *, has_calls: bool
) -> int:
    """Return what a content that is no string costs; see the module for each block.

    Args:
        content: What the message holds.
        count: Counts a text.
        images: The provider's formula.
        has_calls: Whether the message lists its tool calls, so that blocks repeat them.
    """
    if not isinstance(content, (list, tuple)):
        return count(as_json(content)) if content else 0
    return sum(
        0
        if has_calls and isinstance(block, dict) and _kind(block) in _CALLS
        else _block(block, count, images, 0)
        for block in content
    )


def _kind(block: dict[str, Any]) -> str:
    kind = block.get("type")
    return kind if isinstance(kind, str) else ""


def _block(block: object, count: Callable[[str], int], images: Images, depth: int) -> int:
    if not isinstance(block, dict):
        return count(block if isinstance(block, str) else as_json(block))
    kind = _kind(block)
    text = block.get(_TEXTS.get(kind, ""))
    if isinstance(text, str):
        return count(text)
    if kind in _IMAGES:
        return image_tokens(block, images)
    if kind in _MEDIA:
        return _MEDIA[kind](block, count)
    inner = block.get("content")
    if not isinstance(inner, (list, str)) or depth >= _DEEP:
        return count(as_json(_without_data(block)))
    rest = {key: value for key, value in block.items() if key != "content"}
    parts = [inner] if isinstance(inner, str) else inner
    total = sum(_block(part, count, images, depth + 1) for part in parts)
    return total + count(as_json(_without_data(rest)))


def _audio(block: dict[str, Any], _: Callable[[str], int]) -> int:
    names = [value for value in _values(block) if isinstance(value, str) and len(value) < _SHORT]
    is_plain = any("wav" in name or "pcm" in name for name in names)
    per_token = _BYTES_OF_WAV if is_plain else _BYTES_OF_AUDIO
    return max(10, _size(block) // per_token)


def _video(block: dict[str, Any], _: Callable[[str], int]) -> int:
    size = _size(block)
    return max(1, size // _BYTES_OF_VIDEO) if size else _VIDEO


def _file(block: dict[str, Any], count: Callable[[str], int]) -> int:
    is_text = any(
        isinstance(value, str) and value.startswith(("text/", "data:text/", "application/json"))
        for value in _values(block)
    )
    for value in _values(block):
        if isinstance(value, bytes):
            data = value
        elif isinstance(value, str) and _ENCODED.match(value):
            data = _decoded(value)
        elif isinstance(value, str) and is_text and len(value) >= _SHORT:
            return count(value)  # a text given as it is
        else:
            continue
        if is_text:
            return count(data.decode(errors="replace"))
        pages = max(len(_PDF_PAGE.findall(data)), -(-len(data) // _BYTES_OF_PAGE), 1)
        return pages * _PAGE
    return count(as_json(block)) if is_text else _PAGE


_PDF_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_SHORT = 64


def _values(block: dict[str, Any], depth: int = 0) -> Iterator[Any]:
    """Yield the plain values of a block, those of its inner dicts included."""
    for value in block.values():
        if isinstance(value, dict) and depth < _DEEP:
            yield from _values(value, depth + 1)
        else:
            yield value


def _size(block: dict[str, Any]) -> int:
    """Return how many bytes of data a block carries."""
    sizes = (
        len(value) if isinstance(value, bytes) else len(value) * 3 // 4
        for value in _values(block)
        if isinstance(value, bytes) or (isinstance(value, str) and _ENCODED.match(value))
    )
    return max(sizes, default=0)


def _decoded(text: str) -> bytes:
    data = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(data + "=" * (-len(data) % 4), validate=False)
    except (binascii.Error, ValueError):
        return data.encode(errors="replace")


_ENCODED = re.compile(r"data:[^,]{0,200},|[A-Za-z0-9+/=_\r\n-]{768}")
"""The beginning of an encoded file: no provider bills its letters."""


def _without_data(value: Any, depth: int = 0) -> Any:
    if isinstance(value, dict) and depth < _DEEP:
        return {key: _without_data(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list) and depth < _DEEP:
        return [_without_data(item, depth + 1) for item in value]
    if isinstance(value, str) and _ENCODED.match(value):
        return ""
    return "" if isinstance(value, bytes) else value


_MEDIA = {
    "audio": _audio,
    "input_audio": _audio,
    "video": _video,
    "file": _file,
    "document": _file,
    "input_file": _file,
}
