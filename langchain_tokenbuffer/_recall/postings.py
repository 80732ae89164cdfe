"""The postings of one conversation, in memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections import Counter
from typing import TYPE_CHECKING

from langchain_tokenbuffer._recall.passages import MOST, read_passages
from langchain_tokenbuffer._recall.ranking import Posting
from langchain_tokenbuffer._recall.terms import term_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._recall.passages import Passage
    from langchain_tokenbuffer._recall.ranking import Place

_BITS = 9  # of a frequency and of a length
_MOST_TERMS = (1 << _BITS) - 1
"""A passage may have more terms: NFKC spells a few letters out. As many as fit say as much to BM25."""


def postings_of(place: int, passages: Iterable[Passage]) -> list[Posting]:
    """Return the postings of a message's passages."""
    return [
        Posting(term_hash(term), place, number, min(frequency, _MOST_TERMS), min(len(passage.terms), _MOST_TERMS))
        for number, passage in enumerate(passages)
        for term, frequency in Counter(passage.terms).items()
    ]


class PostingLists:
    """The postings of what left one conversation's window. 8 bytes each: no text is held."""

    def __init__(self) -> None:
        self._by_term: dict[int, array[int]] = {}  # packed, ascending
        self._messages: set[int] = set()

    def add(self, place: int, message: BaseMessage) -> None:
        """Add a message; one that is there already is left as it is."""
        if place in self._messages:
            return
        self._messages.add(place)
        for posting in postings_of(place, read_passages(message)):
            packed = _packed(posting)
            postings = self._by_term.setdefault(posting.term, array("q"))
            if postings and packed < postings[-1]:  # it left later than what came after it
                insort(postings, packed)
            else:
                postings.append(packed)

    def newest(self, terms: Sequence[int], limit: int) -> list[Posting]:
        found = ((term, self._by_term.get(term, array("q"))) for term in terms)
        return [_unpacked(term, each) for term, packed in found for each in reversed(packed[-limit:])]

    def look_up(self, terms: Sequence[int], passages: Sequence[Place]) -> list[Posting]:
        found = []
        for term in terms:
            packed = self._by_term.get(term, array("q"))
            for message, passage in passages:
                least = _packed(Posting(term, message, passage, 0, 0))
                at = bisect_left(packed, least)
                if at < len(packed) and packed[at] >> 2 * _BITS == least >> 2 * _BITS:
                    found.append(_unpacked(term, packed[at]))
        return found


def _packed(posting: Posting) -> int:
    _, message, passage, frequency, length = posting
    return ((message * MOST + passage) << _BITS | frequency) << _BITS | length


def _unpacked(term: int, packed: int) -> Posting:
    place, most = packed >> 2 * _BITS, _MOST_TERMS
    return Posting(term, place // MOST, place % MOST, packed >> _BITS & most, packed & most)
