"""A replay as plain data: what is stored with a session goes on exactly where it stopped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_tokenbuffer._window import Budget, Replay, Sized
from langchain_tokenbuffer.errors import TokenBudgetError
from tests.strategies import budgets, numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.reference import M


def floors(messages: Sequence[M]) -> Callable[[int], int]:
    def floor(index: int) -> int:
        least = messages[index].floor
        return messages[index].cost if least is None else least

    return floor


def told(replay: Replay) -> object:
    try:
        window: object = replay.window()
    except TokenBudgetError as error:
        window = str(error)
    return replay.count, replay.tokens, replay.cut, replay.held, replay.steady, window


@given(numbers(), budgets() | budgets("clamp", else_drop=True), st.data())
def test_a_replay_goes_on_from_its_state_as_if_it_had_never_stopped(
    messages: list[M], budget: Budget, data: st.DataObject
) -> None:
    whole, parts = Replay(budget), Replay(budget)
    for m in messages:
        if data.draw(st.booleans()):
            parts = Replay.from_state(budget, json.loads(json.dumps(parts.state())))
        sized = Sized(m.kind, m.cost, m.calls, m.pinned)  # type: ignore[arg-type]
        left = whole.push(sized, floors(messages)), parts.push(sized, floors(messages))
        assert left[0] == left[1]
        assert told(whole) == told(parts)


@given(numbers(), budgets())
def test_in_a_steady_replay_a_message_that_fits_changes_nothing_but_the_sum(
    messages: list[M], budget: Budget
) -> None:
    replay = Replay(budget)
    for m in messages:
        steady, held, total = replay.steady, replay.held, replay.tokens + m.cost
        sized = Sized(m.kind, m.cost, m.calls, m.pinned)  # type: ignore[arg-type]
        left = replay.push(sized, floors(messages))
        if steady and total <= budget.max_tokens:
            assert (left, replay.tokens, replay.held) == ([], total, held)


@pytest.mark.parametrize("oversize", ["clamp", "drop", "raise"])
def test_the_state_of_a_replay_that_saw_nothing_is_that_of_a_new_one(oversize: str) -> None:
    budget = Budget(10, oversize=oversize)  # type: ignore[arg-type]
    assert told(Replay.from_state(budget, Replay(budget).state())) == told(Replay(budget))
