"""What an image costs, by its provider's published formula, from its header alone.

Nothing is decoded and no address is fetched: PNG, JPEG, GIF and WebP say their size in their first bytes. Where the
size cannot be known an image costs the most the formula allows.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_tokenbuffer._messages.blocks import block_type

Size: TypeAlias = "tuple[int, int] | None"
Images: TypeAlias = "Tiles | Patches | Grid | Squares | Crops | Rows | Each"
"""A provider's formula, for an image of a size in pixels; `None` is an unknown size."""


@dataclass(frozen=True)
class Tiles:
    """OpenAI, "Images and vision": a base, and tokens for each tile of 512 px at high detail.

    The image is scaled to fit 2048 px, then to 768 px on its short side: 8 tiles at the most.
    """

    base: int
    tile: int

    def tokens(self, size: Size, detail: object) -> int:
        if detail == "low":
            return self.base
        if size is None:
            return self.base + 8 * self.tile
        width, height = _within(*size, 2048)
        scale = min(1.0, 768 / min(width, height))
        across, down = math.ceil(width * scale / 512), math.ceil(height * scale / 512)
        return self.base + self.tile * min(8, max(1, across) * max(1, down))


@dataclass(frozen=True)
class Patches:
    """OpenAI, "Images and vision": patches of 32 px, at most a limit, times the model's factor.

    The limit depends on the detail; an image whose size cannot be known, at an address for one, counts as at high
    detail. What is published of low detail, 512 px, users have not found in their bills (OpenAI's forum, March 2026):
    it counts as high.
    """

    factor: float
    limit: int = 1536  # where no other detail is asked for
    high: int | None = None  # where that is another: at high and low detail,
    original: int | None = None  # ... and at original

    def tokens(self, size: Size, detail: object) -> int:
        high, original = self.high or self.limit, self.original or self.limit
        if size is None:
            return math.ceil(high * self.factor)
        limit = {"high": high, "low": high, "original": original}.get(str(detail), self.limit)
        across, down = size[0] / 32, size[1] / 32
        patches = math.ceil(across) * math.ceil(down)
        if patches > limit:  # the image is scaled down until they are few enough
            scale = math.sqrt(limit / (across * down))
            across, down = across * scale, down * scale
            # Then to whole patches along one side, as published; a very thin image keeps one.
            whole = min(max(1, int(across)) / across, max(1, int(down)) / down)
            patches = math.ceil(across * whole - 1e-9) * math.ceil(down * whole - 1e-9)
        return math.ceil(min(limit, patches) * self.factor)


@dataclass(frozen=True)
class Grid:
    """Claude's: a token for each square of 28 px begun, and three, after scaling to the longest edge.

    Anthropic publishes the edge, the most, and a token for each 750 pixels, which is about the same ("Vision"). An
    image whose size cannot be known, at an address for one, counts `unseen`. Since Opus 4.7 that is less than the most:
    images at an address were billed 76 to 451 tokens in 5 requests, a tenth of it at the most.
    """

    edge: int
    most: int
    unseen: int = 1600

    def tokens(self, size: Size, detail: object) -> int:
        del detail  # Anthropic knows none
        if size is None:
            return self.unseen
        width, height = _within(*size, self.edge)
        return min(self.most, math.ceil(width / 28) * math.ceil(height / 28) + 3)


@dataclass(frozen=True)
class Squares:
    """Google, "Understand and count tokens": 258 tokens a square of 768 px begun, at most 8."""

    def tokens(self, size: Size, detail: object) -> int:
        del detail  # Google knows none
        if size is None:
            return 258 * 8
        return 258 * min(8, math.ceil(size[0] / 768) * math.ceil(size[1] / 768))


@dataclass(frozen=True)
class Crops:
    """Google, for Gemini 1 and 2.0: a small image is 258 tokens, another as many for each crop and for the whole.

    A crop's side is two thirds of the image's shorter one, within 256 and 768 px, after scaling to 3072 px: at most 24
    crops. 1 request, residual 0.
    """

    def tokens(self, size: Size, detail: object) -> int:
        del detail  # Google knows none
        if size is None:
            return 258 * 25
        if max(size) <= 384:  # noqa: PLR2004  # a small image
            return 258
        width, height = _within(*size, 3072)
        side = min(768, max(256, int(min(width, height) / 1.5)))
        return 258 * (1 + math.ceil(width / side) * math.ceil(height / side))


@dataclass(frozen=True)
class Rows:
    """Mistral (mistral-common): a token for each patch of 28 px and each row's end, after scaling to 1540 px."""

    def tokens(self, size: Size, detail: object) -> int:
        del detail  # Mistral knows none
        width, height = _within(*size, 1540) if size else (1540, 1540)
        return math.ceil(height / 28) * (math.ceil(width / 28) + 1) - 1


@dataclass(frozen=True)
class Each:
    """So many for each image, whatever its size."""

    most: int

    def tokens(self, size: Size, detail: object) -> int:
        del size, detail
        return self.most


@dataclass(frozen=True)
class Media:
    """What a provider bills for what is no text, in tokens."""

    images: Images = Tiles(85, 170)
    page: int = 3000  # for each page of a PDF, its text included
    sealed: bool = True  # whether thinking that only the provider can read is billed when it is sent again


def image_tokens(block: dict[str, Any], images: Images) -> int:
    """Return what an image block costs, whoever's shape it has."""
    image = block.get("image_url")
    inner = image if isinstance(image, dict) else block
    return images.tokens(_size_in(block), inner.get("detail"))


def _size_in(block: dict[str, Any]) -> Size:
    holders = (block, *map(block.get, block_type(block).data_keys))
    values = (holder.values() if isinstance(holder, dict) else [holder] for holder in holders)
    sizes = map(size_of, map(_head_of, itertools.chain.from_iterable(values)))
    return next(filter(None, sizes), None)


_HEAD = 192 * 1024
_SHORTEST = 24


def _head_of(value: object) -> bytes:
    """Return the first bytes of a file, also of one in base64, bare or as a data address; else nothing."""
    if isinstance(value, bytes):
        return value[:_HEAD]
    if not isinstance(value, str) or len(value) < _SHORTEST or value.startswith(("http:", "https:")):
        return b""
    start = value.find(",", 0, 256) + 1 if value.startswith("data:") else 0
    head = value[start : start + _HEAD // 3 * 4]
    try:
        return base64.b64decode(head[: len(head) // 4 * 4], validate=False)
    except (binascii.Error, ValueError):
        return b""


def size_of(head: bytes) -> Size:
    """Return width and height in pixels, read from the first bytes of a file; `None` if unknown."""
    size: Size = None
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            size = struct.unpack(">II", head[16:24])
        elif head.startswith((b"GIF87a", b"GIF89a")):
            size = struct.unpack("<HH", head[6:10])
        elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            size = _webp(head)
        elif head.startswith(b"\xff\xd8"):
            size = _jpeg(head)
    except (struct.error, IndexError):  # cut short
        return None
    return size if size and min(size) > 0 else None


def _webp(head: bytes) -> Size:
    kind = head[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", head[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X" and len(head) >= 30:  # noqa: PLR2004  # the header's length
        return (int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1)
    return None


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})


def _jpeg(head: bytes) -> Size:
    """Walk the segments up to the first frame header."""
    at = 2
    while at < len(head):
        if head[at] != 0xFF:  # noqa: PLR2004  # what every marker begins with
            return None
        marker = head[at + 1]
        if marker == 0xFF:  # noqa: PLR2004  # filling
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAMES:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        else:
            at += 2 + max(2, int.from_bytes(head[at + 2 : at + 4], "big"))
    return None


def _within(width: int, height: int, edge: int) -> tuple[float, float]:
    scale = min(1.0, edge / max(width, height))
    return width * scale, height * scale
