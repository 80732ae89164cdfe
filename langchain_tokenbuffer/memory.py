"""`ConversationTokenBufferMemory`: the drop-in for `memory=`."""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from itertools import compress
from operator import is_
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, cast

from langchain_classic.memory.chat_memory import BaseChatMemory
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, get_buffer_string
from langchain_core.runnables import RunnableBinding
from langchain_core.runnables.config import run_in_executor
from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    SerializationInfo,
    TypeAdapter,
    field_serializer,
    field_validator,
    model_validator,
)
from typing_extensions import override

from langchain_tokenbuffer._handlers import OnEvict, ahand_over, hand_over, is_async
from langchain_tokenbuffer._window import Oversize
from langchain_tokenbuffer.buffer import (
    Lived,
    Lock,
    TokenBuffer,
    checked_max_tokens,
    checked_oversize,
    checked_trim_to,
)
from langchain_tokenbuffer.counters import TokenCounter
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tokenbuffer._window import Budget

StartOn: TypeAlias = Literal["human"] | None

_ASYNC_ON_EVICT = (
    "on_evict is a coroutine function, which asave_context awaits and save_context cannot."
)
_OUTPUT_KEYS = ("answer", "result", "response", "text")
"""Where LangChain's own chains put their reply, when `output` is not among several keys."""


class _OwnStore(InMemoryChatMessageHistory):
    """The memory's own list of messages. A subclass, since the class itself warns when made."""

    @override
    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add them at once: one by one, the turns of two threads would mix."""
        self.messages.extend(messages)


class ConversationTokenBufferMemory(BaseChatMemory):
    """Keeps the recent interactions of a chat within a token limit: the drop-in for `memory=`.

    Takes what LangChain's class of this name takes and does what it promises, also when async,
    over a database-backed history, on load, with text that spells a special token, and with a
    reply larger than the limit.

    Law: what it shows is the window of `TokenBuffer` over the messages of `chat_memory`, sync and
    async alike. In its own in-memory store what leaves the window leaves memory, after `on_evict`
    returned; any other `chat_memory` keeps everything and is only windowed. `save_context` counts
    before it stores, so a bad input never leaves a half-saved turn. Edge: what fits not even
    clamped is left out, with one warning that names both numbers; only `oversize="raise"` raises,
    and then before anything is stored.

    Args:
        llm: What counts: a model, or whatever `TokenBuffer(token_counter=...)` takes.
        max_token_limit: The budget, in tokens.
        memory_key: The variable the chain's prompt has for the history.
        return_messages: Whether that variable is a list of messages, not a string.
        human_prefix: What human messages begin with in the string.
        ai_prefix: What AI messages begin with in the string.
        input_key: Which input is the human message; `None`: the only one.
        output_key: Which output is the reply; `None`: the only one, else the first present of
            `output`, `answer`, `result`, `response`, `text`.
        chat_memory: Where messages are kept; the default is a list of its own.
        trim_to: Low-water mark in (0, 1]. 1.0, the default, keeps as much as the limit allows, as
            the classic class does; less keeps the provider's prompt cache warm.
        start_on: `"human"`: a window begins with a human message and keeps turns whole. `None`,
            with `oversize="drop"`: single messages leave one by one, exactly as with the classic
            class.
        oversize: When what must stay does not fit: `"clamp"`, `"raise"` or `"drop"`.
        on_evict: Called with the messages that left the window, in order, before they are deleted
            from the memory's own store. If it raises, the error goes through, nothing is deleted
            and the same messages come again with the next save. A coroutine function is awaited
            by `asave_context`; `save_context` raises `TypeError` for one, before storing.

    Raises:
        ValueError: If a value is out of range, an option unknown, or `on_evict` is given with a
            `chat_memory` that is not the memory's own; it names the argument.
        TypeError: If `llm` cannot count or a value has the wrong type; it names the argument.

    Example:
        ```python
        memory = ConversationTokenBufferMemory(llm=OpenAI(), max_token_limit=60)
        chain = ConversationChain(llm=OpenAI(), memory=memory)
        ```
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", validate_assignment=True
    )

    chat_memory: BaseChatMessageHistory = Field(default_factory=_OwnStore)
    human_prefix: str = "Human"
    ai_prefix: str = "AI"
    llm: Any  # `_check_llm` knows what counts; pydantic would refuse a tokenizer
    memory_key: str = "history"
    max_token_limit: int = 2000
    trim_to: float = 1.0
    start_on: StartOn = "human"
    oversize: Oversize = "clamp"
    on_evict: OnEvict | None = Field(default=None, exclude=True)

    _cache: _Cache = PrivateAttr(default_factory=lambda: _Cache())  # noqa: PLW0108  # defined below

    @field_validator("llm", mode="before")
    @classmethod
    def _check_llm(cls, value: object) -> object:
        while isinstance(value, RunnableBinding):
            value = value.bound
        try:
            TokenCounter(value)  # type: ignore[arg-type]  # this is the check
        except (TypeError, ValueError) as error:
            msg = f"llm: {error}"
            raise type(error)(msg) from None
        return value

    @field_validator("max_token_limit", mode="before")
    @classmethod
    def _check_max_token_limit(cls, value: object) -> int:
        return checked_max_tokens(value, "max_token_limit")

    @field_validator("trim_to", mode="before")
    @classmethod
    def _check_trim_to(cls, value: object) -> float:
        return checked_trim_to(value)

    @field_validator("oversize", mode="before")
    @classmethod
    def _check_oversize(cls, value: object) -> Oversize:
        return checked_oversize(value)

    @field_serializer("llm")
    def _dump_llm(self, value: object, info: SerializationInfo) -> object:
        """Dump a model as the classic class does; of a callable there is only what it is."""
        if isinstance(value, BaseLanguageModel):
            # The fields of the declared class alone: a model's own may be many, and secret.
            adapter: TypeAdapter[Any] = TypeAdapter(BaseLanguageModel)
            return adapter.dump_python(value, mode="json" if info.mode_is_json() else "python")
        if isinstance(value, str):
            return value
        return TokenCounter(cast("Any", value)).describe()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.start_on is None and self.oversize != "drop":
            msg = (
                f"start_on=None lets single messages leave, which needs oversize='drop'; "
                f"got oversize={self.oversize!r}"
            )
            raise ValueError(msg)
        if self.on_evict is not None and not self._owns_store:
            msg = (
                "on_evict is called for messages that leave the memory's own store, but "
                f"chat_memory is a {type(self.chat_memory).__name__}, which keeps everything. "
                "Leave chat_memory out, or on_evict."
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

    # --- what it shows ---

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
        return self._as_str(self.buffer_as_messages)

    @property
    def buffer_as_messages(self) -> list[BaseMessage]:
        """The window as a list of messages.

        Raises:
            TokenBudgetError: With `oversize="raise"`, if what must stay does not fit.
        """
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
        shown = await run_in_executor(None, self._shown, await self.chat_memory.aget_messages())
        return {self.memory_key: shown if self.return_messages else self._as_str(shown)}

    def _as_str(self, messages: list[BaseMessage]) -> str:
        return get_buffer_string(messages, self.human_prefix, self.ai_prefix)

    def _shown(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        buffer, following = self._at_work()
        try:
            shown = following.show() if following else buffer.trim(messages)
        except TokenBudgetError as error:
            buffer.nothing_fits(error)
            return []
        buffer.has_said = False
        return shown

    # --- what it keeps ---

    @override
    def save_context(self, inputs: dict[str, Any], outputs: dict[str, str]) -> None:
        """Store one turn; in the memory's own store, let go of what left the window.

        Raises:
            ValueError: If it cannot be told which input or output to store.
            TokenBudgetError: With `oversize="raise"`, if the turn does not fit.
            TypeError: If `on_evict` is a coroutine function. One that only turns out to be when it
                is called, such as a lambda around one, raises after the turn was stored; nothing is
                deleted.
        """
        if self.on_evict is not None and is_async(self.on_evict):
            msg = f"{_ASYNC_ON_EVICT} Nothing was stored."
            raise TypeError(msg)
        turn = self._turn(inputs, outputs)
        buffer, following = self._at_work()
        buffer.check(turn)
        if buffer.oversize == "raise":
            buffer.window([*self.chat_memory.messages, *turn])
        self.chat_memory.add_messages(turn)
        if following is None:
            return
        following.catch_up()
        with following.letting_go() as gone:
            if gone and self.on_evict is not None:
                msg = f"{_ASYNC_ON_EVICT} The turn was stored, nothing was deleted."
                hand_over(self.on_evict, gone, msg)

    @override
    async def asave_context(self, inputs: dict[str, Any], outputs: dict[str, str]) -> None:
        """`save_context`, with the history's own async writing; awaits `on_evict` if need be."""
        turn = self._turn(inputs, outputs)
        buffer, following = await run_in_executor(None, self._at_work)
        await run_in_executor(None, buffer.check, turn)
        if buffer.oversize == "raise":
            stored = await self.chat_memory.aget_messages()
            await run_in_executor(None, buffer.window, [*stored, *turn])
        await self.chat_memory.aadd_messages(turn)
        if following is None:
            return
        await run_in_executor(None, following.catch_up)
        with following.letting_go() as gone:
            if gone and self.on_evict is not None:
                await ahand_over(self.on_evict, gone)

    def _turn(self, inputs: dict[str, Any], outputs: dict[str, str]) -> list[BaseMessage]:
        question, reply = self._get_input_output(inputs, outputs)
        return [HumanMessage(content=question), AIMessage(content=reply)]

    @override
    def _get_input_output(self, inputs: dict[str, Any], outputs: dict[str, str]) -> tuple[str, str]:
        if self.output_key is None and len(outputs) > 1 and "output" not in outputs:
            # The classic class gives up here, although LangChain's own chains answer like this.
            outputs = next(({key: outputs[key]} for key in _OUTPUT_KEYS if key in outputs), outputs)
        return super()._get_input_output(inputs, outputs)

    # --- how ---

    @property
    def _owns_store(self) -> bool:
        """Whether nobody passed a `chat_memory`: then what leaves the window may be deleted."""
        return isinstance(self.chat_memory, _OwnStore) and (
            "chat_memory" not in self.model_fields_set
        )

    def _at_work(self) -> tuple[_Buffer, _Following | None]:
        """Return what counts, and what follows the own store, for the present settings."""
        cache = self._cache
        with cache.lock:
            buffer, following = cache.buffer, cache.following
            if buffer is None or not buffer.is_of(self):
                buffer = cache.buffer = _Buffer(self)
            if not self._owns_store:
                return buffer, None
            store = cast("_OwnStore", self.chat_memory)
            if following is None or following.buffer is not buffer or following.store is not store:
                following = cache.following = _Following(buffer, store, cache.lock)
            return buffer, following


class _Buffer(TokenBuffer):
    """The buffer of a memory: it leaves out what fits not even clamped, and says so once."""

    def __init__(self, memory: ConversationTokenBufferMemory) -> None:
        super().__init__(
            memory.max_token_limit,
            token_counter=memory.llm,
            trim_to=memory.trim_to,
            oversize=memory.oversize,
        )
        self._llm = memory.llm
        self._turns = memory.start_on == "human"
        self.has_said = False

    def is_of(self, memory: ConversationTokenBufferMemory) -> bool:
        return (
            self._llm is memory.llm
            and self.max_tokens == memory.max_token_limit
            and self.trim_to == memory.trim_to
            and self.oversize == memory.oversize
            and self._turns == (memory.start_on == "human")
        )

    def check(self, messages: Sequence[BaseMessage]) -> None:
        """Count, so that what cannot be counted is not stored."""
        counter = self.token_counter
        counter.tokens(messages, counter.keys(messages))
        if not counter.additive:
            counter(messages)

    @override
    def budget(self) -> Budget:
        return replace(super().budget(), turns=self._turns, else_drop=True)

    @override
    def left_out(self, why: TokenBudgetError) -> None:
        if not self._turns:
            return  # an empty window is what was asked for
        self.has_said = True
        if self.oversize == "drop":
            super().left_out(why)
        else:
            warnings.warn(f"Left out of the window: {why}", stacklevel=2)

    def nothing_fits(self, why: TokenBudgetError) -> None:
        """Raise if that was asked for, else say it, unless the same was said a moment ago."""
        if self.oversize == "raise":
            raise why
        if not self.has_said:
            self.left_out(why)


class _Cache:
    """What a memory has worked out so far; elsewhere and in copies it is worked out anew."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.buffer: _Buffer | None = None
        self.following: _Following | None = None

    def __reduce__(self) -> tuple[type[_Cache], tuple[()]]:
        return _Cache, ()


class _Following:
    """The window over the memory's own store, followed turn by turn without looking back.

    `_seen` is the store as it was seen last. Of each message in it, `_indices` has the index it
    came with, which it keeps when others before it are deleted, and `_keys` its key.
    """

    def __init__(self, buffer: _Buffer, store: _OwnStore, lock: Lock) -> None:
        self.buffer = buffer
        self.store = store
        self._lock = lock
        self._in_hand: set[int] = set()  # ids of the messages `on_evict` is busy with
        self._start_over()

    def _start_over(self) -> None:
        self._lived = Lived(self.buffer)
        self._count = 0
        self._seen: list[BaseMessage] = []
        self._indices: list[int] = []
        self._keys: list[int] = []
        self._left: set[int] = set()  # indices of what left the window and is still in the store

    def show(self) -> list[BaseMessage]:
        """Return the window; here every message is looked at, so every change is seen."""
        with self._lock:
            messages = list(self.store.messages)
            if not self.buffer.token_counter.additive:
                return self.buffer.trim(messages)
            keys = self.buffer.keys(messages)
            if keys[: len(self._keys)] != self._keys:
                self._start_over()
            self._grow(messages[len(self._keys) :])
            self._seen = messages
            kept, clamped = self._lived.replay.kept()
            return [
                self.buffer.clamped(message, clamped[index]) if index in clamped else message
                for index, message in zip(kept, map(self._look, kept), strict=True)
            ]

    def catch_up(self) -> None:
        """Live through what the store got since; start over if it was changed otherwise."""
        with self._lock:
            messages = self.store.messages
            known = len(self._seen)
            if known > len(messages) or (known and messages[known - 1] is not self._seen[-1]):
                self._start_over()
            self._grow(messages[len(self._seen) :])

    @contextmanager
    def letting_go(self) -> Iterator[list[BaseMessage]]:
        """Hand out what left the window, and delete it from the store unless that raises.

        What is in one hand already, of another thread or task, is not handed out again.
        """
        with self._lock:
            left = [self._look(index) for index in sorted(self._left)]
            gone = [message for message in left if id(message) not in self._in_hand]
            ids = set(map(id, gone))
            self._in_hand |= ids
        try:
            yield gone
            with self._lock:
                self._left = {i for i in self._left if id(self._look(i)) not in ids}
                _remove(gone, self.store.messages)
                _remove(gone, self._seen, self._indices, self._keys)
        finally:
            with self._lock:
                self._in_hand -= ids

    def _look(self, index: int) -> BaseMessage:
        return self._seen[bisect_left(self._indices, index)]

    def _grow(self, messages: Sequence[BaseMessage]) -> None:
        if not messages:
            return
        keys = self.buffer.keys(messages)
        self._seen += messages
        self._indices += range(self._count, self._count + len(messages))
        self._keys += keys
        self._count += len(messages)
        try:
            if self.buffer.token_counter.additive:
                self._left.update(self._lived.push(self.buffer, messages, keys, self._look))
            else:
                self._left = {self._indices[position] for position in self._dropped()}
        except BaseException:
            self._start_over()  # lived through by half: a counter or a warning has raised
            raise

    def _dropped(self) -> Sequence[int]:
        """Return the places that are not in the window, by a counter that is not additive."""
        try:
            return self.buffer.window(self._seen).dropped
        except TokenBudgetError as error:
            self.buffer.nothing_fits(error)
            return range(len(self._seen))


def _remove(gone: Sequence[BaseMessage], messages: list[BaseMessage], *beside: list[int]) -> None:
    """Remove these very objects from a list, and what has the same places in the lists beside.

    By identity and not by place: a handler may have changed the list. What others append
    meanwhile stays, since only the part up to the last of them is replaced.
    """
    lists: tuple[list[Any], ...] = (messages, *beside)
    if all(map(is_, gone, messages)):
        for each in lists:
            del each[: len(gone)]
        return
    wanted, missing = Counter(map(id, gone)), len(gone)
    stays: list[bool] = []
    for message in messages:
        if not missing:
            break
        is_gone = wanted[id(message)] > 0
        wanted[id(message)] -= is_gone
        missing -= is_gone
        stays.append(not is_gone)
    for each in lists:
        each[: len(stays)] = list(compress(each, stays))
