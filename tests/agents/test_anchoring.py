"""Reported usage as an anchor: what providers bill, and the windows it makes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import TokenBudgetError, TokenCounter
from langchain_tokenbuffer._counting.reported_usage import NO_ANCHOR, Report, is_by
from langchain_tokenbuffer._messages.kinds import kind_of
from langchain_tokenbuffer._window.replay import Replay
from langchain_tokenbuffer.counters import message_counter
from langchain_tokenbuffer.middleware import TokenBufferMiddleware, TrimEvent
from tests.agents.scripted import Scripted, request
from tests.builders import ai_calling, chat_with_ids, comparable, tool_loop
from tests.oracle import breaches
from tests.scale import examples
from tests.strategies import TRIM_TO, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Claude(Scripted):
    """Counted by an estimate, since the real one counts by asking Anthropic."""

    def get_num_tokens_from_messages(self, *args: Any, **kwargs: Any) -> int:
        raise AssertionError


Claude.__module__ = "langchain_anthropic.chat_models"

NAME = "claude-sonnet-4-5"
CLAUDE = Claude(replies=[], model_name=NAME)
GPT = ChatOpenAI(model="gpt-4o", api_key=SecretStr("unused"))
COUNTER = TokenCounter(CLAUDE)
SYSTEM = SystemMessage("You answer questions about bread, in one sentence each.")


def count_request(asked: ModelRequest[Any], counter: TokenCounter = COUNTER) -> int:
    """What a request is counted to before anything is reported."""
    head = [] if asked.system_message is None else [asked.system_message]
    messages = counter(asked.messages) - message_counter(counter).constant
    return messages + counter.count(head, tools=asked.tools)


def bills_share_of(of: float, more: int = 0) -> Callable[[ModelRequest[Any]], int]:
    """A provider that bills a share of what is counted, and something more."""
    return lambda asked: int(of * count_request(asked)) + more


@dataclass
class Calls:
    """The model calls of a thread, whose replies report what they were billed."""

    sent: list[list[BaseMessage]] = field(default_factory=list)
    bills: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    events: list[TrimEvent] = field(default_factory=list)
    state: list[BaseMessage] = field(default_factory=list)
    known: Any = None

    def windows(self) -> list[list[tuple[Any, ...]]]:
        return [comparable(window, ids=True) for window in self.sent]


def reporting(message: BaseMessage, billed: int, model: str = NAME, of: float = 1.0) -> BaseMessage:
    """A reply that says what was billed for it."""
    written = int(of * (COUNTER([message]) - message_counter(COUNTER).constant))
    usage = {"input_tokens": billed, "output_tokens": written, "total_tokens": billed + written}
    return message.model_copy(update={"usage_metadata": usage, "response_metadata": {"model_name": model}})


def run_thread(
    messages: Sequence[BaseMessage],
    bill: Callable[[ModelRequest[Any]], int] | None,
    *,
    fresh: bool = False,
    model: Any = CLAUDE,
    by: str = NAME,
    tools: Sequence[Any] = (),
    **options: Any,
) -> Calls:
    """Run a thread; the model is called before each AI message and last."""
    calls = Calls()

    def middleware() -> TokenBufferMiddleware:
        return TokenBufferMiddleware(on_trim=calls.events.append, **options)

    def handler(asked: ModelRequest[Any]) -> ModelResponse[Any]:
        calls.sent.append([*asked.messages])
        calls.bills.append(0 if bill is None else bill(asked))
        calls.rates.append(calls.bills[-1] / count_request(asked))
        return ModelResponse(result=[])

    held = middleware()
    for message in [*messages, None]:
        if message is None or kind_of(message) == "ai":
            asked = request(calls.state, known=calls.known, model=model, system_message=SYSTEM, tools=[*tools])
            answer: Any = (middleware() if fresh else held).wrap_model_call(asked, handler)
            update = getattr(getattr(answer, "command", None), "update", None) or {}
            gone = {each.id for each in update.get("messages", []) if isinstance(each, RemoveMessage)}
            calls.state = [each for each in calls.state if each.id not in gone]
            calls.known = json.loads(json.dumps(update.get("token_buffer", calls.known)))
        if message is not None:
            billed = calls.bills[-1] if kind_of(message) == "ai" else 0
            calls.state.append(reporting(message, billed, by, calls.rates[-1]) if billed else message)
    return calls


# --- what a report does -----------------------------------------------------------------------


@pytest.mark.parametrize("messages", [chat_with_ids(40), tool_loop(60, 40)], ids=["chat", "loop"])
@pytest.mark.parametrize("of", [0.6, 0.8])
def test_where_less_is_billed_than_counted_the_window_is_larger(of: float, messages: list[BaseMessage]) -> None:
    anchored = run_thread(messages, bills_share_of(of), max_tokens=1500)
    silent = run_thread(messages, None, max_tokens=1500)
    assert max(map(len, anchored.sent)) >= max(map(len, silent.sent)) / of * 0.85


@pytest.mark.parametrize("messages", [chat_with_ids(40), tool_loop(60, 40)], ids=["chat", "loop"])
@pytest.mark.parametrize("of", [0.6, 0.8, 1.0, 1.3, 1.8])
def test_what_is_billed_is_within_budget_after_the_first_reply(of: float, messages: list[BaseMessage]) -> None:
    bills = run_thread(messages, bills_share_of(of), max_tokens=1500).bills
    assert max(bills[1:]) <= 1500


def test_a_result_dearer_than_all_before_it_is_within_budget() -> None:
    def bill(asked: ModelRequest[Any]) -> int:
        # Prose is billed lower than it is counted, JSON as it is counted.
        results = [each for each in asked.messages if kind_of(each) == "tool"]
        json_ = COUNTER(results) - message_counter(COUNTER).constant if results else 0
        return int(0.6 * (count_request(asked) - json_)) + json_

    asked = ai_calling(("look", {"at": 1}, "c")).model_copy(update={"id": "a"})
    text = '{"sku": "A-19", "qty": 2, "price": 3.5}, ' * 40
    result = ToolMessage(text, tool_call_id="c", id="t")
    messages = [*chat_with_ids(6), HumanMessage("Look.", id="q"), asked, result]
    assert max(run_thread(messages, bill, max_tokens=1500).bills[1:]) <= 1500


def test_the_reported_usage_includes_the_fixed_part() -> None:
    bills = run_thread(chat_with_ids(40), bills_share_of(1.0, more=300), max_tokens=1500).bills
    assert (max(bills) <= 1500, max(bills) > 1350) == (True, True)


@pytest.mark.parametrize("turns", [2, 6, 12])
def test_new_messages_are_not_rescaled_by_cheaper_older_ones(turns: int) -> None:
    def bill(asked: ModelRequest[Any]) -> int:
        results = [each for each in asked.messages if kind_of(each) == "tool"]
        dear = COUNTER(results) - message_counter(COUNTER).constant if results else 0
        return int(0.6 * (count_request(asked) - dear)) + dear

    asked = ai_calling(("look", {"at": 1}, "c")).model_copy(update={"id": "a"})
    result = ToolMessage('{"sku": "A-19", "qty": 2}, ' * 600, tool_call_id="c", id="t")
    messages = [*chat_with_ids(turns), HumanMessage("Look.", id="q"), asked, result]
    calls = run_thread(messages, bill, max_tokens=1500, trim_to=1.0)
    assert (calls.events[-1].reason, calls.bills[-1] <= 1500) == ("clamped", True)


def test_an_event_says_what_will_be_billed() -> None:
    calls = run_thread(chat_with_ids(40), bills_share_of(0.7), max_tokens=1500)
    off = [event.tokens_after / bill for event, bill in zip(calls.events, calls.bills, strict=True)]
    assert max(abs(each - 1) for each in off[3:]) < 0.1


def test_a_report_changes_nothing_before_it() -> None:
    messages = chat_with_ids(40)
    late = [reporting(each, 900) if each.id == "a20" else each for each in messages]
    anchored, silent = (run_thread(each, None, max_tokens=1200).windows() for each in (late, messages))
    assert (anchored[:21], anchored[21:] != silent[21:]) == (silent[:21], True)


def test_what_is_too_long_by_the_reported_usage_leaves_at_once() -> None:
    messages = chat_with_ids(3)
    total = count_request(request(messages, system_message=SYSTEM))
    silent = run_thread(messages, None, max_tokens=total + 20).sent[-1]
    dear = run_thread(messages, bills_share_of(1.5), max_tokens=total + 20).sent[-1]
    assert (len(silent), len(dear) < len(silent)) == (6, True)


def test_the_reports_of_an_older_thread_are_used_from_its_beginning() -> None:
    state = [
        *run_thread(chat_with_ids(30), bills_share_of(0.7), max_tokens=1200).state,
        HumanMessage("And?", id="last"),
    ]
    first, known = window_and_state(state, None)
    assert (window_and_state(state, known)[0], known["anchored"]) == (first, [None, None, None])


# --- what is no anchor ------------------------------------------------------------------------


def is_as_without_reports(calls: Calls, messages: Sequence[BaseMessage], **options: Any) -> bool:
    return calls.windows() == run_thread(messages, None, **options).windows()


def test_streaming_without_usage_counts_as_before() -> None:
    silent = [message.model_copy(update={"usage_metadata": None}) for message in chat_with_ids(30)]
    assert is_as_without_reports(run_thread(silent, None, max_tokens=1200), chat_with_ids(30), max_tokens=1200)


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 700.5, "output_tokens": 9},
        {"input_tokens": "700", "output_tokens": 9},
        {"input_tokens": None, "output_tokens": None},
        {"total_tokens": 709},
        [700, 9],
    ],
    ids=["no whole number", "text", "none", "missing", "no mapping"],
)
def test_a_usage_that_is_no_usage_changes_nothing(usage: Any) -> None:
    odd = [_with_usage(each, usage) if each.type == "ai" else each for each in chat_with_ids(30)]
    assert is_as_without_reports(run_thread(odd, None, max_tokens=1200), chat_with_ids(30), max_tokens=1200)


@pytest.mark.parametrize("written", [0, -5000, None, 9.5])
def test_an_output_that_is_none_is_counted(written: Any) -> None:
    usage = {"input_tokens": 700, "output_tokens": written}
    known, odd = (
        [_with_usage(each, dict(usage, **more)) if each.id == "a9" else each for each in chat_with_ids(12)]
        for more in ({"output_tokens": 10**6}, {})
    )
    assert run_thread(odd, None, max_tokens=1200).windows() == run_thread(known, None, max_tokens=1200).windows()


def _with_usage(message: BaseMessage, usage: Any) -> BaseMessage:
    """As an integration may set it: pydantic checks what a message is made with, no more."""
    return message.model_copy(update={"usage_metadata": usage})


def test_reports_of_another_model_are_no_anchors() -> None:
    calls = run_thread(chat_with_ids(30), bills_share_of(0.7), by="gpt-4o", max_tokens=1200)
    assert is_as_without_reports(calls, chat_with_ids(30), max_tokens=1200)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219"),
        ("claude-sonnet-4-0", "claude-sonnet-4-20250514"),
        ("models/gemini-2.0-flash", "gemini-2.0-flash-001"),
        ("gemini-flash-latest", "gemini-2.5-flash-preview-09-2025"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
    ],
)
def test_a_reply_by_what_an_alias_stands_for_is_the_models(asked: str, answered: str) -> None:
    model = Claude(replies=[], model_name=asked)
    calls = run_thread(chat_with_ids(30), bills_share_of(0.7), model=model, by=answered, max_tokens=1200)
    assert not is_as_without_reports(calls, chat_with_ids(30), model=model, max_tokens=1200)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("gpt-4", "gpt-4o"), ("claude-sonnet-4-5", "claude-opus-4-5"), ("gemini-2.5-pro", "gpt-5")],
)
def test_a_reply_by_a_model_of_another_name_is_not_the_models(asked: str, answered: str) -> None:
    reply = reporting(AIMessage("Rye."), 900, answered)
    assert (is_by(reply, asked), is_by(reply, answered)) == (False, True)


@pytest.mark.parametrize("of", [0.1, 5.0])
def test_a_single_bill_that_cannot_be_this_windows_is_no_anchor(of: float) -> None:
    def run(reported: str) -> Calls:
        messages = [
            reporting(each, int(of * COUNTER([*chat_with_ids(9), SYSTEM]))) if each.id == reported else each
            for each in chat_with_ids(12)
        ]
        return run_thread(messages, None, max_tokens=1200)

    assert run("a8").windows() == run("none").windows()


def test_bills_that_contradict_each_other_are_no_anchors() -> None:
    shares = iter([5.0, 0.1] * 20)
    calls = run_thread(chat_with_ids(30), lambda asked: int(next(shares) * count_request(asked)), max_tokens=1200)
    assert is_as_without_reports(calls, chat_with_ids(30), max_tokens=1200)


# --- bills that the count does not explain, and that agree ------------------------------------


@pytest.mark.parametrize("of", [2.5, 3.0, 5.0])
@pytest.mark.parametrize(("model", "by"), [(CLAUDE, NAME), (GPT, "gpt-4o")], ids=["estimated", "exact"])
def test_two_bills_of_many_times_the_count_are_believed(of: float, model: Any, by: str) -> None:
    counter = TokenCounter(model)
    calls = run_thread(
        chat_with_ids(40), lambda asked: int(of * count_request(asked, counter)), model=model, by=by, max_tokens=4000
    )
    # Within 1 %: the fixed part is rounded up, which hides a little of how many times it is.
    assert (max(calls.bills[2:]) <= 4040, len(calls.sent[-1]) >= 5) == (True, True)


@pytest.mark.parametrize("more", [2_000, 20_000, 100_000])
@pytest.mark.parametrize(("model", "by"), [(CLAUDE, NAME), (GPT, "gpt-4o")], ids=["estimated", "exact"])
def test_what_the_provider_adds_by_itself_is_part_of_the_fixed_part(more: int, model: Any, by: str) -> None:
    counter, max_tokens = TokenCounter(model), more + 1500
    calls = run_thread(
        chat_with_ids(40), lambda asked: count_request(asked, counter) + more, model=model, by=by, max_tokens=max_tokens
    )
    assert (max(calls.bills[2:]) <= max_tokens, max(calls.bills) > more + 1000) == (True, True)


def test_where_requests_have_grown_a_reply_costs_what_such_texts_cost_again() -> None:
    anchor = NO_ANCHOR
    for billed, window in ((100_000, 500), (100_500, 1_000), (101_000, 1_500)):  # a token for a token
        anchor = anchor.moved(Report(billed, 150), window, 400, 0, borrowed_tokenizer=True)
    assert anchor.billed - 101_000 == 400


def test_bills_of_less_than_half_are_believed_and_the_window_grows() -> None:
    dear, cheap = (run_thread(chat_with_ids(40), bill, max_tokens=1200) for bill in (None, bills_share_of(0.3)))
    assert (max(map(len, cheap.sent)) > 2 * max(map(len, dear.sent)), max(cheap.bills) <= 1200) == (True, True)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "agrees" in record.getMessage()]


@pytest.mark.parametrize("evict", [False, True], ids=["keeping", "evicting"])
def test_a_thread_warns_once_and_names_count_and_bill(caplog: pytest.LogCaptureFixture, *, evict: bool) -> None:
    messages = [each.model_copy(update={"id": f"{evict}{each.id}"}) for each in chat_with_ids(30)]
    calls = run_thread(messages, bills_share_of(3.0), fresh=True, evict_from_state=evict, max_tokens=4000)
    [warning] = warnings_of(caplog)
    assert (str(calls.bills[1]) in warning, calls.known["believes"]) == (True, True)


def test_a_thread_whose_bills_are_as_counted_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    run_thread(chat_with_ids(30), bills_share_of(1.5), max_tokens=4000)
    assert warnings_of(caplog) == []


# --- what was thought, in a running turn ------------------------------------------------------


def thinking_loop(*, then: Sequence[BaseMessage]) -> list[BaseMessage]:
    """A question and a call for which 500 tokens were thought, of which the message shows none."""
    question = HumanMessage("Look. " * 200, id="q")
    read = count_request(request([question], model=CLAUDE, system_message=SYSTEM))
    usage: Any = {"input_tokens": read, "output_tokens": 580, "total_tokens": read + 580}
    call = ai_calling(("look", {"at": 1}, "c")).model_copy(update={"id": "a", "usage_metadata": usage})
    return [question, call, ToolMessage("1", tool_call_id="c", id="t"), *then]


def billed_next(messages: list[BaseMessage]) -> int:
    events: list[TrimEvent] = []
    asked = request(messages, model=CLAUDE, system_message=SYSTEM)
    TokenBufferMiddleware(9000, on_trim=events.append).wrap_model_call(asked, lambda _: ModelResponse[Any](result=[]))
    return events[0].tokens_after


def test_what_was_thought_is_billed_again_while_its_turn_runs() -> None:
    running = thinking_loop(then=[])
    ended = thinking_loop(then=[HumanMessage("x", id="next")])
    assert billed_next(running) - billed_next(ended) > 400


def test_an_anchored_count_has_what_was_thought_while_its_turn_runs() -> None:
    running = COUNTER.count(thinking_loop(then=[]), anchor=True)
    ended = COUNTER.count(thinking_loop(then=[HumanMessage("x")]), anchor=True)
    assert running - ended > 400


def test_the_users_own_counter_is_not_anchored() -> None:
    options: dict[str, Any] = {"max_tokens": 1200, "token_counter": "o200k_base"}
    assert is_as_without_reports(
        run_thread(chat_with_ids(30), bills_share_of(0.7), **options), chat_with_ids(30), **options
    )


def test_exact_counts_of_messages_are_not_anchored() -> None:
    options: dict[str, Any] = {"max_tokens": 1200, "model": GPT, "by": "gpt-4o"}
    assert is_as_without_reports(
        run_thread(chat_with_ids(30), lambda asked: count_request(asked, TokenCounter(GPT)) - 10, **options),
        chat_with_ids(30),
        **options,
    )


def look(at: int) -> int:
    """Look at a place."""
    return at


def search(query: str) -> str:
    """Search the whole web, all libraries and every cookbook for recipes; return the best ten."""
    return query


def window_and_state(state: list[BaseMessage], known: Any, **options: Any) -> tuple[list[Any], Any]:
    """One call on a state: what is sent, and the private state after it."""
    sent: list[Any] = []

    def handler(asked: ModelRequest[Any]) -> ModelResponse[Any]:
        sent.extend(message.id for message in asked.messages)
        return ModelResponse(result=[])

    max_tokens = options.pop("max_tokens", 1200)
    asked = request(state, known=known, model=CLAUDE, system_message=SYSTEM, **options)
    answer: Any = TokenBufferMiddleware(max_tokens).wrap_model_call(asked, handler)
    command = getattr(answer, "command", None)
    return sent, known if command is None else command.update["token_buffer"]


@pytest.mark.parametrize("changed", [{"tools": [look, search]}, {"max_tokens": 1400}], ids=["tools", "budget"])
def test_replies_from_before_a_change_are_no_anchors(changed: dict[str, Any]) -> None:
    state = [*chat_with_ids(30), HumanMessage("And rye?", id="last")]
    calls = run_thread(chat_with_ids(30), bills_share_of(0.6), max_tokens=1200)
    sent, _ = window_and_state([*calls.state, state[-1]], calls.known, **changed)
    assert sent == window_and_state(state, None, **changed)[0]


def test_replies_after_a_change_are_anchors_again() -> None:
    calls = run_thread(chat_with_ids(30), bills_share_of(0.6), max_tokens=1200)
    _, known = window_and_state([*calls.state, HumanMessage("And rye?", id="last")], calls.known, tools=[look])
    later = [*calls.state, HumanMessage("And rye?", id="last")]
    reply = reporting(AIMessage("Rye too.", id="reporting"), 700)
    state = [*later, reply, *chat_with_ids(4)]
    silent = [*later, AIMessage("Rye too.", id="reporting"), *chat_with_ids(4)]
    assert len(window_and_state(state, known, tools=[look])[0]) > len(window_and_state(silent, known, tools=[look])[0])


def test_a_call_of_a_model_without_anchors_makes_none_of_old_replies() -> None:
    calls = run_thread(chat_with_ids(30), bills_share_of(0.6), max_tokens=1200)
    state = [*calls.state, HumanMessage("And rye?", id="last")]
    sent, changed = window_and_state(state, calls.known, tools=[look, search])
    asked = request(state, known=changed, model=GPT, system_message=SYSTEM)
    answer: Any = TokenBufferMiddleware(1200).wrap_model_call(asked, lambda _: ModelResponse(result=[]))
    between = answer.command.update["token_buffer"]
    assert window_and_state(state, between, tools=[look, search])[0] == sent


# --- tools of models that are counted exactly ------------------------------------------------


def billed_by_openai(more: int) -> Callable[[ModelRequest[Any]], int]:
    counter = TokenCounter(GPT)
    return lambda asked: count_request(asked, counter) + more


OPENAI: dict[str, Any] = {"max_tokens": 1200, "model": GPT, "by": "gpt-4o", "tools": [look]}


def test_tools_that_are_billed_higher_than_counted_take_their_room() -> None:
    bills = run_thread(chat_with_ids(40), billed_by_openai(40), **OPENAI).bills
    assert (bills[0] < 1200, max(bills[1:]) <= 1200) == (True, True)


def test_tools_that_are_billed_lower_than_counted_change_nothing() -> None:
    calls = run_thread(chat_with_ids(40), billed_by_openai(-10), **OPENAI)
    silent = run_thread(chat_with_ids(40), None, **OPENAI)
    tokens = [event.tokens_after for event in calls.events]
    assert (calls.windows(), tokens) == (
        silent.windows(),
        [event.tokens_after for event in silent.events],
    )


# --- the laws ---------------------------------------------------------------------------------


cases = st.fixed_dictionaries({"max_tokens": st.integers(150, 900), "trim_to": st.sampled_from(TRIM_TO)})
bills = st.builds(bills_share_of, st.floats(0.3, 4.0), st.integers(0, 60))


def run_thread_that_fits(messages: list[BaseMessage], bill: Any, **options: Any) -> Calls | None:
    try:
        return run_thread(messages, bill, **options)
    except TokenBudgetError:
        return None


@settings(max_examples=examples(60))
@given(threads(), bills, cases)
def test_a_fresh_middleware_at_every_call_sends_the_same(
    messages: list[BaseMessage], bill: Any, options: dict[str, Any]
) -> None:
    held, fresh = (run_thread_that_fits(messages, bill, fresh=fresh, **options) for fresh in (False, True))
    assert (held and held.windows()) == (fresh and fresh.windows())


@settings(max_examples=examples(60))
@given(threads(), bills, cases)
def test_what_is_evicted_changes_no_window(messages: list[BaseMessage], bill: Any, options: dict[str, Any]) -> None:
    kept, evicting = (run_thread_that_fits(messages, bill, evict_from_state=e, **options) for e in (False, True))
    assert (kept and kept.windows()) == (evicting and evicting.windows())


@settings(max_examples=examples(60))
@given(threads(), bills, cases)
def test_every_call_is_valid(messages: list[BaseMessage], bill: Any, options: dict[str, Any]) -> None:
    calls = run_thread_that_fits(messages, bill, **options)
    sent = [] if calls is None else calls.sent
    assert [breach for each in sent for breach in breaches(each)] == []


@settings(max_examples=examples(60))
@given(threads(), bills, cases)
def test_what_the_event_says_is_within_budget(messages: list[BaseMessage], bill: Any, options: dict[str, Any]) -> None:
    calls = run_thread_that_fits(messages, bill, **options)
    events = [] if calls is None else calls.events
    assert max([0, *(event.tokens_after for event in events)]) <= options["max_tokens"]


@settings(max_examples=examples(60))
@given(threads(), bills, cases)
def test_a_cut_never_moves_back(messages: list[BaseMessage], bill: Any, options: dict[str, Any]) -> None:
    calls = run_thread_that_fits(messages, bill, **options)
    cuts = [] if calls is None else [event.window.cut for event in calls.events]
    assert cuts == sorted(cuts)


# --- what goes wrong --------------------------------------------------------------------------


def test_what_was_too_long_is_tried_again_smaller_as_billed() -> None:
    calls = run_thread(chat_with_ids(10), bills_share_of(1.5), max_tokens=2400)
    state = [*calls.state, HumanMessage("And rye?", id="last")]
    bills: list[int] = []

    def handler(asked: ModelRequest[Any]) -> ModelResponse[Any]:
        bills.append(bills_share_of(1.5)(asked))
        if len(bills) == 1:
            raise ContextOverflowError
        return ModelResponse(result=[])

    asked = request(state, known=calls.known, model=CLAUDE, system_message=SYSTEM)
    TokenBufferMiddleware(2400).wrap_model_call(asked, handler)
    assert bills[1] <= 0.85 * bills[0]


def test_after_an_overflow_a_fresh_middleware_sends_what_the_retry_sent() -> None:
    calls = run_thread(chat_with_ids(10), bills_share_of(1.5), max_tokens=2400)
    state = [*calls.state, HumanMessage("And rye?", id="last")]
    sent: list[list[str | None]] = []

    def handler(asked: ModelRequest[Any]) -> ModelResponse[Any]:
        sent.append([message.id for message in asked.messages])
        if len(sent) == 1:
            raise ContextOverflowError
        return ModelResponse(result=[])

    known = calls.known
    for _ in range(2):
        asked = request(state, known=known, model=CLAUDE, system_message=SYSTEM)
        answer: Any = TokenBufferMiddleware(2400).wrap_model_call(asked, handler)
        known = answer.command.update["token_buffer"] if len(sent) == 2 else known
    assert sent[2] == sent[1]


def test_an_error_is_in_billed_tokens() -> None:
    state = [reporting(message, 180) if message.id == "a0" else message for message in chat_with_ids(1)]
    state.append(HumanMessage("crumbs " * 2000, id="long"))
    with pytest.raises(TokenBudgetError) as raised:
        TokenBufferMiddleware(500, oversize="raise").wrap_model_call(
            request(state, model=CLAUDE, system_message=SYSTEM), lambda _: ModelResponse(result=[])
        )
    error = raised.value
    assert (error.max_tokens, error.tokens > 500, sum(error.made_of.values())) == (
        500,
        True,
        error.tokens,
    )


def test_a_report_far_back_is_not_walked_to_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walks, tokens_from = [], Replay.tokens_from

    def spy(self: Replay, index: int) -> int:
        walks.append(self.count - index)
        return tokens_from(self, index)

    monkeypatch.setattr(Replay, "tokens_from", spy)
    replies = [AIMessage("A reply without a report.", id=f"r{n}") for n in range(400)]
    question = HumanMessage("Bread? " * 3000, id="h")
    billed = count_request(request([question], model=CLAUDE, system_message=SYSTEM)) * 3 // 2
    usage: Any = {"input_tokens": billed, "output_tokens": 8, "total_tokens": billed + 8}
    messages: list[BaseMessage] = [
        question,
        AIMessage("The only report.", usage_metadata=usage, id="first"),
    ]
    for n, reply in enumerate(replies):
        messages += [HumanMessage(f"And bread {n}?", id=f"h{n}"), reply]
    asked = request(messages[:-1], model=CLAUDE, system_message=SYSTEM)
    events: list[TrimEvent] = []
    middleware = TokenBufferMiddleware(50_000, on_trim=events.append)
    middleware.wrap_model_call(asked, lambda _: ModelResponse[Any](result=[]))
    assert events[0].tokens_before != count_request(asked)  # the report counts
    assert sum(walks) < 2 * len(messages)
