"""The replay of the cut, in numbers alone."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from langchain_tokenbuffer._messages.slots import Piece, StandIn, messages_of
from langchain_tokenbuffer._window.billing import Billing
from langchain_tokenbuffer._window.budget import Budget, MessageTokens, Oversize, Window
from langchain_tokenbuffer._window.driver import WindowDriver
from langchain_tokenbuffer._window.replay import Replay
from langchain_tokenbuffer._window.shrinking import shrink
from langchain_tokenbuffer.errors import NothingLeftError, TokenBudgetError
from tests.reference import STAND_IN, DoesNotFitError, M, NothingLeft, Reference, answered
from tests.scale import examples
from tests.strategies import SourceOf, budgets, in_numbers, numbers, replay_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer._messages.slots import Slot
    from tests.reference import Entry

Outcome: TypeAlias = "tuple[list[Entry], int, dict[int, int]] | str"
"""What the window shows, cut and clamp sizes; else why there is none."""


def driver_of(messages: Sequence[M], budget: Budget) -> WindowDriver:
    driver = WindowDriver(budget)
    for m in messages:
        driver.push(in_numbers(m), SourceOf(messages))
    return driver


def with_less_slack(budget: Budget) -> Billing:
    return Billing(replace(budget, slack=budget.slack - 1))


def window(messages: Sequence[M], budget: Budget) -> Window:
    return replay_of(messages, budget).window()


def shortage(messages: Sequence[M], budget: Budget) -> TokenBudgetError | None:
    try:
        window(messages, budget)
    except TokenBudgetError as error:
        return error
    return None


def entry_of(slot: Slot, messages: Sequence[M]) -> Entry:
    """Return a slot in the reference's words."""
    match slot:
        case StandIn(index, call):
            return ("for", index, call)
        case Piece(index, results, rest):
            return ("of", index, results or tuple(range(len(messages[index].results))) * (results is None), rest)
        case _:
            return (slot,)


def outcome_of(replay: Replay, messages: Sequence[M]) -> Outcome:
    try:
        seen, slots = replay.window(), replay.slots()
    except TokenBudgetError:
        return "does not fit"
    except NothingLeftError:
        return "nothing left"
    assert {**seen.clamped, **{index: replay.clamped[index] for index in seen.cleared}} == replay.clamped
    return [entry_of(slot, messages) for slot in slots], seen.cut, replay.clamped


def outcome(messages: Sequence[M], budget: Budget) -> Outcome:
    return outcome_of(replay_of(messages, budget), messages)


def reference_outcome(messages: list[M], budget: Budget) -> Outcome:
    settings = budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize
    reference = Reference(*settings, budget.drop_if_unclampable, budget.clear_results)
    try:
        return reference.play(messages)
    except DoesNotFitError:
        return "does not fit"
    except NothingLeft:
        return "nothing left"


def conversation(text: str) -> list[M]:
    """Read `S5 H10! A4:2 T9?`: kind, cost, `!` pinned, `:` calls, `?` can be clamped to 1."""
    kinds = {"S": "system", "H": "human", "A": "ai", "T": "tool", "O": "other"}
    messages = []
    for word in text.split():
        number, _, calls = word.strip("!?")[1:].partition(":")
        floor = min(1, int(number)) if "?" in word else None
        made = tuple("c" for _ in range(int(calls or 0)))
        messages.append(M(kinds[word[0]], int(number), made, "!" in word, floor))
    return answered(messages)


def kept(text: str, max_tokens: int, trim_to: float = 1.0, oversize: Oversize = "raise", fixed: int = 0) -> list[int]:
    budget = Budget(max_tokens, trim_to, fixed=fixed, oversize=oversize)
    return list(window(conversation(text), budget).kept)


# --- the replay as a whole ----------------------------------------------------------------------


@settings(max_examples=examples(1000))
@given(numbers(), budgets())
def test_every_window_is_that_of_the_reference(messages: list[M], budget: Budget) -> None:
    seen = outcome(messages, budget)
    event(seen if isinstance(seen, str) else "clamped" if seen[2] else "as they are")
    assert seen == reference_outcome(messages, budget)


@settings(max_examples=examples(400))
@given(numbers(), budgets("clamp", "drop", drop_if_unclampable=True))
def test_with_drop_if_unclampable_every_window_is_that_of_the_reference(messages: list[M], budget: Budget) -> None:
    assert outcome(messages, budget) == reference_outcome(messages, budget)


@settings(max_examples=examples(400))
@given(numbers(), budgets(clear_results=True), st.integers(1, 12))
def test_with_clear_results_every_window_is_that_of_the_reference(
    messages: list[M], budget: Budget, larger: int
) -> None:
    # Results of more than 50 tokens, and room for some.
    messages = [replace(m, cost=m.cost * larger) for m in messages]
    budget = replace(budget, max_tokens=budget.max_tokens * larger)
    assert outcome(messages, budget) == reference_outcome(messages, budget)


@settings(max_examples=examples(300))
@given(numbers(), budgets())
def test_a_window_costs_what_its_messages_cost_with_their_clamps_and_the_fixed_part(
    messages: list[M], budget: Budget
) -> None:
    replay, source = replay_of(messages, budget), SourceOf(messages)
    if isinstance(outcome_of(replay, messages), str):
        return
    tokens = budget.fixed
    for slot in replay.slots():
        if isinstance(slot, int):
            tokens += replay.clamped.get(slot, messages[slot].cost)
        else:
            tokens += source.mended_tokens(slot)
    assert replay.window().tokens == tokens


@settings(max_examples=examples(300))
@given(numbers(in_order=True), budgets(), st.data())
def test_what_messages_from_an_index_on_cost_is_the_sum_of_those_in_the_window(
    messages: list[M], budget: Budget, data: st.DataObject
) -> None:
    replay = replay_of(messages, budget)
    assume(shortage(messages, budget) is None)
    seen = replay.window()
    after_head = next((i for i, m in enumerate(messages) if m.kind != "system"), len(messages))
    index = data.draw(st.integers(after_head, len(messages)))
    costs = [seen.clamped.get(i, messages[i].cost) for i in seen.kept if i >= index]
    assert replay.tokens_from(index) == sum(costs)


def test_what_a_pin_holds_before_the_cut_counts_from_its_index_on() -> None:
    replay = replay_of(conversation("H10 A10! H10 A10 H10 A60"), Budget(100, trim_to=0.6))
    assert [replay.tokens_from(index) for index in range(7)] == [90, 80, 70, 70, 70, 60, 0]


@settings(max_examples=examples(300))
@given(numbers(), budgets())
def test_kept_and_dropped_share_out_the_conversation(messages: list[M], budget: Budget) -> None:
    replay = replay_of(messages, budget)
    if isinstance(outcome_of(replay, messages), str):
        return
    seen = replay.window()
    assert sorted(seen.kept + seen.dropped) == list(range(len(messages)))


@settings(max_examples=examples(300))
@given(numbers(), budgets())
def test_push_never_raises_and_returns_each_message_that_leaves_exactly_once(messages: list[M], budget: Budget) -> None:
    replay = Replay(budget)
    left: list[int] = []
    for m in messages:
        left += replay.push(in_numbers(m), SourceOf(messages))
    kept = set(messages_of(replay.all_slots()))
    assert sorted(left) == [index for index in range(len(messages)) if index not in kept]


@settings(max_examples=examples(300))
@given(numbers(), budgets(), st.data())
def test_a_replay_pickles_in_the_middle_and_goes_on_as_if_it_had_not(
    messages: list[M], budget: Budget, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(messages)))
    replay: Replay = pickle.loads(pickle.dumps(replay_of(messages[:at], budget)))
    for m in messages[at:]:
        replay.push(in_numbers(m), SourceOf(messages))
    assert outcome_of(replay, messages) == reference_outcome(messages, budget)


@settings(max_examples=examples(300))
@given(numbers(in_order=True), budgets("clamp"), st.data())
def test_a_surface_that_deletes_what_left_and_keeps_the_clamp_sizes_agrees(
    messages: list[M], budget: Budget, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(messages)))
    assume(shortage(messages[:at], budget) is None)
    before = window(messages[:at], budget)
    event("clamped" if before.clamped else "cut" if before.dropped else "whole")
    stored = [(i, before.clamped.get(i)) for i in before.kept]
    stored += [(i, None) for i in range(at, len(messages))]
    kept_messages = [messages[i] for i, _ in stored]
    replay = Replay(budget)
    for m, (_, size) in zip(kept_messages, stored, strict=True):
        sized = in_numbers(m, size)
        replay.push(sized, SourceOf(kept_messages))
    want = outcome(messages, budget)
    if isinstance(want, str):
        assert replay.shortage is not None
    else:
        seen = replay.window()
        clamped = {stored[k][0]: size for k, size in seen.clamped.items()}
        assert ([(stored[k][0],) for k in seen.kept], clamped) == (want[0], want[2])


def test_a_copied_replay_changes_alone() -> None:
    replay = replay_of(conversation("H5 A5"), Budget(20))
    copy.deepcopy(replay).push(MessageTokens("human", 19), SourceOf([]))
    assert replay.window().kept == (0, 1)


@pytest.mark.parametrize("oversize", ["clamp", "raise", "drop"])
def test_a_replay_holds_the_window_and_not_the_conversation(oversize: Oversize) -> None:
    def held_after(turns: int) -> int:
        messages = conversation("S1 " + "H3 A3:1 T3 A3 H90 A2 " * turns)
        return len(pickle.dumps(replay_of(messages, Budget(60, oversize=oversize))))

    # Indices grow by a byte or two; the number of messages held does not.
    assert held_after(400) < 1.3 * held_after(20)


def test_a_message_with_an_index_of_its_own_leaves_a_gap_before_it() -> None:
    replay = Replay(Budget(20))
    for index, message in ((3, MessageTokens("human", 5)), (7, MessageTokens("ai", 5))):
        replay.push(message, SourceOf([]), at=index)
    assert (replay.slots(), replay.cut, replay.count) == ([3, 7], 3, 8)


def test_an_empty_conversation_has_an_empty_window() -> None:
    assert Replay(Budget(10)).window() == Window((), (), {}, 0, 0)


def test_a_window_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        window(conversation("H1"), Budget(10)).cut = 3  # type: ignore[misc]


# --- the ladder, rung by rung -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "max_tokens", "trim_to", "want"),
    [
        pytest.param("H5 A5 H5 A5", 20, 0.5, [0, 1, 2, 3], id="what fits stays, above low water"),
        pytest.param("H5 A5 H5 A5 H1", 20, 0.5, [4], id="1 the first human message below low water"),
        pytest.param("H5 A5 H5 A5 H1", 20, 0.6, [2, 3, 4], id="1 and no later one"),
        pytest.param("H5 A5 H9 A5 A1", 20, 0.5, [2, 3, 4], id="3 the question, where the turn fits"),
        pytest.param("H5 A5 H2 A4 A9", 20, 0.5, [2, 4], id="2 a step below low water goes before"),
        pytest.param("H2 A9 A8 A2", 20, 0.6, [0, 2, 3], id="2 the first step below low water"),
        pytest.param("H2 A3 A3 A14", 20, 0.5, [0, 2, 3], id="4 a step whose window fits"),
        pytest.param("H9 A5 A5 A2", 20, 0.1, [0, 2, 3], id="4 the first of them"),
    ],
)
def test_the_cut_moves_to_the_first_candidate_of_the_first_rung(
    text: str, max_tokens: int, trim_to: float, want: list[int]
) -> None:
    assert kept(text, max_tokens, trim_to) == want


def test_low_water_is_a_share_of_what_the_head_and_the_fixed_part_leave() -> None:
    # 30 - 5 - 5 = 20 for the tail: at one half a turn of 10 stays, of 11 it would not.
    assert kept("S5 H10 A5 H5 A5 H0", 30, 0.5, fixed=5) == [0, 3, 4, 5]


def test_a_question_before_the_cut_narrows_the_room_of_the_tail() -> None:
    # Beyond H10 ten remain, half of them for the tail: A6 would not be below the low water.
    assert kept("H10 A9 A6 A5", 20, 0.5) == [0, 3]


def test_the_cut_moves_between_the_results_of_one_step() -> None:
    assert kept("H5 A5 H5 A1:2 T4", 15) == [2, 3, 4]


def test_a_turn_older_than_the_current_one_is_never_cut_inside() -> None:
    assert kept("H1 A8 A8 H1 A8", 20) == [3, 4]


def test_the_question_stays_also_when_later_turns_have_begun() -> None:
    assert kept("H4 A9 A9 H1", 20) == [0, 2, 3]


def test_two_questions_in_a_row_are_turns_of_their_own() -> None:
    assert kept("H8 H8 H8", 17) == [1, 2]


def test_the_newest_unit_is_all_that_is_left_beside_the_question() -> None:
    assert kept("H5 A3:1 T3 A3:1 T12?", 20, 0.5, "clamp") == [0, 3, 4]


# --- units and the head -------------------------------------------------------------------------


def test_a_conversation_may_begin_with_a_result() -> None:
    assert kept("T5 A5", 7) == [1]


def test_a_greeting_leaves_when_the_first_human_message_comes() -> None:
    assert kept("S1 A1 H1", 50) == [0, 2]


def test_a_pinned_greeting_leaves_too() -> None:
    assert kept("A1! H1", 50) == [1]


def test_without_a_human_message_everything_stays() -> None:
    assert kept("S1 A1:1 T1 A1", 50) == [0, 1, 2, 3]


def test_without_a_human_message_whole_steps_leave() -> None:
    assert kept("S1 A5:1 T5 A5", 12) == [0, 3]


def test_a_step_leaves_as_a_whole() -> None:
    assert kept("H1 A2:2 T2 T2 A2:1 T4", 10) == [0, 4, 5]


def test_a_late_system_message_belongs_to_the_unit_before_it() -> None:
    assert kept("H1 A5 S5 A5", 12) == [0, 3]


def test_a_late_system_message_behind_the_question_does_not_hold() -> None:
    assert kept("H1 S5 A5 A5", 12) == [0, 2, 3]


# --- mending ------------------------------------------------------------------------------------


def slots(text: str, max_tokens: int = 100) -> list[Slot]:
    return replay_of(conversation(text), Budget(max_tokens, trim_to=1.0)).slots()


def told(text: str) -> list[tuple[str, int]]:
    mended = replay_of(conversation(text), Budget(100)).window().mended
    return [(violation.code, violation.index) for violation in mended]


def test_a_late_result_goes_behind_its_call() -> None:
    assert slots("H1 A1:1 A1:1 T4 T4 A1") == [0, 1, 3, 2, 4, 5]


def test_a_late_result_takes_its_stand_ins_place_among_the_results() -> None:
    assert slots("H1 A1:2 T1 H1 T1") == [0, 1, 2, 4, 3]


def test_a_call_of_a_step_that_is_over_gets_a_stand_in() -> None:
    assert slots("H1 A1:1 H1") == [0, 1, StandIn(1, 0), 2]


def test_the_calls_of_the_last_step_stay_open() -> None:
    assert slots("H1 A1:1 S1") == [0, 1, 2]


def test_a_stand_in_costs_tokens() -> None:
    assert window(conversation("H1 A1:1 H1"), Budget(100)).tokens == 3 + STAND_IN


def test_a_result_without_a_call_leaves_at_once() -> None:
    assert slots("H1 T1 A1") == [0, 2]


def test_a_late_result_moves_the_cut_only_when_the_budget_is_passed() -> None:
    assert slots("H1 A1:1 H1 A1 T9", 13) == [0, 1, 4, 2, 3]


def test_a_late_result_moves_the_cut_when_the_budget_is_passed() -> None:
    assert slots("H1 A1:1 H1 A1 T9", 12) == [2, 3]


def test_a_late_result_leaves_where_its_step_has_left() -> None:
    assert slots("H5 A5:1 H5 A9 T1", 16) == [2, 3]


def test_a_pinned_late_result_holds_its_step() -> None:
    assert slots("H1 A1:1 H1 T1! A9 H5", 12) == [0, 1, 3, 5]


def test_a_late_result_is_told() -> None:
    assert told("H1 A1:1 H1 T1") == [("orphan_result", 3)]


def test_a_stand_in_is_told_by_its_call() -> None:
    assert told("H1 A1:1 H1") == [("missing_result", 1)]


def test_a_result_without_a_call_is_told() -> None:
    assert told("H1 T1") == [("orphan_result", 1)]


def test_of_an_orderly_conversation_nothing_is_told() -> None:
    assert told("S1 H1 A1:2 T1 T1 A1 H1") == []


def test_where_all_are_results_without_a_call_there_is_no_window() -> None:
    with pytest.raises(NothingLeftError, match="2 messages"):
        slots("T1 T1")


# --- clearing -----------------------------------------------------------------------------------


def cleared(text: str, max_tokens: int, trim_to: float = 0.6) -> Window:
    return window(conversation(text), Budget(max_tokens, trim_to, clear_results=True))


def test_results_of_old_steps_are_cleared_before_steps_leave() -> None:
    seen = cleared("H5 A5:1 T60? A5:1 T60? A5:1 T60? A9", 200)
    assert (seen.kept, seen.cleared, seen.clamped) == (tuple(range(8)), (2, 4), {})


def test_the_results_of_the_newest_steps_are_not_cleared() -> None:
    assert cleared("H5 A5:1 T60? A5:1 T60? A5:1 T30? A60", 200, 0.9).cleared == (2,)


def test_a_small_result_is_not_cleared() -> None:
    assert cleared("H5 A5:1 T50? A5:1 T60? A5:1 T60? A40", 200).cleared == (4,)


def test_a_pinned_result_is_not_cleared() -> None:
    assert cleared("H5 A5:1 T60!? A5:1 T60? A5:1 T60? A9", 200, 0.9).cleared == (4,)


def test_a_result_that_no_model_has_read_is_not_cleared() -> None:
    assert cleared("H5 A5:3 T90? T90? T90?", 200).cleared == ()


def test_only_results_that_would_leave_are_cleared() -> None:
    seen = cleared("H5 A5:1 T90? A5:1 T90? A5 H5 A5:1 T90? A5 H5 A5:1 T90? A5 H5 A55", 400, 0.9)
    assert (seen.cleared, seen.dropped) == ((2,), ())


def test_where_clearing_is_not_enough_the_cut_moves() -> None:
    seen = cleared("H5 A5:1 T60? A5:1 T60? A5:1 T60? A99", 200)
    assert (seen.kept[0], seen.kept[-1], len(seen.dropped) > 0) == (0, 7, True)


# --- pins ---------------------------------------------------------------------------------------


def test_a_pin_holds_its_step_and_the_question_of_its_turn() -> None:
    assert kept("H1 A2:1 T2! A2 H9 A9 H1 A9", 17) == [0, 1, 2, 6, 7]


def test_a_pin_holds_the_late_results_of_its_step() -> None:
    assert kept("H1 A1:1! A1:1 T4 T4 A5 A5", 12) == [0, 1, 3, 6]


def test_a_pinned_question_and_a_pin_of_its_turn_cost_what_they_are() -> None:
    assert kept("H3! A3! A9 H1 A9", 16) == [0, 1, 3, 4]


def test_a_question_that_a_pin_holds_already_costs_no_more() -> None:
    assert kept("H3 A3! A9 A9", 15) == [0, 1, 3]


def test_a_pinned_question_holds_no_more_than_itself() -> None:
    assert kept("H1! A9 H9 A1", 12) == [0, 2, 3]


def test_pins_that_leave_no_room_are_an_error() -> None:
    with pytest.raises(TokenBudgetError, match="what is pinned 12"):
        kept("H12! A1 H9", 20)


# --- oversize -----------------------------------------------------------------------------------


def test_clamping_shrinks_the_biggest_results_first_and_to_one_level() -> None:
    seen = window(conversation("H9? A1:3 T30? T20? T5?"), Budget(50, 1.0))
    assert seen.clamped == {2: 17, 3: 17}


def test_other_texts_shrink_only_when_the_results_are_at_their_smallest() -> None:
    seen = window(conversation("H30? A1:1 T9?"), Budget(20, 1.0))
    assert seen.clamped == {0: 18, 2: 1}


def test_clamping_goes_down_to_low_water() -> None:
    seen = window(conversation("S10 H50?"), Budget(30, 0.5))
    assert seen.clamped == {1: 10}


def test_clamping_stops_at_max_tokens_where_low_water_is_out_of_reach() -> None:
    seen = window(conversation("H18 A1:1 T9?"), Budget(22, 0.5))
    assert seen.clamped == {2: 3}


def test_a_system_message_is_never_clamped() -> None:
    with pytest.raises(TokenBudgetError):
        window(conversation("S30? H1?"), Budget(20))


def test_a_late_system_message_is_never_clamped() -> None:
    seen = window(conversation("H20? S9?"), Budget(20, 1.0))
    assert seen.clamped == {0: 11}


@pytest.mark.parametrize(("clamped", "tokens", "sizes"), [(9, 9, {0: 9}), (50, 30, {})])
def test_a_message_clamped_by_an_earlier_replay_costs_what_that_left(
    clamped: int, tokens: int, sizes: dict[int, int]
) -> None:
    replay = Replay(Budget(40))
    replay.push(MessageTokens("human", 30, clamped=clamped), SourceOf([]))
    assert (replay.tokens, replay.window().clamped) == (tokens, sizes)


def test_a_clamp_size_stands_while_the_budget_holds() -> None:
    before = window(conversation("H50? A1"), Budget(30, 0.5))
    after = window(conversation("H50? A1 A5"), Budget(30, 0.5))
    assert before.clamped == after.clamped


def test_what_did_not_fit_in_the_past_does_not_raise_again() -> None:
    assert kept("H30 A1 H2", 20) == [2]


def test_raise_raises_for_the_last_message() -> None:
    with pytest.raises(TokenBudgetError):
        kept("H2 A1 H30", 20)


def test_drop_leaves_an_oversized_step_out_and_its_question_in() -> None:
    assert kept("H2 A1:1 T30 A3", 20, oversize="drop") == [0, 3]


def test_drop_leaves_an_oversized_question_out_with_its_turn() -> None:
    assert kept("H30 A1:1 T1 A1 H2 A1", 20, oversize="drop") == [4, 5]


def test_drop_leaves_the_later_results_of_an_oversized_step_out() -> None:
    assert kept("H2 A1:2 T30 T1", 20, oversize="drop") == [0]


def test_drop_says_why_it_left_something_out() -> None:
    replay = replay_of(conversation("H30"), Budget(20, oversize="drop"))
    assert replay.drop_error is not None
    assert replay.drop_error.tokens == 30


def test_drop_raises_where_the_head_alone_does_not_fit() -> None:
    with pytest.raises(TokenBudgetError, match="the system messages 21"):
        kept("S21 H1", 20, oversize="drop")


def test_what_is_held_before_the_cut_is_the_head_and_the_question() -> None:
    replay = replay_of(conversation("S1 H4 A9 A9 H1"), Budget(21, 1.0))
    assert (replay.kept_before_cut, replay.cut) == ([0, 1], 3)


def test_the_cut_of_an_empty_tail_is_the_length_of_the_conversation() -> None:
    assert window(conversation("S1 H30"), Budget(20, oversize="drop")).cut == 2


# --- slack --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "uses_slack"),
    [
        pytest.param("H15", False, id="what fits needs none"),
        pytest.param("H16", True, id="what must stay takes some"),
        pytest.param("H18", True, id="or all of it"),
        pytest.param("H13 A1:1 T9?", False, id="clamped it needs none"),
        pytest.param("H16 A1:1 T9?", True, id="not even clamped it fits without"),
        pytest.param("H14 A1:1 T9?", True, id="clamping alone needs some"),
        pytest.param("H16 H40?", True, id="once taken it stays taken"),
    ],
)
def test_what_must_stay_may_take_the_slack(text: str, *, uses_slack: bool) -> None:
    budget = Budget(20, 0.5, fixed=5, slack=3)
    driver = driver_of(conversation(text), budget)
    assert driver.can_continue(with_less_slack(budget)) is not uses_slack


@pytest.mark.parametrize(
    ("text", "uses_slack"),
    [
        pytest.param("S14 H30", False, id="what is left fits without"),
        pytest.param("S15 H30", False, id="and just so"),
        pytest.param("S16 H30", True, id="what is left takes some"),
    ],
)
def test_when_something_is_left_out_the_rest_may_take_the_slack(text: str, *, uses_slack: bool) -> None:
    budget = Budget(20, fixed=5, slack=3, oversize="drop")
    driver = driver_of(conversation(text), budget)
    assert (driver.slots(), driver.can_continue(with_less_slack(budget))) == ([0], not uses_slack)


def test_an_error_does_not_count_the_slack() -> None:
    error = shortage(conversation("H19"), Budget(20, fixed=5, slack=3))
    assert error is not None
    assert (error.tokens, "the fixed part of the request 2)" in str(error)) == (21, True)


def test_what_the_slack_cannot_help_does_not_take_it() -> None:
    replay = replay_of(conversation("H19"), Budget(20, fixed=5, slack=3))
    assert replay.shortage is not None


def test_what_is_clamped_into_the_slack_is_at_its_smallest() -> None:
    assert window(conversation("H16 A1:1 T9?"), Budget(20, fixed=5, slack=3)).clamped == {2: 1}


def test_what_takes_all_of_the_slack_needs_no_clamping() -> None:
    strict = Budget(20, fixed=5, slack=3, oversize="raise")
    assert window(conversation("H18"), strict).kept == (0,)


def test_a_window_does_not_count_the_slack() -> None:
    assert window(conversation("H18"), Budget(20, fixed=5, slack=3)).tokens == 20


# --- what a push tells ----------------------------------------------------------------------------


def test_before_the_first_push_a_replay_reports_no_change() -> None:
    replay = Replay(Budget(10))
    assert (replay.changed, replay.drop_error) == (0, None)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        pytest.param("H5 A5", 2, id="nothing"),
        pytest.param("H5 A5 H5 A5 H1", 0, id="what left"),
        pytest.param("H5 A1:1 T30?", 2, id="what was resized, not all that could be"),
        pytest.param("H5? A1:3 T9 T9? T30?", 3, id="the first of what was resized"),
    ],
)
def test_a_push_reports_the_first_index_it_took_out_or_resized(text: str, changed: int) -> None:
    assert replay_of(conversation(text), Budget(20, 1.0)).changed == changed


# --- the error ----------------------------------------------------------------------------------


@settings(max_examples=examples(400))
@given(numbers(), budgets())
def test_an_error_needs_more_than_max_tokens(messages: list[M], budget: Budget) -> None:
    error = shortage(messages, budget)
    assert error is None or error.tokens > error.max_tokens == budget.max_tokens


@settings(max_examples=examples(200))
@given(numbers(in_order=True), budgets())
def test_what_an_error_says_is_needed_is_enough(messages: list[M], budget: Budget) -> None:
    error = shortage(messages, budget)
    assume(error is not None)
    assert error is not None
    assert shortage(messages, replace(budget, max_tokens=error.tokens)) is None


@pytest.mark.parametrize(
    ("text", "oversize", "tokens", "made_of"),
    [
        ("S5 H30", "raise", "38", "the system messages 5, the question 30"),
        ("H6 A30", "raise", "39", "the question and what is pinned 6, the newest step 30"),
        ("H6! A1 H30", "drop", "39", "what is pinned 6, the question 30"),
        ("H6? A30", "clamp", "34", "the question and what is pinned 1, the newest step 30"),
    ],
)
def test_an_error_says_both_numbers_and_what_they_are_made_of(
    text: str, oversize: Oversize, tokens: str, made_of: str
) -> None:
    replay = replay_of(conversation(text), Budget(20, fixed=3, oversize=oversize))
    even, otherwise = (" even when clamped", "") if oversize == "clamp" else ("", ', or allow "clamp"')
    assert str(replay.shortage or replay.drop_error) == (
        f"What must stay needs {tokens} tokens{even} ({made_of}, the fixed part of the request 3);"
        f" max_tokens is 20. Raise max_tokens, shorten or unpin what must stay{otherwise}."
    )


def test_an_error_does_not_hope_to_clamp_a_late_system_message() -> None:
    error = shortage(conversation("H20? S19?"), Budget(10))
    assert error is not None
    assert error.tokens == 20


def test_an_error_pickles_with_its_numbers() -> None:
    error = TokenBudgetError("no", tokens=812, max_tokens=500)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.tokens, again.max_tokens) == ("no", 812, 500)


# --- single messages as the units ---------------------------------------------------------------


@settings(max_examples=examples(400))
@given(numbers(), budgets("drop"), st.sampled_from([1.0, 0.5]))
def test_single_messages_leave_from_the_front_until_the_rest_fits(
    messages: list[M], budget: Budget, trim_to: float
) -> None:
    room = budget.max_tokens - budget.fixed
    assume(room >= 0)
    want: list[int] = []
    for i in range(len(messages)):
        want.append(i)
        if sum(messages[k].cost for k in want) > room:
            del want[0]
            while want and sum(messages[k].cost for k in want) > trim_to * room:
                del want[0]
            if not want and messages[i].cost <= room:
                want = [i]
    single = replace(budget, turns=False, trim_to=trim_to)
    assert list(window(messages, single).kept) == want


def test_single_messages_have_no_head_no_pins_and_no_turns() -> None:
    seen = window(conversation("S5 H5! A5:1 T5"), Budget(10, 1.0, oversize="drop", turns=False))
    assert seen.kept == (2, 3)


def test_single_messages_may_leave_an_empty_window() -> None:
    seen = window(conversation("H1 A30"), Budget(10, oversize="drop", turns=False))
    assert (seen.kept, seen.cut) == ((), 2)


def test_what_follows_an_empty_window_is_kept() -> None:
    seen = window(conversation("H1 A30 T5"), Budget(10, oversize="drop", turns=False))
    assert seen.kept == (2,)


# --- drop_if_unclampable ------------------------------------------------------------------------


def test_with_drop_if_unclampable_what_clamping_cannot_fit_is_left_out() -> None:
    seen = window(conversation("H5 A1:1 T30 A2"), Budget(20, drop_if_unclampable=True))
    assert seen.kept == (0, 3)


def test_with_drop_if_unclampable_clamping_comes_first() -> None:
    seen = window(conversation("H5 A1:1 T30?"), Budget(20, 1.0, drop_if_unclampable=True))
    assert seen.clamped == {2: 14}


def test_with_drop_if_unclampable_the_oversize_raise_still_raises() -> None:
    with pytest.raises(TokenBudgetError):
        window(conversation("H30"), Budget(20, oversize="raise", drop_if_unclampable=True))


# --- shrink -------------------------------------------------------------------------------------


@st.composite
def _sizes(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    costs = draw(st.lists(st.integers(0, 60), max_size=6))
    least = [draw(st.integers(0, cost)) for cost in costs]
    return costs, least, draw(st.integers(-5, 200))


@settings(max_examples=examples(300))
@given(_sizes())
def test_shrink_saves_enough_unless_all_are_at_their_floors(
    sizes: tuple[list[int], list[int], int],
) -> None:
    costs, least, excess = sizes
    shrunk = shrink(costs, least, excess)
    assert sum(costs) - sum(shrunk) >= excess or shrunk == least


@settings(max_examples=examples(300))
@given(_sizes())
def test_shrink_stays_between_floor_and_cost(sizes: tuple[list[int], list[int], int]) -> None:
    costs, least, excess = sizes
    shrunk = shrink(costs, least, excess)
    assert all(a <= b <= c for a, b, c in zip(least, shrunk, costs, strict=True))


@settings(max_examples=examples(300))
@given(_sizes())
def test_shrink_takes_the_highest_level_that_saves_enough(
    sizes: tuple[list[int], list[int], int],
) -> None:
    costs, least, excess = sizes

    def at(level: int) -> list[int]:
        return [min(c, max(level, f)) for c, f in zip(costs, least, strict=True)]

    levels = [n for n in range(max(costs, default=0) + 1) if sum(costs) - sum(at(n)) >= excess]
    assert shrink(costs, least, excess) == (at(max(levels)) if levels else at(0))


def test_shrink_leaves_everything_where_nothing_is_to_be_saved() -> None:
    assert shrink([9, 3], [0, 0], 0) == [9, 3]
