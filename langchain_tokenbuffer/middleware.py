"""`TokenBufferMiddleware`: one line that keeps any `create_agent` run within a token budget."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypeAlias

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelResponse,
    PrivateStateAttr,
)
from langchain_core.runnables.config import run_in_executor
from langgraph.errors import GraphBubbleUp
from typing_extensions import override

from langchain_tokenbuffer._agents.facts import AgentSettings, MaxTokens, Request, RequestReader
from langchain_tokenbuffer._agents.fixed_part import FixedPartCounter
from langchain_tokenbuffer._agents.model_run import ModelRun, watched_model_run
from langchain_tokenbuffer._agents.models import ModelReader
from langchain_tokenbuffer._agents.notes import ReplyNotes
from langchain_tokenbuffer._agents.plan import MAX_TRIES, learn_limit, plan_call
from langchain_tokenbuffer._agents.rendering import HandedOver, RenderedCall, render
from langchain_tokenbuffer._agents.state import Overflowed, ThreadState, UnsavedLimits
from langchain_tokenbuffer._handlers import OnEvict, async_handler, is_async, logged_failure, sync_handler
from langchain_tokenbuffer._window.budget import Window
from langchain_tokenbuffer._window.drivers import DriverCache
from langchain_tokenbuffer._window.settings import (
    checked_bool,
    checked_function,
    checked_max_tokens,
    checked_oversize,
    checked_pin,
    checked_reserve,
    checked_trim_to,
    suggests_options,
)
from langchain_tokenbuffer.counters import CountedBy, TokenCounter, message_counter
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._messages.violations import Violation
    from langchain_tokenbuffer._window.budget import Oversize

logger = logging.getLogger(__name__)

Reason: TypeAlias = Literal["fits", "held", "moved", "clamped", "overflow"]


class TokenBufferState(AgentState[Any]):
    """The agent's state plus this middleware's private key, which must survive the process. Plain JSON types only.

    `limits`: model name to what refusals taught, which are `Limits` as JSON. For models whose thinking is bound to the
    messages before it, `shown`: [how many messages the last call showed, before so many of them thinking was left out,
    a digest of them]. Where reported usage is used, `anchored`: [id of the last message before reports count, anchor,
    id of the first message it does not cover], for requests with the settings `basis`. With `evict_from_state` also
    what a replay can no longer find out without the deleted messages, `sizes`: id of a clamped message to its tokens
    and a fingerprint of the conversation up to it, for the same `basis`.
    `added`: [the tokens that middlewares behind were seen to add to a request at most, whether it was said].
    """

    token_buffer: NotRequired[Annotated[dict[str, Any], PrivateStateAttr]]


@dataclass(frozen=True, slots=True)
class TrimEvent:
    """What the middleware did to one model call. Holds no content.

    Attributes:
        tokens_before: What the request would cost with every message, in tokens.
        tokens_after: What it costs as sent, with the fixed part and `reserve_tokens`.
        max_tokens: The budget in force.
        kept: How many messages the model sees.
        dropped: How many it does not see.
        clamped: How many of the kept ones are shortened.
        cleared: Indices of the tool results that are cleared: shortened to their marker.
        mended: What of the request's messages was out of order, and what was done.
        moved: Whether the window does not extend the last call's window.
        reusable_tokens: How much of the request begins as the last call's did: what a provider's prompt cache can serve
            where it is at least the provider's minimum cacheable length.
        reason: `"fits"`: everything is seen; `"held"`: the cut stayed where it was; `"moved"`; `"clamped"`: something
            had to be shortened now; `"overflow"`: the provider had refused a larger request.
        window: The window, as indices into the request's messages; without those that left the agent's state and came
            again, where a graph around it keeps them.
        made_of: What `tokens_after` is made of, in tokens: `"system"` (the system message), `"tools"` (with response
            format and tool choice), `"messages"` and `"reserve"` (`reserve_tokens`); and `"added"`, which is taken from
            the reserve first, where a middleware behind was seen to add something.
    """

    tokens_before: int
    tokens_after: int
    max_tokens: int
    kept: int
    dropped: int
    clamped: int
    moved: bool
    reusable_tokens: int
    reason: Reason
    window: Window
    made_of: dict[str, int] = field(hash=False)
    mended: tuple[Violation, ...] = ()
    cleared: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON has it: lists for tuples, texts for keys."""
        as_json: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return as_json


class TokenBufferMiddleware(AgentMiddleware[Any, Any, Any]):
    """Keeps every model call of an agent within a token budget, valid and cheap to cache.

    The state keeps every message; the model sees the window. One budget holds for the whole request: system message,
    tool schemas, response format, messages and `reserve_tokens`.

    Laws: those of `TokenBuffer`, of which this is one surface. The window is a function of the messages, the settings,
    the fixed part of the request and what an overflow taught, so it survives checkpointers, resume, time travel,
    sub-agents and parallel threads; what is held in the instance is only a cache. The fixed part is rounded up to a
    multiple of 1/64 of `max_tokens`; the rounding never refuses what fits exactly.

    Where messages can only be estimated (Claude, Gemini, unknown names) the usage that replies report is the anchor: it
    is the truth up to its reply, only what follows is estimated, scaled by how billed tokens have grown against counted
    ones and never below its count. A report counts from its message on and never before, so the window stays a function
    of the messages. Where counting is exact (OpenAI) reports only correct what tools were counted to, upwards. Ignored
    are reports of another model, and of requests with other tools or another budget. One of less than half or more than
    twice its window's count is believed once the next one agrees with it, with a WARNING; a reply without usage changes
    nothing. Agents that share messages but not their private state cannot tell each other's reports from their own. A
    `token_counter` that is no estimate is taken as it is; reports never correct it.

    Edges: a request that the provider calls too long is tried again, up to four times, each time smaller: under the
    limit that it named, else with 80 % of what was refused, then a half, a half and a fourth of it; never after a part
    of a reply was streamed. What that taught is kept in the agent's private state for later calls of this thread, also
    when the last try fails. A limit that no provider named is a guess: it is logged at WARNING, and grows back in steps
    while calls succeed, within 24 calls after the first refusal. Each message is replayed under the limit of its time,
    so the cut never moves back. Claude's thinking is only valid behind what it was thought behind. So where what the
    model was shown does not begin what it is shown now, the steps before the running one lose theirs for good; from
    Claude 5.1 on, which refuses such thinking, the running one, too. What was shown is known from the private state:
    without a checkpointer, all older thinking is left out as soon as something left the window. Of a model with
    `use_previous_response_id` the chain is broken for each call whose window is not the whole conversation: it gets
    replies without their response's id.

    It counts the request as earlier middlewares changed it, so it goes last in `middleware=`. What a middleware behind
    it adds is noticed by what the model was sent, and is in the budget from the thread's next call on, up to the most
    that was added so far. A request that is over budget by it is a WARNING, once a thread; it raises nothing.

    Args:
        max_tokens: The budget of a request, in tokens; `("fraction", 0.8)` of the model's `max_input_tokens`; or
            `None`: 0.95 of it minus the output limit in force, or, if none is set, minus an eighth of it, at most the
            model's `max_output_tokens`. The last two forms need a model with a profile.
        token_counter: What counts, as `TokenBuffer` takes it; `None`: the request's own model.
        trim_to: Low-water mark in (0, 1], as in `TokenBuffer`.
        reserve_tokens: Kept free of `max_tokens`, for the reply or what is added behind this middleware, in tokens;
            what was seen to be added there is taken from it.
        pin: Tells which messages stay whatever the budget, as in `TokenBuffer`.
        oversize: When what must stay does not fit: `"clamp"`, `"raise"` or `"drop"`.
        clear_results: Whether results of old steps go to their marker before whole steps leave, as in `TokenBuffer`.
        on_trim: Called with a `TrimEvent` before each model call, in async runs in a worker thread; also a DEBUG log
            line. What it raises is logged at ERROR.
        evict_from_state: Whether what left the window is removed from the agent's state, with the reply and by the same
            update. Whole units only. What a graph or a caller around the agent keeps, too, comes again with the next
            run: that is said once a thread at WARNING, with what to do.
        on_evict: Called with the messages before they are removed, once the model has replied. What it raises is logged
            at ERROR: the reply stays, nothing is removed, and the same messages come again with the next call, so each
            comes at least once. A coroutine function is awaited by async runs; sync runs raise `TypeError` for one
            before calling the model.
        stream_events: Whether each `TrimEvent` is streamed, for `stream_mode="custom"`: as `{"token_buffer": {...}}`,
            in JSON types.

    Raises:
        TypeError: If an argument has the wrong type; it names the argument.
        ValueError: If a value is out of range, `reserve_tokens` leaves nothing of `max_tokens`, or `on_evict` is given
            without `evict_from_state`.

    Example:
        ```python
        agent = create_agent(model, tools, middleware=[TokenBufferMiddleware(max_tokens=8000)])
        ```
    """

    state_schema = TokenBufferState

    @suggests_options
    def __init__(
        self,
        max_tokens: MaxTokens = None,
        *,
        token_counter: CountedBy | None = None,
        trim_to: float = 0.6,
        reserve_tokens: int = 0,
        pin: Callable[[BaseMessage], bool] | None = None,
        oversize: Oversize = "clamp",
        on_trim: Callable[[TrimEvent], None] | None = None,
        evict_from_state: bool = False,
        on_evict: OnEvict | None = None,
        clear_results: bool = False,
        stream_events: bool = False,
    ) -> None:
        """Check the settings; count and load nothing yet."""
        super().__init__()
        self.max_tokens = _checked_max_tokens(max_tokens)
        self.token_counter = None if token_counter is None else TokenCounter(token_counter)
        self.trim_to = checked_trim_to(trim_to)
        self.reserve_tokens = checked_reserve(reserve_tokens, self.max_tokens)
        self.pin = checked_pin(pin)
        self.oversize: Oversize = checked_oversize(oversize)
        self.on_trim = checked_function("on_trim", on_trim)
        self.evict_from_state = evict_from_state
        self.on_evict = checked_function("on_evict", on_evict)
        self.clear_results = checked_bool(clear_results, "clear_results")
        self.stream_events = stream_events
        if is_async(on_trim):
            msg = "on_trim must be a plain function: it is never awaited"
            raise TypeError(msg)
        if on_evict is not None and not evict_from_state:
            msg = "on_evict is called for what leaves the state; it needs evict_from_state=True"
            raise ValueError(msg)
        self._reset_caches()

    def _reset_caches(self) -> None:
        """Begin with nothing read and followed."""
        self._reader = RequestReader(ModelReader(), FixedPartCounter())
        self._drivers = DriverCache()
        self._unsaved = UnsavedLimits()
        self._handed_over = HandedOver()

    @override
    def wrap_model_call(
        self, request: Request, handler: Callable[[Request], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Call the model with the window.

        Raises:
            TokenBudgetError: If what must stay does not fit and `oversize` cannot make it fit.
            ValueError: If `max_tokens` needs a profile and the model has none; it says what to set.
            TypeError: If the model cannot count, `pin` returns no bool, or `on_evict` is a coroutine function.
        """
        hand_over = sync_handler(self.on_evict, _NEEDS_ASYNC)
        call = self._prepare(request)
        while True:
            with watched_model_run() as run:
                try:
                    response = handler(call.request)
                    break
                except GraphBubbleUp:
                    raise
                except Exception as error:  # noqa: BLE001  # raised again unless it is an overflow
                    call = self._retry(call, error, run)
        added = call.plan.state.added_after(call.tokens, run.added_to(call.request, call.plan.facts.counter))
        with self._handing_over(call) as evicted:
            hand_over(evicted)
        return call.with_updates(response, self._handed_over.among(call.evicted), added)

    @override
    async def awrap_model_call(
        self, request: Request, handler: Callable[[Request], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """`wrap_model_call`, counting off the event loop."""
        hand_over = async_handler(self.on_evict)
        call = await run_in_executor(None, self._prepare, request)
        while True:
            with watched_model_run() as run:
                try:
                    response = await handler(call.request)
                    break
                except GraphBubbleUp:
                    raise
                except Exception as error:  # noqa: BLE001
                    call = await run_in_executor(None, self._retry, call, error, run)
        more = await run_in_executor(None, run.added_to, call.request, call.plan.facts.counter)
        added = call.plan.state.added_after(call.tokens, more)
        with self._handing_over(call) as evicted:
            await hand_over(evicted)
        return call.with_updates(response, self._handed_over.among(call.evicted), added)

    def _prepare(self, request: Request, overflowed: Overflowed | None = None) -> RenderedCall:
        """Return the request with the window for its messages; `overflowed` is what refusals of it taught."""
        notes = ReplyNotes.by(request.state["messages"])
        facts = self._reader.facts(request, notes, self._settings)
        conversation = facts.read_messages(notes.not_left(request.messages))
        state = ThreadState.load(request.state, notes, facts, conversation, self._unsaved, overflowed=overflowed)
        plan = plan_call(facts, state, conversation, self._drivers.follow)
        call = render(plan, request, self._handed_over)
        self._emit_event(call)
        return call

    def _retry(self, refused: RenderedCall, error: Exception, run: ModelRun) -> RenderedCall:
        """Return the call to try instead of one the provider found too long.

        Raises the error itself if it is no overflow, no smaller request is possible, enough were tried, or somebody may
        have seen a part of the reply. What it taught is kept.
        """
        overflowed = learn_limit(refused.plan, refused.tokens, error)
        if overflowed.refusals > MAX_TRIES or run.has_streamed:
            raise error
        try:
            smaller = self._prepare(refused.original, overflowed)
        except TokenBudgetError:
            raise error from None
        if smaller.tokens >= refused.tokens:
            raise error
        return smaller

    @contextmanager
    def _handing_over(self, call: RenderedCall) -> Iterator[list[BaseMessage]]:
        """Lend what leaves the state and was not handed over yet; it was then, unless that raises, which is logged."""
        with (
            logged_failure("on_evict", _COMES_AGAIN, passing=(GraphBubbleUp,)),
            self._handed_over.handing_over(call.evicted) as evicted,
        ):
            yield evicted

    @property
    def _settings(self) -> AgentSettings:
        return AgentSettings(
            max_tokens=self.max_tokens,
            counter=None if self.token_counter is None else message_counter(self.token_counter),
            trim_to=self.trim_to,
            reserve_tokens=self.reserve_tokens,
            pin=self.pin,
            oversize=self.oversize,
            evict_from_state=self.evict_from_state,
            clear_results=self.clear_results,
        )

    def _emit_event(self, call: RenderedCall) -> None:
        if self.on_trim is None and not self.stream_events and not logger.isEnabledFor(logging.DEBUG):
            return
        event = _event_of(call)
        logger.debug(
            "%s: %d of %d tokens as sent, max_tokens %d; messages kept %d, dropped %d, clamped %d; reusable prefix %d "
            "tokens",
            event.reason,
            event.tokens_after,
            event.tokens_before,
            event.max_tokens,
            event.kept,
            event.dropped,
            event.clamped,
            event.reusable_tokens,
        )
        if self.on_trim is not None:
            with logged_failure("on_trim", "the model is called all the same", passing=(GraphBubbleUp,)):
                self.on_trim(event)
        runtime = call.original.runtime
        if self.stream_events and runtime is not None:
            runtime.stream_writer({"token_buffer": event.as_json()})

    def __repr__(self) -> str:
        """Show the settings."""
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in _SHOWN)
        return f"TokenBufferMiddleware({shown})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings; what was followed and counted is only a cache."""
        return {name: value for name, value in vars(self).items() if name not in _CACHES}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin with nothing followed."""
        vars(self).update(state)
        self._reset_caches()


_CACHES = {"_reader", "_drivers", "_unsaved", "_handed_over"}
_SHOWN = ("max_tokens", "token_counter", "trim_to", "reserve_tokens", "oversize", "clear_results", "evict_from_state")


def _event_of(rendered: RenderedCall) -> TrimEvent:
    plan = rendered.plan
    call, dropped = plan.call, plan.dropped
    return TrimEvent(
        tokens_before=call.total_tokens,
        tokens_after=rendered.tokens,
        max_tokens=plan.state.max_tokens,
        kept=len(plan.kept),
        dropped=len(dropped),
        clamped=len(call.clamped) - len(call.cleared),
        cleared=tuple(sorted(call.cleared)),
        moved=call.moved,
        reusable_tokens=rendered.reusable_tokens(),
        reason="overflow" if plan.state.overflowed else call.reason,
        window=Window(
            kept=plan.kept,
            dropped=dropped,
            clamped={index: tokens for index, tokens in call.clamped.items() if index not in call.cleared},
            cut=call.cut,
            tokens=rendered.tokens,
            thinned=plan.thinned,
            mended=plan.mended,
            cleared=tuple(sorted(call.cleared)),
        ),
        mended=plan.mended,
        made_of=rendered.made_of(),
    )


_COMES_AGAIN = "the reply is returned, and the same messages come again with the next model call"
_NEEDS_ASYNC = "on_evict is a coroutine function, which async runs await and sync runs cannot."


def _checked_max_tokens(value: object) -> MaxTokens:
    if value is None:
        return None
    if not isinstance(value, tuple):
        return checked_max_tokens(value)
    match value:
        case ("fraction", int() | float() as share) if share is not True and 0 < share <= 1:
            return ("fraction", float(share))
    msg = f'max_tokens must be an int, None or ("fraction", f) with f in (0, 1], got {value!r}'
    raise ValueError(msg)
