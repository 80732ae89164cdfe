"""What a provider says of a request that is too long, also where LangChain has no name for it."""

from __future__ import annotations

import re
from typing import NamedTuple

from langchain_core.exceptions import ContextOverflowError


class Overflow(NamedTuple):
    """What was counted and what is allowed, in the provider's own tokens; `None`: not said."""

    counted: int | None
    allowed: int | None


_TOO_LONG = re.compile(
    "exceed_context_size_error|context_length_exceeded|ContextWindowExceededError"
    "|maximum context length|exceeds the available context size|exceeds the context window"
    "|prompt is too long|input is too long for|exceeds the maximum number of tokens"
    "|input tokens exceed",
    re.IGNORECASE,
)
"""OpenAI, Azure, Anthropic, Bedrock, Gemini, vLLM, LiteLLM, llama.cpp."""
_COUNTED = re.compile(
    r"n_prompt_tokens\W+(\d+)|request \((\d+) tokens\) exceeds|too long: (\d+) tokens"
    r"|(?:resulted in|requested) (\d+) tokens|token count \((\d+)\)"
)
_ALLOWED = re.compile(
    r"n_ctx\W+(\d+)|context size \((\d+) tokens|tokens > (\d+)"
    r"|maximum context length is (\d+)|tokens allowed \((\d+)"
)


def overflow_of(error: Exception) -> Overflow | None:
    """Return what an error says about a request that was too long; `None` if it is another."""
    text = f"{error} {getattr(error, 'body', None) or ''}"
    if not (isinstance(error, ContextOverflowError) or _TOO_LONG.search(text)):
        return None
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    return Overflow(_number(_COUNTED, text), _number(_ALLOWED, text))


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return next((int(each) for each in found.groups() if each), None) if found else None
