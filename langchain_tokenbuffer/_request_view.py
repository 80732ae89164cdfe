"""One model call: its messages as a window.

A view is taken of a replay that may have followed the conversation from call to call; what is held
is only a cache. Needs langchain-core alone.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from langchain_tokenbuffer._counting.anchoring import (
    NO_ANCHOR,
    Anchor,
    Report,
    is_by,
    is_plausible,
    report_of,
)
from langchain_tokenbuffer._messages.kinds import call_ids, kind_of
from langchain_tokenbuffer._thread_state import fingerprints
from langchain_tokenbuffer._window import Budget, Oversize, Sized, Window
from langchain_tokenbuffer.buffer import Lived, TokenBuffer
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._thread_state import Known
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
    total: int  # what the request would cost with all messages, in tokens
    anchor: Anchor
    since: int  # the index from which on no report has told of a message
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
        prices = buffer.token_counter.tokens(common, buffer.token_counter.keys(common))
        later = sum(prices[bisect_left(view.kept, view.since) :])
        return buffer.billed(view.anchor, sum(prices), later) - buffer.reserved

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

    def remembered_anchor(
        self, known: Known, evicted: Sequence[BaseMessage], *, anew: bool
    ) -> dict[str, Any]:
        """Return under which settings replies reported their usage, and from which one on.

        Args:
            known: What was remembered so far.
            evicted: What later calls do not see.
            anew: Whether replays cannot find this anchor themselves from now on.
        """
        basis, anchor = self.buffer.basis, self.view.anchor
        held = known.held.get("anchored") if known.held.get("basis") == basis else None
        if held is not None and not anew:
            return {"basis": basis, "anchored": held}
        # What is not known yet is taken to be as it is now, from the beginning on.
        is_later = bool(self.messages) and (anew or "anchored" in known.held)
        newest = self.messages[-1].id if is_later else None
        if newest is None or anchor is NO_ANCHOR:
            return {"basis": basis, "anchored": [newest, None, None]}
        left = {message.id for message in evicted}
        later = (each.id for each in self.messages[self.view.since :] if each.id not in left)
        return {"basis": basis, "anchored": [newest, list(anchor), next(later, None)]}

    def remembered_sizes(self, evicted: Sequence[BaseMessage]) -> dict[str, Any]:
        """Return what the evicted messages would tell a replay that no longer sees them."""
        ids = {index: message.id for index, message in enumerate(self.messages) if message.id}
        sizes = {ids[i]: size for i, size in self.view.clamped.items() if i in ids}
        left = {message.id for message in evicted}
        stay = [message for message in self.messages if message.id not in left]
        marks = fingerprints(stay, sizes)
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
        self.believes = False  # whether replies' reports are anchors, ...
        self.model: str | None = None  # ... by this model
        self.reports: list[Report | None] = []  # of each message, if so
        self.anchor = NO_ANCHOR  # before the first of these reports, ...
        self.since = 0  # ... and the index from which on it tells of no message
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

    @property
    def beside(self) -> int:
        """What is counted beside the messages, rounded up, so that replays agree on it."""
        return self._budget.fixed - self.reserved

    def billed(self, anchor: Anchor, window: int, later: int) -> int:
        """Return what a request costs by what its messages, and the later of them, count to."""
        if anchor is NO_ANCHOR:
            return self.fixed + window
        return self.reserved + anchor.tokens(window, later, self.beside)

    def budget_by(self, anchor: Anchor, later: int) -> Budget:
        """Return the budget in counted tokens.

        Replays go on in these. A report only changes how many of them `max_tokens` is worth.
        """
        room = anchor.room(self.max_tokens - self.reserved, later, self.beside)
        return replace(self._budget, max_tokens=self._budget.fixed + room, slack=0)

    def anchored(self, anchor: Anchor, reply: BaseMessage, report: Report, window: int) -> Anchor:
        """Return the anchor after a reply to a window that is counted to so many tokens.

        A report that cannot be this window's bill is stale: of a request with other tools, under
        other settings, or with messages that are deleted since.
        """
        if not is_plausible(report, self.beside + window) or not is_by(reply, self.model):
            return anchor
        counter = self.token_counter
        (price,) = counter.tokens([reply], counter.keys([reply]))
        if counter.borrowed_tokenizer:
            return anchor.moved(reply, report, window, price)
        if report.input <= self.beside + window and not counter.is_estimate:
            return NO_ANCHOR
        # A text is billed again as it is counted: what is off stands beside the messages.
        return Anchor(window + price, report.input + price)

    def remember(self, known: Known, messages: Sequence[BaseMessage]) -> None:
        """Take over what an earlier replay came to, of messages that are deleted since."""
        self.sizes = known.sizes(messages, self.basis)
        self._sizes = {id(messages[index]): size for index, size in self.sizes.items()}

    def believe(self, known: Known, model: str | None, messages: Sequence[BaseMessage]) -> None:
        """Take the usage that replies report as anchors, where they answer requests like this."""
        self.believes = True
        self.model = model
        first, self.anchor, self.since = known.anchor(messages, self.basis)
        self.reports = [*([None] * first), *map(report_of, messages[first:])]

    def settle(self, anchor: Anchor, since: int) -> None:
        """Count as another replay of the same conversation came to, and learn no more."""
        self.anchor, self.since = anchor, since
        self.reports = []

    def cost(self, message: BaseMessage, price: int) -> int:
        """Return what a message costs when it comes, in tokens."""
        return min(price, self._sizes.get(id(message), price))

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

    __slots__ = (
        "_after",
        "_anchor",
        "_begun",
        "_buffer",
        "_changed",
        "_reports",
        "_running",
        "_seen",
        "_since",
        "_sizes",
        "_stale",
        "_stale_then",
        "_total",
    )

    def __init__(self, buffer: RequestBuffer, budget: Budget) -> None:
        super().__init__(buffer, budget)
        self._buffer = buffer
        self._begun = budget, buffer.anchor, buffer.since
        self._anchor, self._since = buffer.anchor, buffer.since
        self._reports: list[Report | None] = []
        self._total = 0
        self._after = 0  # of it, what no report has told of
        self._seen = self._changed = 0
        self._stale = self._stale_then = 0
        self._running: int | None = None  # where the running step begins
        self._sizes: dict[int, int] = {}

    def goes_on(self, buffer: RequestBuffer, keys: Sequence[int]) -> bool:
        """Tell whether this is the beginning of a conversation, lived through as it would be."""
        known = len(self.keys)
        budget, anchor, since = self._begun
        if not self.replay.strained:  # the slack made no difference so far
            budget = replace(budget, slack=buffer.budget().slack)
        if (
            self._counter is not buffer.token_counter
            or (budget, anchor, since) != (buffer.budget(), buffer.anchor, buffer.since)
            or self.keys != keys[:known]
            or self._reports != buffer.reports[:known]
            or self._sizes != {i: size for i, size in buffer.sizes.items() if i < known}
        ):
            return False
        self._begun = budget, anchor, since
        self._buffer = buffer
        if self._anchor is NO_ANCHOR:
            self.replay.budget = budget
        return True

    @override
    def push(
        self,
        buffer: TokenBuffer,
        messages: Sequence[BaseMessage],
        keys: Sequence[int],
        look: Callable[[int], BaseMessage],
    ) -> list[int]:
        left: list[int] = []
        prices = buffer.token_counter.tokens(messages, keys)
        self._total += sum(prices)
        reports = self._buffer.reports[self.replay.count :][: len(messages)]
        for message, key, price in zip(messages, keys, prices, strict=True):
            index, kind = self.replay.count, kind_of(message)
            if kind == "ai":
                self._seen = self._changed = index
                self._stale_then = self._stale
                self._running = index if call_ids(message) else None
                if reports and (report := self._buffer.reports[index]) is not None:
                    self._learn(message, report)
            elif kind == "human":
                self._running = None
            if self._anchor is not NO_ANCHOR:
                self._reckon(message, price)
            left += super().push(buffer, [message], [key], look)
            if self.replay.changed < index:
                self._anchor = self._anchor.cut() if self._anchor.asked_billed else self._anchor
                self._changed = min(self._changed, self.replay.changed)
                # A step that is running goes on with its thinking; a reply ends its own.
                over = index + (kind == "ai")
                self._stale = over if self._running is None else self._running
        self._reports += reports
        self._sizes = self._buffer.sizes
        return left

    def _learn(self, reply: BaseMessage, report: Report) -> None:
        """From this message on the budget is worth what its report says, and no sooner."""
        window = self.replay.tokens - self.replay.budget.fixed
        anchor = self._buffer.anchored(self._anchor, reply, report, window)
        if anchor is not self._anchor:
            self._anchor, self._since, self._after = anchor, self.replay.count + 1, 0
            if anchor is NO_ANCHOR:
                self.replay.budget = self._begun[0]

    def _reckon(self, message: BaseMessage, price: int) -> None:
        """What no report has told of costs more or less than what it has: so goes the budget."""
        later = self.replay.cost_from(self._since)
        if self.replay.count >= self._since:
            later += self._buffer.cost(message, price)
            self._after += price
        self.replay.budget = self._buffer.budget_by(self._anchor, later)

    @override
    def told(self, error: TokenBudgetError) -> TokenBudgetError:
        if self._anchor is NO_ANCHOR:
            return error
        window = error.tokens - self.replay.budget.fixed
        later = min(window, self.replay.cost_from(self._since))
        tokens = self._buffer.billed(self._anchor, window, later)
        made_of = {name: n * tokens // error.tokens for name, n in error.made_of.items()}
        made_of["the fixed part of the request"] += tokens - sum(made_of.values())
        clamped = self.replay.budget.oversize == "clamp"
        return TokenBudgetError.of(made_of, self._buffer.max_tokens, clamped=clamped)

    def view(self) -> View:
        """Return what it has come to.

        Raises:
            TokenBudgetError: If the last message does not fit and nothing allowed makes it fit.
        """
        replay, bill = self.replay, self._buffer.billed
        try:
            kept, clamped = replay.kept()
        except TokenBudgetError as error:
            raise self.told(error) from None
        return View(
            kept=kept,
            clamped=clamped,
            cut=replay.cut,
            tokens=bill(
                self._anchor,
                replay.tokens - replay.budget.fixed,
                replay.cost_from(self._since),
            ),
            total=bill(self._anchor, self._total, self._after),
            anchor=self._anchor,
            since=self._since,
            seen=self._seen,
            changed=self._changed,
            running=replay.count if self._running is None else self._running,
            stale=self._stale,
            stale_then=self._stale_then,
        )


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
