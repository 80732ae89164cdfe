"""`ConversationTokenBufferMemory`: the drop-in for `memory=`."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace
from operator import is_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, cast

from langchain_classic.memory.chat_memory import BaseChatMemory
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
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
from langchain_tokenbuffer._window.budget import MessageTokens, Oversize
from langchain_tokenbuffer._window.driver import WindowDriver
from langchain_tokenbuffer._window.settings import checked_max_tokens, checked_oversize, checked_trim_to, neighbour_of
from langchain_tokenbuffer.buffer import TokenBuffer
from langchain_tokenbuffer.counters import TokenCounter
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tokenbuffer._messages.slots import Piece, StandIn
    from langchain_tokenbuffer._window.budget import Budget

_ASYNC_ON_EVICT = "on_evict is a coroutine function: asave_context awaits it, save_context cannot."
_COMES_AGAIN = "the turn is stored, and the same messages come again with the next one"
_Counted: TypeAlias = list[tuple[BaseMessage, int, MessageTokens]]
"""Messages, each with its key and its numbers."""
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


class _OwnStore(InMemoryChatMessageHistory):
    """The memory's own list of messages. A subclass, since the class itself warns when made."""

    @override
    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add them at once: one by one, the turns of two threads would mix."""
        self.messages.extend(messages)


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

    chat_memory: BaseChatMessageHistory = Field(default_factory=_OwnStore)
    human_prefix: str = "Human"
    ai_prefix: str = "AI"
    llm: Annotated[Any, BeforeValidator(_checked_llm), PlainSerializer(_dumped_llm)]
    memory_key: str = "history"
    max_token_limit: Annotated[int, BeforeValidator(_checked_limit)] = 2000
    trim_to: Annotated[float, BeforeValidator(checked_trim_to)] = 1.0
    start_on: Literal["human"] | None = "human"
    oversize: Annotated[Oversize, BeforeValidator(checked_oversize)] = "clamp"
    on_evict: OnEvict | None = Field(default=None, exclude=True)

    _cache: _Cache = PrivateAttr(default_factory=lambda: _Cache())  # noqa: PLW0108  # defined below

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
        return {self.memory_key: self.buffer}

    @override
    async def aload_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """`load_memory_variables`, with the history's own async reading."""
        as_lines = not self.return_messages
        shown = await run_in_executor(None, self._shown, await self.chat_memory.aget_messages(), as_lines=as_lines)
        return {self.memory_key: shown if self.return_messages else self._as_str(shown)}

    def _as_str(self, messages: list[BaseMessage]) -> str:
        return get_buffer_string(messages, self.human_prefix, self.ai_prefix)

    def _shown(self, messages: list[BaseMessage], *, as_lines: bool = False) -> list[BaseMessage]:
        buffer, store_window = self._buffer_and_window()
        try:
            shown = store_window.show() if store_window else buffer.trim(messages)
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
    ) -> tuple[list[BaseMessage], _Counted, _Buffer, _StoreWindow | None]:
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
    def _own_store(self) -> _OwnStore | None:
        """The store, if nobody passed it: then what leaves the window may be deleted from it."""
        store = self.chat_memory
        return store if isinstance(store, _OwnStore) and "chat_memory" not in self.model_fields_set else None

    def _buffer_and_window(self) -> tuple[_Buffer, _StoreWindow | None]:
        """Return what counts, and what follows the own store, for the present settings."""
        limits = id(self.llm), self.max_token_limit, self.trim_to, self.oversize, self.start_on
        settings = *limits, self.human_prefix, self.ai_prefix
        store = self._own_store
        # Hot: asked for by name, pydantic looks a private attribute up in Python.
        cache: _Cache = self.__pydantic_private__["_cache"]  # type: ignore[index]
        with cache.lock:
            if cache.buffer is None or cache.buffer.settings != settings:
                cache.buffer, cache.store_window = _Buffer(self, settings), None
            if store is not None and (cache.store_window is None or cache.store_window.store is not store):
                cache.store_window = _StoreWindow(cache.buffer, store, cache.lock)
            return cache.buffer, cache.store_window if store is not None else None


class _Buffer(TokenBuffer):
    """The buffer of a memory: leaves out what does not fit even when clamped, and warns once."""

    def __init__(self, memory: ConversationTokenBufferMemory, settings: tuple[object, ...]) -> None:
        limit, llm = memory.max_token_limit, memory.llm
        super().__init__(limit, token_counter=llm, trim_to=memory.trim_to, oversize=memory.oversize)
        self.settings = settings
        self.warned = False
        self._llm = llm  # held, since the settings have its id
        self.turns = memory.start_on == "human"
        self.lines = self.token_counter.as_lines(memory.human_prefix, memory.ai_prefix)

    def within_lines(self, window: list[BaseMessage], text: str) -> list[BaseMessage]:
        """Return what of a window is within the limit also as the string that a chain gets."""
        lines = copy(self)
        lines.token_counter = self.lines
        return window if self.lines.text_tokens(text) <= self.max_tokens else lines.trim(window)

    def read(self, messages: list[BaseMessage]) -> _Counted:
        """Return messages in numbers. What it cannot count is not to be stored."""
        if not self.token_counter.additive:
            self.token_counter(messages)
        meter = self.meter
        keys = meter.keys(messages)
        return list(zip(messages, keys, meter.numbers(messages, keys), strict=True))

    @override
    def budget(self) -> Budget:
        return replace(super().budget(), turns=self.turns, drop_if_unclampable=True)

    @override
    def log_dropped(self, errors: Sequence[TokenBudgetError]) -> None:
        if not errors or not self.turns:  # without turns an empty window is what was asked for
            return
        self.warned = True
        if self.oversize == "drop":
            super().log_dropped(errors)
        else:
            for error in errors:
                warnings.warn(f"Left out of the window: {error}", stacklevel=2)

    def raise_or_warn(self, error: TokenBudgetError) -> None:
        """Raise if that was asked for; else warn, unless it did since the last window."""
        if self.oversize == "raise":
            raise error
        if not self.warned:
            self.log_dropped([error])


class _Cache:
    """What a memory has worked out so far; elsewhere and in copies it is worked out anew."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.buffer: _Buffer | None = None
        self.store_window: _StoreWindow | None = None

    def __reduce__(self) -> tuple[type[_Cache], tuple[()]]:
        return _Cache, ()


class _StoreWindow:
    """The window over the memory's own store, from which messages are deleted.

    Law: catching up and deleting are O(new messages), at any limit. A message keeps the index that it came with when
    others before it are deleted. A store that was changed in another way is followed anew.
    """

    def __init__(self, buffer: _Buffer, store: _OwnStore, lock: threading.RLock) -> None:
        self._buffer = buffer
        self.store = store
        self._lock = lock
        self._being_evicted: set[int] = set()  # ids of the messages `on_evict` is busy with
        self._start_over()

    def _start_over(self) -> None:
        self._driver = WindowDriver(self._buffer.budget())
        # By index, in order, the store as it was seen last:
        self._messages: dict[int, BaseMessage] = {}
        self._keys: dict[int, int] = {}
        self._to_evict: set[int] = set()  # of these, what left the window

    def show(self) -> list[BaseMessage]:
        """Return the window. O(store): every message is looked at, so every change is seen."""
        with self._lock:
            buffer, messages = self._buffer, list(self.store.messages)
            if not buffer.token_counter.additive:
                return buffer.trim(messages)
            meter = buffer.meter
            if meter.keys(messages[: len(self._keys)]) != list(self._keys.values()):
                self._start_over()
            # Equal messages may have taken the places of those seen before.
            self._messages = dict(zip(self._messages, messages, strict=False))
            self._grow(buffer.read(messages[len(self._messages) :]))
            return meter.show(self._messages, self._driver.slots(), self._driver.clamped())

    def catch_up(self, turn: _Counted, *, delete: bool) -> None:
        """Follow what was stored since, as a rule a turn; delete what leaves, if that is all."""
        with self._lock:
            messages, known = self.store.messages, len(self._messages)
            newest = next(reversed(self._messages.values()), None)
            if known > len(messages) or (known and messages[known - 1] is not newest):
                self._start_over()
            new = messages[len(self._messages) :]
            is_turn = len(new) == len(turn) and new[0] is turn[0][0]  # a turn is stored at once
            self._grow(turn if is_turn else self._buffer.read(new))
            if delete:
                self._delete(self._evictable())

    @contextmanager
    def evicting(self) -> Iterator[list[BaseMessage]]:
        """Lend what left the window, and delete it from the store unless that raises.

        Skips messages that another thread or task is already evicting.
        """
        with self._lock:
            evicted = self._evictable()
            self._being_evicted.update(map(id, evicted))
        try:
            yield evicted
            with self._lock:
                self._delete(evicted)
        finally:
            with self._lock:
                self._being_evicted.difference_update(map(id, evicted))

    def _evictable(self) -> list[BaseMessage]:
        left = map(self._messages.__getitem__, sorted(self._to_evict))
        return [message for message in left if id(message) not in self._being_evicted]

    def _delete(self, evicted: list[BaseMessage]) -> None:
        """Delete these very objects. O(the places up to the last of them).

        By identity and not by place: a handler may have changed the store. What others append meanwhile stays, since
        only the part up to the last of them is replaced.
        """
        messages, ids = self.store.messages, set(map(id, evicted))
        for index in [each for each in self._to_evict if id(self._messages[each]) in ids]:
            self._to_evict.remove(index)
            del self._messages[index], self._keys[index]
        if all(map(is_, evicted, messages)):
            del messages[: len(evicted)]  # hot: as a rule they are the oldest
            return
        wanted, stays = Counter(map(id, evicted)), list[BaseMessage]()
        for message in messages:
            if not wanted:
                break
            if id(message) not in wanted:
                stays.append(message)
            elif wanted[id(message)] == 1:
                del wanted[id(message)]
            else:
                wanted[id(message)] -= 1  # one message, stored twice
        messages[: len(stays) + len(evicted) - wanted.total()] = stays

    def _grow(self, new: _Counted) -> None:
        driver, additive = self._driver, self._buffer.token_counter.additive
        try:
            for index, (message, key, numbers) in enumerate(new, driver.count):
                self._messages[index], self._keys[index] = message, key
                if additive:
                    left = driver.push(numbers, self)
                    self._to_evict.update(left)
            if not additive:
                driver.skip_to(driver.count + len(new))
                self._to_evict = self._dropped()
            self._buffer.log_dropped(driver.take_drop_errors())
        except BaseException:
            self._start_over()  # followed by half: a counter or a warning has raised
            raise

    # As a source, for the driver.

    def min_tokens(self, index: int) -> int:
        return self._buffer.meter.min_tokens(self._messages[index])

    def mended_tokens(self, slot: StandIn | Piece) -> int | None:
        return self._buffer.meter.mended_tokens(self._messages[slot.index], slot)

    def _dropped(self) -> set[int]:
        """Return what is not in the window, by a counter that is not additive."""
        indices = list(self._messages)
        try:
            window = self._buffer.window(list(self._messages.values()))
        except TokenBudgetError as error:
            self._buffer.raise_or_warn(error)
            return set(indices)
        return {indices[position] for position in window.dropped}
