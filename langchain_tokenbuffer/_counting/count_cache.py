"""Counts taken once: cached by content, with the tokenizer they belong to.

The key of a message is a hash of all that its tokens can depend on, so an entry is two ints, no
texts; and a message that is changed, also in place, is another message.
"""

from __future__ import annotations

import itertools
import marshal
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable

    from langchain_core.messages import BaseMessage

REMEMBERED = 1 << 18
"""How many messages' counts are cached for one tokenizer (about 150 bytes each); beyond that the
oldest quarter goes."""


class CountCache:
    """The counts one tokenizer has taken: key of a message to tokens. Bounded, thread-safe."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.probed: tuple[bool, int] | None = None  # of a callable: additive, constant
        self._lock = threading.Lock()

    def store(self, key: int, tokens: int) -> None:
        with self._lock:
            if len(self.counts) >= REMEMBERED:
                # Reading needs no lock, so the dict is never emptied, only thinned out.
                for old in list(itertools.islice(self.counts, max(1, REMEMBERED // 4))):
                    del self.counts[old]
            self.counts[key] = tokens


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
    if method is not None:
        owner, name = function.__self__, method.__name__
        if getattr(type(owner), name, None) is method:
            return cache_of(owner, name)
    return cache_of(function)


def key_of(message: BaseMessage) -> int:
    """Hash what a message's tokens can depend on. Hot: a string keeps its own hash."""
    fields = message.__dict__
    content = fields["content"]
    if content.__class__ is not str:
        content = _frozen(content)
    get = fields.get
    extra = get("additional_kwargs")
    if extra and _COUNTED_EXTRAS.isdisjoint(extra):
        extra = None  # such as the `refusal: None` of every reply
    calls, broken = get("tool_calls"), get("invalid_tool_calls")
    answers, name, role = get("tool_call_id"), get("name"), get("role")
    if calls or broken or extra:
        nested = _frozen([calls, broken, extra])
    elif answers is None and name is None and role is None:
        return hash((message.__class__, content))
    else:
        nested = None
    return hash((message.__class__, content, nested, answers, name, role))


def whole_key_of(message: BaseMessage) -> int:
    """Hash all of a message: a callable may look at anything."""
    return hash((message.__class__, _frozen([message.__dict__, message.__pydantic_extra__])))


_COUNTED_EXTRAS = frozenset({"name", "tool_calls", "function_call", "audio", "__openai_role__"})

_unfrozen = itertools.count()


def _frozen(value: Any) -> object:
    """Return something hashable that differs whenever the value does."""
    try:
        return marshal.dumps(value, 2)  # version 2: no back references, equal for equal values
    except ValueError:
        pass
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # also a RecursionError: counted each time, never wrongly
        return ("unfrozen", next(_unfrozen))
