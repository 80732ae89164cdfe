"""`TokenBuffer(recall_tokens=...)`: what left and matches the question is quoted in front of it."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_tokenbuffer import TokenBudgetError, TokenBuffer, TokenBufferError, validate
from langchain_tokenbuffer._recall.quotation import END, is_quoted, without_quotation
from langchain_tokenbuffer._window.conversation import MessageMeter
from langchain_tokenbuffer.counters import message_counter
from tests.builders import ai_calling, comparable, count_words, count_words_by_threes
from tests.scale import examples
from tests.strategies import conversations, disordered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer.counters import CountedBy

LOCKER = "My locker at the station has the code 4711."
QUESTION = HumanMessage("Which code has my locker?")


def filler(turns: int, start: int = 0) -> list[BaseMessage]:
    found: list[BaseMessage] = []
    for n in range(start, start + turns):
        found += [HumanMessage(f"Play banjo number {n} and sing."), AIMessage(f"Song {n} was played with joy.")]
    return found


CHAT = [HumanMessage(LOCKER), AIMessage("Noted."), *filler(20)]


def buffer(max_tokens: int = 100, recall_tokens: int = 40, counter: CountedBy = count_words) -> TokenBuffer:
    return TokenBuffer(max_tokens, token_counter=counter, recall_tokens=recall_tokens)


def text_of(messages: list[BaseMessage]) -> str:
    return messages[-1].text


# --- what is shown ------------------------------------------------------------------------------


def test_a_question_quotes_what_left_and_matches() -> None:
    assert text_of(buffer().trim([*CHAT, QUESTION])) == (
        "[Earlier messages of this conversation, quoted as JSON for reference]\n"
        f'{{"type": "human", "text": "{LOCKER}"}}\n'
        "[End of the quotation]\n\n"
        "Which code has my locker?"
    )


def test_a_window_says_which_messages_came_back() -> None:
    assert buffer().window([*CHAT, QUESTION]).recalled == (0,)


def test_a_recalled_message_is_still_dropped() -> None:
    window = buffer().window([*CHAT, QUESTION])
    assert set(window.recalled) <= set(window.dropped)


def test_what_is_in_the_window_is_not_quoted() -> None:
    assert buffer().trim([*CHAT[:4], QUESTION]) == [*CHAT[:4], QUESTION]


def test_where_nothing_matches_the_question_itself_is_shown() -> None:
    question = HumanMessage("Umbrella against rain?")
    assert buffer().trim([*CHAT, question])[-1] is question


def test_without_the_option_nothing_is_recalled() -> None:
    assert TokenBuffer(60, token_counter=count_words).trim([*CHAT, QUESTION])[-1] is QUESTION


def test_a_question_of_one_word_is_about_what_was_asked_before() -> None:
    messages = [*CHAT, QUESTION, AIMessage("It was said."), HumanMessage("Really?")]
    assert LOCKER in text_of(buffer().trim(messages))


def test_the_oldest_passage_is_quoted_first() -> None:
    messages = [*CHAT[:2], *filler(9), HumanMessage("The locker moved."), AIMessage("Oh."), *filler(9, 9)]
    lines = text_of(buffer().trim([*messages, QUESTION])).splitlines()
    assert [LOCKER in lines[1], "moved" in lines[2]] == [True, True]


def test_what_was_said_twice_is_quoted_once() -> None:
    messages = [*CHAT[:2], *CHAT[:2], *filler(20), QUESTION]
    assert text_of(buffer().trim(messages)).count(LOCKER) == 1


def test_passages_that_follow_each_other_are_quoted_as_the_text_they_are() -> None:
    told = f"{'The code is 12. ' * 20}\n\n{'The locker is red. ' * 20}".strip()
    window = buffer(400, 300).trim([HumanMessage(told), *filler(30), HumanMessage("Which code has the locker?")])
    assert json.loads(window[-1].text.splitlines()[1]) == {"type": "human", "text": told}


def test_system_messages_are_not_quoted() -> None:
    messages = [*CHAT[:2], SystemMessage("Your locker code is secret."), *filler(20), QUESTION]
    assert "secret" not in text_of(buffer().trim(messages))


def test_a_notification_is_no_question() -> None:
    done = HumanMessage("Which code has my locker?", additional_kwargs={"lc_source": "task"})
    shown = buffer().trim([*CHAT, HumanMessage("Play banjo."), AIMessage("Yes."), done])
    assert shown[-1] is done


def test_results_are_recalled_too() -> None:
    step = [ai_calling(("look", {}, "1")), ToolMessage(LOCKER, tool_call_id="1"), AIMessage("Seen.")]
    messages = [HumanMessage("Look."), *step, *filler(20), QUESTION]
    assert '{"type": "tool", "text": "My locker' in text_of(buffer().trim(messages))


def test_a_quotation_is_within_what_is_kept_free_for_it() -> None:
    messages = [*(each for n in range(9) for each in (HumanMessage(f"The locker code {n}."), AIMessage("Oh."))), *CHAT]
    window, shown = buffer().window([*messages, QUESTION]), buffer().trim([*messages, QUESTION])
    assert count_words([shown[-1]]) - count_words([QUESTION]) <= 40
    assert window.tokens == count_words(shown)


def test_a_shortened_question_keeps_its_quotation() -> None:
    long = HumanMessage(f"Which code has my locker? {'tell ' * 300}")
    shown = buffer(160, 80, "o200k_base").trim([*CHAT, long])
    assert "omitted" in text_of(shown)
    assert LOCKER in text_of(shown)


def test_dicts_are_read_as_messages() -> None:
    asked = [*CHAT, {"role": "user", "content": QUESTION.content}]
    assert LOCKER in text_of(buffer().trim(asked))  # type: ignore[arg-type]


# --- within a turn ------------------------------------------------------------------------------

STEPS = [
    each for n in range(9) for each in (ai_calling(("look", {}, f"{n}")), ToolMessage("ok " * 9, tool_call_id=f"{n}"))
]


def test_a_quotation_stays_with_its_question_while_the_turn_runs() -> None:
    recalling = buffer()
    first = recalling.trim([*CHAT, QUESTION])
    for n in range(2, len(STEPS), 2):
        shown = recalling.trim([*CHAT, QUESTION, *STEPS[:n]])
        assert first[-1] in shown


def test_a_process_that_begins_within_a_turn_quotes_the_same() -> None:
    recalling = buffer()
    for n in range(len(CHAT) + 1):
        recalling.trim([*CHAT, QUESTION][: n + 1])
    messages = [*CHAT, QUESTION, *STEPS]
    assert recalling.trim(messages) == buffer().trim(messages)


def test_a_quotation_leaves_with_its_turn() -> None:
    shown = buffer().trim([*CHAT, QUESTION, AIMessage("It is 4711."), HumanMessage("Umbrella against rain?")])
    assert [message for message in shown if is_quoted(message)] == []


def test_no_message_is_hashed_twice_for_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []
    key = MessageMeter.key

    def noted(self: MessageMeter, messages: Sequence[BaseMessage]) -> int:
        hashed.extend(map(id, messages))
        return key(self, messages)

    monkeypatch.setattr(MessageMeter, "key", noted)
    conversation = [*CHAT, QUESTION]
    assert is_quoted(buffer().trim(conversation)[-1])
    assert hashed == [*map(id, conversation)]


def test_a_changed_message_is_seen() -> None:
    recalling, messages = buffer(), [*CHAT, QUESTION]
    recalling.trim(messages)
    messages[0] = HumanMessage("My locker at the station has the code 1234.")
    assert "1234" in text_of(recalling.trim(messages))


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recall_tokens", "kind", "said"),
    [
        (-1, ValueError, "recall_tokens must be an int of at least 0, got -1"),
        (1.5, TypeError, "recall_tokens must be an int of at least 0, got 1.5"),
        (True, TypeError, "recall_tokens must be an int"),
        (100, ValueError, "recall_tokens=100 leaves nothing of max_tokens=100"),
    ],
)
def test_a_bad_setting_is_refused_at_construction(recall_tokens: int, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        buffer(100, recall_tokens)


def test_the_reserve_is_not_recalled() -> None:
    with pytest.raises(ValueError, match="recall_tokens=60 leaves nothing of max_tokens=100 beside reserve_tokens=40"):
        TokenBuffer(100, token_counter=count_words, recall_tokens=60, reserve_tokens=40)


def test_an_option_of_nearly_the_name_is_named() -> None:
    with pytest.raises(TypeError, match="did you mean 'recall_tokens'"):
        TokenBuffer(100, token_counter=count_words, recall=9)  # type: ignore[call-arg]


def test_the_setting_is_shown() -> None:
    assert "recall_tokens=40" in repr(buffer())


def test_a_buffer_pickles_with_the_setting() -> None:
    recalling = buffer(counter="o200k_base")
    recalling.trim([*CHAT, QUESTION])
    assert pickle.loads(pickle.dumps(recalling)).trim([*CHAT, QUESTION]) == recalling.trim([*CHAT, QUESTION])


def test_an_error_says_what_is_kept_free() -> None:
    recalling = TokenBuffer(100, token_counter=count_words, recall_tokens=40, oversize="raise")
    with pytest.raises(TokenBudgetError) as caught:
        recalling.trim([HumanMessage("word " * 70)])
    assert caught.value.__notes__ == ["Of max_tokens=100, recall_tokens=40 are kept free."]


# --- laws ---------------------------------------------------------------------------------------

COUNTERS: tuple[CountedBy, ...] = (count_words, count_words, "o200k_base", count_words_by_threes)
chats = st.one_of(conversations(), conversations(huge=True), disordered())


@st.composite
def recalling(draw: st.DrawFn) -> TokenBuffer:
    max_tokens = draw(st.integers(40, 250))
    return TokenBuffer(
        max_tokens,
        token_counter=draw(st.sampled_from(COUNTERS)),
        recall_tokens=draw(st.integers(1, max_tokens // 2)),
        trim_to=draw(st.sampled_from((0.3, 0.6, 1.0))),
        clear_results=draw(st.booleans()),
    )


def trimmed(buffer: TokenBuffer, messages: list[BaseMessage]) -> list[BaseMessage] | None:
    try:
        return buffer.trim(messages)
    except TokenBufferError:
        return None


def again(buffer: TokenBuffer, recall_tokens: int | None = None) -> TokenBuffer:
    """The same anew; without recall with what that leaves."""
    kept_free = buffer.recall_tokens if recall_tokens is None else recall_tokens
    return TokenBuffer(
        buffer.max_tokens - buffer.recall_tokens + kept_free,
        token_counter=buffer.token_counter,
        recall_tokens=kept_free,
        trim_to=buffer.trim_to,
        clear_results=buffer.clear_results,
    )


@given(recalling(), chats)
@settings(max_examples=examples(400), deadline=None)
def test_a_recalling_window_is_within_budget_and_valid(buffer: TokenBuffer, messages: list[BaseMessage]) -> None:
    shown = trimmed(buffer, messages)
    if shown is not None:
        event(f"quoted: {any(map(is_quoted, shown))}")
        assert buffer.token_counter(shown) <= buffer.max_tokens
        assert buffer.window(messages).tokens == buffer.token_counter(shown) or buffer.window(messages).clamped
        assert validate(shown) == []


@given(recalling(), chats)
@settings(max_examples=examples(400), deadline=None)
def test_recall_moves_no_cut_and_adds_a_copy_alone(buffer: TokenBuffer, messages: list[BaseMessage]) -> None:
    shown, plain = trimmed(buffer, messages), trimmed(again(buffer, 0), messages)
    assert (shown is None) == (plain is None)
    for one, other in zip(shown or [], plain or [], strict=True):
        assert comparable([without_quotation(one)]) == comparable([other])
        assert is_quoted(one) or one is other or not any(one is each for each in messages)


@given(recalling(), chats)
@settings(max_examples=examples(200), deadline=None)
def test_the_callers_messages_are_not_changed(buffer: TokenBuffer, messages: list[BaseMessage]) -> None:
    before = copy.deepcopy(messages)
    trimmed(buffer, messages)
    assert messages == before


@given(recalling(), chats)
@settings(max_examples=examples(200), deadline=None)
def test_a_recalling_window_is_a_function_of_the_conversation(buffer: TokenBuffer, messages: list[BaseMessage]) -> None:
    seen = [trimmed(buffer, messages[:n]) for n in range(1, len(messages) + 1)]
    fresh = trimmed(again(buffer), messages)
    assert seen[-1:] == [fresh] * bool(messages) or comparable(seen[-1] or []) == comparable(fresh or [])


@given(recalling(), chats)
@settings(max_examples=examples(200), deadline=None)
def test_while_a_turn_runs_recall_changes_no_prefix(buffer: TokenBuffer, messages: list[BaseMessage]) -> None:
    plain = again(buffer, 0)
    assume(message_counter(plain.token_counter).additive)
    for n in range(1, len(messages)):
        one, other = trimmed(plain, messages[:n]), trimmed(plain, messages[: n + 1])
        if messages[n].type != "human" and one and other and comparable(other[: len(one)]) == comparable(one):
            shown, later = buffer.trim(messages[:n]), buffer.trim(messages[: n + 1])
            assert comparable(later[: len(shown)]) == comparable(shown)


@given(recalling(), chats)
@settings(max_examples=examples(200), deadline=None)
def test_a_question_is_not_quoted_in_front_of_twice(buffer: TokenBuffer, messages: list[BaseMessage]) -> None:
    shown = trimmed(buffer, messages)
    twice = trimmed(buffer, shown) if shown else None
    if shown and twice:
        assert sum(message.text.count(END) for message in twice) <= sum(message.text.count(END) for message in shown)
        if not buffer.window(messages).clamped:
            assert [id(each) for each in twice if is_quoted(each)] == [id(each) for each in shown if is_quoted(each)]


@given(recalling(), chats)
@settings(max_examples=examples(80), deadline=None)
async def test_a_recalling_window_is_the_same_async(buffer: TokenBuffer, messages: list[BaseMessage]) -> None:
    shown = trimmed(buffer, messages)
    if shown is not None:
        assert comparable(await again(buffer).atrim(messages)) == comparable(shown)
        assert await again(buffer).awindow(messages) == buffer.window(messages)
