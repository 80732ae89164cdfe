"""`TokenBufferMiddleware`: the window of a request, its budget, its settings and its reports."""

from __future__ import annotations

import copy
import json
import logging
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from langchain.agents import create_agent
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain.chat_models import init_chat_model
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.utils import count_tokens_approximately
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from langchain_tokenbuffer.buffer import TokenBuffer
from langchain_tokenbuffer.counters import TokenCounter, message_counter
from langchain_tokenbuffer.errors import TokenBudgetError
from langchain_tokenbuffer.middleware import TokenBufferMiddleware, TrimEvent
from langchain_tokenbuffer.order import validate
from tests.agents.scripted import (
    ENCODING,
    FOREVER,
    Scripted,
    answers_invalid_calls,
    look,
    looking,
    middleware_within,
    request,
    sent_by,
)
from tests.builders import (
    ai_calling,
    chat_with_ids,
    count_words_by_threes,
    repeat_word,
    texts_of,
    tool_loop,
)
from tests.strategies import conversations

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTER = TokenCounter(ENCODING)
SYSTEM = SystemMessage("Be brief.")
CHAT = [*chat_with_ids(1), HumanMessage("And now?", id="now")]


def window_of(middleware: TokenBufferMiddleware, messages: list[BaseMessage], **options: Any) -> Any:
    return sent_by(middleware, request(messages, **options)).messages


# --- the window -------------------------------------------------------------------------------


def test_one_line_keeps_an_agent_within_its_budget() -> None:
    model = Scripted(replies=looking(50))
    agent = create_agent(model, [look()], system_prompt="Go.", middleware=[middleware_within(600)])
    agent.invoke({"messages": [HumanMessage("Look everywhere.")]}, FOREVER)
    assert max(COUNTER.count(sent, tools=[look()]) for sent in model.seen) <= 600


def test_a_tool_loop_keeps_the_question_and_the_newest_whole_steps() -> None:
    window = window_of(middleware_within(), tool_loop(50))
    assert ([window[0].id, window[1].type], validate(window)) == (["q", "ai"], [])


def test_the_state_keeps_every_message() -> None:
    agent = create_agent(Scripted(replies=looking(50)), [look()], middleware=[middleware_within(600)])
    state = agent.invoke({"messages": [HumanMessage("Look everywhere.")]}, FOREVER)
    assert len(state["messages"]) == 1 + 2 * 50 + 1


def test_the_state_shown_to_others_has_only_messages() -> None:
    agent = create_agent(Scripted(replies=looking(3)), [look()], middleware=[middleware_within(600)])
    assert set(agent.invoke({"messages": [HumanMessage("Look.")]})) == {"messages"}


def test_what_fits_is_handed_on_as_it_came() -> None:
    asked = request(CHAT)
    assert sent_by(middleware_within(), asked) is asked


def test_the_request_that_came_is_not_changed() -> None:
    asked = request(tool_loop(50))
    before = copy.deepcopy(asked.messages)
    sent_by(middleware_within(), asked)
    assert asked.messages == before


@pytest.mark.parametrize("parallel", [2, 3, 5])
def test_parallel_calls_leave_together(parallel: int) -> None:
    assert validate(window_of(middleware_within(), tool_loop(20, parallel=parallel))) == []


def test_results_that_arrive_interleaved_stay_with_their_calls() -> None:
    messages = tool_loop(6)
    for i in range(6):
        first, second = (ai_calling(("look", {"at": i}, each)) for each in "xy")
        results = [ToolMessage(repeat_word(9), tool_call_id=each) for each in "xy"]
        messages += [first, second, *results]
    window = window_of(middleware_within(), messages)
    calls = sum(len(m.tool_calls) for m in window if isinstance(m, AIMessage))
    assert calls == sum(isinstance(m, ToolMessage) for m in window)


def test_calls_still_open_do_no_harm() -> None:
    messages = [*tool_loop(20), ai_calling(("look", {"at": 1}, "x"), ("look", {"at": 2}, "y"))]
    messages.append(ToolMessage("one", tool_call_id="x"))
    assert validate(window_of(middleware_within(), messages)) == []


def test_server_side_tool_blocks_stay_with_their_message() -> None:
    blocks: list[str | dict[str, Any]] = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "text", "text": repeat_word(20)},
    ]
    messages: list[BaseMessage] = []
    for i in range(20):
        messages += [HumanMessage(f"Question {i}"), AIMessage(copy.deepcopy(blocks))]
    window = window_of(middleware_within(), [*messages, HumanMessage("Now?")])
    assert all(m.content == blocks for m in window if isinstance(m, AIMessage))


@answers_invalid_calls
def test_messages_langchain_inserts_without_an_id_are_windowed_too() -> None:
    broken = InvalidToolCall(type="invalid_tool_call", name="look", args="{", id="broken", error="no JSON")
    model = Scripted(replies=[AIMessage("", invalid_tool_calls=[broken]), *looking(20)])
    agent = create_agent(model, [look()], middleware=[middleware_within(400)])
    state = agent.invoke({"messages": [HumanMessage("Look.")]}, FOREVER)
    agent.invoke({"messages": [*state["messages"], HumanMessage("Well?")]}, FOREVER)
    assert [code for sent in model.seen for code in validate(sent)] == []


def test_a_greeting_is_not_sent() -> None:
    assert texts_of(window_of(middleware_within(), [AIMessage("Welcome!"), HumanMessage("Hi")])) == ["Hi"]


def test_no_messages_are_no_error() -> None:
    assert window_of(middleware_within(), []) == []


@given(conversations())
def test_the_window_is_that_of_the_buffer(messages: list[BaseMessage]) -> None:
    alone = TokenBuffer(120, token_counter=ENCODING)
    # The middleware rounds its fixed part, here the 3 tokens of the request, up to 1/64.
    alone._budget = lambda: _budget(120)  # type: ignore[method-assign]
    try:
        expected = alone.trim(messages)
    except TokenBudgetError:
        with pytest.raises(TokenBudgetError):
            window_of(middleware_within(120), messages)
        return
    assert window_of(middleware_within(120), messages) == expected


def _budget(max_tokens: int) -> Any:
    from langchain_tokenbuffer._window.budget import Budget  # noqa: PLC0415

    step = max_tokens // 64
    fixed = -(-message_counter(COUNTER).constant // step) * step
    return Budget(max_tokens, fixed=fixed, slack=fixed - message_counter(COUNTER).constant)


# --- one budget for the whole request -----------------------------------------------------------


def test_the_system_message_is_in_the_budget() -> None:
    system = SystemMessage(repeat_word(150))
    window = window_of(middleware_within(), tool_loop(50), system_message=system)
    assert COUNTER([system, *window]) <= 300


def test_the_tools_are_in_the_budget() -> None:
    tools = [look()]
    window = window_of(middleware_within(), tool_loop(50), tools=tools)
    assert COUNTER.count(window, tools=tools) <= 300


def test_a_tool_that_must_be_called_takes_ten_tokens_more() -> None:
    events: list[TrimEvent] = []
    for choice in ("auto", "required", "look"):
        asked = request([HumanMessage("Hi")], tools=[look()], tool_choice=choice)
        sent_by(middleware_within(on_trim=events.append), asked)
    free, required, named = (event.tokens_after for event in events)
    assert (required - free, named - free) == (0, 10)


def test_the_reserve_is_in_the_budget() -> None:
    assert COUNTER(window_of(middleware_within(reserve_tokens=150), tool_loop(50))) <= 150


class Answer(BaseModel):
    """An answer."""

    text: str
    sources: list[str]


@pytest.mark.parametrize("wanted", [ToolStrategy(Answer), ProviderStrategy(Answer), AutoStrategy(Answer), Answer])
def test_the_response_format_is_in_the_budget(wanted: Any) -> None:
    events: list[TrimEvent] = []
    window_of(middleware_within(on_trim=events.append), CHAT, response_format=wanted)
    assert events[0].tokens_after > COUNTER(CHAT)


def test_an_undecided_response_format_counts_as_the_dearer() -> None:
    def cost(wanted: Any) -> int:
        events: list[TrimEvent] = []
        window_of(middleware_within(on_trim=events.append), CHAT, response_format=wanted)
        return events[0].tokens_after

    both = [cost(ToolStrategy(Answer)), cost(ProviderStrategy(Answer))]
    assert cost(AutoStrategy(Answer)) == max(both)


def test_either_of_several_answers_may_be_asked_for() -> None:
    class Refusal(BaseModel):
        why: str

    either: Any = AutoStrategy(Answer | Refusal)  # type: ignore[arg-type]  # as agents take it
    events: list[TrimEvent] = []
    window_of(middleware_within(on_trim=events.append), CHAT, response_format=either)
    assert events[0].tokens_after > COUNTER(CHAT)


@pytest.mark.parametrize("second", range(0, 60, 7))
def test_a_clock_in_the_system_message_does_not_move_the_cut(second: int) -> None:
    middleware, messages = middleware_within(1000), tool_loop(100)
    before = window_of(middleware, messages, system_message=SystemMessage("It is 10:00:00."))
    clock = SystemMessage(f"It is 10:00:{second:02} and a half.")
    assert window_of(middleware, messages, system_message=clock) == before


def test_rounding_never_refuses_what_fits_exactly() -> None:
    messages: list[BaseMessage] = [HumanMessage(repeat_word(900))]
    exact = COUNTER([SYSTEM, *messages])
    assert window_of(middleware_within(exact, oversize="raise"), messages, system_message=SYSTEM) == messages


def test_one_token_less_than_exactly_is_refused() -> None:
    messages: list[BaseMessage] = [HumanMessage(repeat_word(900))]
    exact = COUNTER([SYSTEM, *messages])
    with pytest.raises(TokenBudgetError, match=str(exact)):
        window_of(middleware_within(exact - 1, oversize="raise"), messages, system_message=SYSTEM)


def test_a_fixed_part_larger_than_the_budget_is_an_error_with_both_numbers() -> None:
    with pytest.raises(TokenBudgetError, match=r"the fixed part of the request \d+.*is 300"):
        window_of(middleware_within(), CHAT, system_message=SystemMessage(repeat_word(400)))


def test_a_tool_that_is_changed_in_place_is_counted_anew() -> None:
    middleware, tool = middleware_within(), {"type": "function", "function": {"name": "f"}}
    window_of(middleware, tool_loop(50), tools=[tool])
    tool["function"] = {"name": "f", "description": repeat_word(100)}
    assert COUNTER.count(window_of(middleware, tool_loop(50), tools=[tool]), tools=[tool]) <= 300


# --- max_tokens -------------------------------------------------------------------------------


def budget_of(middleware: TokenBufferMiddleware, **options: Any) -> int:
    events: list[TrimEvent] = []
    middleware.on_trim = events.append
    window_of(middleware, CHAT, **options)
    return events[0].max_tokens


def test_without_max_tokens_the_profile_minus_the_output_limit_is_the_budget() -> None:
    model = Scripted(replies=[], profile={"max_input_tokens": 10_000}, max_tokens=1000)
    assert budget_of(TokenBufferMiddleware(token_counter=ENCODING), model=model) == 8500


def test_the_output_limit_of_the_call_wins() -> None:
    model = Scripted(replies=[], profile={"max_input_tokens": 10_000}, max_tokens=1000)
    middleware = TokenBufferMiddleware(token_counter=ENCODING)
    assert budget_of(middleware, model=model, model_settings={"max_tokens": 500}) == 9000


@pytest.mark.parametrize(("longest_reply", "room"), [({}, 1250), ({"max_output_tokens": 400}, 400)])
def test_without_an_output_limit_a_reply_is_left_room(longest_reply: dict[str, int], room: int) -> None:
    profile: Any = {"max_input_tokens": 10_000, **longest_reply}
    middleware = TokenBufferMiddleware(token_counter=ENCODING)
    assert budget_of(middleware, model=Scripted(replies=[], profile=profile)) == 9500 - room


@pytest.mark.parametrize("name", ["max_completion_tokens", "max_output_tokens", "num_predict"])
def test_an_output_limit_is_known_by_any_providers_name(name: str) -> None:
    model = Scripted(replies=[], profile={"max_input_tokens": 10_000})
    middleware = TokenBufferMiddleware(token_counter=ENCODING)
    assert budget_of(middleware, model=model, model_settings={name: 500}) == 9000


def test_a_fraction_is_of_the_profiles_input_tokens() -> None:
    model = Scripted(replies=[], profile={"max_input_tokens": 10_000}, max_tokens=1000)
    middleware = TokenBufferMiddleware(("fraction", 0.8), token_counter=ENCODING)
    assert budget_of(middleware, model=model) == 8000


def test_a_bound_models_profile_is_seen_through() -> None:
    model = Scripted(replies=[], profile={"max_input_tokens": 10_000}, max_tokens=1000).bind(stop=["x"])
    assert budget_of(TokenBufferMiddleware(token_counter=ENCODING), model=model) == 8500


@pytest.mark.parametrize("max_tokens", [None, ("fraction", 0.5)])
def test_a_model_without_a_profile_is_an_error_that_says_what_to_set(max_tokens: Any) -> None:
    with pytest.raises(ValueError, match=r"TokenBufferMiddleware\(max_tokens=\.\.\.\) an int"):
        window_of(TokenBufferMiddleware(max_tokens, token_counter=ENCODING), CHAT)


def test_an_output_limit_that_leaves_nothing_is_an_error() -> None:
    model = Scripted(replies=[], profile={"max_input_tokens": 1000}, max_tokens=1000)
    with pytest.raises(ValueError, match="leaves nothing of 1000"):
        window_of(TokenBufferMiddleware(token_counter=ENCODING), CHAT, model=model)


# --- what counts --------------------------------------------------------------------------------


def test_the_requests_own_model_counts_when_nothing_else_is_given() -> None:
    model = ChatOpenAI(model="gpt-4o", api_key="none")  # type: ignore[arg-type]
    assert TokenCounter(model)(window_of(TokenBufferMiddleware(300), tool_loop(50), model=model)) <= 300


def test_a_model_that_is_not_yet_configured_is_an_error_that_says_what_to_pass() -> None:
    model = init_chat_model(configurable_fields=("model", "model_provider"))
    with pytest.raises(TypeError, match=r"token_counter=\.\.\."):
        window_of(TokenBufferMiddleware(300), CHAT, model=model)


def test_a_model_that_is_not_yet_configured_needs_a_counter_and_a_budget() -> None:
    model = init_chat_model(configurable_fields=("model", "model_provider"))
    assert COUNTER(window_of(middleware_within(), tool_loop(50), model=model)) <= 300


def test_a_counter_that_is_not_additive_stays_within_the_budget() -> None:
    middleware = TokenBufferMiddleware(300, token_counter=count_tokens_approximately)
    window = window_of(middleware, tool_loop(50), system_message=SYSTEM)
    assert count_tokens_approximately([SYSTEM, *window]) <= 300


@pytest.mark.parametrize("counter", [len, count_tokens_approximately])
def test_any_callable_counts_and_the_window_is_valid(counter: Callable[..., int]) -> None:
    middleware = TokenBufferMiddleware(40, token_counter=counter)
    assert validate(window_of(middleware, tool_loop(50, words=3))) == []


# --- pins and what does not fit -----------------------------------------------------------------


def test_a_pinned_message_stays_with_its_step() -> None:
    messages = tool_loop(50)
    messages[2].additional_kwargs["pinned"] = True
    assert [m.id for m in window_of(middleware_within(), messages)[:3]] == ["q", "a0", "t0call0"]


def test_a_pin_predicate_does_the_same() -> None:
    middleware = middleware_within(pin=lambda message: message.id == "t0call0")
    assert [m.id for m in window_of(middleware, tool_loop(50))[:3]] == ["q", "a0", "t0call0"]


def test_a_pin_that_returns_no_bool_is_an_error() -> None:
    with pytest.raises(TypeError, match="pin must return a bool"):
        window_of(middleware_within(pin=lambda _: "yes"), CHAT)


def test_an_oversized_result_is_clamped_around_a_marker() -> None:
    window = window_of(middleware_within(), tool_loop(3, words=2000))
    assert "tokens omitted ...]" in window[-1].text


def test_a_clamped_result_is_clamped_the_same_way_in_every_later_call() -> None:
    middleware, messages = middleware_within(), tool_loop(1, words=2000)
    first = window_of(middleware, messages)
    more = [*messages, AIMessage("I see."), HumanMessage("And?")]
    assert window_of(middleware, more)[: len(first)] == first


def test_the_system_message_is_never_clamped() -> None:
    system = SystemMessage(repeat_word(100))
    sent = sent_by(middleware_within(), request(tool_loop(1, words=2000), system_message=system))
    assert sent.system_message is system


def test_raise_names_both_numbers() -> None:
    with pytest.raises(TokenBudgetError, match="max_tokens is 300") as raised:
        window_of(middleware_within(oversize="raise"), tool_loop(1, words=2000))
    assert raised.value.max_tokens == 300


def test_drop_leaves_the_oversized_step_out() -> None:
    messages = [*tool_loop(2), ai_calling(("look", {"at": 9}, "x"))]
    messages.append(ToolMessage(repeat_word(2000), tool_call_id="x"))
    assert [m.id for m in window_of(middleware_within(oversize="drop"), messages)] == ["q"]


def test_drop_never_sends_an_empty_conversation() -> None:
    with pytest.raises(TokenBudgetError, match=r"fits 300 tokens beside \d+ tokens for tools"):
        window_of(middleware_within(oversize="drop"), [HumanMessage(repeat_word(2000))])


# --- what is reported ---------------------------------------------------------------------------


def events_of(middleware: TokenBufferMiddleware, messages: list[BaseMessage]) -> list[TrimEvent]:
    events: list[TrimEvent] = []
    middleware.on_trim = events.append
    for i, message in enumerate(messages):
        if isinstance(message, AIMessage):
            window_of(middleware, messages[:i])
    return events


def test_an_event_says_what_was_sent() -> None:
    events: list[TrimEvent] = []
    window = window_of(middleware_within(on_trim=events.append), tool_loop(50))
    reported = (events[0].tokens_after, events[0].kept, events[0].dropped)
    assert reported == (COUNTER(window), len(window), 101 - len(window))


def test_an_event_says_how_many_tokens_there_were_before() -> None:
    events: list[TrimEvent] = []
    window_of(middleware_within(on_trim=events.append), tool_loop(50))
    assert events[0].tokens_before == COUNTER(tool_loop(50))


def test_the_reusable_prefix_is_the_last_request_while_the_cut_holds() -> None:
    events = events_of(middleware_within(), tool_loop(40))
    pairs = pairwise(events)
    assert all(now.reusable_tokens == last.tokens_after for last, now in pairs if not now.moved)


def test_the_reusable_prefix_is_what_stands_before_the_cut_when_it_moves() -> None:
    moved = [event for event in events_of(middleware_within(), tool_loop(40)) if event.moved]
    assert {event.reusable_tokens for event in moved} == {COUNTER(tool_loop(0))}


def test_an_event_names_its_reason() -> None:
    reasons = [event.reason for event in events_of(middleware_within(), tool_loop(40))]
    assert (reasons[0], set(reasons)) == ("fits", {"fits", "moved", "held"})


def test_an_event_says_what_a_request_is_made_of() -> None:
    events: list[TrimEvent] = []
    middleware = middleware_within(reserve_tokens=30, on_trim=events.append)
    window = window_of(middleware, tool_loop(50), system_message=SYSTEM, tools=[look()])
    system, tools = COUNTER([SYSTEM]) - COUNTER([]), COUNTER.count([SYSTEM], tools=[look()]) - COUNTER([SYSTEM])
    assert events[0].made_of == {"system": system, "tools": tools, "messages": COUNTER(window), "reserve": 30}


@pytest.mark.parametrize("reported", [None, 90, 400])
@pytest.mark.parametrize("counter", [ENCODING, count_tokens_approximately, count_words_by_threes])
def test_what_a_request_is_made_of_adds_up_to_what_is_sent(counter: Any, reported: int | None) -> None:
    events: list[TrimEvent] = []
    usage: Any = {"input_tokens": reported, "output_tokens": 5, "total_tokens": (reported or 0) + 5}
    reply = AIMessage("Well.", usage_metadata=usage if reported else None, response_metadata={"model_name": "gpt-4o"})
    middleware = TokenBufferMiddleware(2000, token_counter=counter, reserve_tokens=7, on_trim=events.append)
    asked = [HumanMessage(repeat_word(100)), reply, HumanMessage("And?")]
    window_of(middleware, asked, system_message=SYSTEM, tools=[look()])
    assert (sum(events[0].made_of.values()), min(events[0].made_of.values()) >= 0) == (events[0].tokens_after, True)


def test_an_event_as_json_stays_what_it_is_as_text() -> None:
    events: list[TrimEvent] = []
    window_of(middleware_within(on_trim=events.append), tool_loop(2, words=2000))
    as_json = events[0].as_json()
    assert (json.loads(json.dumps(as_json)), as_json["window"]["clamped"]) == (as_json, {"4": ANY})


def test_clamping_is_a_reason() -> None:
    reasons = [event.reason for event in events_of(middleware_within(), [*tool_loop(2, words=2000), AIMessage("x")])]
    assert reasons == ["fits", "clamped", "clamped"]


def test_a_debug_line_says_the_same_without_content(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="langchain_tokenbuffer"):
        window_of(middleware_within(), tool_loop(50))
    assert ("moved" in caplog.text or "held" in caplog.text, "word" in caplog.text) == (True, False)


def test_nothing_is_logged_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    window_of(middleware_within(), tool_loop(50))
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_tokens": 0}, ValueError, "max_tokens must be an int of at least 1"),
        ({"max_tokens": "8k"}, TypeError, "max_tokens must be an int"),
        ({"max_tokens": ("fraction", 1.5)}, ValueError, "f in \\(0, 1\\]"),
        ({"max_tokens": ("tokens", 5)}, ValueError, '\\("fraction", f\\)'),
        ({"trim_to": 0}, ValueError, "trim_to must be a number"),
        ({"reserve_tokens": -1}, ValueError, "reserve_tokens must be an int of at least 0"),
        ({"reserve_tokens": 1.5}, TypeError, "reserve_tokens must be an int of at least 0"),
        ({"max_tokens": 100, "reserve_tokens": 200}, ValueError, "reserve_tokens=200 leaves nothing of max_tokens=100"),
        ({"max_tokens": 100, "reserve_tokens": 100}, ValueError, "reserve_tokens=100 leaves nothing of max_tokens=100"),
        ({"pin": "all"}, TypeError, "pin must be a function"),
        ({"on_trim": 1}, TypeError, "on_trim must be a function"),
        ({"on_evict": print}, ValueError, "evict_from_state=True"),
        ({"oversize": "squeeze"}, ValueError, "oversize must be"),
        ({"token_counter": 5}, TypeError, "token_counter must be"),
        ({"limit": 5}, TypeError, "limit"),
    ],
)
def test_a_bad_setting_is_refused_at_construction_by_name(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TokenBufferMiddleware(**options)


def test_on_trim_cannot_be_a_coroutine_function() -> None:
    async def on_trim(_: TrimEvent) -> None: ...

    with pytest.raises(TypeError, match="on_trim must be a plain function"):
        TokenBufferMiddleware(100, on_trim=on_trim)  # type: ignore[arg-type]


def test_a_middleware_shows_its_settings() -> None:
    shown = repr(TokenBufferMiddleware(8000, token_counter=ENCODING, reserve_tokens=500))
    assert shown == (
        "TokenBufferMiddleware(max_tokens=8000, token_counter=TokenCounter(o200k_base, in OpenAI's chat format), "
        "trim_to=0.6, reserve_tokens=500, oversize='clamp', clear_results=False, evict_from_state=False)"
    )
