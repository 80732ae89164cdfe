"""Counts taken once: remembered by content, with the tokenizer they belong to.

A message is known by a hash of all that its price can depend on, so what is remembered is two ints
a message, no texts; and a message that is changed, also in place, is another message.
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
"""How many messages' counts one tokenizer remembers (about 150 bytes each); the oldest quarter is
forgotten when there are more."""


class Memory:
    """The counts one tokenizer has taken: hash of a message to tokens. Bounded, thread-safe."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.probed: tuple[bool, int] | None = None  # of a callable: additive, constant
        self._lock = threading.Lock()

    def remember(self, key: int, count: int) -> None:
        with self._lock:
            if len(self.counts) >= REMEMBERED:
                # Reading needs no lock, so the dict is never emptied, only thinned out.
                for old in list(itertools.islice(self.counts, max(1, REMEMBERED // 4))):
                    del self.counts[old]
            self.counts[key] = count


_by_name: dict[Hashable, Memory] = {}
_by_owner: dict[tuple[int, str], Memory] = {}


def memory_named(*name: Hashable) -> Memory:
    """Return the memory of a tokenizer that is known by name, the same for the whole process."""
    return _by_name.setdefault(name, Memory())


def memory_of(owner: object, part: str = "") -> Memory:
    """Return the memory that lives as long as its owner; by identity, since models have no hash."""
    key = (id(owner), part)
    memory = _by_owner.get(key)
    if memory is None:
        memory = Memory()
        try:
            weakref.finalize(owner, _by_owner.pop, key, None).atexit = False
        except TypeError:  # cannot be watched, so it must not be found again under a reused id
            return memory
        memory = _by_owner.setdefault(key, memory)
    return memory


def memory_of_callable(function: Any) -> Memory:
    """Return a function's memory; a method's lives with its object, being itself made each time.

    Only a method that its class has under that name: others may share a name and differ.
    """
    method = getattr(function, "__func__", None)
    if method is not None:
        owner, name = function.__self__, method.__name__
        if getattr(type(owner), name, None) is method:
            return memory_of(owner, name)
    return memory_of(function)


def key_of(message: BaseMessage) -> int:
    """Hash what a message's price can depend on. Hot: a string keeps its own hash."""
    fields = message.__dict__
    content = fields["content"]
    if content.__class__ is not str:
        content = _frozen(content)
    get = fields.get
    extra = get("additional_kwargs")
    if extra and _PRICED_EXTRAS.isdisjoint(extra):
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


_PRICED_EXTRAS = frozenset({"name", "tool_calls", "function_call", "audio", "__openai_role__"})

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
