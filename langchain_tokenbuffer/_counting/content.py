"""The tokens of a message's content, block by block.

How each type of block is billed says the table in `_messages.blocks`:

| billing | tokens |
| --- | --- |
| text | its texts |
| image, audio, video | as such, see `media` |
| file | by its media type or its first bytes: as an image, audio, video, text, or pages |
| listed | nothing, where the message lists the same call; else as JSON |
| json | its JSON text; the blocks in it, data and sealed texts as such |

A text that is sealed, so that only its provider can read it, counts one for each 4 bytes: what English takes that is
not sealed (OpenAI billed one for each 5.6 to 9 bytes of its reasoning, 3 recorded requests). Sealed thinking counts
what the message reports of its reasoning; a signature of thinking that is readable is not billed. Where a provider
bills less the count is high, so that a budget holds.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._counting.media import data_tokens, media_tokens
from langchain_tokenbuffer._counting.tools import as_json
from langchain_tokenbuffer._messages.beside import blocks_beside, reported_reasoning
from langchain_tokenbuffer._messages.blocks import OPAQUE, read_block
from langchain_tokenbuffer._messages.calls import listed_ids
from langchain_tokenbuffer._messages.data import is_data

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._counting.images import Media
    from langchain_tokenbuffer._messages.blocks import Block

logger = logging.getLogger(__name__)

_MAX_DEPTH = 32


def content_tokens(message: BaseMessage, count: Callable[[str], int], media: Media) -> int:
    """Return what the content of a message costs, with what stands beside it; calls that it lists are not counted.

    Law: it raises on nothing, and what is sent costs something.
    """
    fields = message.__dict__
    content, extra = fields["content"], fields.get("additional_kwargs")
    if content.__class__ is str and not extra:  # hot
        return count(content)
    blocks = list(blocks_beside(extra)) if isinstance(extra, dict) else []
    tally = _Tally(count, media)
    if isinstance(content, (list, tuple)):
        blocks = [*content, *blocks]
    elif content and isinstance(extra, dict) and extra.get("type") == "computer_call_output":
        blocks.append({"type": "input_image", "image_url": content})  # so langchain-openai sends it
    else:
        tally.add(content or "")
    listed = listed_ids(message)
    for block in blocks:
        tally.add_outer(block, listed)
    return tally.total(reported_reasoning(fields))


_PLAIN = {"type", "text"}


class _Tally:
    """What blocks cost, added up."""

    def __init__(self, count: Callable[[str], int], media: Media) -> None:
        self.tokens = 0
        self._count = count
        self._media = media
        self._has_sealed = False  # whether there is thinking that only its provider can read
        self._sealed = 0  # by its length, in tokens
        self._shown = 0  # what can be read of the same thinking, in tokens

    def total(self, reasoning: int | None) -> int:
        """Return all of it; `reasoning` is what the message reports of it, `None` if it does not."""
        if not self._has_sealed:
            return self.tokens
        if not self._media.sealed:
            return self.tokens + self._shown
        return self.tokens + max(self._shown, self._sealed + self._shown if reasoning is None else reasoning)

    def add_outer(self, block: object, listed: Collection[object]) -> None:
        """Add a block of the content itself; thinking stands nowhere else."""
        if isinstance(block, dict) and block.keys() == _PLAIN and block["type"] == "text":  # hot
            self.add(block["text"])
            return
        read = read_block(block)
        is_repeated = read.row.billing == "listed" and bool(listed) and (read.id is None or read.id in listed)
        if read.row.role == "thinking":
            self._add_thinking(read)
            return
        if not is_repeated:
            self.add(block)
        self._add_seals(_signatures(block, read.body))

    def add(self, block: object, depth: int = 0) -> None:
        if not isinstance(block, dict) or depth > _MAX_DEPTH:
            self.tokens += self._count(block if isinstance(block, str) else as_json(block))
            return
        read = read_block(block)
        billing = read.row.billing
        if read.row is OPAQUE:
            _note_unknown(read.kind)
        if billing in ("image", "audio", "video", "file"):
            tokens = media_tokens(block, read, self._count, self._media)
            if tokens is not None:
                self.tokens += tokens
                return
        if billing != "text" or not self._add_texts(read, depth):
            self._add_json(read, depth)

    def _add_texts(self, read: Block, depth: int) -> bool:
        """Add the texts that the row names, and tell whether there were any."""
        values = [read.body[key] for key in read.row.text_keys if isinstance(read.body.get(key), (str, list, dict))]
        for value in values:
            for part in value if isinstance(value, list) else (value,):
                self.add(part, depth + 1)
        return bool(values)

    def _add_json(self, read: Block, depth: int) -> None:
        rest = dict(read.body)
        for key in read.row.text_keys:
            value = rest.get(key)
            if isinstance(value, (str, list, dict)) and not is_data(value):
                del rest[key]
        texts = {key: value for key, value in read.body.items() if key not in rest}
        self._add_texts(read._replace(body=texts), depth)
        shown = self._without_data(rest, depth)
        self.tokens += self._count(as_json(shown))

    def _without_data(self, value: Any, depth: int, key: object = None) -> Any:
        """Return a value without what is no text in it, which is added."""
        if isinstance(value, (dict, list, tuple)) and depth < _MAX_DEPTH:
            if isinstance(value, dict):
                return {name: self._without_data(item, depth + 1, name) for name, item in value.items()}
            return [self._without_data(item, depth + 1) for item in value]
        if _is_seal(key, value):
            self.tokens += 0 if key in _SIGNATURES else _seal_tokens(value)
        elif is_data(value):
            self.tokens += data_tokens(value, self._count, self._media)
        else:
            return value
        return ""

    def _add_thinking(self, read: Block) -> None:
        before = self.tokens
        self._add_texts(read, 0)
        shown, self.tokens = self.tokens - before, before
        keys = ("data",) if read.row.data_keys else ()
        sealed = [*_seals(read.body, {*_SEALED, *keys}), *([] if shown else _signatures(read.body, {}))]
        if shown and not sealed:
            self.tokens += shown
            return
        self._has_sealed = True
        self._shown += shown
        self._add_seals(sealed)
        if not sealed:  # a reference to what the provider stores
            self.tokens += self._count(as_json(read.body))

    def _add_seals(self, values: Iterable[object]) -> None:
        for value in values:
            self._has_sealed = True
            self._sealed += _seal_tokens(value)


_SEALED = frozenset({"encrypted_content", "encrypted_stdout", "redacted_content", "redactedContent"})
_SIGNATURES = frozenset({"signature", "thought_signature", "thoughtSignature"})
_SEAL = re.compile(r"[A-Za-z0-9+/=_-]{16,}")


def _is_seal(key: object, value: object) -> bool:
    if key not in _SEALED and key not in _SIGNATURES:
        return False
    return isinstance(value, bytes) or (isinstance(value, str) and _SEAL.fullmatch(value) is not None)


def _seal_tokens(value: object) -> int:
    length = len(value) if isinstance(value, (str, bytes)) else 0
    return -(-length // 4) if isinstance(value, bytes) else -(-length * 3 // 16)


def _seals(body: Mapping[str, Any], keys: Collection[str]) -> Iterator[object]:
    """Yield what is sealed in a block and in its `extras`."""
    for holder in (body, body.get("extras")):
        if isinstance(holder, dict):
            for key in keys & holder.keys():
                if isinstance(value := holder[key], (str, bytes)) and value:
                    yield value


def _signatures(block: object, body: Mapping[str, Any]) -> Iterator[object]:
    """Yield the signatures of a block: thinking that is shown nowhere else."""
    for holder in (block, body if body is not block else None):
        if isinstance(holder, dict):
            yield from _seals(holder, _SIGNATURES)


@lru_cache(maxsize=1024)
def _note_unknown(kind: str) -> None:
    """Say once of each type that the table does not know it."""
    logger.debug(
        "No row for blocks %s: they count as their texts, their JSON and their bytes.",
        repr(kind) if kind else "without a type",
    )
