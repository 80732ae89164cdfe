"""How messages are priced with one tokenizer, and remembered.

A `Pricing` knows what one message costs; `counters` sums, `_models` chooses which pricing it is.
"""

from __future__ import annotations

import inspect
import itertools
import json
import marshal
import math
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    get_buffer_string,
)

from langchain_tokenbuffer import vocabularies

if TYPE_CHECKING:
    from collections.abc import Hashable

CountMessages: TypeAlias = Callable[[list[BaseMessage]], int]

REMEMBERED = 1 << 18
"""How many messages' counts one tokenizer remembers (about 100 bytes each); the oldest quarter is
forgotten when there are more."""


# --- remembering: counts by content ---------------------------------------------------------------


class _Memory:
    """The counts one tokenizer has taken: hash of a message to tokens. Bounded, thread-safe."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.probed: tuple[bool, int] | None = None  # of a callable: additive, constant
        self._lock = threading.Lock()

    def remember(self, key: int, count: int) -> None:
        with self._lock:
            if len(self.counts) >= REMEMBERED:
                # Reading needs no lock, so the dict is never emptied, only thinned out.
                for old in list(itertools.islice(self.counts, REMEMBERED // 4)):
                    del self.counts[old]
            self.counts[key] = count


_by_name: dict[Hashable, _Memory] = {}
_by_owner: dict[tuple[int, str], _Memory] = {}


def memory_named(*name: Hashable) -> _Memory:
    """Return the memory of a tokenizer that is known by name, the same for the whole process."""
    return _by_name.setdefault(name, _Memory())


def memory_of(owner: object, part: str = "") -> _Memory:
    """Return the memory that lives as long as its owner; by identity, since models have no hash."""
    key = (id(owner), part)
    memory = _by_owner.get(key)
    if memory is None:
        memory = _Memory()
        try:
            weakref.finalize(owner, _by_owner.pop, key, None).atexit = False
        except TypeError:  # cannot be watched, so it must not be found again under a reused id
            return memory
        memory = _by_owner.setdefault(key, memory)
    return memory


_unfrozen = itertools.count()


def _frozen(value: Any) -> object:
    """Return something hashable that differs whenever the value does."""
    try:
        return marshal.dumps(value, 2)  # version 2: no back references, equal for equal values
    except ValueError:
        pass
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # also a RecursionError: counted each time, never wrongly
        return ("unfrozen", next(_unfrozen))


def _key(message: BaseMessage) -> int:
    """Hash what a message's price can depend on. Hot: a string keeps its own hash."""
    fields = message.__dict__
    content = fields["content"]
    if content.__class__ is not str:
        content = _frozen(content)
    get = fields.get
    calls = get("tool_calls") or get("invalid_tool_calls") or get("tool_call_id")
    if calls or get("additional_kwargs") or get("name") or get("role"):
        more = [get(name) for name in _PRICED]
        return hash((message.__class__, content, _frozen(more)))
    return hash((message.__class__, content))


_PRICED = ("tool_calls", "invalid_tool_calls", "tool_call_id", "additional_kwargs", "name", "role")


def _whole_key(message: BaseMessage) -> int:
    """Hash all of a message: a callable may look at anything."""
    return hash((message.__class__, _frozen([message.__dict__, message.__pydantic_extra__])))


# --- texts ------------------------------------------------------------------------------------


class Tokenizer(Protocol):
    """A text as tokens, and back; of a character cut in two, nothing comes back."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class _CountText(Protocol):
    """Text to tokens: at least one for a text that is not empty, and never an error."""

    @property
    def tokenizer(self) -> Tokenizer | None: ...

    def __call__(self, text: str) -> int: ...


_RUN = 16_384
_LONG = 2 * _RUN


class TiktokenText:
    """Counts with an encoding of tiktoken; special tokens are text like any other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._encode: Callable[[str], list[int]] | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        return self

    def encode(self, text: str) -> list[int]:
        encode = self._encode
        if encode is None:
            encode = self._encode = vocabularies.load(self._name).encode_ordinary
        if len(text) > _LONG and _has_blank_run(text):
            # tiktoken's regex overflows its stack on them; taken in pieces, a little high.
            pieces = (encode(text[i : i + _RUN]) for i in range(0, len(text), _RUN))
            return list(itertools.chain.from_iterable(pieces))
        return encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return vocabularies.load(self._name).decode_bytes(ids).decode(errors="ignore")

    def __call__(self, text: str) -> int:
        return len(self.encode(text)) if text else 0


def _has_blank_run(text: str) -> bool:
    """Tell whether a very long run of white space may be inside: one aligned block is all blank."""
    return any(text[i : i + _RUN].isspace() for i in range(0, len(text), _RUN))


class FunctionText:
    """Counts with a `custom_get_token_ids` or a model's own `get_num_tokens`."""

    tokenizer = None

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count

    def __call__(self, text: str) -> int:
        return max(self._count(text), 1) if text else 0


# --- pricings ---------------------------------------------------------------------------------


class Pricing:
    """How messages are priced with one tokenizer."""

    exact = True  # locally
    additive = True
    constant = 0
    tokenizer: Tokenizer | None = None

    def __init__(self, memory: _Memory) -> None:
        self.memory = memory

    key = staticmethod(_key)

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
        text: _CountText,
        memory: _Memory,
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
        total += count(content) if content.__class__ is str else self._blocks(content)
        if fields.get("tool_call_id") is not None:
            total += 3  # the id's own text is not billed, nor a result's name sent
        elif name := fields.get("name") or fields["additional_kwargs"].get("name"):
            total += count(str(name)) + self._per_name
        for function in _calls(message):
            total += count(function["name"]) + count(function["arguments"])
        return total if self._factor == 1 else math.ceil(total * self._factor)

    def _blocks(self, content: object) -> int:
        if not isinstance(content, list):
            return self._count(str(content)) if content else 0
        return sum(self._block(block) for block in content)

    def _block(self, block: object) -> int:
        if isinstance(block, str):
            return self._count(block)
        if not isinstance(block, dict):
            return self._count(as_json(block))
        kind = block.get("type")
        if kind in _IMAGES:
            return _image(block)
        if kind in _CALLS:
            return 0  # the same calls are in `tool_calls`
        text = block.get(_TEXTS.get(str(kind), ""))
        if isinstance(text, str):
            return self._count(text)
        return self._count(as_json(_without_data(block)))


class TextPricing(Pricing):
    """LangChain's own default: the text of each message with its role before it, summed."""

    def __init__(self, text: _CountText, memory: _Memory, what: str) -> None:
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

    key = staticmethod(_whole_key)

    def __init__(self, count: CountMessages, memory: _Memory, what: str) -> None:
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
        count = self._count(list(messages))
        if isinstance(count, bool) or not hasattr(count, "__index__"):
            if inspect.iscoroutine(count):
                count.close()
            msg = (
                f"token_counter must return an int; {self._what} returned {count!r} "
                f"({type(count).__name__})"
            )
            raise TypeError(msg)
        if count < 0:
            msg = f"token_counter must not return a negative count; {self._what} returned {count}"
            raise ValueError(msg)
        return int(count)


_SAMPLES: tuple[BaseMessage, ...] = (
    HumanMessage(content="Where is the nearest bakery?"),
    AIMessage(content="Two streets from here."),
    HumanMessage(content="안녕하세요, 1 + 1?"),
    AIMessage(content="2"),
    SystemMessage(content="Answer in one short sentence, please."),
    HumanMessage(content="x"),
    AIMessage(content="Yes" * 33),
)
"""Lengths of no common factor, so that a count that rounds its sum betrays itself."""


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
    return (True, constant) if additive else (False, 0)


# --- what a message is made of ------------------------------------------------------------------

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
        return str(message.additional_kwargs.get("__openai_role__", kind))
    return _ROLES.get(kind.lower(), kind)


def _calls(message: BaseMessage) -> list[dict[str, str]]:
    """Return name and arguments text of each call, as OpenAI's format sends them."""
    fields = message.__dict__
    calls = [
        {"name": str(call.get("name") or ""), "arguments": _arguments(call.get("args"))}
        for call in (*(fields.get("tool_calls") or ()), *(fields.get("invalid_tool_calls") or ()))
    ]
    if calls:
        return calls
    extra = fields["additional_kwargs"]
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
_DEEP = 32


def _without_data(value: Any, depth: int = 0) -> Any:
    """Leave out encoded files: no provider bills their letters."""
    if isinstance(value, dict) and depth < _DEEP:
        return {key: _without_data(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list) and depth < _DEEP:
        return [_without_data(item, depth + 1) for item in value]
    if isinstance(value, str) and len(value) > _DATA and " " not in value[:_DATA]:
        return ""
    return "" if isinstance(value, bytes) else value


def _image(block: dict[str, Any]) -> int:
    """Price an image without looking at it: an address is never fetched."""
    image = block.get("image_url")
    detail = image.get("detail") if isinstance(image, dict) else block.get("detail")
    return _IMAGE_LOW if detail == "low" else _IMAGE_HIGH
