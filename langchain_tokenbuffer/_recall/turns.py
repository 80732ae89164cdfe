"""The question of the newest turn, and what is quoted in front of it while the turn lasts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from langchain_tokenbuffer._messages.slots import Piece, StandIn
from langchain_tokenbuffer._recall.questions import newest_question, question_terms
from langchain_tokenbuffer._recall.quotation import quotation_in, with_quotation, without_quotation
from langchain_tokenbuffer._recall.recalling import LeftMessages, chosen, merged, quoted, text_tokens
from langchain_tokenbuffer._window.drivers import stretch_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._counting.message_counters import MessageCounter
    from langchain_tokenbuffer._messages.slots import Slot
    from langchain_tokenbuffer._recall.recalling import Match
    from langchain_tokenbuffer._window.billing import Billing
    from langchain_tokenbuffer._window.conversation import ConversationTokens


class Turn(NamedTuple):
    """A conversation whose newest question carries no quotation, and where that question is."""

    messages: list[BaseMessage]
    question: int | None = None  # its index, if there is one
    carried: BaseMessage | None = None  # the question as it came, if it came with a quotation

    @classmethod
    def of(cls, messages: list[BaseMessage], recall_tokens: int, counter: MessageCounter) -> Turn:
        """Find the question. A quotation that is larger than what is recalled stays a part of it, and is no other."""
        if not recall_tokens or (place := newest_question(messages)) is None:
            return cls(messages)
        came = messages[place]
        plain = without_quotation(came)
        if plain is came:
            return cls(messages, place)
        if added_tokens(counter, came, plain) > recall_tokens:
            return cls(messages)
        return cls([*messages[:place], plain, *messages[place + 1 :]], place, came)

    def place_in(self, slots: Sequence[Slot]) -> int | None:
        """Return at which place of a window the question is shown, if it is."""
        return next((at for at, slot in enumerate(slots) if self._is_question(slot)), None)

    def _is_question(self, slot: Slot) -> bool:
        if isinstance(slot, StandIn):
            return False
        return slot.index == self.question and slot.rest if isinstance(slot, Piece) else slot == self.question

    def quoting(self, shown: BaseMessage, text: str) -> BaseMessage:
        """Return the question, as a window shows it, with a quotation in front."""
        plain = self.messages[self.question or 0]
        return self.carried if self.carried is not None and shown is plain else with_quotation(shown, text)


class Recalled(NamedTuple):
    """What is quoted in front of a question."""

    text: str = ""
    messages: tuple[int, ...] = ()  # the places of those quoted, in order; what a history has is none of them


_MOST = 256  # turns whose quotations are remembered


class TurnRecall:
    """Ranks what left when a question came, once for its turn.

    Law: what is quoted is a function of the conversation up to the question, of what a history gave, and of the
    settings; it is remembered, so that the same turn shows the same without ranking again. It costs at most
    `recall_tokens`, in front of that question. Pickles and copies empty.
    """

    def __init__(self, recall_tokens: int) -> None:
        self._recall_tokens = recall_tokens
        self._left = LeftMessages()
        self._lock = threading.Lock()
        self._remembered: OrderedDict[tuple[tuple[int, ...], tuple[str, ...]], Recalled] = OrderedDict()

    def __reduce__(self) -> tuple[type[TurnRecall], tuple[int]]:
        return TurnRecall, (self._recall_tokens,)

    def recalled(
        self, turn: Turn, conversation: ConversationTokens, billing: Billing, given: Sequence[Match] = ()
    ) -> Recalled:
        """Return what is quoted in front of the question of a turn; the conversation is the turn's."""
        if turn.question is None:
            return Recalled()
        if turn.carried is not None:
            return Recalled(quotation_in(turn.carried) or "")
        until = conversation.until(turn.question + 1)
        key = stretch_keys(until), tuple(match.quote.line for match in given)
        with self._lock:
            found = self._remembered.get(key)
        if found is None:
            found = self._ranked(until, billing, given)
            with self._lock:
                self._remembered[key] = found
                while len(self._remembered) > _MOST:
                    self._remembered.popitem(last=False)
        return found

    def _ranked(self, conversation: ConversationTokens, billing: Billing, given: Sequence[Match]) -> Recalled:
        *before, question = conversation.messages
        own = self._left.matches(conversation, billing, question_terms(before, question))
        return fitting(merged(given, own), question, self._recall_tokens, conversation.meter.counter)


def fitting(matches: Iterable[Match], question: BaseMessage, recall_tokens: int, counter: MessageCounter) -> Recalled:
    """Return what is quoted in front of a question of what matches it, the best first: at most `recall_tokens`."""

    def whole(text: str) -> int:
        return max(alone(text), added_tokens(counter, with_quotation(question, text), question))

    alone = text_tokens(counter)
    best = chosen(matches, recall_tokens, alone, whole)
    return Recalled(quoted(best), tuple(sorted({match.message for match in best if match.is_own})))


def added_tokens(counter: MessageCounter, one: BaseMessage, other: BaseMessage) -> int:
    """Return by how much a message costs more than another, in tokens."""
    more, less = counter.tokens([one, other])
    return more - less
