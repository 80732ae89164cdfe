"""What a message says, in pieces that can be compared with a question and quoted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from langchain_tokenbuffer._messages.data import is_data
from langchain_tokenbuffer._messages.kinds import kind_of
from langchain_tokenbuffer._messages.texts import texts_of
from langchain_tokenbuffer._recall.quotation import without_quotation
from langchain_tokenbuffer._recall.terms import terms_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage

RECALL_RULE = 1
"""The number of the rule that makes passages and terms of messages; bound to what is stored of them."""
LONGEST = 350
"""The most letters of a passage."""
WIDER = 2
"""By so much a Chinese, Japanese or Korean letter counts more than another: it says as much as a syllable or a word,
and its tokens are as many."""
_WIDE = re.compile("[\u1100-\u11ff\u2e80-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
MOST = 1 << 10
"""So many passages of one message are found; it has about 350,000 letters then."""


class Passage(NamedTuple):
    """A piece of a message, and its terms."""

    text: str
    terms: tuple[str, ...]


def passages_of(message: BaseMessage) -> list[str]:
    """Return what a message says, in pieces of at most `LONGEST` letters: the first `MOST` of them.

    A piece ends where a sentence does, else a line, else a word, as far as it can. These are the texts that may be
    shortened, in any dialect: results and documents are among them, not so names, arguments, thinking and files. What a
    question quotes is left out: it was said elsewhere. So is what system messages say: they tell the model what to do.
    """
    return [piece.strip() for piece in pieces_of(message)]


def pieces_of(message: BaseMessage) -> list[str]:
    """Return the same with the space around them: those that follow each other are what the message says there."""
    found: list[str] = []
    if kind_of(message) == "system":
        return found
    for text in texts_of(without_quotation(message)).values():
        for piece in _pieces(text if isinstance(text, str) and not is_data(text) else ""):
            if len(found) == MOST:
                return found
            found.append(piece)
        found[-1:] = [f"{piece}\n" for piece in found[-1:]]  # the next one is of another text
    return found


def read_passages(message: BaseMessage) -> list[Passage]:
    """Return the same with their terms."""
    return [Passage(text, tuple(terms_of(text))) for text in passages_of(message)]


_ENDS = tuple(
    re.compile(rf"(?s:.*){end}")
    for end in (r"(?:[.!?…][\"')\]»”’]*(?=\s)|[。！？．]+[」』”’）]*|\n)", r"[,;:，；：、](?=\s|[^\x00-\xff])", r"\s")
)
"""Where a piece may end, the best first: each finds its last place in a text."""
_LEAST = LONGEST // 3


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = start + _fitting(text[start : start + LONGEST])
        if end < len(text):
            end = next((at for each in _ENDS if (at := _last(each, text, start, end)) - start > _LEAST), end)
        if (piece := text[start:end]).strip():
            yield piece
        start = end


def _fitting(text: str) -> int:
    """Return how many of the first letters of a text may be a piece, of all those given at most."""
    most = len(text)
    while (width := most + WIDER * len(_WIDE.findall(text, 0, most))) > LONGEST:
        most = most * LONGEST // width
    return most


def _last(end: re.Pattern[str], text: str, start: int, stop: int) -> int:
    found = end.match(text, start, stop)
    return found.end() if found else start
