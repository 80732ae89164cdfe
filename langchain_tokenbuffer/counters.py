"""What a conversation costs, each message counted once.

`TokenCounter` asks the model, as LangChain does, and repairs what the model gets wrong: it is
additive where the model's count is, remembers every message by its content, and raises neither on
a text nor on a model's name.
"""

from __future__ import annotations

import inspect
import itertools
import json
import marshal
import math
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    MessageLikeRepresentation,
    SystemMessage,
    convert_to_messages,
    get_buffer_string,
)
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableBinding
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_tokenbuffer import vocabularies

if TYPE_CHECKING:
    from collections.abc import Hashable

    from langchain_core.tools import BaseTool

CountMessages: TypeAlias = Callable[[Sequence[BaseMessage]], int]
CountedBy: TypeAlias = "BaseLanguageModel[Any] | str | CountMessages | TokenCounter"
"""What `token_counter` takes: a model, an encoding name, or a callable on a list of messages."""
MessagesLike: TypeAlias = (
    PromptValue | str | BaseMessage | Sequence[MessageLikeRepresentation] | dict[str, Any]
)
Tool: TypeAlias = "dict[str, Any] | type | Callable[..., Any] | BaseTool"
Exact: TypeAlias = Literal["local", "remote"]

REMEMBERED = 1 << 18
"""How many messages' counts one tokenizer remembers (about 100 bytes each); the oldest quarter is
forgotten when there are more."""


def as_messages(value: MessagesLike) -> list[BaseMessage]:
    """Return what a Runnable, a model or `trim_messages` would take as a list of messages.

    A list of messages comes back as a new list of the same objects. A string or a single message
    (also as an OpenAI-style dict) is one message.

    Raises:
        TypeError: For a dict that is no message, such as a graph's state; it names what to pass.
    """
    if isinstance(value, BaseMessage):
        return [value]
    if isinstance(value, str):
        return [HumanMessage(content=value)]
    if isinstance(value, PromptValue):
        return value.to_messages()
    if isinstance(value, Mapping):
        if "role" in value or ("type" in value and "content" in value):
            return convert_to_messages([dict(value)])
        lists = [str(key) for key, item in value.items() if isinstance(item, (list, tuple))]
        found = ", ".join(map(repr, lists or map(str, value)))
        key = "messages" if "messages" in value or not lists else lists[0]
        msg = (
            f"Expected messages, got a dict with {found}. Pass the list under its key, e.g. "
            f"state[{key!r}]; in a chain: itemgetter({key!r}) | TokenBuffer(...)."
        )
        raise TypeError(msg)
    if not isinstance(value, Iterable):
        msg = f"Expected messages, got {type(value).__name__}: {value!r}"
        raise TypeError(msg)
    messages = list(value)
    if all(isinstance(message, BaseMessage) for message in messages):
        return messages
    return convert_to_messages(messages)


class TokenCounter:
    """Counts what a conversation costs, each message once.

    Law: the counts of unchanged messages are never taken twice. They are remembered process-wide
    with the tokenizer, by content, so a new counter over the same model knows them too, and a
    message that is changed is counted anew. Edge: what is remembered is bounded (`REMEMBERED`
    messages a tokenizer) and holds hashes, no texts; a changed message would go unseen only at a
    collision of 64-bit hashes.

    It has LangChain's own shape, so it also plugs into `trim_messages(token_counter=...)`,
    `SummarizationMiddleware(token_counter=...)` and `ContextEditingMiddleware(token_counter=...)`.

    Args:
        token_counter: What counts. A chat model or LLM (bound tools and options are seen
            through), an encoding name of tiktoken (counted in OpenAI's chat format), another
            `TokenCounter`, or any callable from a list of messages to an int, such as `len` or
            `count_tokens_approximately`.
        exact: `"local"` never asks a provider; a model whose own counting is a remote call is
            estimated instead. `"remote"` asks it.

    Raises:
        TypeError: If `token_counter` is none of these.
        ValueError: If the encoding name or `exact` is unknown.

    Example:
        ```python
        counter = TokenCounter("o200k_base")
        counter([HumanMessage("Hello!")])  # 3 for the request, 3 + 1 + 2 for the message
        ```
    """

    def __init__(self, token_counter: CountedBy, *, exact: Exact = "local") -> None:
        """Resolve what counts; load nothing yet."""
        if exact not in ("local", "remote"):
            msg = f"exact must be 'local' or 'remote', got {exact!r}"
            raise ValueError(msg)
        if isinstance(token_counter, TokenCounter):
            token_counter = token_counter.token_counter
        self.token_counter: BaseLanguageModel[Any] | str | CountMessages = token_counter
        self.exact: Exact = exact
        self._scheme = _scheme_of(token_counter, exact)

    def __call__(self, messages: Sequence[BaseMessage]) -> int:
        """Return what the messages cost as one request, in tokens.

        Raises:
            TypeError: If a callable returns something that is not an int.
            ValueError: If a callable returns a negative count.
        """
        messages = as_messages(messages)
        if self.additive:
            return self.constant + sum(self.prices(messages, self.keys(messages)))
        return self._scheme.whole(messages)

    def count(
        self,
        messages: MessagesLike,
        tools: Sequence[Tool] = (),
        response_format: dict[str, Any] | type | None = None,
        anchor: bool = False,  # noqa: FBT001, FBT002  # the signature is fixed
    ) -> int:
        """Return what a whole request costs, in tokens: messages, tools and response format.

        Tools follow OpenAI's published counting (cookbook, "How to count tokens with tiktoken",
        section on tool calls); what that leaves open, such as nested parameters, is counted as
        the schema's JSON text, which rounds up.

        Args:
            messages: The messages of the request.
            tools: Whatever `bind_tools` takes.
            response_format: A JSON schema or a pydantic class.
            anchor: States that `messages` is the complete conversation as it was sent, so that
                where counting is an estimate the usage that the last AI message reports may stand
                for everything up to it. Counters that are exact locally take no anchor.
        """
        messages = as_messages(messages)
        extra = self._tools(tools) + self._response_format(response_format)
        if anchor and not self._scheme.exact:
            for index in range(len(messages) - 1, -1, -1):
                usage = getattr(messages[index], "usage_metadata", None)
                if usage:
                    behind = messages[index + 1 :]
                    reported = int(usage["input_tokens"]) + int(usage["output_tokens"])
                    return reported + sum(self.prices(behind, self.keys(behind)))
        return self(messages) + extra

    def describe(self) -> str:
        """Say what counts, and how exact it is."""
        return self._scheme.describe()

    @property
    def additive(self) -> bool:
        """Whether the count is a constant plus a price for each message."""
        return self._scheme.additive

    @property
    def constant(self) -> int:
        """What a request costs beside its messages, in tokens."""
        return self._scheme.constant

    @property
    def tokenizer(self) -> Tokenizer | None:
        """What texts are counted with, where it can also cut them on token boundaries."""
        return self._scheme.tokenizer

    def keys(self, messages: Sequence[BaseMessage]) -> list[int]:
        """Return one hash for each message, of all that its price depends on."""
        key = self._scheme.key
        return [key(message) for message in messages]

    def prices(self, messages: Sequence[BaseMessage], keys: Sequence[int]) -> list[int]:
        """Return what each message adds to the count, in tokens.

        Where the counter is not additive, what it costs alone.
        """
        scheme = self._scheme
        known = scheme.memory.counts
        prices = []
        for key, message in zip(keys, messages, strict=True):
            price = known.get(key)
            if price is None:
                price = scheme.price(message)
                scheme.memory.remember(key, price)
            prices.append(price)
        return prices

    def _text(self, text: str) -> int:
        return self._scheme.price(SystemMessage(content=text))

    def _tools(self, tools: Sequence[Tool]) -> int:
        if not tools:
            return 0
        total = _FUNCTIONS_END
        for tool in tools:
            function = convert_to_openai_tool(tool).get("function", tool)
            if not isinstance(function, dict):
                total += self._text(_json(tool))
                continue
            described = str(function.get("description") or "").rstrip(".")
            total += _FUNCTION + self._text(f"{function.get('name')}:{described}")
            parameters = function.get("parameters") or {}
            properties = parameters.get("properties") or {}
            total += _PROPERTIES if properties else 0
            for name, schema in properties.items():
                total += self._property(name, schema)
            if "$defs" in parameters:
                total += self._text(_json(parameters["$defs"]))
        return total

    def _property(self, name: str, schema: dict[str, Any]) -> int:
        """Price a property: `name:type:description` where it is flat, else its JSON text."""
        total = _PROPERTY
        values = schema.get("enum")
        if values:
            total += _ENUM + sum(_ENUM_ITEM + self._text(str(value)) for value in values)
        if not schema.keys() <= _FLAT:
            return total + self._text(f"{name}:{_json(schema)}")
        described = str(schema.get("description") or "").rstrip(".")
        return total + self._text(f"{name}:{schema.get('type')}:{described}")

    def _response_format(self, response_format: dict[str, Any] | type | None) -> int:
        if response_format is None:
            return 0
        schema: Any = response_format
        if isinstance(response_format, type):
            schema = convert_to_openai_tool(response_format)["function"]
        return self._text(_json(schema))

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what was asked for; locks and remembered counts stay with the process."""
        return {"token_counter": self.token_counter, "exact": self.exact}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Resolve anew."""
        self.__init__(**state)  # type: ignore[misc]

    def __eq__(self, other: object) -> bool:
        """Tell whether both count the same way with the same thing."""
        return (
            isinstance(other, TokenCounter)
            and self.exact == other.exact
            and self.token_counter == other.token_counter
        )

    __hash__ = None  # type: ignore[assignment]  # models are not hashable

    def __repr__(self) -> str:
        """Name what counts, without a model's keys and options."""
        return f"TokenCounter({self.describe()})"


_FUNCTION, _PROPERTIES, _PROPERTY, _ENUM, _ENUM_ITEM, _FUNCTIONS_END = 10, 3, 3, -3, 3, 12
"""OpenAI's cookbook: func_init (7 on gpt-4o, 10 on gpt-4: the dearer), prop_init, prop_key,
enum_init, enum_item, func_end."""
_FLAT = frozenset({"type", "description", "enum", "title", "default"})


# --- remembering ------------------------------------------------------------------------------


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


def _memory_of(owner: object, part: str = "") -> _Memory:
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


def _frozen(value: object) -> object:
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
    """A text as tokens, and back."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class _CountText(Protocol):
    """Text to tokens: at least one for a text that is not empty, and never an error."""

    @property
    def tokenizer(self) -> Tokenizer | None: ...

    def __call__(self, text: str) -> int: ...


_RUN = 16_384
_LONG = 2 * _RUN


class _Tiktoken:
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
        """Return the text of some tokens; of a character cut in two, nothing."""
        return vocabularies.load(self._name).decode_bytes(ids).decode(errors="ignore")

    def __call__(self, text: str) -> int:
        return len(self.encode(text)) if text else 0


def _has_blank_run(text: str) -> bool:
    """Tell whether a very long run of white space may be inside: one aligned block is all blank."""
    return any(text[i : i + _RUN].isspace() for i in range(0, len(text), _RUN))


class _Ids:
    """Counts with a `custom_get_token_ids` or a model's own `get_num_tokens`."""

    tokenizer = None

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count

    def __call__(self, text: str) -> int:
        return max(self._count(text), 1) if text else 0


# --- schemes: how messages are priced -----------------------------------------------------------


class _Scheme:
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


class _Chat(_Scheme):
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
            return self._count(_json(block))
        kind = block.get("type")
        if kind in _IMAGES:
            return _image(block)
        if kind in _CALLS:
            return 0  # the same calls are in `tool_calls`
        text = block.get(_TEXTS.get(str(kind), ""))
        if isinstance(text, str):
            return self._count(text)
        return self._count(_json(_without_data(block)))


class _Plain(_Scheme):
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


class _Called(_Scheme):
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


def _probe(count: CountMessages) -> tuple[bool, int]:
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
    return args if isinstance(args, str) else _json(args)


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):
        pass
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # nested too deeply to be shown: nested too deeply to be sent
        return type(value).__name__


_DATA = 1024


def _without_data(value: Any, depth: int = 0) -> Any:
    """Leave out encoded files: no provider bills their letters."""
    if isinstance(value, dict) and depth < 32:
        return {key: _without_data(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list) and depth < 32:
        return [_without_data(item, depth + 1) for item in value]
    if isinstance(value, str) and len(value) > _DATA and " " not in value[:_DATA]:
        return ""
    return "" if isinstance(value, bytes) else value


def _image(block: dict[str, Any]) -> int:
    """Price an image without looking at it: an address is never fetched."""
    image = block.get("image_url")
    detail = image.get("detail") if isinstance(image, dict) else block.get("detail")
    return _IMAGE_LOW if detail == "low" else _IMAGE_HIGH


# --- which scheme -------------------------------------------------------------------------------

_REMOTE = ("langchain_anthropic", "langchain_google", "langchain_aws", "langchain_cohere")
_ESTIMATE = 1.5
"""Tokens of models without a local tokenizer, as a multiple of `cl100k_base`'s. Billed Claude
requests without tools are between 1.0 (Sonnet 4.5) and 1.43 (Opus 4.8) times that."""

_FAMILIES = (
    ("gpt-oss", "o200k_harmony"),
    ("gpt-4o", "o200k_base"),
    ("gpt-4.1", "o200k_base"),
    ("gpt-4.5", "o200k_base"),
    ("gpt-4", "cl100k_base"),
    ("gpt-3.5", "cl100k_base"),
    ("gpt-35", "cl100k_base"),
    ("gpt-5", "o200k_base"),
    ("gpt-6", "o200k_base"),
    ("chatgpt", "o200k_base"),
    ("codex", "o200k_base"),
    ("o1", "o200k_base"),
    ("o3", "o200k_base"),
    ("o4", "o200k_base"),
)
_warned: set[str] = set()


def _scheme_of(counter: object, exact: Exact) -> _Scheme:
    while isinstance(counter, RunnableBinding):
        counter = counter.bound
    if isinstance(counter, str):
        return _of_encoding(counter)
    if isinstance(counter, BaseLanguageModel):
        return _of_model(counter, exact)
    if callable(counter):
        function = getattr(counter, "__func__", None)
        if isinstance(counter, types.MethodType) and function is not None:
            memory = _memory_of(counter.__self__, function.__qualname__)
        else:
            memory = _memory_of(counter)
        return _Called(counter, memory, getattr(counter, "__qualname__", type(counter).__name__))
    msg = (
        "token_counter must be a chat model or LLM, an encoding name or a callable from a list of "
        f"messages to an int; got {type(counter).__name__}: {counter!r}"
    )
    raise TypeError(msg)


def _of_encoding(name: str) -> _Scheme:
    known = vocabularies.names()
    if name not in known:
        msg = f"token_counter {name!r} is not an encoding of tiktoken; known are {', '.join(known)}"
        suggestion = _encoding_of(name)
        if suggestion is not None:
            msg += f". The model of that name uses {suggestion!r}"
        raise ValueError(msg)
    return _chat(name, f"{name}, in OpenAI's chat format")


def _chat(name: str, what: str, **options: Any) -> _Chat:
    memory = _by_name.setdefault(("chat", name, *sorted(options.items())), _Memory())
    return _Chat(_Tiktoken(name), memory, what, **options)


def _of_model(model: BaseLanguageModel[Any], exact: Exact) -> _Scheme:
    """Choose by who defined the model's counting, so that subclasses and forks are recognised."""
    kind = type(model)
    home = kind.get_num_tokens_from_messages.__module__
    ids_home = kind.get_token_ids.__module__
    custom = model.custom_get_token_ids
    is_openai_chat = home.startswith("langchain_openai.")
    name = getattr(model, "tiktoken_model_name", None) or getattr(model, "model_name", None)
    if custom is not None:
        count = custom

        def tokens(text: str) -> int:
            return len(count(text))

        memory = _memory_of(custom, "chat" if is_openai_chat else "")
        what = f"custom_get_token_ids of {kind.__name__}"
        return (_Chat if is_openai_chat else _Plain)(_Ids(tokens), memory, what)
    if is_openai_chat:
        encoding = _encoding_or_fallback(name, kind.__name__)
        what = f"{kind.__name__} {name}: {encoding}, in OpenAI's chat format"
        if str(name).startswith("gpt-3.5-turbo-0301"):
            return _chat(encoding, what, per_message=4, per_name=-1)
        return _chat(encoding, what)
    base = BaseLanguageModel.__module__
    if exact == "remote" and home != base:
        counted = model.get_num_tokens_from_messages
        return _Called(counted, _memory_of(model), f"{kind.__name__}'s own remote count")
    counts = {home, kind.get_num_tokens.__module__, ids_home}
    if any(module.startswith(_REMOTE) for module in (*counts, kind.__module__)):
        return _estimate(f"{kind.__name__}: estimated as {_ESTIMATE} x {vocabularies.FALLBACK}")
    if home != base:
        what = f"{kind.__name__}.get_num_tokens_from_messages"
        return _Called(model.get_num_tokens_from_messages, _memory_of(model), what)
    if ids_home.startswith("langchain_openai."):
        encoding = _encoding_or_fallback(name, kind.__name__)
        memory = _by_name.setdefault(("plain", encoding), _Memory())
        return _Plain(_Tiktoken(encoding), memory, f"{kind.__name__} {name}: {encoding}, as text")
    if counts == {base}:
        # LangChain would load a GPT-2 tokenizer from a hub.
        _warn_once(f"{kind.__name__} has no tokenizer of its own")
        return _estimate(f"{kind.__name__}: estimated as {_ESTIMATE} x {vocabularies.FALLBACK}")
    return _Plain(_Ids(model.get_num_tokens), _memory_of(model), f"{kind.__name__}.get_num_tokens")


def _estimate(what: str) -> _Chat:
    return _chat(vocabularies.FALLBACK, what, factor=_ESTIMATE)


def _encoding_of(name: str) -> str | None:
    """Return the encoding of a model's name: dated, fine-tuned, prefixed or in upper case."""
    bare = name.lower().rpartition("/")[2].removeprefix("ft:")
    for prefix, encoding in _FAMILIES:
        if bare.startswith(prefix):
            return encoding
    from tiktoken.model import encoding_name_for_model  # noqa: PLC0415  # see vocabularies

    try:
        return encoding_name_for_model(bare)
    except KeyError:
        return None


def _encoding_or_fallback(name: str | None, of: str) -> str:
    encoding = _encoding_of(name) if name else None
    if encoding is None:
        _warn_once(f"The model name {name!r} of {of} is not known")
        return vocabularies.FALLBACK
    return encoding


def _warn_once(what: str) -> None:
    if what not in _warned:
        _warned.add(what)
        warnings.warn(
            f"{what}; counting with {vocabularies.FALLBACK!r}. Set tiktoken_model_name or "
            f"custom_get_token_ids on the model, or pass another token_counter.",
            stacklevel=2,
        )
