"""The sets: conversations with what their replies need, and a budget for the messages of a request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from tests.benchmarks.evidence import scripts
from tests.benchmarks.evidence.facts import Finder, Need, sentence_with, used
from tests.benchmarks.trimming import conversations
from tests.benchmarks.trimming.conversations import Conversation, DataSet, conversation

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from tests.benchmarks.trimming.conversations import Wire

ACKNOWLEDGED = "I see."
"""The reply to a message whose real reply is not part of the data."""


@dataclass(frozen=True)
class Case:
    """A conversation, and what its replies need of it."""

    conversation: Conversation
    needs: tuple[Need, ...]

    @cached_property
    def finder(self) -> Finder:
        """What finds the facts in windows."""
        return Finder(self.conversation)


@dataclass(frozen=True)
class EvidenceSet:
    """Cases of one character.

    Attributes:
        name: As the tables call it.
        max_tokens: The budget of a request, in tokens; there are no tools in it.
        cases: The conversations.
        resampled: What is drawn for the interval, in words.
        is_chat: Whether its needs are what questions ask for, one each.
        for_all: Whether everybody plays it, or only our configurations.
    """

    name: str
    max_tokens: int
    cases: tuple[Case, ...]
    resampled: str
    is_chat: bool = False
    for_all: bool = True

    @property
    def title(self) -> str:
        """Its name with its budget."""
        return f"{self.name}, {self.max_tokens:,}"

    @cached_property
    def data_set(self) -> DataSet:
        """Its conversations, as the benchmark of trimming plays them."""
        return DataSet(self.name, self.max_tokens, tuple(case.conversation for case in self.cases))

    @property
    def units(self) -> list[Hashable]:
        """What is resampled."""
        return list(dict.fromkeys(need.unit for case in self.cases for need in case.needs))


def sources() -> dict[str, Callable[[], Iterator[EvidenceSet]]]:
    """Return where sets can be had from, by name."""
    made: dict[str, Callable[[], Iterator[EvidenceSet]]] = {"generated": generated_sets}
    return {"recorded": recorded_sets, **made} if conversations.RECORDINGS.is_dir() else made


def recorded_sets() -> Iterator[EvidenceSet]:
    """Yield the real transcripts, alone and many joined into one session."""
    airline, coding = _records("tau_airline_en"), _records("swe_agent_en")
    yield from _agents("Airline agents", (3_000, 2_600, 4_000), airline)
    yield from _joined("Airline agents, 10 joined", (8_000, 4_000), airline, 10)
    yield from _agents("Coding agents", (6_000,), coding)
    yield from _joined("Coding agents, 6 joined", (12_000,), coding, 6)
    yield from _joined("Korean assistant, 23 joined", (2_000,), _records("functionchat_ko"), 23)
    remembered = tuple(map(_remembered, _records("bfcl_memory")))
    yield EvidenceSet("BFCL memory chats", 2_048, remembered, "questions", is_chat=True)


def generated_sets() -> Iterator[EvidenceSet]:
    """Yield what the seeded script writes: the same at each run."""
    orders = scripts.orders()
    yield from _agents("Order agents", (3_000,), orders)
    yield from _joined("Order agents, 5 joined", (6_000,), orders, 5)
    yield from _agents("Research loops", (4_000,), scripts.research())
    for language in scripts.LANGUAGES:
        cases = tuple(_planted(*each) for each in enumerate(scripts.chats(language)))
        yield EvidenceSet(f"Planted facts, {language}", 2_048, cases, "chats", is_chat=True)


def _records(name: str) -> list[Wire]:
    lines = (conversations.RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _agents(name: str, budgets: Sequence[int], records: Sequence[Wire]) -> Iterator[EvidenceSet]:
    """Yield the same conversations under each budget; all play the first one."""
    yield from _under(name, budgets, tuple(_session([each], start) for start, each in enumerate(records)))


def _joined(name: str, budgets: Sequence[int], records: Sequence[Wire], count: int) -> Iterator[EvidenceSet]:
    """Yield the same with so many records in one conversation, under the first one's system message."""
    starts = range(0, len(records), count)
    yield from _under(name, budgets, tuple(_session(records[start : start + count], start) for start in starts))


def _under(name: str, budgets: Sequence[int], cases: tuple[Case, ...]) -> Iterator[EvidenceSet]:
    for place, max_tokens in enumerate(budgets):
        yield EvidenceSet(name, max_tokens, cases, "runs", for_all=place == 0)


def _session(records: Sequence[Wire], start: int) -> Case:
    messages: list[Wire] = []
    units: list[Hashable] = []
    for unit, record in enumerate(records, start):
        said = record["messages"][bool(messages) and record["messages"][0]["role"] == "system" :]
        messages += said
        units += [unit] * len(said)
    joined = conversation({"messages": messages})
    return Case(joined, tuple(used(joined, units[len(messages) - len(joined.messages) :])))


def _planted(number: int, chat: scripts.Chat) -> Case:
    needs = (Need(call, (fact,), number) for call, fact in chat.needs.items())
    return Case(conversation(chat.record), tuple(needs))


def _remembered(record: Wire) -> Case:
    """Return what a user said over weeks, and the questions about it, all asked at the end.

    Who holds a state is asked one of them, of middle length, and judged by all.
    """
    said = record["user_messages"]
    messages: list[BaseMessage] = []
    for text in said:
        messages += [HumanMessage(text), AIMessage(ACKNOWLEDGED)]
    questions = sorted((each["question"] for each in record["questions"]), key=len)
    messages.append(HumanMessage(questions[len(questions) // 2]))
    needs = (
        Need(
            len(messages),
            tuple(sentence_with(each["answer"], said[place]) for place in each["evidence"]),
            f"{record['scenario']} {number}",
            each["question"],
        )
        for number, each in enumerate(record["questions"])
    )
    return Case(Conversation(None, (), tuple(messages)), tuple(needs))
