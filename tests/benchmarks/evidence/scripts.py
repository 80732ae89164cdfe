"""Conversations that a seeded script writes, in which later replies need what was said before.

Agents that read records and act on what these say, and chats in which facts are told and asked for later. The same at
each run. How far back a fact lies is drawn evenly from what was said: the script favours no way to trim.
"""

from __future__ import annotations

import json
import random
from typing import NamedTuple

from tests.benchmarks.trimming.generated import CHINESE, ENGLISH, KOREAN, Record

ORDERS, LOOPS, CHATS = 20, 10, 10
"""How many are written of each kind."""
TURNS, PLANTED = 60, 10
"""Of a chat: its turns, and how many facts are told in it."""


def orders() -> list[Record]:
    """Write customer service: a user's records are read, then changed by the ids they have."""
    return [_Orders(random.Random(f"orders {number}")).written() for number in range(ORDERS)]


def research() -> list[Record]:
    """Write loops of calls after one question: search, open what was found, and report the figures."""
    return [_research(random.Random(f"research {number}")) for number in range(LOOPS)]


# --- agents ---------------------------------------------------------------------------------------


class _Orders:
    """One customer, whose orders are looked up and changed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._user = f"user_{rng.randint(1000, 9999)}"
        self._cards = [f"card_{rng.randint(10**6, 10**7)}" for _ in range(3)]
        self._orders = [f"#W{rng.randint(10**6, 10**7)}" for _ in range(rng.randint(7, 10))]
        self._items: list[str] = []  # of the orders that were read
        self._calls = 0
        self._messages: list[Record] = []

    def written(self) -> Record:
        policy = " ".join(_sentence(self._rng) for _ in range(40))
        self._say("system", f"You serve the customers of a shop. {policy}")
        self._say("user", f"Hello, I am {self._user}. {_sentence(self._rng)}")
        self._call("get_user", {"user_id": self._user}, self._profile())
        self._say("assistant", f"I found {len(self._orders)} orders. {_sentence(self._rng)}")
        for order in self._rng.sample(self._orders, k=self._rng.randint(5, 7)):
            self._look_up(order)
            if self._rng.random() < 0.7:
                self._change(self._rng.choice(self._orders), self._rng.choice(self._items))
        return {"messages": self._messages}

    def _look_up(self, order: str) -> None:
        self._say("user", f"{_sentence(self._rng)} What is in {order}?")
        items = [str(self._rng.randint(10**9, 10**10)) for _ in range(self._rng.randint(3, 9))]
        self._items += items
        listed = [{"item_id": each, "name": _words(self._rng, 3), "price": self._price()} for each in items]
        self._call("get_order", {"order_id": order}, {"order_id": order, "status": "delivered", "items": listed})
        self._say("assistant", f"It has {len(items)} items. {_sentence(self._rng)}")

    def _change(self, order: str, item: str) -> None:
        """Exchange an item for a variant of it, paid by one of the cards of the user's record."""
        self._say("user", f"{_sentence(self._rng)} I would rather have another kind of {item}.")
        variants = [str(self._rng.randint(10**9, 10**10)) for _ in range(self._rng.randint(6, 24))]
        listed = {each: {"options": _words(self._rng, 5), "price": self._price()} for each in variants}
        self._call("list_variants", {"item_id": item}, listed)
        chosen = self._rng.choice(variants)
        self._say("assistant", f"There is {chosen} at {listed[chosen]['price']}. {_sentence(self._rng)}")
        self._say("user", f"Yes, please. {_sentence(self._rng)}")
        arguments = {"order_id": order, "new_item_id": chosen, "payment_id": self._rng.choice(self._cards)}
        self._call("exchange", arguments, {"status": "exchange requested", "text": _sentence(self._rng)})
        self._say("assistant", f"It is done. {_sentence(self._rng)}")

    def _profile(self) -> Record:
        cards = {each: {"brand": self._rng.choice(["visa", "mastercard"])} for each in self._cards}
        address = f"{self._rng.randint(100, 999)} {_words(self._rng, 2).title()} Street"
        return {"user_id": self._user, "address": address, "payment_methods": cards, "orders": self._orders}

    def _price(self) -> float:
        return self._rng.randint(1000, 99999) / 100

    def _say(self, role: str, text: str) -> None:
        self._messages.append({"role": role, "content": text})

    def _call(self, name: str, arguments: Record, result: object) -> None:
        self._calls += 1
        self._messages += _call(f"call_{self._calls}", name, arguments, json.dumps(result))


class _Document(NamedTuple):
    name: str
    figure: str


def _research(rng: random.Random) -> Record:
    documents = [_Document(f"doc-{rng.randint(10**4, 10**5)}", f"{rng.randint(10**4, 10**6)}") for _ in range(40)]
    messages: list[Record] = [
        {"role": "system", "content": f"You do research. {' '.join(_sentence(rng) for _ in range(20))}"},
        {"role": "user", "content": f"Compare these: {_words(rng, 60)}"},
    ]
    read: list[_Document] = []
    for step in range(rng.randint(28, 36)):
        name = f"call_{step}"
        kind = rng.choices(["search", "open", "note"], [2, 5, 2])[0] if step else "search"
        if kind == "search":
            found = [{"id": each.name, "title": _words(rng, 8)} for each in rng.sample(documents, 8)]
            messages += _call(name, "search", {"query": _words(rng, 4)}, json.dumps(found))
            listed = [each for each in documents if each.name in {one["id"] for one in found}]
        elif kind == "open":
            document = rng.choice(listed)
            read.append(document)
            text = f"{_text(rng, 5, 40)}\nIn all there were {document.figure} of them.\n{_text(rng, 5, 40)}"
            messages += _call(name, "open", {"id": document.name}, text)
        else:
            cited = rng.sample(read, min(len(read), 3))
            arguments = {"figures": [each.figure for each in cited], "comment": _sentence(rng)}
            messages += _call(name, "note", arguments, "Noted.")
    return {"messages": messages}


def _call(id_: str, name: str, arguments: Record, result: str) -> list[Record]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    called = [{"id": id_, "type": "function", "function": function}]
    return [
        {"role": "assistant", "content": "", "tool_calls": called},
        {"role": "tool", "tool_call_id": id_, "content": result},
    ]


def _sentence(rng: random.Random) -> str:
    return f"{_words(rng, rng.randint(6, 16)).capitalize()}."


def _text(rng: random.Random, least: int, most: int) -> str:
    return "\n".join(_sentence(rng) for _ in range(rng.randint(least, most)))


def _words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(ENGLISH.split(), k=count))


# --- chats ----------------------------------------------------------------------------------------


class Chat(NamedTuple):
    """A chat, and which fact the reply after so many messages needs."""

    record: Record
    needs: dict[int, str]


class _Language(NamedTuple):
    """What chats of one language are made of; filling texts speak of the same things as the facts do."""

    filling: str
    space: str
    places: list[str]
    things: list[str]
    told: str
    asked: str


LANGUAGES = {
    "English": _Language(
        ENGLISH,
        " ",
        ["station", "office", "gym", "library", "garage", "school"],
        ["locker", "door", "wifi", "alarm", "bicycle", "mailbox"],
        "The code of the {thing} at the {place} is {code}.",
        "What was the code of the {thing} at the {place}?",
    ),
    "Korean": _Language(
        KOREAN,
        " ",
        ["역", "회사", "체육관", "도서관", "주차장", "학교"],
        ["사물함", "현관문", "와이파이", "경보기", "자전거", "우편함"],
        "{place} {thing} 번호는 {code}입니다.",
        "{place} {thing} 번호가 뭐였죠?",
    ),
    "Chinese": _Language(
        CHINESE,
        "",
        ["车站", "公司", "健身房", "图书馆", "停车场", "学校"],
        ["储物柜", "大门", "无线网", "报警器", "自行车", "信箱"],
        "{place}的{thing}密码是{code}。",
        "{place}的{thing}密码是什么",
    ),
}


def chats(name: str) -> list[Chat]:
    """Write chats in one language: facts are told among other things, and each is asked for later."""
    return [_chat(random.Random(f"{name} {number}"), LANGUAGES[name]) for number in range(CHATS)]


def _chat(rng: random.Random, language: _Language) -> Chat:
    pairs = [(place, thing) for place in language.places for thing in language.things]
    told: dict[int, str] = {}
    asked: dict[int, tuple[str, str]] = {}
    turns = rng.sample(range(TURNS), 2 * PLANTED)
    for place, thing in rng.sample(pairs, PLANTED):
        first, later = sorted((turns.pop(), turns.pop()))
        code = f"{rng.randint(1000, 9999)}-{rng.choice('ABCDEFGH')}{rng.randint(10, 99)}"
        told[first] = language.told.format(place=place, thing=thing, code=code)
        asked[later] = language.asked.format(place=place, thing=thing), code
    messages: list[Record] = []
    needs: dict[int, str] = {}
    for turn in range(TURNS):
        question, code = asked.get(turn, ("", ""))
        said = f"{_filling(rng, language)} {told[turn]} {_filling(rng, language)}" if turn in told else question
        messages.append({"role": "user", "content": said or _filling(rng, language)})
        if question:
            needs[len(messages)] = code
        messages.append({"role": "assistant", "content": f"{_filling(rng, language)} {code}".strip()})
    return Chat({"messages": messages}, needs)


def _filling(rng: random.Random, language: _Language) -> str:
    known = language.filling.split() if language.space else list(language.filling)
    words = [*known, *language.places, *language.things]
    text = language.space.join(rng.choices(words, k=rng.randint(20, 60)))
    return f"{text}{'.' if language.space else '。'}"
