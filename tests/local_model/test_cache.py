"""What a low-water mark saves: prompt tokens that the server has to evaluate."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from examples.local_model import Ledger, chat_model, with_middleware

if TYPE_CHECKING:
    from examples.local_model import Served
    from langchain_tokenbuffer import TokenCounter


class Chat(NamedTuple):
    """A chat that is over its budget for most of its turns; reply and budget in tokens."""

    turns: int
    budget: int
    question: str
    reply: int


SHORT = Chat(40, 400, "Say something about the number {}.", 8)
LONG = Chat(
    60,
    1500,
    "The weather by the sea is changing again, and all the boats stay in the harbour today, as my "
    "neighbour said they would. What do you think of the number {}?",
    24,
)
if_asked = pytest.mark.skipif("LONG" not in os.environ, reason="takes minutes; LONG=1 runs it")


def evaluated(served: Served, counter: TokenCounter, chat: Chat, trim_to: float) -> int:
    """Return what the server evaluated in a chat, in tokens."""
    ledger = Ledger()
    model = chat_model(served, ledger, reply=chat.reply)
    ask = with_middleware(model, counter, chat.budget, trim_to)
    for n in range(chat.turns):
        ask(chat.question.format(n * n))
    assert max(call.billed for call in ledger.calls) <= chat.budget
    assert len(ledger.calls[chat.turns // 2].sent) < chat.turns
    return sum(call.evaluated for call in ledger.calls)


@pytest.mark.parametrize("chat", [SHORT, pytest.param(LONG, marks=if_asked)], ids=["short", "long"])
def test_a_low_water_mark_has_a_fifth_evaluated_of_what_dropping_every_turn_has(
    smollm2: Served, counter: TokenCounter, chat: Chat, capsys: pytest.CaptureFixture[str]
) -> None:
    every_turn, seldom = (evaluated(smollm2, counter, chat, trim_to) for trim_to in (1.0, 0.5))
    with capsys.disabled():
        print(
            f"\n{chat.turns} turns within {chat.budget} tokens, prompt tokens evaluated: "
            f"{every_turn} with trim_to=1.0, {seldom} with 0.5 ({every_turn / seldom:.1f} times)"
        )
    assert 5 * seldom <= every_turn
