"""What a question recalls in a replay: chosen when it comes, as `TokenBuffer` does, and quoted while its turn lasts."""

from __future__ import annotations

import json
from bisect import bisect_left
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from langchain_tokenbuffer._counting.clamp import clamp
from langchain_tokenbuffer._recall.passages import read_passages
from langchain_tokenbuffer._recall.postings import postings_of
from langchain_tokenbuffer._recall.questions import newest_question, question_terms
from langchain_tokenbuffer._recall.quotation import is_quoted, with_quotation
from langchain_tokenbuffer._recall.ranking import rank
from langchain_tokenbuffer._recall.recalling import matches_of
from langchain_tokenbuffer._recall.terms import term_hash
from langchain_tokenbuffer._recall.turns import added_tokens, fitting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._counting.message_counters import MessageCounter
    from langchain_tokenbuffer._recall.ranking import Place, Posting
    from langchain_tokenbuffer._window.driver import WindowDriver


class Quoted(NamedTuple):
    """What stands in front of the question of a call."""

    question: int = -1  # its index
    text: str = ""
    tokens: int = 0  # what it adds to the question


NOTHING = Quoted()


class Questions:
    """The questions of a conversation, and where what they ask for stands: read once for all settings."""

    def __init__(self, messages: Sequence[BaseMessage], calls: Iterable[int], counter: MessageCounter) -> None:
        """Take the messages, the index of each call, and what counts a question as it is shown."""
        self.messages = messages
        self.counter = counter
        newest = {newest_question(messages[:length]) for length in calls}
        self.terms = {index: self._terms_of(index) for index in newest if index is not None}
        hashes = {term_hash(term) for terms in self.terms.values() for term in terms}
        self.postings: dict[int, list[Posting]] = {term: [] for term in hashes}  # ascending
        for place, message in enumerate(messages):
            for posting in postings_of(place, read_passages(message)):
                if posting.term in hashes:
                    self.postings[posting.term].append(posting)

    def _terms_of(self, index: int) -> list[str]:
        question = self.messages[index]
        # What came with a quotation keeps that, and gets no other.
        return [] if is_quoted(question) else question_terms(self.messages[:index], question)


class Recalling:
    """What is quoted in one conversation under one setting, from question to question."""

    def __init__(self, questions: Questions, recall_tokens: int) -> None:
        self._questions = questions
        self._recall_tokens = recall_tokens
        self._quoted = NOTHING

    def follow(self, driver: WindowDriver) -> None:
        """Choose what is quoted, if the newest message is a question."""
        question = driver.count - 1
        if question in self._questions.terms:
            text = self._chosen(question, driver)
            self._quoted = self._in_front_of(self._questions.messages[question], question, text) if text else NOTHING

    def _chosen(self, question: int, driver: WindowDriver) -> str:
        if driver.shortage is not None:
            return ""
        asked, left = self._questions, _LeftPostings(self._questions.postings, driver.cut, {*driver.kept_before_cut})
        matches = matches_of(rank(asked.terms[question], question + 1, left), asked.messages)
        return fitting(matches, asked.messages[question], self._recall_tokens, asked.counter).text

    def _in_front_of(self, shown: BaseMessage, question: int, text: str) -> Quoted:
        return Quoted(question, text, added_tokens(self._questions.counter, with_quotation(shown, text), shown))

    def quoted(self, shortened: Mapping[int, int], room: int) -> Quoted:
        """Return what is quoted in a call; in front of a question that is shortened only what there is `room` for."""
        index, text, _ = self._quoted
        if index not in shortened:
            return self._quoted
        shown = clamp(self._questions.messages[index], shortened[index], self._questions.counter)
        found = self._in_front_of(shown, index, text)
        return found if found.tokens <= room else NOTHING


class _LeftPostings:
    """Of a conversation's postings those of what left: what lies before the cut and is not kept."""

    def __init__(self, by_term: Mapping[int, Sequence[Posting]], cut: int, kept: Collection[int]) -> None:
        self._by_term = by_term
        self._cut = cut
        self._kept = kept

    def newest(self, terms: Sequence[int], limit: int) -> list[Posting]:
        return [posting for term in terms for posting in islice(self._left(term), limit)]

    def _left(self, term: int) -> Iterator[Posting]:
        postings = self._by_term[term]
        end = bisect_left(postings, (term, self._cut))
        return (postings[at] for at in range(end - 1, -1, -1) if postings[at].message not in self._kept)

    def look_up(self, terms: Sequence[int], passages: Sequence[Place]) -> list[Posting]:
        found = []
        for term in terms:
            postings = self._by_term[term]
            for place in passages:
                at = bisect_left(postings, (term, *place))
                if at < len(postings) and postings[at][1:3] == place:
                    found.append(postings[at])
        return found


def said_in(quotation: str) -> str:
    """Return the passages that a quotation quotes, as they were said."""
    return "\n".join(json.loads(line)["text"] for line in quotation.split("\n")[1:-1])
