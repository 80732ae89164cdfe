"""The buffer of a memory: what it counts, also as the lines of a string."""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from langchain_core.messages import BaseMessage
from typing_extensions import override

from langchain_tokenbuffer._recall.questions import question_terms
from langchain_tokenbuffer._recall.recalling import LeftMessages, chosen, quoted, text_tokens
from langchain_tokenbuffer._window.billing import Billing
from langchain_tokenbuffer._window.budget import MessageTokens
from langchain_tokenbuffer._window.conversation import ConversationTokens
from langchain_tokenbuffer.buffer import TokenBuffer, budget_of, log_dropped, meter_of
from langchain_tokenbuffer.counters import TokenCounter, message_counter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tokenbuffer._window.budget import Budget, Oversize
    from langchain_tokenbuffer.counters import CountedBy
    from langchain_tokenbuffer.errors import TokenBudgetError

Counted: TypeAlias = list[tuple[BaseMessage, int, MessageTokens]]
"""Messages, each with its key and its numbers."""


class MemoryBuffer(TokenBuffer):
    """The buffer of a memory: leaves out what does not fit even when clamped, and warns once.

    Args:
        llm: What counts.
        limit: The budget, in tokens; what is recalled is a part of it.
        trim_to: Low-water mark, as for `TokenBuffer`.
        oversize: As for `TokenBuffer`.
        turns: Whether turns stay whole; else single messages leave.
        prefixes: What human and AI messages begin with in the string.
        recalled: How much of the limit is for what is recalled at the end of the string, in tokens.
    """

    def __init__(
        self,
        llm: CountedBy,
        limit: int,
        *,
        trim_to: float,
        oversize: Oversize,
        turns: bool,
        prefixes: tuple[str, str],
        recalled: int,
    ) -> None:
        # It shows no message that quotes: what is recalled stands behind the lines.
        super().__init__(limit - recalled, token_counter=llm, trim_to=trim_to, oversize=oversize)
        self.warned = False
        self.llm = llm
        self.turns = turns
        self.recalled = recalled
        self._lines = message_counter(self.token_counter).as_lines(*prefixes)
        self._left = LeftMessages()

    def trimmed(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        """Return the window; what is recalled is what left that of the lines."""
        return (self.by_lines() if self.recalled and self.turns else self).trim(messages)

    def within_lines(self, window: list[BaseMessage], text: str) -> list[BaseMessage]:
        """Return what of a window is within the limit also as the string that a chain gets."""
        return window if self._lines.text_tokens(text) <= self.max_tokens else self.by_lines().trim(window)

    def by_lines(self) -> MemoryBuffer:
        """Return the same, counting messages as the lines they are."""
        lines = copy(self)
        lines.token_counter = TokenCounter(self._lines)
        return lines

    def with_recalled(self, text: str, messages: list[BaseMessage], question: str) -> str:
        """Return a window's string with what left it, and matches a question, quoted as its last lines.

        Law: where texts are counted, the whole string costs at most the limit; else what is quoted costs at most what
        is kept free for it.
        """
        lines, counter = self.by_lines() if self.turns else self, self._lines
        conversation = ConversationTokens(messages, meter_of(lines))
        found = self._left.matches(conversation, Billing(budget_of(lines)), question_terms(messages, question))
        alone, before = text_tokens(counter), f"{text}\n" if text else ""

        def whole(quotation: str) -> int:
            return max(alone(quotation), counter.text_tokens(f"{before}{quotation}") - self.max_tokens)

        best = chosen(found, self.recalled, alone, whole)
        return f"{before}{quoted(best)}" if best else text

    def read(self, messages: list[BaseMessage]) -> Counted:
        """Return messages in numbers. What it cannot count is not to be stored."""
        meter = meter_of(self)
        if not meter.counter.additive:
            meter.counter.whole(messages)
        keys = meter.counter.keys(messages)
        return list(zip(messages, keys, meter.numbers(messages, keys), strict=True))

    @override
    def _budget(self) -> Budget:
        return replace(super()._budget(), turns=self.turns, drop_if_unclampable=True)

    @override
    def _log_dropped(self, errors: Sequence[TokenBudgetError]) -> None:
        self.tell_dropped(errors)

    def tell_dropped(self, errors: Sequence[TokenBudgetError]) -> None:
        """Log or warn of what did not fit and was left out of the window, and remember it."""
        if not errors or not self.turns:  # without turns an empty window is what was asked for
            return
        self.warned = True
        if self.oversize == "drop":
            log_dropped(errors)
        else:
            for error in errors:
                warnings.warn(f"Left out of the window: {error}", stacklevel=2)

    def raise_or_warn(self, error: TokenBudgetError) -> None:
        """Raise if that was asked for; else warn, unless it did since the last window."""
        if self.oversize == "raise":
            raise error
        if not self.warned:
            self.tell_dropped([error])
