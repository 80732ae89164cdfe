"""What is known of a model request before any message is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from langchain.agents.middleware.types import ModelRequest

from langchain_tokenbuffer._agents.conversation import AgentConversation
from langchain_tokenbuffer._agents.models import OUTPUT_LIMITS
from langchain_tokenbuffer._agents.thinking import ThinkingRule
from langchain_tokenbuffer._counting.reported_usage import report_by
from langchain_tokenbuffer._window.budget import Budget, slack_of
from langchain_tokenbuffer._window.conversation import MessageMeter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._agents.models import ModelFacts
    from langchain_tokenbuffer._agents.notes import ReplyNotes
    from langchain_tokenbuffer._counting.message_counters import MessageCounter
    from langchain_tokenbuffer._window.budget import Oversize

MaxTokens: TypeAlias = int | tuple[Literal["fraction"], float] | None
Request: TypeAlias = ModelRequest[Any]

_PROFILE_SHARE = 0.95
"""Of a profile's `max_input_tokens`; the rest is for what a provider adds and nobody can count."""
_REPLY_SHARE = 8
"""Without an output limit, a reply is left this fraction of `max_input_tokens`, or the profile's `max_output_tokens`
where that is less: most providers count what is written into the same window."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What a `TokenBufferMiddleware` was given; see there."""

    max_tokens: MaxTokens
    counter: MessageCounter | None
    trim_to: float
    reserve_tokens: int
    pin: Callable[[BaseMessage], bool] | None
    oversize: Oversize
    evict_from_state: bool
    clear_results: bool


class FixedTokens(NamedTuple):
    """What the fixed part of a request costs, in tokens."""

    system: int  # the system message, with the request's constant
    tools: int  # tools, response format and tool choice
    added_behind: int = 0  # what middlewares behind add


class AddedBehind(NamedTuple):
    """What middlewares behind were seen to add to requests of a thread."""

    tokens: int = 0  # at most
    is_told: bool = False  # whether it was said that a request was over budget by it

    def dump(self) -> list[Any] | None:
        """Return it in plain JSON types; `None`: nothing was added."""
        return [*self] if self.tokens else None


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What one request is counted by, and what it may take."""

    settings: AgentSettings
    counter: MessageCounter
    max_tokens: int  # the budget by the settings and the model
    fixed_tokens: FixedTokens  # what the request costs beside its messages
    added_behind: AddedBehind  # what middlewares behind have added to earlier requests
    model: str  # what the model is known by in the thread's state
    uses_reports: bool  # whether what replies report is nearer the truth than the counter
    continues_responses: bool  # whether the model sends only what its server does not keep
    read_messages: Callable[[Sequence[BaseMessage]], AgentConversation]  # the request's, or the state's
    thinking: ThinkingRule | None  # None: the model's thinking is valid behind any messages

    @property
    def reserved(self) -> int:
        """What is kept free, in tokens: of `reserve_tokens` what is not known to be taken by what is added behind."""
        return max(0, self.settings.reserve_tokens - self.fixed_tokens.added_behind)

    @property
    def fixed(self) -> int:
        """What is beside the messages, `reserve_tokens` included, in tokens."""
        return sum(self.fixed_tokens) + self.reserved

    def without_added(self) -> RequestFacts:
        """Return the same as if nothing were added behind."""
        return replace(self, fixed_tokens=self.fixed_tokens._replace(added_behind=0))

    def budget(self, max_tokens: int) -> Budget:
        """Return the budget of a window; the fixed part is rounded up."""
        slack = slack_of(max_tokens, self.fixed)
        settings = self.settings
        return Budget(
            max_tokens,
            settings.trim_to,
            self.fixed + slack,
            slack=slack,
            oversize=settings.oversize,
            clear_results=settings.clear_results,
        )


class RequestReader:
    """Reads requests into facts, with what reads a model and what counts a request's fixed part."""

    def __init__(
        self, read_model: Callable[[object], ModelFacts], count_fixed: Callable[[Request, MessageCounter], FixedTokens]
    ) -> None:
        self._read_model = read_model
        self._count_fixed = count_fixed

    def facts(self, request: Request, notes: ReplyNotes, settings: AgentSettings) -> RequestFacts:
        """Return what is known of a request; raise as `TokenBufferMiddleware.wrap_model_call` does."""
        state: Mapping[str, Any] = request.state
        added = max(AddedBehind(*each) for each in (notes.added, (state.get("token_buffer") or {}).get("added", ())))
        model = self._read_model(request.model)
        counter = settings.counter or model.counter_with(request.tools)
        # The user's own counter is taken as it is. What the provider adds to an exact count, reports say.
        is_users = settings.counter is not None
        fixed_tokens = self._count_fixed(request, counter)
        return RequestFacts(
            settings=settings,
            counter=counter,
            max_tokens=_max_tokens(settings.max_tokens, model, request),
            fixed_tokens=fixed_tokens._replace(added_behind=added.tokens),
            added_behind=added,
            model=model.name or model.kind,
            uses_reports=counter.additive and (not counter.exact or not is_users),
            continues_responses=model.continues_responses,
            read_messages=partial(
                AgentConversation, meter=MessageMeter(counter, settings.pin), report_of=partial(report_by, model.name)
            ),
            thinking=_thinking_rule(model, request, fixed_tokens) if model.binds_thinking else None,
        )


def _thinking_rule(model: ModelFacts, request: Request, fixed: FixedTokens) -> ThinkingRule:
    """Return how the model takes thinking; where it is checked, tools are known by what they cost."""
    system = request.system_message
    bound_to = repr((system and system.content, *fixed)) if model.checks_thinking else ""
    return ThinkingRule(model.checks_thinking, bound_to)


def _max_tokens(wanted: MaxTokens, model: ModelFacts, request: Request) -> int:
    """Return the budget by the settings, the model's profile and its output limit."""
    if isinstance(wanted, int):
        return wanted
    if model.max_input_tokens is None:
        msg = (
            f"max_tokens={wanted!r} needs a model with a profile, and {model.kind} has no max_input_tokens in one. "
            'Pass TokenBufferMiddleware(max_tokens=...) an int, or give the model profile={"max_input_tokens": ...}.'
        )
        raise ValueError(msg)
    if wanted is not None:
        return max(1, int(wanted[1] * model.max_input_tokens))
    share = model.max_input_tokens // _REPLY_SHARE
    asked = [limit for name in OUTPUT_LIMITS if (limit := request.model_settings.get(name))]
    output = int(asked[0]) if asked else model.output_limit or min(share, model.max_output_tokens or share)
    budget = int(_PROFILE_SHARE * model.max_input_tokens) - output
    if budget < 1:
        msg = (
            f"An output limit of {output} leaves nothing of {model.max_input_tokens} input tokens; set "
            "TokenBufferMiddleware(max_tokens=...) or a smaller max_tokens on the model."
        )
        raise ValueError(msg)
    return budget
