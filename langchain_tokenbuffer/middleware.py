"""`TokenBufferMiddleware`: one line that keeps any `create_agent` run within a token budget."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    TypeAlias,
    TypeVar,
    cast,
)

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
    PrivateStateAttr,
)
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import BaseMessage, RemoveMessage
from langchain_core.runnables import RunnableBinding
from langchain_core.runnables.config import run_in_executor
from langgraph.types import Command
from typing_extensions import override

from langchain_tokenbuffer._counting.anchoring import NO_ANCHOR, Anchor
from langchain_tokenbuffer._counting.overflow import overflow_of
from langchain_tokenbuffer._handlers import OnEvict, ahand_over, hand_over, is_async
from langchain_tokenbuffer._messages.thinking import without_thinking
from langchain_tokenbuffer._request_view import Followed, RequestBuffer, Trimmed, View
from langchain_tokenbuffer._thread_state import Known
from langchain_tokenbuffer.buffer import (
    Lock,
    checked_max_tokens,
    checked_oversize,
    checked_trim_to,
)
from langchain_tokenbuffer.counters import CountedBy, TokenCounter
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from langchain_core.messages import AnyMessage

    from langchain_tokenbuffer._window import Oversize, Window
    from langchain_tokenbuffer.counters import Tool

logger = logging.getLogger(__name__)

MaxTokens: TypeAlias = int | tuple[Literal["fraction"], float] | None
Request: TypeAlias = ModelRequest[Any]
_F = TypeVar("_F")
Reason: TypeAlias = Literal["fits", "held", "moved", "clamped", "overflow"]

PROFILE_SHARE = 0.95
"""Of a profile's `max_input_tokens`; the rest is for what a provider adds and nobody can count."""
OVERFLOW_SHARE = 0.8
"""Of what a provider refused as too long, what is tried instead."""
CHOICE = 10
"""Tokens for naming the tool to call, or forbidding all: OpenAI bills its name and 4, or 1."""
_LEFT_OPEN = (None, "auto", "any", "required")
FOLLOWED = 32
"""How many conversations' replays are held, so that a call lives through its new messages only."""


class TokenBufferState(AgentState[Any]):
    """The agent's state, and what must not be lost with a process. Plain JSON types only.

    `limits`: model name to the `max_tokens` an overflow taught; `thinned`: ids of the messages
    whose thinking that made stale. Where reported usage is believed, `anchored`: the message from
    which on replies answer requests under the same `basis`, and the anchor before it. With
    `evict_from_state` also what the deleted messages would have told: more `thinned` ids, and the
    `sizes` of clamped messages (id to size and fingerprint of the conversation up to it), which
    hold under the same `basis`.
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
        moved: Whether the window is no extension of the last call's.
        reusable_tokens: How much of the request begins as the last call's did: what a provider's
            prompt cache can serve, where it is larger than the provider's floor.
        reason: `"fits"`: everything is seen; `"held"`: the cut stayed where it was; `"moved"`;
            `"clamped"`: something had to be shortened now; `"overflow"`: the provider had refused
            a larger request.
        window: The same by index into the request's messages.
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


class TokenBufferMiddleware(AgentMiddleware[TokenBufferState, Any, Any]):
    """Keeps every model call of an agent within a token budget, valid and cheap to cache.

    The state keeps every message; the model sees the window. One budget holds for the whole
    request: system message, tool schemas, response format, messages and `reserve_tokens`.

    Laws: those of `TokenBuffer`, of which this is one surface. The window is a function of the
    messages, the settings, the fixed part of the request and what an overflow taught, so it
    survives checkpointers, resume, time travel, sub-agents and parallel threads; what is held in
    the instance is only a cache. The fixed part is rounded up to 1/64 of `max_tokens`; the rounding
    never refuses what fits exactly.

    Where messages can only be estimated (Claude, Gemini, unknown names) the usage that replies
    report is the anchor: it is the truth up to its reply, only what follows is estimated, at the
    rate by which reports have grown and never below its count. A report counts from its message on
    and never before, so the window stays a function of the messages. Where counting is exact
    (OpenAI) reports only correct what tools were counted to, upwards. Not believed are reports of
    another model, of requests with other tools or another budget, and those that cannot be this
    window's bill, less than half or more than twice its count; a reply without usage changes
    nothing. Agents that share messages but not their private state cannot tell each other's reports
    from their own. A `token_counter` that is no estimate is what you want counted and is never
    anchored.

    Edges: a request that the provider calls too long is retried once with at most 80 % of it; the
    limit that was held then goes into the agent's private state and binds later calls of this
    thread. For Claude models thinking blocks of steps before the running one are left out from the
    call on at which the cut moves, since newer ones are bound to the messages they were produced
    under. It counts what the middlewares before it made of the request, so it goes last in
    `middleware=`.

    Args:
        max_tokens: The budget of a request, in tokens; `("fraction", 0.8)` of the model's
            `max_input_tokens`; or `None`: 0.95 of it minus the output limit in force. The latter
            two need a model with a profile.
        token_counter: What counts, as `TokenBuffer` takes it; `None`: the request's own model.
        trim_to: Low-water mark in (0, 1], as in `TokenBuffer`.
        reserve_tokens: Kept free of `max_tokens`, for the reply or what is added behind this
            middleware, in tokens.
        pin: Tells which messages stay whatever the budget, as in `TokenBuffer`.
        oversize: When what must stay does not fit: `"clamp"`, `"raise"` or `"drop"`.
        on_trim: Called with a `TrimEvent` before each model call, in async runs in a worker
            thread; also a DEBUG log line.
        evict_from_state: Whether what left the window is removed from the agent's state, with the
            reply. Whole steps only.
        on_evict: Called with the messages before they are removed. If it raises, nothing is
            removed and the same messages come again: at least once. A coroutine function is
            awaited by async runs; sync runs raise `TypeError` for one before calling the model.

    Raises:
        TypeError: If an argument has the wrong type; it names the argument.
        ValueError: If a value is out of range, or `on_evict` is given without `evict_from_state`.

    Example:
        ```python
        agent = create_agent(model, tools, middleware=[TokenBufferMiddleware(max_tokens=8000)])
        ```
    """

    state_schema = TokenBufferState

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
    ) -> None:
        """Check the settings; count and load nothing yet."""
        super().__init__()
        self.max_tokens = _checked_max_tokens(max_tokens)
        self.token_counter = None if token_counter is None else TokenCounter(token_counter)
        self.trim_to = checked_trim_to(trim_to)
        self.reserve_tokens = _checked_reserve(reserve_tokens)
        self.pin = _checked_function("pin", pin)
        self.oversize: Oversize = checked_oversize(oversize)
        self.on_trim = _checked_function("on_trim", on_trim)
        self.evict_from_state = evict_from_state
        self.on_evict = _checked_function("on_evict", on_evict)
        if is_async(on_trim):
            msg = "on_trim must be a plain function: it is called while a request is made"
            raise TypeError(msg)
        if on_evict is not None and not evict_from_state:
            msg = "on_evict is called for what leaves the state; it needs evict_from_state=True"
            raise ValueError(msg)
        self._lock = Lock()
        self._forget()

    def _forget(self) -> None:
        self._counters: OrderedDict[int, tuple[object, TokenCounter]] = OrderedDict()
        self._fixed_parts: OrderedDict[object, tuple[int, object]] = OrderedDict()
        self._followed: OrderedDict[object, Followed] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings; what was followed and counted is only a cache."""
        caches = {"_counters", "_fixed_parts", "_followed"}
        return {name: value for name, value in vars(self).items() if name not in caches}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin with nothing followed."""
        vars(self).update(state)
        self._forget()

    @override
    def wrap_model_call(
        self, request: Request, handler: Callable[[Request], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Call the model with the window.

        Raises:
            TokenBudgetError: If what must stay does not fit and `oversize` cannot make it fit.
            ValueError: If `max_tokens` needs a profile and the model has none; it says what to set.
            TypeError: If the model cannot count, `pin` returns no bool, or `on_evict` is a
                coroutine function.
        """
        _refuse_coroutine_function(self.on_evict)
        call = self._call(request)
        try:
            response = handler(call.request)
        except Exception as error:  # noqa: BLE001  # raised again unless it is an overflow
            call = self._smaller(call, error)
            response = handler(call.request)
        self._hand_over(call.evicted)
        return call.answer(response)

    @override
    async def awrap_model_call(
        self, request: Request, handler: Callable[[Request], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """`wrap_model_call`, counting off the event loop."""
        call = await run_in_executor(None, self._call, request)
        try:
            response = await handler(call.request)
        except Exception as error:  # noqa: BLE001
            call = await run_in_executor(None, self._smaller, call, error)
            response = await handler(call.request)
        await self._ahand_over(call.evicted)
        return call.answer(response)

    # --- request in, request out ---

    def _call(self, request: Request, refused: _Refused | None = None) -> _Call:
        """Return the request with the window for its messages."""
        model = _unbound(request.model)
        counter = self._counter_of(model)
        name = _name_of(model)
        known = Known(request.state, name or type(model).__name__)
        limit = None if refused is None else refused.limit
        limits = (self._budget_of(request, model), known.limit, limit)
        max_tokens = min(each for each in limits if each is not None)
        buffer = self._buffer_of(request, counter, max_tokens)
        messages: list[BaseMessage] = [*request.messages]
        buffer.remember(known, messages)
        if self._has_anchors(request, counter):
            buffer.believe(known, name, messages)
        if refused is not None:
            buffer.settle(refused.anchor, refused.since)
        view = self._view(buffer, messages, known.model)
        if messages and not view.kept:
            # Only `oversize="drop"` gets here; no provider takes a request without messages.
            msg = (
                f"Nothing of the conversation fits {max_tokens} tokens beside the {buffer.fixed} "
                "of the fixed part; raise max_tokens, or let it clamp."
            )
            raise TokenBudgetError(msg, tokens=view.total, max_tokens=max_tokens)
        stale: dict[int, BaseMessage] = {}
        if _is_claude(model):
            # A new limit is another budget: all thinking so far is bound to windows of the old one.
            end = view.stale if limit is None else view.running
            old = (i for i in view.kept if i < end or messages[i].id in known.thinned)
            stale = {
                i: thinned for i in old if (thinned := without_thinking(messages[i])) is not None
            }
        shown = [stale.get(index, messages[index]) for index in view.kept]
        for position, index in enumerate(view.kept):
            if index in view.clamped:
                shown[position] = buffer.clamped(shown[position], view.clamped[index])
        tokens = view.tokens
        if view.anchor is NO_ANCHOR and (stale or view.clamped or not counter.additive):
            tokens = buffer.fixed - counter.constant + counter(shown)
        trimmed = Trimmed(buffer, messages, view, shown, tuple(stale), tokens)
        self._tell(trimmed, overflowed=limit is not None)
        evicted = trimmed.evictable(request.state["messages"]) if self.evict_from_state else []
        state = self._remembered(trimmed, known, limit, evicted)
        return _Call(
            request=request
            if shown == messages
            else request.override(messages=cast("list[AnyMessage]", shown)),
            original=request,
            tokens=tokens,
            anchor=view.anchor,
            since=view.since,
            limit=limit,
            evicted=evicted,
            state=None if state == known.held else state,
        )

    def _remembered(
        self, trimmed: Trimmed, known: Known, limit: int | None, evicted: list[BaseMessage]
    ) -> dict[str, Any]:
        """Return what later calls, and other processes, cannot find out themselves."""
        learned = known.limits if limit is None else {**known.limits, known.model: limit}
        state: dict[str, Any] = {"limits": learned} if learned else {}
        # Also by a model whose replies are no anchors: what is forgotten would be believed again.
        if trimmed.buffer.believes or "anchored" in known.held:
            # Without what is evicted, old reports would be of other windows than they are.
            anew = self.evict_from_state or limit is not None
            state |= trimmed.remembered_anchor(known, evicted, anew=anew)
        if self.evict_from_state:
            state |= trimmed.remembered_sizes(evicted)
        if self.evict_from_state or limit is not None or known.thinned:
            state |= trimmed.remembered_thinned()
        return state

    def _smaller(self, call: _Call, error: Exception) -> _Call:
        """Return the call to try instead of one the provider found too long.

        Raises:
            Exception: The error itself, if it is another or nothing smaller is allowed.
        """
        overflow = overflow_of(error)
        if overflow is None or call.limit is not None:
            raise error
        sent = call.tokens - self.reserve_tokens
        limit = int(OVERFLOW_SHARE * sent) + self.reserve_tokens
        if overflow.counted and overflow.allowed:
            # The provider's own count of this very request tells what its limit is in our tokens.
            limit = min(limit, overflow.allowed * sent // overflow.counted)
        if limit < 1:
            raise error
        try:
            smaller = self._call(call.original, _Refused(limit, call.anchor, call.since))
        except TokenBudgetError:
            raise error from None
        if smaller.tokens >= call.tokens:
            raise error
        return smaller

    def _tell(self, trimmed: Trimmed, *, overflowed: bool) -> None:
        if self.on_trim is None and not logger.isEnabledFor(logging.DEBUG):
            return
        event = _event(trimmed, overflowed=overflowed)
        logger.debug(
            "%s: %d of %d tokens as sent, max_tokens %d; messages kept %d, dropped %d, clamped %d; "
            "reusable prefix %d tokens",
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
            self.on_trim(event)

    def _hand_over(self, messages: list[BaseMessage]) -> None:
        if messages and self.on_evict is not None:
            hand_over(self.on_evict, messages, _NEEDS_ASYNC)

    async def _ahand_over(self, messages: list[BaseMessage]) -> None:
        if messages and self.on_evict is not None:
            await ahand_over(self.on_evict, messages)

    # --- the budget and what it is spent on ---

    def _budget_of(self, request: Request, model: object) -> int:
        if isinstance(self.max_tokens, int):
            return self.max_tokens
        profile = getattr(model, "profile", None)
        most = profile.get("max_input_tokens") if isinstance(profile, Mapping) else None
        if not isinstance(most, int):
            msg = (
                f"max_tokens={self.max_tokens!r} needs a model with a profile, and "
                f"{type(model).__name__} has no max_input_tokens in one. Pass "
                "TokenBufferMiddleware(max_tokens=...) an int, or give the model "
                'profile={"max_input_tokens": ...}.'
            )
            raise ValueError(msg)  # noqa: TRY004  # not the argument is wrong, but the two together
        if self.max_tokens is not None:
            return max(1, int(self.max_tokens[1] * most))
        output = request.model_settings.get("max_tokens") or getattr(model, "max_tokens", None) or 0
        budget = int(PROFILE_SHARE * most) - int(output)
        if budget < 1:
            msg = (
                f"An output limit of {output} leaves nothing of {most} input tokens; set "
                "TokenBufferMiddleware(max_tokens=...) or a smaller max_tokens on the model."
            )
            raise ValueError(msg)
        return budget

    def _counter_of(self, model: object) -> TokenCounter:
        if self.token_counter is not None:
            return self.token_counter
        with self._lock:
            found = self._counters.get(id(model))
            if found is not None:
                return found[1]
        if not isinstance(model, BaseLanguageModel):
            msg = (
                f"The agent's model is a {type(model).__name__}, which cannot count tokens before "
                "it is configured. Pass TokenBufferMiddleware(token_counter=...), e.g. one of the "
                "models it stands for, and max_tokens= as an int."
            )
            raise TypeError(msg)
        counter = TokenCounter(model)
        with self._lock:
            _hold(self._counters, id(model), (model, counter))
        return counter

    def _fixed_part(self, request: Request, counter: TokenCounter) -> int:
        """Count what the request costs beside its messages; once for the same objects."""
        system = [] if request.system_message is None else [request.system_message]
        tools, wanted = request.tools, request.response_format
        is_chosen = request.tool_choice not in _LEFT_OPEN
        # A dict may be changed in place, so it is known by what it says; others by identity, which
        # is theirs alone as long as they are held.
        key = (
            id(counter),
            *counter.keys(system),
            *(repr(tool) if isinstance(tool, dict) else id(tool) for tool in tools),
            id(wanted),
            is_chosen,
        )
        with self._lock:
            found = self._fixed_parts.get(key)
        if found is not None:
            return found[0]
        wholes = (
            counter.count(system, tools=[*tools, *more], response_format=schema)
            for more, schema in _formats(wanted)
        )
        # Also as the counter counts the messages alone: a reasoning model's bill is one less.
        tokens = max(counter(system), *wholes) + is_chosen * CHOICE
        with self._lock:
            _hold(self._fixed_parts, key, (tokens, (counter, *tools, wanted)))
        return tokens

    def _buffer_of(self, request: Request, counter: TokenCounter, max_tokens: int) -> RequestBuffer:
        return RequestBuffer(
            max_tokens,
            token_counter=counter,
            trim_to=self.trim_to,
            pin=self.pin,
            oversize=self.oversize,
            fixed=self._fixed_part(request, counter) + self.reserve_tokens,
            reserved=self.reserve_tokens,
        )

    def _has_anchors(self, request: Request, counter: TokenCounter) -> bool:
        """Tell whether reported usage is nearer the truth than the counter.

        The user's own counter is what the user wants counted. A model that is counted exactly
        leaves its tools to be told.
        """
        if not counter.additive:
            return False
        beside = bool(request.tools or request.response_format is not None)
        return counter.is_estimate or (self.token_counter is None and beside)

    def _view(self, buffer: RequestBuffer, messages: list[BaseMessage], model: str) -> View:
        """Return what the replay of the conversation comes to; a held one goes on."""
        if not buffer.token_counter.additive:
            return buffer.measured(messages)
        keys = buffer.keys(messages)
        name = (model, messages[0].id or keys[0]) if messages else None
        with self._lock:  # one thread goes on with it, others begin anew: the answer is the same
            followed = self._followed.pop(name, None)
        if followed is None or not followed.goes_on(buffer, keys):
            followed = buffer.begin(buffer.budget())
        followed.go_on(buffer, messages, keys)
        view = followed.view()
        with self._lock:
            _hold(self._followed, name, followed)
        return view


# --- one call ---------------------------------------------------------------------------------


class _Refused(NamedTuple):
    """What a provider's refusal teaches: a limit, which makes another replay of the same usage."""

    limit: int
    anchor: Anchor
    since: int


@dataclass(frozen=True, slots=True)
class _Call:
    """One model call: the request to send, and what goes into the state with its reply."""

    request: Request
    original: Request
    tokens: int
    anchor: Anchor
    since: int
    limit: int | None  # if an overflow taught one
    evicted: list[BaseMessage]
    state: dict[str, Any] | None  # the private state, if it changes

    def answer(
        self, response: ModelResponse[Any]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        update: dict[str, Any] = {}
        if self.evicted:
            update["messages"] = [RemoveMessage(id=str(each.id)) for each in self.evicted]
        if self.state is not None:
            update["token_buffer"] = self.state
        if not update:
            return response
        return ExtendedModelResponse(model_response=response, command=Command(update=update))


def _event(trimmed: Trimmed, *, overflowed: bool) -> TrimEvent:
    view, window = trimmed.view, trimmed.window()
    moved = trimmed.changed < view.seen
    reason: Reason = "held" if window.dropped or window.clamped or window.thinned else "fits"
    if overflowed:
        reason = "overflow"
    elif any(index >= view.changed for index in view.clamped):
        reason = "clamped"
    elif moved:
        reason = "moved"
    return TrimEvent(
        tokens_before=view.total,
        tokens_after=trimmed.tokens,
        max_tokens=trimmed.buffer.max_tokens,
        kept=len(window.kept),
        dropped=len(window.dropped),
        clamped=len(window.clamped),
        moved=moved,
        reusable_tokens=trimmed.reusable(),
        reason=reason,
        window=window,
    )


# --- the request ------------------------------------------------------------------------------


def _formats(wanted: Any) -> list[tuple[list[Tool], dict[str, Any] | None]]:
    """Return how a response format may be asked for: as tools, or as a schema.

    What is undecided is both; the dearer counts.
    """
    if wanted is None:
        return [([], None)]
    if isinstance(wanted, ProviderStrategy):
        return [([], wanted.schema_spec.json_schema)]
    schema = wanted.schema if isinstance(wanted, AutoStrategy) else wanted
    specs = (wanted if isinstance(wanted, ToolStrategy) else ToolStrategy(schema)).schema_specs
    as_tools: list[Tool] = [
        {
            "type": "function",
            "function": {
                "name": spec.name,
                "description": spec.description,
                "parameters": spec.json_schema,
            },
        }
        for spec in specs
    ]
    if isinstance(wanted, ToolStrategy):
        return [(as_tools, None)]
    return [(as_tools, None), *(([], spec.json_schema) for spec in specs)]


def _unbound(model: object) -> object:
    while isinstance(model, RunnableBinding):
        model = model.bound
    return model


def _name_of(model: object) -> str | None:
    for attribute in ("model_name", "model", "model_id"):
        name = getattr(model, attribute, None)
        if isinstance(name, str):
            return name
    return None


def _is_claude(model: object) -> bool:
    made_by = type(model).__module__.startswith("langchain_anthropic")
    return made_by or "claude" in (_name_of(model) or type(model).__name__).lower()


# --- settings ---------------------------------------------------------------------------------


def _checked_max_tokens(value: object) -> MaxTokens:
    if value is None:
        return None
    if isinstance(value, tuple):
        share = value[1] if len(value) == 2 and value[0] == "fraction" else None  # noqa: PLR2004
        if isinstance(share, (int, float)) and not isinstance(share, bool) and 0 < share <= 1:
            return ("fraction", float(share))
        msg = f'max_tokens must be an int, None or ("fraction", f) with f in (0, 1], got {value!r}'
        raise ValueError(msg)
    return checked_max_tokens(value)


def _checked_reserve(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"reserve_tokens must be an int of at least 0, got {value!r}"
        raise TypeError(msg)
    if value < 0:
        msg = f"reserve_tokens must be an int of at least 0, got {value}"
        raise ValueError(msg)
    return value


def _checked_function(name: str, value: _F) -> _F:
    if value is not None and not callable(value):
        msg = f"{name} must be a function, got {value!r}"
        raise TypeError(msg)
    return value


_NEEDS_ASYNC = "on_evict is a coroutine function, which async runs await and sync runs cannot."


def _refuse_coroutine_function(on_evict: object) -> None:
    if is_async(on_evict):
        raise TypeError(_NEEDS_ASYNC)


def _hold(cache: OrderedDict[Any, Any], key: object, value: object) -> None:
    """Hold a value, and let go of the one held longest if there are too many."""
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > FOLLOWED:
        cache.popitem(last=False)
