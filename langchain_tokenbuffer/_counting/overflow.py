"""What a provider says of a request that is too long, also where LangChain has no name for it."""

from __future__ import annotations

import re
from typing import NamedTuple

from langchain_core.exceptions import ContextOverflowError

from langchain_tokenbuffer._counting.providers import PROVIDERS


class Overflow(NamedTuple):
    """What was counted and what is allowed, in the provider's own tokens; `None`: not said."""

    counted: int | None
    allowed: int | None


# All at once: a gateway such as LiteLLM passes on what the provider behind it says.
_TOO_LONG = re.compile("|".join(row.too_long for row in PROVIDERS if row.too_long), re.IGNORECASE)
_COUNTED = re.compile("|".join(row.counted for row in PROVIDERS if row.counted))
_ALLOWED = re.compile("|".join(row.allowed for row in PROVIDERS if row.allowed))


def overflow_of(error: Exception) -> Overflow | None:
    """Return what an error says about a request that was too long; `None` if it is another."""
    text = f"{error} {getattr(error, 'body', None) or ''}"
    if not (isinstance(error, ContextOverflowError) or _TOO_LONG.search(text)):
        return None
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    return Overflow(_number(_COUNTED, text), _number(_ALLOWED, text))


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return next((int(each) for each in found.groups() if each), None) if found else None
