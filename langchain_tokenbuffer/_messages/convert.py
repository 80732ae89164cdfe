"""Whatever LangChain takes as messages, and dicts as the APIs write them, as a list of messages.

Alone here it imports LangChain, with `api_dicts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from langchain_core.messages import BaseMessage, HumanMessage, MessageLikeRepresentation
from langchain_core.prompt_values import PromptValue

from langchain_tokenbuffer._messages.api_dicts import READ, ApiReader, is_item

MessagesLike: TypeAlias = PromptValue | str | BaseMessage | Sequence[MessageLikeRepresentation] | dict[str, Any]


def as_messages(value: MessagesLike | Iterable[MessageLikeRepresentation]) -> list[BaseMessage]:
    """Return what a Runnable, a model or `trim_messages` would take as a list of messages.

    A list of messages comes back as a new list of the same objects. A string or a single message is one message.
    Dicts are read as LangChain, OpenAI (chat and Responses), Anthropic, Gemini, Bedrock, Mistral, Cohere and Ollama
    write them.

    Raises:
        TypeError: For a dict that is no message, such as a graph's state; it names what to pass.
        ValueError: For a dict in a list that is no message; it says what is read.
    """
    if isinstance(value, BaseMessage):
        return [value]
    if isinstance(value, str):
        return [HumanMessage(content=value)]
    if isinstance(value, PromptValue):
        return value.to_messages()
    if isinstance(value, Mapping):
        return _read([_checked_message(value)])
    if not isinstance(value, Iterable):
        msg = f"Expected messages, got {type(value).__name__}: {value!r}"
        raise TypeError(msg)
    items = list(value)
    # By class: of long conversations each message would take as long as a look at its content.
    if all(issubclass(kind, BaseMessage) for kind in set(map(type, items))):
        return cast("list[BaseMessage]", items)
    return _read(items)


def _read(items: list[Any]) -> list[BaseMessage]:
    reader = ApiReader()
    for item in items:
        try:
            reader.read(item)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            error.add_note(f"Read are messages, and dicts as {READ} write them.")
            raise
    return reader.messages


def _checked_message(value: Mapping[Any, Any]) -> dict[Any, Any]:
    if "role" in value or ("type" in value and "content" in value) or is_item(value):
        return dict(value)
    lists = [str(key) for key, item in value.items() if isinstance(item, (list, tuple))]
    found = ", ".join(map(repr, lists or map(str, value)))
    key = "messages" if "messages" in value or not lists else lists[0]
    msg = (
        f"Expected messages, got a dict with {found}. Pass the list under its key, e.g. "
        f"state[{key!r}]; in a chain: itemgetter({key!r}) | TokenBuffer(...)."
    )
    raise TypeError(msg)
