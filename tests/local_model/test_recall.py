"""What has left the window and is recalled, a real model answers; without recall it cannot."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tokenbuffer import TokenBuffer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from langchain_openai import ChatOpenAI

    from langchain_tokenbuffer import TokenCounter

SEED, TURNS = 5, 200
"""Of the chat, of about 9,000 tokens; facts are told in its first three quarters."""
MAX_TOKENS, RECALL_TOKENS = 2048, 512
LEAST = 15
"""So many of the 25 questions a model of 135 million parameters answers at least."""


class Fact(NamedTuple):
    """What a user says once, what is asked much later, and what a right reply holds letter by letter."""

    told: str
    question: str
    answer: str


FACTS = [
    Fact("My locker at the station has the code 4711.", "What is the code of my locker at the station?", "4711"),
    Fact("The wifi password of our cabin is heron62.", "What is the wifi password of our cabin?", "heron62"),
    Fact("My sister named her new parrot Zubin.", "What is the name of my sister's parrot?", "Zubin"),
    Fact("Our dentist is called Doctor Okafor.", "What is our dentist called?", "Okafor"),
    Fact("I parked the car on level P7 of the garage.", "On which level of the garage did I park the car?", "P7"),
    Fact("The boiler was repaired by a plumber named Lindqvist.", "Which plumber repaired the boiler?", "Lindqvist"),
    Fact("My violin was built in 1893.", "In which year was my violin built?", "1893"),
    Fact("The spare key hangs behind the blue barrel.", "Where does the spare key hang?", "blue barrel"),
    Fact("My booking number for the ferry is QX38.", "What is my booking number for the ferry?", "QX38"),
    Fact("Grandmother was born in the village of Trebnitz.", "In which village was grandmother born?", "Trebnitz"),
    Fact("The alarm of the office is turned off with 9025.", "How is the alarm of the office turned off?", "9025"),
    Fact("My blood pressure tablets are called Rimoval.", "What are my blood pressure tablets called?", "Rimoval"),
    Fact("The choir rehearses on Thursday in room 316.", "In which room does the choir rehearse?", "316"),
    Fact("My teacher of geometry was Miss Abernathy.", "Who was my teacher of geometry?", "Abernathy"),
    Fact("The rowing boat is painted in turquoise.", "In which color is the rowing boat painted?", "turquoise"),
    Fact("We had our honeymoon in Ljubljana.", "Where did we have our honeymoon?", "Ljubljana"),
    Fact("The serial number of my bicycle is KT5590.", "What is the serial number of my bicycle?", "KT5590"),
    Fact("My cousin Ines works as a glassblower.", "What does my cousin Ines work as?", "glassblower"),
    Fact("The marathon begins at the gate Osterfeld.", "At which gate does the marathon begin?", "Osterfeld"),
    Fact("I am allergic to hazelnuts.", "What am I allergic to?", "hazelnut"),
    Fact("The telescope was a gift of uncle Barnaby.", "From whom was the telescope a gift?", "Barnaby"),
    Fact("Our insurance contract has the number 70842.", "What number has our insurance contract?", "70842"),
    Fact("The beehive stands beside the old quarry.", "Where does the beehive stand?", "quarry"),
    Fact("My chess partner lives in Montevideo.", "Where does my chess partner live?", "Montevideo"),
    Fact("The recipe for the soup needs 350 grams of lentils.", "How many grams of lentils does the soup need?", "350"),
]


# What small talk is made of.
WHEN = ["Today", "Yesterday", "This morning", "In the evening", "Last week", "At noon"]
WHO = ["I", "we", "my neighbour", "a friend", "the children"]
DID = [
    "visited",
    "walked past",
    "read about",
    "thought of",
    "talked about",
    "painted",
    "dreamt of",
    "looked for",
    "photographed",
    "described",
]
HOW = ["quiet", "busy", "windy", "sunny", "rainy", "crowded", "pleasant", "snowy", "warm", "curious"]
WHAT = [
    "garden",
    "kitchen",
    "market",
    "harbour",
    "bridge",
    "museum",
    "library",
    "train",
    "concert",
    "bakery",
    "forest",
    "lake",
    "mountain",
    "school",
    "theatre",
    "park",
    "island",
    "meadow",
    "castle",
    "street",
]
REPLIES = [
    "That sounds nice.",
    "I see.",
    "Thank you for telling me.",
    "How interesting.",
    "Good to know.",
    "What a day.",
]


def small_talk(rng: random.Random) -> str:
    one, other = (f"the {rng.choice(HOW)} {rng.choice(WHAT)}" for _ in range(2))
    return f"{rng.choice(WHEN)} {rng.choice(WHO)} {rng.choice(DID)} {one} and {other}."


def chat(rng: random.Random) -> Iterator[BaseMessage]:
    """Write a chat in which each fact is told once, among other things."""
    told = dict(zip(rng.sample(range(TURNS * 3 // 4), len(FACTS)), FACTS, strict=True))
    for turn in range(TURNS):
        said = [small_talk(rng) for _ in range(rng.randint(1, 3))]
        if turn in told:
            said.insert(rng.randint(0, len(said)), told[turn].told)
        yield HumanMessage(" ".join(said))
        yield AIMessage(" ".join(rng.sample(REPLIES, 2)))


def answered(model: ChatOpenAI, counter: TokenCounter, recall_tokens: int) -> list[Fact]:
    """Ask for each fact at the end of the chat; return those that are in the reply, letter by letter."""
    buffer = TokenBuffer(MAX_TOKENS, token_counter=counter, recall_tokens=recall_tokens)
    chain = buffer | model.bind(seed=SEED)
    told = [*chat(random.Random(SEED))]
    return [fact for fact in FACTS if fact.answer in chain.invoke([*told, HumanMessage(fact.question)]).text]


def test_the_model_answers_at_least_15_of_25_questions_from_what_is_recalled(
    model: ChatOpenAI, counter: TokenCounter, capsys: pytest.CaptureFixture[str]
) -> None:
    right = answered(model, counter, RECALL_TOKENS)
    with capsys.disabled():
        print(f"\n{len(right)} of {len(FACTS)} questions answered, {RECALL_TOKENS} of {MAX_TOKENS} tokens recalled")
    assert len(right) >= LEAST


def test_the_model_answers_none_of_these_questions_from_the_window(model: ChatOpenAI, counter: TokenCounter) -> None:
    assert answered(model, counter, recall_tokens=0) == []
