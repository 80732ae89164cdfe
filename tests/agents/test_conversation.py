"""An agent's messages, read: what a change in place does to the keys of what was followed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_tokenbuffer._agents.conversation import AgentConversation
from langchain_tokenbuffer._counting.reported_usage import report_by
from langchain_tokenbuffer._counting.resolve import resolve
from langchain_tokenbuffer._window.conversation import MessageMeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage


def conversation(messages: list[BaseMessage]) -> AgentConversation:
    meter = MessageMeter(resolve("o200k_base"))
    return AgentConversation(messages, meter=meter, report_of=partial(report_by, "gpt-4o"))


def thread() -> list[BaseMessage]:
    usage: Any = {"input_tokens": 20, "output_tokens": 5, "total_tokens": 25}
    reply = AIMessage("Hello.", usage_metadata=usage, response_metadata={"model_name": "gpt-4o"})
    return [HumanMessage("Hi"), reply, HumanMessage("And now?"), AIMessage("Nothing.")]


def edit_usage(messages: list[Any]) -> None:
    messages[1].usage_metadata["input_tokens"] = 21


def take_usage(messages: list[Any]) -> None:
    messages[1].usage_metadata = None


def add_usage(messages: list[Any]) -> None:
    messages[3].usage_metadata = {"input_tokens": 40, "output_tokens": 5, "total_tokens": 45}


def name_another_model(messages: list[Any]) -> None:
    messages[1].response_metadata["model_name"] = "o3"


CHANGES = [edit_usage, take_usage, add_usage, name_another_model]


@pytest.mark.parametrize("change", CHANGES)
def test_a_report_that_changes_in_place_makes_another_key(change: Callable[[list[Any]], None]) -> None:
    read = conversation(thread())
    read.apply_earlier_calls(0, {})
    before = read.key(0, 4)
    change(read.messages)  # type: ignore[arg-type]
    assert read.key(0, 4) != before


@pytest.mark.parametrize("change", CHANGES)
def test_a_report_that_does_not_count_is_not_in_the_key(change: Callable[[list[Any]], None]) -> None:
    read = conversation(thread())
    read.apply_earlier_calls(4, {})
    before = read.key(0, 4)
    change(read.messages)  # type: ignore[arg-type]
    assert read.key(0, 4) == before


def test_what_earlier_calls_clamped_is_in_the_key() -> None:
    keys = []
    for clamped in ({}, {0: 5}, {0: 6}, {2: 5}):
        read = conversation(thread())
        read.apply_earlier_calls(0, clamped)
        keys.append(read.key(0, 4))
    assert len(set(keys)) == 4


def test_reports_and_clamps_are_in_the_numbers_from_any_message_on() -> None:
    read = conversation(thread())
    read.apply_earlier_calls(0, {2: 5})
    whole = read.numbers()
    assert [bool(each.report) for each in whole] == [False, True, False, False]
    assert [each.clamped for each in whole] == [None, None, 5, None]
    assert [read.numbers(start) for start in range(4)] == [whole[start:] for start in range(4)]
