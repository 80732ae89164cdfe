"""Counts taken once: cached by content, with the tokenizer they belong to.

The key of a message is a hash of all that its tokens can depend on, so an entry is two ints, no texts; and a message
that is changed, also in place, is another message.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from marshal import dumps
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from langchain_tokenbuffer._messages.beside import reported_reasoning

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._messages.texts import Path

REMEMBERED = 1 << 18
"""How many counts are cached for one tokenizer (about 150 bytes each): a message's, its smallest clamp's, a role's or a
name's. Beyond that the oldest quarter goes."""
CLAMPED = REMEMBERED >> 2
"""How many clamped messages are cached for one tokenizer (about 500 bytes each). More in one window would take over
700,000 tokens."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class Excerpt(NamedTuple):
    """What stays of a text: `text[:head]` and `text[tail:]`; `omitted` tokens between them."""

    head: int
    tail: int
    omitted: int


class CountCache:
    """What one tokenizer has counted, by the key of what it was. Bounded, thread-safe."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}  # key to tokens
        # key and tokens of a clamped message to what stays of its texts, by their paths
        self.excerpts: dict[tuple[int, int], dict[Path, Excerpt]] = {}
        self.probed: tuple[bool, int] | None = None  # of a callable: whether it is additive, and its constant
        self._lock = threading.Lock()

    def counted(self, key: int, count: Callable[[], int]) -> int:
        """Return the tokens with a key, counted unless they are cached."""
        tokens = self.counts.get(key)
        if tokens is None:
            tokens = count()
            self.store(key, tokens)
        return tokens

    def store(self, key: int, tokens: int) -> None:
        self._put(self.counts, key, tokens, REMEMBERED)

    def store_excerpts(self, key: tuple[int, int], excerpts: dict[Path, Excerpt]) -> None:
        self._put(self.excerpts, key, excerpts, CLAMPED)

    def _put(self, cached: dict[_K, _V], key: _K, value: _V, most: int) -> None:
        with self._lock:
            if len(cached) >= most:
                # Reading needs no lock, so the dict is never emptied, only thinned out.
                for old in list(itertools.islice(cached, max(1, most // 4))):
                    del cached[old]
            cached[key] = value


_by_name: dict[Hashable, CountCache] = {}
_by_owner: dict[tuple[int, str], CountCache] = {}


def cache_named(*name: Hashable) -> CountCache:
    """Return the cache of a tokenizer that is known by name, one for the whole process."""
    return _by_name.setdefault(name, CountCache())


def cache_of(owner: object, part: str = "") -> CountCache:
    """Return the cache that lives as long as its owner; by identity, since models have no hash."""
    key = (id(owner), part)
    cache = _by_owner.get(key)
    if cache is None:
        cache = CountCache()
        try:
            weakref.finalize(owner, _by_owner.pop, key, None).atexit = False
        except TypeError:  # cannot be watched, so it must not be found again under a reused id
            return cache
        cache = _by_owner.setdefault(key, cache)
    return cache


def cache_of_callable(function: Any) -> CountCache:
    """Return a function's cache; a method's lives with its object, being itself made each time.

    Only a method that its class has under that name: others may share a name and differ.
    """
    method = getattr(function, "__func__", None)
    if method is not None and getattr(type(function.__self__), function.__name__, None) is method:
        return cache_of(function.__self__, function.__name__)
    return cache_of(function)


def freeze(messages: Sequence[BaseMessage], *, reports: bool = False) -> Iterator[Hashable]:
    """Yield what each message is counted and placed by. Hot: asked of every message at every model call.

    Every change is seen, also one deep inside a block or an argument. A longer text does not cost more: a string keeps
    its own hash, and only other values are marshalled. What has not the shape of a message raises; see `IRREGULAR`.

    Args:
        messages: The messages.
        reports: Whether also what replies report is to be seen.
    """
    for message in messages:
        fields = message.__dict__
        content = fields["content"]
        if type(content) is not str:
            content = _frozen_blocks(content, fields)
        if fields["additional_kwargs"]:
            content = content, frozen(fields["additional_kwargs"]), reported_reasoning(fields)
        if "tool_calls" in fields:
            if fields["tool_calls"]:
                content = content, _frozen_calls(fields["tool_calls"])
            if fields["invalid_tool_calls"]:
                content = content, frozen(fields["invalid_tool_calls"])
            if reports and fields["usage_metadata"] is not None:
                content = content, frozen_report(fields)
            yield fields["type"], content, fields["name"]
        elif "tool_call_id" in fields:
            yield fields["type"], content, fields["name"], fields["tool_call_id"]
        else:
            yield fields["type"], content, fields["name"], fields.get("role")


IRREGULAR = (AttributeError, KeyError, TypeError, RecursionError)
"""What `freeze` and hashing raise for a message that lacks a field, or has a value where no such value belongs."""


def freeze_whole(messages: Sequence[BaseMessage], *, reports: bool = False) -> Iterator[Hashable]:
    """Yield all of each message, its report included: a callable may look at anything."""
    del reports
    for message in messages:
        yield message.__class__, frozen([message.__dict__, message.__pydantic_extra__])


def frozen_report(fields: dict[str, Any]) -> Hashable:
    """Return what a reply says of the tokens it took, and of the model that wrote it, from the message's fields."""
    usage, metadata = fields["usage_metadata"], fields["response_metadata"] or {}
    return usage.get("input_tokens"), usage.get("output_tokens"), metadata.get("model_name"), metadata.get("model")


_unfrozen = itertools.count()


def _frozen_blocks(blocks: list[str | dict[Any, Any]], fields: dict[str, Any]) -> tuple[object, ...]:
    if type(blocks) is not list:
        raise TypeError
    parts: list[object] = []
    if fields.get("usage_metadata"):
        parts.append((reported_reasoning(fields),))
    for block in blocks:
        if type(block) is dict:
            _add_items(block, parts)
        else:
            parts.append(block if type(block) is str else (frozen(block),))
    return tuple(parts)


def _frozen_calls(calls: Iterable[dict[Any, Any]]) -> tuple[object, ...]:
    parts: list[object] = []
    for call in calls:
        parts.append(call["name"])
        parts.append(call["id"])
        _add_items(call["args"], parts)
    return tuple(parts)


def _add_items(values: dict[Any, Any], parts: list[object]) -> None:
    parts.append(len(values))
    for key, value in values.items():
        kind = type(value)
        parts.append(key if type(key) is str else (frozen(key),))
        if kind is str:
            parts.append(value)
        elif kind is dict:
            parts.append(dict)
            _add_items(value, parts)
        else:
            parts.append((frozen(value),))  # in a tuple: a text and its bytes have one hash


def frozen(value: Any) -> Hashable:
    """Return something hashable that differs whenever the value does."""
    try:
        return dumps(value, 2)  # version 2: no back references, equal for equal values
    except ValueError:
        pass
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # also a RecursionError: counted each time, never wrongly
        return ("unfrozen", next(_unfrozen))
