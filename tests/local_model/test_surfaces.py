"""Memory, chat history and middleware: each prompt within the budget, as the server counted it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from examples.local_model import QUESTIONS, SURFACES, Ledger, with_middleware
from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer.counters import message_counter

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_openai import ChatOpenAI

ASKED = [*QUESTIONS, "Is that all?", "Then good night, and thank you for your patience."]
BUDGET = 160


def asked(ask: Callable[[str], object], ledger: Ledger) -> list[int]:
    """Return the bills of a conversation that is longer than the budget and loses no question."""
    for question in ASKED:
        ask(question)
    assert [call.sent[-1].content for call in ledger.calls] == ASKED
    assert {call.sent[0].type for call in ledger.calls} == {"human"}
    assert len(ledger.calls[-1].sent) < 2 * len(ASKED) - 1
    return [call.billed for call in ledger.calls]


@pytest.mark.parametrize("surface", ["memory", "chat history"])
def test_a_history_is_within_its_budget_and_the_question_comes_on_top(
    model: ChatOpenAI, ledger: Ledger, counter: TokenCounter, surface: str
) -> None:
    bills = asked(SURFACES[surface](model, counter, BUDGET), ledger)
    questions = [counter([call.sent[-1]]) - message_counter(counter).constant for call in ledger.calls]
    assert all(billed - question <= BUDGET for billed, question in zip(bills, questions, strict=True))


def test_a_prompt_of_the_middleware_is_within_its_budget(
    model: ChatOpenAI, ledger: Ledger, counter: TokenCounter
) -> None:
    assert max(asked(with_middleware(model, counter, BUDGET), ledger)) <= BUDGET


def test_with_a_stand_in_tokenizer_a_prompt_is_within_a_tenth_of_its_budget(model: ChatOpenAI, ledger: Ledger) -> None:
    bills = asked(with_middleware(model, TokenCounter(model), BUDGET), ledger)
    assert max(bills) <= 1.1 * BUDGET
