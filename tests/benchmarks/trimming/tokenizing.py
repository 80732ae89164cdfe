"""What the policies count with, and how much text passes through the tokenizer meanwhile.

Every policy that takes a counter gets `Exact`: the very numbers it is judged by, without the memory
of `TokenCounter`, as anybody would write it on tiktoken.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tiktoken

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer._counting.count_cache import CountCache, cache_named
from langchain_tokenbuffer._counting.message_counters import Call, ChatCounter
from langchain_tokenbuffer._counting.providers import OPENAI
from langchain_tokenbuffer.counters import message_counter
from langchain_tokenbuffer.vocabularies import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ENCODING = "o200k_base"
PER_MESSAGE = 4
"""What a message costs beside its text: 3, and its role."""


class _NoCache(CountCache):
    """Remembers nothing."""

    def counted(self, key: int, count: Callable[[], int]) -> int:
        del key
        return count()


class _PlainText:
    """Counts a text, anew each time."""

    tokenizer = None

    def __init__(self) -> None:
        self.encode = load(ENCODING).encode_ordinary

    def __call__(self, text: str) -> int:
        return len(self.encode(text))


class Exact:
    """The exact count, taken anew each time."""

    def __init__(self) -> None:
        text, family = _PlainText(), OPENAI.family_of("gpt-4o")
        self._pricing = ChatCounter(text, _NoCache(), ENCODING, family.chat, family.media, exact=True)
        self.encode = text.encode

    def messages(self, messages: Any) -> int:
        """Count messages as one request."""
        return self._pricing.constant + sum(map(self._pricing.message_tokens, messages))

    def wire(self, message: dict[str, Any]) -> int:
        """Count one message in OpenAI's format, which has a text as its content."""
        tokens = PER_MESSAGE + self.text(message["content"] or "")
        if "tool_call_id" in message:
            tokens += 3
        functions = [call["function"] for call in message.get("tool_calls") or []]
        if functions:
            calls = [Call(each["name"], each["arguments"]) for each in functions]
            tokens += self._pricing._tokens_of_calls(calls)
        return tokens

    def tools(self, tools: Sequence[Any]) -> int:
        """Count tools."""
        return self._pricing.overhead(tools, None, [])

    def text(self, text: str) -> int:
        """Count a text."""
        return len(self.encode(text))


class Tally:
    """How many tokens came out of the tokenizer."""

    def __init__(self) -> None:
        self.tokens = 0


@contextmanager
def tallied() -> Iterator[Tally]:
    """Watch tiktoken, which all of them count with; what was made before is not watched."""
    tally = Tally()
    kept = {name: getattr(tiktoken.Encoding, name) for name in ("encode", "encode_ordinary")}

    def watched(encode: Any) -> Any:
        def watching(*args: Any, **options: Any) -> list[int]:
            tokens: list[int] = encode(*args, **options)
            tally.tokens += len(tokens)
            return tokens

        return watching

    for name, encode in kept.items():
        setattr(tiktoken.Encoding, name, watched(encode))
    try:
        yield tally
    finally:
        for name, encode in kept.items():
            setattr(tiktoken.Encoding, name, encode)


def forget() -> None:
    """Let go of the counts that this process remembers, so that the next policy starts cold."""
    for cache in (message_counter(TokenCounter(ENCODING)).count_cache, cache_named("texts", ENCODING)):
        cache.counts.clear()
        cache.excerpts.clear()
