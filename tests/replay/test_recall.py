"""A replay with recall shows what `TokenBuffer` with recall shows, call by call."""

from __future__ import annotations

import json
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_tokenbuffer import TokenBudgetError, TokenBuffer, TokenCounter
from langchain_tokenbuffer._recall.quotation import quotation_in, without_quotation
from langchain_tokenbuffer._replay.files import read
from langchain_tokenbuffer._replay.needs import occurs, text_of
from langchain_tokenbuffer._replay.simulation import CountedTranscript, Prices, Setting, calls_of
from langchain_tokenbuffer._replay.transcripts import Transcript
from tests.agents.scripted import ENCODING
from tests.scale import examples

if TYPE_CHECKING:
    from pathlib import Path

EXACT = TokenCounter(ENCODING)
PRICES = Prices(floor=0)


class Came(NamedTuple):
    """What a call came to."""

    tokens: int
    missing: tuple[str, ...]
    reusable: int | None  # None where something is clamped: clamping anew may come to the same text


def counted(messages: list[BaseMessage]) -> CountedTranscript:
    return CountedTranscript(Transcript("it", messages), EXACT)


def replayed(talk: CountedTranscript, setting: Setting) -> list[Came]:
    """Return what each call comes to in a replay."""
    found = []
    for each in calls_of(talk, setting, PRICES):
        missing = tuple(need.fact for need in each.missing)
        found.append(Came(each.tokens, missing, None if each.clamped else each.reusable))
    return found


def shown(talk: CountedTranscript, setting: Setting) -> list[Came]:
    """Return what each call comes to as a buffer shows it."""
    max_tokens, trim_to, _, recall_tokens = setting
    buffer = TokenBuffer(max_tokens, token_counter=EXACT, trim_to=trim_to, recall_tokens=recall_tokens)
    found = []
    last: list[tuple[int, BaseMessage]] = []
    for length in talk.call_indices:
        needs = [need.fact for need in talk.needs.get(length, ())]
        messages = talk.transcript.messages[:length]
        try:
            window = buffer.window(messages)
            now = [*zip(window.kept, buffer.trim(messages), strict=True)]
        except TokenBudgetError as error:
            found.append(Came(error.tokens, tuple(needs), 0))
            last = []
            continue
        texts = [said_in(message) for _, message in now]
        missing = tuple(fact for fact in needs if not any(occurs(fact, text) for text in texts))
        same = [new for _, new in takewhile(lambda pair: pair[0] == pair[1], zip(last, now, strict=False))]
        reusable = EXACT([message for _, message in same]) if last else 0
        found.append(Came(window.tokens, missing, None if window.clamped else reusable))
        last = now
    return found


def said_in(message: BaseMessage) -> str:
    """Return what a shown message says, and what is quoted in it."""
    lines = (quotation_in(message) or "").splitlines()[1:-1]
    return "\n".join([text_of(without_quotation(message)), *(json.loads(line)["text"] for line in lines)])


# --- the same as a buffer -------------------------------------------------------------------------

_SAID = (
    "The order A-1234 left on Tuesday.",
    'My cat is called "Mimi" and is 12345 days old\nsays <b>who</b>.',
    "주문 번호는 98765 입니다.",
    "Room 4711, please. " * 30,
    "Where is the order?",
    "And the room?",
    "?",
    "ok",
    "",
)


@st.composite
def chats(draw: st.DrawFn) -> list[BaseMessage]:
    """A chat in which what was said comes again: several questions in a row, several replies, notes, pins."""
    said = st.sampled_from(_SAID)
    messages: list[BaseMessage] = [SystemMessage("be brief")] * draw(st.integers(0, 1))
    for _ in range(draw(st.integers(1, 12))):
        kinds = draw(st.sampled_from(["ha", "ha", "ha", "haa", "hha", "hna", "hsa", "nha", "a"]))
        for kind in kinds:
            text = f"{draw(said)} {draw(said)}"
            content: str | list[str | dict[Any, Any]] = (
                [{"type": "text", "text": text}] if draw(st.booleans()) else text
            )
            extra = {"pinned": True} if draw(st.integers(0, 19)) == 0 else {}
            match kind:
                case "h":
                    messages.append(HumanMessage(content, additional_kwargs=extra))
                case "n":
                    messages.append(HumanMessage(content, additional_kwargs={"lc_source": "summarization"}))
                case "s":
                    messages.append(SystemMessage(content))
                case _:
                    messages.append(AIMessage(content, additional_kwargs=extra))
    return messages


@settings(max_examples=examples(400))
@given(chats(), st.integers(60, 500), st.sampled_from([0.3, 0.6, 1.0]), st.integers(0, 200))
def test_every_call_is_the_one_of_a_buffer(
    messages: list[BaseMessage], budget: int, trim_to: float, recall_tokens: int
) -> None:
    talk, setting = counted(messages), Setting(budget + recall_tokens, trim_to, recall_tokens=recall_tokens)
    assert replayed(talk, setting) == shown(talk, setting)


@pytest.mark.parametrize("max_tokens", [300, 1_000, 2_000])
def test_every_call_of_a_real_chat_is_the_one_of_a_buffer(shared_data: Path, max_tokens: int) -> None:
    setting = Setting(max_tokens, 0.6, recall_tokens=max_tokens // 8)
    for transcript in read(str(shared_data / "memorybank_en.jsonl"))[:2]:
        talk = counted(transcript.messages)
        assert replayed(talk, setting) == shown(talk, setting)
