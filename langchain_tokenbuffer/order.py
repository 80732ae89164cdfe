"""The message orders providers accept: what a tool call and its result need.

Imports no LangChain until a message has to be made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_tokenbuffer._messages.blocks import block_type
from langchain_tokenbuffer._messages.kinds import Kind, call_ids, kind_of, result_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage

_Always: TypeAlias = Literal["orphan_result", "missing_result", "first_not_human"]
_Strict: TypeAlias = Literal[
    "late_system", "consecutive_human", "ends_with_ai", "open_step", "empty_text", "unknown_role"
]
Code: TypeAlias = Literal[_Always, _Strict]


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing about a conversation that a provider refuses.

    Attributes:
        code: What it is; the codes are stable (see `validate`).
        index: Index of the message it is about.
        detail: The same in words; from `repair`, what was done about it.
    """

    code: Code
    index: int
    detail: str


def validate(messages: Sequence[BaseMessage], *, strict: bool = False) -> list[Violation]:
    """Return what providers refuse about the order of a conversation, by index.

    A step is an AI message with the results behind it, up to the next AI or human message. Inside it results pair with
    calls by id, equal ids in order of appearance: real models repeat ids within a conversation, so ids are never looked
    up across steps.

    Codes: `orphan_result` (a result without a call before it in its step), `missing_result` (a call without its result,
    in a step that is over) and `first_not_human` (what follows the leading system messages, up to the first human
    message). The last step may still be running, and a conversation without a human message is not checked for
    `first_not_human`.

    Args:
        messages: The conversation, with its system messages.
        strict: Also what only some providers refuse: `late_system` (a system message behind the leading ones),
            `consecutive_human` (a human message directly behind another), `ends_with_ai`, `open_step` (the last step
            lacks results), `empty_text` (a message without content, or a blank text block), `unknown_role`; and
            `first_not_human` also where there is no human message at all. Then `[]` means that every provider we know
            accepts it.

    Returns:
        The violations, sorted by index; `[]` is good.
    """
    kinds = [kind_of(message) for message in messages]
    found = [*_not_human_first(kinds, strict=strict), *_unpaired(messages, kinds, strict=strict)]
    if strict:
        found += _refused_by_some(messages, kinds)
    return sorted(found, key=lambda violation: violation.index)


def repair(messages: Sequence[BaseMessage]) -> tuple[list[BaseMessage], list[Violation]]:
    """Return a conversation that providers accept, and what was done about each violation.

    Law: `validate` finds nothing in what is returned, and what is in order comes back as it is, as the same objects. A
    result that stands behind the wrong step is moved to its call; one without a call is left out; a call whose step is
    over gets a result that says there is none; what stands before the first human message is left out, except system
    messages. A message without content is left out, or says so where something hangs on it. Repairing twice is
    repairing once.

    Edge: the last step may still be running, so its open calls stay open: append the next human message first if it is
    not. Nothing is done about the other codes of `strict`.

    Args:
        messages: The conversation. Never changed; messages that have to change are copied.

    Returns:
        A new list, and the violations of the input by its indices, with what was done.
    """
    repairs = _Repair(messages)
    return repairs.messages, sorted(repairs.done, key=lambda violation: violation.index)


def _head(kinds: Sequence[Kind]) -> int:
    """Return how many system messages lead."""
    return next((i for i, kind in enumerate(kinds) if kind != "system"), len(kinds))


def _not_human_first(kinds: Sequence[Kind], *, strict: bool) -> Iterator[Violation]:
    head = _head(kinds)
    if head < len(kinds) and kinds[head] != "human" and (strict or "human" in kinds):
        detail = f"After the system messages a human message comes first, not {kinds[head]!r}."
        yield Violation("first_not_human", head, detail)


def _unpaired(messages: Sequence[BaseMessage], kinds: Sequence[Kind], *, strict: bool) -> Iterator[Violation]:
    start, calls = 0, list[str | None]()  # of the step: where it begins, what waits for a result
    for index, (message, kind) in enumerate(zip(messages, kinds, strict=True)):
        if kind in ("ai", "human"):
            yield from _missing(start, calls, "missing_result")
            start, calls = index, call_ids(message) if kind == "ai" else []
        elif kind == "tool":
            call = result_id(message)
            if call in calls:
                calls.remove(call)
            else:
                yield Violation("orphan_result", index, f"Result of {call!r} without a call before it in its step.")
    if strict:
        yield from _missing(start, calls, "open_step")


def _missing(index: int, calls: Sequence[str | None], code: Code) -> Iterator[Violation]:
    return (Violation(code, index, f"Call {call!r} without a result.") for call in calls)


def _refused_by_some(messages: Sequence[BaseMessage], kinds: Sequence[Kind]) -> Iterator[Violation]:
    head = _head(kinds)
    for index, (message, kind) in enumerate(zip(messages, kinds, strict=True)):
        if kind == "system" and index >= head:
            yield Violation("late_system", index, "A system message behind the leading ones.")
        elif kind == "human" and kinds[index - 1 : index] == ["human"]:
            yield Violation("consecutive_human", index, "A human message behind a human message.")
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
    needs_content = kind in ("system", "human") or (kind == "ai" and not call_ids(message))
    return needs_content and (not content or _is_blank(content))


def _is_blank(block: object) -> bool:
    if isinstance(block, dict) and (row := block_type(block)).needs_text:
        block = next((text for key in row.text_keys if (text := block.get(key))), "")
    return isinstance(block, str) and not block.strip()


_NO_RESULT = "[no result: the call was not completed]"
_NO_TEXT = "[no text]"


@dataclass(slots=True)
class _Place:
    """An AI message's place in the mended list: its results are gathered with it."""

    index: int
    message: BaseMessage
    behind: list[BaseMessage] = field(default_factory=list)
    open: list[str | None] = field(default_factory=list)


class _Repair:
    """One conversation being mended: unit by unit, so that results can find their calls."""

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        self.done: list[Violation] = []
        self._places: list[_Place] = []
        kinds = [kind_of(message) for message in messages]
        head = _head(kinds)
        start = kinds.index("human") if "human" in kinds else head
        for index, (message, kind) in enumerate(zip(messages, kinds, strict=True)):
            if head <= index < start and kind != "system":
                self._did("first_not_human", index, "Left out: it stood before the first human.")
            elif kind == "tool":
                self._put_result(index, message)
            elif (filled := self._filled(index, message, kind)) is not None:
                self._put(index, filled, kind)
        self._close(kinds)
        self.messages = [message for place in self._places for message in (place.message, *place.behind)]

    def _did(self, code: Code, index: int, detail: str) -> None:
        self.done.append(Violation(code, index, detail))

    def _put(self, index: int, message: BaseMessage, kind: Kind) -> None:
        if kind in ("human", "ai") or not self._places:
            self._places.append(_Place(index, message, open=call_ids(message) if kind == "ai" else []))
        else:
            self._places[-1].behind.append(message)

    def _put_result(self, index: int, message: BaseMessage) -> None:
        call = result_id(message)
        for place in reversed(self._places):
            if call in place.open:
                if place is not self._places[-1]:
                    self._did("orphan_result", index, f"Moved to its call {call!r}.")
                place.open.remove(call)
                place.behind.append(self._filled(index, message, "tool") or message)
                return
        self._did("orphan_result", index, f"Left out: there is no open call {call!r} before it.")

    def _filled(self, index: int, message: BaseMessage, kind: Kind) -> BaseMessage | None:
        """Return the message without blank blocks; `None` if nothing is left to say."""
        if not _is_empty(message, kind):
            return message
        if isinstance(message.content, list):
            blocks = [block for block in message.content if not _is_blank(block)]
            message = message.model_copy(update={"content": blocks})
        if not _is_empty(message, kind):
            self._did("empty_text", index, "Blank text blocks left out.")
            return message
        if kind == "human":  # a turn hangs on it
            self._did("empty_text", index, f"It says {_NO_TEXT!r} now.")
            return message.model_copy(update={"content": _NO_TEXT})
        self._did("empty_text", index, "Left out: it had no content.")
        return None

    def _close(self, kinds: Sequence[Kind]) -> None:
        """Give open calls of steps that are over a result; the last step may still be running."""
        last = max((i for i, kind in enumerate(kinds) if kind in ("human", "ai")), default=-1)
        for place in self._places:
            for call in place.open if place.index != last else ():
                if call is None and not place.message.additional_kwargs.get("function_call"):
                    place.message = _without_nameless_call(place.message)
                    done = "Left out: a call without an id cannot be answered."
                else:
                    place.behind.append(_no_result(place.message, call))
                    done = f"Added a result for the call {call!r}."
                self._did("missing_result", place.index, done)


def _no_result(message: BaseMessage, call: str | None) -> BaseMessage:
    from langchain_core.messages import FunctionMessage, ToolMessage  # noqa: PLC0415  # see above

    if call is None:
        return FunctionMessage(name=str(message.additional_kwargs["function_call"].get("name")), content=_NO_RESULT)
    return ToolMessage(content=_NO_RESULT, tool_call_id=call, status="error")


def _without_nameless_call(message: BaseMessage) -> BaseMessage:
    """Leave out the last call that has no id, also where it stands as the provider sent it."""
    update: dict[str, Any] = {} if message.content else {"content": _NO_TEXT}
    extra = message.additional_kwargs
    if extra.get("tool_calls"):
        update["additional_kwargs"] = {**extra, "tool_calls": _named(extra["tool_calls"])}
    for name in ("invalid_tool_calls", "tool_calls"):
        calls = getattr(message, name, None) or []
        if len(_named(calls)) < len(calls):
            update[name] = _named(calls)
            break
    return message.model_copy(update=update)


def _named(calls: Sequence[Any]) -> list[Any]:
    """Return the calls without the last one that has no id."""
    nameless = [i for i, call in enumerate(calls) if call.get("id") is None]
    return [call for i, call in enumerate(calls) if i not in nameless[-1:]]
