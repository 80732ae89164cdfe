"""What has to outlive the process for the next call of a thread, as the private state holds it.

Plain JSON types, by message id. Whatever it says of a message holds only while all up to it is as
it was. Needs langchain-core alone.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._counting.anchoring import NO_ANCHOR, Anchor
from langchain_tokenbuffer._messages.kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from langchain_core.messages import BaseMessage


class Known:
    """What the private state knows of a thread."""

    def __init__(self, state: Mapping[str, Any], model: str) -> None:
        self.held: dict[str, Any] = state.get("token_buffer") or {}
        self.model = model
        self.limits: dict[str, int] = self.held.get("limits", {})
        self.limit = self.limits.get(model)
        self.thinned: set[str] = set(self.held.get("thinned", ()))

    def anchor(self, messages: Sequence[BaseMessage], basis: list[Any]) -> tuple[int, Anchor, int]:
        """Return the index from which on reports are of requests like this, and what held before.

        That is an anchor, and the index from which on it tells of no message. What is not known is
        taken to be like this request.
        """
        held = self.held.get("anchored")
        if held is None:
            return 0, NO_ANCHOR, 0
        if self.held["basis"] != basis:
            return len(messages), NO_ANCHOR, 0
        newest, found, later = held
        if newest is None:  # since the beginning
            return 0, NO_ANCHOR, 0
        places = {message.id: index for index, message in enumerate(messages)}
        first = places.get(newest, -1) + 1
        if found is None:
            return first, NO_ANCHOR, 0
        return first, Anchor(*found), places.get(later, first)

    def sizes(self, messages: Sequence[BaseMessage], basis: list[Any]) -> dict[int, int]:
        """Return the clamp sizes by index, where all up to the message is as it was."""
        known = self.held.get("sizes")
        if not known or self.held["basis"] != basis:
            return {}
        marks = fingerprints(messages, known)
        return {
            index: known[message.id][0]
            for index, message in enumerate(messages)
            if message.id in marks and known[message.id][1] == marks[message.id]
        }


def fingerprints(messages: Sequence[BaseMessage], ids: Iterable[str | None]) -> dict[str, str]:
    """Return, for messages with these ids, a fingerprint of the conversation up to them.

    The same in every process, unlike a hash.
    """
    wanted = set(ids)
    marks: dict[str, str] = {}
    if not wanted:
        return marks
    digest = blake2b(digest_size=12)
    for message in messages:
        said = (kind_of(message), message.content, getattr(message, "tool_calls", None))
        digest.update(repr(said).encode(errors="backslashreplace"))
        if message.id is not None and message.id in wanted:
            marks[message.id] = digest.hexdigest()
    return marks
