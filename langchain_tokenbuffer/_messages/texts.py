"""The texts of a message that may be shortened, by where they stand.

Which these are says the table of block types. Ids, names, arguments, thinking, media, addresses and encrypted content
are none: their providers check them, or they would mean something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from langchain_tokenbuffer._messages.blocks import OPAQUE, read_block
from langchain_tokenbuffer._messages.data import is_data
from langchain_tokenbuffer._messages.kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from langchain_core.messages import BaseMessage

Path: TypeAlias = "tuple[str | int, ...]"
"""The keys and indices that lead from a message's content to one of its texts."""

_C = TypeVar("_C")
_MAX_DEPTH = 32


def texts_of(message: BaseMessage, *, whole_json: bool = False) -> dict[Path, Any]:
    """Return what may be shortened of a message: texts, and with `whole_json` JSON values, each by its path.

    JSON counts as the texts in it, or as one value.
    """
    if message.additional_kwargs.get("type") == "computer_call_output":
        return {}  # a screenshot, or its address
    # What a model wrote in a way that the table does not know may be signed.
    reader = _TextReader(opaque=kind_of(message) != "ai", whole_json=whole_json)
    return dict(reader.read(message.content, ()))


def texts_in(block: dict[str, Any]) -> dict[Path, str]:
    """Return the same of one block, for which there is a row."""
    return dict(_TextReader(opaque=False, whole_json=False).read(block, ()))


class _TextReader:
    """Finds texts, as deep as they stand."""

    def __init__(self, *, opaque: bool, whole_json: bool) -> None:
        self._opaque = opaque
        self._whole_json = whole_json

    def read(self, value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
        """Yield the texts of a content, of blocks or of one block."""
        if len(path) > _MAX_DEPTH:
            return
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, (list, tuple)):
            for index, part in enumerate(value):
                yield from self.read(part, (*path, index))
        elif isinstance(value, dict):
            yield from self._read_block(value, path)

    def _read_block(self, block: dict[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
        _, row, body, way = read_block(block)
        if row.can_shorten or (self._opaque and row is OPAQUE):
            for key in row.json_keys:
                yield from self._read_json(body.get(key), (*path, *way, key))
            for key in row.text_keys:
                yield from self.read(body.get(key), (*path, *way, key))

    def _read_json(self, value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
        if len(path) > _MAX_DEPTH:
            return
        if isinstance(value, str) or (self._whole_json and isinstance(value, (list, dict))):
            if not is_data(value):
                yield path, value
        elif isinstance(value, (list, dict)):
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                yield from self._read_json(part, (*path, key))


def with_changes(message: BaseMessage, changes: Mapping[Path, _C], change: Callable[[Any, _C], Any]) -> BaseMessage:
    """Return a copy of a message with what `change` makes of the values at these paths; it shares all the rest."""
    content = _changed(message.content, changes, change) if changes else message.content
    return message.model_copy(update={"content": content})


def _changed(value: Any, changes: Mapping[Path, _C], change: Callable[[Any, _C], Any]) -> Any:
    if () in changes:
        return change(value, changes[()])
    inside: dict[str | int, dict[Path, _C]] = {}
    for (key, *rest), each in changes.items():
        inside.setdefault(key, {})[tuple(rest)] = each
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    for key, inner in inside.items():
        copy[key] = _changed(copy[key], inner, change)
    return copy
