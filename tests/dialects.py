"""Blocks of every dialect, around a text or with nothing that may be shortened."""

from __future__ import annotations

import base64
import json
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BIG = "The quick brown fox. " * 700
FILE = base64.b64encode(random.Random(7).randbytes(3_000)).decode()
IMAGE = f"data:image/png;base64,{FILE}"

RESULTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "a text": lambda text: {"type": "text", "text": text},
    "input_text": lambda text: {"type": "input_text", "text": text},
    "text-plain": lambda text: {"type": "text-plain", "text": text, "mime_type": "text/plain"},
    "an older text file": lambda text: {"type": "file", "source_type": "text", "text": text},
    "a search result": lambda text: {
        "type": "search_result",
        "source": "https://example.com/a",
        "title": "A title",
        "content": [{"type": "text", "text": "Short."}, {"type": "text", "text": text}],
        "citations": {"enabled": True},
    },
    "a text document": lambda text: {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": text},
        "title": "A title",
    },
    "a document of blocks": lambda text: {
        "type": "document",
        "source": {"type": "content", "content": [{"type": "text", "text": text}]},
    },
    "a tool_result": lambda text: {"type": "tool_result", "tool_use_id": "1", "content": text},
    "a tool_result of blocks": lambda text: {
        "type": "tool_result",
        "tool_use_id": "1",
        "content": [{"type": "text", "text": text}],
    },
    "function_call_output": lambda text: {"type": "function_call_output", "call_id": "1", "output": text},
    "custom_tool_call_output": lambda text: {"type": "custom_tool_call_output", "call_id": "1", "output": text},
    "a custom tool's blocks": lambda text: {
        "type": "custom_tool_call_output",
        "output": [{"type": "input_text", "text": text}],
    },
    "a shell's output": lambda text: {
        "type": "shell_call_output",
        "call_id": "1",
        "output": [{"stdout": text, "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
    },
    "local_shell_call_output": lambda text: {"type": "local_shell_call_output", "id": "1", "output": text},
    "apply_patch_call_output": lambda text: {"type": "apply_patch_call_output", "call_id": "1", "output": text},
    "json": lambda text: {"type": "json", "json": {"rows": [{"id": "r1", "text": text}]}},
    "Bedrock's text": lambda text: {"text": text},
    "Bedrock's json": lambda text: {"json": {"rows": [text]}},
    "Bedrock's toolResult": lambda text: {"toolResult": {"toolUseId": "1", "content": [{"text": text}]}},
    "json in Bedrock's toolResult": lambda text: {"toolResult": {"toolUseId": "1", "content": [{"json": {"a": text}}]}},
    "Bedrock's document": lambda text: {"document": {"format": "txt", "name": "d", "source": {"text": text}}},
    "Bedrock's document with a type": lambda text: {
        "type": "document",
        "document": {"format": "txt", "name": "d", "source": {"content": [{"text": text}]}},
    },
    "Bedrock's searchResult": lambda text: {
        "searchResult": {"source": "s", "title": "t", "content": [{"text": text}], "citations": {"enabled": True}}
    },
    "Bedrock's guardContent": lambda text: {"guardContent": {"text": {"text": text, "qualifiers": ["query"]}}},
    "Gemini's functionResponse": lambda text: {"functionResponse": {"name": "look", "response": {"output": text}}},
    "a wrapped block": lambda text: {
        "type": "non_standard",
        "value": {"type": "custom_tool_call_output", "call_id": "1", "output": text},
    },
    "an unknown block": lambda text: {"type": "something_new", "id": "n", "text": text},
}
"""Blocks of tool and human messages."""

REPLIES: dict[str, Callable[[str], dict[str, Any]]] = {
    "output_text": lambda text: {"type": "output_text", "text": text, "annotations": [], "id": "msg_1"},
    "refusal": lambda text: {"type": "refusal", "refusal": text},
    "an MCP call of OpenAI": lambda text: {
        "type": "mcp_call",
        "id": "mcp_1",
        "name": "look",
        "server_label": "s",
        "arguments": "{}",
        "output": text,
    },
    "an MCP result of Anthropic": lambda text: {
        "type": "mcp_tool_result",
        "tool_use_id": "mcptoolu_1",
        "is_error": False,
        "content": [{"type": "text", "text": text}],
    },
    "code execution of Anthropic": lambda text: {
        "type": "code_execution_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {"type": "code_execution_result", "stdout": text, "stderr": "", "return_code": 0, "content": []},
    },
    "a fetched page": lambda text: {
        "type": "web_fetch_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {
            "type": "web_fetch_result",
            "url": "https://example.com",
            "content": {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}},
        },
    },
    "code execution of Gemini": lambda text: {
        "type": "code_execution_result",
        "code_execution_result": text,
        "outcome": 1,
    },
    "a server tool's output": lambda text: {"type": "server_tool_result", "tool_call_id": "s1", "output": text},
    "a code interpreter": lambda text: {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "code": "print(1)",
        "container_id": "c",
        "outputs": [{"type": "logs", "logs": text}],
    },
    "a file search": lambda text: {
        "type": "file_search_call",
        "id": "fs_1",
        "queries": ["fox"],
        "results": [{"file_id": "file-1", "filename": "a.txt", "score": 0.9, "text": text}],
    },
}
"""Blocks of AI messages."""

SEALED = {
    "signed thinking": {"type": "thinking", "thinking": BIG, "signature": "c2ln"},
    "reasoning": {"type": "reasoning", "summary": [{"type": "summary_text", "text": BIG}], "id": "rs_1"},
    "Bedrock's reasoning": {"reasoningContent": {"reasoningText": {"text": BIG, "signature": "c2ln"}}},
    "a call's arguments": {"type": "tool_use", "id": "1", "name": "look", "input": {"q": BIG}},
    "a function call": {"type": "function_call", "call_id": "1", "name": "look", "arguments": json.dumps({"q": BIG})},
    "a server tool's input": {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": BIG}},
    "a compaction": {"type": "compaction", "content": BIG},
    "what no row knows": {"type": "something_new", "text": BIG},
}
"""Blocks of AI messages whose texts their providers check."""

MEDIA = {
    "an image": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": FILE}},
    "an image_url": {"type": "image_url", "image_url": {"url": IMAGE}},
    "a small pdf": {"type": "document", "source": {"type": "base64", "data": "JVBER" * 20}},
    "a pdf by its address": {"type": "document", "source": {"type": "url", "url": f"https://example.com/{'a' * 300}"}},
    "a file": {"type": "file", "base64": "JVBERi0x" * 20, "mime_type": "application/pdf"},
    "a screenshot": {"type": "input_image", "image_url": IMAGE},
    "a computer's output": {"type": "computer_call_output", "output": {"type": "input_image", "image_url": IMAGE}},
    "search results": {
        "type": "web_search_tool_result",
        "tool_use_id": "s",
        "content": [{"type": "web_search_result", "url": "https://example.com", "encrypted_content": "Eo8" * 90}],
    },
}  # fmt: skip
"""Blocks of any message without a text."""


def blanked(value: Any) -> Any:
    """Return a content without its big or shortened texts."""
    if isinstance(value, dict):
        return {key: blanked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [blanked(each) for each in value]
    return "" if isinstance(value, str) and (value == BIG or "omitted" in value) else value
