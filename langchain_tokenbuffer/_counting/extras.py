"""Vocabularies that packages of their own bring: found without importing them, loaded at the first text."""

from __future__ import annotations

import importlib.resources
import importlib.util
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from langchain_tokenbuffer._counting.count_cache import cache_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_tokenbuffer._counting.families import Own
    from langchain_tokenbuffer._counting.tokenizers import ScaledText, TiktokenText


@dataclass(frozen=True)
class Extra:
    """An extra of this package, and what its package does."""

    package: str  # that is imported
    load: Callable[[str], Callable[[str], int]]  # one of its vocabularies, as what counts a text
    needs: str = ""  # what it needs beside itself


def _claude(edition: str) -> Callable[[str], int]:
    from ctok import token_count  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # an extra

    frame = token_count("a", edition) - 1  # what is put around a message
    return lambda text: token_count(text, edition) - frame


def _mistral(edition: str) -> Callable[[str], int]:
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    path = importlib.resources.files("mistral_common") / "data" / edition
    encode = Tekkenizer.from_file(str(path)).encode
    return lambda text: len(encode(text, bos=False, eos=False))


def _open(edition: str) -> Callable[[str], int]:
    from splintr import Tokenizer  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    encode = Tokenizer.from_pretrained(edition).encode_ordinary
    return lambda text: len(encode(text))


EXTRAS = {
    "claude": Extra("ctok", _claude, "Python 3.12 or newer"),
    "mistral": Extra("mistral_common", _mistral),
    "open": Extra("splintr", _open),
}


def is_installed(extra: str) -> bool:
    """Tell whether the package of an extra is there."""
    return importlib.util.find_spec(EXTRAS[extra].package) is not None


class OwnText:
    """Counts with a model's own vocabulary; a text that is too long for it, by the estimate.

    Law: it raises on no text. Where the package finds fault with one, the estimate counts it.
    """

    def __init__(self, own: Own, estimate: ScaledText) -> None:
        self._own = own
        self._estimate = estimate
        self._counted = cache_named("texts", *own)

    @property
    def tokenizer(self) -> TiktokenText:
        """What cuts texts: the borrowed encoding, on whose boundaries a shortened text is counted anew."""
        return self._estimate.tokenizer

    def __call__(self, text: str) -> int:
        if not text:
            return 0
        if len(text) > MOST_LETTERS:
            return self._estimate(text)
        return self._counted.counted(hash(text), lambda: self._count(text))

    def _count(self, text: str) -> int:
        try:
            return max(1, _loaded(*self._own)(text))
        except Exception:  # noqa: BLE001  # whatever it does not know
            return self._estimate(text)


@cache
def _loaded(extra: str, edition: str) -> Callable[[str], int]:
    return EXTRAS[extra].load(edition)


MOST_LETTERS = 200_000
"""Longer texts are estimated: `ctok` takes about a second for so many."""
