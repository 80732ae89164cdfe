"""What an image costs: its provider's published formula, from its header alone."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer._counting.images import Crops, Grid, Patches, Squares, Tiles, size_of


def png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0" * 9


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0" * 20


def jpeg(width: int, height: int) -> bytes:
    profile = b"\xff\xe2" + struct.pack(">H", 60_000) + b"\0" * 59_998  # as cameras put first
    frame = b"\xff\xc2" + struct.pack(">HBHH", 17, 8, height, width) + b"\0" * 10
    return b"\xff\xd8" + profile + b"\xff" + frame


def webp(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def lossy(width: int, height: int) -> bytes:
    return webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + b"\0" * 9)


def lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14) + b"\0" * 9)


def extended(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(b"VP8X", b"\0" * 4 + size + b"\0" * 9)


FILES = {
    "png": png,
    "gif": gif,
    "jpeg": jpeg,
    "lossy webp": lossy,
    "lossless webp": lossless,
    "extended webp": extended,
}


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_the_size_is_read_from_the_header(file: Any) -> None:
    assert size_of(file(1030, 515)) == (1030, 515)


def test_a_jpeg_may_have_markers_without_a_length() -> None:
    bare = b"\xff\xd8" + b"\xff\xd0" + jpeg(40, 30)[2:]
    assert size_of(bare) == (40, 30)


def test_a_jpeg_without_a_marker_where_one_has_to_be_says_nothing() -> None:
    assert size_of(b"\xff\xd8\xff\xe2\x00\x02" + b"\0" * 40) is None


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_header_that_is_cut_short_says_nothing(file: Any) -> None:
    assert size_of(file(1030, 515)[:14]) is None or file is gif


@given(st.binary(max_size=400), st.sampled_from([*FILES.values()]), st.integers(0, 40))
def test_any_bytes_are_read_without_an_error(data: bytes, file: Any, at: int) -> None:
    size = size_of(file(40, 30)[:at] + data)
    assert size is None or min(size) > 0


FORMULAS: dict[str, tuple[Any, tuple[int, int] | None, Any, int]] = {
    # OpenAI's own examples
    "1024 x 1024": (Tiles(85, 170), (1024, 1024), "high", 765),
    "2048 x 4096": (Tiles(85, 170), (2048, 4096), "high", 1105),
    "low detail": (Tiles(85, 170), (4096, 8192), "low", 85),
    "patches below the limit": (Patches(1.0), (1024, 1024), None, 1024),
    "patches above the limit": (Patches(1.0), (1800, 2400), None, 1452),
    "patches at low detail": (Patches(1.0), (1800, 2400), "low", 1452),
    "patches at high detail, where that is less": (Patches(1.2, 10_000, high=2500), (3200, 3200), "high", 3000),
    "patches at original detail, where that is more": (
        Patches(1.2, 2500, original=10_000),
        (3200, 3200),
        "original",
        12000,
    ),
    "patches at no detail in particular": (Patches(1.2, 10_000, high=2500), (3200, 3200), None, 12000),
    # validated by openai-messages-token-helper: 266 and 8,511 with a text of 11
    "a tiny one": (Tiles(85, 170), (1, 1), "auto", 255),
    "a tiny one on gpt-4o-mini": (Tiles(2833, 5667), (1, 1), "auto", 8500),
    "of unknown size": (Tiles(85, 170), None, "auto", 85 + 8 * 170),
    "patches of unknown size": (Patches(1.62), None, None, 2489),
    "patches of unknown size, as at high detail": (Patches(1.2, 10_000, high=2500), None, None, 3000),
    # Anthropic's own example, 1092 x 1092, takes about 1590
    "Claude's": (Grid(1568, 1600), (1092, 1092), None, 1524),
    "Claude's on a long edge": (Grid(1568, 1600), (3136, 56), None, 59),
    "Claude's of unknown size": (Grid(2576, 4784), None, None, 1600),
    "Gemini's small one": (Squares(), (384, 384), None, 258),
    "Gemini's large one": (Squares(), (1536, 768), None, 516),
    "Gemini 2.0's small one": (Crops(), (384, 384), None, 258),
    "Gemini 2.0's large one": (Crops(), (540, 360), None, 7 * 258),
}


@pytest.mark.parametrize(("formula", "size", "detail", "tokens"), FORMULAS.values(), ids=FORMULAS)
def test_an_image_costs_what_its_provider_publishes(
    formula: Any, size: tuple[int, int] | None, detail: Any, tokens: int
) -> None:
    assert formula.tokens(size, detail) == tokens


@pytest.mark.parametrize("formula", [Tiles(85, 170), Patches(1.62), Grid(1568, 1600), Squares(), Crops()])
@given(st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)))
def test_an_unknown_size_costs_the_most(formula: Any, size: tuple[int, int]) -> None:
    assert 0 < formula.tokens(size, "auto") <= formula.tokens(None, "auto")


DATA = base64.b64encode(png(1024, 1024) + b"\0" * 3000).decode()
URL = f"data:image/png;base64,{DATA}"
SHAPES: dict[str, dict[str, Any]] = {
    "OpenAI's": {"type": "image_url", "image_url": {"url": URL}},
    "OpenAI's, as a string": {"type": "image_url", "image_url": URL},
    "of the Responses API": {"type": "input_image", "image_url": URL},
    "LangChain's": {"type": "image", "base64": DATA, "mime_type": "image/png"},
    "LangChain's older one": {"type": "image", "source_type": "base64", "data": DATA},
    "Anthropic's": {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": DATA},
    },
    "bytes": {"type": "image", "data": png(1024, 1024)},
}


@pytest.mark.parametrize("block", SHAPES.values(), ids=SHAPES)
def test_an_image_of_any_shape_costs_its_tiles(block: dict[str, Any]) -> None:
    counter = TokenCounter("o200k_base")
    assert counter([HumanMessage([block])]) - counter([HumanMessage([])]) == 765


def test_an_image_behind_an_address_is_not_fetched() -> None:
    block = {"type": "image_url", "image_url": {"url": "https://localhost/never.png"}}
    counter = TokenCounter("o200k_base")
    assert counter([HumanMessage([block])]) - counter([HumanMessage([])]) == 1445


FAMILIES = {
    "gpt-4o": 765,
    "gpt-4o-mini": 2833 + 4 * 5667,
    "gpt-4.1-mini": 1659,
    "gpt-4.1-nano": 2520,
    "gpt-5": 630,
    "gpt-5-mini": 1229,
    "gpt-5-nano": 1536,
    "gpt-5.5": 1229,
    "gpt-5-codex": 1229,
    "o3": 675,
    "o4-mini": 1762,
    "codex-mini-latest": 1762,
    "gemini-2.0-flash": 5 * 258,
    "us.amazon.nova-pro-v1:0": 1850,
}


@pytest.mark.parametrize(("model", "tokens"), FAMILIES.items())
def test_each_family_has_its_formula(model: str, tokens: int) -> None:
    counter = TokenCounter(ChatOpenAI(model=model, api_key=SecretStr("unused")))
    block = SHAPES["LangChain's"]
    assert counter([HumanMessage(["Look:", block])]) - counter([HumanMessage(["Look:"])]) == tokens


def image_tokens(counter: TokenCounter, width: int, height: int) -> int:
    data = base64.b64encode(png(width, height) + b"\0" * 3000).decode()
    block = {"type": "image", "base64": data, "mime_type": "image/png"}
    return counter([HumanMessage(["Look:", block])]) - counter([HumanMessage(["Look:"])])


LIMITS = {
    "gpt-5-mini": 1826,
    "gpt-5.2": 1826,
    "gpt-5.3-codex": 1826,
    "gpt-5.4": 3000,
    "gpt-5.5": 12000,
    "gpt-5.6": 18750,
}


@pytest.mark.parametrize(("model", "tokens"), LIMITS.items())
def test_each_generation_of_gpt_5_sees_large_images_as_large_as_published(model: str, tokens: int) -> None:
    counter = TokenCounter(ChatOpenAI(model=model, api_key=SecretStr("unused")))
    assert image_tokens(counter, 4000, 4000) == tokens


@pytest.mark.parametrize("model", LIMITS)
def test_openrouter_bills_the_same_images(model: str) -> None:
    routed = ChatOpenAI(model=f"openai/{model}", api_key=SecretStr("unused"), base_url="https://openrouter.ai/api/v1")
    assert image_tokens(TokenCounter(routed), 4000, 4000) == LIMITS[model]


@pytest.mark.parametrize("responses", [False, True])
def test_both_apis_of_openai_bill_the_same_images(responses: bool) -> None:  # noqa: FBT001
    model = ChatOpenAI(model="gpt-5-mini", api_key=SecretStr("unused"), use_responses_api=responses)
    assert image_tokens(TokenCounter(model), 1024, 1024) == 1229
