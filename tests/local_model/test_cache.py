"""What a low-water mark saves: prompt tokens that the server has to evaluate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.local_model import Ledger, Served, chat_model, with_middleware

if TYPE_CHECKING:
    from langchain_tokenbuffer import TokenCounter

TURNS, BUDGET = 40, 400  # the README's figure is of 60 turns within 1,500 tokens: minutes


def evaluated(served: Served, counter: TokenCounter, trim_to: float) -> int:
    """Return what the server evaluated in a chat of short turns, most of it over the budget."""
    ledger = Ledger()
    model = chat_model(served, ledger, reply=8)
    ask = with_middleware(model, counter, BUDGET, trim_to)
    for n in range(TURNS):
        ask(f"Say something about the number {n * n}.")
    assert max(call.billed for call in ledger.calls) <= BUDGET
    assert len(ledger.calls[TURNS // 2].sent) < TURNS
    return sum(call.evaluated for call in ledger.calls)


def test_a_low_water_mark_has_a_fifth_evaluated_of_what_dropping_every_turn_has(
    smollm2: Served, counter: TokenCounter
) -> None:
    assert 5 * evaluated(smollm2, counter, 0.5) <= evaluated(smollm2, counter, 1.0)
