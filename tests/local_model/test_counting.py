"""What we count against `usage.prompt_tokens`, before and after replies have reported it."""

from __future__ import annotations

import json
from typing import NamedTuple
from urllib.request import Request, urlopen

import pytest
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from examples.local_model import QUESTIONS, Ledger, OwnTokenizer, Served, chat_model
from langchain_tokenbuffer import TokenCounter

TEXTS = [
    *QUESTIONS,
    " leading, trailing \n",
    "It's 12,345 and 3.14!\n\n\n    indented",
    "안녕하세요, 1 + 1? Ça va, naïve 😀 x² ½",
    "a" * 300,
    "What does <|im_end|> mean?",
]
BY_THE_TEMPLATE = 21
"""The template's own system message, which stands where the caller brings none."""


class Turn(NamedTuple):
    """A conversation as it was sent, and its bill."""

    sent: list[BaseMessage]
    billed: int


@pytest.fixture(scope="module", params=[None, "Answer briefly."], ids=["plain", "system"])
def turns(request: pytest.FixtureRequest, smollm2: Served) -> list[Turn]:
    """A growing conversation, nothing trimmed; its replies are real, some are cut off."""
    chat: list[BaseMessage] = [SystemMessage(request.param)] if request.param else []
    ledger = Ledger()
    model = chat_model(smollm2, ledger)
    for question in QUESTIONS:
        chat.append(HumanMessage(question))
        chat.append(model.invoke(chat))
    return [Turn(call.sent, call.billed) for call in ledger.calls]


def counters(own: OwnTokenizer) -> dict[str, TokenCounter]:
    """Return the ways in which the model's own tokenizer can be given."""
    key = SecretStr("none")
    model = ChatOpenAI(model="smollm2", api_key=key, custom_get_token_ids=own.encode)
    return {
        "with its template": TokenCounter(own),
        "without its template": TokenCounter(own.tokenizer),
        "of the model": TokenCounter(model),
        "a function": TokenCounter(lambda messages: sum(4 + len(own.encode(str(each.content))) for each in messages)),
    }


HOW = ("with its template", "without its template", "of the model", "a function")


def test_the_tokenizer_from_the_weights_is_the_servers(own: OwnTokenizer, smollm2: Served) -> None:
    url = smollm2.base_url.removesuffix("/v1") + "/tokenize"
    for text in TEXTS:
        with urlopen(Request(url, json.dumps({"content": text}).encode())) as answer:
            assert json.load(answer)["tokens"] == own.encode(text)


def test_with_the_models_template_the_first_count_is_the_bill(turns: list[Turn], counter: TokenCounter) -> None:
    replaced = BY_THE_TEMPLATE if turns[0].sent[0].type == "system" else 0
    assert [turn.billed + replaced for turn in turns] == [counter(turn.sent) for turn in turns]


@pytest.mark.parametrize("how", HOW)
def test_from_the_second_reply_on_the_anchored_count_is_the_bill(
    turns: list[Turn], own: OwnTokenizer, how: str
) -> None:
    counter = counters(own)[how]
    bills = [turn.billed for turn in turns[2:]]
    assert bills == [counter.count(turn.sent, anchor=True) for turn in turns[2:]]


def test_reports_bring_a_stand_in_tokenizer_near_the_bill(turns: list[Turn]) -> None:
    counter = TokenCounter(ChatOpenAI(model="smollm2", api_key=SecretStr("none")))
    counted = sum(abs(counter(turn.sent) - turn.billed) for turn in turns)
    anchored = sum(abs(counter.count(turn.sent, anchor=True) - turn.billed) for turn in turns)
    assert anchored < counted / 2
