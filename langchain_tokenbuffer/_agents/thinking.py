"""Which thinking a call leaves out, where a model's thinking is only valid behind the messages it was thought behind.

No message says behind which others it was written, so each call leaves a record of what it showed to the calls after
it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import astuple
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from langchain_tokenbuffer._agents.conversation import mark_of
from langchain_tokenbuffer._messages.kinds import call_ids, kind_of
from langchain_tokenbuffer._messages.slots import StandIn, index_of
from langchain_tokenbuffer._messages.thinking import has_thinking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._messages.slots import Slot


class ThinkingRule(NamedTuple):
    """How a model takes thinking that was thought behind other messages."""

    # Whether it refuses such thinking wherever it stands. Else the running step keeps its own: models that do not look
    # behind which messages it was thought may refuse a call without it.
    is_checked: bool
    request: str  # what stands before all messages, as far as the thinking is bound to it


class ShownRecord(NamedTuple):
    """What a call showed; a list in JSON."""

    length: int  # how many messages
    stale_before: int  # before so many of them all thinking was left out
    digest: str  # of these messages


NO_RECORD = ShownRecord(-1, 0, "")


class StaleThinking(NamedTuple):
    """The thinking that a call leaves out."""

    left_out: tuple[int, ...] = ()  # indices of the messages
    # Index of the first whose thinking is left out for the first time; None if there is none.
    first_new: int | None = None
    record: ShownRecord = NO_RECORD  # for the next call


def find_stale(
    rule: ThinkingRule,
    last: ShownRecord,
    messages: Sequence[BaseMessage],
    slots: Sequence[Slot],
    clamped: Mapping[int, int],
) -> StaleThinking:
    """Return the thinking to leave out of what is shown, clamped to so many tokens.

    Law: thinking is shown while all before it is as it was when it was thought. The last call's record tells that of
    what it showed and of its reply; of other replies it is taken that they were thought behind the whole conversation.
    Where it is not so, all finished steps lose their thinking, and what is left out stays left out. O(window).
    """
    marks = [mark_of(messages[index_of(slot)], _changes(slot, clamped)) for slot in slots]
    thoughts = [place for place, slot in enumerate(slots) if _has_thinking(messages, slot)]
    shown_before, digest = _digests(rule.request, marks, max(0, last.length))
    extends = last is NO_RECORD or shown_before == last.digest
    newest = max(thoughts, default=-1)
    is_whole = list(slots[:newest]) == list(range(newest)) and newest <= min(clamped, default=newest)
    is_told = is_whole or newest <= last.length
    stale_before = last.stale_before if extends and is_told else _finished_before(rule, messages, slots)
    stale = thoughts[: bisect_left(thoughts, stale_before)]
    left_out = tuple(index_of(slots[place]) for place in stale)
    new = left_out[bisect_left(stale, last.stale_before) :]
    return StaleThinking(left_out, min(new, default=None), ShownRecord(len(slots), stale_before, digest))


def _has_thinking(messages: Sequence[BaseMessage], slot: Slot) -> bool:
    return not isinstance(slot, StandIn) and has_thinking(messages[index_of(slot)])


def _changes(slot: Slot, clamped: Mapping[int, int]) -> object:
    """Return how what is shown at a place differs from its message."""
    return clamped.get(slot) if isinstance(slot, int) else astuple(slot)[1:]


def _digests(request: str, marks: Sequence[bytes], length: int) -> tuple[str, str]:
    """Return the digest of the first so many messages, and of all."""
    digest = blake2b(request.encode(errors="backslashreplace"), digest_size=12)
    for mark in marks[:length]:
        digest.update(mark)
    first = digest.hexdigest()
    for mark in marks[length:]:
        digest.update(mark)
    return first, digest.hexdigest()


def _finished_before(rule: ThinkingRule, messages: Sequence[BaseMessage], slots: Sequence[Slot]) -> int:
    """Return where the running step begins, if one may keep its thinking; else the end."""
    for place in () if rule.is_checked else reversed(range(len(slots))):
        message = messages[index_of(slots[place])]
        kind = kind_of(message)
        if kind == "human" or (kind == "ai" and not call_ids(message)):
            break
        if kind == "ai":
            return place
    return len(slots)
