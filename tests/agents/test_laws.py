"""The laws of `docs/design.md` through the middleware, over generated threads, call by call."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import BaseMessage, RemoveMessage, SystemMessage

from langchain_tokenbuffer._messages.kinds import kind_of
from langchain_tokenbuffer.errors import TokenBufferError
from langchain_tokenbuffer.middleware import TokenBufferMiddleware, TrimEvent
from langchain_tokenbuffer.order import validate
from tests.agents.scripted import Scripted, request
from tests.builders import comparable, count_words
from tests.oracle import breaches
from tests.scale import examples
from tests.strategies import TRIM_TO, threads
from tests.torn import torn

CLAUDE = Scripted(replies=[], model_name="claude-opus-4-5")
SYSTEM = SystemMessage("You look at places, one after the other.")
THOUGHT = {"type": "thinking", "thinking": "Hm, let me see.", "signature": "s"}


@dataclass
class Calls:
    """The model calls of a thread: what was sent at each, or `None` where it could not be."""

    sent: list[list[BaseMessage] | None] = field(default_factory=list)
    events: list[TrimEvent | None] = field(default_factory=list)
    states: list[list[BaseMessage]] = field(default_factory=list)
    has_failed: bool = False  # whether a call was refused in the end

    def windows(self) -> list[list[tuple[Any, ...]] | None]:
        return [None if each is None else comparable(each, ids=True) for each in self.sent]


def run_thread(
    messages: list[BaseMessage], *, fresh: bool = False, true_limit: int | None = None, **options: Any
) -> Calls:
    """Run a thread; the model is called before each of its messages and last.

    What is longer than its `true_limit` it refuses.
    """
    calls, state, known = Calls(), list[BaseMessage](), None
    events: list[TrimEvent] = []

    def middleware() -> TokenBufferMiddleware:
        return TokenBufferMiddleware(token_counter=count_words, on_trim=events.append, **options)

    def handler(asked: ModelRequest[Any]) -> ModelResponse[Any]:
        if true_limit is not None and count_words([SYSTEM, *asked.messages]) > true_limit:
            raise ContextOverflowError
        calls.sent.append([*asked.messages])
        return ModelResponse(result=[])

    held = middleware()
    for message in [*messages, None]:
        if message is None or kind_of(message) == "ai":
            asked = request(state, known=known, model=CLAUDE, system_message=SYSTEM)
            calls.states.append(list(state))
            try:
                answer: Any = (middleware() if fresh else held).wrap_model_call(asked, handler)
            except (TokenBufferError, ContextOverflowError) as error:
                calls.has_failed |= isinstance(error, ContextOverflowError)
                calls.sent.append(None)
                calls.events.append(None)
            else:
                calls.events.append(events[-1])
                update = getattr(getattr(answer, "command", None), "update", None) or {}
                gone: list[RemoveMessage] = update.get("messages", [])
                assert {each.id for each in gone} <= {each.id for each in state}
                state = [each for each in state if each.id not in {one.id for one in gone}]
                known = update.get("token_buffer", known)
        if message is not None:
            state.append(message)
    return calls


budgets = st.fixed_dictionaries(
    {"max_tokens": st.integers(20, 350), "trim_to": st.sampled_from(TRIM_TO), "clear_results": st.booleans()}
)


@settings(max_examples=examples(150))
@given(threads(thought=THOUGHT), budgets, st.sampled_from(["clamp", "clamp", "raise", "drop"]))
def test_what_is_evicted_changes_no_window(messages: list[BaseMessage], options: dict[str, Any], oversize: str) -> None:
    evicting = run_thread(messages, evict_from_state=True, oversize=oversize, **options)
    assert evicting.windows() == run_thread(messages, oversize=oversize, **options).windows()


@settings(max_examples=examples(60))
@given(threads(thought=THOUGHT), budgets)
def test_what_is_evicted_changes_no_window_of_a_fresh_middleware(
    messages: list[BaseMessage], options: dict[str, Any]
) -> None:
    evicting = run_thread(messages, evict_from_state=True, fresh=True, **options)
    assert evicting.windows() == run_thread(messages, **options).windows()


@settings(max_examples=examples(60))
@given(threads(thought=THOUGHT), budgets, st.sampled_from(["clamp", "raise", "drop"]))
def test_a_fresh_middleware_at_every_call_sends_the_same(
    messages: list[BaseMessage], options: dict[str, Any], oversize: str
) -> None:
    fresh = run_thread(messages, fresh=True, oversize=oversize, **options)
    assert fresh.windows() == run_thread(messages, oversize=oversize, **options).windows()


@settings(max_examples=examples(100))
@given(threads(thought=THOUGHT), budgets)
def test_every_call_is_within_budget(messages: list[BaseMessage], options: dict[str, Any]) -> None:
    sent = run_thread(messages, **options).sent
    costs = [count_words([SYSTEM, *each]) for each in sent if each is not None]
    assert max([0, *costs]) <= options["max_tokens"]


@settings(max_examples=examples(100))
@given(threads(thought=THOUGHT), budgets, st.booleans())
def test_every_call_is_valid(
    messages: list[BaseMessage],
    options: dict[str, Any],
    evict: bool,  # noqa: FBT001
) -> None:
    sent = run_thread(messages, evict_from_state=evict, **options).sent
    assert [breach for each in sent if each is not None for breach in breaches(each)] == []


@settings(max_examples=examples(60))
@given(threads(thought=THOUGHT), budgets)
def test_the_state_stays_valid_when_messages_are_evicted(messages: list[BaseMessage], options: dict[str, Any]) -> None:
    greeting = bool(breaches(messages))
    states = run_thread(messages, evict_from_state=True, **options).states
    assert greeting or [breach for each in states for breach in breaches(each)] == []


@settings(max_examples=examples(150))
@given(threads(thought=THOUGHT), budgets)
def test_what_has_not_moved_begins_as_the_last_call_did(messages: list[BaseMessage], options: dict[str, Any]) -> None:
    calls = run_thread(messages, **options)
    windows = zip(calls.windows(), calls.events, strict=True)
    for (last, _), (now, event) in pairwise(windows):
        if last is not None and now is not None and event is not None and not event.moved:
            assert now[: len(last)] == last


@settings(max_examples=examples(60))
@given(threads(thought=THOUGHT), budgets)
def test_the_reusable_prefix_is_what_both_calls_begin_with(
    messages: list[BaseMessage], options: dict[str, Any]
) -> None:
    calls = run_thread(messages, **options)
    for (last, _), (now, event) in pairwise(zip(calls.sent, calls.events, strict=True)):
        if last and now and event:
            pairs = list(zip(comparable(last, ids=True), comparable(now, ids=True), strict=False))
            common = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
            assert event.reusable_tokens == count_words([SYSTEM, *now[:common]])


@settings(max_examples=examples(60))
@given(threads(thought=THOUGHT), budgets)
def test_nothing_that_came_is_changed(messages: list[BaseMessage], options: dict[str, Any]) -> None:
    before = copy.deepcopy(messages)
    run_thread(messages, evict_from_state=True, **options)
    assert messages == before


# --- with a provider that refuses what is too long ---------------------------------------------

refusing = st.fixed_dictionaries(
    {"max_tokens": st.integers(120, 350), "trim_to": st.sampled_from(TRIM_TO), "true_limit": st.integers(40, 120)}
)


@settings(max_examples=examples(40))
@given(threads(thought=THOUGHT), refusing, st.sampled_from(["clamp", "clamp", "raise", "drop"]))
def test_what_is_sent_under_learned_limits_is_a_function_of_the_state(
    messages: list[BaseMessage], options: dict[str, Any], oversize: str
) -> None:
    held = run_thread(messages, oversize=oversize, **options)
    assume(not held.has_failed)  # what a failed call was taught is only in the instance
    assert run_thread(messages, oversize=oversize, fresh=True, **options).windows() == held.windows()


@settings(max_examples=examples(40))
@given(threads(thought=THOUGHT), refusing)
def test_what_is_evicted_changes_no_window_under_learned_limits(
    messages: list[BaseMessage], options: dict[str, Any]
) -> None:
    kept = run_thread(messages, oversize="clamp", **options)
    assert run_thread(messages, oversize="clamp", evict_from_state=True, **options).windows() == kept.windows()


@settings(max_examples=examples(40))
@given(threads(), refusing, st.sampled_from(["clamp", "clamp", "raise", "drop"]))
def test_a_cut_never_moves_back_whatever_limits_are_learned(
    messages: list[BaseMessage], options: dict[str, Any], oversize: str
) -> None:
    calls = run_thread(messages, oversize=oversize, **options)
    cuts = [event.window.cut for event in calls.events if event is not None]
    assert cuts == sorted(cuts)


@settings(max_examples=examples(40))
@given(threads(), refusing)
def test_every_call_is_valid_whatever_limits_are_learned(messages: list[BaseMessage], options: dict[str, Any]) -> None:
    calls = run_thread(messages, **options)
    assert [breach for each in calls.sent if each is not None for breach in breaches(each)] == []


# --- out of order, in any dialect -----------------------------------------------------------------


@settings(max_examples=examples(100))
@given(torn(), budgets)
def test_every_call_of_a_torn_thread_is_valid_and_within_budget(
    messages: list[BaseMessage], options: dict[str, Any]
) -> None:
    for sent in run_thread(messages, **options).sent:
        if sent is not None:
            assert (validate(sent), count_words([SYSTEM, *sent]) <= options["max_tokens"]) == ([], True)


@settings(max_examples=examples(100))
@given(torn(), budgets)
def test_what_is_evicted_changes_no_window_of_a_torn_thread(
    messages: list[BaseMessage], options: dict[str, Any]
) -> None:
    evicting = run_thread(messages, evict_from_state=True, **options)
    assert evicting.windows() == run_thread(messages, **options).windows()
