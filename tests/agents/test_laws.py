"""The laws through the middleware, over generated conversations lived call by call."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, SystemMessage

from langchain_tokenbuffer._messages.kinds import kind_of
from langchain_tokenbuffer.errors import TokenBudgetError
from langchain_tokenbuffer.middleware import TokenBufferMiddleware, TrimEvent
from tests.agents.scripted import Scripted, request
from tests.oracle import breaches
from tests.strategies import TRIM_TO, conversations, words

CLAUDE = Scripted(replies=[], model_name="claude-opus-4-5")
SYSTEM = SystemMessage("You are told what to do and do it.")
THOUGHT = {"type": "thinking", "thinking": "Hm, let me see.", "signature": "s"}

Said = list[tuple[Any, ...]]


@dataclass
class Life:
    """A conversation lived call by call: what was sent at each, or `None` where it could not be."""

    sent: list[list[BaseMessage] | None] = field(default_factory=list)
    events: list[TrimEvent | None] = field(default_factory=list)
    states: list[list[BaseMessage]] = field(default_factory=list)

    def said(self) -> list[Said | None]:
        return [None if each is None else said(each) for each in self.sent]


def said(messages: list[BaseMessage]) -> Said:
    return [(m.type, m.id, str(m.content), str(getattr(m, "tool_calls", ""))) for m in messages]


def live(messages: list[BaseMessage], *, fresh: bool = False, **options: Any) -> Life:
    """Live through a conversation; the model is called before each of its messages and last."""
    life, state, known = Life(), list[BaseMessage](), None
    told: list[TrimEvent] = []

    def middleware() -> TokenBufferMiddleware:
        return TokenBufferMiddleware(token_counter=words, on_trim=told.append, **options)

    def handler(asked: ModelRequest[Any]) -> ModelResponse[Any]:
        life.sent.append([*asked.messages])
        return ModelResponse(result=[])

    held = middleware()
    for message in [*messages, None]:
        if message is None or kind_of(message) == "ai":
            asked = request(state, known=known, model=CLAUDE, system_message=SYSTEM)
            life.states.append(list(state))
            try:
                answer: Any = (middleware() if fresh else held).wrap_model_call(asked, handler)
            except TokenBudgetError:
                life.sent.append(None)
                life.events.append(None)
            else:
                life.events.append(told[-1])
                update = getattr(getattr(answer, "command", None), "update", None) or {}
                gone: list[RemoveMessage] = update.get("messages", [])
                assert {each.id for each in gone} <= {each.id for each in state}
                state = [each for each in state if each.id not in {one.id for one in gone}]
                known = update.get("token_buffer", known)
        if message is not None:
            state.append(message)
    return life


@st.composite
def threads(draw: st.DrawFn) -> list[BaseMessage]:
    """A conversation as a state holds it: with ids; some models think."""
    messages = draw(conversations(huge=draw(st.sampled_from([None, None, True]))))
    thinks = draw(st.booleans())
    for i, message in enumerate(messages):
        message.id = f"m{i}"
        if thinks and isinstance(message, AIMessage) and isinstance(message.content, list):
            message.content = [THOUGHT, *message.content]
    return messages


budgets = st.fixed_dictionaries(
    {"max_tokens": st.integers(20, 350), "trim_to": st.sampled_from(TRIM_TO)}
)


@settings(max_examples=150)
@given(threads(), budgets, st.sampled_from(["clamp", "clamp", "raise", "drop"]))
def test_what_is_evicted_changes_no_window(
    messages: list[BaseMessage], options: dict[str, Any], oversize: str
) -> None:
    evicting = live(messages, evict_from_state=True, oversize=oversize, **options)
    assert evicting.said() == live(messages, oversize=oversize, **options).said()


@settings(max_examples=60)
@given(threads(), budgets)
def test_what_is_evicted_changes_no_window_of_a_fresh_middleware(
    messages: list[BaseMessage], options: dict[str, Any]
) -> None:
    evicting = live(messages, evict_from_state=True, fresh=True, **options)
    assert evicting.said() == live(messages, **options).said()


@settings(max_examples=60)
@given(threads(), budgets, st.sampled_from(["clamp", "raise", "drop"]))
def test_a_fresh_middleware_at_every_call_sends_the_same(
    messages: list[BaseMessage], options: dict[str, Any], oversize: str
) -> None:
    fresh = live(messages, fresh=True, oversize=oversize, **options)
    assert fresh.said() == live(messages, oversize=oversize, **options).said()


@settings(max_examples=100)
@given(threads(), budgets)
def test_every_call_is_within_budget(messages: list[BaseMessage], options: dict[str, Any]) -> None:
    sent = live(messages, **options).sent
    costs = [words([SYSTEM, *each]) for each in sent if each is not None]
    assert max([0, *costs]) <= options["max_tokens"]


@settings(max_examples=100)
@given(threads(), budgets, st.booleans())
def test_every_call_is_valid(
    messages: list[BaseMessage],
    options: dict[str, Any],
    evict: bool,  # noqa: FBT001
) -> None:
    sent = live(messages, evict_from_state=evict, **options).sent
    assert [breach for each in sent if each is not None for breach in breaches(each)] == []


@settings(max_examples=60)
@given(threads(), budgets)
def test_the_state_stays_valid_when_messages_are_evicted(
    messages: list[BaseMessage], options: dict[str, Any]
) -> None:
    greeting = bool(breaches(messages))
    states = live(messages, evict_from_state=True, **options).states
    assert greeting or [breach for each in states for breach in breaches(each)] == []


@settings(max_examples=150)
@given(threads(), budgets)
def test_what_has_not_moved_begins_as_the_last_call_did(
    messages: list[BaseMessage], options: dict[str, Any]
) -> None:
    life = live(messages, **options)
    calls = zip(life.said(), life.events, strict=True)
    for (last, _), (now, event) in pairwise(calls):
        if last is not None and now is not None and event is not None and not event.moved:
            assert now[: len(last)] == last


@settings(max_examples=60)
@given(threads(), budgets)
def test_the_reusable_prefix_is_what_both_calls_begin_with(
    messages: list[BaseMessage], options: dict[str, Any]
) -> None:
    life = live(messages, **options)
    for (last, _), (now, event) in pairwise(zip(life.sent, life.events, strict=True)):
        if last and now and event:
            pairs = list(zip(said(last), said(now), strict=False))
            common = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
            assert event.reusable_tokens == words([SYSTEM, *now[:common]])


@settings(max_examples=60)
@given(threads(), budgets)
def test_nothing_that_came_is_changed(messages: list[BaseMessage], options: dict[str, Any]) -> None:
    before = copy.deepcopy(messages)
    live(messages, evict_from_state=True, **options)
    assert messages == before
