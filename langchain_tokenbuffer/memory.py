"""`ConversationTokenBufferMemory`: the drop-in for `memory=`."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal, Self, cast

from langchain_classic.memory.chat_memory import BaseChatMemory
from langchain_classic.memory.utils import get_prompt_input_key
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, get_buffer_string
from langchain_core.runnables.config import run_in_executor
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    SerializationInfo,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from typing_extensions import override

from langchain_tokenbuffer._counting.resolve import unwrapped
from langchain_tokenbuffer._handlers import OnEvict, async_handler, logged_failure, sync_handler
from langchain_tokenbuffer._memory.buffers import Counted, MemoryBuffer
from langchain_tokenbuffer._memory.stores import MemoryCache, OwnStore, StoreWindow
from langchain_tokenbuffer._window.budget import Oversize
from langchain_tokenbuffer._window.settings import (
    checked_max_tokens,
    checked_oversize,
    checked_recall,
    checked_trim_to,
    neighbour_of,
)
from langchain_tokenbuffer.counters import TokenCounter
from langchain_tokenbuffer.errors import TokenBudgetError

_ASYNC_ON_EVICT = "on_evict is a coroutine function: asave_context awaits it, save_context cannot."
_COMES_AGAIN = "the turn is stored, and the same messages come again with the next one"
_OUTPUT_KEYS = ("answer", "result", "response", "text")
"""Where LangChain's own chains put their reply, when `output` is not among several keys."""


def _checked_llm(value: object) -> object:
    """Return what counts, without what is bound to it; pydantic would refuse a tokenizer."""
    value = unwrapped(value)
    try:
        TokenCounter(value)  # type: ignore[arg-type]  # this is the check
    except (TypeError, ValueError) as error:
        msg = f"llm: {error}"
        raise type(error)(msg) from None
    return value


def _checked_limit(value: object) -> int:
    """Return a limit; a number in a string or a float is taken as the classic class takes it."""
    if isinstance(value, (str, float)):
        with suppress(ValidationError):
            value = TypeAdapter(int).validate_python(value)
    return checked_max_tokens(value, "max_token_limit")


def _dumped_llm(value: object, info: SerializationInfo) -> object:
    """Dump a model as the classic class does; of a callable there is only what it is."""
    if isinstance(value, BaseLanguageModel):
        # The fields of the declared class alone: a model's own may be many, and secret.
        adapter: TypeAdapter[Any] = TypeAdapter(BaseLanguageModel)
        return adapter.dump_python(value, mode="json" if info.mode_is_json() else "python")
    return value if isinstance(value, str) else TokenCounter(cast("Any", value)).describe()


class ConversationTokenBufferMemory(BaseChatMemory):
    """Keeps the recent interactions of a chat within a token limit: the drop-in for `memory=`.

    Takes what LangChain's class of this name takes and does what it promises, also when async, over a database-backed
    history, on load, with text that spells a special token, and with a reply larger than the limit.

    Law: what it shows is the window of `TokenBuffer` over the messages of `chat_memory`, sync and async alike. In its
    own in-memory store what leaves the window leaves memory, after `on_evict` returned; any other `chat_memory` keeps
    everything and is only windowed. `save_context` counts before it stores, so a bad input never leaves a half-saved
    turn. Edge: what does not fit even when clamped is left out, with one warning that names both numbers; only
    `oversize="raise"` raises, and then before anything is stored.

    Args:
        llm: What counts: a model, or whatever `TokenBuffer(token_counter=...)` takes.
        max_token_limit: The budget, in tokens.
        memory_key: The variable the chain's prompt has for the history.
        return_messages: Whether that variable is a list of messages, not a string.
        human_prefix: What human messages begin with in the string.
        ai_prefix: What AI messages begin with in the string.
        input_key: Which input is the human message; `None`: the only one.
        output_key: Which output is the reply; `None`: the only one, else the first present of `output`, `answer`,
            `result`, `response`, `text`.
        chat_memory: Where messages are kept; the default is a list of its own.
        trim_to: Low-water mark in (0, 1]. 1.0, the default, keeps as much as the limit allows, as the classic class
            does; less keeps the provider's prompt cache warm.
        start_on: `"human"`: a window begins with a human message and keeps turns whole. `None`, with `oversize="drop"`:
            single messages leave one by one, exactly as with the classic class.
        oversize: When what must stay does not fit: `"clamp"`, `"raise"` or `"drop"`.
        on_evict: Called with the messages that left the window, in order, before they are deleted from the memory's own
            store. What it raises is logged at ERROR: the turn is stored, nothing is deleted, and the same messages come
            again with the next save. A coroutine function is awaited by `asave_context`; `save_context` raises
            `TypeError` for one, before storing.
        recall_tokens: How much of the limit is for what left the window and matches the chain's input, in tokens. It
            stands in the last lines of the string, quoted. The memory's own store then keeps all messages. A list of
            messages has none: with `return_messages=True` put a `TokenBuffer` behind the prompt.

    Raises:
        ValueError: If a value is out of range, an option unknown, or `on_evict` is given with a `chat_memory` that is
            not the memory's own; it names the argument.
        TypeError: If `llm` cannot count or a value has the wrong type; it names the argument.

    Example:
        ```python
        memory = ConversationTokenBufferMemory(llm=OpenAI(), max_token_limit=60)
        chain = ConversationChain(llm=OpenAI(), memory=memory)
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", validate_assignment=True)

    chat_memory: BaseChatMessageHistory = Field(default_factory=OwnStore)
    human_prefix: str = "Human"
    ai_prefix: str = "AI"
    llm: Annotated[Any, BeforeValidator(_checked_llm), PlainSerializer(_dumped_llm)]
    memory_key: str = "history"
    max_token_limit: Annotated[int, BeforeValidator(_checked_limit)] = 2000
    trim_to: Annotated[float, BeforeValidator(checked_trim_to)] = 1.0
    start_on: Literal["human"] | None = "human"
    oversize: Annotated[Oversize, BeforeValidator(checked_oversize)] = "clamp"
    on_evict: OnEvict | None = Field(default=None, exclude=True)
    recall_tokens: Annotated[int, BeforeValidator(checked_recall)] = 0

    _cache: MemoryCache = PrivateAttr(default_factory=lambda: MemoryCache())  # noqa: PLW0108  # defined below

    @model_validator(mode="before")
    @classmethod
    def _suggest_options(cls, values: Any) -> Any:
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields and (meant := neighbour_of(name, cls.model_fields)) is not None:
                msg = f"{cls.__name__} has no option {name!r}; did you mean {meant!r}?"
                raise ValueError(msg)
        return values

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.start_on is None and self.oversize != "drop":
            msg = (
                f"start_on=None lets single messages leave, which needs oversize='drop'; got oversize={self.oversize!r}"
            )
            raise ValueError(msg)
        checked_recall(self.recall_tokens, self.max_token_limit, name="max_token_limit")
        if self.recall_tokens and self.return_messages:
            msg = (
                "recall_tokens is for the string that a memory shows. With return_messages=True leave it out, and put "
                "TokenBuffer(..., recall_tokens=...) behind the prompt."
            )
            raise ValueError(msg)
        if self.recall_tokens and self.on_evict is not None:
            msg = (
                f"on_evict is called for messages that leave the memory's own store, but with recall_tokens="
                f"{self.recall_tokens} it keeps them to recall them. Leave recall_tokens out, or on_evict."
            )
            raise ValueError(msg)
        if self.on_evict is not None and self._own_store is None:
            msg = (
                "on_evict is called for messages that leave the memory's own store, but chat_memory is a "
                f"{type(self.chat_memory).__name__}, which keeps everything. Leave chat_memory out, or on_evict."
            )
            raise ValueError(msg)
        return self

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        """Assign a setting; if it is refused, the memory stays as it was."""
        fields, fields_set = self.__dict__.copy(), self.model_fields_set.copy()
        try:
            super().__setattr__(name, value)
        except (TypeError, ValueError):
            # pydantic assigns first and asks `_check_together` then.
            self.__dict__.update(fields)
            self.model_fields_set.intersection_update(fields_set)
            raise

    @property
    def memory_variables(self) -> list[str]:
        """The one variable it adds to a chain's inputs."""
        return [self.memory_key]

    @property
    def buffer(self) -> str | list[BaseMessage]:
        """The window, as `return_messages` says."""
        return self.buffer_as_messages if self.return_messages else self.buffer_as_str

    @property
    def buffer_as_str(self) -> str:
        """The window as a string."""
        return self._as_str(self._shown(self.chat_memory.messages, as_lines=True))

    @property
    def buffer_as_messages(self) -> list[BaseMessage]:
        """The window as a list of messages; raises what `load_memory_variables` does."""
        return self._shown(self.chat_memory.messages)

    @override
    def load_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the window under `memory_key`.

        Raises:
            TokenBudgetError: With `oversize="raise"`, if what must stay does not fit.
        """
        if self.recall_tokens:
            return {self.memory_key: self._recalling_str(self.chat_memory.messages, inputs)}
        return {self.memory_key: self.buffer}

    @override
    async def aload_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """`load_memory_variables`, with the history's own async reading."""
        if self.recall_tokens:
            stored = await self.chat_memory.aget_messages()
            return {self.memory_key: await run_in_executor(None, self._recalling_str, stored, inputs)}
        as_lines = not self.return_messages
        shown = await run_in_executor(None, self._shown, await self.chat_memory.aget_messages(), as_lines=as_lines)
        return {self.memory_key: shown if self.return_messages else self._as_str(shown)}

    def _as_str(self, messages: list[BaseMessage]) -> str:
        return get_buffer_string(messages, self.human_prefix, self.ai_prefix)

    def _recalling_str(self, messages: list[BaseMessage], inputs: dict[str, Any]) -> str:
        text = self._as_str(self._shown(messages, as_lines=True))
        question = None
        with suppress(ValueError):  # of several inputs, or none, it is not known which is the question
            question = inputs.get(self.input_key or get_prompt_input_key(inputs, self.memory_variables))
        if isinstance(question, BaseMessage):
            question = question.text
        buffer, _ = self._buffer_and_window()
        return buffer.with_recalled(text, messages, question) if isinstance(question, str) else text

    def _shown(self, messages: list[BaseMessage], *, as_lines: bool = False) -> list[BaseMessage]:
        buffer, store_window = self._buffer_and_window()
        try:
            shown = store_window.show() if store_window else buffer.trimmed(messages)
            shown = buffer.within_lines(shown, self._as_str(shown)) if as_lines and buffer.turns else shown
        except TokenBudgetError as error:
            buffer.raise_or_warn(error)
            return []
        buffer.warned = False
        return shown

    @override
    def save_context(self, inputs: dict[str, Any], outputs: dict[str, str]) -> None:
        """Store one turn; in the memory's own store, delete what left the window.

        Raises:
            ValueError: If it cannot be told which input or output to store.
            TokenBudgetError: With `oversize="raise"`, if the turn does not fit.
            TypeError: If `on_evict` is a coroutine function. One that only turns out to be when it is called, such as a
                lambda around one, is logged as what `on_evict` raises.
        """
        hand_over = sync_handler(self.on_evict, _ASYNC_ON_EVICT, "Nothing was stored.")
        turn, counted, buffer, store_window = self._read_turn(inputs, outputs)
        if buffer.oversize == "raise":
            buffer.window([*self.chat_memory.messages, *turn])
        self.chat_memory.add_messages(turn)
        if store_window is None:
            return
        store_window.catch_up(counted, delete=self.on_evict is None)
        if self.on_evict is not None:
            with logged_failure("on_evict", _COMES_AGAIN), store_window.evicting() as evicted:
                hand_over(evicted)

    @override
    async def asave_context(self, inputs: dict[str, Any], outputs: dict[str, str]) -> None:
        """`save_context`, with the history's own async writing; awaits `on_evict` if need be."""
        hand_over = async_handler(self.on_evict)
        turn, counted, buffer, store_window = await run_in_executor(None, self._read_turn, inputs, outputs)
        if buffer.oversize == "raise":
            stored = await self.chat_memory.aget_messages()
            await run_in_executor(None, buffer.window, [*stored, *turn])
        await self.chat_memory.aadd_messages(turn)
        if store_window is None:
            return
        await run_in_executor(None, store_window.catch_up, counted, delete=self.on_evict is None)
        if self.on_evict is not None:
            with logged_failure("on_evict", _COMES_AGAIN), store_window.evicting() as evicted:
                await hand_over(evicted)

    def _read_turn(
        self, inputs: dict[str, Any], outputs: dict[str, str]
    ) -> tuple[list[BaseMessage], Counted, MemoryBuffer, StoreWindow | None]:
        question, reply = self._get_input_output(inputs, outputs)
        turn: list[BaseMessage] = [HumanMessage(content=question), AIMessage(content=reply)]
        buffer, store_window = self._buffer_and_window()
        return turn, buffer.read(turn), buffer, store_window

    @override
    def _get_input_output(self, inputs: dict[str, Any], outputs: dict[str, str]) -> tuple[str, str]:
        if self.output_key is None and len(outputs) > 1 and "output" not in outputs:
            # The classic class gives up here, although LangChain's own chains answer like this.
            outputs = next(({key: outputs[key]} for key in _OUTPUT_KEYS if key in outputs), outputs)
        return super()._get_input_output(inputs, outputs)

    @property
    def _own_store(self) -> OwnStore | None:
        """The store, if nobody passed it and nothing is recalled: then what leaves the window is deleted from it."""
        store = self.chat_memory
        if self.recall_tokens or "chat_memory" in self.model_fields_set:
            return None
        return store if isinstance(store, OwnStore) else None

    def _buffer_and_window(self) -> tuple[MemoryBuffer, StoreWindow | None]:
        """Return what counts, and what follows the own store, for the present settings."""
        prefixes = self.human_prefix, self.ai_prefix
        limits = self.max_token_limit, self.trim_to, self.oversize, self.start_on, self.recall_tokens
        settings = id(self.llm), *limits, *prefixes
        store = self._own_store
        # Hot: asked for by name, pydantic looks a private attribute up in Python.
        cache: MemoryCache = self.__pydantic_private__["_cache"]  # type: ignore[index]
        with cache.lock:
            if cache.buffer is None or cache.settings != settings:
                cache.settings, cache.store_window = settings, None
                cache.buffer = MemoryBuffer(
                    self.llm,
                    self.max_token_limit,
                    trim_to=self.trim_to,
                    oversize=self.oversize,
                    turns=self.start_on == "human",
                    prefixes=prefixes,
                    recalled=self.recall_tokens,
                )
            if store is not None and (cache.store_window is None or cache.store_window.store is not store):
                cache.store_window = StoreWindow(cache.buffer, store, cache.lock)
            return cache.buffer, cache.store_window if store is not None else None
