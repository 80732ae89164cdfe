"""`TokenBuffer`: a counter and a window, as one object every surface uses."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import run_in_executor

from langchain_tokenbuffer._counting.clamp import clamp, min_tokens
from langchain_tokenbuffer._messages.convert import MessagesLike, as_messages
from langchain_tokenbuffer._messages.kinds import call_ids, kind_of
from langchain_tokenbuffer._window import Budget, Oversize, Replay, Sized, Window
from langchain_tokenbuffer.counters import CountedBy, TokenCounter
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.runnables import RunnableConfig

logger = logging.getLogger(__name__)


class TokenBuffer(Runnable[MessagesLike, list[BaseMessage]]):
    """Keeps a conversation within a token budget: counted exactly, cut safely, cheap to cache.

    Laws, for every conversation: the window never costs more than `max_tokens` as the counter
    counts; it is valid (no tool result without its call, a human message first after the system
    messages); the newest message is last and the system messages and the current question are in
    it; it is a subsequence of the input, of the same objects; trimming twice is trimming once;
    while the budget holds the next window extends the last one; and it depends on nothing but the
    messages and the settings, so every instance and process computes the same.

    Edges: laws on validity and order are promised for conversations whose calls and results are
    in order. A message that has to be clamped is a shortened copy; `window` names it. What stands
    before the first human message leaves when that comes, pinned or not: providers refuse it. With
    a callable that is not additive the window is still within budget, but no longer stable.

    Args:
        max_tokens: High-water mark, in tokens: a window never costs more.
        token_counter: What counts: a chat model or LLM, an encoding name, a `TokenCounter`, or
            any callable from a list of messages to an int.
        trim_to: Low-water mark in (0, 1]. When `max_tokens` would be passed the cut moves on until
            the tail takes at most this share of what is left to it, then holds still, so that the
            provider's prompt cache stays warm. 1.0 keeps as much as possible and moves every turn.
        pin: Tells which messages stay whatever the budget, with their step and its question. So
            does `additional_kwargs={"pinned": True}`.
        oversize: When what must stay does not fit: `"clamp"` shortens the biggest tool results,
            then the biggest other texts; `"raise"` raises; `"drop"` leaves the newest unit out.

    Raises:
        TypeError: If an argument has the wrong type; it names the argument.
        ValueError: If a value is out of range; it names the argument and what is accepted.

    Example:
        ```python
        chain = prompt | TokenBuffer(8000, token_counter=model) | model
        ```
    """

    def __init__(
        self,
        max_tokens: int,
        *,
        token_counter: CountedBy,
        trim_to: float = 0.6,
        pin: Callable[[BaseMessage], bool] | None = None,
        oversize: Oversize = "clamp",
    ) -> None:
        """Check the settings; count and load nothing yet."""
        self.max_tokens = checked_max_tokens(max_tokens)
        self.trim_to = checked_trim_to(trim_to)
        self.oversize: Oversize = checked_oversize(oversize)
        if pin is not None and not callable(pin):
            msg = f"pin must be a function from a message to a bool, got {pin!r}"
            raise TypeError(msg)
        self.pin = pin
        self.token_counter = TokenCounter(token_counter)
        self._lived: Lived | None = None
        self._lock = Lock()

    def trim(self, messages: MessagesLike) -> list[BaseMessage]:
        """Return the window: what the model should see.

        Args:
            messages: A list of messages, or what `trim_messages` would take as one: a prompt
                value, message-likes, a single message or a string. Never changed.

        Returns:
            A new list of the same message objects; only clamped ones are copies.

        Raises:
            TokenBudgetError: If what must stay does not fit and `oversize` cannot make it fit.
            TypeError: If `messages` is a dict such as a graph's state; it names what to pass.
        """
        messages = as_messages(messages)
        window = self._window(messages)
        return self.show(messages, window)

    async def atrim(self, messages: MessagesLike) -> list[BaseMessage]:
        """`trim`, off the event loop: the first use loads a vocabulary."""
        return await run_in_executor(None, self.trim, messages)

    def window(self, messages: MessagesLike) -> Window:
        """Return what would stay, what would go and what it costs: the dry run of `trim`.

        Raises:
            TokenBudgetError: As `trim` does.
            TypeError: As `trim` does.
        """
        return self._window(as_messages(messages))

    async def awindow(self, messages: MessagesLike) -> Window:
        """`window`, off the event loop: the first use loads a vocabulary."""
        return await run_in_executor(None, self.window, messages)

    def invoke(
        self,
        input: MessagesLike,  # noqa: A002  # Runnable's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[BaseMessage]:
        """`trim`, as a step of a chain."""
        return self._call_with_config(self.trim, input, config, **kwargs)

    async def ainvoke(
        self,
        input: MessagesLike,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[BaseMessage]:
        """`atrim`, as a step of a chain."""
        return await self._acall_with_config(self.atrim, input, config, **kwargs)

    @property
    def InputType(self) -> Any:  # noqa: N802  # Runnable's name
        """What a chain may hand in."""
        return MessagesLike

    @property
    def OutputType(self) -> Any:  # noqa: N802
        """What a chain gets."""
        return list[BaseMessage]

    def show(self, messages: Sequence[BaseMessage], window: Window) -> list[BaseMessage]:
        """Return the messages of a window, shortened where it says so."""
        if not window.clamped:
            return [messages[index] for index in window.kept]
        return [
            self.clamped(messages[index], window.clamped[index])
            if index in window.clamped
            else messages[index]
            for index in window.kept
        ]

    def budget(self) -> Budget:
        """Return the budget its replays run under."""
        return Budget(
            max_tokens=self.max_tokens,
            trim_to=self.trim_to,
            fixed=self.token_counter.constant,
            oversize=self.oversize,
        )

    def keys(self, messages: Sequence[BaseMessage]) -> list[int]:
        """Return one hash for each message, of all that its place in the window depends on."""
        keys = self.token_counter.keys(messages)
        if self.pin is not None:
            pins = map(self._is_pinned, messages)
            return [~key if pinned else key for key, pinned in zip(keys, pins, strict=True)]
        return [  # hot: most messages have no such extras
            ~key if (extra := message.additional_kwargs) and extra.get("pinned") is True else key
            for key, message in zip(keys, messages, strict=True)
        ]

    def sized(self, message: BaseMessage, price: int) -> Sized:
        """Return a message in numbers."""
        kind = kind_of(message)
        calls = len(call_ids(message)) if kind == "ai" else 0
        return Sized(kind, price, calls, self._is_pinned(message))

    def begin(self, budget: Budget) -> Lived:
        """Return a replay that has lived through nothing yet."""
        return Lived(self, budget)

    def left_out(self, why: TokenBudgetError) -> None:
        """Say that a unit did not fit and was left out of the window."""
        logger.warning("Left out of the window: %s", why)

    def clamped(self, message: BaseMessage, size: int) -> BaseMessage:
        """Return a copy of a message, shortened to at most `size` tokens."""
        return clamp(message, size, self.token_counter)

    def smallest(self, message: BaseMessage) -> int:
        """Return the smallest size, in tokens, to which a message can be clamped."""
        return min_tokens(message, self.token_counter)

    def _window(self, messages: list[BaseMessage]) -> Window:
        if self.token_counter.additive:
            return self._replayed(messages)
        return self._measured(messages)[0]

    def _replayed(self, messages: list[BaseMessage]) -> Window:
        keys = self.keys(messages)
        with self._lock:  # one thread goes on with it, others begin anew: the answer is the same
            lived, self._lived = self._lived, None
        if lived is None or not lived.is_of(self) or lived.keys != keys[: len(lived.keys)]:
            lived = self.begin(self.budget())
        lived.go_on(self, messages, keys)
        try:
            window = lived.window()
        finally:
            self._lived = lived  # only now: who takes it may go on with it at once
        if not window.clamped:
            return window
        # The replay charges a clamped message its target; shown, it may cost a little less.
        tokens = self.token_counter(self.show(messages, window))
        return replace(window, tokens=tokens, clamped=dict(window.clamped))

    def _measured(self, messages: list[BaseMessage]) -> tuple[Window, Lived]:
        """The window by a counter that is not additive: the cut moves on until the whole fits."""
        keys = self.keys(messages)
        # First everything: what messages cost alone may add up to more than the whole does.
        prices = self.token_counter.tokens(messages, keys)
        budget = self.budget()
        fixed = budget.fixed - budget.slack - self.token_counter.constant
        budget = replace(budget, max_tokens=max(self.max_tokens, budget.fixed + sum(prices)))
        tokens = 0
        while True:
            lived = self.begin(budget)
            lived.unsaid = []  # what is left out on the way to the answer is not left out
            lived.go_on(self, messages, keys)
            try:
                window = lived.window()
            except TokenBudgetError as error:
                tokens = max(tokens, error.tokens)
                msg = (
                    f"What must stay needs {tokens} tokens as {self.token_counter.describe()} "
                    f"counts the whole window; max_tokens is {self.max_tokens}."
                )
                raise TokenBudgetError(msg, tokens=tokens, max_tokens=self.max_tokens) from error
            tokens = fixed + self.token_counter(self.show(messages, window))
            if tokens <= self.max_tokens:
                for why in lived.unsaid:
                    self.left_out(why)
                return replace(window, tokens=tokens), lived
            # By the excess where a message costs in the whole what it costs alone; in proportion
            # where it costs more.
            share = window.tokens * self.max_tokens // tokens
            tighter = max(share, window.tokens - (tokens - self.max_tokens))
            budget = replace(budget, max_tokens=min(tighter, window.tokens - 1))

    def _is_pinned(self, message: BaseMessage) -> bool:
        extra = message.additional_kwargs
        if extra and extra.get("pinned") is True:
            return True
        if self.pin is None:
            return False
        pinned = self.pin(message)
        if not isinstance(pinned, bool):
            msg = f"pin must return a bool, got {pinned!r} for a message of type {message.type!r}"
            raise TypeError(msg)
        return pinned

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings; what was lived through is only a cache."""
        return {**vars(self), "_lived": None}

    def __repr__(self) -> str:
        """Show the settings."""
        return (
            f"TokenBuffer({self.max_tokens}, token_counter={self.token_counter!r}, "
            f"trim_to={self.trim_to}, oversize={self.oversize!r})"
        )


class Lock:
    """A lock that pickles and copies, as a new one."""

    def __init__(self) -> None:
        """Make it open."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        """Wait for it."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Let the next one in."""
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        """Be another lock elsewhere."""
        return Lock, ()


class Lived:
    """A replay and the keys of what it has lived through: a cache of an answer, nothing more."""

    __slots__ = ("_counter", "_window", "keys", "replay", "unsaid")

    def __init__(self, buffer: TokenBuffer, budget: Budget | None = None) -> None:
        """Begin before the first message, under the buffer's budget or another."""
        self.replay = Replay(budget or buffer.budget())
        self.keys: list[int] = []
        self.unsaid: list[TokenBudgetError] | None = None  # a list keeps what was left out quiet
        self._counter = buffer.token_counter
        self._window: Window | None = None

    def is_of(self, buffer: TokenBuffer) -> bool:
        """Tell whether this was lived through under the buffer's present settings."""
        return self._counter is buffer.token_counter and self.replay.budget == buffer.budget()

    def go_on(
        self, buffer: TokenBuffer, messages: Sequence[BaseMessage], keys: Sequence[int]
    ) -> None:
        """Live through what is new of a conversation."""
        known = len(self.keys)
        self.push(buffer, messages[known:], keys[known:], messages.__getitem__)
        self.keys += keys[known:]

    def push(
        self,
        buffer: TokenBuffer,
        messages: Sequence[BaseMessage],
        keys: Sequence[int],
        look: Callable[[int], BaseMessage],
    ) -> list[int]:
        """Live through the next messages and return the indices that left the window.

        Args:
            buffer: Whose settings and counter these are.
            messages: The next messages.
            keys: Their keys.
            look: Returns the message at an index, of those in the window and the new ones.
        """
        left: list[int] = []
        if messages:
            self._window = None
        for message, price in zip(
            messages, buffer.token_counter.tokens(messages, keys), strict=True
        ):
            left += self.replay.push(
                buffer.sized(message, price), lambda index: buffer.smallest(look(index))
            )
            if self.replay.left_out is not None:
                say = buffer.left_out if self.unsaid is None else self.unsaid.append
                say(self.told(self.replay.left_out))
        return left

    def told(self, error: TokenBudgetError) -> TokenBudgetError:
        """Return the error as the caller should read it."""
        return error

    def window(self) -> Window:
        """Return the window after the last message.

        Raises:
            TokenBudgetError: As `Replay.window` does.
        """
        if self._window is None:
            self._window = self.replay.window()
        return self._window


def checked_max_tokens(value: object, name: str = "max_tokens") -> int:
    """Return a budget that is one.

    Raises:
        TypeError: If it is not an int.
        ValueError: If it is below 1.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{name} must be an int of at least 1, got {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    if value < 1:
        msg = f"{name} must be an int of at least 1, got {value}"
        raise ValueError(msg)
    return value


def checked_trim_to(value: object) -> float:
    """Return a low-water mark that is one.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is outside (0, 1].
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        msg = f"trim_to must be a number in (0, 1], got {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    if not 0 < value <= 1:
        msg = f"trim_to must be a number in (0, 1], got {value}"
        raise ValueError(msg)
    return float(value)


def checked_oversize(value: object) -> Oversize:
    """Return a policy that is one.

    Raises:
        ValueError: If it is not.
    """
    for known in get_args(Oversize):
        if value == known:
            policy: Oversize = known
            return policy
    msg = f"oversize must be 'clamp', 'raise' or 'drop', got {value!r}"
    raise ValueError(msg)
