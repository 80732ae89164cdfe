"""What a reply needs of the conversation before it, as literal texts, and where these stand.

A window without them cannot lead to that reply; with them it may not either. They are necessary, not sufficient.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage

from tests.benchmarks.trimming.conversations import COUNTER

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from tests.benchmarks.trimming.conversations import Conversation

LEAST = 4
"""The shortest fact, in bytes of UTF-8: two Korean letters, four digits. What is shorter is found everywhere."""
IDS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_#@./+:-]*[A-Za-z0-9])?")
SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+|\n")


@dataclass(frozen=True)
class Need:
    """What one reply needs.

    Attributes:
        call: How many messages stand before the reply.
        facts: Literal texts that stand in them.
        unit: What is resampled for the interval: the recorded conversation it belongs to, or the question it is.
        question: What is asked instead of the newest message, where it is not the newest message.
    """

    call: int
    facts: tuple[str, ...]
    unit: Hashable
    question: str | None = None


def used(conversation: Conversation, units: Sequence[Hashable]) -> Iterator[Need]:
    """Yield what each reply of an agent uses that was said before, and not by the system message.

    Args:
        conversation: With the real replies.
        units: For each message, what it was a part of.
    """
    finder = Finder(conversation)
    system = conversation.system or ""
    for n in conversation.calls:
        if n == len(conversation.messages):  # the reply was not recorded
            continue
        before = (1 << n) - 1
        candidates = dict.fromkeys(facts_of(conversation.messages[n]))
        facts = tuple(each for each in candidates if finder.places(each) & before and not occurs(each, system))
        if facts:
            yield Need(n, facts, units[n])


def facts_of(reply: BaseMessage) -> Iterator[str]:
    """Yield the arguments of a reply's calls, and the ids and numbers of its text."""
    arguments = (leaf for call in _calls(reply) for leaf in _leaves(call["args"]))
    ids = (each for each in IDS.findall(reply.text) if any(map(str.isdigit, each)))
    for fact in (*arguments, *ids):
        if len(fact.encode()) >= LEAST:
            yield fact


def _calls(message: BaseMessage) -> Sequence[Any]:
    return message.tool_calls if isinstance(message, AIMessage) else ()


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def text_of(message: BaseMessage) -> str:
    """Return what a message says: its text and the arguments of its calls."""
    return "\n".join([message.text, *(leaf for call in _calls(message) for leaf in _leaves(call["args"]))])


def occurs(fact: str, text: str) -> bool:
    """Tell whether a fact stands in a text, and not as a part of a longer id or number."""
    return fact in text and _whole(fact).search(text) is not None


@cache
def _whole(fact: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(fact)}(?![A-Za-z0-9])")


def sentence_with(answers: Iterable[str], message: str) -> str:
    """Return the first sentence of a message that has one of the answers, else the whole message."""
    lowered = [(each, each.casefold()) for each in SENTENCE_ENDS.split(message)]
    for answer in answers:
        for sentence, text in lowered:
            if occurs(answer.casefold(), text):
                return sentence.strip()
    return message.strip()


class Finder:
    """Finds the facts of one conversation in its messages, and in windows of it."""

    def __init__(self, conversation: Conversation) -> None:
        messages = conversation.messages
        self._system = conversation.system
        self._texts = [text_of(message) for message in messages]
        self._found: dict[str, int] = {}
        self._place = {id(message): 1 << place for place, message in enumerate(messages)}
        self._places: dict[Any, int] = defaultdict(int)  # equal messages show the same
        for place, key in enumerate(COUNTER.keys(messages)):
            self._places[key] |= 1 << place

    def places(self, fact: str) -> int:
        """Return the places of the messages that have a fact, one bit each."""
        if fact not in self._found:
            found = (place for place, text in enumerate(self._texts) if occurs(fact, text))
            self._found[fact] = sum(1 << place for place in found)
        return self._found[fact]

    def held(self, facts: Iterable[str], window: Iterable[BaseMessage]) -> int:
        """Return how many of the facts stand in a window: in a message of the conversation, or in what is left of one.

        What is no message of the conversation is read, too: a shortened message, a summary, a quotation.
        """
        shown, others = 0, []
        for message in window:
            places = self._place.get(id(message)) or self._places.get(COUNTER.keys([message])[0], 0)
            shown |= places
            if not places and message.text != self._system:
                others.append(_unescaped(text_of(message)))
        return sum(bool(self.places(fact) & shown) or any(occurs(fact, each) for each in others) for fact in facts)


def _unescaped(text: str) -> str:
    """Return a text as it was before it was quoted in JSON."""
    return f"{text}\n" + text.replace('\\"', '"').replace("\\n", "\n") if "\\" in text else text
