"""The tokens of images, audio, video and files, by their bytes: nothing is decoded and no address is fetched.

| kind | tokens |
| --- | --- |
| image | its provider's formula, see `images` |
| audio | 32 a second where a wav says how long it is; else one for each 200 bytes (1,000 of pcm) |
| video | one for each 400 bytes |
| text | its text |
| pages | its provider's tokens for each page or 100 kB begun |

What is given by its address alone counts as a minute of audio, as 3,000 for a video, as one page, or as the most that
an image may cost. Gemini's 32 tokens a second are the most that is published for audio ("Understand and count tokens");
200 bytes a token are 10 a second at 16 kbit/s, and 80 at 128.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from langchain_tokenbuffer._counting.images import image_tokens
from langchain_tokenbuffer._messages.data import is_data
from langchain_tokenbuffer._messages.texts import texts_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_tokenbuffer._counting.images import Media
    from langchain_tokenbuffer._messages.blocks import Block

Kind: TypeAlias = Literal["image", "audio", "video", "text", "pages"]

_SECOND, _BYTES_OF_AUDIO, _BYTES_OF_PCM, _AUDIO = 32, 200, 1000, 60 * 32
_BYTES_OF_VIDEO, _VIDEO_SECOND, _VIDEO = 400, 300, 3000
_BYTES_OF_PAGE = 100_000
_MAX_DEPTH = 32
_SHORT = 64


def media_tokens(block: dict[str, Any], read: Block, count: Callable[[str], int], media: Media) -> int | None:
    """Return what a block of media costs, whoever's shape it has; `None` where it holds no file and names none."""
    texts = texts_in(block)
    tokens = sum(map(count, texts.values()))
    if any("context" not in path for path in texts):  # that is said of a file, not in it
        return tokens
    if isinstance(said := read.body.get("transcript"), str):
        tokens += count(said)
    file = _file_in(read.body)
    billing = read.row.billing
    kind = file.kind if billing == "file" else _KINDS[billing]
    if billing == "file" and not (file.data or file.is_elsewhere):
        return None
    return tokens + _tokens_of(file, kind, count, media)


def data_tokens(data: str | bytes, count: Callable[[str], int], media: Media) -> int:
    """Return what the bytes of a file cost that stands where no row expects one."""
    file = _file_in({"data": data})
    if file.kind == "pages" and not _decoded(data, _HEAD).startswith(b"%PDF"):
        return -(-_length(data) * media.page // _BYTES_OF_PAGE)
    return _tokens_of(file, file.kind, count, media)


class _File(NamedTuple):
    """What a block says of its file."""

    values: list[Any]
    data: str | bytes | None
    is_elsewhere: bool
    hint: str  # its media type or format
    detail: object

    @property
    def kind(self) -> Kind:
        if self.hint:
            return next((kind for pattern, kind in _HINTS if re.match(pattern, self.hint, re.IGNORECASE)), "pages")
        head = b"" if self.data is None else _decoded(self.data, _HEAD)
        kind = next((kind for pattern, kind in _MAGIC if re.match(pattern, head, re.DOTALL)), None)
        if kind is None:
            return "text" if head and _TEXT.fullmatch(head) else "pages"
        return kind


_KINDS: dict[str, Kind] = {"image": "image", "audio": "audio", "video": "video"}
_HINTS: tuple[tuple[str, Kind], ...] = (
    (r"image/", "image"),
    (r"audio/|wav|mp3|pcm|flac|ogg|opus", "audio"),
    (r"video/|mp4|mov|mkv|webm", "video"),
    (r"text/|application/(?:json|xml)|(?:txt|md|csv|html)$", "text"),
)
_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (rb"\x89PNG|GIF8|\xff\xd8\xff|RIFF....WEBP", "image"),
    (rb"RIFF....WAVE|ID3|OggS|fLaC|\xff[\xf2\xf3\xfa\xfb]", "audio"),
    (rb"....ftyp|\x1aE\xdf\xa3", "video"),
    (rb"%PDF|PK\x03\x04", "pages"),
)
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]*")
_HEAD = 48
_HINT_KEYS = frozenset({"mime_type", "mimeType", "media_type", "mediaType", "format"})
_DATA_KEYS = frozenset({"base64", "bytes", "data", "file_data", "input_audio"})
_ELSEWHERE = re.compile(r"(?:.*_)?(?:url|uri|id)|.*(?:Uri|Id|Location)")


def _file_in(body: Any) -> _File:
    leaves = list(_leaves(body))
    data = max((value for key, value in leaves if _is_file(key, value)), key=_length, default=None)
    hint = next((value for key, value in leaves if key in _HINT_KEYS and isinstance(value, str)), "")
    is_elsewhere = any(value and _ELSEWHERE.fullmatch(key) for key, value in leaves)
    detail = dict(leaves).get("detail")
    return _File([value for _, value in leaves], data, is_elsewhere, hint or _media_type(data), detail)


def _media_type(data: str | bytes | None) -> str:
    """Return the media type of an address that holds its data."""
    match = re.match("data:([^;,]*)", data) if isinstance(data, str) else None
    return match[1] if match else ""


def _is_file(key: str, value: object) -> bool:
    return is_data(value) or (key in _DATA_KEYS and isinstance(value, str) and bool(value))


def _leaves(value: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the plain values in a block, each with its key."""
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        for name, item in value.items():
            yield from _leaves(item, str(name), depth + 1)
    elif isinstance(value, (list, tuple)) and depth < _MAX_DEPTH:
        for item in value:
            yield from _leaves(item, key, depth + 1)
    else:
        yield key, value


def _tokens_of(file: _File, kind: Kind, count: Callable[[str], int], media: Media) -> int:
    data = file.data
    if kind == "image":
        return image_tokens(
            {"type": "image", "source": dict(enumerate(file.values)), "detail": file.detail}, media.images
        )
    if kind == "audio":
        return _AUDIO if data is None else max(_SECOND, _audio_tokens(data, file.hint))
    if kind == "video":
        return _VIDEO if data is None else max(_VIDEO_SECOND, _length(data) // _BYTES_OF_VIDEO)
    if data is None:
        return media.page
    if kind == "text":
        return count(_decoded(data).decode(errors="replace") if is_data(data) else str(data))
    decoded = _decoded(data)
    return media.page * max(len(_PDF_PAGE.findall(decoded)), -(-len(decoded) // _BYTES_OF_PAGE), 1)


_RATES_OF_WAV = range(1_000, 2_000_000)  # in bytes a second: beyond it a header says nothing
_PDF_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")


def _audio_tokens(data: str | bytes, hint: str) -> int:
    head, size = _decoded(data, _HEAD), _length(data)
    if head.startswith(b"RIFF") and len(head) >= _HEAD:
        bytes_a_second: int = struct.unpack("<I", head[28:32])[0]
        if bytes_a_second in _RATES_OF_WAV:
            return -(-size * _SECOND // bytes_a_second)
    return size // (_BYTES_OF_PCM if re.search("wav|pcm", hint) else _BYTES_OF_AUDIO)


def _length(data: str | bytes) -> int:
    """Return how many bytes data has, encoded or not."""
    return len(data) if isinstance(data, bytes) else len(data) * 3 // 4


def _decoded(data: str | bytes, length: int | None = None) -> bytes:
    """Return data, or its first bytes: what is not encoded as it is."""
    if isinstance(data, bytes):
        return data[:length]
    start = data.find(",", 0, 256) + 1 if data.startswith("data:") else 0
    text = data[start:] if length is None else data[start : start + length // 3 * 4]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=False)
    except (binascii.Error, ValueError):
        return text.encode(errors="replace")
