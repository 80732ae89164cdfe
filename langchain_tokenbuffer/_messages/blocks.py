"""The block types of a message's content: one table, and nothing else lists their names.

A new block type is a new row. What no row knows is opaque: it counts as its JSON text and stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["call", "result", "text", "media", "thinking", "compaction", "opaque"]
Billing: TypeAlias = Literal["text", "image", "audio", "video", "pages", "listed", "json"]


@dataclass(frozen=True, slots=True)
class BlockType:
    """What is known of one type of block."""

    role: Role  # what the block is to a conversation
    # How it is billed: as its texts; by its provider's formula for an image; by the bytes of its audio or video; by its
    # pages, or the text a file holds; `"listed"`: not at all where the message lists the same call as a tool call, else
    # as JSON; as its JSON text without data.
    billing: Billing = "json"
    id_key: str | None = None  # the key of the id that pairs a call with its result
    text_keys: tuple[str, ...] = ("content",)  # under which texts stand, or lists of blocks
    data_keys: tuple[str, ...] = ()  # under which data or its address stands, where it is not in the block itself
    can_shorten: bool = False  # whether clamping may shorten its first text
    needs_text: bool = False  # whether some providers refuse the block when its first text is blank


OPAQUE = BlockType("opaque")
_TEXT = BlockType("text", "text", text_keys=("text",))
_IMAGE = BlockType("media", "image", data_keys=("image_url", "source"))
_AUDIO = BlockType("media", "audio", data_keys=("input_audio", "source"))
_FILE = BlockType("media", "pages", data_keys=("file", "source"))

BLOCK_TYPES: dict[str, BlockType] = {
    "text": BlockType("text", "text", text_keys=("text",), can_shorten=True, needs_text=True),
    "input_text": _TEXT,
    "output_text": _TEXT,
    "text-plain": _TEXT,
    "refusal": BlockType("text", "text", text_keys=("refusal",)),
    "reasoning": BlockType("thinking", "text", text_keys=("reasoning",)),
    "thinking": BlockType("thinking", "text", text_keys=("thinking",)),
    "redacted_thinking": BlockType("thinking", data_keys=("data",)),
    "reasoning_content": BlockType("thinking"),
    "tool_use": BlockType("call", "listed", id_key="id"),
    "tool_call": BlockType("call", "listed", id_key="id"),
    "function_call": BlockType("call", "listed", id_key="call_id"),
    "tool_result": BlockType("result", id_key="tool_use_id"),
    "image": _IMAGE,
    "image_url": _IMAGE,
    "input_image": _IMAGE,
    "audio": _AUDIO,
    "input_audio": _AUDIO,
    "video": BlockType("media", "video", data_keys=("source",)),
    "file": _FILE,
    "document": _FILE,
    "input_file": _FILE,
}


def block_type(block: object) -> BlockType:
    """Return the row of a block; of what is no dict, or not known, the opaque one."""
    kind = block.get("type") if isinstance(block, dict) else None
    return BLOCK_TYPES.get(kind, OPAQUE) if isinstance(kind, str) else OPAQUE
