"""What a reply uses of the conversation before it, as literal texts, and which messages have these.

A window without them cannot lead to that reply; with them it may not either. They are necessary, not sufficient.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple, Protocol

from langchain_core.messages import AIMessage

from langchain_tokenbuffer._messages.texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

MIN_BYTES = 4
"""Of a fact, in UTF-8: two Korean letters, four digits. What is shorter stands everywhere by chance."""
_MAX_KEYS = 8  # of a fact: one rare word among them finds it
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_#@./+:-]*[A-Za-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9]+")
_FOREIGN = re.compile(r"[^\x00-\x7f]")


class Need(NamedTuple):
    """A fact that a reply uses, and where it stands."""

    fact: str
    places: Sequence[int]  # indices of all messages that have it, ascending; also of those behind the reply

    def newest_before(self, index: int) -> int:
        """Return the newest message before an index that has it, -1 if none has."""
        before = bisect_left(self.places, index)
        return self.places[before - 1] if before else -1


class Places(Protocol):
    """Where the messages of a window stand in the conversation."""

    @property
    def length(self) -> int:
        """How many messages the conversation has."""
        ...

    @property
    def cut(self) -> int:
        """The index from which on messages are kept."""
        ...

    @property
    def kept_before_cut(self) -> Sequence[int]:
        """The indices of the others that are kept."""
        ...


class ShownWindow:
    """A window as the model sees it: what is shortened is searched as it is shown, all else is where it stands."""

    def __init__(
        self, places: Places, strays: Collection[int], shortened: Collection[int], text_at: Callable[[int], str]
    ) -> None:
        """Take the places; `strays` are not kept behind the cut, `text_at` is what is shown of a shortened message."""
        self._places = places
        self._strays = strays
        self._shortened = shortened
        self._text_at = text_at

    def has(self, need: Need) -> bool:
        """Tell whether a fact stands in the window."""
        return any(
            index not in self._shortened or occurs(need.fact, self._text_at(index)) for index in self._kept(need)
        )

    def _kept(self, need: Need) -> Iterator[int]:
        """Yield the kept messages that have a fact, whole as they came; the newest first."""
        places, at = need.places, bisect_left(need.places, self._places.length) - 1
        while at >= 0 and places[at] >= self._places.cut:
            if places[at] not in self._strays:
                yield places[at]
            at -= 1
        for index in self._places.kept_before_cut if at >= 0 else ():
            if places[bisect_left(places, index, hi=at)] == index:
                yield index


def needs_of(
    messages: Sequence[BaseMessage], replies: Iterable[int], always: Sequence[str] = ()
) -> dict[int, tuple[Need, ...]]:
    """Return what each reply uses that was said before it, by the reply's index; nothing for one that uses nothing.

    What stands in one of the texts that are `always` shown, as the system message is, cannot be missing and is no fact.
    O(texts and what is found in them).
    """
    used = {index: tuple(dict.fromkeys(facts_of(messages[index]))) for index in replies}
    texts = [*map(text_of, messages), *always]
    found = find({fact for facts in used.values() for fact in facts}, texts)
    needs = {}
    for index, facts in used.items():
        said = (Need(fact, found[fact]) for fact in facts if _was_said(found[fact], index, len(messages)))
        if those := tuple(said):
            needs[index] = those
    return needs


def _was_said(places: Sequence[int], index: int, end: int) -> bool:
    """Tell whether a fact stands before an index, and in no text from `end` on."""
    return bool(places) and places[0] < index and places[-1] < end


def facts_of(reply: BaseMessage) -> Iterator[str]:
    """Yield the arguments of a reply's calls, and the ids and numbers of its text."""
    ids = (each for each in _ID.findall(_said(reply)) if any(map(str.isdigit, each)))
    for fact in (*_arguments(reply), *ids):
        if len(fact.encode("utf-8", "surrogatepass")) >= MIN_BYTES:
            yield fact


def text_of(message: BaseMessage) -> str:
    """Return what a message says: its text and the arguments of its calls."""
    return "\n".join([_said(message), *_arguments(message)])


def _said(message: BaseMessage) -> str:
    content = message.content
    return content if isinstance(content, str) else "\n".join(map(str, texts_of(message).values()))


def _arguments(message: BaseMessage) -> Iterator[str]:
    if isinstance(message, AIMessage):
        for call in message.tool_calls:
            yield from _leaves(call["args"])


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def occurs(fact: str, text: str) -> bool:
    """Tell whether a fact stands in a text, and not as a part of a longer word or number of Latin letters."""
    at = text.find(fact)
    while at >= 0:
        end = at + len(fact)
        if not (_is_latin(text[at - 1 : at]) or _is_latin(text[end : end + 1])):
            return True
        at = text.find(fact, at + 1)
    return False


def _is_latin(letter: str) -> bool:
    return letter.isascii() and letter.isalnum()


def find(facts: Iterable[str], texts: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """Return the places of the texts in which each fact occurs, ascending.

    A text is read once for all facts: only those that have a fact's rarest word are searched for the fact itself.
    """
    keys = {fact: _keys(fact) for fact in facts}
    texts_with = _texts_with({key for those in keys.values() for key in those}, texts)
    found: dict[str, Sequence[int]] = {}
    for fact, those in keys.items():
        likely = min((texts_with[key] for key in those), key=len, default=range(len(texts)))
        is_word = those == [fact] and fact.isascii()
        found[fact] = likely if is_word else [place for place in likely if occurs(fact, texts[place])]
    return found


def _texts_with(keys: Iterable[str], texts: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """Return the places of the texts in which each key stands: a word as a whole, another letter anywhere."""
    found: dict[str, list[int]] = {key: [] for key in keys}
    letters = {key for key in found if not key.isascii()}
    for place, text in enumerate(texts):
        others = letters.intersection(text) if letters and not text.isascii() else ()
        for key in {*found.keys() & _WORD.findall(text), *others}:
            found[key].append(place)
    return found


def _keys(fact: str) -> list[str]:
    """Return words that stand in every text in which the fact occurs: else letters, else nothing."""
    return sorted({*_WORD.findall(fact)}, key=lambda word: (-len(word), word))[:_MAX_KEYS] or _FOREIGN.findall(fact)
