"""A template that refuses whatever does not alternate takes every window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from openai import BadRequestError

from examples.local_model import QUESTIONS, SURFACES, Ledger, chat_model
from langchain_tokenbuffer import TokenCounter
from tests.local_model.conftest import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.local_model import Served


@pytest.fixture(scope="module")
def gemma3() -> Iterator[Served]:
    with served("gemma3", 2048) as address:
        yield address


@pytest.mark.parametrize(
    "window",
    [
        pytest.param([AIMessage("Yes."), HumanMessage("Why?")], id="begins with a reply"),
        pytest.param([HumanMessage("Why?"), HumanMessage("Well?")], id="two questions"),
    ],
)
def test_the_template_refuses_what_does_not_alternate(
    gemma3: Served, ledger: Ledger, window: list[BaseMessage]
) -> None:
    with pytest.raises(BadRequestError, match="Roles must alternate"):
        chat_model(gemma3, ledger, "gemma3", reply=1).invoke(window)


@pytest.mark.parametrize("surface", SURFACES)
def test_the_template_takes_every_window_of_a_conversation(gemma3: Served, ledger: Ledger, surface: str) -> None:
    model = chat_model(gemma3, ledger, "gemma3", reply=6)
    ask = SURFACES[surface](model, TokenCounter("o200k_base"), 80)
    for question in QUESTIONS:
        ask(question)
    assert [call.sent[-1].content for call in ledger.calls] == QUESTIONS
    assert len(ledger.calls[-1].sent) < 2 * len(QUESTIONS) - 1
