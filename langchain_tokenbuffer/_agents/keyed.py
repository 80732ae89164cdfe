"""A key for unhashable values, so that `functools.lru_cache` can take them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Keyed(Generic[_Value]):
    """A value and its key; an object's identity is its key as long as the object is held here."""

    key: Hashable
    value: _Value = field(compare=False)
