"""How messages are counted with one tokenizer.

A `MessageCounter` is what `TokenCounter` counts with, and what all surfaces ask; `resolve` chooses which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, get_buffer_string

from langchain_tokenbuffer._counting.content import content_tokens
from langchain_tokenbuffer._counting.count_cache import IRREGULAR, CountCache, freeze, freeze_whole, frozen
from langchain_tokenbuffer._counting.documents import document_tokens
from langchain_tokenbuffer._counting.reported_usage import ends_turn
from langchain_tokenbuffer._counting.tokenizers import checked
from langchain_tokenbuffer._counting.tools import (
    as_format,
    as_json,
    as_parallel,
    as_parallel_result,
    as_schema,
    as_text,
    called_tool,
)
from langchain_tokenbuffer._messages.blocks import read_block
from langchain_tokenbuffer._messages.kinds import kind_of
from langchain_tokenbuffer._messages.thinking import has_thinking, without_thinking

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from langchain_tokenbuffer._counting.families import ChatFormat
    from langchain_tokenbuffer._counting.images import Media
    from langchain_tokenbuffer._counting.tokenizers import CountText, TiktokenText

CountMessages: TypeAlias = Callable[[list[BaseMessage]], int]
Messages: TypeAlias = Sequence[BaseMessage]


class MessageCounter:
    """How messages are counted with one tokenizer, each once."""

    exact = True  # locally; else what a provider reports is nearer the truth
    borrowed_tokenizer = False  # texts are counted with another tokenizer than the model's
    additive = True  # the count is the constant and what each message adds
    constant = 0  # what a request costs beside its messages, in tokens
    tokenizer: TiktokenText | None = None  # what texts are counted with, where it can also cut them between tokens

    def __init__(self, cache: CountCache, what: str) -> None:
        self.count_cache = cache  # one object for each tokenizer of the process
        self.what = what  # what counts, and how exact it is

    freeze = staticmethod(freeze)

    def keys(self, messages: Messages) -> list[int]:
        """Return one hash for each message, of all that its tokens depend on."""
        try:
            return list(map(hash, self.freeze(messages)))
        except IRREGULAR:
            return list(map(hash, freeze_whole(messages)))

    def key(self, messages: Messages, *, reports: bool = False) -> int:
        """Return one hash for all messages, which sees every change that a key of one sees.

        Args:
            messages: In this order.
            reports: Whether it is also to see what replies report.
        """
        try:
            return hash(tuple(self.freeze(messages, reports=reports)))
        except IRREGULAR:
            return hash(tuple(freeze_whole(messages)))

    def tokens(self, messages: Messages, keys: Sequence[int] | None = None) -> list[int]:
        """Return what each message adds to the count, in tokens; where it is not additive, what each costs alone.

        Args:
            messages: Each is counted at most once.
            keys: Their keys, where they are at hand.
        """
        cache = self.count_cache
        cached = cache.counts.get
        result = []
        for key, message in zip(keys or self.keys(messages), messages, strict=True):
            tokens = cached(key)
            if tokens is None:
                tokens = self.message_tokens(message)
                cache.store(key, tokens)
            result.append(tokens)
        return result

    def message_tokens(self, message: BaseMessage) -> int:
        """Count one message, whatever is cached."""
        raise NotImplementedError

    def whole(self, messages: Messages) -> int:
        """Return what messages cost as one request, in tokens."""
        # A separator between messages is a negative constant; no messages cost no less than 0.
        return max(0, self.constant + sum(self.tokens(messages)))

    def request_tokens(self, messages: Messages, tools: Sequence[Any] = (), response_format: Any = None) -> int:
        """Return what a request costs with its tools and response format, in tokens."""
        return max(0, self.whole(messages) + self.overhead(tools, response_format, messages))

    def as_lines(self, human_prefix: str, ai_prefix: str) -> MessageCounter:
        """Return what counts messages as lines of one string, where texts are counted; else itself."""
        del human_prefix, ai_prefix
        return self

    def text_tokens(self, text: str) -> int:
        """Return what a text costs by itself where texts are counted, in tokens; else 0."""
        del text
        return 0

    def choice_tokens(self, tool_choice: Any) -> int:
        """Return what a tool choice brings to a request, in tokens; where that is not known it rounds up."""
        return _NAMED if called_tool(tool_choice) == "named" else 0

    def overhead(self, tools: Sequence[Any], response_format: Any, messages: Messages) -> int:
        """Return what the bill of a request has beside its messages and the constant, in tokens."""
        del messages
        shown = [as_json(as_schema(tool)) for tool in tools]
        if response_format is not None:
            shown.append(as_format(response_format) or "")
        return sum(self.message_tokens(SystemMessage(content=text)) for text in shown if text)


_NAMED = 10  # for a tool choice by name, where no format says
# What several calls sent as one cost beside their text and the one call, their results being JSON. Fitted: 10 requests
# with two calls each, residual -2 to 2.
_PARALLEL = -1
# The same in a window, which does not know how results are sent: a text with quotes around it costs more.
_PARALLEL_AT_MOST = 2


class ChatCounter(MessageCounter):
    """A chat format over an encoding: OpenAI's, or a borrowed one where the count is estimated.

    Law: without tool calls it is what langchain-openai counts: 3 a message, 1 for a name, 3 once. Edge: a step with
    tool calls follows the bill instead, and what no format has a rule for is counted high.
    """

    def __init__(
        self,
        text: CountText,
        cache: CountCache,
        what: str,
        form: ChatFormat,
        media: Media,
        *,
        exact: bool,
        borrowed: bool = False,
    ) -> None:
        super().__init__(cache, what)
        self._count = text
        self._format = form
        self._has_kinds = bool(form.system or form.reply or form.text or form.document or form.thought)
        self._media = media
        self.tokenizer = text.tokenizer
        self.constant = form.constant
        self.exact = exact
        self.borrowed_tokenizer = borrowed

    def choice_tokens(self, tool_choice: Any) -> int:
        return self._format.choice_tokens(tool_choice)

    def message_tokens(self, message: BaseMessage) -> int:
        count, chat_format = self._count, self._format
        fields = message.__dict__
        total = chat_format.per_message + (self._tokens_of_name(_role(message)) if chat_format.role else 0)
        total += content_tokens(message, count, self._media)
        calls = _calls(message, as_written=False)
        if fields.get("tool_call_id") is not None:
            total += chat_format.result  # the id's own text is not billed, nor a result's name sent
        elif name := fields.get("name") or _extra(message).get("name"):
            total += self._tokens_of_name(as_text(name)) + chat_format.per_name
        if calls:
            total += self._tokens_of_calls(calls)
        # What has no text and nothing around it is sent all the same.
        return max(1, total + self._tokens_of_kind(message, calls) if self._has_kinds else total)

    def _tokens_of_kind(self, message: BaseMessage, calls: Sequence[Call]) -> int:
        """What is put around messages of some kinds alone."""
        chat_format, kind = self._format, kind_of(message)
        total = document_tokens(message.__dict__["content"], chat_format) if chat_format.document else 0
        if kind == "system":
            return total + chat_format.system
        if chat_format.thought and has_thinking(message):
            total += chat_format.thought + chat_format.thinking * chat_format.forgets
        if calls:
            return total + (chat_format.text if chat_format.text and _has_text(message) else 0)
        return total + (chat_format.reply if kind == "ai" else 0)

    def _tokens_of_name(self, name: str) -> int:
        """Count a role or the name of a speaker or a tool: many messages share it."""
        return self.count_cache.counted(hash(("name", name)), lambda: self._count(name))

    def _tokens_of_calls(self, calls: Sequence[Call]) -> int:
        count, name_tokens, chat_format = self._count, self._tokens_of_name, self._format
        if chat_format.parallel and len(calls) > 1:
            opening = chat_format.call + _PARALLEL_AT_MOST + name_tokens("multi_tool_use.parallel")
            return opening + count(as_parallel([(call.name, call.args) for call in calls]))
        apart = chat_format.further + (chat_format.per_message + 1) * chat_format.twice
        total = (len(calls) - 1) * apart
        for call in calls:
            total += (
                chat_format.call + name_tokens(call.name) + count(call.args) + chat_format.argument * call.arguments
            )
            if chat_format.twice:  # a message of its own, with its recipient
                total += name_tokens(f"functions.{call.name}")
        return total

    def overhead(self, tools: Sequence[Any], response_format: Any, messages: Messages) -> int:
        chat_format = self._format
        merged = chat_format.merged if messages and messages[0].type == "system" else 0
        total = chat_format.added + (self._as_written(messages) + self._results_as_sent(messages) if self.exact else 0)
        total += chat_format.opening_reply * _begins_with_reply(messages)
        total -= self._forgotten_tokens(messages)
        if tools:
            total += self._tokens_of_tools([as_schema(tool) for tool in tools]) - merged
        if response_format is not None:
            # The first of tools and format opens the system message that is not there.
            total += self._tokens_of_format(response_format, 0 if tools else chat_format.opening - merged, messages)
        is_begun = bool(chat_format.prefill and messages and kind_of(messages[-1]) == "ai")
        return total + is_begun * chat_format.prefill

    def _forgotten_tokens(self, messages: Messages) -> int:
        """What the messages are counted to for thinking of earlier turns, and for being set to think more than once."""
        if not self._format.forgets:
            return 0
        last = max((n for n, message in enumerate(messages) if ends_turn(message)), default=0)
        forgotten = sum(map(self._thinking_tokens, messages[:last]))
        thinking = sum(map(has_thinking, messages[last:]))
        return forgotten + (thinking - 1) * self._format.thinking if forgotten or thinking else 0

    def _thinking_tokens(self, message: BaseMessage) -> int:
        rest = without_thinking(message)
        if rest is None:
            return 0
        whole, without = self.tokens([message, rest])
        return whole - without

    def _tokens_of_tools(self, schemas: list[dict[str, Any]]) -> int:
        around = self._format.tools + self._format.per_tool * len(schemas)
        return around + self._count(self._format.tools_text(schemas))

    def _tokens_of_format(self, response_format: Any, opening: int, messages: Messages) -> int:
        chat_format, around = self._format, self._format.response_format
        if around is None:
            return 0
        if (text := chat_format.format_text(response_format)) is None:
            return chat_format.json_object
        replies = (each for each in messages if kind_of(each) == "ai" and not each.__dict__.get("tool_calls"))
        return around + self._count(text) + opening + sum(chat_format.formatted for _ in replies)

    def _as_written(self, messages: Messages) -> int:
        """What tool calls cost less as models write them than as LangChain sends them again.

        A model writes its arguments without the spaces of `json.dumps`, and the recorded bills are of requests that
        repeat them so. The tokens of a message keep the spaces: in a window they are sent.
        """
        return sum(
            self._tokens_of_calls(_calls(message, as_written=True))
            - self._tokens_of_calls(_calls(message, as_written=False))
            for message in messages
            if message.__dict__.get("tool_calls")
        )

    def _results_as_sent(self, messages: Messages) -> int:
        """What parallel calls cost less by their results being sent as JSON, where such calls are sent as one.

        Never more: a window is counted by its messages, and must not be found to be over budget as a whole.
        """
        total, several = 0, False
        for message in messages if self._format.parallel else ():
            text = message.__dict__["content"]
            if several and message.type == "tool" and isinstance(text, str):
                total += self._count(as_parallel_result(text)) - self._count(text)
            elif message.type != "tool":
                several = len(message.__dict__.get("tool_calls") or ()) > 1
                total += several * (_PARALLEL - _PARALLEL_AT_MOST)
        return min(0, total)


def _begins_with_reply(messages: Messages) -> bool:
    kinds = (kind for message in messages if (kind := kind_of(message)) != "system")
    return next(kinds, None) == "ai"


class TextCounter(MessageCounter):
    """LangChain's own default: the text of each message with its role before it, summed."""

    def __init__(self, text: CountText, cache: CountCache, what: str) -> None:
        super().__init__(cache, what)
        self._count = text
        self.tokenizer = text.tokenizer

    @staticmethod
    def freeze(messages: Messages, *, reports: bool = False) -> Iterator[Hashable]:
        """Yield also all of the calls: the text of a message shows them whole."""
        for message, usual in zip(messages, freeze(messages, reports=reports), strict=True):
            calls = getattr(message, "tool_calls", None)
            yield (usual, frozen(calls)) if calls else usual

    def message_tokens(self, message: BaseMessage) -> int:
        try:
            text = get_buffer_string([message])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            text = f"{message.type}: {as_json(message.content)}"  # a kind it has no prefix for
        return self._count(text)

    def as_lines(self, human_prefix: str, ai_prefix: str) -> MessageCounter:
        return LineCounter(self, human_prefix, ai_prefix)

    def text_tokens(self, text: str) -> int:
        return self._count(text)


class LineCounter(TextCounter):
    """The same for a string that shows each message as a line: with its prefix, and its line break.

    Law: the lines add up to at least what the whole string costs, which ends without one.
    """

    def __init__(self, counter: TextCounter, human_prefix: str, ai_prefix: str) -> None:
        super().__init__(counter._count, counter.count_cache, counter.what)  # noqa: SLF001  # its own kind
        self._prefixes = human_prefix, ai_prefix

    def freeze(self, messages: Messages, *, reports: bool = False) -> Iterator[Hashable]:  # type: ignore[override]
        """Yield the prefixes, too."""
        for usual in TextCounter.freeze(messages, reports=reports):
            yield self._prefixes, usual

    def message_tokens(self, message: BaseMessage) -> int:
        try:
            text = get_buffer_string([message], *self._prefixes)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return super().message_tokens(message) + 1
        return self._count(f"{text}\n")


class CallableCounter(MessageCounter):
    """Any callable on a list of messages, probed for being additive."""

    freeze = staticmethod(freeze_whole)

    def __init__(self, count: CountMessages, cache: CountCache, what: str) -> None:
        super().__init__(cache, what)
        self._count = count

    @property
    def additive(self) -> bool:  # type: ignore[override]
        return self._probed()[0]

    @property
    def constant(self) -> int:  # type: ignore[override]
        return self._probed()[1]

    def _probed(self) -> tuple[bool, int]:
        if self.count_cache.probed is None:
            self.count_cache.probed = _probe(self._ask)
        return self.count_cache.probed

    def message_tokens(self, message: BaseMessage) -> int:
        return max(0, self._ask([message]) - self.constant)

    def whole(self, messages: Messages) -> int:
        return super().whole(messages) if self.additive else self._ask(messages)

    def _ask(self, messages: Messages) -> int:
        return checked(self._count(list(messages)), self.what)


class RemoteCounter(CallableCounter):
    """A provider's own count of whole requests: asked once a count, so never probed."""

    def _probed(self) -> tuple[bool, int]:
        return False, 0

    def overhead(self, tools: Sequence[Any], response_format: Any, messages: Messages) -> int:
        """What the provider says the tools cost; it is not asked about a response format."""
        del response_format
        if not tools:
            return 0
        count: Any = self._count
        with_tools = checked(count(list(messages), tools=list(tools)), self.what)
        return max(0, with_tools - self.whole(messages))


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
"""Lengths of no common factor, so that a count that rounds its sum betrays itself; replies that report a usage, so that
a count that scales by it does."""


def _probe(count: Callable[[Messages], int]) -> tuple[bool, int]:
    """Return whether f(list) = c + its messages' sum, and c = f([a]) + f([b]) - f([a, b])."""
    try:
        alone = [count([message]) for message in _SAMPLES]
        constant = alone[0] + alone[1] - count(_SAMPLES[:2])
        sums = (sum(alone[:n]) - (n - 1) * constant == count(_SAMPLES[:n]) for n in range(2, len(_SAMPLES) + 1))
        additive = all(sums) and min(alone) >= constant
    except (TypeError, AttributeError) as error:
        error.add_note("token_counter is called with a list of messages and returns an int.")
        raise
    return (True, constant) if additive else (False, 0)


_ROLES = {"human": "user", "ai": "assistant"}


def _role(message: BaseMessage) -> str:
    kind = message.type.removesuffix("MessageChunk")
    if kind in ("chat", "Chat"):
        return as_text(getattr(message, "role", kind))
    if kind == "system":
        return as_text(_extra(message).get("__openai_role__", kind))
    return _ROLES.get(kind.lower(), kind)


def _extra(message: BaseMessage) -> dict[str, Any]:
    extra = message.__dict__.get("additional_kwargs")
    return extra if isinstance(extra, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _has_text(message: BaseMessage) -> bool:
    content = message.__dict__["content"]
    if not isinstance(content, (list, tuple)):
        return bool(content)
    return any(isinstance(block, str) or read_block(block).row.role == "text" for block in content)


class Call(NamedTuple):
    """A tool call, as texts."""

    name: str
    args: str
    arguments: int = 0  # how many of them


def _calls(message: BaseMessage, *, as_written: bool) -> list[Call]:
    """Return each call, as a model wrote or as LangChain sends them."""
    get = message.__dict__.get
    if not (get("tool_calls") or get("invalid_tool_calls") or get("additional_kwargs")):
        return []  # hot: most messages make no call
    listed = [*_dicts(get("tool_calls")), *_dicts(get("invalid_tool_calls"))]
    calls = [(call.get("name"), call.get("args")) for call in listed] or _raw_calls(_extra(message))
    return [
        Call(as_text(name), as_text(args, compact=as_written), len(args) if isinstance(args, dict) else 0)
        for name, args in calls
    ]


def _raw_calls(extra: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Return name and arguments of calls that stand beside the content alone."""
    raw = [call.get("function") for call in _dicts(extra.get("tool_calls"))]
    functions = _dicts([*raw, extra.get("function_call")])
    return [(each.get("name"), each.get("arguments")) for each in functions]
