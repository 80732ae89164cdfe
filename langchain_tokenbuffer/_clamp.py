"""Shortening one message that does not fit: the beginning and the end stay, around a marker.

Only texts are shortened. Tool-call arguments, thinking, images and files are left as they are:
their providers check them, or they would mean something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from langchain_tokenbuffer._window import shrink

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._pricing import Tokenizer
    from langchain_tokenbuffer.counters import TokenCounter


def clamp(message: BaseMessage, size: int, counter: TokenCounter) -> BaseMessage:
    """Return a copy of a message whose texts are shortened until it costs at most `size` tokens.

    Law: it costs at most `size`, provided that is at least `smallest(message)`. Texts are cut on
    token boundaries where the counter has an encoding, else between characters, and never between
    the two halves of a surrogate pair. The biggest texts are shortened first.

    Args:
        message: Left as it is.
        size: Tokens the copy may cost.
        counter: What counts.
    """
    key = (counter.keys([message])[0], size)
    shortened = _shortened.setdefault(counter.memory, {})
    content = shortened.get(key)
    if content is None:
        if len(shortened) >= _REMEMBERED:
            shortened.clear()
        content = shortened[key] = _shorten(message, size, counter).content
    return message.model_copy(update={"content": content})


_REMEMBERED = 256
_shortened: WeakKeyDictionary[object, dict[tuple[int, int], str | list[str | dict[Any, Any]]]] = (
    WeakKeyDictionary()
)
"""Shortened contents by tokenizer, then by message and size: a window that holds still shows the
same clamped message in every call, and its text is not tokenized again for it."""


def _shorten(message: BaseMessage, size: int, counter: TokenCounter) -> BaseMessage:
    full = _price(message, counter)
    if full <= size:
        return message
    texts = _Texts(message, counter)
    low, high = 0, max(texts.lengths, default=0)
    if counter.tokenizer is not None:
        # A text's tokens are what it costs, so the level can be computed. What the seams between
        # head, marker and tail cost more is found by counting.
        level = max(shrink(texts.lengths, [0] * len(texts.lengths), full - size), default=0)
        while level > 0:
            shortened = texts.at(level, full - size)
            over = _price(shortened, counter) - size
            if over <= 0:
                return shortened
            level -= over
        return texts.at(0, full - size)
    while low + 1 < high:
        level = (low + high) // 2
        if _price(texts.at(level, full - size), counter) <= size:
            low = level
        else:
            high = level
    return texts.at(low, full - size)


def smallest(message: BaseMessage, counter: TokenCounter) -> int:
    """Return the smallest size, in tokens, to which a message can be clamped."""
    full = _price(message, counter)
    return min(full, _price(_Texts(message, counter).at(0, full), counter))


def _price(message: BaseMessage, counter: TokenCounter) -> int:
    return counter.prices([message], counter.keys([message]))[0]


class _Piece(NamedTuple):
    """A text in the unit it is cut in: tokens, or characters."""

    length: int
    cut: Callable[[int], tuple[str, str]]  # how many to keep -> head, tail


class _Texts:
    """The texts of one message that may be shortened, and the message with them shortened."""

    def __init__(self, message: BaseMessage, counter: TokenCounter) -> None:
        self._message = message
        content = message.content
        self._blocks = [content] if isinstance(content, str) else list(content)
        self._tokenizer = counter.tokenizer
        self._pieces: dict[int, _Piece] = {}
        for index, block in enumerate(self._blocks):
            text = block if isinstance(block, str) else _text_of(block)
            if text:
                self._pieces[index] = _piece(text, self._tokenizer)
        self.lengths = [piece.length for piece in self._pieces.values()]

    def at(self, level: int, saved: int) -> BaseMessage:
        """Return the message with every text of more than `level` shortened to that.

        Args:
            level: Tokens, or characters where the counter has no encoding; with the marker.
            saved: What the marker says was left out where tokens cannot be counted.
        """
        blocks: list[object] = list(self._blocks)
        for index, piece in self._pieces.items():
            if piece.length <= level:
                continue
            kept = max(0, level - self._unit(_marker(piece.length)))
            left_out = piece.length - kept if self._tokenizer else max(1, saved)
            head, tail = piece.cut(kept)
            marker = _marker(left_out)
            text = f"{head}\n{marker}\n{tail}" if head or tail else marker
            block = self._blocks[index]
            if self._unit(text) < piece.length:
                blocks[index] = text if isinstance(block, str) else {**block, "text": text}
        content = blocks[0] if isinstance(self._message.content, str) else blocks
        return self._message.model_copy(update={"content": content})

    def _unit(self, text: str) -> int:
        return len(self._tokenizer.encode(text)) if self._tokenizer else len(text)


def _marker(left_out: int) -> str:
    return f"[... {left_out} tokens omitted ...]"


def _text_of(block: object) -> str:
    if isinstance(block, dict) and block.get("type") == "text":
        text = block.get("text")
        return text if isinstance(text, str) else ""
    return ""


def _piece(text: str, tokenizer: Tokenizer | None) -> _Piece:
    if tokenizer is None or not _is_whole(text):
        return _Piece(len(text), lambda kept: _by_characters(text, kept))
    ids = tokenizer.encode(text)

    def cut(kept: int) -> tuple[str, str]:
        head, tail = ids[: (kept + 1) // 2], ids[len(ids) - kept // 2 :]
        return tokenizer.decode(head), tokenizer.decode(tail)

    return _Piece(len(ids), cut)


def _is_whole(text: str) -> bool:
    """Tell whether the text has no lone surrogates, so that its tokens spell it exactly."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _by_characters(text: str, kept: int) -> tuple[str, str]:
    head, tail = (kept + 1) // 2, len(text) - kept // 2
    if 0 < head < len(text) and _is_pair(text, head):
        head -= 1
    if 0 < tail < len(text) and _is_pair(text, tail):
        tail += 1
    return text[:head], text[tail:]


def _is_pair(text: str, at: int) -> bool:
    return "\ud800" <= text[at - 1] <= "\udbff" and "\udc00" <= text[at] <= "\udfff"
