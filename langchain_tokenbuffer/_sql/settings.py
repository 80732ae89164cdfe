"""What windows are computed with, and the digests that stored windows are compared by."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_tokenbuffer._counting.message_counters import ChatCounter
from langchain_tokenbuffer._window.replay import RULE
from langchain_tokenbuffer.buffer import budget_of, meter_of
from langchain_tokenbuffer.counters import message_counter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer._window.budget import Budget
    from langchain_tokenbuffer._window.conversation import MessageMeter
    from langchain_tokenbuffer.buffer import TokenBuffer
    from langchain_tokenbuffer.counters import TokenCounter

_SAMPLES = (
    SystemMessage("Answer in one short sentence, please."),
    HumanMessage("Où est la boulangerie la plus proche ? 안녕하세요, 1 + 1?"),
    AIMessage("Two streets from here.", tool_calls=[{"name": "map", "args": {"n": 1}, "id": "1"}]),
    HumanMessage("x" * 100),
)
_IN_BLOCKS = (
    AIMessage(
        [{"type": "thinking", "thinking": "There are two.", "signature": "c2lnbmVk"}, {"type": "text", "text": "1"}]
    ),
    ToolMessage("[1, 2]", tool_call_id="1"),
    HumanMessage([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]),
    HumanMessage([{"type": "file", "base64": "JVBERi0=", "mime_type": "application/pdf"}]),
)
"""What a callable may not take, but a provider's format counts by rules of its own."""


class Settings:
    """The settings of one history.

    Who changes the buffer changes them: only what its counter is known by is kept.
    """

    def __init__(self, buffer: TokenBuffer) -> None:
        self.buffer = buffer
        self._counter: tuple[TokenCounter, str] | None = None

    @property
    def meter(self) -> MessageMeter:
        return meter_of(self.buffer)

    @property
    def budget(self) -> Budget:
        return budget_of(self.buffer)

    @property
    def counter(self) -> str:
        """Of what counts, and by which rule messages are read: stored numbers with it are ours.

        A name is not enough: what has the same may count differently after the next release, so what it makes of a few
        samples belongs to it. So does the rule: with it what a message is in numbers may change.
        """
        counter = self.buffer.token_counter
        if self._counter is None or self._counter[0] is not counter:
            counts = message_counter(counter)
            samples = (*_SAMPLES, *_IN_BLOCKS) if isinstance(counts, ChatCounter) else _SAMPLES
            basis = [RULE, counts.what, counts.constant, *counts.tokens(samples)]
            self._counter = counter, _digest(basis)
        return self._counter[1]

    @property
    def digest(self) -> str:
        """Of all that a window depends on beside its messages. The first time it may count."""
        budget = self.budget
        settings = (budget.max_tokens, budget.trim_to, budget.fixed, budget.oversize, budget.clear_results)
        return _digest([self.counter, *settings])

    @property
    def are_digested(self) -> bool:
        return self._counter is not None and self._counter[0] is self.buffer.token_counter


def _digest(basis: Sequence[object]) -> str:
    return hashlib.sha256(repr(basis).encode("utf-8", "surrogatepass")).hexdigest()[:32]
