"""A replay as plain data: what is stored with a session goes on exactly where it stopped."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_tokenbuffer._window.budget import Budget, MessageTokens, Oversize
from langchain_tokenbuffer._window.mending import calls_left_open
from langchain_tokenbuffer._window.replay import Replay
from langchain_tokenbuffer.errors import TokenBufferError
from tests.reference import M
from tests.strategies import SourceOf, budgets, in_numbers, numbers, replay_of


def form_of(replay: Replay) -> object:
    try:
        window: object = replay.window()
    except TokenBufferError as error:
        window = str(error)
    return (
        replay.count,
        replay.tokens,
        replay.cut,
        replay.kept_before_cut,
        replay.open_calls,
        replay.strays,
        replay.cleared,
        window,
    )


@given(numbers(), budgets() | budgets("clamp", drop_if_unclampable=True) | budgets(clear_results=True), st.data())
def test_a_replay_goes_on_from_its_state_as_if_it_had_never_stopped(
    messages: list[M], budget: Budget, data: st.DataObject
) -> None:
    whole, parts = Replay(budget), Replay(budget)
    for m in messages:
        if data.draw(st.booleans()):
            parts = Replay.from_state(budget, json.loads(json.dumps(parts.state())))
        sized = in_numbers(m)
        left = whole.push(sized, SourceOf(messages)), parts.push(sized, SourceOf(messages))
        assert left[0] == left[1]
        assert form_of(whole) == form_of(parts)


@given(numbers(), budgets())
def test_while_calls_are_answered_in_order_a_message_that_fits_changes_nothing_but_the_sum(
    messages: list[M], budget: Budget
) -> None:
    replay = Replay(budget)
    for m in messages:
        open_calls, kept = replay.open_calls, replay.kept_before_cut
        total = replay.tokens + m.cost
        left_open = None
        if open_calls is not None and (replay.has_question or m.kind != "human"):
            left_open = calls_left_open(open_calls, in_numbers(m))
        left = replay.push(in_numbers(m), SourceOf(messages))
        if left_open is not None and total <= budget.max_tokens:
            now = (left, replay.tokens, replay.kept_before_cut, replay.open_calls)
            assert now == ([], total, kept, left_open)


@pytest.mark.parametrize("oversize", ["clamp", "drop", "raise"])
def test_the_state_of_a_replay_that_saw_nothing_is_that_of_a_new_one(oversize: Oversize) -> None:
    budget = Budget(10, oversize=oversize)
    assert form_of(Replay.from_state(budget, Replay(budget).state())) == form_of(Replay(budget))


def test_without_a_human_message_a_replay_goes_on_from_its_state() -> None:
    budget = Budget(12, 1.0, oversize="raise")
    greeted = replay_of([M("system", 1), M("ai", 5), M("ai", 5)], budget)
    again = Replay.from_state(budget, greeted.state())
    again.push(MessageTokens("ai", 5), SourceOf([]))
    assert again.window().kept == (0, 2, 3)


def test_a_replay_from_its_state_reports_no_change() -> None:
    budget = Budget(10)
    assert Replay.from_state(budget, replay_of([M("human", 1)] * 3, budget).state()).changed == 3


def test_the_state_keeps_the_form_that_databases_hold() -> None:
    messages = [
        M("system", 1),
        M("ai", 1),
        M("human", 5),
        M("ai", 3, ("a",), pinned=True),
        M("tool", 4, results=("a",)),
        M("ai", 2),
        M("ai", 20),
        M("human", 30),
        M("ai", 1),
    ]
    replay = replay_of(messages, Budget(40, 0.5, fixed=3, oversize="drop"))
    question = [0, 2, False, False, [], [[2, "human", 5, 5]]]
    step = [0, 0, True, False, [], [[3, "ai", 3, 3], [4, "tool", 4, 4]]]
    left_out = [2, 2, False, False, [], []]
    assert replay.state() == [9, [[0], 1, False], [2, 1], 2, True, "turn", [], [], [question, step, left_out]]


def test_the_state_keeps_the_form_of_what_is_mended() -> None:
    replay = replay_of(
        [M("human", 1), M("ai", 1, ("a", "b")), M("human", 1), M("tool", 1, results=("b",)), M("tool", 1)], Budget(40)
    )
    step = [
        0,
        0,
        False,
        False,
        [[1, 0, "a", 1]],
        [[1, "ai", 1, 1], [[1, 0], "tool", 2, 2, 2, 2], [3, "tool", 1, 1, 3, 2]],
    ]
    assert replay.state()[6:] == [
        [4],
        [],
        [[0, 2, False, False, [], [[0, "human", 1, 1]]], step, [2, 2, False, False, [], [[2, "human", 1, 1]]]],
    ]


@pytest.mark.parametrize(
    ("kind", "human", "unit"),
    [
        pytest.param("human", 0, [0, 2, False, False, [], [[0, "human", 1, 1]]], id="question"),
        pytest.param("ai", -1, [-1, 0, False, False, [], [[0, "ai", 1, 1]]], id="greeting"),
    ],
)
def test_the_state_of_one_message_keeps_its_form(kind: str, human: int, unit: list[object]) -> None:
    state = replay_of([M(kind, 1)], Budget(10)).state()
    assert state == [1, [[], 0, False], [0, 1], human, kind == "human", "", [], [], [unit]]


def test_the_state_of_nothing_keeps_its_form() -> None:
    assert Replay(Budget(10)).state() == [0, [[], 0, True], [0, 0], -1, False, "", [], [], []]


@pytest.mark.parametrize("kinds", [["human"], ["human", "ai"]], ids=" ".join)
def test_a_message_may_be_appended_from_the_first_question_on(kinds: list[str]) -> None:
    assert replay_of([M(kind, 1) for kind in kinds], Budget(10)).open_calls == []
