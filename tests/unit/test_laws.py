"""The laws of `docs/design.md` by their numbers, as properties over generated conversations.

Law 10 is about what lies behind a model: see `tests/agents/test_state.py` and `tests/sql`.
"""

from __future__ import annotations

import copy
from itertools import count, pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

from langchain_tokenbuffer import TokenBuffer, TokenBufferError, TokenCounter, Window, repair, validate
from langchain_tokenbuffer.counters import message_counter
from tests.builders import comparable, count_words, count_words_by_threes
from tests.oracle import breaches, current_question, head_length
from tests.scale import examples
from tests.strategies import OVERSIZES, TRIM_TO, conversations, disordered, max_tokens

if TYPE_CHECKING:
    from langchain_tokenbuffer.counters import CountedBy

GPT_4O = ChatOpenAI(model="gpt-4o", api_key="x")  # type: ignore[arg-type]
ADDITIVE: tuple[CountedBy, ...] = (count_words, count_words, count_words, len, "o200k_base", GPT_4O)


class Settings(NamedTuple):
    """What a buffer is made of, so that a test can make it anew."""

    token_counter: CountedBy
    max_tokens: int
    trim_to: float
    oversize: str
    clear_results: bool = False
    reserve_tokens: int = 0

    def buffer(self) -> TokenBuffer:
        return TokenBuffer(
            self.max_tokens,
            token_counter=self.token_counter,
            trim_to=self.trim_to,
            oversize=self.oversize,  # type: ignore[arg-type]
            clear_results=self.clear_results,
            reserve_tokens=self.reserve_tokens,
        )


@st.composite
def settings_drawn(
    draw: st.DrawFn,
    counters: tuple[CountedBy, ...] = ADDITIVE,
    oversizes: tuple[str, ...] = OVERSIZES,
) -> Settings:
    token_counter = draw(st.sampled_from(counters))
    budget = draw(st.integers(1, 30) if token_counter is len else max_tokens())
    clears = draw(st.sampled_from([False, False, True]))
    return Settings(token_counter, budget, draw(st.sampled_from(TRIM_TO)), draw(st.sampled_from(oversizes)), clears)


ANY = (*ADDITIVE, count_words_by_threes, count_words_by_threes)
tight = st.builds(
    Settings,
    token_counter=st.sampled_from((count_words, "o200k_base")),
    max_tokens=st.integers(60, 350),
    trim_to=st.sampled_from(TRIM_TO),
    oversize=st.just("clamp"),
)
"""Budgets under which a conversation with a huge message has to be clamped."""
tight_chats = st.one_of(
    st.builds(
        Settings,
        token_counter=st.sampled_from((count_words, "o200k_base")),
        max_tokens=st.integers(60, 150),
        trim_to=st.sampled_from(TRIM_TO),
        oversize=st.sampled_from(OVERSIZES),
    ),
    settings_drawn(),
)
"""Budgets under which a conversation without a huge message has to be cut."""


def looked(buffer: TokenBuffer, messages: list[BaseMessage]) -> Window | None:
    try:
        return buffer.window(messages)
    except TokenBufferError:
        event("does not fit")
        return None


def windows(setting: Settings, messages: list[BaseMessage]) -> list[Window | None]:
    """The window after each message, from one buffer that sees them come."""
    buffer = setting.buffer()
    return [looked(buffer, messages[:n]) for n in range(1, len(messages) + 1)]


def lost_something(seen: list[Window | None]) -> bool:
    """Tell whether something was clamped or, by `oversize="drop"`, left out on the way."""
    return any(
        window is not None and (window.clamped or window.cleared or window.kept[-1:] != (n,))
        for n, window in enumerate(seen)
    )


def ids(messages: list[BaseMessage]) -> list[int]:
    return [id(message) for message in messages]


# --- 1: within budget ---------------------------------------------------------------------------


@given(st.one_of(conversations(), disordered()), settings_drawn(ANY))
def test_law_1_a_window_never_costs_more_than_max_tokens(messages: list[BaseMessage], setting: Settings) -> None:
    assume(messages)
    buffer = setting.buffer()
    window = looked(buffer, messages)
    if window is not None:
        event("clamped" if window.clamped else "cut" if window.dropped else "whole")
        assert TokenCounter(setting.token_counter)(buffer.trim(messages)) <= setting.max_tokens


@given(st.one_of(conversations(), disordered()), settings_drawn(ANY), st.integers(0, 40))
def test_law_1_a_reserve_stays_free(messages: list[BaseMessage], setting: Settings, reserve: int) -> None:
    assume(messages and reserve < setting.max_tokens)
    buffer = setting._replace(reserve_tokens=reserve).buffer()
    window = looked(buffer, messages)
    if window is not None:
        tokens = TokenCounter(setting.token_counter)(buffer.trim(messages))
        assert (tokens + reserve <= setting.max_tokens, window.tokens) == (True, tokens + reserve)


@given(conversations(), settings_drawn(ANY))
def test_law_1_the_window_says_what_its_messages_cost(messages: list[BaseMessage], setting: Settings) -> None:
    buffer = setting.buffer()
    window = looked(buffer, messages)
    if window is not None:
        assert window.tokens == buffer.token_counter(buffer.trim(messages))


# --- 2: valid -----------------------------------------------------------------------------------


@settings(max_examples=examples(300))
@given(st.one_of(conversations(), disordered()), settings_drawn(ANY))
def test_law_2_every_window_is_in_order(messages: list[BaseMessage], setting: Settings) -> None:
    buffer = setting.buffer()
    if looked(buffer, messages) is not None:
        shown = buffer.trim(messages)
        event("mended" if buffer.window(messages).mended else "as it came")
        assert (breaches(shown), validate(shown)) == (set(), [])


@given(conversations(), settings_drawn(ANY))
def test_law_2_of_a_conversation_in_order_nothing_is_mended(messages: list[BaseMessage], setting: Settings) -> None:
    window = looked(setting.buffer(), messages)
    assert window is None or window.mended == ()


@given(conversations(), settings_drawn(ANY))
def test_law_2_after_the_head_a_human_message_comes_first(messages: list[BaseMessage], setting: Settings) -> None:
    assume(current_question(messages) is not None)
    window = looked(setting.buffer(), messages)
    if window is not None:
        behind = [messages[i] for i in window.kept if i >= head_length(messages)]
        assert not behind or isinstance(behind[0], HumanMessage)


@given(disordered())
def test_law_2_a_budget_that_fits_all_mends_as_repair_does(messages: list[BaseMessage]) -> None:
    messages = [message.model_copy(update={"content": message.text.strip() or "x"}) for message in messages]
    try:
        shown = TokenBuffer(10**9, token_counter=count_words).trim(messages)
    except TokenBufferError:
        shown = []
    late = {i for i, m in enumerate(messages) if isinstance(m, SystemMessage)} - set(range(head_length(messages)))
    assume(not late)  # of what stands before the first human message `repair` keeps these
    assert comparable(repair(messages)[0]) == comparable(shown)


def test_law_2_a_greeting_is_dropped_even_when_it_fits() -> None:
    messages = [SystemMessage("Be kind."), AIMessage("Hello!"), HumanMessage("Hi.")]
    assert TokenBuffer(100, token_counter=count_words).window(messages).dropped == (1,)


def test_law_2_a_conversation_without_a_human_message_is_kept_as_it_is() -> None:
    messages = [SystemMessage("Be kind."), AIMessage("Hello!")]
    assert TokenBuffer(100, token_counter=count_words).trim(messages) == messages


# --- 3: never lost ------------------------------------------------------------------------------


@given(st.one_of(conversations(), disordered()), settings_drawn(ANY, ("clamp", "raise")))
def test_law_3_the_newest_message_of_the_mended_conversation_is_last(
    messages: list[BaseMessage], setting: Settings
) -> None:
    assume(messages)
    buffer = setting.buffer()
    window = looked(buffer, messages)
    if window is not None:
        newest = TokenBuffer(10**9, token_counter=count_words).trim(messages)[-1]
        assert window.kept[-1] in window.clamped or buffer.trim(messages)[-1] is newest


@given(conversations(), settings_drawn(ANY, ("clamp", "raise")))
def test_law_3_the_current_question_stays(messages: list[BaseMessage], setting: Settings) -> None:
    question = current_question(messages)
    assume(question is not None)
    window = looked(setting.buffer(), messages)
    assert window is None or question in window.kept


@given(st.one_of(conversations(), disordered()), settings_drawn(ANY))
def test_law_3_the_head_stays(messages: list[BaseMessage], setting: Settings) -> None:
    window = looked(setting.buffer(), messages)
    if window is not None:
        head = range(head_length(messages))
        assert window.kept[: len(head)] == tuple(head)


@given(conversations(), settings_drawn(ANY, ("clamp", "raise")))
def test_law_3_a_pin_behind_the_greeting_stays(messages: list[BaseMessage], setting: Settings) -> None:
    first = next((i for i, m in enumerate(messages) if isinstance(m, HumanMessage)), 0)
    pinned = {i for i, m in enumerate(messages) if i >= first and m.additional_kwargs.get("pinned")}
    window = looked(setting.buffer(), messages)
    assert window is None or pinned <= set(window.kept)


# --- 4: nothing invented ------------------------------------------------------------------------


@given(st.one_of(conversations(), disordered()), settings_drawn(ANY))
def test_law_4_the_window_is_of_the_same_objects(messages: list[BaseMessage], setting: Settings) -> None:
    buffer = setting.buffer()
    window = looked(buffer, messages)
    if window is not None:
        places = {id(message): i for i, message in enumerate(messages)}
        same = [places[id(seen)] for seen in buffer.trim(messages) if id(seen) in places]
        assert same == [i for i in window.kept if i not in {*window.clamped, *window.cleared}]


@given(st.one_of(conversations(), disordered()), settings_drawn(ANY))
def test_law_4_what_is_new_is_clamped_or_a_stand_in(messages: list[BaseMessage], setting: Settings) -> None:
    buffer = setting.buffer()
    window = looked(buffer, messages)
    if window is not None:
        given_ids = set(ids(messages))
        new = sum(id(seen) not in given_ids for seen in buffer.trim(messages))
        stand_ins = sum(violation.code == "missing_result" for violation in window.mended)
        assert new == len(window.clamped) + len(window.cleared) + stand_ins


@given(conversations(huge=True), tight)
def test_law_4_a_clamped_message_differs_in_its_content_alone(messages: list[BaseMessage], setting: Settings) -> None:
    buffer = setting.buffer()
    window = looked(buffer, messages)
    assume(window is not None and window.clamped)
    assert window is not None
    shown = dict(zip(window.kept, buffer.trim(messages), strict=True))
    assert all(shown[i].model_copy(update={"content": messages[i].content}) == messages[i] for i in window.clamped)


@given(conversations(huge=True), tight)
def test_law_4_a_clamped_message_costs_at_most_the_size_the_window_names(
    messages: list[BaseMessage], setting: Settings
) -> None:
    buffer = setting.buffer()
    window = looked(buffer, messages)
    assume(window is not None and window.clamped)
    assert window is not None
    counter = buffer.token_counter
    shown = dict(zip(window.kept, buffer.trim(messages), strict=True))
    assert all(counter([shown[i]]) - message_counter(counter).constant <= size for i, size in window.clamped.items())


@given(st.one_of(conversations(), disordered()), settings_drawn(ANY))
def test_law_4_neither_the_list_nor_a_message_is_changed(messages: list[BaseMessage], setting: Settings) -> None:
    before, objects = copy.deepcopy(messages), ids(messages)
    buffer = setting.buffer()
    if looked(buffer, messages) is not None:
        buffer.trim(messages)
    assert (messages, ids(messages)) == (before, objects)


# --- 5: trimming twice --------------------------------------------------------------------------


@given(st.one_of(conversations(), disordered()), settings_drawn(ANY))
def test_law_5_trimming_twice_is_trimming_once(messages: list[BaseMessage], setting: Settings) -> None:
    assume(looked(setting.buffer(), messages) is not None)
    once = setting.buffer().trim(messages)
    assert ids(setting.buffer().trim(once)) == ids(once)


@settings(max_examples=examples(150))
@given(conversations(huge=False), tight_chats, st.data())
def test_law_5_what_trimming_left_out_may_be_deleted(
    messages: list[BaseMessage], setting: Settings, data: st.DataObject
) -> None:
    seen = windows(setting, messages)
    assume(seen and seen[-1] is not None and not lost_something(seen))
    at = data.draw(st.integers(0, len(messages)))
    assume(at == 0 or seen[at - 1] is not None)
    kept = setting.buffer().trim(messages[:at])
    event("something was deleted" if len(kept) < at else "nothing was deleted")
    again = setting.buffer().trim(kept + messages[at:])
    assert ids(again) == ids(setting.buffer().trim(messages))


# --- 6: prefix-stable ---------------------------------------------------------------------------


@settings(max_examples=examples(200))
@given(st.one_of(conversations(), disordered()), settings_drawn())
def test_law_6_while_the_budget_holds_the_next_window_extends_the_last_one(
    messages: list[BaseMessage], setting: Settings
) -> None:
    counter = setting.buffer().token_counter
    prices = message_counter(counter).tokens(messages, message_counter(counter).keys(messages))
    first = next((i for i, m in enumerate(messages) if isinstance(m, HumanMessage)), len(messages))
    for n, (last, new) in enumerate(pairwise(windows(setting, messages)), start=1):
        if n <= first or last is None or new is None:
            continue
        if last.mended != new.mended or (last.mended and last.clamped) or last.cleared:
            continue
        charged = message_counter(counter).constant + sum(last.clamped.get(i, prices[i]) for i in last.kept)
        if last.mended:
            charged = last.tokens
        if charged + prices[n] <= setting.max_tokens:
            # A message of a unit that "drop" left out follows it.
            extended = (last.kept, (*last.kept, n))[setting.oversize != "drop" or n in new.kept]
            assert (new.kept, new.clamped) == (extended, last.clamped)


@settings(max_examples=examples(200))
@given(st.one_of(conversations(), disordered()), settings_drawn())
def test_law_6_the_cut_never_moves_back(messages: list[BaseMessage], setting: Settings) -> None:
    cuts = [window.cut for window in windows(setting, messages) if window is not None]
    assert cuts == sorted(cuts)


@settings(max_examples=examples(200))
@given(st.one_of(conversations(), disordered()), settings_drawn())
def test_law_6_what_has_left_never_comes_back(messages: list[BaseMessage], setting: Settings) -> None:
    dropped = [set(w.dropped) for w in windows(setting, messages) if w is not None]
    assert all(before <= after for before, after in pairwise(dropped))


# --- 7: a function of the conversation ----------------------------------------------------------


@given(st.one_of(conversations(), disordered()), settings_drawn())
def test_law_7_a_new_buffer_agrees_with_one_that_saw_every_message_come(
    messages: list[BaseMessage], setting: Settings
) -> None:
    anew = [looked(setting.buffer(), messages[:n]) for n in range(1, len(messages) + 1)]
    assert windows(setting, messages) == anew


@given(conversations(max_turns=3), conversations(max_turns=3), settings_drawn())
def test_law_7_a_buffer_that_followed_another_conversation_agrees(
    messages: list[BaseMessage], others: list[BaseMessage], setting: Settings
) -> None:
    buffer = setting.buffer()
    looked(buffer, messages)
    looked(buffer, others)
    assert looked(buffer, messages) == looked(setting.buffer(), messages)


@settings(max_examples=examples(200))
@given(conversations(huge=False), tight_chats)
def test_law_7_a_surface_that_deletes_what_left_agrees(messages: list[BaseMessage], setting: Settings) -> None:
    seen = windows(setting, messages)
    assume(seen and seen[-1] is not None and not lost_something(seen))
    store: list[BaseMessage] = []
    for message in messages:
        store.append(message)
        if looked(setting.buffer(), store) is not None:
            store = setting.buffer().trim(store)
    event("something was deleted" if len(store) < len(messages) else "nothing was deleted")
    assert ids(store) == ids(setting.buffer().trim(messages))


@given(conversations(), settings_drawn((count_words,), ("clamp", "raise")), st.integers(0, 1))
def test_law_7_a_predicate_pins_as_the_mark_does(messages: list[BaseMessage], setting: Settings, odd: int) -> None:
    chosen = {id(m) for i, m in enumerate(messages) if i % 3 == odd}
    bare = [m.model_copy(update={"additional_kwargs": {}}) for m in messages]
    marked = [m.model_copy(update={"additional_kwargs": {"pinned": True} if id(m) in chosen else {}}) for m in messages]
    pins = {id(b) for b, m in zip(bare, messages, strict=True) if id(m) in chosen}
    buffer = setting.buffer()
    buffer.pin = lambda message: id(message) in pins
    assert looked(buffer, bare) == looked(setting.buffer(), marked)


# --- 8: sync is async ---------------------------------------------------------------------------


@settings(max_examples=examples(50))
@given(st.one_of(conversations(), disordered()), settings_drawn(ANY))
async def test_law_8_trim_and_atrim_give_the_same(messages: list[BaseMessage], setting: Settings) -> None:
    try:
        want = setting.buffer().trim(messages)
    except TokenBufferError as error:
        with pytest.raises(TokenBufferError) as raised:
            await setting.buffer().atrim(messages)
        assert str(raised.value) == str(error)  # noqa: PT017  # the twin's is what is compared
    else:
        assert await setting.buffer().atrim(messages) == want


@settings(max_examples=examples(50))
@given(st.one_of(conversations(), disordered()), settings_drawn(ANY))
async def test_law_8_window_and_awindow_give_the_same(messages: list[BaseMessage], setting: Settings) -> None:
    want = looked(setting.buffer(), messages)
    if want is None:
        with pytest.raises(TokenBufferError):
            await setting.buffer().awindow(messages)
    else:
        assert await setting.buffer().awindow(messages) == want


# --- 9: counted once ----------------------------------------------------------------------------


class RecordingCounter:
    """`count_words`, keeping what it was asked for, one message at a time."""

    def __init__(self) -> None:
        self.contents: list[object] = []

    def __call__(self, messages: list[BaseMessage]) -> int:
        self.contents += [message.content for message in messages]
        return count_words(messages)


@given(conversations(), settings_drawn((count_words,)))
def test_law_9_a_second_pass_asks_the_counter_nothing(messages: list[BaseMessage], setting: Settings) -> None:
    asked = RecordingCounter()
    setting = setting._replace(token_counter=asked)
    first = looked(setting.buffer(), messages)
    asked.contents.clear()
    second = looked(setting.buffer(), messages)
    assert (second, asked.contents) == (first, [])


@given(conversations(), settings_drawn((count_words,), ("raise", "drop")))
def test_law_9_each_message_is_asked_for_once(messages: list[BaseMessage], setting: Settings) -> None:
    asked = RecordingCounter()
    buffer = setting._replace(token_counter=asked).buffer()
    looked(buffer, [])
    asked.contents.clear()  # the probes
    for n in range(1, len(messages) + 1):
        looked(buffer, messages[:n])
    different = {repr((type(m), vars(m))) for m in messages}
    given_contents = [m.content for m in messages]
    assert sum(content in given_contents for content in asked.contents) == len(different)


@given(conversations(huge=True), settings_drawn((count_words,), ("raise", "drop")))
def test_law_9_clearing_asks_for_nothing_that_it_has_asked_for(messages: list[BaseMessage], setting: Settings) -> None:
    asked = RecordingCounter()
    buffer = setting._replace(token_counter=asked, clear_results=True).buffer()
    for n in range(1, len(messages) + 1):
        looked(buffer, messages[:n])
    asked.contents.clear()
    looked(buffer, messages)
    looked(setting._replace(token_counter=buffer.token_counter, clear_results=True).buffer(), messages)
    assert asked.contents == []


@given(conversations(), settings_drawn((count_words,), ("raise", "drop")), st.data())
def test_law_9_a_message_changed_in_place_is_asked_for_again_alone(
    messages: list[BaseMessage], setting: Settings, data: st.DataObject
) -> None:
    assume(messages)
    asked = RecordingCounter()
    buffer = setting._replace(token_counter=asked).buffer()
    looked(buffer, messages)
    asked.contents.clear()
    messages[data.draw(st.integers(0, len(messages) - 1))].content = "something else altogether"
    looked(buffer, messages)
    given_contents = [m.content for m in messages]  # clearing may ask for a marker beside these
    assert [each for each in asked.contents if each in given_contents] == ["something else altogether"]


_unique = count()


@pytest.mark.parametrize("token_counter", ["o200k_base", GPT_4O])
def test_law_9_a_text_is_tokenized_once_in_the_process(token_counter: CountedBy, tokenized: list[str]) -> None:
    messages = [HumanMessage(f"question {next(_unique)} once") for _ in range(20)]
    TokenBuffer(60, token_counter=token_counter).trim(messages)
    tokenized.clear()
    TokenBuffer(60, token_counter=token_counter).trim(messages)
    assert tokenized == []


def test_law_9_a_clamped_text_is_tokenized_no_more_at_the_second_trim(tokenized: list[str]) -> None:
    messages = [HumanMessage(f"{next(_unique)} " + "long text " * 200)]
    buffer = TokenBuffer(60, token_counter="o200k_base")
    buffer.trim(messages)
    tokenized.clear()
    buffer.trim(messages)
    assert tokenized == []
