"""Which thinking a call leaves out, where a model's thinking is only valid behind the messages it was thought behind.

No message says behind which others it was written, so each call leaves a record of what it showed to the calls after
it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from langchain_tokenbuffer._agents.conversation import mark_of
from langchain_tokenbuffer._messages.kinds import call_ids, kind_of
from langchain_tokenbuffer._messages.thinking import has_thinking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage


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


class StaleThinking(NamedTuple):
    """The thinking that a call leaves out."""

    left_out: tuple[int, ...] = ()  # indices of the messages
    # Index of the first whose thinking is left out for the first time; None if there is none.
    first_new: int | None = None
    record: ShownRecord | None = None  # for the next call; None: the model's thinking is valid behind any messages


def find_stale(
    rule: ThinkingRule,
    last: ShownRecord | None,
    messages: Sequence[BaseMessage],
    kept: Sequence[int],
    clamped: Mapping[int, int],
) -> StaleThinking:
    """Return the thinking to leave out of what is shown: the kept messages, clamped to so many tokens.

    Law: thinking is shown while all before it is what it was when it was thought, as far as the last call tells: it
    showed what is shown now up to the newest reply. Otherwise all finished steps lose theirs, and what is left out
    stays left out. Of what no record tells, it was thought behind all messages. O(window).
    """
    digest = blake2b(rule.request.encode(errors="backslashreplace"), digest_size=12)
    length = 0 if last is None else last.length
    marks = [mark_of(messages[index], clamped.get(index)) for index in kept]
    for mark in marks[:length]:
        digest.update(mark)
    extends = last is None or last.digest == digest.hexdigest()
    for mark in marks[length:]:
        digest.update(mark)
    thoughts = [place for place, index in enumerate(kept) if has_thinking(messages[index])]
    answered = -1 if last is None else length  # the place of the last call's reply; what came behind it, no record tells
    is_whole = len(kept) == len(messages) and not clamped
    before = stale_before = 0 if last is None else last.stale_before
    if not (extends and (is_whole or all(place <= answered for place in thoughts))):
        stale_before = len(kept) if rule.is_checked else _running_place(messages, kept)
    left_out = tuple(kept[place] for place in thoughts if place < stale_before)
    first_new = next((kept[place] for place in thoughts if before <= place < stale_before), None)
    return StaleThinking(left_out, first_new, ShownRecord(len(kept), stale_before, digest.hexdigest()))


def _running_place(messages: Sequence[BaseMessage], kept: Sequence[int]) -> int:
    """Return where the running step begins; the end if none is running."""
    for place in reversed(range(len(kept))):
        message = messages[kept[place]]
        kind = kind_of(message)
        if kind == "human" or (kind == "ai" and not call_ids(message)):
            break
        if kind == "ai":
            return place
    return len(kept)
