"""One model call: its messages as a window, and what has to outlive the process for the next.

A view is taken of a replay that may have followed the conversation from call to call; what is held
is only a cache. Needs langchain-core alone.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from langchain_tokenbuffer._window import Budget, Oversize, Sized, Window
from langchain_tokenbuffer.buffer import Lived, TokenBuffer
from langchain_tokenbuffer.order import call_ids, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer.counters import TokenCounter

ROUNDS = 64
"""The fixed part is rounded up to this fraction of `max_tokens`, so that a clock in the system
prompt or one tool more does not move the cut."""


class View(NamedTuple):
    """What a replay has come to, apart from the replay, which may go on in another thread."""

    kept: list[int]
    clamped: dict[int, int]
    cut: int
    tokens: int
    total: int  # what all messages cost, in tokens
    seen: int  # how many messages the last call saw: those before the newest AI message
    changed: int  # the first index at which the window is not the one of the last call
    running: int  # where the running step begins; the end when there is none
    stale: int  # thinking before this index is stale, ...
    stale_then: int  # ... and was at the last call


class Trimmed(NamedTuple):
    """A conversation and its window."""

    buffer: RequestBuffer
    messages: list[BaseMessage]
    view: View
    shown: list[BaseMessage]
    thinned: tuple[int, ...]
    tokens: int

    def window(self) -> Window:
        view, inside = self.view, set(self.view.kept)
        return Window(
            kept=tuple(view.kept),
            dropped=tuple(i for i in range(len(self.messages)) if i not in inside),
            clamped=dict(view.clamped),
            cut=view.cut,
            tokens=self.tokens,
            thinned=self.thinned,
        )

    @property
    def changed(self) -> int:
        """The first index at which the request is not the last one, thinking left out included."""
        newly = (index for index in self.thinned if index >= self.view.stale_then)
        return min(self.view.changed, next(newly, self.view.changed))

    def reusable(self) -> int:
        """Return what this request and the last one have in common at their beginning, in tokens.

        Nothing before the first call; the fixed part counts as unchanged.
        """
        view, buffer = self.view, self.buffer
        if not view.seen:
            return 0
        common = self.shown[: bisect_left(view.kept, self.changed)]
        prices = buffer.token_counter.prices(common, buffer.token_counter.keys(common))
        return buffer.fixed - buffer.reserved + sum(prices)

    def evictable(self, state: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return the state's messages that left the window for good, whole steps only.

        What `oversize="drop"` left out behind the cut stays: what comes next depends on it.
        """
        end = self.view.cut
        if end == len(self.messages):  # no tail: the newest turn was left out
            humans = [i for i, each in enumerate(self.messages) if kind_of(each) == "human"]
            end = max(humans, default=0)
        inside = set(self.view.kept)
        gone = {id(self.messages[i]) for i in range(end) if i not in inside}
        if not gone:
            return []
        # A step is whole in the state and in the request: LangChain adds errors for calls that
        # could not be read to the request alone, and other middlewares take messages out of it.
        whole = {
            message.id
            for unit in _units(self.messages)
            if all(id(message) in gone and message.id for message in unit)
            for message in unit
        }
        evicted: list[list[BaseMessage]] = []
        turn_stays = False  # a step that stays needs the human message of its turn
        for unit in reversed(list(_units(state))):
            is_human = kind_of(unit[0]) == "human"
            stays = (is_human and turn_stays) or any(each.id not in whole for each in unit)
            turn_stays = (stays or turn_stays) and not is_human
            if not stays:
                evicted.append(unit)
        return [message for unit in reversed(evicted) for message in unit]

    def remembered_thinned(self) -> dict[str, Any]:
        """Return whose thinking was left out, for calls that cannot find it out themselves."""
        thinned = [message.id for message in map(self.messages.__getitem__, self.thinned)]
        return {"thinned": thinned} if thinned else {}

    def remembered_sizes(self, evicted: Sequence[BaseMessage]) -> dict[str, Any]:
        """Return what the evicted messages would tell a replay that no longer sees them."""
        ids = {index: message.id for index, message in enumerate(self.messages) if message.id}
        sizes = {ids[i]: size for i, size in self.view.clamped.items() if i in ids}
        left = {message.id for message in evicted}
        stay = [message for message in self.messages if message.id not in left]
        marks = _fingerprints(stay, sizes)
        if not sizes:
            return {}
        marked = {each: [size, marks[each]] for each, size in sizes.items()}
        return {"basis": self.buffer.basis, "sizes": marked}


# --- following a conversation -----------------------------------------------------------------


class RequestBuffer(TokenBuffer):
    """The buffer of one request: whatever is no message is its fixed part."""

    def __init__(
        self,
        max_tokens: int,
        *,
        token_counter: TokenCounter,
        trim_to: float,
        pin: Callable[[BaseMessage], bool] | None,
        oversize: Oversize,
        fixed: int,
        reserved: int,
    ) -> None:
        super().__init__(
            max_tokens, token_counter=token_counter, trim_to=trim_to, pin=pin, oversize=oversize
        )
        self.token_counter = token_counter  # the same object: replays are told apart by it
        self.fixed = fixed
        self.reserved = reserved
        self.sizes: dict[int, int] = {}  # by index, of messages clamped by an earlier replay
        self._sizes: dict[int, int] = {}  # the same by identity
        step = max(1, max_tokens // ROUNDS)
        rounded = -(-fixed // step) * step
        self._budget = replace(super().budget(), fixed=rounded, slack=rounded - fixed)

    @override
    def budget(self) -> Budget:
        return self._budget

    @property
    def basis(self) -> list[Any]:
        """What clamp sizes hold under, in JSON types."""
        budget = self._budget
        settings = [budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize]
        return [*settings, self.token_counter.describe()]

    def remember(self, sizes: dict[int, int], messages: Sequence[BaseMessage]) -> None:
        """Take over the sizes, by index, to which an earlier replay clamped messages."""
        self.sizes = sizes
        self._sizes = {id(messages[index]): size for index, size in sizes.items()}

    @override
    def sized(self, message: BaseMessage, price: int) -> Sized:
        sized = super().sized(message, price)
        if not self._sizes:
            return sized
        return sized._replace(clamped=self._sizes.get(id(message)))

    @override
    def begin(self, budget: Budget) -> Followed:
        return Followed(self, budget)

    def measured(self, messages: list[BaseMessage]) -> View:
        """Return the view by a counter that is not additive."""
        window, lived = self._measured(messages)
        assert isinstance(lived, Followed)  # noqa: S101  # `begin` made it
        return lived.view()._replace(tokens=window.tokens)


class Followed(Lived):
    """A replay that knows what the last model call saw: what came before the newest AI message."""

    __slots__ = ("_changed", "_running", "_seen", "_sizes", "_stale", "_stale_then", "_total")

    def __init__(self, buffer: TokenBuffer, budget: Budget | None = None) -> None:
        super().__init__(buffer, budget)
        self._total = 0
        self._seen = self._changed = 0
        self._stale = self._stale_then = 0
        self._running: int | None = None  # where the running step begins
        self._sizes: dict[int, int] = {}

    def goes_on(self, buffer: RequestBuffer, keys: Sequence[int]) -> bool:
        """Tell whether this is the beginning of a conversation, lived through as it would be."""
        known = len(self.keys)
        if not self.replay.strained:  # the slack made no difference so far
            self.replay.budget = replace(self.replay.budget, slack=buffer.budget().slack)
        return (
            self.is_of(buffer)
            and self.keys == keys[:known]
            and self._sizes == {i: size for i, size in buffer.sizes.items() if i < known}
        )

    @override
    def push(
        self,
        buffer: TokenBuffer,
        messages: Sequence[BaseMessage],
        keys: Sequence[int],
        look: Callable[[int], BaseMessage],
    ) -> list[int]:
        left: list[int] = []
        self._total += sum(buffer.token_counter.prices(messages, keys))
        for message, key in zip(messages, keys, strict=True):
            index, kind = self.replay.count, kind_of(message)
            if kind == "ai":
                self._seen = self._changed = index
                self._stale_then = self._stale
                self._running = index if call_ids(message) else None
            elif kind == "human":
                self._running = None
            left += super().push(buffer, [message], [key], look)
            if self.replay.changed < index:
                self._changed = min(self._changed, self.replay.changed)
                # A step that is running goes on with its thinking; a reply ends its own.
                over = index + (kind == "ai")
                self._stale = over if self._running is None else self._running
        self._sizes = getattr(buffer, "sizes", self._sizes)
        return left

    def view(self) -> View:
        """Return what it has come to.

        Raises:
            TokenBudgetError: If the last message does not fit and nothing allowed makes it fit.
        """
        replay = self.replay
        kept, clamped = replay.kept()
        return View(
            kept=kept,
            clamped=clamped,
            cut=replay.cut,
            tokens=replay.tokens - replay.budget.slack,
            total=self._total,
            seen=self._seen,
            changed=self._changed,
            running=replay.count if self._running is None else self._running,
            stale=self._stale,
            stale_then=self._stale_then,
        )


class Known:
    """What the private state knows of a thread."""

    def __init__(self, state: Mapping[str, Any], model: str) -> None:
        self.held: dict[str, Any] = state.get("token_buffer") or {}
        self.model = model
        self.limits: dict[str, int] = self.held.get("limits", {})
        self.limit = self.limits.get(model)
        self.thinned: set[str] = set(self.held.get("thinned", ()))

    def sizes(self, messages: Sequence[BaseMessage], basis: list[Any]) -> dict[int, int]:
        """Return the clamp sizes by index, where all up to the message is as it was."""
        known = self.held.get("sizes")
        if not known or self.held["basis"] != basis:
            return {}
        marks = _fingerprints(messages, known)
        return {
            index: known[message.id][0]
            for index, message in enumerate(messages)
            if message.id in marks and known[message.id][1] == marks[message.id]
        }


def _fingerprints(messages: Sequence[BaseMessage], ids: Iterable[str | None]) -> dict[str, str]:
    """Return, for messages with these ids, a fingerprint of the conversation up to them.

    The same in every process, unlike a hash.
    """
    wanted = set(ids)
    marks: dict[str, str] = {}
    if not wanted:
        return marks
    digest = blake2b(digest_size=12)
    for message in messages:
        said = (kind_of(message), message.content, getattr(message, "tool_calls", None))
        digest.update(repr(said).encode(errors="backslashreplace"))
        if message.id is not None and message.id in wanted:
            marks[message.id] = digest.hexdigest()
    return marks


def _units(messages: Sequence[BaseMessage]) -> Iterator[list[BaseMessage]]:
    """Yield the conversation in units: what is evicted as a whole."""
    unit: list[BaseMessage] = []
    for message in messages:
        if unit and kind_of(message) in ("ai", "human"):
            yield unit
            unit = []
        unit.append(message)
    if unit:
        yield unit


_THINKING = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})


def thin(message: BaseMessage) -> BaseMessage | None:
    """Return a copy without thinking blocks; `None` if it has none, or nothing else."""
    if kind_of(message) != "ai" or isinstance(message.content, str):
        return None
    blocks = [
        block
        for block in message.content
        if not (isinstance(block, dict) and block.get("type") in _THINKING)
    ]
    if len(blocks) == len(message.content) or not (blocks or call_ids(message)):
        return None
    return message.model_copy(update={"content": blocks})
