"""Messages as text that every database keeps exactly, and back."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import messages_from_dict

from langchain_tokenbuffer._window.budget import MessageTokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._messages.kinds import Kind

logger = logging.getLogger(__name__)

_SPLIT = re.compile("[\\ud800-\\udbff][\\udc00-\\udfff]")
"""The two halves of a character as two: as ASCII JSON they would come back as the one character."""
_AS_BYTES = "base64:"
_LINKS = ("calls", "results", "server_calls", "is_notification", "compacts")
"""What a message in numbers says of how it hangs on others."""


class StoredRow(NamedTuple):
    """A message as it was read, with its place."""

    seq: int
    payload: str


class NewMessage(NamedTuple):
    """A message that is to be stored: in numbers, as text, and itself."""

    numbers: MessageTokens
    payload: str
    message: BaseMessage


def columns_of(numbers: MessageTokens) -> dict[str, str | int | None]:
    """Return the columns that hold a message in numbers."""
    links = {name: value for name in _LINKS if (value := getattr(numbers, name))}
    return {
        "kind": numbers.kind,
        "links": json.dumps(links, separators=(",", ":")) if links else None,
        "pinned": int(numbers.pinned),
        "tokens": numbers.tokens,
    }


def numbers_of(kind: Kind, tokens: int, links: str | None, pinned: int) -> MessageTokens:
    """Return a message in numbers, from its columns."""
    found = json.loads(links) if links else {}
    lists = {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
    return MessageTokens(kind, tokens, pinned=bool(pinned), **{**found, **lists})


def key_of(session_id: str) -> str:
    """Return what a session is found by; its length is bounded, the id's is not."""
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


def encode(message: BaseMessage) -> str:
    """Return a message as ASCII JSON.

    What JSON cannot hold comes back as its text, or not at all in a tool's artifact; a warning names its type.

    Raises:
        TypeError: If it could not be read back, as messages of classes that LangChain does not know.
    """
    text = _as_text(message)
    try:
        found = decode(text)
    except Exception as error:  # noqa: BLE001  # whatever it is, it must not be stored
        msg = (
            f"A {type(message).__name__} of type {message.type!r} cannot be stored: what was stored could not be read "
            f"back ({type(error).__name__}). Pass one of langchain_core.messages with the values that its fields take."
        )
        raise TypeError(msg) from None  # it may quote the message
    if type(found) is not type(message) or found.model_dump(warnings=False) != message.model_dump(warnings=False):
        what = "A %s is stored as a %s, with what JSON can hold of its values"
        logger.warning(what, type(message).__name__, type(found).__name__)
    return text


def _as_text(message: BaseMessage) -> str:
    data = message.model_dump(warnings=False)
    try:
        json.dumps(data.get("artifact"))
    except (TypeError, ValueError, RecursionError):
        logger.warning("An artifact of type %s was not stored", type(data["artifact"]).__name__)
        data["artifact"] = None
    value = {"type": message.type, "data": data}
    text = json.dumps(value, default=_other, separators=(",", ":"))
    if "\\ud" in text:
        raw = json.dumps(value, default=_other, separators=(",", ":"), ensure_ascii=False)
        if _SPLIT.search(raw):
            return _AS_BYTES + base64.b64encode(raw.encode("utf-8", "surrogatepass")).decode()
    return text


def decode(text: str) -> BaseMessage:
    """Return the message; raises anything where the text is not one."""
    if text.startswith(_AS_BYTES):
        raw = base64.b64decode(text.removeprefix(_AS_BYTES))
        text = raw.decode("utf-8", "surrogatepass")
    return messages_from_dict([json.loads(text)])[0]


def decode_rows(rows: Iterable[StoredRow], session_id: str, what: str = "Message") -> Iterator[tuple[int, BaseMessage]]:
    """Yield the messages of rows with their places; one that cannot be read is logged, left out."""
    for seq, payload in rows:
        try:
            yield seq, decode(payload)
        except Exception as error:  # noqa: BLE001  # whatever it is, the others can be read
            kind = type(error).__name__  # a traceback would quote the message
            logger.error("%s %d of session %r cannot be read: %s", what, seq, session_id, kind)  # noqa: TRY400


def _other(value: Any) -> object:
    """Return what JSON can hold instead: a turn must not be lost for a date in its metadata."""
    logger.warning("A value of type %s is stored as its text", type(value).__name__)
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else str(value)
