"""Whatever comes in, in any dialect, what is shown is in order: on every surface, sync and async."""

from __future__ import annotations

import asyncio
import copy
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_tokenbuffer import (
    ConversationTokenBufferMemory,
    TokenBuffer,
    TokenBufferChatMessageHistory,
    TokenBufferError,
    TokenCounter,
    repair,
    validate,
)
from tests.builders import ai_calling, comparable, count_words
from tests.scale import examples
from tests.torn import BOTH, DIALECTS, ODD, QUESTION, REPLY, TWO, torn

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


class Kept(InMemoryChatMessageHistory):
    """A history of somebody else's. A subclass, since the class itself warns when made."""


limits = st.one_of(st.integers(10, 60), st.integers(40, 400))
COUNTERS = (count_words, TokenCounter("o200k_base"))


def buffer_of(max_tokens: int, counter: Any = count_words) -> TokenBuffer:
    return TokenBuffer(max_tokens, token_counter=counter)


def shown(buffer: TokenBuffer, messages: list[BaseMessage]) -> list[BaseMessage]:
    """Return the window, or skip the example where there is none."""
    try:
        return buffer.trim(messages)
    except TokenBufferError:
        event("no window")
        assume(condition=False)
        raise


@settings(max_examples=examples(600))
@given(torn(), limits, st.sampled_from(COUNTERS))
def test_whatever_comes_in_the_window_is_valid_and_within_budget(
    messages: list[BaseMessage], max_tokens: int, counter: Any
) -> None:
    window = shown(buffer_of(max_tokens, counter), messages)
    assert (validate(window), counter(window) <= max_tokens) == ([], True)


@settings(max_examples=examples(200))
@given(torn(), limits)
def test_whatever_comes_in_stays_as_it_was(messages: list[BaseMessage], max_tokens: int) -> None:
    before = copy.deepcopy(messages)
    shown(buffer_of(max_tokens), messages)
    assert messages == before


@settings(max_examples=examples(200))
@given(torn(), limits)
def test_whatever_comes_in_the_window_of_a_window_is_itself(messages: list[BaseMessage], max_tokens: int) -> None:
    once = shown(buffer_of(max_tokens), messages)
    assert comparable(buffer_of(max_tokens).trim(once)) == comparable(once)


@settings(max_examples=examples(200))
@given(torn())
def test_whatever_comes_in_repair_leaves_nothing_to_mend(messages: list[BaseMessage]) -> None:
    mended, _ = repair(messages)
    assert (validate(mended), repair(mended)[1]) == ([], [])


@settings(max_examples=examples(150))
@given(torn(), limits)
def test_whatever_comes_in_the_newest_message_is_last_and_the_question_is_there(
    messages: list[BaseMessage], max_tokens: int
) -> None:
    window, whole = shown(buffer_of(max_tokens), messages), buffer_of(10**9).trim(messages)
    asked = [m for m in whole if m.type == "human" and "lc_source" not in m.additional_kwargs]
    questions = [m.id for m in asked if m.text or not m.content]  # without those that only carry results
    assert window[-1].id == whole[-1].id
    assert questions[-1:] == [m.id for m in window if m.id in questions[-1:]]


@settings(max_examples=examples(100))
@given(torn(), limits)
def test_whatever_comes_in_every_surface_shows_the_same(messages: list[BaseMessage], max_tokens: int) -> None:
    want = comparable(shown(buffer_of(max_tokens), messages))
    history = TokenBufferChatMessageHistory(Kept(messages=messages), max_tokens=max_tokens, token_counter=count_words)
    memory = ConversationTokenBufferMemory(
        llm=count_words,
        max_token_limit=max_tokens,
        trim_to=0.6,
        return_messages=True,
        chat_memory=Kept(messages=messages),
    )
    assert comparable(history.messages) == want
    assert comparable(asyncio.run(history.aget_messages())) == want
    with warnings.catch_warnings(record=True) as left_out:
        warnings.simplefilter("always")
        window = comparable(memory.buffer_as_messages)
    assert left_out or window == want  # the memory leaves out what did not fit on the way, and warns
    assert comparable(asyncio.run(buffer_of(max_tokens).atrim(messages))) == want


# --- kinds of disorder --------------------------------------------------------------------------


def whole(messages: list[BaseMessage]) -> list[BaseMessage]:
    return buffer_of(10_000).trim(messages)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_step_in_any_dialect_stays_as_it_is(name: str) -> None:
    dialect = DIALECTS[name]
    messages = [QUESTION, dialect.call("a"), dialect.result("a"), REPLY]
    assert list(map(id, whole(messages))) == list(map(id, messages))


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "a server's tool"])
def test_an_abandoned_call_in_any_dialect_gets_a_stand_in(name: str) -> None:
    window = whole([QUESTION, DIALECTS[name].call("a"), QUESTION])
    assert (len(window), validate(window), validate(window[:2] + window[3:])[0].code) == (4, [], "missing_result")


@pytest.mark.parametrize("name", DIALECTS)
def test_a_result_in_any_dialect_leaves_without_its_call(name: str) -> None:
    messages = [QUESTION, DIALECTS[name].result("a"), REPLY]
    assert validate(whole(messages)) == []


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "a server's tool"])
def test_a_late_result_in_any_dialect_goes_behind_its_call(name: str) -> None:
    call, result = DIALECTS[name].call("a"), DIALECTS[name].result("a")
    assert list(map(id, whole([QUESTION, call, REPLY, result])[1:3])) == [id(call), id(result)]


def test_parallel_branches_have_their_results_sorted() -> None:
    dialect = DIALECTS["LangChain"]
    one, two, of_one, of_two = dialect.call("a"), dialect.call("b"), dialect.result("a"), dialect.result("b")
    assert whole([QUESTION, one, two, of_one, of_two]) == [QUESTION, one, of_one, two, of_two]


def test_a_message_whose_results_answer_two_steps_is_taken_apart() -> None:
    dialect = DIALECTS["Anthropic"]
    window = whole([QUESTION, dialect.call("a"), dialect.call("b"), TWO])
    assert [[b["tool_use_id"] for b in m.content] for m in window[1:] if m.type == "human"] == [["a"], ["b"]]  # type: ignore[index]


def test_a_result_beside_a_text_stays_with_its_step_and_begins_a_turn() -> None:
    call = DIALECTS["Anthropic"].call("a")
    messages = [HumanMessage("w " * 40), AIMessage("w " * 40), QUESTION, call, BOTH, AIMessage("w " * 20)]
    window = TokenBuffer(80, token_counter=count_words, trim_to=1.0).trim(messages)
    assert window == [QUESTION, call, BOTH, messages[-1]]


def test_a_result_beside_a_text_is_left_out_where_it_has_no_call() -> None:
    window = whole([QUESTION, REPLY, BOTH])
    assert window[-1].content == [{"type": "text", "text": "And what else?"}]


def test_what_is_left_out_of_a_message_is_told() -> None:
    window = buffer_of(1000).window([QUESTION, REPLY, BOTH])
    assert [(each.code, each.index) for each in window.mended] == [("orphan_result", 2)]


def test_a_call_without_an_id_is_left_out_when_its_step_is_over() -> None:
    window = whole([QUESTION, ai_calling(("look", {}, "a")), ToolMessage("r", tool_call_id="a"), ODD[6], QUESTION])
    assert window[3] == AIMessage("[no text]")


def test_a_stand_in_has_an_id_of_its_call() -> None:
    call = ai_calling(("look", {}, "a"), ("look", {}, "b"))
    call.id = "m1"
    window = whole([QUESTION, call, QUESTION])
    assert len({m.id for m in window[2:4]}) == 2
    assert all("m1" in str(m.id) for m in window[2:4])


def test_dicts_are_validated_and_repaired_like_messages() -> None:
    thread = [{"role": "user", "content": "q"}, {"role": "tool", "tool_call_id": "a", "content": "r"}]
    assert ([each.code for each in validate(thread)], len(repair(thread)[0])) == (["orphan_result"], 1)


# --- notifications and compaction ---------------------------------------------------------------


def notification(text: str = "A task has ended.") -> HumanMessage:
    return HumanMessage(text, additional_kwargs={"lc_source": "tasks"})


def test_a_notification_leaves_like_a_step() -> None:
    messages = [QUESTION, AIMessage("w " * 20), notification("w " * 20), AIMessage("w " * 20), AIMessage("w " * 20)]
    window = TokenBuffer(65, token_counter=count_words, trim_to=1.0).trim(messages)
    assert window == [QUESTION, *messages[3:]]


def test_a_notification_before_which_no_user_wrote_is_a_question() -> None:
    messages = [notification("The summary."), AIMessage("w " * 20), AIMessage("w " * 20)]
    window = TokenBuffer(35, token_counter=count_words, trim_to=1.0).trim(messages)
    assert window == [messages[0], messages[2]]


def test_each_notification_is_a_question_where_only_they_wake_the_agent() -> None:
    messages = [notification("one"), AIMessage("w " * 20), notification("two"), AIMessage("w " * 20)]
    window = TokenBuffer(40, token_counter=count_words, trim_to=1.0).trim(messages)
    assert window == messages[2:]


def compaction(text: str) -> AIMessage:
    return AIMessage([{"type": "compaction", "content": text}])


def test_a_window_begins_at_the_newest_compaction() -> None:
    messages = [SystemMessage("s"), QUESTION, REPLY, QUESTION, compaction("one"), REPLY]
    assert buffer_of(1000).trim(messages) == [messages[0], *messages[3:]]


def test_a_compaction_is_held() -> None:
    messages = [QUESTION, compaction("one"), AIMessage("w " * 30), QUESTION, AIMessage("w " * 30)]
    window = TokenBuffer(70, token_counter=count_words, trim_to=1.0).trim(messages)
    assert window == [QUESTION, messages[1], *messages[3:]]


def test_an_older_compaction_is_held_no_more() -> None:
    messages = [QUESTION, compaction("one"), QUESTION, compaction("two"), REPLY]
    assert buffer_of(1000).trim(messages) == messages[2:]
