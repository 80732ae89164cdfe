"""The settings every surface takes, checked alike: errors say which one, and what is right."""

from __future__ import annotations

from typing import TypeVar, cast, get_args

from langchain_tokenbuffer._window.budget import Oversize

_Function = TypeVar("_Function")


def checked_max_tokens(value: object, name: str = "max_tokens") -> int:
    return _checked_int(value, name, least=1)


def checked_reserve(value: object, max_tokens: object = None) -> int:
    """Check a reserve, and that it leaves something of a budget that is known."""
    reserve = _checked_int(value, "reserve_tokens", least=0)
    if isinstance(max_tokens, int) and reserve >= max_tokens:
        msg = f"reserve_tokens={reserve} leaves nothing of max_tokens={max_tokens}; raise max_tokens or reserve less"
        raise ValueError(msg)
    return reserve


def _checked_int(value: object, name: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{name} must be an int of at least {least}, got {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    if value < least:
        msg = f"{name} must be an int of at least {least}, got {value}"
        raise ValueError(msg)
    return value


def checked_trim_to(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        msg = f"trim_to must be a number in (0, 1], got {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    if not 0 < value <= 1:
        msg = f"trim_to must be a number in (0, 1], got {value}"
        raise ValueError(msg)
    return float(value)


def checked_bool(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        msg = f"{name} must be a bool, got {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    return value


def checked_oversize(value: object) -> Oversize:
    if value not in get_args(Oversize):
        msg = f"oversize must be 'clamp', 'raise' or 'drop', got {value!r}"
        raise ValueError(msg)
    return cast("Oversize", value)


def checked_pin(value: _Function) -> _Function:
    return checked_function("pin", value, "a function from a message to a bool")


def checked_function(name: str, value: _Function, what: str = "a function") -> _Function:
    if value is not None and not callable(value):
        msg = f"{name} must be {what}, got {value!r}"
        raise TypeError(msg)
    return value
