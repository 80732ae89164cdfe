"""What left the windows of conversations, ranked by a question and chosen to fit."""

from __future__ import annotations

import heapq
import weakref
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from langchain_core.documents import Document
from langchain_core.messages import HumanMessage

from langchain_tokenbuffer._messages.kinds import kind_of
from langchain_tokenbuffer._messages.slots import messages_of
from langchain_tokenbuffer._recall.passages import pieces_of
from langchain_tokenbuffer._recall.postings import PostingLists
from langchain_tokenbuffer._recall.questions import question_terms
from langchain_tokenbuffer._recall.quotation import Quote, escaped, quotation
from langchain_tokenbuffer._recall.ranking import rank
from langchain_tokenbuffer._window.drivers import DriverCache
from langchain_tokenbuffer.errors import TokenBufferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._counting.message_counters import MessageCounter
    from langchain_tokenbuffer._recall.ranking import Ranked
    from langchain_tokenbuffer._window.billing import Billing
    from langchain_tokenbuffer._window.conversation import ConversationTokens
    from langchain_tokenbuffer._window.driver import WindowDriver


@runtime_checkable
class RecallingHistory(Protocol):
    """A history that finds what left its window."""

    def recall(self, question: str | BaseMessage, max_tokens: int) -> list[Document]: ...

    async def arecall(self, question: str | BaseMessage, max_tokens: int) -> list[Document]: ...


class Match(NamedTuple):
    """A passage that matches a question, or several that follow each other."""

    kind: str  # of the message
    text: str  # with the space around it
    message: int  # its place in the conversation
    passage: int  # its place in the message; of several the first one's
    score: float
    is_own: bool = True  # whether its message is one of the caller's; else a history has it, and it is older

    @property
    def quote(self) -> Quote:
        """How it is quoted."""
        return Quote(self.kind, self.text.strip())

    @property
    def source(self) -> tuple[bool, int]:
        """Its message, in the order of the conversation."""
        return self.is_own, self.message

    def document(self) -> Document:
        """Return it as LangChain's retrievers return what they find."""
        about = {"type": self.kind, "message": self.message, "passage": self.passage, "score": self.score}
        return Document(page_content=self.quote.text, metadata=about)

    @classmethod
    def of(cls, document: Document) -> Match:
        """Return what `document` was made of."""
        about = document.metadata
        kind, places = str(about.get("type", "other")), (about.get("message", 0), about.get("passage", 0))
        return cls(kind, document.page_content, *places, about.get("score", 0.0), is_own=False)


def matches_of(
    ranked: Iterable[Ranked], messages: Sequence[BaseMessage] | Mapping[int, BaseMessage | None]
) -> Iterator[Match]:
    """Yield ranked passages with their texts, each text once. What is not there any more is passed over."""
    texts = set[str]()
    pieces: dict[int, list[str]] = {}
    for place, passage, score in ranked:
        if (message := messages[place]) is None:
            continue
        if place not in pieces:
            pieces[place] = pieces_of(message)
        if passage < len(pieces[place]) and (text := pieces[place][passage].strip()) not in texts:
            texts.add(text)
            yield Match(kind_of(message), pieces[place][passage], place, passage, score)


def merged(given: Iterable[Match], own: Iterable[Match]) -> Iterator[Match]:
    """Yield both, the best first, each text once; of the own ones the best come first already."""
    texts = set[str]()
    for match in heapq.merge(sorted(given, key=_worse), own, key=_worse):
        if (text := match.quote.text) not in texts:
            texts.add(text)
            yield match


def _worse(match: Match) -> float:
    return -match.score


def ranked_messages(messages: Sequence[BaseMessage], terms: Iterable[str]) -> list[Match]:
    """Rank all messages by the terms of a question. O(their texts): nothing is kept for the next time."""
    postings = PostingLists()
    for place, message in enumerate(messages):
        postings.add(place, message)
    return list(matches_of(rank(terms, len(messages), postings), messages))


class _Left:
    """The postings of what left one driver's window."""

    def __init__(self) -> None:
        self.postings = PostingLists()
        self._count = 0  # of messages that were followed
        self._inside: frozenset[int] = frozenset()  # those of them in the window

    def follow(self, driver: WindowDriver, messages: Sequence[BaseMessage]) -> None:
        """Add what left since. O(window), not O(conversation)."""
        inside = frozenset(messages_of(driver.slots()))
        for place in (*sorted(self._inside - inside), *range(self._count, driver.count)):
            if place not in inside:
                self.postings.add(place, messages[place])
        self._count, self._inside = driver.count, inside


class LeftMessages:
    """What left the windows of conversations, remembered between calls as their drivers are.

    Law: what is found is a function of the conversation and the settings. Pickles and copies empty.
    """

    def __init__(self) -> None:
        self._drivers = DriverCache()
        # A driver is lent to one caller at a time, and so is what left its window.
        self._left: weakref.WeakKeyDictionary[WindowDriver, _Left] = weakref.WeakKeyDictionary()

    def __reduce__(self) -> tuple[type[LeftMessages], tuple[()]]:
        return LeftMessages, ()

    def matches(self, conversation: ConversationTokens, billing: Billing, terms: Iterable[str]) -> Iterator[Match]:
        """Rank what left the window of a conversation by the terms of a question; texts are read as far as asked.

        Nothing is found where the window cannot be had: what must stay does not fit.
        """
        messages = conversation.messages
        try:
            with self._drivers.follow(conversation, billing) as (driver, _):
                left = self._left.setdefault(driver, _Left())
                left.follow(driver, messages)
                return matches_of(rank(terms, len(messages), left.postings), messages)
        except TokenBufferError:
            return iter(())

    def documents(
        self, conversation: ConversationTokens, billing: Billing, question: str | BaseMessage, max_tokens: int
    ) -> list[Document]:
        """Return what left the window and matches a question, oldest first, at most so many tokens when quoted."""
        messages, counter = conversation.messages, conversation.meter.counter
        found = self.matches(conversation, billing, question_terms(messages, question))
        return [match.document() for match in chosen(found, max_tokens, text_tokens(counter))]


_MISSES = 8
"""After so many passages that do not fit any more nothing further is tried."""


def chosen(
    matches: Iterable[Match],
    max_tokens: int,
    tokens_of: Callable[[str], int],
    whole: Callable[[str], int] | None = None,
) -> list[Match]:
    """Return the best passages that fit, in the order of the conversation; what is one text there is one again.

    Law: `whole` of the text that quotes them is at most `max_tokens`.

    Args:
        matches: The best first.
        max_tokens: What the quotation may cost, in tokens.
        tokens_of: What a text costs by itself, in tokens.
        whole: What it costs where it is shown, in tokens; by default what it costs by itself.
    """
    whole = whole or tokens_of
    room, misses, best = max_tokens - tokens_of(quotation([])), 0, list[Match]()
    taken: dict[tuple[bool, int, int], Match] = {}
    for match in matches:
        before, after = (taken.get((*match.source, match.passage + step)) for step in (-1, 1))
        tokens = _quoted_tokens(match, before, tokens_of)
        if after is not None:  # it stood in a line of its own
            tokens += _quoted_tokens(after, match, tokens_of) - _quoted_tokens(after, None, tokens_of)
        if tokens <= room:
            room -= tokens
            best.append(match)
            taken[*match.source, match.passage] = match
        elif (misses := misses + 1) == _MISSES:
            break
    # What lines cost together may be more than what each costs.
    while best and whole(quoted(joined(best))) > max_tokens:
        best.pop()
    return joined(best)


def _quoted_tokens(match: Match, before: Match | None, tokens_of: Callable[[str], int]) -> int:
    """Return what a passage adds to a quotation in which the one before it stands, or does not, in tokens."""
    return tokens_of(f"{match.quote.line}\n" if before is None else escaped(match.text))


def joined(matches: Iterable[Match]) -> list[Match]:
    """Return passages in the order of the conversation, those that follow each other in a message as one."""
    found, last = list[Match](), -1  # the place of the last one's last passage
    for match in sorted(matches, key=lambda match: (*match.source, match.passage)):
        if found and found[-1].source == match.source and last + 1 == match.passage:
            score = max(found[-1].score, match.score)
            found[-1] = found[-1]._replace(text=found[-1].text + match.text, score=score)
        else:
            found.append(match)
        last = match.passage
    return found


def quoted(matches: Iterable[Match]) -> str:
    """Return the text that quotes passages; an empty one of none."""
    quotes = [match.quote for match in matches]
    return quotation(quotes) if quotes else ""


def text_tokens(counter: MessageCounter) -> Callable[[str], int]:
    """Return what counts a text by what it adds to a message, in tokens."""
    (empty,) = counter.tokens([HumanMessage("")])
    return lambda text: max(0, counter.tokens([HumanMessage(text)])[0] - empty)
