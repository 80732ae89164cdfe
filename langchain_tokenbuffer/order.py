"""The message orders providers accept: what a tool call and its result need.

Imports no LangChain until a message has to be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._messages.blocks import block_type
from langchain_tokenbuffer._messages.kinds import Kind, MessageFacts, facts_of, kind_of
from langchain_tokenbuffer._messages.mended import NO_TEXT, mended
from langchain_tokenbuffer._messages.slots import Slot, StandIn, index_of
from langchain_tokenbuffer._messages.violations import Code, Violation
from langchain_tokenbuffer._window.budget import Budget, MessageTokens
from langchain_tokenbuffer._window.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._messages.convert import MessagesLike
    from langchain_tokenbuffer._messages.slots import Piece

__all__ = ["Code", "Violation", "repair", "validate"]


def validate(messages: MessagesLike, *, strict: bool = False) -> list[Violation]:
    """Return what providers refuse about the order of a conversation, by index.

    A step is an AI message with the results behind it, up to the next AI or human message. Inside it results pair with
    calls by id, equal ids in order of appearance: real models repeat ids within a conversation, so ids are never looked
    up across steps. Calls and results are those of every dialect: a human message may carry results, with a text beside
    them or without.

    Codes: `orphan_result` (a result without a call before it in its step), `missing_result` (a call without its result,
    in a step that is over) and `first_not_human` (what follows the leading system messages, up to the first human
    message). The last step may still be running, and a conversation without a human message is not checked for
    `first_not_human`.

    Args:
        messages: The conversation, with its system messages; whatever `TokenBuffer` takes.
        strict: Also what only some providers refuse: `late_system` (a system message behind the leading ones),
            `second_system` (more than one leading one; templates such as Qwen's), `consecutive_human` (a human message
            directly behind another), `human_after_result` (one directly behind a tool result; Mistral),
            `ends_with_ai`, `open_step` (the last step lacks results), `empty_text` (a message without content, or a
            blank text block), `unknown_role`; and `first_not_human` also where there is no human message at all. Then
            `[]` means that every provider we know accepts it.

    Returns:
        The violations, sorted by index; `[]` is good.
    """
    messages = _as_messages(messages)
    facts = [facts_of(message) for message in messages]
    kinds = [each.kind for each in facts]
    found = [*_not_human_first(kinds, strict=strict), *_unpaired(facts, strict=strict)]
    if strict:
        found += _refused_by_some(messages, kinds)
    return sorted(found, key=lambda violation: violation.index)


def repair(messages: MessagesLike, *, strict: bool = False) -> tuple[list[BaseMessage], list[Violation]]:
    """Return a conversation that providers accept, and what was done about each violation.

    Law: `validate` finds nothing in what is returned, and what is in order comes back as it is, as the same objects. A
    result that stands behind the wrong step is moved to the nearest call of its id that is still open; one without a
    call is left out; a call whose step is over gets a result that says there is none, in its dialect; what stands
    before the first human message is left out, except system messages. So do windows, in the same places. A message
    without content is left out, or says so where something hangs on it. Repairing twice is repairing once.

    Edge: the last step may still be running, so its open calls stay open: append the next human message first if it is
    not.

    Args:
        messages: The conversation; whatever `TokenBuffer` takes. Never changed; what has to change is copied.
        strict: Also make one system message of the leading ones (`second_system`), and put a short AI message between a
            tool result and a human message behind it (`human_after_result`). Nothing is done about the other codes of
            `validate(strict=True)`.

    Returns:
        A new list, and the violations of the input by its indices, with what was done.
    """
    repairs = _Repair(_as_messages(messages))
    if strict:
        repairs.please_some()
    return [message for _, message in repairs.placed], sorted(repairs.done, key=lambda violation: violation.index)


def _as_messages(messages: MessagesLike) -> list[BaseMessage]:
    from langchain_tokenbuffer._messages.convert import as_messages  # noqa: PLC0415  # see above

    return as_messages(messages)


def _head(kinds: Sequence[Kind]) -> int:
    """Return how many system messages lead."""
    return next((i for i, kind in enumerate(kinds) if kind != "system"), len(kinds))


def _not_human_first(kinds: Sequence[Kind], *, strict: bool) -> Iterator[Violation]:
    head = _head(kinds)
    if head < len(kinds) and kinds[head] != "human" and (strict or "human" in kinds):
        detail = f"After the system messages a human message comes first, not {kinds[head]!r}."
        yield Violation("first_not_human", head, detail)


def _unpaired(facts: Sequence[MessageFacts], *, strict: bool) -> Iterator[Violation]:
    start, calls = 0, list[str | None]()  # of the step: where it begins, what waits for a result
    server_calls: list[str] = []  # what may come with the next AI message
    for index, each in enumerate(facts):
        for result in each.results:
            if result in calls:
                calls.remove(result)
            elif each.kind == "ai" and result in server_calls:
                server_calls.remove(str(result))
            else:
                detail = f"Result of {result!r} without a call before it in its step."
                yield Violation("orphan_result", index, detail)
        if each.kind in ("ai", "human"):
            yield from _missing(start, calls, "missing_result")
            start, calls, server_calls = index, list(each.calls), list(each.server_calls)
    if strict:
        yield from _missing(start, calls, "open_step")


def _missing(index: int, calls: Sequence[str | None], code: Code) -> Iterator[Violation]:
    return (Violation(code, index, f"Call {call!r} without a result.") for call in calls)


_REFUSED_PAIRS: dict[tuple[Kind | None, Kind], Code] = {
    ("system", "system"): "second_system",
    ("human", "human"): "consecutive_human",
    ("tool", "human"): "human_after_result",
}


def _refused_by_some(messages: Sequence[BaseMessage], kinds: Sequence[Kind]) -> Iterator[Violation]:
    head = _head(kinds)
    for index, (message, kind) in enumerate(zip(messages, kinds, strict=True)):
        pair = kinds[index - 1] if index else None, kind
        if kind == "system" and index >= head:
            yield Violation("late_system", index, "A system message behind the leading ones.")
        elif pair in _REFUSED_PAIRS:
            yield Violation(_REFUSED_PAIRS[pair], index, f"A {pair[1]} message directly behind a {pair[0]} message.")
        elif kind == "other":
            yield Violation("unknown_role", index, f"A message of type {message.type!r}.")
        if _is_empty(message, kind):
            yield Violation("empty_text", index, "No content, or a blank text block.")
    if kinds and kinds[-1] == "ai":
        yield Violation("ends_with_ai", len(kinds) - 1, "The last message is the model's own.")


def _is_empty(message: BaseMessage, kind: Kind) -> bool:
    """Tell whether a provider would refuse the content: results and calls need none."""
    content = message.content
    if isinstance(content, list) and any(map(_is_blank, content)):
        return True
    needs_content = kind in ("system", "human") or (kind == "ai" and not facts_of(message).calls)
    return needs_content and (not content or _is_blank(content))


def _is_blank(block: object) -> bool:
    if isinstance(block, dict) and (row := block_type(block)).needs_text:
        block = next((text for key in row.text_keys if (text := block.get(key))), "")
    return isinstance(block, str) and not block.strip()


_NO_REPLY = "[no reply]"
_NO_LIMIT = Budget(max_tokens=1 << 62)


class _Repair:
    """One conversation being mended: replayed without a budget, then looked through for what is empty."""

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        self.done: list[Violation] = []
        self._messages = messages
        self._kinds = [kind_of(message) for message in messages]
        made = [(slot, self._message(slot)) for slot in self._replayed()]
        filled = [(slot, self._filled(slot, message)) for slot, message in made]
        self.placed = [(slot, message) for slot, message in filled if message is not None]

    def _did(self, code: Code, index: int, detail: str) -> None:
        self.done.append(Violation(code, index, detail))

    # As a source, for the replay.

    @staticmethod
    def min_tokens(_: int) -> int:
        """Without a budget nothing is shortened."""
        return 0

    def mended_tokens(self, slot: StandIn | Piece) -> int | None:
        return None if mended(self._messages[slot.index], slot) is None else 0

    def _replayed(self) -> list[Slot]:
        """Return what is sent, in order."""
        replay, left = Replay(_NO_LIMIT), list[int]()
        for message in self._messages:
            facts = facts_of(message)
            numbers = MessageTokens(facts.kind, 0, facts.calls, facts.results, facts.server_calls)
            left += replay.push(numbers, self)
        first = self._kinds.index("human") if "human" in self._kinds else 0
        for index in sorted(left):
            if index >= first:
                self._did("orphan_result", index, "Left out: its call is not there.")
            elif self._kinds[index] != "system":
                self._did("first_not_human", index, "Left out: it stood before the first human message.")
        self.done += [each for each in replay.mended() if each.index not in left]
        head = _head(self._kinds)
        early: list[Slot] = [index for index in sorted(left) if index < first and self._kinds[index] == "system"]
        slots = replay.all_slots()
        return slots[:head] + early + slots[head:]

    def _message(self, slot: Slot) -> BaseMessage:
        message = self._messages[index_of(slot)]
        return message if isinstance(slot, int) else mended(message, slot) or message

    def _filled(self, slot: Slot, message: BaseMessage) -> BaseMessage | None:
        """Return the message without blank blocks; `None` if nothing is left to say."""
        kind = kind_of(message)
        if isinstance(slot, StandIn) or not _is_empty(message, kind):
            return message
        index = index_of(slot)
        if isinstance(message.content, list):
            blocks = [block for block in message.content if not _is_blank(block)]
            message = message.model_copy(update={"content": blocks})
        if kind == "tool" or not _is_empty(message, kind):
            self._did("empty_text", index, "Blank text blocks left out.")
            return message
        if kind == "human":  # a turn hangs on it
            self._did("empty_text", index, f"It says {NO_TEXT!r} now.")
            return message.model_copy(update={"content": NO_TEXT})
        self._did("empty_text", index, "Left out: it had no content.")
        return None

    # --- strict ---

    def please_some(self) -> None:
        """Mend what only some providers refuse, as far as `repair` says."""
        from langchain_core.messages import AIMessage  # noqa: PLC0415  # see above

        placed: list[tuple[Slot, BaseMessage]] = []
        for slot, message in self.placed:
            kind, before = kind_of(message), kind_of(placed[-1][1]) if placed else None
            if kind == before == "system" and all(kind_of(each) == "system" for _, each in placed):
                first = placed[-1]
                placed[-1] = first[0], _joined(first[1], message)
                self._did("second_system", index_of(slot), "Joined to the first system message.")
                continue
            if kind == "human" and before == "tool":
                placed.append((slot, AIMessage(content=_NO_REPLY)))
                self._did("human_after_result", index_of(slot), f"Put an AI message before it: {_NO_REPLY!r}.")
            placed.append((slot, message))
        self.placed = placed


def _joined(first: BaseMessage, second: BaseMessage) -> BaseMessage:
    """Return a copy of the first message that says what both say."""
    contents: list[Any] = [first.content, second.content]
    if all(isinstance(content, str) for content in contents):
        return first.model_copy(update={"content": "\n\n".join(contents)})
    blocks = [
        block
        for content in contents
        for block in ([{"type": "text", "text": content}] if isinstance(content, str) else content)
    ]
    return first.model_copy(update={"content": blocks})
