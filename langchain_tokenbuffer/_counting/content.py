"""The tokens of a message's content, block by block.

How each type of block is billed says the table in `_messages.blocks`:

| billing | tokens |
| --- | --- |
| text | its texts |
| image | its provider's formula, see `images` |
| audio | one for each 200 bytes (1,600 of wav): 10 a second at 16 kbit/s |
| video | one for each 400 bytes, 3,000 where only its address is known |
| pages | a text's text; else its provider's tokens for each page or 100 kB begun |
| listed | nothing, where the message lists the same calls; else as JSON |
| json | its JSON text without data, texts and inner blocks counted as such |

Where a provider bills less the count is high, so that a budget holds.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._counting.images import image_tokens
from langchain_tokenbuffer._counting.tools import as_json
from langchain_tokenbuffer._messages.blocks import OPAQUE, block_type
from langchain_tokenbuffer._messages.data import is_data
from langchain_tokenbuffer._messages.texts import texts_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_tokenbuffer._counting.images import Media
    from langchain_tokenbuffer._messages.blocks import Billing, BlockType

_BYTES_OF_AUDIO, _BYTES_OF_WAV = 200, 1600
_BYTES_OF_VIDEO, _VIDEO = 400, 3000
_BYTES_OF_PAGE = 100_000
_MAX_DEPTH = 32


def content_tokens(content: object, count: Callable[[str], int], media: Media, *, has_calls: bool) -> int:
    """Return what a content that is no string costs; where calls are listed, blocks repeat them."""
    if not isinstance(content, (list, tuple)):
        return count(as_json(content)) if content else 0
    return sum(
        0 if has_calls and block_type(block).billing == "listed" else _block_tokens(block, count, media, 0)
        for block in content
    )


def _block_tokens(block: object, count: Callable[[str], int], media: Media, depth: int) -> int:
    if not isinstance(block, dict):
        return count(block if isinstance(block, str) else as_json(block))
    row = block_type(block)
    if row.billing == "text":
        texts = [text for key in row.text_keys if isinstance(text := block.get(key), str)]
        return sum(map(count, texts)) if texts else _json_tokens(block, OPAQUE, count, media, depth)
    if row.billing == "image":
        return image_tokens(block, media.images)
    if row.billing == "pages":
        return _page_tokens(block, count, media.page)
    if row.billing in ("audio", "video"):
        return _streamed_tokens(block, row.billing)
    return _json_tokens(block, row, count, media, depth)


def _json_tokens(block: dict[str, Any], row: BlockType, count: Callable[[str], int], media: Media, depth: int) -> int:
    total, rest = 0, dict(block)
    for key in row.text_keys if depth < _MAX_DEPTH else ():
        value = block.get(key)
        if isinstance(value, (list, str)):
            del rest[key]
            parts = [value] if isinstance(value, str) else value
            total += sum(_block_tokens(part, count, media, depth + 1) for part in parts)
    return total + count(as_json(_without_data(rest)))


def _streamed_tokens(block: dict[str, Any], billing: Billing) -> int:
    size = _size(block)
    if billing == "video":
        return max(1, size // _BYTES_OF_VIDEO) if size else _VIDEO
    names = [value for value in _values(block) if isinstance(value, str) and len(value) < _SHORT]
    is_plain = any("wav" in name or "pcm" in name for name in names)
    return max(10, size // (_BYTES_OF_WAV if is_plain else _BYTES_OF_AUDIO))


def _page_tokens(block: dict[str, Any], count: Callable[[str], int], page: int) -> int:
    texts = texts_in(block)
    tokens = sum(map(count, texts.values()))
    is_text = any("context" not in path for path in texts)  # that is said of a file, not in it
    return tokens if is_text else tokens + _file_tokens(block, count, page)


def _file_tokens(block: dict[str, Any], count: Callable[[str], int], page: int) -> int:
    values = list(_values(block))
    if not any(isinstance(value, str) and value.startswith(_TEXT_TYPES) for value in values):
        data = next((data for value in values if (data := _data_in(value)) is not None), b"")
        return page * max(len(_PDF_PAGE.findall(data)), -(-len(data) // _BYTES_OF_PAGE), 1)
    for value in values:
        if (encoded := _data_in(value)) is not None:
            return count(encoded.decode(errors="replace"))
        if isinstance(value, str) and len(value) >= _SHORT:
            return count(value)  # a text given as it is
    return count(as_json(block))


_TEXT_TYPES = ("text/", "data:text/", "application/json")
_PDF_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_SHORT = 64


def _values(block: dict[str, Any], depth: int = 0) -> Iterator[Any]:
    """Yield the plain values of a block, those of its inner dicts included."""
    for value in block.values():
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            yield from _values(value, depth + 1)
        else:
            yield value


def _size(block: dict[str, Any]) -> int:
    """Return how many bytes of data a block carries."""
    data = filter(is_data, _values(block))
    return max((len(each) if isinstance(each, bytes) else len(each) * 3 // 4 for each in data), default=0)


def _data_in(value: object) -> bytes | None:
    """Return the data that a value is or encodes; `None` where it is neither."""
    if not is_data(value):
        return None
    if isinstance(value, bytes):
        return value
    data = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(data + "=" * (-len(data) % 4), validate=False)
    except (binascii.Error, ValueError):
        return data.encode(errors="replace")


def _without_data(value: Any, depth: int = 0) -> Any:
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        return {key: _without_data(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list) and depth < _MAX_DEPTH:
        return [_without_data(item, depth + 1) for item in value]
    return "" if is_data(value) else value
