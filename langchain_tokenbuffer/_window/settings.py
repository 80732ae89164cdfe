"""The settings every surface takes, checked alike."""

from __future__ import annotations

from typing import TypeVar, get_args

from langchain_tokenbuffer._window.budget import Oversize

_Function = TypeVar("_Function")


def checked_max_tokens(value: object, name: str = "max_tokens") -> int:
    """Return a budget that is one.

    Raises:
        TypeError: If it is not an int.
        ValueError: If it is below 1.
    """
    return _checked_int(value, name, least=1)


def checked_reserve(value: object) -> int:
    """Return a number of reserved tokens that is one.

    Raises:
        TypeError: If it is not an int.
        ValueError: If it is below 0.
    """
    return _checked_int(value, "reserve_tokens", least=0)


def _checked_int(value: object, name: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{name} must be an int of at least {least}, got {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    if value < least:
        msg = f"{name} must be an int of at least {least}, got {value}"
        raise ValueError(msg)
    return value


def checked_trim_to(value: object) -> float:
    """Return a low-water mark that is one.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is outside (0, 1].
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        msg = f"trim_to must be a number in (0, 1], got {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    if not 0 < value <= 1:
        msg = f"trim_to must be a number in (0, 1], got {value}"
        raise ValueError(msg)
    return float(value)


def checked_oversize(value: object) -> Oversize:
    """Return a policy that is one.

    Raises:
        ValueError: If it is not.
    """
    for known in get_args(Oversize):
        if value == known:
            policy: Oversize = known
            return policy
    msg = f"oversize must be 'clamp', 'raise' or 'drop', got {value!r}"
    raise ValueError(msg)


def checked_function(name: str, value: _Function, what: str = "a function") -> _Function:
    """Return a function that is one, or `None`.

    Raises:
        TypeError: If it cannot be called; it names the argument and what is accepted.
    """
    if value is not None and not callable(value):
        msg = f"{name} must be {what}, got {value!r}"
        raise TypeError(msg)
    return value


def checked_pin(value: _Function) -> _Function:
    """Return a rule of what is pinned, or `None`.

    Raises:
        TypeError: If it cannot be called.
    """
    return checked_function("pin", value, "a function from a message to a bool")
