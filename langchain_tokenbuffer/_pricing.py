"""How messages are priced with one tokenizer.

A `Pricing` knows what one message costs; `counters` sums, `_models` chooses which pricing it is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    get_buffer_string,
)

from langchain_tokenbuffer._remembering import Memory, key_of, whole_key_of
from langchain_tokenbuffer._texts import TiktokenText, Tokenizer, checked

if TYPE_CHECKING:
    from langchain_tokenbuffer._texts import CountText

__all__ = [
    "CalledPricing",
    "ChatPricing",
    "CountMessages",
    "Pricing",
    "RemotePricing",
    "TextPricing",
    "TiktokenText",
    "Tokenizer",
    "as_json",
]

CountMessages: TypeAlias = Callable[[list[BaseMessage]], int]


class Pricing:
    """How messages are priced with one tokenizer."""

    exact = True  # locally
    additive = True
    constant = 0
    tokenizer: Tokenizer | None = None

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    key = staticmethod(key_of)

    def price(self, message: BaseMessage) -> int:
        raise NotImplementedError

    def whole(self, messages: Sequence[BaseMessage]) -> int:
        return self.constant + sum(map(self.price, messages))

    def describe(self) -> str:
        raise NotImplementedError


class ChatPricing(Pricing):
    """OpenAI's chat format: 3 tokens a message, 1 for a name, 3 once for the reply's beginning.

    Source: OpenAI cookbook, "How to count tokens with tiktoken"; tool calls and results as
    langchain-openai counts them. Blocks the format has no rule for cost their JSON text.
    """

    constant = 3

    def __init__(
        self,
        text: CountText,
        memory: Memory,
        what: str,
        *,
        per_message: int = 3,
        per_name: int = 1,
        factor: float = 1.0,
    ) -> None:
        super().__init__(memory)
        self._count = text
        self.tokenizer = text.tokenizer
        self._what = what
        self._per_message = per_message
        self._per_name = per_name
        self._factor = factor
        self.exact = factor == 1

    def describe(self) -> str:
        return self._what

    def price(self, message: BaseMessage) -> int:
        count = self._count
        fields = message.__dict__
        total = self._per_message + count(_role(message))
        content = fields["content"]
        calls = _calls(message)
        total += count(content) if content.__class__ is str else self._blocks(content, bool(calls))
        if fields.get("tool_call_id") is not None:
            total += 3  # the id's own text is not billed, nor a result's name sent
        elif name := fields.get("name") or _extra(message).get("name"):
            total += count(str(name)) + self._per_name
        for function in calls:
            total += count(function["name"]) + count(function["arguments"])
        return total if self._factor == 1 else math.ceil(total * self._factor)

    def _blocks(self, content: object, has_calls: bool) -> int:  # noqa: FBT001
        if not isinstance(content, list):
            return self._count(str(content)) if content else 0
        return sum(self._block(block, has_calls) for block in content)

    def _block(self, block: object, has_calls: bool) -> int:  # noqa: FBT001
        if isinstance(block, str):
            return self._count(block)
        if not isinstance(block, dict):
            return self._count(as_json(block))
        kind = block.get("type")
        if kind in _IMAGES:
            return _image(block)
        if kind in _CALLS and has_calls:
            return 0  # the same calls are in `tool_calls`
        text = block.get(_TEXTS.get(str(kind), ""))
        if isinstance(text, str):
            return self._count(text)
        return self._count(as_json(_without_data(block)))


class TextPricing(Pricing):
    """LangChain's own default: the text of each message with its role before it, summed."""

    def __init__(self, text: CountText, memory: Memory, what: str) -> None:
        super().__init__(memory)
        self._count = text
        self.tokenizer = text.tokenizer
        self._what = what

    def describe(self) -> str:
        return self._what

    def price(self, message: BaseMessage) -> int:
        try:
            text = get_buffer_string([message])
        except (ValueError, TypeError, KeyError, RecursionError):  # a kind it has no prefix for
            text = f"{message.type}: {message.content}"
        return self._count(text)


class CalledPricing(Pricing):
    """Any callable on a list of messages, probed for being additive."""

    key = staticmethod(whole_key_of)

    def __init__(self, count: CountMessages, memory: Memory, what: str) -> None:
        super().__init__(memory)
        self._count = count
        self._what = what

    def describe(self) -> str:
        return self._what

    @property
    def additive(self) -> bool:  # type: ignore[override]
        return self._probed()[0]

    @property
    def constant(self) -> int:  # type: ignore[override]
        return self._probed()[1]

    def _probed(self) -> tuple[bool, int]:
        if self.memory.probed is None:
            self.memory.probed = _probe(self.whole)
        return self.memory.probed

    def price(self, message: BaseMessage) -> int:
        return max(0, self.whole([message]) - self.constant)

    def whole(self, messages: Sequence[BaseMessage]) -> int:
        return checked(self._count(list(messages)), self._what)


class RemotePricing(CalledPricing):
    """A provider's own count of whole requests: asked once a count, so never probed."""

    def _probed(self) -> tuple[bool, int]:
        return False, 0


_REPORT: Any = {
    "response_metadata": {"model_provider": "openai"},
    "usage_metadata": {"input_tokens": 9_000, "output_tokens": 99, "total_tokens": 9_099},
}
_SAMPLES: tuple[BaseMessage, ...] = (
    HumanMessage(content="Where is the nearest bakery?"),
    AIMessage(content="Two streets from here.", **_REPORT),
    HumanMessage(content="안녕하세요, 1 + 1?"),
    AIMessage(content="2", **_REPORT),
    SystemMessage(content="Answer in one short sentence, please."),
    HumanMessage(content="x"),
    AIMessage(content="Yes" * 33, **_REPORT),
)
"""Lengths of no common factor, so that a count that rounds its sum betrays itself; replies that
report a usage, so that a count that scales by it does."""


def _probe(count: Callable[[Sequence[BaseMessage]], int]) -> tuple[bool, int]:
    """Return whether f(list) = c + sum of prices, and c = f([a]) + f([b]) - f([a, b])."""
    try:
        alone = [count([message]) for message in _SAMPLES]
        constant = alone[0] + alone[1] - count(_SAMPLES[:2])
        sizes = range(2, len(_SAMPLES) + 1)
        additive = all(
            count(_SAMPLES[:n]) == sum(alone[:n]) - (n - 1) * constant for n in sizes
        ) and all(price >= constant for price in alone)
    except (TypeError, AttributeError) as error:
        error.add_note("token_counter is called with a list of messages and returns an int.")
        raise
    if additive:
        return True, constant
    # Roughly a constant plus prices: without it each message would be charged the whole request.
    return False, max(0, min(constant, *alone))


_ROLES = {"human": "user", "ai": "assistant"}
_IMAGES = frozenset({"image", "image_url", "input_image"})
_CALLS = frozenset({"tool_use", "tool_call", "function_call"})
_TEXTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "text-plain": "text",
    "refusal": "refusal",
    "reasoning": "reasoning",
    "thinking": "thinking",
}
_IMAGE_LOW = 85
_IMAGE_HIGH = 85 + 8 * 170
"""OpenAI's tile formula for GPT-4o: 85 at low detail; 170 a tile of 512 px at high detail, of which
no image has more than 8 after it was scaled to 2048 px and 768 px on the short side."""


def _role(message: BaseMessage) -> str:
    kind = message.type.removesuffix("MessageChunk")
    if kind in ("chat", "Chat"):
        return str(getattr(message, "role", kind))
    if kind == "system":
        return str(_extra(message).get("__openai_role__", kind))
    return _ROLES.get(kind.lower(), kind)


def _extra(message: BaseMessage) -> dict[str, Any]:
    return message.__dict__.get("additional_kwargs") or {}


def _calls(message: BaseMessage) -> list[dict[str, str]]:
    """Return name and arguments text of each call, as OpenAI's format sends them."""
    fields = message.__dict__
    calls = [
        {"name": str(call.get("name") or ""), "arguments": _arguments(call.get("args"))}
        for call in (*(fields.get("tool_calls") or ()), *(fields.get("invalid_tool_calls") or ()))
    ]
    if calls:
        return calls
    extra = _extra(message)
    if not extra:
        return []
    raw = [call.get("function") for call in extra.get("tool_calls") or () if isinstance(call, dict)]
    return [
        {"name": str(each.get("name") or ""), "arguments": _arguments(each.get("arguments"))}
        for each in (*raw, extra.get("function_call"))
        if isinstance(each, dict)
    ]


def _arguments(args: object) -> str:
    if args is None:
        return ""
    return args if isinstance(args, str) else as_json(args)


def as_json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):
        pass
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # nested too deeply to be shown: nested too deeply to be sent
        return type(value).__name__


_DATA = 1024
_ENCODED = re.compile(rf"(?:data:[^,]{{,200}},)?[A-Za-z0-9+/=_\r\n-]{{{_DATA - 256}}}")
_DEEP = 32


def _without_data(value: Any, depth: int = 0) -> Any:
    """Leave out encoded files: no provider bills their letters."""
    if isinstance(value, dict) and depth < _DEEP:
        return {key: _without_data(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list) and depth < _DEEP:
        return [_without_data(item, depth + 1) for item in value]
    if isinstance(value, str) and len(value) > _DATA and _ENCODED.match(value):
        return ""
    return "" if isinstance(value, bytes) else value


def _image(block: dict[str, Any]) -> int:
    """Price an image without looking at it: an address is never fetched."""
    image = block.get("image_url")
    detail = image.get("detail") if isinstance(image, dict) else block.get("detail")
    return _IMAGE_LOW if detail == "low" else _IMAGE_HIGH
