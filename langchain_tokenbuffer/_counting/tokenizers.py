"""How a text is counted: any text, without an error, in bounded time, never as nothing."""

from __future__ import annotations

import inspect
import itertools
import re
import warnings
from typing import TYPE_CHECKING, Any, Protocol

from langchain_tokenbuffer import vocabularies
from langchain_tokenbuffer._counting.count_cache import cache_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_tokenbuffer._counting.estimates import Estimate


class Encoder(Protocol):
    """A tokenizer object: `tiktoken`'s, `tokenizers`' or `transformers`'."""

    def encode(self, text: str, /) -> Any: ...

    def decode(self, ids: Any, /) -> str: ...


class CountText(Protocol):
    """Text to tokens: at least one for a text that is not empty, and never an error."""

    @property
    def tokenizer(self) -> TiktokenText | None: ...

    def __call__(self, text: str) -> int: ...


class TiktokenText:
    """Counts with an encoding of tiktoken; special tokens are text like any other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._encode: Callable[[str], list[int]] | None = None
        self._counted = cache_named("texts", name)

    @property
    def tokenizer(self) -> TiktokenText:
        return self

    def encode(self, text: str) -> list[int]:
        encode = self._encode
        if encode is None:
            encode = self._encode = vocabularies.load(self._name).encode_ordinary
        if len(text) <= _LONG:
            return encode(text)
        return list(itertools.chain.from_iterable(encode(piece) for piece, _ in _pieces(text)))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens; nothing for a character that is cut in two."""
        return vocabularies.load(self._name).decode_bytes(ids).decode(errors="ignore")

    def part(self, text: str, n: int, *, last: bool) -> list[int]:
        """Return the first or the last `n` tokens, at least one; a long text is not tokenized whole."""
        kept = slice(-n, None) if last else slice(n)
        letters = n * _LETTERS
        while letters < len(text) and (place := _END_OF_TOKEN.search(text, len(text) - letters if last else letters)):
            ids = self.encode(text[place.start() :] if last else text[: place.start()])
            if len(ids) >= n:
                return ids[kept]
            letters *= 2
        return self.encode(text)[kept]

    def __call__(self, text: str) -> int:
        if len(text) < _REMEMBERED_FROM:
            return len(self.encode(text)) if text else 0
        return self._counted.counted(hash(text), lambda: _bounded(text, lambda piece: len(self.encode(piece))))


class ScaledText:
    """Counts with an encoding that is borrowed for one that cannot be had, by an estimate."""

    def __init__(self, text: TiktokenText, estimate: Estimate) -> None:
        self.tokenizer = text
        self._estimate = estimate

    def __call__(self, text: str) -> int:
        return self._estimate(text, self.tokenizer(text)) if text else 0


class EncoderText:
    """Counts with a tokenizer object, without what it puts around every text.

    It has no `tokenizer`: what such an object decodes need not be the text it encoded.
    """

    tokenizer = None

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._options: dict[str, Any] = {"add_special_tokens": False}

    def __call__(self, text: str) -> int:
        if not text:
            return 0
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return max(1, _bounded(whole, self._length))

    def _length(self, text: str) -> int:
        encode = getattr(self._encoder, "encode_ordinary", None)  # tiktoken's
        if encode is not None:
            return len(encode(text))
        try:
            ids = self._encoder.encode(text, **self._options)
        except TypeError:
            self._options = {}  # one that knows no special tokens
            ids = self._encoder.encode(text)
        return len(getattr(ids, "ids", ids))


class FunctionText:
    """Counts with a `custom_get_token_ids` or a model's own `get_num_tokens`.

    A text it refuses, as tiktoken does `<|endoftext|>`, counts with the fallback encoding.
    """

    tokenizer = None

    def __init__(self, count: Callable[[str], Any], what: str) -> None:
        self._count = count
        self._what = what
        self._instead = TiktokenText(vocabularies.FALLBACK)
        self._has_warned = False

    def __call__(self, text: str) -> int:
        if not text:
            return 0
        try:
            count = self._count(text)
        except ValueError as error:  # special tokens, lone surrogates
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(
                    f"{self._what} refused a text ({error!s:.200}); such texts count with "
                    f"{vocabularies.FALLBACK!r} instead.",
                    stacklevel=2,
                )
            return self._instead(text)
        return max(checked(count, self._what), 1)


def checked(count: Any, what: str) -> int:
    """Return a count that is one; an error that names what returned it if it is no int, or negative."""
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        if inspect.iscoroutine(count):
            count.close()
        kind = "None" if count is None else type(count).__name__
        msg = f"token_counter must return an int; {what} returned {count!r} ({kind})"
        raise TypeError(msg)
    if count < 0:
        msg = f"token_counter must not return a negative count; {what} returned {count}"
        raise ValueError(msg)
    return int(count)


# tiktoken's regex overflows its stack on a million blanks, and a word of ten million letters takes it many seconds.
# Longer texts are taken in pieces, cut where every encoding of OpenAI's ends a word, so that the count stays exact;
# only runs without such a place count a little high.
_LONG = 500_000
_REMEMBERED_FROM = 1_000
_LETTERS = 6  # of a token, or more than most have
_PIECE = 1 << 12
_END_OF_WORD = re.compile(r"(?<=[^\W\d_])(?=[ \n,.;:\u3001\u3002\uff0c\uff1a\uff1b])")
_END_OF_TOKEN = re.compile(_END_OF_WORD.pattern.replace(r"\d", ""))  # of a number, too
_MAX_COUNTED = 2_500_000
_SURROGATE = re.compile("[\ud800-\udfff]")


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the text in pieces, and of each whether it had to be cut inside a run."""
    start = 0
    while len(text) - start > _PIECE:
        place = _END_OF_WORD.search(text, start + _PIECE, start + 2 * _PIECE)
        end = place.start() if place else start + _PIECE
        yield text[start:end], place is None
        start = end
    yield text[start:], False


def _bounded(text: str, count: Callable[[str], int]) -> int:
    """Count a text, a long one in at most a second or two.

    Ten megabytes of prose are 2.3 million tokens and counted exactly. What no context window could hold any more, past
    `_MAX_COUNTED` tokens or characters in runs, counts a token for each byte: the most that any byte-level encoding can
    make of it.
    """
    if len(text) <= _LONG:
        return count(text)
    text = _SURROGATE.sub("\ufffd", text)  # else each piece would be encoded twice
    work = total = taken = 0
    for piece, is_run in _pieces(text):
        tokens = count(piece)
        total += tokens
        taken += len(piece)
        work += max(tokens, len(piece) if is_run else 0)
        if work > _MAX_COUNTED:
            return total + len(text[taken:].encode())
    return total
