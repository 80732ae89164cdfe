"""What a reply needs of the conversation before it, as literal texts, and where these stand.

A window without them cannot lead to that reply; with them it may not either. They are necessary, not sufficient.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._replay.needs import facts_of, occurs, text_of
from tests.benchmarks.trimming.conversations import COUNTS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from tests.benchmarks.trimming.conversations import Conversation

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
        for place, key in enumerate(COUNTS.keys(messages)):
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
            places = self._place.get(id(message)) or self._places.get(COUNTS.keys([message])[0], 0)
            shown |= places
            if not places and message.text != self._system:
                others.append(_unescaped(text_of(message)))
        return sum(bool(self.places(fact) & shown) or any(occurs(fact, each) for each in others) for fact in facts)


def _unescaped(text: str) -> str:
    """Return a text as it was before it was quoted in JSON."""
    return f"{text}\n" + text.replace('\\"', '"').replace("\\n", "\n") if "\\" in text else text
