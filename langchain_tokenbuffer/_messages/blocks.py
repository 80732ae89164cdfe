"""The block types of a message's content: one table, and nothing else lists their names.

A new block type is a new row. What no row knows is opaque: it counts as its JSON text and stays as it is. Blocks
without a type (Bedrock's, Gemini's) are known by their one key, in snake case: `{"toolUse": {...}}` is `tool_use`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Role: TypeAlias = Literal["call", "server_call", "result", "text", "media", "thinking", "compaction", "mark", "opaque"]
Billing: TypeAlias = Literal["text", "image", "audio", "video", "file", "listed", "json"]


@dataclass(frozen=True, slots=True)
class BlockType:
    """What is known of one type of block."""

    # What the block is to a conversation. A `"server_call"` is run by the provider: nobody else answers it. A `"mark"`
    # says something about the blocks around it.
    role: Role
    # How it is billed: as its texts; by its provider's formula for an image; by the bytes of its audio or video; a
    # `"file"` by what it is, one of these, a text, or pages; `"listed"`: not at all where the message lists the same
    # call as a tool call, else as JSON; as its JSON text, with the blocks, data and sealed texts in it billed as such.
    billing: Billing = "json"
    id_keys: tuple[str, ...] = ()  # under which, the first first, the id stands that pairs a call with its result
    text_keys: tuple[str, ...] = ("content",)  # under which texts stand, blocks, or lists of these
    json_keys: tuple[str, ...] = ()  # under which JSON stands whose texts are nobody's ids
    data_keys: tuple[str, ...] = ()  # under which data or its address stands, where it is not in the block itself
    answer: str | None = None  # the type of block that answers a call; `None` is a plain tool message
    can_shorten: bool = False  # whether clamping may shorten its texts, and those of the blocks in it
    needs_text: bool = False  # whether some providers refuse the block when its first text is blank


OPAQUE = BlockType("opaque", text_keys=("text", "content", "output"))
_TEXT = BlockType("text", "text", text_keys=("text",), can_shorten=True)
_MARK = BlockType("mark")
_IMAGE = BlockType("media", "image", text_keys=(), data_keys=("image_url", "source"))
_AUDIO = BlockType("media", "audio", text_keys=("transcript",), data_keys=("input_audio", "source"))
_VIDEO = BlockType("media", "video", text_keys=(), data_keys=("source",))
_FILE = BlockType(
    "media",
    "file",
    text_keys=("source", "context", "text", "document"),
    data_keys=("file", "source"),
    can_shorten=True,
)
_CALL = BlockType("call", "listed", id_keys=("call_id", "id", "tool_use_id", "toolUseId"))
_SERVER_CALL = BlockType("server_call", id_keys=("id",))
_OWN_RESULT = BlockType("server_call")  # its result stands in the block itself
_RESULT = BlockType(
    "result",
    id_keys=("tool_use_id", "toolUseId", "tool_call_id", "call_id"),
    text_keys=("content", "output"),
    can_shorten=True,
)


def _call(answer: str) -> BlockType:
    return BlockType("call", id_keys=("call_id", "id"), answer=answer)


def _answer(*id_keys: str) -> BlockType:
    return BlockType("result", id_keys=id_keys or ("call_id", "id"), text_keys=("output",), can_shorten=True)


def _thinking(*text_keys: str) -> BlockType:
    return BlockType("thinking", "text", text_keys=text_keys)


def _part(*text_keys: str) -> BlockType:
    return BlockType("text", text_keys=text_keys, can_shorten=True)


def _own_result(*text_keys: str) -> BlockType:
    return BlockType("server_call", text_keys=text_keys, can_shorten=True)


BLOCK_TYPES: dict[str, BlockType] = {
    # LangChain's own, and what several APIs share
    "text": BlockType("text", "text", text_keys=("text", "data"), can_shorten=True, needs_text=True),
    "input_text": _TEXT,
    "output_text": _TEXT,
    "text-plain": _TEXT,
    "refusal": BlockType("text", "text", text_keys=("refusal",), can_shorten=True),
    "reasoning": _thinking("reasoning", "summary", "content", "text"),
    "thinking": _thinking("thinking", "text"),
    "redacted_thinking": BlockType("thinking", text_keys=(), data_keys=("data",)),
    "reasoning_content": _thinking("text", "reasoning_text", "reasoningText", "reasoningContent"),
    "image": _IMAGE,
    "image_url": _IMAGE,
    "input_image": _IMAGE,
    "audio": _AUDIO,
    "input_audio": _AUDIO,
    "audio_url": _AUDIO,
    "video": _VIDEO,
    "video_url": _VIDEO,
    "file": _FILE,
    "file_url": _FILE,
    "document": _FILE,
    "document_url": _FILE,
    "input_file": _FILE,
    "compaction": BlockType("compaction"),
    "cache_point": _MARK,
    "tool_call": _CALL,
    "tool_call_chunk": _CALL,
    "invalid_tool_call": _CALL,
    "server_tool_call": _SERVER_CALL,
    "server_tool_call_chunk": _SERVER_CALL,
    "server_tool_result": _RESULT,
    # Anthropic, Bedrock
    "tool_use": _CALL,
    "tool_result": _RESULT,
    "server_tool_use": _SERVER_CALL,
    "mcp_tool_use": _SERVER_CALL,
    "advisor_tool_result": _RESULT,
    "bash_code_execution_tool_result": _RESULT,
    "code_execution_tool_result": _RESULT,
    "mcp_tool_result": _RESULT,
    "text_editor_code_execution_tool_result": _RESULT,
    "tool_search_tool_result": _RESULT,
    "web_fetch_tool_result": _RESULT,
    "web_search_tool_result": _RESULT,
    "input_json_delta": BlockType("mark", "listed"),  # a piece of a call's arguments
    "container_upload": BlockType("media", text_keys=()),  # the file is put into a container, not read to the model
    "fallback": _MARK,
    "tool_addition": _MARK,
    "tool_removal": _MARK,
    # OpenAI's Responses
    "function_call": _CALL,
    "function_call_output": _answer(),
    "computer_call": _call("computer_call_output"),
    "computer_call_output": BlockType(
        "result", "image", id_keys=("call_id", "id"), text_keys=(), data_keys=("output",)
    ),
    "custom_tool_call": BlockType("call", "listed", id_keys=("call_id",), answer="custom_tool_call_output"),
    "custom_tool_call_output": _answer(),
    "local_shell_call": _call("local_shell_call_output"),
    "local_shell_call_output": _answer(),
    "shell_call": _call("shell_call_output"),
    "shell_call_output": _answer(),
    "apply_patch_call": _call("apply_patch_call_output"),
    "apply_patch_call_output": _answer(),
    "mcp_approval_request": BlockType("call", id_keys=("id",), answer="mcp_approval_response"),
    "mcp_approval_response": _answer("approval_request_id"),
    "program": BlockType("server_call", id_keys=("call_id",)),
    "program_output": BlockType("result", id_keys=("call_id",), text_keys=("result",), can_shorten=True),
    "tool_search_call": BlockType("server_call", id_keys=("call_id",), answer="tool_search_output"),
    "tool_search_output": BlockType("result", id_keys=("call_id",)),
    "web_search_call": _OWN_RESULT,
    "file_search_call": _own_result("results"),
    "code_interpreter_call": _own_result("outputs"),
    "image_generation_call": BlockType("server_call", "image", text_keys=(), data_keys=("result",)),
    "mcp_call": _own_result("output", "error"),
    "mcp_list_tools": _OWN_RESULT,
    "additional_tools": _MARK,
    "compaction_trigger": _MARK,
    "configuration_update": _MARK,
    "item_reference": BlockType("opaque", text_keys=()),  # to what the provider stores
    # Gemini
    "media": _FILE,
    "inline_data": _FILE,
    "file_data": _FILE,
    "thought": _thinking("text"),
    "function_call_signature": BlockType("thinking", text_keys=()),
    "function_response": BlockType(
        "result", id_keys=("id",), text_keys=("parts",), json_keys=("response",), can_shorten=True
    ),
    "executable_code": _own_result("executable_code", "code"),
    "tool_response": BlockType("result", id_keys=("id",), text_keys=(), json_keys=("response",), can_shorten=True),
    # Mistral; OpenRouter's reasoning_details
    "reference": _TEXT,
    "reasoning.text": _thinking("text"),
    "reasoning.summary": _thinking("summary"),
    "reasoning.encrypted": BlockType("thinking", text_keys=(), data_keys=("data",)),
    # What stands in results and documents
    "search_result": _part("content"),
    "source": _part("text", "content"),
    "content": _part("content"),
    "json": BlockType("text", text_keys=(), json_keys=("json",), can_shorten=True),
    "guard_content": _part("text", "image"),
    "citations_content": _part("content"),
    "advisor_result": _part("text"),
    "advisor_redacted_result": _part(),
    "code_execution_result": _part("code_execution_result", "output", "stdout", "stderr"),
    "encrypted_code_execution_result": _part("stderr"),
    "bash_code_execution_result": _part("stdout", "stderr"),
    "text_editor_code_execution_view_result": _part("content"),
    "text_editor_code_execution_create_result": _part(),
    "text_editor_code_execution_str_replace_result": _part(),
    "tool_reference": _part(),
    "tool_search_tool_search_result": _part(),
    "web_fetch_result": _part("content"),
    "web_search_result": _part(),
    "computer_screenshot": _IMAGE,
    "message": _part("content"),
    "reasoning_text": _TEXT,
    "summary_text": _TEXT,
    "logs": _part("logs"),
    "stdout": _part("stdout", "stderr"),
}

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=1024)
def _snake(key: str) -> str:
    return _WORD.sub("_", key).lower()


class Block(NamedTuple):
    """One block, as the table reads it."""

    kind: str  # its type, or the key it is known by; empty if there is neither
    row: BlockType
    body: Mapping[str, Any]  # where its id, its texts and its data stand
    path: tuple[str, ...] = ()  # the keys that lead from the block to its body

    @property
    def id(self) -> str | None:
        """The id that pairs a call with its result."""
        return next((value for key in self.row.id_keys if isinstance(value := self.body.get(key), str) and value), None)


def read_block(block: object) -> Block:
    """Return a block with its row; of what is no dict, or not known, the opaque one.

    What LangChain wraps as `non_standard` is read as what it wraps.
    """
    block, path = _unwrapped(block)
    if not isinstance(block, dict):
        return Block("", OPAQUE, {}, path)
    kind, key = _kind_in(block)
    row = BLOCK_TYPES.get(kind, OPAQUE)
    body = block.get(key)
    if isinstance(body, dict) and key not in row.json_keys:
        return Block(kind, row, body, (*path, key))
    return Block(kind, row, block, path)


_UNTYPED = {"tool_call": "server_tool_call"}  # Gemini's part; the same type is LangChain's call


def _kind_in(block: dict[Any, Any]) -> tuple[str, Any]:
    """Return the kind of a block, and the key under which its body may stand."""
    kind = block.get("type")
    if isinstance(kind, str):
        return kind, kind
    if block.get("thought") is True:  # said of Gemini's text
        return "thought", None
    for key, value in block.items():
        name = _snake(str(key))
        row = BLOCK_TYPES.get(name)
        if row is not None and (row.role != "media" or isinstance(value, dict)):
            return _UNTYPED.get(name, name), key
    return "", None


_MAX_WRAPS = 8


def _unwrapped(block: object) -> tuple[object, tuple[str, ...]]:
    wraps = 0
    while isinstance(block, dict) and block.get("type") == "non_standard" and wraps < _MAX_WRAPS:
        block, wraps = block.get("value"), wraps + 1
    return block, ("value",) * wraps


def block_type(block: object) -> BlockType:
    """Return the row of a block."""
    return read_block(block).row
