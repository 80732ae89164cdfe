"""`TokenBuffer`: a counter and a window, as one object every surface uses."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import run_in_executor

from langchain_tokenbuffer._counting.resolve import bound_options
from langchain_tokenbuffer._messages.convert import MessagesLike, as_messages
from langchain_tokenbuffer._recall.questions import newest_question
from langchain_tokenbuffer._recall.quotation import is_quoted
from langchain_tokenbuffer._recall.recalling import Match, RecallingHistory
from langchain_tokenbuffer._recall.turns import Recalled, Turn, TurnRecall
from langchain_tokenbuffer._window.billing import Billing
from langchain_tokenbuffer._window.budget import Budget, Oversize, Window, slack_of
from langchain_tokenbuffer._window.conversation import ConversationTokens, MessageMeter
from langchain_tokenbuffer._window.drivers import DriverCache
from langchain_tokenbuffer._window.settings import (
    checked_bool,
    checked_max_tokens,
    checked_oversize,
    checked_pin,
    checked_recall,
    checked_reserve,
    checked_trim_to,
    suggests_options,
)
from langchain_tokenbuffer.counters import CountedBy, TokenCounter, Tool, message_counter
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
    from langchain_core.runnables import RunnableConfig

    from langchain_tokenbuffer._counting.message_counters import MessageCounter
    from langchain_tokenbuffer._messages.slots import Slot
    from langchain_tokenbuffer._window.driver import WindowDriver

logger = logging.getLogger(__name__)


class TokenBuffer(Runnable[MessagesLike, list[BaseMessage]]):
    """Keeps a conversation within a token budget: counted exactly, cut safely, cheap to cache.

    Laws, for every conversation: the window never costs more than `max_tokens` as the counter counts; it is valid (no
    tool result without its call, no call of a step that is over without its result, a human message first after the
    system messages); the newest message is last and the system messages and the current question are in it; it is of
    the same objects, in order; trimming twice is trimming once; while the budget holds the next window extends the last
    one; and it depends on nothing but the messages and the settings, so every instance and process computes the same.
    With `recall_tokens` the current question is a copy, for its turn alone, that quotes what left and matches it.

    Edges: what is out of order is mended as `repair` does, and listed in `Window.mended`: results stand behind their
    call, and abandoned calls have a result that says so until theirs comes. What is clamped or cleared is a shortened
    copy; `window` names it. What stands before the first human message leaves when that comes, pinned or not: providers
    refuse it. A window begins at the newest compaction block. With a callable that is not additive the window is still
    within budget, but no longer stable.

    Args:
        max_tokens: High-water mark, in tokens: a window never costs more.
        token_counter: What counts, as for `TokenCounter`: a chat model or LLM, the name of one or of an encoding, a
            `TokenCounter`, or any callable from a list of messages to an int.
        trim_to: Low-water mark in (0, 1]. When `max_tokens` would be passed the cut moves on until the tail takes at
            most this share of what is left to it, then holds still, so that the provider's prompt cache stays warm. 1.0
            keeps as much as possible and moves every turn.
        pin: Tells which messages stay whatever the budget, with their step and its question. So does
            `additional_kwargs={"pinned": True}`.
        oversize: When what must stay does not fit: `"clamp"` shortens the biggest tool results, then the biggest other
            texts; `"raise"` raises; `"drop"` leaves the newest unit out.
        clear_results: Whether results of old steps go to their marker before whole steps leave; the newest steps, whose
            results together take at most half of the room, are left alone.
        reserve_tokens: Kept free of `max_tokens`, for the reply or what is added behind it, in tokens.
        tools: What the request also carries, whatever `bind_tools` takes; by default the tools that are bound to the
            model handed in. With tools or a reserve the fixed part is rounded up to a multiple of 1/64 of `max_tokens`;
            the rounding refuses nothing that fits.
        recall_tokens: How much of `max_tokens` is for what left the window and matches the newest question, in tokens.
            When a question comes, passages of earlier messages are ranked by the words they share with it; what fits is
            quoted in front of it, in a copy that is never stored. The cut is decided at `max_tokens` - `recall_tokens`.

    Raises:
        TypeError: If an argument has the wrong type; it names the argument.
        ValueError: If a value is out of range; it names the argument and what is accepted.

    Example:
        ```python
        chain = prompt | TokenBuffer(8000, token_counter=model) | model
        ```
    """

    @suggests_options
    def __init__(
        self,
        max_tokens: int,
        *,
        token_counter: CountedBy,
        trim_to: float = 0.6,
        pin: Callable[[BaseMessage], bool] | None = None,
        oversize: Oversize = "clamp",
        clear_results: bool = False,
        reserve_tokens: int = 0,
        tools: Sequence[Tool] = (),
        recall_tokens: int = 0,
    ) -> None:
        """Check the settings; count and load nothing yet."""
        self.max_tokens = checked_max_tokens(max_tokens)
        self.trim_to = checked_trim_to(trim_to)
        self.oversize: Oversize = checked_oversize(oversize)
        self.clear_results = checked_bool(clear_results, "clear_results")
        self.pin = checked_pin(pin)
        self.reserve_tokens = checked_reserve(reserve_tokens, self.max_tokens)
        self.recall_tokens = checked_recall(recall_tokens, self.max_tokens, self.reserve_tokens)
        self.token_counter = TokenCounter(token_counter)
        self.tools = [*tools] or [*bound_options(self.token_counter.token_counter).get("tools", ())]
        self._drivers = DriverCache()
        self._recall = TurnRecall(self.recall_tokens)

    def trim(self, messages: MessagesLike) -> list[BaseMessage]:
        """Return the window: what the model should see.

        Args:
            messages: A list of messages, or what `trim_messages` would take as one: a prompt value, message-likes, a
                single message or a string. Never changed.

        Returns:
            A new list of the same message objects; only what is clamped or cleared is a copy, what mending adds new.

        Raises:
            TokenBudgetError: If what must stay does not fit and `oversize` cannot make it fit.
            TokenBufferError: If all there is are tool results whose calls are not there.
            TypeError: If `messages` is a dict such as a graph's state; it names what to pass.
        """
        return self._trim(as_messages(messages))

    async def atrim(self, messages: MessagesLike) -> list[BaseMessage]:
        """`trim`, off the event loop: the first use loads a vocabulary."""
        return await run_in_executor(None, self.trim, messages)

    def window(self, messages: MessagesLike) -> Window:
        """Return what would stay, what would go and what it costs: the dry run of `trim`.

        Args:
            messages: As for `trim`.

        Returns:
            The window by index into `messages`.

        Raises:
            TokenBudgetError: As `trim` does.
            TypeError: As `trim` does.
        """
        turn = Turn.of(as_messages(messages), self.recall_tokens, self._counter)
        conversation = ConversationTokens(turn.messages, meter_of(self))
        with self._follow(conversation) as (driver, whole_tokens):
            window, slots, shortened = driver.window(), driver.slots(), driver.clamped()
        if whole_tokens is None and not shortened and turn.question is None:
            return window
        shown = conversation.show(slots, shortened)
        recalled = self._quote(turn, conversation, slots, shown)
        if whole_tokens is None or recalled.text:
            # What is shortened is charged its target; shown, it may cost a little less.
            whole_tokens = self._fixed - self._counter.constant + self._counter.whole(shown)
        return replace(window, tokens=whole_tokens, clamped=dict(window.clamped), recalled=recalled.messages)

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
        return self._call_with_config(self._step, input, config, **kwargs)

    async def ainvoke(
        self,
        input: MessagesLike,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[BaseMessage]:
        """`atrim`, as a step of a chain."""
        return await self._acall_with_config(self._astep, input, config, **kwargs)

    @property
    def InputType(self) -> Any:  # noqa: N802  # Runnable's name
        """What a chain may hand in."""
        return MessagesLike

    @property
    def OutputType(self) -> Any:  # noqa: N802
        """What a chain gets."""
        return list[BaseMessage]

    @property
    def _counter(self) -> MessageCounter:
        return message_counter(self.token_counter)

    def _budget(self) -> Budget:
        fixed, max_tokens = self._fixed, self.max_tokens - self.recall_tokens
        slack = slack_of(max_tokens, fixed) if fixed > self._counter.constant else 0
        return Budget(
            max_tokens,
            self.trim_to,
            fixed + slack,
            slack=slack,
            oversize=self.oversize,
            clear_results=self.clear_results,
        )

    @property
    def _fixed(self) -> int:
        """What a request costs beside its messages, `reserve_tokens` included, in tokens."""
        return self._counter.constant + self._tool_tokens + self.reserve_tokens

    @cached_property
    def _tool_tokens(self) -> int:
        counter, alone = self._counter, [HumanMessage("")]
        return counter.request_tokens(alone, self.tools) - counter.whole(alone) if self.tools else 0

    def _log_dropped(self, errors: Sequence[TokenBudgetError]) -> None:
        log_dropped(errors)

    def _trim(self, messages: list[BaseMessage], given: Sequence[Match] = ()) -> list[BaseMessage]:
        """Return the window; what a history gave may be quoted, too."""
        turn = Turn.of(messages, self.recall_tokens, self._counter)
        conversation = ConversationTokens(turn.messages, meter_of(self))
        with self._follow(conversation) as (driver, _):
            slots, shortened = driver.slots(), driver.clamped()
        shown = conversation.show(slots, shortened)
        self._quote(turn, conversation, slots, shown, given)
        return shown

    def _quote(
        self,
        turn: Turn,
        conversation: ConversationTokens,
        slots: Sequence[Slot],
        shown: list[BaseMessage],
        given: Sequence[Match] = (),
    ) -> Recalled:
        """Put a copy of the question into a window, if something is recalled; return what is quoted."""
        if turn.question is None or (place := turn.place_in(slots)) is None:
            return Recalled()
        recalled = self._recall.recalled(turn, conversation, Billing(self._budget()), given)
        if not recalled.text:
            return recalled
        question = shown[place]
        shown[place] = turn.quoting(question, recalled.text)
        # A question that is shortened since, or a counter that is not additive, may make more of the same text.
        if question is not turn.messages[turn.question] or not self._counter.additive:
            beside = self._fixed - self._counter.constant
            if beside + self._counter.whole(shown) > self.max_tokens:
                shown[place] = question
                return Recalled()
        return recalled

    def _step(
        self,
        messages: MessagesLike,
        run_manager: CallbackManagerForChainRun,  # noqa: ARG002  # what has a config has this, too
        config: RunnableConfig,
    ) -> list[BaseMessage]:
        read = as_messages(messages)
        history, question = self._asked_history(read, config)
        if history is None:
            return self.trim(read)
        return self._trim(read, [*map(Match.of, history.recall(question, self.recall_tokens))])

    async def _astep(
        self,
        messages: MessagesLike,
        run_manager: AsyncCallbackManagerForChainRun,  # noqa: ARG002
        config: RunnableConfig,
    ) -> list[BaseMessage]:
        read = as_messages(messages)
        history, question = self._asked_history(read, config)
        if history is None:
            return await self.atrim(read)
        given = [*map(Match.of, await history.arecall(question, self.recall_tokens))]
        return await run_in_executor(None, self._trim, read, given)

    def _asked_history(
        self, messages: Sequence[BaseMessage], config: RunnableConfig
    ) -> tuple[RecallingHistory | None, BaseMessage | str]:
        """Return the history of the run, if it is to be asked for what left it, and the question."""
        history = config.get("configurable", {}).get("message_history")
        place = newest_question(messages) if self.recall_tokens and isinstance(history, RecallingHistory) else None
        if place is None or is_quoted(messages[place]):
            return None, ""
        return history, messages[place]

    @contextmanager
    def _follow(self, conversation: ConversationTokens) -> Iterator[tuple[WindowDriver, int | None]]:
        try:
            with self._drivers.follow(conversation, Billing(self._budget())) as (driver, whole_tokens):
                self._log_dropped(driver.take_drop_errors())
                yield driver, whole_tokens
        except TokenBudgetError as error:
            if self.recall_tokens:
                error.add_note(f"Of max_tokens={self.max_tokens}, recall_tokens={self.recall_tokens} are kept free.")
            raise

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings, not what was counted by them."""
        return {name: value for name, value in vars(self).items() if name != "_tool_tokens"}

    def __repr__(self) -> str:
        """Show the settings."""
        recalled = f", recall_tokens={self.recall_tokens}" if self.recall_tokens else ""
        return (
            f"TokenBuffer({self.max_tokens}, token_counter={self.token_counter!r}, "
            f"trim_to={self.trim_to}, oversize={self.oversize!r}{recalled})"
        )


# What the surfaces share of a buffer, beside what its users see.


def meter_of(buffer: TokenBuffer) -> MessageMeter:
    """Return what reads messages into numbers, as a buffer's windows are decided by them."""
    return MessageMeter(message_counter(buffer.token_counter), buffer.pin)


def budget_of(buffer: TokenBuffer) -> Budget:
    """Return the budget that a buffer's windows are decided under."""
    return buffer._budget()  # noqa: SLF001  # the one way in


def log_dropped(errors: Sequence[TokenBudgetError]) -> None:
    """Say which units did not fit and were left out of a window."""
    for error in errors:
        logger.warning("Left out of the window: %s", error)
