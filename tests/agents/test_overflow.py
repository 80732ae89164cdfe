"""Requests that a provider calls too long: tried again, and what the thread learns of it."""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from langgraph.types import Interrupt

from langchain_tokenbuffer.counters import TokenCounter
from langchain_tokenbuffer.middleware import TokenBufferMiddleware, TrimEvent
from langchain_tokenbuffer.order import validate
from tests.agents.scripted import (
    ENCODING,
    Answers,
    Backend,
    Scripted,
    Small,
    agent_of,
    bad_request,
    llama_error,
    looking,
    middleware_within,
    request,
    run_agent,
    thinking_replies,
    thread_config,
)
from tests.builders import count_words, repeat_word, tool_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain.agents.middleware.types import ModelRequest, ModelResponse

COUNTER = TokenCounter(ENCODING)
UNNAMED = ContextOverflowError("too long")


def sent_with(*errors: Exception, **options: Any) -> list[int]:
    """What each try costs, in tokens, where so many are refused before one succeeds."""
    handler = Answers(*errors, AIMessage("ok"))
    middleware_within(600, **options).wrap_model_call(request(tool_loop(20, 40)), handler)
    return [COUNTER(each) for each in handler.sent]


# --- one call -----------------------------------------------------------------------------------


def test_what_is_too_long_is_tried_again_with_at_most_four_fifths() -> None:
    first, second = sent_with(UNNAMED)
    assert second <= 0.8 * first


def test_a_limit_that_is_named_is_kept_to() -> None:
    first, second = sent_with(llama_error(1000, 400))
    assert second <= 0.4 * first


def test_by_how_much_it_is_too_long_is_kept_to() -> None:
    first, second = sent_with(ValueError("prompt too long; exceeded max context length by 90 tokens"))
    assert second <= first - 90


def test_a_limit_without_a_count_is_taken_in_our_tokens() -> None:
    _, second = sent_with(ValueError("Range of input length should be [1, 150]"))
    assert second <= 150


def test_what_is_tried_again_is_valid() -> None:
    handler = Answers(UNNAMED, UNNAMED, AIMessage("ok"))
    middleware_within(600).wrap_model_call(request(tool_loop(20, 40)), handler)
    assert [violation for each in handler.sent for violation in validate(each)] == []


def test_four_tries_are_each_smaller_than_the_one_before() -> None:
    question = [HumanMessage(repeat_word(2000))]
    handler = Answers(*[UNNAMED] * 4, AIMessage("ok"))
    middleware_within(4000).wrap_model_call(request(question), handler)
    tokens = [COUNTER(each) for each in handler.sent]
    assert (len(tokens), all(later < earlier for earlier, later in pairwise(tokens))) == (5, True)


def test_a_fifth_refusal_goes_through() -> None:
    errors = [ContextOverflowError(str(number)) for number in range(5)]
    with pytest.raises(ContextOverflowError) as raised:
        middleware_within(4000).wrap_model_call(request([HumanMessage(repeat_word(2000))]), Answers(*errors))
    assert raised.value is errors[4]


def test_an_overflow_that_nothing_smaller_can_answer_goes_through() -> None:
    with pytest.raises(ContextOverflowError, match="too long"):
        middleware_within(600, oversize="raise").wrap_model_call(request([HumanMessage("Hi")]), Answers(UNNAMED))


def test_tries_go_down_to_what_must_stay() -> None:
    long, last = HumanMessage(repeat_word(60)), HumanMessage(repeat_word(250))
    handler = Answers(UNNAMED, AIMessage("ok"))
    asked = request([long, AIMessage("Well."), last])
    middleware_within(600, oversize="raise").wrap_model_call(asked, handler)
    assert handler.sent[1] == [last]  # which is more than four fifths


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such tool"),
        bad_request("Rate limit reached: 30000 tokens per min. Please try again."),
        bad_request("'tool_calls' must be followed by tool messages", {"type": "invalid_request"}),
        GraphInterrupt([Interrupt("Is the prompt too long?", id="1")]),
    ],
)
def test_another_error_goes_through_at_once(error: Exception) -> None:
    handler = Answers(error)
    with pytest.raises(type(error)) as raised:
        middleware_within(600).wrap_model_call(request(tool_loop(20, 40)), handler)
    assert raised.value is error


async def test_async_tries_again_as_sync_does() -> None:
    sync, twin = (Answers(llama_error(1000, 700), UNNAMED, AIMessage("ok")) for _ in range(2))

    async def handler(asked: ModelRequest[Any]) -> ModelResponse[Any]:
        return twin(asked)

    middleware = middleware_within(600)
    middleware.wrap_model_call(request(tool_loop(20, 40)), sync)
    await middleware.awrap_model_call(request(tool_loop(20, 40)), handler)
    assert twin.sent == sync.sent


def test_an_overflow_is_an_event_of_its_own() -> None:
    events: list[TrimEvent] = []
    sent_with(llama_error(9, 8), on_trim=events.append)
    assert events[1].reason == "overflow"


def test_a_guess_is_a_warning_with_both_numbers(caplog: pytest.LogCaptureFixture) -> None:
    first, _ = sent_with(UNNAMED)
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert (f"{first} tokens" in record.message, f"at most {int(0.8 * first)} of" in record.message) == (True, True)


def test_a_limit_that_is_named_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    sent_with(llama_error(9, 8))
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


# --- streams ------------------------------------------------------------------------------------


class Streaming(Scripted):
    """A model that refuses its first request, after so many chunks of a reply."""

    chunks: int
    calls: int = 0

    def _stream(self, *args: Any, run_manager: Any = None, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self.calls += 1
        yield ChatGenerationChunk(message=AIMessageChunk(content=""))
        for _ in range(self.chunks if self.calls == 1 else 3):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content="word "))
            if run_manager:
                run_manager.on_llm_new_token("word ", chunk=chunk)
            yield chunk
        if self.calls == 1:
            raise UNNAMED

    async def _astream(self, *args: Any, run_manager: Any = None, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(*args, **kwargs):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


def streaming_agent(model: Streaming, saver: Any = None) -> Any:
    return create_agent(model, middleware=[middleware_within(600)], checkpointer=saver)


THREAD: dict[str, Any] = {"messages": tool_loop(20, 40)}


def test_a_stream_that_is_refused_before_its_first_token_is_tried_again() -> None:
    chunks = streaming_agent(Streaming(replies=[], chunks=0)).stream(THREAD, stream_mode="messages")
    assert "".join(chunk.text for chunk, _ in chunks) == "word word word "


async def test_an_async_stream_that_is_refused_before_its_first_token_is_tried_again() -> None:
    chunks = streaming_agent(Streaming(replies=[], chunks=0)).astream(THREAD, stream_mode="messages")
    assert "".join([chunk.text async for chunk, _ in chunks]) == "word word word "


def test_a_stream_that_is_refused_later_raises() -> None:
    model = Streaming(replies=[], chunks=2)
    with pytest.raises(ContextOverflowError):
        list(streaming_agent(model).stream(THREAD, stream_mode="messages"))
    assert model.calls == 1


async def test_an_async_stream_that_is_refused_later_raises() -> None:
    model = Streaming(replies=[], chunks=2)
    with pytest.raises(ContextOverflowError):
        [chunk async for chunk in streaming_agent(model).astream(THREAD, stream_mode="messages")]
    assert model.calls == 1


# --- what a thread learns -----------------------------------------------------------------------


def budgets_of_turns(model: Backend, turns: int, *, words: int = 20) -> list[int]:
    """The budget in force at the last call of each turn, of 2000."""
    events: list[TrimEvent] = []
    middleware = TokenBufferMiddleware(2000, token_counter=count_words, on_trim=events.append)
    agent: Any = create_agent(model, middleware=[middleware], checkpointer=InMemorySaver())
    budgets = []
    for _ in range(turns):
        agent.invoke({"messages": [HumanMessage(repeat_word(words))]}, thread_config())
        budgets.append(events[-1].max_tokens)
    return budgets


@pytest.mark.parametrize("words", [20, 400])
def test_a_provider_that_takes_a_fourth_of_the_budget_refuses_at_most_eight_times_in_60_turns(words: int) -> None:
    model = Backend(replies=[], refuses=lambda tokens, _: tokens > 500, words=words)
    budgets_of_turns(model, 60, words=words)
    assert 1 <= model.refusals <= 8


def test_a_thread_that_is_already_long_meets_no_more_refusals() -> None:
    model = Backend(replies=[], refuses=lambda tokens, _: tokens > 500)
    middleware = TokenBufferMiddleware(2000, token_counter=count_words)
    agent: Any = create_agent(model, middleware=[middleware], checkpointer=InMemorySaver())
    asked: list[Any] = [HumanMessage(repeat_word(1900)), AIMessage("Hm."), HumanMessage("Well?")]
    for _ in range(60):
        agent.invoke({"messages": asked}, thread_config())
        asked = [HumanMessage(repeat_word(20))]
    assert model.refusals <= 8


@pytest.mark.parametrize("at", [0, 20])
def test_30_turns_after_a_single_false_refusal_the_budget_is_back(at: int) -> None:
    budgets = budgets_of_turns(Backend(replies=[], refuses=lambda _, number: number == at), at + 32)
    assert (budgets[at] < 2000, set(budgets[at + 30 :])) == (True, {2000})


def test_a_limit_that_was_named_stays() -> None:
    model = Small(replies=looking(15), allowed=400)
    run_agent(model, saver=InMemorySaver())
    assert model.refusals == 1


def test_the_limit_holds_for_a_later_turn_in_another_middleware() -> None:
    saver = InMemorySaver()
    run_agent(Small(replies=looking(15), allowed=400), saver=saver)
    later = Small(replies=looking(15), allowed=400)
    run_agent(later, saver=saver)
    assert later.refusals == 0


def test_another_thread_learns_the_limit_again() -> None:
    saver = InMemorySaver()
    model = Small(replies=[*looking(15), *looking(15)], allowed=400)
    agent = agent_of(model, saver=saver)
    for name in ("1", "2"):
        agent.invoke({"messages": [HumanMessage("Look.")]}, thread_config(name))
    assert model.refusals == 2


def test_what_a_turn_learned_that_failed_is_known_in_the_next() -> None:
    model = Backend(replies=[], refuses=lambda tokens, _: tokens > 10)
    middleware = TokenBufferMiddleware(2000, token_counter=count_words)
    agent: Any = create_agent(model, middleware=[middleware], checkpointer=InMemorySaver())
    for _ in range(2):
        with pytest.raises(ContextOverflowError):
            agent.invoke({"messages": [HumanMessage(repeat_word(1500))]}, thread_config())
    first, again = (max(map(count_words, model.seen[start : start + 5])) for start in (0, 5))
    assert again < first / 50


def test_after_a_turn_that_failed_a_later_one_gets_through() -> None:
    model = Backend(replies=[], refuses=lambda tokens, _: tokens > 10)
    middleware = TokenBufferMiddleware(100_000, token_counter=count_words)
    agent: Any = create_agent(model, middleware=[middleware], checkpointer=InMemorySaver())
    with pytest.raises(ContextOverflowError):
        agent.invoke({"messages": [HumanMessage(repeat_word(60_000))]}, thread_config())
    assert agent.invoke({"messages": [HumanMessage("a")]}, thread_config())["messages"][-1].text


def test_a_guess_refuses_nothing_by_itself() -> None:
    model = Backend(replies=[], refuses=lambda _, number: number == 0)
    middleware = TokenBufferMiddleware(2000, token_counter=count_words, oversize="raise")
    agent: Any = create_agent(model, middleware=[middleware], checkpointer=InMemorySaver())
    asked = [HumanMessage(repeat_word(60)), AIMessage("Hm."), HumanMessage("Well?")]
    agent.invoke({"messages": asked}, thread_config())
    agent.invoke({"messages": [HumanMessage(repeat_word(1500))]}, thread_config())
    assert count_words(model.seen[-1]) > 1500


@pytest.mark.parametrize("limits", [{"other": 10}, {"other": {"steps": [[None, 10]], "named": 10}}])
def test_the_limit_of_one_model_does_not_hold_for_another(limits: dict[str, Any]) -> None:
    handler = Answers(AIMessage("ok"))
    middleware_within(600).wrap_model_call(request(tool_loop(2, 40), known={"limits": limits}), handler)
    assert len(handler.sent[0]) == 5


def test_a_limit_that_an_earlier_release_learned_holds() -> None:
    handler = Answers(AIMessage("ok"))
    middleware_within(600).wrap_model_call(request(tool_loop(20, 40), known={"limits": {"gpt-4o": 200}}), handler)
    assert COUNTER(handler.sent[0]) <= 200


def test_after_an_overflow_the_windows_extend_each_other_again() -> None:
    model = Small(replies=looking(15), allowed=400)
    run_agent(model)
    held = sum(now[: len(last)] == last for last, now in pairwise(model.seen))
    assert held > 8


def test_after_an_overflow_older_thinking_is_left_out_and_stays_out() -> None:
    model = Small(replies=thinking_replies(12), allowed=400, model_name="claude-opus-4-5")
    run_agent(model)
    replies = [[m for m in sent if m.type == "ai"] for sent in model.seen]
    thoughts = [["thinking" in str(reply.content) for reply in each] for each in replies]
    retried = next(i for i, (a, b) in enumerate(pairwise(replies), 1) if len(b) <= len(a))
    # The running step keeps its own, and so does the next.
    assert thoughts[retried + 1] == [*([False] * (len(thoughts[retried]) - 1)), True, True]


def test_a_fraction_of_a_smaller_budget_is_no_false_alarm() -> None:
    """What was learned under one budget is at most another one that is set later."""
    known = {"limits": {"gpt-4o": {"steps": [[None, 900]], "named": 900}}}
    events: list[TrimEvent] = []
    middleware_within(600, on_trim=events.append).wrap_model_call(
        request(tool_loop(2, 40), known=known), Answers(AIMessage("ok"))
    )
    assert events[0].max_tokens == 600
