"""What the replay says of each call is what the package does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_tokenbuffer import TokenBudgetError, TokenBuffer, TokenBufferMiddleware, TokenCounter
from langchain_tokenbuffer._replay.files import read
from langchain_tokenbuffer._replay.simulation import (
    Call,
    CountedTranscript,
    Prices,
    Setting,
    calls_of,
    totals_of,
    untrimmed,
)
from langchain_tokenbuffer._replay.transcripts import Transcript
from tests.agents.scripted import ENCODING, looking, request, sent_by
from tests.builders import ai_calling, count_words, random_chat
from tests.oracle import head_length
from tests.scale import examples
from tests.strategies import TRIM_TO, conversations, max_tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langchain_tokenbuffer.middleware import TrimEvent

T = TypeVar("T")
COUNTER = TokenCounter(count_words)
EXACT = TokenCounter(ENCODING)
PRICES = Prices(floor=0)
TOOL: dict[str, Any] = {
    "name": "look",
    "description": "Look at a place.",
    "parameters": {"type": "object", "properties": {"at": {"type": "integer"}}},
}


def counted(messages: list[BaseMessage], *tools: dict[str, Any], counter: TokenCounter = COUNTER) -> CountedTranscript:
    return CountedTranscript(Transcript("it", messages, tools), counter)


def result_or_budget_error(function: Callable[..., T], *arguments: Any) -> T | TokenBudgetError:
    try:
        return function(*arguments)
    except TokenBudgetError as error:
        return error


def replayed(messages: list[BaseMessage], budget: int, trim_to: float = 0.6) -> list[Call]:
    return list(calls_of(counted(messages), Setting(budget, trim_to), PRICES))


def kept(each: Call) -> tuple[int, ...]:
    return (*each.kept_before_cut, *range(each.cut, each.length))


# --- the windows ----------------------------------------------------------------------------------


@settings(max_examples=examples(80))
@given(conversations(), max_tokens(), st.sampled_from(TRIM_TO))
def test_every_window_is_the_one_of_a_buffer(messages: list[BaseMessage], budget: int, trim_to: float) -> None:
    buffer = TokenBuffer(budget, token_counter=count_words, trim_to=trim_to)
    for each in replayed(messages, budget, trim_to):
        window = result_or_budget_error(buffer.window, messages[: each.length])
        if isinstance(window, TokenBudgetError):
            assert (each.reason, each.error, each.tokens) == ("over", str(window), window.tokens)
        else:
            assert (window.kept, window.cut) == (kept(each), each.cut)
            assert (window.tokens, window.clamped) == (each.tokens, dict(each.clamped))
            assert len(window.dropped) == each.dropped


def test_long_conversations_have_the_windows_of_a_buffer() -> None:
    messages = [*random_chat(60), HumanMessage("look"), *looking(1), *random_chat(40, seed=2)[1:]]
    messages.insert(100, HumanMessage("remember", additional_kwargs={"pinned": True}))
    buffer = TokenBuffer(200, token_counter=count_words)
    for each in replayed(messages, 200):
        window = buffer.window(messages[: each.length])
        assert (window.kept, window.tokens) == (kept(each), each.tokens)


@settings(max_examples=examples(80))
@given(conversations(), max_tokens(), st.sampled_from(TRIM_TO))
def test_with_tools_every_call_is_reported_as_the_middleware_reports_it(
    messages: list[BaseMessage], budget: int, trim_to: float
) -> None:
    heads = head_length(messages)
    assume(heads < 2)
    budget += 40  # the tool's own
    events: list[TrimEvent] = []
    middleware = TokenBufferMiddleware(budget, token_counter=count_words, trim_to=trim_to, on_trim=events.append)
    system = messages[0] if heads else None
    sent = True
    for each in calls_of(counted(messages, TOOL), Setting(budget, trim_to), PRICES):
        asked = request(messages[heads : each.length], system_message=system, tools=[TOOL])
        answer = result_or_budget_error(partial(sent_by, middleware, asked))
        if isinstance(answer, TokenBudgetError):
            assert (each.reason, each.tokens) == ("over", answer.tokens)
            sent = False
            continue
        event = events[-1]
        assert each.reason == event.reason
        assert (each.tokens, each.total_tokens) == (event.tokens_after, event.tokens_before)
        assert (each.dropped, len(each.clamped)) == (event.dropped, event.clamped)
        if sent:
            assert each.reusable == event.reusable_tokens
        sent = True


# --- which calls there are ------------------------------------------------------------------------


def test_there_is_a_call_before_every_reply_and_at_an_open_end() -> None:
    messages = [
        HumanMessage("a"),
        ai_calling(("look", {}, "1")),
        ToolMessage("b", tool_call_id="1"),
    ]
    assert [each.length for each in replayed(messages, 99)] == [1, 3]


def test_no_call_is_made_after_the_last_reply() -> None:
    assert [each.length for each in replayed([HumanMessage("a"), AIMessage("b")], 99)] == [1]


def test_a_greeting_is_no_call() -> None:
    greeted = [SystemMessage("be kind"), AIMessage("hello"), HumanMessage("a"), AIMessage("b")]
    assert [each.length for each in replayed(greeted, 99)] == [3]


def test_each_message_that_left_is_listed_once_and_all_are_the_dropped_ones() -> None:
    calls = replayed(random_chat(40), 150)
    left = [index for each in calls for index in each.left]
    assert len(left) == len(set(left)) == calls[-1].dropped


# --- over the budget ------------------------------------------------------------------------------


def oversized() -> list[BaseMessage]:
    """A conversation whose tool call is too large for 30 tokens, which nothing may shorten."""
    return [
        HumanMessage("a"),
        ai_calling(("look", {"at": "word " * 50}, "1")),
        ToolMessage("b", tool_call_id="1"),
        AIMessage("c"),
        HumanMessage("d"),
    ]


def test_a_call_over_the_budget_does_not_end_the_replay() -> None:
    calls = replayed(oversized(), 30)
    assert [each.reason for each in calls] == ["fits", "over", "moved"]


def test_a_call_over_the_budget_costs_nothing_and_leaves_nothing_to_reuse() -> None:
    calls = replayed(oversized(), 30)
    assert calls[1].cost == 0
    assert calls[2].reusable == 0


# --- the prices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prices", "tokens", "reusable", "cost"),
    [
        (Prices(), 2000, 0, 2000),
        (Prices(), 2000, 1500, 500 + 150),
        (Prices(), 2000, 1023, 2000),
        (Prices(), 2000, 1024, 976 + 102.4),
        (Prices(write=1.25), 2000, 1500, 1.25 * 500 + 150),
        (Prices(write=1.25), 1000, 0, 1000),
        (Prices(input=3, cached=0.3, write=3.75), 1024, 0, 3840),
        (Prices(floor=0), 10, 5, 5.5),
    ],
)
def test_a_request_costs_what_is_read_and_what_the_cache_serves(
    prices: Prices, tokens: int, reusable: int, cost: float
) -> None:
    assert prices.cost(tokens, reusable) == pytest.approx(cost)


def test_never_trimming_costs_what_a_budget_costs_that_nothing_passes() -> None:
    talk = counted(random_chat(30))
    calls = calls_of(talk, Setting(10_000, 0.6), PRICES)
    assert untrimmed([talk], PRICES) == totals_of([(talk, calls)], PRICES)


def test_the_share_seen_is_of_what_stands_behind_the_system_messages() -> None:
    messages = [SystemMessage("word " * 90), HumanMessage("a"), AIMessage("b"), HumanMessage("c")]
    talk = counted(messages)
    # 5 for the request, 92 for the system message, 3 for each question.
    totals = totals_of([(talk, calls_of(talk, Setting(102, 0.6), PRICES))], PRICES)
    assert (totals.visible, totals.total) == (3 + 3, 3 + 9)


# --- real ones ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["swe_agent_en", "functionchat_ko"])
def test_real_transcripts_have_the_windows_of_a_buffer(shared_data: Path, name: str) -> None:
    for transcript in read(str(shared_data / f"{name}.jsonl")):
        talk = CountedTranscript(Transcript(transcript.name, transcript.messages), EXACT)
        budget = max(400, talk.longest // 3)
        buffer = TokenBuffer(budget, token_counter=EXACT)
        for each in calls_of(talk, Setting(budget, 0.6), PRICES):
            window = buffer.window(transcript.messages[: each.length])
            assert (window.kept, window.tokens) == (kept(each), each.tokens)
