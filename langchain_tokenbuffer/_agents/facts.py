"""What is known of a model request before its messages are looked at: plain numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from langchain.agents.middleware.types import ModelRequest
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.language_models import BaseLanguageModel

from langchain_tokenbuffer._counting.resolve import (
    fallback_models,
    provider_of,
    served_name,
    unwrapped,
)
from langchain_tokenbuffer._window.budget import Budget, slack_of
from langchain_tokenbuffer._window.conversation import MessageMeter
from langchain_tokenbuffer._window.drivers import Lock
from langchain_tokenbuffer.counters import TokenCounter

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._window.budget import Oversize
    from langchain_tokenbuffer.counters import Tool

MaxTokens: TypeAlias = int | tuple[Literal["fraction"], float] | None
Request: TypeAlias = ModelRequest[Any]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_PROFILE_SHARE = 0.95
"""Of a profile's `max_input_tokens`; the rest is for what a provider adds and nobody can count."""
_TOOL_CHOICE_TOKENS = 10
"""For naming the tool to call, or forbidding all: OpenAI bills its name and 4, or 1."""
_FREE_CHOICES = (None, "auto", "any", "required")


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What a `TokenBufferMiddleware` was given; see there."""

    max_tokens: MaxTokens
    token_counter: TokenCounter | None
    trim_to: float
    reserve_tokens: int
    pin: Callable[[BaseMessage], bool] | None
    oversize: Oversize
    evict_from_state: bool


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What one request is counted by, and what it may take.

    Attributes:
        settings: The middleware's.
        counter: What counts.
        max_tokens: The budget by the settings and the model, in tokens.
        fixed: What the request costs beside its messages, `reserve_tokens` included, in tokens.
        model: What the model is known by in the thread's state.
        reporter: The model's name, if it has one; its replies report what it billed.
        uses_reports: Whether these reports are nearer the truth than the counter.
        binds_thinking: Whether thinking is valid only behind the messages it was produced under.
    """

    settings: AgentSettings
    counter: TokenCounter
    max_tokens: int
    fixed: int
    model: str
    reporter: str | None
    uses_reports: bool
    binds_thinking: bool

    @property
    def meter(self) -> MessageMeter:
        """What reads messages into numbers."""
        return MessageMeter(self.counter, self.settings.pin)

    def budget(self, max_tokens: int) -> Budget:
        """Return the budget of a window; the fixed part is rounded up."""
        slack = slack_of(max_tokens, self.fixed)
        return Budget(
            max_tokens,
            trim_to=self.settings.trim_to,
            fixed=self.fixed + slack,
            slack=slack,
            oversize=self.settings.oversize,
        )


class RequestReader:
    """Reads requests into facts; counters and fixed parts are made once for the same objects."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counters: _Recent[int, tuple[object, TokenCounter]] = _Recent()
        self._fixed_parts: _Recent[object, tuple[object, int]] = _Recent()

    def facts(self, request: Request, settings: AgentSettings) -> RequestFacts:
        """Return what is known of a request.

        Raises:
            ValueError: If `max_tokens` needs a profile and the model has none.
            TypeError: If the model cannot count.
        """
        model = unwrapped(request.model)
        name = served_name(model)
        counter = settings.token_counter or self._counter_of(model)
        beside = bool(request.tools or request.response_format is not None)
        return RequestFacts(
            settings=settings,
            counter=counter,
            max_tokens=_max_tokens(settings.max_tokens, request),
            fixed=self._fixed_part(request, counter) + settings.reserve_tokens,
            model=name or type(model).__name__,
            reporter=name,
            # The user's own counter is what the user wants counted. A model that is counted
            # exactly leaves its tools to be reported.
            uses_reports=counter.additive
            and (counter.is_estimate or (settings.token_counter is None and beside)),
            binds_thinking=provider_of(model).binds_thinking,
        )

    def _counter_of(self, model: object) -> TokenCounter:
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
            self._counters.put(id(model), (model, counter))
        return counter

    def _fixed_part(self, request: Request, counter: TokenCounter) -> int:
        """Count what the request costs beside its messages; once for the same objects."""
        system = [] if request.system_message is None else [request.system_message]
        tools, wanted = request.tools, request.response_format
        is_chosen = request.tool_choice not in _FREE_CHOICES
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
            return found[1]
        wholes = (
            counter.count(system, tools=[*tools, *more], response_format=schema)
            for more, schema in _formats(wanted)
        )
        # Also as the counter counts the messages alone: a reasoning model's bill is one less.
        tokens = max(counter(system), *wholes) + is_chosen * _TOOL_CHOICE_TOKENS
        with self._lock:
            self._fixed_parts.put(key, ((counter, *tools, wanted), tokens))
        return tokens


def _max_tokens(wanted: MaxTokens, request: Request) -> int:
    """Return the budget by the settings, the model's profile and its output limit."""
    if isinstance(wanted, int):
        return wanted
    model, most = unwrapped(request.model), _context(request.model)
    if most is None:
        msg = (
            f"max_tokens={wanted!r} needs a model with a profile, and "
            f"{type(model).__name__} has no max_input_tokens in one. Pass "
            "TokenBufferMiddleware(max_tokens=...) an int, or give the model "
            'profile={"max_input_tokens": ...}.'
        )
        raise ValueError(msg)
    if wanted is not None:
        return max(1, int(wanted[1] * most))
    output = request.model_settings.get("max_tokens") or getattr(model, "max_tokens", None) or 0
    budget = int(_PROFILE_SHARE * most) - int(output)
    if budget < 1:
        msg = (
            f"An output limit of {output} leaves nothing of {most} input tokens; set "
            "TokenBufferMiddleware(max_tokens=...) or a smaller max_tokens on the model."
        )
        raise ValueError(msg)
    return budget


def _context(model: object) -> int | None:
    """Return the smallest profile's `max_input_tokens`: any fallback may get the request."""
    profiles = [getattr(each, "profile", None) for each in fallback_models(model)]
    limits = [each.get("max_input_tokens") if isinstance(each, Mapping) else None for each in profiles]
    known = [limit for limit in limits if isinstance(limit, int)]
    return min(known) if known and len(known) == len(limits) else None


def _formats(wanted: Any) -> list[tuple[list[Tool], dict[str, Any] | None]]:
    """Return how a response format may be asked for: as tools, or as a schema.

    What is undecided is both; the one with more tokens counts.
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


class _Recent(OrderedDict[_Key, _Value], Generic[_Key, _Value]):
    """The newest entries; the oldest one goes when there are too many."""

    def put(self, key: _Key, value: _Value) -> None:
        self[key] = value
        self.move_to_end(key)
        while len(self) > _MOST_RECENT:
            self.popitem(last=False)


_MOST_RECENT = 32
