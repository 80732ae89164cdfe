"""Whatever LangChain takes as messages, as a list of them. Alone here it imports LangChain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from langchain_core.messages import BaseMessage, HumanMessage, MessageLikeRepresentation, convert_to_messages
from langchain_core.prompt_values import PromptValue

MessagesLike: TypeAlias = PromptValue | str | BaseMessage | Sequence[MessageLikeRepresentation] | dict[str, Any]


def as_messages(value: MessagesLike | Iterable[MessageLikeRepresentation]) -> list[BaseMessage]:
    """Return what a Runnable, a model or `trim_messages` would take as a list of messages.

    A list of messages comes back as a new list of the same objects. A string or a single message (also as an
    OpenAI-style dict) is one message.

    Raises:
        TypeError: For a dict that is no message, such as a graph's state; it names what to pass.
    """
    if isinstance(value, BaseMessage):
        return [value]
    if isinstance(value, str):
        return [HumanMessage(content=value)]
    if isinstance(value, PromptValue):
        return value.to_messages()
    if isinstance(value, Mapping):
        return convert_to_messages([_checked_message(value)])
    if not isinstance(value, Iterable):
        msg = f"Expected messages, got {type(value).__name__}: {value!r}"
        raise TypeError(msg)
    items = list(value)
    # By class: of long conversations each message would take as long as a look at its content.
    if all(issubclass(kind, BaseMessage) for kind in set(map(type, items))):
        return cast("list[BaseMessage]", items)
    return convert_to_messages(items)


def _checked_message(value: Mapping[Any, Any]) -> dict[Any, Any]:
    if "role" in value or ("type" in value and "content" in value):
        return dict(value)
    lists = [str(key) for key, item in value.items() if isinstance(item, (list, tuple))]
    found = ", ".join(map(repr, lists or map(str, value)))
    key = "messages" if "messages" in value or not lists else lists[0]
    msg = (
        f"Expected messages, got a dict with {found}. Pass the list under its key, e.g. "
        f"state[{key!r}]; in a chain: itemgetter({key!r}) | TokenBuffer(...)."
    )
    raise TypeError(msg)
