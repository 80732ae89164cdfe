"""Shortening one message that does not fit: of its texts the beginning and the end stay, around a marker.

Structure stays, and all that `_messages.texts` does not name. JSON stays JSON: the texts in it are shortened, and where
that is not enough a value becomes `{"excerpt": ...}`, its own text shortened.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._counting.count_cache import Excerpt
from langchain_tokenbuffer._counting.tools import as_json, as_text
from langchain_tokenbuffer._messages.data import around
from langchain_tokenbuffer._messages.texts import texts_of, with_changes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._counting.message_counters import MessageCounter
    from langchain_tokenbuffer._messages.texts import Path


def clamp(message: BaseMessage, tokens: int, counter: MessageCounter) -> BaseMessage:
    """Return a copy of a message whose texts are shortened until it costs at most `tokens`.

    Law: it costs at most `tokens`, provided that is at least `min_tokens(message)`. Texts are cut on token boundaries
    where the counter has an encoding, else between characters, never between the two halves of a surrogate pair, and
    never inside an encoded file. The biggest texts are shortened first.
    """
    key = (counter.keys([message])[0], tokens)
    excerpts = counter.count_cache.excerpts.get(key)
    if excerpts is None:
        excerpts = _excerpts(message, tokens, counter)
        counter.count_cache.store_excerpts(key, excerpts)
    return _shortened(message, excerpts)


def min_tokens(message: BaseMessage, counter: MessageCounter) -> int:
    """Return the fewest tokens to which a message can be clamped; taken once, like its tokens."""

    def least() -> int:
        full = counter.tokens([message])[0]
        smallest = (_shortened(message, texts.excerpts(0, full)) for texts in _ways(message, counter))
        return min(full, *(counter.tokens([each])[0] for each in smallest))

    key = hash((counter.keys([message])[0], "min_tokens"))
    return counter.count_cache.counted(key, least)


_MAX_JOIN_GAIN = 16
"""More than what a text gains where it is joined, in tokens or characters. Only an excerpt that leaves nearly all of a
text may be longer than it, so only such are measured; the whole message is, in any case."""


def _excerpts(message: BaseMessage, tokens: int, counter: MessageCounter) -> dict[Path, Excerpt]:
    full = counter.tokens([message])[0]
    excerpts: dict[Path, Excerpt] = {}
    for texts in _ways(message, counter) if tokens < full else ():
        excerpts = _longest(texts, message, tokens, counter)
        if counter.tokens([_shortened(message, excerpts)])[0] <= tokens:
            break
    return excerpts


def _ways(message: BaseMessage, counter: MessageCounter) -> Iterator[_Texts]:
    """Yield what may be shortened: first each text; if there is JSON, then that as one text."""
    texts, with_json = texts_of(message), texts_of(message, whole_json=True)
    yield _Texts(texts, message, counter)
    if with_json.keys() != texts.keys():
        yield _Texts({path: as_text(value) for path, value in with_json.items()}, message, counter)


def _longest(texts: _Texts, message: BaseMessage, tokens: int, counter: MessageCounter) -> dict[Path, Excerpt]:
    """Return the longest excerpts with which a message costs at most `tokens`; the shortest if none are so short."""
    full = counter.tokens([message])[0]
    # At `low` the message costs at most `tokens`, at `high` more.
    low, high = 0, texts.longest
    if texts.in_tokens:
        high = min(high, tokens + 1)  # no text costs less than its tokens
    # Each try tokenizes the text again, and the level is next to where the lengths add up, so the search begins there
    # and goes away from it in growing steps.
    level, step = texts.level(full, tokens), 1
    while low + 1 < high:
        if not low < level < high:
            level = (low + high) // 2
        tried = _shortened(message, texts.excerpts(level, full - tokens))
        if counter.tokens([tried])[0] <= tokens:
            low, level = level, level + step
        else:
            high, level = level, level - step
        step *= 2
    return texts.excerpts(low, full - tokens)


def _shortened(message: BaseMessage, excerpts: dict[Path, Excerpt]) -> BaseMessage:
    return with_changes(message, excerpts, _excerpted)


def _excerpted(value: Any, excerpt: Excerpt) -> Any:
    return _joined(value, excerpt) if isinstance(value, str) else {"excerpt": _joined(as_json(value), excerpt)}


def _joined(text: str, excerpt: Excerpt) -> str:
    head, tail = text[: excerpt.head], text[excerpt.tail :]
    marker = _marker(excerpt.omitted)
    return f"{head}\n{marker}\n{tail}" if head or tail else marker


class _Texts:
    """The texts of one message that may be shortened, by their paths."""

    def __init__(self, texts: dict[Path, str], message: BaseMessage, counter: MessageCounter) -> None:
        self._texts, self._message, self._counter = texts, message, counter
        # One unit for all texts of a message: levels in tokens and in characters do not compare.
        self._tokenizer = counter.tokenizer if all(map(_is_whole, texts.values())) else None
        self.in_tokens = self._tokenizer is not None  # lengths and levels; else they are characters
        self._lengths = {path: self._length(text) for path, text in texts.items()}
        self.longest = max(self._lengths.values(), default=0)

    def level(self, full: int, tokens: int) -> int:
        """Return about the level at which a message of `full` tokens costs `tokens`."""
        lengths = sorted(self._lengths.values())
        room = sum(lengths)
        room = room + tokens - full if self.in_tokens else room * tokens // full
        for place, length in enumerate(lengths):
            longer = len(lengths) - place
            if room <= longer * length:
                return room // longer
            room -= length
        return 0

    def excerpts(self, level: int, saved: int) -> dict[Path, Excerpt]:
        """Return the excerpts that shorten texts of more than `level` to that, with the marker.

        `saved` is what the marker says was omitted where tokens cannot be counted.
        """
        excerpts = {}
        for path, text in self._texts.items():
            length = self._lengths[path]
            if length <= level:
                continue
            marker = self._length(_marker(length))
            kept = max(0, level - marker)
            head, tail = self._ends(text, kept)
            outside = around(text, head)[0], around(text, tail)[1]
            if outside != (head, tail):
                head, tail = outside
                kept = self._length(text[:head]) + self._length(text[tail:])
            omitted = length - kept if self.in_tokens else max(1, saved)
            excerpt = Excerpt(head, tail, omitted)
            if not kept:  # the marker alone: the same texts gain by it whatever it says
                gains = path in self._above_marker
            else:
                gains = level + _MAX_JOIN_GAIN < length or self._length(_joined(text, excerpt)) < length
            if gains:
                excerpts[path] = excerpt
        return excerpts

    @cached_property
    def _above_marker(self) -> set[Path]:
        """The paths of the texts that cost more than the marker alone.

        Where lengths are in characters the counter says so: a text shorter than its marker may have more words.
        """
        if self.in_tokens:
            return {path for path, length in self._lengths.items() if self._length(_marker(length)) < length}
        if len(self._texts) == 1:
            return set(self._texts)  # the whole message tells
        marker = _marker(self._counter.tokens([self._message])[0])
        alone = [self._message.model_copy(update={"content": text}) for text in (marker, *self._texts.values())]
        least, *tokens = self._counter.tokens(alone)
        return {path for path, each in zip(self._texts, tokens, strict=True) if each > least}

    def _length(self, text: str) -> int:
        return self._tokenizer(text) if self._tokenizer else len(text)

    def _ends(self, text: str, kept: int) -> tuple[int, int]:
        """Return where the head ends and the tail begins if so much of a text is kept."""
        head, tail = (kept + 1) // 2, kept // 2
        if self._tokenizer is not None:
            first = self._tokenizer.part(text, head, last=False) if head else []
            last = self._tokenizer.part(text, tail, last=True) if tail else []
            decode = self._tokenizer.decode
            return len(decode(first)), len(text) - len(decode(last))
        tail = len(text) - tail
        return head - _is_in_pair(text, head), tail + _is_in_pair(text, tail)


def _marker(omitted: int) -> str:
    return f"[... {omitted} tokens omitted ...]"


def _is_whole(text: str) -> bool:
    """Tell whether the text has no lone surrogates, so that its tokens spell it exactly."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def _is_in_pair(text: str, at: int) -> bool:
    """Tell whether a cut would fall between the two halves of a surrogate pair."""
    return _PAIR.fullmatch(text[max(0, at - 1) : at + 1]) is not None
