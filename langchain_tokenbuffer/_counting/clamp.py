"""Shortening one message that does not fit: the beginning and the end stay, around a marker.

Only texts that the table of block types allows are shortened. Tool-call arguments, thinking, images and files stay:
their providers check them, or they would mean something else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from langchain_tokenbuffer._counting.count_cache import Excerpt
from langchain_tokenbuffer._messages.blocks import block_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._counting.count_cache import CountCache
    from langchain_tokenbuffer._counting.tokenizers import TiktokenText


class Counter(Protocol):
    """What is asked of a `TokenCounter`."""

    @property
    def count_cache(self) -> CountCache: ...

    @property
    def tokenizer(self) -> TiktokenText | None: ...

    def keys(self, messages: Sequence[BaseMessage], /) -> list[int]: ...

    def tokens(self, messages: Sequence[BaseMessage], /) -> list[int]: ...


def clamp(message: BaseMessage, tokens: int, counter: Counter) -> BaseMessage:
    """Return a copy of a message whose texts are shortened until it costs at most `tokens`.

    Law: it costs at most `tokens`, provided that is at least `min_tokens(message)`. Texts are cut on token boundaries
    where the counter has an encoding, else between characters, and never between the two halves of a surrogate pair.
    The biggest texts are shortened first.
    """
    key = (counter.keys([message])[0], tokens)
    excerpts = counter.count_cache.excerpts.get(key)
    if excerpts is None:
        excerpts = _excerpts(message, tokens, counter)
        counter.count_cache.store_excerpts(key, excerpts)
    return _shortened(message, excerpts)


def min_tokens(message: BaseMessage, counter: Counter) -> int:
    """Return the fewest tokens to which a message can be clamped; taken once, like its tokens."""

    def least() -> int:
        full = counter.tokens([message])[0]
        excerpts = _Texts(message, counter).excerpts(0, full)
        return min(full, counter.tokens([_shortened(message, excerpts)])[0])

    key = hash((counter.keys([message])[0], "min_tokens"))
    return counter.count_cache.counted(key, least)


_MAX_JOIN_GAIN = 16
"""More than what a text gains where it is joined, in tokens or characters. Only an excerpt that leaves nearly all of a
text may be longer than it, so only such are measured; the whole message is, in any case."""


def _excerpts(message: BaseMessage, tokens: int, counter: Counter) -> dict[int, Excerpt]:
    full = counter.tokens([message])[0]
    if full <= tokens:
        return {}
    texts = _Texts(message, counter)
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


def _shortened(message: BaseMessage, excerpts: dict[int, Excerpt]) -> BaseMessage:
    content = message.content
    blocks: list[Any] = [content] if isinstance(content, str) else list(content)
    for index, excerpt in excerpts.items():
        block = blocks[index]
        if isinstance(block, str):
            blocks[index] = _joined(block, excerpt)
        else:
            key = block_type(block).text_keys[0]
            blocks[index] = {**block, key: _joined(block[key], excerpt)}
    shortened = blocks[0] if isinstance(content, str) else blocks
    return message.model_copy(update={"content": shortened})


def _joined(text: str, excerpt: Excerpt) -> str:
    head, tail = text[: excerpt.head], text[excerpt.tail :]
    marker = _marker(excerpt.omitted)
    return f"{head}\n{marker}\n{tail}" if head or tail else marker


class _Texts:
    """The texts of one message that may be shortened, by block."""

    def __init__(self, message: BaseMessage, counter: Counter) -> None:
        content = message.content
        self._texts = {
            index: text
            for index, block in enumerate([content] if isinstance(content, str) else content)
            if (text := _text_of(block))
        }
        # One unit for all texts of a message: levels in tokens and in characters do not compare.
        self._tokenizer = counter.tokenizer if all(map(_is_whole, self._texts.values())) else None
        self.in_tokens = self._tokenizer is not None  # lengths and levels; else they are characters
        self._lengths = {index: self._length(text) for index, text in self._texts.items()}
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

    def excerpts(self, level: int, saved: int) -> dict[int, Excerpt]:
        """Return the excerpts that shorten texts of more than `level` to that, with the marker.

        `saved` is what the marker says was omitted where tokens cannot be counted.
        """
        excerpts = {}
        for index, text in self._texts.items():
            length = self._lengths[index]
            if length <= level:
                continue
            marker = self._length(_marker(length))
            kept = max(0, level - marker)
            omitted = length - kept if self.in_tokens else max(1, saved)
            excerpt = Excerpt(*self._ends(text, kept), omitted)
            if not kept:  # the marker alone: the same texts gain by it whatever it says
                shown = marker
            elif level + _MAX_JOIN_GAIN < length:
                shown = level
            else:
                shown = self._length(_joined(text, excerpt))
            if shown < length:
                excerpts[index] = excerpt
        return excerpts

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


def _text_of(block: object) -> str:
    if isinstance(block, str):
        return block
    row = block_type(block)
    text = block.get(row.text_keys[0]) if isinstance(block, dict) and row.can_shorten else ""
    return text if isinstance(text, str) else ""


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
