"""Which passages match a question: BM25 over postings, wherever they are.

An index in memory and a database share it and come to the same. What it reads is bounded, however long the conversation
is: `MOST_TERMS` times `MOST_POSTINGS` postings, and `MOST_CANDIDATES` times `MOST_TERMS` look-ups.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from langchain_tokenbuffer._recall.terms import term_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_TERMS = 16
MOST_POSTINGS = 128
"""So many of the newest postings of a term are read; how dense they are says how rare the term is."""
MOST_CANDIDATES = 256

K1, B, LENGTH = 1.2, 0.4, 28
"""BM25: how soon a term that comes again says nothing more; how far a passage's length matters; and which length, in
terms, is neither good nor bad. It is fixed: a mean would be another for each conversation and at each message."""
BESIDE, INSIDE = 0.15, 0.35
"""The share of its score that a message adds to those beside it, and a passage to those beside it in the same message:
an answer stands behind what was asked. A passage beside one that matches is found, whatever it says."""
COVERAGE = 0.1
"""A passage matches if its terms have at least this share of what the question's terms weigh."""
_DIGITS = 4  # of a score: sums may differ beyond that from one machine to the next


class Posting(NamedTuple):
    """A term in a passage."""

    term: int  # `term_hash` of it
    message: int  # place of the message in the conversation, from 0
    passage: int  # place of the passage in the message
    frequency: int  # how often the term stands in the passage
    length: int  # of the passage, in terms


Place: TypeAlias = tuple[int, int]
"""The message and the passage in it."""


class Postings(Protocol):
    """Where postings are."""

    def newest(self, terms: Sequence[int], limit: int) -> Sequence[Posting]:
        """Return the newest postings of each term, at most `limit` of each; of one term the newest first."""
        ...

    def look_up(self, terms: Sequence[int], passages: Sequence[Place]) -> Sequence[Posting]:
        """Return the postings of these terms in these passages, in any order."""
        ...


class Ranked(NamedTuple):
    """A passage that matches or stands beside one that does, and how well. The message may end before that one."""

    message: int
    passage: int
    score: float


def asked_terms(terms: Iterable[str]) -> list[str]:
    """Return the terms of a question that are asked for, at most `MOST_TERMS`: numbers and names first, then long ones.

    Which of them are rare is not known before they are asked for.
    """
    distinct = list(dict.fromkeys(terms))
    return sorted(distinct, key=lambda term: (not any(map(str.isdigit, term)), -len(term)))[:MOST_TERMS]


def rank(terms: Iterable[str], count: int, postings: Postings) -> list[Ranked]:
    """Rank passages by the terms of a question; the best first, of equal ones the newest.

    Args:
        terms: Of the question, in order, as often as they count.
        count: How many messages stand before the question; places of messages are below it.
        postings: Of what left the window.
    """
    counts = Counter(terms)
    hashes = {term_hash(term): counts[term] for term in asked_terms(counts)}
    if not hashes:
        return []
    found: dict[int, dict[Place, Posting]] = {term: {} for term in hashes}
    for posting in postings.newest([*hashes], MOST_POSTINGS):
        found[posting.term][posting.message, posting.passage] = posting
    weights = {term: hashes[term] * _weight(list(each), count) for term, each in found.items()}
    candidates = _candidates(found, weights)
    # Of a term that has fewer postings all are known, else all from its oldest on that was read.
    oldest = {term: next(reversed(each)) for term, each in found.items() if len(each) == MOST_POSTINGS}
    unknown = [place for place in candidates if place < max(oldest.values(), default=place)]
    for posting in postings.look_up(tuple(oldest), unknown) if unknown else ():
        found[posting.term][posting.message, posting.passage] = posting
    return _ranked(candidates, found, weights)


def _weight(places: Sequence[Place], count: int) -> float:
    """Return how much a term says that has these newest places: BM25's inverse document frequency.

    Robertson and Zaragoza 2009, kept positive by adding 1: ln(1 + (N - n + 0.5) / (n + 0.5)). Of a term with more
    postings than are read, N is how far they reach back, in messages.
    """
    n = len(places)
    reach = count - places[-1][0] if n == MOST_POSTINGS else count
    return math.log((max(reach, n) + 1) / (n + 0.5))


def _candidates(found: Mapping[int, Iterable[Place]], weights: Mapping[int, float]) -> list[Place]:
    """Return the first passages that have a term, those of the rarest term first."""
    rarest_first = sorted(found, key=weights.__getitem__, reverse=True)
    return list(islice(dict.fromkeys(chain.from_iterable(found[term] for term in rarest_first)), MOST_CANDIDATES))


def _ranked(
    candidates: Sequence[Place], found: Mapping[int, Mapping[Place, Posting]], weights: Mapping[int, float]
) -> list[Ranked]:
    own, covered = dict.fromkeys(candidates, 0.0), dict.fromkeys(candidates, 0.0)
    for term, weight in weights.items():
        for place, posting in found[term].items():
            if place in own:
                own[place] += _score(posting, weight)
                covered[place] += weight
    best: dict[int, float] = defaultdict(float)  # of each message
    for (message, _), score in own.items():
        best[message] = max(best[message], score)
    least = COVERAGE * sum(weights.values())
    matching = [place for place in candidates if covered[place] >= least]
    near = {(message, max(0, passage + step)) for message, passage in matching for step in (-1, 0, 1)}
    ranked = []
    for message, passage in near:
        beside = best.get(message - 1, 0.0) + best.get(message + 1, 0.0)
        inside = own.get((message, passage - 1), 0.0) + own.get((message, passage + 1), 0.0)
        score = own.get((message, passage), 0.0) + BESIDE * beside + INSIDE * inside
        ranked.append(Ranked(message, passage, round(score, _DIGITS)))
    return sorted(ranked, key=lambda each: (-each.score, -each.message, each.passage))


def _score(posting: Posting, weight: float) -> float:
    """Return what a term adds to the score of a passage that has it."""
    frequency = posting.frequency
    longer = 1 - B + B * posting.length / LENGTH
    return weight * frequency * (K1 + 1) / (frequency + K1 * longer)
