"""The settings every surface takes, checked alike: errors say which one, and what is right."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast, get_args

from langchain_tokenbuffer._window.budget import Oversize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_Function = TypeVar("_Function")
_Object = TypeVar("_Object")
_Options = ParamSpec("_Options")


def checked_max_tokens(value: object, name: str = "max_tokens") -> int:
    return _checked_int(value, name, least=1)


def checked_reserve(value: object, max_tokens: object = None) -> int:
    """Check a reserve, and that it leaves something of a budget that is known."""
    reserve = _checked_int(value, "reserve_tokens", least=0)
    if isinstance(max_tokens, int) and reserve >= max_tokens:
        msg = f"reserve_tokens={reserve} leaves nothing of max_tokens={max_tokens}; raise max_tokens or reserve less"
        raise ValueError(msg)
    return reserve


def checked_recall(
    value: object, max_tokens: int | None = None, reserve_tokens: int = 0, name: str = "max_tokens"
) -> int:
    """Check what is recalled at most, and that it leaves something of a budget that is known."""
    recall = _checked_int(value, "recall_tokens", least=0)
    if recall and max_tokens is not None and recall >= max_tokens - reserve_tokens:
        beside = f" beside reserve_tokens={reserve_tokens}" if reserve_tokens else ""
        msg = f"recall_tokens={recall} leaves nothing of {name}={max_tokens}{beside}; raise {name} or recall less"
        raise ValueError(msg)
    return recall


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


def checked_session_id(value: object) -> str:
    if not isinstance(value, str):
        msg = f"session_id must be a string, got {value!r} ({type(value).__name__})"
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


_SAME_MEANING = (
    ("max_tokens", "max_token_limit", "token_limit", "max_token", "limit", "budget"),
    ("token_counter", "llm", "model", "counter", "tokenizer"),
    ("reserve_tokens", "reserve", "reserved_tokens"),
    ("recall_tokens", "recall", "recalled_tokens"),
    ("trim_to", "trim_ratio", "low_water"),
    ("pin", "keep", "pinned"),
)
"""Names of options that neighbours and other surfaces have for one thing."""


def neighbour_of(name: str, options: Iterable[str]) -> str | None:
    """Return the option that an unknown name may mean."""
    options = list(options)
    same = [each for names in _SAME_MEANING if name in names for each in names if each in options]
    return next(iter(same or get_close_matches(name, options, n=1)), None)


_RECALL = "recall_tokens"
_RECALLS = "TokenBuffer(..., recall_tokens=...) behind the prompt of a chain recalls; for agents there is recall_tool"


def suggests_options(
    init: Callable[Concatenate[_Object, _Options], None],
) -> Callable[Concatenate[_Object, _Options], None]:
    """Let a constructor name the option that an unknown one may mean."""
    options = list(inspect.signature(init).parameters)[1:]

    @wraps(init)
    def checked(self: _Object, *args: _Options.args, **kwargs: _Options.kwargs) -> None:
        for name in kwargs:
            if name not in options and (meant := neighbour_of(name, [*options, _RECALL])) is not None:
                advice = f"did you mean {meant!r}?" if meant in options else _RECALLS
                msg = f"{type(self).__name__} has no option {name!r}; {advice}"
                raise TypeError(msg)
        init(self, *args, **kwargs)

    return cast("Callable[Concatenate[_Object, _Options], None]", checked)
