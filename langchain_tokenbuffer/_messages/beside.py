"""What a message carries beside its content: what LangChain's packages put into `additional_kwargs` and send again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BESIDE: dict[str, str] = {
    "reasoning_content": "reasoning",  # Ollama, DeepSeek, LiteLLM, Groq, xAI
    "reasoning": "reasoning",  # OpenAI's item, as langchain-openai kept it in its first format
    "reasoning_details": "reasoning",  # OpenRouter
    "thinking": "thinking",  # Anthropic on Bedrock
    "thinking_blocks": "thinking",  # LiteLLM, each with a type of its own
    "__gemini_function_call_thought_signatures__": "function_call_signature",  # by the ids of calls
    "refusal": "refusal",
    "audio": "audio",
    "tool_outputs": "",  # OpenAI's items, each with a type of its own
}
"""Names in `additional_kwargs`, and the type of block that stands there."""


def blocks_beside(extra: Mapping[str, Any]) -> Iterator[object]:
    """Yield blocks that stand for what is beside the content. What is no such thing is left out."""
    for name, value in _beside(extra).items():
        kind = BESIDE[name]
        if kind == "function_call_signature":
            signatures = value.values() if isinstance(value, dict) else ()
            yield from ({"type": kind, "signature": each} for each in signatures)
        elif isinstance(value, list):
            yield from value
        elif isinstance(value, dict):
            yield {"type": kind, **value}
        elif kind and value and isinstance(value, str):
            yield {"type": kind, kind: value}


def _beside(extra: Mapping[str, Any]) -> dict[str, object]:
    """Return what stands there, once: some servers name the same thinking `reasoning` and `reasoning_content`."""
    found = {name: extra[name] for name in BESIDE if name in extra}
    if found.get("reasoning") == found.get("reasoning_content"):
        found.pop("reasoning", None)
    return found


def reported_reasoning(fields: Mapping[str, Any]) -> int | None:
    """Return the tokens that a reply says its reasoning took, from the fields of its message; `None` if it does not."""
    usage = fields.get("usage_metadata")
    details = usage.get("output_token_details") if isinstance(usage, dict) else None
    tokens = details.get("reasoning") if isinstance(details, dict) else None
    return tokens if isinstance(tokens, int) and tokens >= 0 else None
