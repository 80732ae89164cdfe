"""The sweep recommends what it found, and says so when nothing is worth it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer._replay.advice import (
    BUDGETS,
    MAX_CALLS,
    MAX_QUESTIONS,
    SPEND,
    TRIM_TOS,
    USABLE,
    Advice,
    advise,
    spelt,
)
from langchain_tokenbuffer._replay.simulation import CountedTranscript, Prices, Setting, untrimmed
from langchain_tokenbuffer._replay.transcripts import Transcript
from tests.builders import ai_calling, count_words, random_chat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COUNTER = TokenCounter(count_words)
ANTHROPIC = Prices(write=1.25)


def counted_chat(turns: int, *, seed: int = 1) -> CountedTranscript:
    return CountedTranscript(Transcript(f"chat {seed}", random_chat(turns, seed=seed)), COUNTER)


def counted_agent(*sizes: int, question: int = 1) -> CountedTranscript:
    messages: list[BaseMessage] = [HumanMessage("look " * question)]
    for number, size in enumerate(sizes):
        messages.append(ai_calling(("look", {"at": str(number)}, "1")))
        messages.append(ToolMessage("word " * size, tool_call_id="1"))
    return CountedTranscript(Transcript("agent", messages), COUNTER)


def counted_unshortened(*before: BaseMessage) -> CountedTranscript:
    step = [
        ai_calling(("look", {"at": "word " * 3000}, "1")),  # arguments are never shortened
        ToolMessage("here", tool_call_id="1"),
    ]
    return CountedTranscript(Transcript("it", [*before, *step]), COUNTER)


LONG = counted_chat(300)


@pytest.fixture(scope="module", params=[Prices(), ANTHROPIC], ids=["openai", "anthropic"])
def advice(request: pytest.FixtureRequest) -> Advice:
    return advise([LONG], request.param)


def test_every_budget_is_tried_with_every_low_water_mark(advice: Advice) -> None:
    assert len({each.setting for each in advice.results}) == BUDGETS * len(TRIM_TOS)


def test_the_recommended_setting_costs_at_most_half_of_never_trimming(advice: Advice) -> None:
    (taken,) = [each for each in advice.results if each.setting == advice.setting]
    assert taken.totals.cost <= advice.never.cost / 2


def test_nothing_that_costs_at_most_half_shows_more(advice: Advice) -> None:
    (taken,) = [each for each in advice.results if each.setting == advice.setting]
    cheap = [each for each in advice.results if each.cost_share <= 0.5 and not each.totals.clamped]
    assert taken.totals.share == max(each.totals.share for each in cheap)


def test_the_sentence_names_the_setting_and_both_shares(advice: Advice) -> None:
    (taken,) = [each for each in advice.results if each.setting == advice.setting]
    assert f"Take max_tokens={taken.setting.max_tokens}, trim_to={taken.setting.trim_to:g}" in advice.sentence
    assert f"{100 * taken.totals.share:.0f} % of the conversation" in advice.sentence
    assert f"for {100 * taken.cost_share:.0f} % of what never trimming costs" in advice.sentence


def test_no_setting_beats_one_on_the_frontier(advice: Advice) -> None:
    whole = [each for each in advice.results if not each.totals.clamped and not each.totals.over]
    assert not [
        (here, other)
        for here in advice.results
        if here.on_frontier
        for other in whole
        if other.cost_share < here.cost_share and other.totals.share >= here.totals.share
    ]


def test_moving_the_cut_every_turn_costs_more_than_never_trimming(advice: Advice) -> None:
    costs = {each.setting: each.cost_share for each in advice.results}
    budget = max(setting.max_tokens for setting in costs)
    assert costs[Setting(budget, 1.0)] > 1 > costs[Setting(budget, 0.6)]


def test_spending_more_shows_more() -> None:
    tight, wide = (advise([LONG], Prices(), spend=spend) for spend in (0.5, 0.8))
    assert tight.setting is not None
    assert wide.setting is not None
    assert tight.setting.max_tokens < wide.setting.max_tokens


def test_spending_all_recommends_the_most_shown_for_it() -> None:
    found = advise([LONG], Prices(), spend=1)
    assert "Of all settings that cost at most 100 % it is the one with which the model sees most" in found.sentence


def test_a_single_low_water_mark_is_kept_to() -> None:
    found = advise([LONG], Prices(), trim_tos=[0.7])
    assert {each.setting.trim_to for each in found.results} == {0.7}


def test_several_conversations_are_advised_together() -> None:
    several = advise([LONG, counted_chat(50, seed=2)], Prices())
    assert several.never.calls == 350


# --- what replies miss ----------------------------------------------------------------------------


def counted_orders(turns: int, *, asks_back: int, words: int = 30) -> CountedTranscript:
    """A chat in which each order is looked up once more, so many turns after it was told."""
    messages: list[BaseMessage] = []
    for number in range(turns):
        messages.append(HumanMessage(f"Order W-{1000 + number}. " + "why " * words))
        asked = f"W-{1000 + max(0, number - asks_back)}"
        messages.append(ai_calling(("look", {"order": asked}, f"call {number}")))
        messages.append(ToolMessage("so " * words, tool_call_id=f"call {number}"))
        messages.append(AIMessage("done " * words))
    return CountedTranscript(Transcript("orders", messages), COUNTER)


ORDERS = counted_orders(120, asks_back=30)


def test_the_replies_that_use_something_earlier_are_counted() -> None:
    assert (untrimmed([ORDERS], Prices()).replies, untrimmed([ORDERS], Prices()).misses) == (120, 0)


def test_what_is_cheap_and_lets_many_replies_miss_something_is_not_recommended() -> None:
    found = advise([ORDERS], Prices())
    assert found.setting is None
    assert re.search(r"for 50 % of the cost \d+ of 120 replies miss something\.$", found.sentence)


def test_a_smaller_budget_that_lets_no_reply_miss_anything_is_worth_it() -> None:
    near = counted_orders(200, asks_back=2)
    found = advise([near], Prices())
    (taken,) = [each for each in found.results if each.setting == found.setting]
    assert (taken.totals.replies, taken.totals.misses) == (200, 0)
    assert "none of 200 replies misses something" in found.sentence


def test_of_what_costs_at_most_so_much_the_fewest_replies_miss_something() -> None:
    found = advise([ORDERS], Prices(), spend=0.9)
    (taken,) = [each for each in found.results if each.setting == found.setting]
    cheap = [each for each in found.results if each.cost_share <= 0.9 and not each.totals.clamped]
    assert taken.totals.misses == min(each.totals.misses for each in cheap)
    assert "Of all settings that cost at most 90 % it is the one with which the fewest replies miss" in found.sentence


def test_the_advice_says_what_it_costs_that_no_reply_misses_anything() -> None:
    found = advise([counted_orders(300, asks_back=90, words=8)], Prices(), spend=0.5, context=9000)
    (taken,) = [each for each in found.results if each.setting == found.setting]
    assert taken.totals.misses
    budget, trim_to, cost = re.findall(r"With max_tokens=(\d+), trim_to=(\S+) none does, for (\d+) %", found.sentence)[
        0
    ]
    (whole,) = [each for each in found.results if each.setting == Setting(int(budget), float(trim_to))]
    assert (whole.totals.misses, f"{100 * whole.cost_share:.0f}") == (0, cost)


def test_clearing_is_tried_where_there_are_results() -> None:
    assert {each.setting.clear_results for each in advise([ORDERS], Prices()).results} == {False, True}
    assert {each.setting.clear_results for each in advise([LONG], Prices()).results} == {False}


def test_a_way_that_is_asked_for_is_the_only_one_tried() -> None:
    found = advise([ORDERS], Prices(), clear_results=True)
    assert {each.setting.clear_results for each in found.results} == {True}


def test_a_way_that_changes_nothing_is_no_choice() -> None:
    small = counted_agent(*[20] * 300)  # results that nothing clears
    found = advise([small], Prices())
    assert found.ways == [""]


def counted_codes(turns: int, *, asks_back: int) -> CountedTranscript:
    """A chat in which each code is told once more, so many turns after it was said."""
    messages: list[BaseMessage] = []
    for number in range(turns):
        asked = max(0, number - asks_back)
        messages.append(HumanMessage(f"Locker{number} has W-{1000 + number}. Which has locker{asked}? " + "why " * 30))
        messages.append(AIMessage(f"W-{1000 + asked}. " + "so " * 30))
    return CountedTranscript(Transcript("codes", messages), COUNTER)


CODES = advise([counted_codes(150, asks_back=100)], Prices(floor=0))


def test_recall_is_recommended_where_replies_have_with_it_what_they_use() -> None:
    assert CODES.setting is not None
    assert CODES.setting.recall_tokens == CODES.setting.max_tokens // 8
    assert f"Take {spelt(CODES.setting)}: none of 150 replies misses something" in CODES.sentence
    assert f", recall_tokens={CODES.setting.recall_tokens}" in spelt(CODES.setting)


def test_recall_is_tried_where_replies_miss_something_at_a_cost_that_may_be_spent() -> None:
    with_recall = [each.setting for each in CODES.results if each.setting.recall_tokens]
    plain = {each.setting: each for each in CODES.results if not each.setting.recall_tokens}
    same = [plain[each._replace(recall_tokens=0)] for each in with_recall]
    assert same
    assert all(each.totals.misses and each.cost_share <= SPEND for each in same)
    assert {each.trim_to for each in with_recall} == {CODES.trim_to}


def test_recall_that_helps_no_reply_is_no_choice() -> None:
    messages: list[BaseMessage] = []
    for number in range(150):
        messages.append(HumanMessage(f"W-{1000 + number} " + "why " * 30))
        messages.append(AIMessage(f"W-{1000 + max(0, number - 100)} " + "so " * 30))
    found = advise([CountedTranscript(Transcript("unasked", messages), COUNTER)], Prices(floor=0))
    assert any(each.setting.recall_tokens for each in found.results)
    assert found.ways == [""]


def test_an_agent_is_swept_without_recall() -> None:
    found = advise([counted_codes(10, asks_back=5), ORDERS], Prices(), trim_tos=[0.6], clear_results=False)
    assert any(each.totals.misses and each.cost_share <= SPEND for each in found.results)
    assert not any(each.setting.recall_tokens for each in found.results)


@pytest.mark.parametrize("asked", [0, 120])
def test_recall_that_is_asked_for_is_the_only_one_tried(asked: int) -> None:
    found = advise([counted_codes(50, asks_back=30)], Prices(floor=0), recall_tokens=asked)
    assert {each.setting.recall_tokens for each in found.results} == {asked}


@pytest.mark.parametrize(("most", "tried"), [(MAX_QUESTIONS, BUDGETS), (80, 2), (10, 1)])
def test_the_more_questions_the_fewer_budgets_are_tried_with_recall(
    most: int, tried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_tokenbuffer._replay.advice.MAX_QUESTIONS", most)
    found = advise([counted_codes(40, asks_back=20)], Prices(floor=0), recall_tokens=90)
    assert len(found.results) == tried


def test_long_conversations_are_tried_with_fewer_settings() -> None:
    calls = len(LONG.call_indices)
    many = [LONG] * (MAX_CALLS // calls // 4)
    found = advise(many, Prices(), trim_tos=[0.6])
    assert len(found.results) == 4


def test_a_sweep_that_is_tracked_goes_through_all_settings() -> None:
    tracked: list[Setting] = []

    def track(settings: Sequence[Setting], what: str) -> Iterator[Setting]:
        assert what
        for setting in settings:
            tracked.append(setting)
            yield setting

    found = advise([counted_chat(90)], Prices(), track=track)
    assert tracked == [each.setting for each in found.results]


# --- when not to trim -----------------------------------------------------------------------------


def test_a_short_chat_is_not_to_be_trimmed() -> None:
    found = advise([counted_chat(6)], Prices(), context=128_000)
    assert found.setting is None
    assert found.sentence == ("Do not trim: the longest request takes 251 of the model's 128,000 tokens.")


def test_no_budget_is_tried_below_what_a_cache_serves() -> None:
    assert min(each.setting.max_tokens for each in advise([counted_chat(90)], Prices()).results) >= 1024


def test_where_nothing_is_cheaper_never_trimming_is_cheapest() -> None:
    found = advise([counted_chat(50)], Prices())
    assert found.setting is None
    assert found.sentence.endswith("and never trimming is cheapest.")


def test_what_is_cheap_and_hides_most_is_not_recommended() -> None:
    found = advise([counted_agent(*[400] * 20)], Prices(), spend=0.75)
    assert found.setting is None
    assert found.sentence.endswith("for 75 % of the cost the model sees only 14 % of the conversation.")


def test_where_nothing_is_cheap_the_advice_names_the_cheapest() -> None:
    found = advise([counted_chat(150)], Prices())
    assert found.setting is None
    assert found.sentence.endswith(
        "the cheapest setting that keeps messages whole, max_tokens=1900, trim_to=0.6, still costs 62 % and the model "
        "sees only 37 % of the conversation."
    )


def test_where_only_shortening_is_cheaper_the_advice_says_so() -> None:
    found = advise([counted_agent(1500, 1500, question=293)], Prices())
    assert found.setting is None
    assert found.sentence.endswith("and every setting that costs less shortens messages.")


# --- what a model takes ---------------------------------------------------------------------------


def test_no_budget_is_tried_that_the_model_does_not_take() -> None:
    context = LONG.longest // 2
    found = advise([LONG], Prices(), context=context)
    assert max(each.setting.max_tokens for each in found.results) <= USABLE * context


def test_a_conversation_that_outgrows_the_model_gets_a_budget_also_where_none_is_cheap() -> None:
    short = counted_agent(*[50] * 40)
    found = advise([short], Prices(), context=short.longest - 1)
    assert found.setting is not None
    assert found.sentence.startswith("The longest request would take ")


def test_a_model_that_takes_less_than_a_cache_serves_gets_a_budget() -> None:
    found = advise([counted_chat(90)], Prices(), context=800)
    assert found.setting is not None
    assert found.setting.max_tokens <= 760


def test_a_conversation_that_nearly_fills_the_model_need_not_be_trimmed() -> None:
    found = advise([counted_chat(50)], Prices(), context=round(counted_chat(50).longest / 0.9))
    assert found.setting is None
    assert found.sentence.startswith("Do not trim")


def test_where_what_must_stay_outgrows_the_model_the_advice_says_so() -> None:
    found = advise([counted_unshortened(HumanMessage("look"))], Prices(), context=1000)
    assert found.setting is None
    assert found.sentence.startswith("No budget will do")


def test_a_setting_that_cannot_hold_is_never_recommended() -> None:
    found = advise([counted_unshortened(*LONG.transcript.messages, HumanMessage("look"))], Prices())
    over = {each.setting for each in found.results if each.totals.over}
    assert over
    assert found.setting not in over


# --- what it costs to ask -------------------------------------------------------------------------


def test_the_sweep_counts_nothing_again() -> None:
    counted: list[int] = []

    def counting(messages: list[BaseMessage]) -> int:
        counted.append(len(messages))
        return count_words(messages)

    talk = CountedTranscript(LONG.transcript, TokenCounter(counting))
    once = len(counted)
    advise([talk], Prices())
    assert len(counted) == once
