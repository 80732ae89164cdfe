"""An agent's messages, read: in numbers, with what replies report, and in units."""

from __future__ import annotations

from functools import cached_property
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

from typing_extensions import override

from langchain_tokenbuffer._messages.kinds import Kind, kind_of
from langchain_tokenbuffer._window.conversation import ConversationTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._counting.reported_usage import Report
    from langchain_tokenbuffer._window.budget import MessageTokens
    from langchain_tokenbuffer._window.conversation import MessageMeter


def mark_of(message: BaseMessage, changes: object = None) -> bytes:
    """Return what a message says, and how it is changed, for a digest: the same in every process."""
    parts = (message.type, message.content, getattr(message, "tool_calls", None), changes)
    return repr(parts).encode(errors="backslashreplace")


class AgentConversation(ConversationTokens):
    """The messages of one request, or of the agent's state.

    `report_of` returns what a reply reports, if it is the model's.
    """

    def __init__(
        self, messages: Sequence[BaseMessage], *, meter: MessageMeter, report_of: Callable[[BaseMessage], Report | None]
    ) -> None:
        super().__init__(list(messages), meter)
        self._report_of = report_of
        self._reported_from = len(self.messages)
        self._clamped: Mapping[int, int] = {}

    def apply_earlier_calls(self, reported_from: int, clamped: Mapping[int, int]) -> None:
        """Apply what earlier calls say of the messages, before they are read into numbers.

        From `reported_from` on replies report the usage of requests like this; `clamped`: index to tokens.
        """
        self._reported_from = reported_from
        self._clamped = clamped

    @override
    def key(self, start: int, stop: int) -> int:
        reported = min(max(start, self._reported_from), stop)
        key = self.meter.key(self.messages[start:reported])
        reported_key = self.meter.key(self.messages[reported:stop], reports=True)
        clamped = [(i, self._clamped[i]) for i in range(start, stop) if i in self._clamped] if self._clamped else ()
        return hash((key, reported_key, *clamped))

    @override
    def numbers(self, start: int = 0) -> list[MessageTokens]:
        numbers = super().numbers(start)
        first = max(start, self._reported_from)
        reports = {
            index: report
            for index, message in enumerate(self.messages[first:], first)
            if (report := self._report_of(message)) is not None
        }
        for index in {*reports, *self._clamped}:
            if index >= start:
                clamped, report = self._clamped.get(index), reports.get(index)
                numbers[index - start] = numbers[index - start]._replace(clamped=clamped, report=report)
        return numbers

    @cached_property
    def kinds(self) -> list[Kind]:
        return list(map(kind_of, self.messages))

    @cached_property
    def ids(self) -> list[str | None]:
        return [message.id for message in self.messages]

    def ids_from_newest(self) -> Iterator[str | None]:
        """Yield the ids in reverse, each read only when it is asked for."""
        return (message.id for message in reversed(self.messages))

    @property
    def id_before_newest(self) -> str | None:
        """The id of the last message before the newest that has one."""
        return next((each for each in islice(self.ids_from_newest(), 1, None) if each is not None), None)

    def units(self) -> list[range]:
        """Return the indices of each unit: what leaves the state as a whole."""
        starts = [i for i, kind in enumerate(self.kinds) if not i or kind in ("ai", "human")]
        return list(map(range, starts, [*starts[1:], len(self.messages)]))

    def fingerprints(self, ids: Collection[str], without: Collection[str | None] = ()) -> dict[str, str]:
        """Return, for messages with these ids, a fingerprint of the conversation up to them.

        The same in every process, unlike Python's `hash`. Messages whose ids are in `without` are taken to be missing.
        """
        if not ids:
            return {}
        marks: dict[str, str] = {}
        digest = blake2b(digest_size=12)
        for message in self.messages:
            if message.id in without:
                continue
            digest.update(mark_of(message))
            if message.id is not None and message.id in ids:
                marks[message.id] = digest.hexdigest()
        return marks
