"""`TokenBuffer` as an object: what it takes, what it refuses, what it shares and what it costs."""

from __future__ import annotations

import copy
import json
import logging
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_openai import ChatOpenAI

from langchain_tokenbuffer import TokenBudgetError, TokenBuffer, TokenCounter, Window
from langchain_tokenbuffer._window.driver import WindowDriver
from tests.builders import count_words, count_words_by_threes
from tests.oracle import breaches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def named_chat(turns: int, name: str = "t") -> list[BaseMessage]:
    """Turns of a few words each, all different."""
    messages: list[BaseMessage] = [SystemMessage(f"Be kind to {name}.")]
    for n in range(turns):
        messages += [
            HumanMessage(f"{name} asks {n}: " + "why " * (n % 5)),
            AIMessage(f"{name} gets reply {n}: " + "because " * (n % 7)),
        ]
    return messages


# --- construction -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"max_tokens": 0}, ValueError, "max_tokens must be an int of at least 1, got 0"),
        ({"max_tokens": -5}, ValueError, "max_tokens must be an int of at least 1, got -5"),
        ({"max_tokens": 10.0}, TypeError, r"max_tokens .* got 10.0 \(float\)"),
        ({"max_tokens": "10"}, TypeError, r"max_tokens .* got '10' \(str\)"),
        ({"max_tokens": None}, TypeError, r"max_tokens .* got None \(NoneType\)"),
        ({"max_tokens": True}, TypeError, r"max_tokens .* got True \(bool\)"),
        ({"max_tokens": math.inf}, TypeError, r"max_tokens .* got inf \(float\)"),
        ({"trim_to": 0}, ValueError, r"trim_to must be a number in \(0, 1\], got 0"),
        ({"trim_to": 1.01}, ValueError, r"trim_to must be a number in \(0, 1\], got 1.01"),
        ({"trim_to": -0.5}, ValueError, r"trim_to must be a number in \(0, 1\], got -0.5"),
        ({"trim_to": math.nan}, ValueError, r"trim_to must be a number in \(0, 1\], got nan"),
        ({"trim_to": "0.6"}, TypeError, r"trim_to .* got '0.6' \(str\)"),
        ({"trim_to": True}, TypeError, r"trim_to .* got True \(bool\)"),
        ({"oversize": "shrink"}, ValueError, "'clamp', 'raise' or 'drop', got 'shrink'"),
        ({"oversize": None}, ValueError, "'clamp', 'raise' or 'drop', got None"),
        ({"pin": "system"}, TypeError, "pin must be a function .* got 'system'"),
        ({"token_counter": 3}, TypeError, "token_counter must be .* got int: 3"),
        ({"token_counter": None}, TypeError, "token_counter must be .* got NoneType"),
        ({"token_counter": "o300k"}, ValueError, "token_counter 'o300k' .* o200k_base"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_accepted(
    settings: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        TokenBuffer(**{"max_tokens": 100, "token_counter": count_words, **settings})


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="keep_last"):
        TokenBuffer(100, token_counter=count_words, keep_last=3)  # type: ignore[call-arg]


def test_one_is_a_low_water_mark() -> None:
    assert TokenBuffer(100, token_counter=count_words, trim_to=1).trim_to == 1.0


def test_a_token_counter_is_taken_as_it_is() -> None:
    counter = TokenCounter(count_words)
    assert TokenBuffer(100, token_counter=counter).token_counter == counter


def test_a_predicate_that_returns_no_bool_is_an_error_that_says_so() -> None:
    buffer = TokenBuffer(100, token_counter=count_words, pin=lambda message: message.content)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match=r"pin must return a bool, got 'Hi' .* type 'human'"):
        buffer.trim("Hi")


def test_an_error_of_the_predicate_comes_through() -> None:
    def pin(message: BaseMessage) -> bool:
        msg = "no such key"
        raise KeyError(msg)

    with pytest.raises(KeyError, match="no such key"):
        TokenBuffer(100, token_counter=count_words, pin=pin).trim("Hi")


def test_after_an_error_of_the_counter_the_next_trim_is_right() -> None:
    fails = False

    def counter(messages: list[BaseMessage]) -> int:
        if fails:
            raise OSError
        return count_words(messages)

    buffer, messages = TokenBuffer(40, token_counter=counter), named_chat(20)
    buffer.trim(messages[:9])
    fails = True
    with pytest.raises(OSError):  # noqa: PT011  # it has no text
        buffer.trim(messages)
    fails = False
    assert buffer.trim(messages) == TokenBuffer(40, token_counter=count_words).trim(messages)


def test_only_true_pins() -> None:
    messages = named_chat(20)
    messages[1].additional_kwargs["pinned"] = "no"
    assert 1 in TokenBuffer(40, token_counter=count_words).window(messages).dropped


def test_a_pin_set_in_place_is_seen() -> None:
    buffer, messages = TokenBuffer(60, token_counter=count_words), named_chat(20)
    buffer.trim(messages)
    messages[1].additional_kwargs["pinned"] = True
    assert 1 in buffer.window(messages).kept


def test_a_setting_changed_in_place_is_seen() -> None:
    buffer, messages = TokenBuffer(200, token_counter=count_words), named_chat(20)
    buffer.trim(messages)
    buffer.max_tokens = 50
    assert buffer.trim(messages) == TokenBuffer(50, token_counter=count_words).trim(messages)


# --- input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "want"),
    [
        pytest.param("Hi", [HumanMessage("Hi")], id="str"),
        pytest.param("", [HumanMessage("")], id="empty str"),
        pytest.param(HumanMessage("Hi"), [HumanMessage("Hi")], id="message"),
        pytest.param({"role": "user", "content": "Hi"}, [HumanMessage("Hi")], id="dict"),
        pytest.param([{"role": "user", "content": "Hi"}], [HumanMessage("Hi")], id="dicts"),
        pytest.param([("system", "Be."), ("human", "Hi")], None, id="pairs"),
        pytest.param(["Hi", "Ho"], [HumanMessage("Hi"), HumanMessage("Ho")], id="strings"),
        pytest.param((HumanMessage("Hi"),), [HumanMessage("Hi")], id="tuple"),
        pytest.param(StringPromptValue(text="Hi"), [HumanMessage("Hi")], id="string prompt"),
        pytest.param(ChatPromptValue(messages=[HumanMessage("Hi")]), [HumanMessage("Hi")], id="chat prompt"),
        pytest.param([HumanMessage("Hi"), "Ho"], [HumanMessage("Hi"), HumanMessage("Ho")], id="mix"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_whatever_a_model_takes_as_messages_is_taken(given: Any, want: list[BaseMessage] | None) -> None:
    want = convert_to_messages(given) if want is None else want
    assert TokenBuffer(100, token_counter=count_words).trim(given) == want


def test_an_iterator_of_messages_is_taken() -> None:
    given = iter([HumanMessage("Hi")])
    trimmed = TokenBuffer(100, token_counter=count_words).trim(given)  # type: ignore[arg-type]
    assert trimmed == [HumanMessage("Hi")]


def test_openai_dicts_with_tool_calls_are_one_step() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    given = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "long " * 50},
        {"role": "assistant", "content": "word " * 20},
    ]
    window = TokenBuffer(40, token_counter=count_words, trim_to=1.0).window(given)  # type: ignore[arg-type]
    assert window.dropped == (1, 2)


def test_messages_among_message_likes_stay_the_same_objects() -> None:
    message = HumanMessage("Hi")
    trimmed = TokenBuffer(100, token_counter=count_words).trim([("system", "Be."), message])
    assert trimmed[1] is message


def test_the_result_is_a_list_of_its_own() -> None:
    messages = named_chat(1)
    assert TokenBuffer(1000, token_counter=count_words).trim(messages) is not messages


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"messages": [], "user": "x"}, r"state\['messages'\]"),
        ({"history": [HumanMessage("Hi")]}, r"itemgetter\('history'\)"),
        ({"question": "Hi"}, "a dict with 'question'"),
        ({}, "got a dict"),
    ],
)
def test_a_state_is_refused_and_the_key_to_pass_is_named(state: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        TokenBuffer(100, token_counter=count_words).trim(state)


async def test_the_async_twins_refuse_a_state_too() -> None:
    with pytest.raises(TypeError, match="'messages'"):
        await TokenBuffer(100, token_counter=count_words).atrim({"messages": []})


@pytest.mark.parametrize("given", [3, None, 1.5])
def test_what_is_no_list_of_messages_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="Expected messages"):
        TokenBuffer(100, token_counter=count_words).trim(given)


@pytest.mark.parametrize(
    "message",
    [
        AIMessageChunk(content="Hello"),
        ChatMessage(role="user", content="Hello"),
        ChatMessage(role="critic", content="Hello"),
        HumanMessage([]),
        AIMessage(["Hello", {"type": "reasoning", "reasoning": "Hm."}]),
    ],
)
def test_any_kind_of_message_can_be_trimmed(message: BaseMessage) -> None:
    messages = [HumanMessage("Hi"), message]
    assert TokenBuffer(100, token_counter="o200k_base").trim(messages) == messages


def test_a_human_chunk_and_a_user_role_begin_turns() -> None:
    messages = [
        HumanMessage("one " * 20),
        AIMessage("two " * 20),
        ChatMessage(role="user", content="three " * 20),
    ]
    assert TokenBuffer(50, token_counter=count_words).window(messages).kept == (2,)


# --- the window ---------------------------------------------------------------------------------


def test_a_window_has_the_documented_fields() -> None:
    window = TokenBuffer(60, token_counter=count_words).window(named_chat(20))
    assert {"kept", "dropped", "clamped", "cut", "tokens"} <= set(window.__slots__)


def test_a_window_cannot_be_changed() -> None:
    window = TokenBuffer(60, token_counter=count_words).window(named_chat(2))
    with pytest.raises(FrozenInstanceError):
        window.tokens = 0  # type: ignore[misc]


def test_a_window_has_no_room_for_other_attributes() -> None:
    assert not hasattr(TokenBuffer(60, token_counter=count_words).window(named_chat(2)), "__dict__")


def test_a_window_pickles() -> None:
    window = TokenBuffer(30, token_counter=count_words).window("word " * 100)
    again: Window = pickle.loads(pickle.dumps(window))
    assert again == window


def test_the_cut_is_where_the_tail_begins() -> None:
    window = TokenBuffer(60, token_counter=count_words).window(named_chat(20))
    assert window.kept == (0, *range(window.cut, 41))


def test_the_dry_run_shows_what_trim_keeps() -> None:
    buffer, messages = TokenBuffer(60, token_counter=count_words), named_chat(20)
    window = buffer.window(messages)
    assert buffer.trim(messages) == [messages[i] for i in window.kept]


def test_changing_what_a_window_names_changes_no_later_window() -> None:
    buffer = TokenBuffer(30, token_counter=count_words)
    buffer.window("word " * 100).clamped.clear()
    assert buffer.window("word " * 100).clamped != {}


def test_changing_a_clamped_copy_changes_no_later_one() -> None:
    buffer = TokenBuffer(60, token_counter="o200k_base")
    messages = [HumanMessage([{"type": "text", "text": "changed later " * 100}])]
    first = buffer.trim(messages)
    want = copy.deepcopy(first)
    first[0].content.clear()  # type: ignore[union-attr]
    assert buffer.trim(messages) == want


# --- oversize -----------------------------------------------------------------------------------


def test_drop_names_what_it_left_out() -> None:
    messages = [HumanMessage("Hi"), AIMessage("word " * 100), AIMessage("So.")]
    window = TokenBuffer(30, token_counter=count_words, oversize="drop").window(messages)
    assert window.dropped == (1,)


def test_drop_logs_both_numbers(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="langchain_tokenbuffer"):
        TokenBuffer(30, token_counter=count_words, oversize="drop").trim("word " * 100)
    assert "needs 107 tokens" in caplog.text
    assert "max_tokens is 30" in caplog.text


def test_drop_logs_no_text_of_the_conversation(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        TokenBuffer(30, token_counter=count_words, oversize="drop").trim("secret " * 100)
    assert "secret" not in caplog.text


def test_drop_logs_nothing_while_everything_fits(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="langchain_tokenbuffer"):
        TokenBuffer(60, token_counter=count_words, oversize="drop").trim(named_chat(20))
    assert caplog.records == []


def test_drop_under_a_counter_that_is_not_additive_names_the_budget_that_was_set(
    caplog: pytest.LogCaptureFixture,
) -> None:
    messages = [HumanMessage("Hi"), AIMessage("word " * 300), AIMessage("So " * 9)]
    with caplog.at_level(logging.WARNING, logger="langchain_tokenbuffer"):
        TokenBuffer(30, token_counter=count_words_by_threes, oversize="drop").trim(messages)
    assert "max_tokens is 30" in caplog.text


def test_an_error_carries_both_numbers() -> None:
    buffer = TokenBuffer(30, token_counter=count_words, oversize="raise")
    with pytest.raises(TokenBudgetError) as raised:
        buffer.trim("word " * 100)
    assert (raised.value.tokens, raised.value.max_tokens) == (107, 30)


def test_a_counter_that_is_not_additive_is_named_in_the_error() -> None:
    buffer = TokenBuffer(30, token_counter=count_words_by_threes, oversize="raise")
    with pytest.raises(TokenBudgetError, match=r"needs 34 tokens as count_words_by_threes counts .* 30"):
        buffer.trim("word " * 100)


def plus_a_constant(messages: list[BaseMessage]) -> int:
    """500 for the request and a rounded sum: not additive, though nearly."""
    return 500 + count_words_by_threes(messages)


def test_what_must_stay_is_measured_as_a_whole_where_the_counter_is_not_additive() -> None:
    # Alone each message costs over 500, all together 511: they fit.
    messages = [SystemMessage("Be kind."), HumanMessage("one " * 99), AIMessage("two " * 99)]
    messages.append(HumanMessage("three " * 20))
    buffer = TokenBuffer(540, token_counter=plus_a_constant, oversize="raise")
    assert buffer.trim(messages)[-1] is messages[-1]


def counts_for(ask: Callable[[TokenBuffer, list[BaseMessage]], object]) -> list[int]:
    """Return how many messages a counter that is not additive is given, each time it is asked."""
    asked: list[int] = []

    def count(messages: list[BaseMessage]) -> int:
        asked.append(len(messages))
        return plus_a_constant(messages)

    ask(TokenBuffer(700, token_counter=count), named_chat(40))
    return asked


def test_a_window_is_counted_no_more_often_than_it_takes_to_trim() -> None:
    assert counts_for(TokenBuffer.window) == counts_for(TokenBuffer.trim)


def test_a_counter_that_is_not_additive_uses_the_budget_it_has() -> None:
    window = TokenBuffer(600, token_counter=plus_a_constant, trim_to=1.0).window(named_chat(100))
    assert window.tokens > 580


# --- pickling, copying, sharing -----------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_a_buffer_copies_and_pickles_with_its_settings(again: Any) -> None:
    buffer = TokenBuffer(60, token_counter="o200k_base", trim_to=0.5, oversize="drop")
    buffer.trim(named_chat(20))
    assert repr(again(buffer)) == repr(buffer)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_a_copy_computes_the_same_window(again: Any) -> None:
    buffer = TokenBuffer(60, token_counter=count_words)
    want = buffer.trim(named_chat(20))
    assert again(buffer).trim(named_chat(20)) == want


def test_a_pickle_holds_no_conversation() -> None:
    buffer = TokenBuffer(60, token_counter=count_words)
    size = len(pickle.dumps(buffer))
    buffer.trim(named_chat(50))
    assert len(pickle.dumps(buffer)) == size


def test_the_repr_names_the_settings() -> None:
    buffer = TokenBuffer(60, token_counter="o200k_base", trim_to=0.5)
    assert repr(buffer).startswith("TokenBuffer(60, token_counter=TokenCounter(o200k_base")


def test_threads_that_share_a_buffer_get_the_windows_of_their_own_conversations() -> None:
    conversations = [named_chat(40, f"thread {n}") for n in range(8)]
    shared = TokenBuffer(120, token_counter="o200k_base")

    def live(messages: list[BaseMessage]) -> list[Window]:
        return [shared.window(messages[:n]) for n in range(1, len(messages), 3)]

    with ThreadPoolExecutor(8) as threads:
        seen = list(threads.map(live, conversations))
    alone = TokenBuffer(120, token_counter="o200k_base")
    assert seen == [[alone.window(messages[:n]) for n in range(1, len(messages), 3)] for messages in conversations]


def test_another_thread_going_on_with_the_conversation_changes_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer, messages = TokenBuffer(60, token_counter=count_words), named_chat(20)
    want = TokenBuffer(60, token_counter=count_words).window(messages[:21])
    window, interrupted = WindowDriver.window, False

    def interrupt(self: WindowDriver) -> Window:
        """Let the other thread in just before this one reads its answer."""
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            buffer.window(messages)
        return window(self)

    monkeypatch.setattr(WindowDriver, "window", interrupt)
    assert buffer.window(messages[:21]) == want


# --- cost ---------------------------------------------------------------------------------------


def test_a_growing_list_costs_the_tokenizing_of_what_is_new(tokenized: list[str]) -> None:
    buffer, messages = TokenBuffer(200, token_counter="o200k_base"), named_chat(30, "growing")
    buffer.trim(messages)
    tokenized.clear()
    new = f"a bit {uuid4()}"  # counted never before in this process
    buffer.trim([*messages, HumanMessage(new)])
    assert [text for text in tokenized if text != "user"] == [new]


def test_a_growing_list_costs_one_push_for_each_new_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer, messages = TokenBuffer(200, token_counter=count_words), named_chat(30)
    buffer.trim(messages)
    pushed: list[int] = []
    push = WindowDriver.push

    def spy(self: WindowDriver, *args: Any, **kwargs: Any) -> Any:
        pushed.append(1)
        return push(self, *args, **kwargs)

    monkeypatch.setattr(WindowDriver, "push", spy)
    buffer.trim([*messages, HumanMessage("one"), AIMessage("two")])
    assert len(pushed) == 2


# --- real conversations -------------------------------------------------------------------------


def recorded_conversations(folder: Path, name: str, most: int) -> list[list[BaseMessage]]:
    with (folder / name).open(encoding="utf-8") as lines:
        return [convert_to_messages(json.loads(line)["messages"]) for line, _ in zip(lines, range(most), strict=False)]


REAL = [
    ("tau_airline_en.jsonl", 10, (1700, 3000, 6000)),
    ("swe_agent_en.jsonl", 6, (900, 2500, 5000)),
    ("functionchat_ko.jsonl", 23, (60, 150, 300)),
    ("memorybank_en.jsonl", 4, (120, 500, 2000)),
    ("memorybank_zh.jsonl", 2, (120, 500, 2000)),
]


@pytest.mark.parametrize("trim_to", [0.6, 1.0])
@pytest.mark.parametrize(("name", "most", "budgets"), REAL)
def test_every_window_of_a_real_conversation_is_valid_within_budget_and_not_empty(
    shared_data: Path, name: str, most: int, budgets: tuple[int, ...], trim_to: float
) -> None:
    counter = TokenCounter("o200k_base")
    for messages in recorded_conversations(shared_data, name, most):
        assert not breaches(messages), "the transcript itself is in order"
        for budget in budgets:
            buffer = TokenBuffer(budget, token_counter=counter, trim_to=trim_to)
            for n in range(1, len(messages) + 1):
                try:
                    window = buffer.window(messages[:n])
                except TokenBudgetError as error:
                    assert error.tokens > budget  # noqa: PT017  # a head larger than the budget
                    continue
                shown = buffer.trim(messages[:n])
                assert counter(shown) <= budget
                assert breaches(shown) == set()
                assert window.kept[-1] == n - 1
                assert any(not isinstance(m, (SystemMessage, ToolMessage)) for m in shown) or n == 1


def test_the_concatenated_sessions_of_a_real_user_hold_their_prefix(shared_data: Path) -> None:
    messages = [
        message
        for transcript in recorded_conversations(shared_data, "memorybank_en.jsonl", 3)
        for message in transcript
    ]
    buffer = TokenBuffer(2000, token_counter="o200k_base", trim_to=0.5)
    cuts = [buffer.window(messages[:n]).cut for n in range(2, len(messages), 2)]
    # Half of the budget leaves at once, so the cut moves far less often than the turns come.
    assert len(set(cuts)) < len(cuts) / 5


def test_a_pin_set_later_on_a_message_is_seen() -> None:
    messages = named_chat(20)
    buffer = TokenBuffer(120, token_counter="o200k_base")
    dropped = buffer.window(messages).dropped
    messages[dropped[0]].additional_kwargs["pinned"] = True
    assert dropped[0] in buffer.window(messages).kept


# --- what the budget covers ---------------------------------------------------------------------


def look_up(place: str) -> str:
    """Look a place up in the big atlas that lies on the table by the window."""
    return place


def test_a_reserve_is_kept_free() -> None:
    buffer = TokenBuffer(100, token_counter=count_words, reserve_tokens=60)
    assert count_words(buffer.trim([HumanMessage("w " * 80)])) <= 40


def test_a_window_says_its_tokens_with_the_reserve() -> None:
    buffer = TokenBuffer(100, token_counter=count_words, reserve_tokens=60)
    assert buffer.window([HumanMessage("one two")]).tokens == 60 + count_words([HumanMessage("one two")])


def test_a_shortened_window_says_its_tokens_with_the_reserve() -> None:
    buffer = TokenBuffer(100, token_counter=count_words, reserve_tokens=60)
    messages: list[BaseMessage] = [HumanMessage("w " * 80)]
    assert buffer.window(messages).tokens == 60 + count_words(buffer.trim(messages))


def test_tools_are_in_the_budget() -> None:
    counter = TokenCounter("o200k_base")
    buffer = TokenBuffer(200, token_counter=counter, tools=[look_up])
    assert counter.count(buffer.trim([HumanMessage("word " * 300)]), tools=[look_up]) <= 200


def test_tools_bound_to_the_model_are_in_the_budget() -> None:
    model = ChatOpenAI(model="gpt-4o", api_key="x")  # type: ignore[arg-type]
    bound: Any = model.bind_tools([look_up])
    given = TokenBuffer(200, token_counter=model, tools=[look_up]).window([HumanMessage("Hi")]).tokens
    found = [TokenBuffer(200, token_counter=each).window([HumanMessage("Hi")]) for each in (bound, TokenCounter(bound))]
    assert [window.tokens for window in found] == [given, given]
    assert given > 30


def test_a_reserve_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="reserve_tokens=100 leaves nothing of max_tokens=100"):
        TokenBuffer(100, token_counter=count_words, reserve_tokens=100)


def test_a_neighbours_word_for_an_option_is_answered_with_ours() -> None:
    with pytest.raises(TypeError, match="did you mean 'max_tokens'"):
        TokenBuffer(max_token_limit=100, token_counter=count_words)  # type: ignore[call-arg]
