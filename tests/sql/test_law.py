"""Law 7 of `docs/design.md`, in a database.

What was stored, in whatever portions, has the window of `TokenBuffer`.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer import TokenBuffer, TokenBufferError
from langchain_tokenbuffer.sql import SQLTokenBufferHistory
from tests import strategies
from tests.builders import count_words, count_words_by_threes
from tests.scale import examples
from tests.strategies import conversations, disordered
from tests.torn import torn

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_tokenbuffer._window.budget import Oversize
    from tests.sql.conftest import Place

many = settings(
    max_examples=examples(120),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
some = settings(
    max_examples=examples(40),
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
budgets = st.fixed_dictionaries(
    {
        "max_tokens": strategies.max_tokens(),
        "trim_to": st.sampled_from(strategies.TRIM_TO),
        "oversize": st.sampled_from(strategies.OVERSIZES),
    }
)
anything = conversations() | disordered() | torn()


def in_memory(session_id: str, **options: Any) -> SQLTokenBufferHistory:
    return SQLTokenBufferHistory(session_id, "sqlite://", **{"token_counter": count_words, "prefix": "law", **options})


def window_or_error(read: Callable[[], list[BaseMessage]]) -> list[BaseMessage] | str:
    try:
        return read()
    except TokenBufferError as error:
        return str(error)


def buffer_window(messages: list[BaseMessage], **options: Any) -> list[BaseMessage] | str:
    buffer = TokenBuffer(**{"token_counter": count_words, **options})
    return window_or_error(lambda: buffer.trim(messages))


def portions(draw: st.DataObject, messages: list[BaseMessage]) -> list[list[BaseMessage]]:
    """Cut a conversation into portions, mostly of one or two messages."""
    parts, at = [], 0
    while at < len(messages):
        size = draw.draw(st.sampled_from([1, 1, 1, 2, 2, 5, 50]))
        parts.append(messages[at : at + size])
        at += size
    return parts


@many
@given(anything, budgets, st.data())
def test_the_window_is_that_of_a_token_buffer_over_all_messages(
    messages: list[BaseMessage], budget: dict[str, Any], data: st.DataObject
) -> None:
    session_id, stored = uuid.uuid4().hex, list[BaseMessage]()
    for portion in portions(data, messages):
        in_memory(session_id, **budget).add_messages(portion)
        stored += portion
        history = in_memory(session_id, **budget)
        assert window_or_error(lambda: history.messages) == buffer_window(stored, **budget)  # noqa: B023
    assert in_memory(session_id, **budget).all_messages() == stored


@some
@given(messages=anything, budget=budgets, data=st.data())
def test_the_law_holds_on_every_database(
    place: Place, messages: list[BaseMessage], budget: dict[str, Any], data: st.DataObject
) -> None:
    session_id = uuid.uuid4().hex
    for portion in portions(data, messages):
        place.history(session_id, **budget).add_messages(portion)
    history = place.history(session_id, **budget)
    assert window_or_error(lambda: history.messages) == buffer_window(messages, **budget)


@many
@given(anything, st.lists(budgets, min_size=2, max_size=4), st.data())
def test_changed_settings_have_the_window_they_would_always_have_had(
    messages: list[BaseMessage], several: list[dict[str, Any]], data: st.DataObject
) -> None:
    session_id, stored = uuid.uuid4().hex, list[BaseMessage]()
    for portion in portions(data, messages):
        budget = data.draw(st.sampled_from(several))
        in_memory(session_id, **budget).add_messages(portion)
        stored += portion
        other = data.draw(st.sampled_from(several))
        history = in_memory(session_id, **other)
        assert window_or_error(lambda: history.messages) == buffer_window(stored, **other)  # noqa: B023


def twice(messages: list[BaseMessage]) -> int:
    return 2 * count_words(messages)


@many
@given(anything, budgets, st.data())
def test_a_changed_counter_counts_what_is_stored_anew(
    messages: list[BaseMessage], budget: dict[str, Any], data: st.DataObject
) -> None:
    session_id, stored = uuid.uuid4().hex, list[BaseMessage]()
    for portion in portions(data, messages):
        counter = data.draw(st.sampled_from([count_words, twice]))
        in_memory(session_id, **budget, token_counter=counter).add_messages(portion)
        stored += portion
        history = in_memory(session_id, **budget, token_counter=counter)
        wanted = buffer_window(stored, **budget, token_counter=counter)
        assert window_or_error(lambda: history.messages) == wanted  # noqa: B023


@many
@given(conversations(huge=False), budgets, st.data())
def test_while_nothing_is_clamped_purging_leaves_the_window_as_it_is(
    messages: list[BaseMessage], budget: dict[str, Any], data: st.DataObject
) -> None:
    budget = {**budget, "oversize": "raise"}
    session_id, stored = uuid.uuid4().hex, list[BaseMessage]()
    for portion in portions(data, messages):
        history = in_memory(session_id, **budget)
        history.add_messages(portion)
        stored += portion
        before = data.draw(st.integers(0, len(stored)))
        limit = data.draw(st.integers(1, 5))
        history.delete_before(before, limit=limit)
        assert window_or_error(lambda: history.messages) == buffer_window(stored, **budget)  # noqa: B023


@many
@given(anything, budgets, budgets, st.data())
def test_after_purging_a_window_computed_anew_is_that_of_what_is_left(
    messages: list[BaseMessage],
    budget: dict[str, Any],
    other: dict[str, Any],
    data: st.DataObject,
) -> None:
    session_id = uuid.uuid4().hex
    for portion in portions(data, messages):
        history = in_memory(session_id, **budget)
        history.add_messages(portion)
        history.delete_before(data.draw(st.integers(0, len(messages))))
    left = in_memory(session_id, **other).all_messages()
    for changed in (other, budget):
        history = in_memory(session_id, **changed)
        if changed != budget or other != budget:
            assert window_or_error(lambda: history.messages) == buffer_window(left, **changed)  # noqa: B023


@many
@given(anything, budgets, st.data())
def test_what_was_handed_over_is_what_the_window_dropped(
    messages: list[BaseMessage], budget: dict[str, Any], data: st.DataObject
) -> None:
    session_id, handed = uuid.uuid4().hex, list[BaseMessage]()
    messages = [each.model_copy(update={"name": f"number {n}"}) for n, each in enumerate(messages)]
    for portion in portions(data, messages):
        history = in_memory(session_id, **budget)
        history.add_messages(portion)
        if data.draw(st.booleans()):
            size = data.draw(st.integers(1, 3))
            history.evicted(handed.extend, batch_size=size)
            window = window_or_error(lambda: history.messages)  # noqa: B023
            if not isinstance(window, str):
                kept = {each.name for each in window}
                stored = history.all_messages()
                assert {each.name for each in handed} == {each.name for each in stored if each.name not in kept}
    assert len({each.name for each in handed}) == len(handed)


@many
@given(anything, budgets, st.lists(budgets, min_size=1, max_size=3), st.data())
def test_whatever_settings_change_what_left_is_handed_over_sooner_or_later(
    messages: list[BaseMessage],
    budget: dict[str, Any],
    several: list[dict[str, Any]],
    data: st.DataObject,
) -> None:
    session_id, handed = uuid.uuid4().hex, set[str | None]()
    messages = [each.model_copy(update={"name": f"number {n}"}) for n, each in enumerate(messages)]

    def take(each: list[BaseMessage]) -> None:
        handed.update(message.name for message in each)

    for portion in portions(data, messages):
        history = in_memory(session_id, **data.draw(st.sampled_from([budget, *several])))
        history.add_messages(portion)
        if data.draw(st.booleans()):
            history.evicted(take, batch_size=data.draw(st.integers(1, 3)))
    history = in_memory(session_id, **budget)
    history.evicted(take)
    window = window_or_error(lambda: history.messages)
    if not isinstance(window, str):
        assert {each.name for each in messages} <= handed | {each.name for each in window}


@many
@given(anything, budgets, st.data())
def test_a_counter_that_is_not_additive_keeps_the_budget(
    messages: list[BaseMessage], budget: dict[str, Any], data: st.DataObject
) -> None:
    session_id = uuid.uuid4().hex
    for portion in portions(data, messages):
        history = in_memory(session_id, **budget, token_counter=count_words_by_threes)
        history.add_messages(portion)
        window = window_or_error(lambda: history.messages)  # noqa: B023
        assert isinstance(window, str) or count_words_by_threes(window) <= budget["max_tokens"]


@pytest.mark.parametrize("oversize", strategies.OVERSIZES)
def test_a_cleared_session_begins_anew(oversize: Oversize) -> None:
    history = in_memory(uuid.uuid4().hex, max_tokens=30, oversize=oversize)
    for n in range(9):
        history.add_messages([HumanMessage(f"question {n}"), AIMessage("a b c d e f")])
    history.clear()
    messages = [AIMessage("hello"), HumanMessage("again"), AIMessage("yes")]
    history.add_messages(messages)
    assert history.messages == TokenBuffer(30, token_counter=count_words).trim(messages)
