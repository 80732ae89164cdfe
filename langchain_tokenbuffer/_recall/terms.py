"""The terms that texts are compared by: stems of words, and pairs of letters where words are not set apart.

A text does not say which language it is in, so nothing guesses: what a word is made of, its script, says how it is
stemmed. Latin letters are read as English.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import threading
import unicodedata
from functools import cache, lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING

from langchain_tokenbuffer._recall.base_forms import BASE_FORMS
from langchain_tokenbuffer._recall.stop_words import STOP_PAIRS, STOP_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SNOWBALL = "snowballstemmer"
STEMMER = "snowball" if importlib.util.find_spec(_SNOWBALL) else "simple"
"""What makes the stems. Terms that one has made are not to be compared with those of the other."""

_HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\u30a0-\u30ff\u31f0-\u31ff"
"""Chinese letters, Japanese ones among them, and katakana."""
_HIRAGANA = "\u3041-\u309f"
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
_PAIRED = _HANGUL + _HAN + _HIRAGANA + _UNSPACED
_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0962-\u0963\u0981-\u0dff"
)
_LETTER = rf"[^\W_{_PAIRED}]"
_RUNS = re.compile(
    rf"(?P<word>{_LETTER}+(?:[{_MARKS}]+{_LETTER}*)*)|[{_HAN}]+|[{_HANGUL}]+|[{_HIRAGANA}]+|[{_UNSPACED}]+"
)
_ASCII_WORDS = re.compile(r"[a-z0-9]+")
_SHORT_PARTS = re.compile(r"\b(?:[a-z]{1,2}-[a-z]+|[a-z]+-[a-z]{1,2})\b")
"""Words that some write as one: e-mail, check-in."""
_PARTICLES = re.compile("[的了吗嘛呢吧啊是在和与及我你他她它]")
"""Chinese words of one letter that belong to no other: no pair reaches across them."""

_KOREAN_ENDING = re.compile(
    "(?:(?<=.)(?:에서는|에서도|에서|에게|한테|으로|부터|까지|처럼|보다|이랑|하고|께서|입니다|이에요|예요|이야|인가요|이었죠|였죠|이고|이며)"
    "|(?<=..)[은는이가을를의에도로만와과야요])$"
)
"""Particles behind a Korean word, which would make other pairs of it. A word of two letters is left alone."""

_LONGEST = 64  # letters of a word that are compared
_SCRIPTS = (
    ("\u0370", "english"),
    ("\u0400", "greek"),
    ("\u0530", "russian"),
    ("\u0590", "armenian"),
    ("\u0600", ""),
    ("\u0700", "arabic"),
    ("\u0900", ""),
    ("\u0980", "hindi"),
    ("\u0b80", ""),
    ("\u0c00", "tamil"),
    ("\u1e00", ""),
    ("\u1f00", "english"),
    ("\u2000", "greek"),
)
"""Up to which letter, without it, a word's first one may lie for its algorithm of Snowball's."""


def terms_of(text: str) -> list[str]:
    """Return the terms of a text, in order, as often as they stand in it.

    They are words, casefolded, without accents, stemmed and without stop words; of Chinese, Japanese, Korean and
    Southeast Asian letters each two that follow each other. Behind them stand words with a hyphen that some write as
    one. A function of the text and of `STEMMER`.
    """
    if text.isascii():
        text = text.lower()
        found = [_term(word) for word in _ASCII_WORDS.findall(text)]
    else:
        text = unicodedata.normalize("NFKC", text).casefold()
        found = list(_terms(text))
    found += [_term(word.replace("-", "")) for word in _SHORT_PARTS.findall(text)]
    return [term for term in found if term]


def _terms(text: str) -> Iterator[str]:
    for run in _RUNS.finditer(text):
        if run["word"]:
            yield _term(run[0])
        else:
            yield from _pairs(run[0])


def _pairs(run: str) -> Iterator[str]:
    if "\uac00" <= run[-1] <= "\ud7a3":
        run = _KOREAN_ENDING.sub("", run)
    for part in _PARTICLES.split(run):
        if len(part) == 1 and part not in STOP_PAIRS and not "\u3041" <= part <= "\u309f":
            yield part
        for pair in map("".join, pairwise(part)):
            if pair not in STOP_PAIRS:
                yield pair


@lru_cache(maxsize=1 << 16)
def _term(word: str) -> str:
    """Return the term of a casefolded word; an empty one of a stop word."""
    word = BASE_FORMS.get(word, word)[:_LONGEST]
    if word in STOP_WORDS:
        return ""
    if any(map(str.isdigit, word)):
        return word
    language = next((language for end, language in _SCRIPTS if word < end), "")
    if language == "english":
        word = _without_accents(word)
    return _stem(word, language) if language else word


def _without_accents(word: str) -> str:
    if word.isascii():
        return word
    return "".join(each for each in unicodedata.normalize("NFD", word) if not unicodedata.combining(each))


_stemming = threading.Lock()  # Snowball's stemmers hold the word they work on


def _stem(word: str, language: str) -> str:
    if STEMMER == "simple":
        return _simple_stem(word) if language == "english" else word
    with _stemming:
        return _snowball(language)(word)


@cache
def _snowball(language: str) -> Callable[[str], str]:
    stem: Callable[[str], str] = importlib.import_module(_SNOWBALL).stemmer(language).stemWord
    return stem


_ENDINGS = re.compile(r"(?<=[a-z]{3})(?:ies|(?<![su])s|ing|ed|ly|er|y|e)$")


def _simple_stem(word: str) -> str:
    """Take the commonest English endings off, one behind the other; what stays need not be a word."""
    if word.endswith("sses"):
        word = word[:-2]
    for _ in range(2):
        word = _ENDINGS.sub("", word)
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] not in "aeiouls" else word  # noqa: PLR2004


@lru_cache(maxsize=1 << 16)
def term_hash(term: str) -> int:
    """Return a signed number of 64 bits that stands for a term, the same in every process."""
    digest = blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
