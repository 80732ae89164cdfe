"""What a model's name means: how tokens are counted, and how many the model takes; and where a file names one."""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING

from langchain_tokenbuffer import vocabularies
from langchain_tokenbuffer._counting.providers import provider_named, provider_of
from langchain_tokenbuffer._counting.resolve import ModelName
from langchain_tokenbuffer.counters import TokenCounter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_core.messages import BaseMessage

DEFAULT = "gpt-4o"
"""The model where neither the command nor a file names one."""
_LONGEST = 200  # letters of a name; what is longer is none


def counter_of(model: str) -> TokenCounter:
    """Return what counts for a model name, an encoding name or the path of a `tokenizer.json`, which has to exist."""
    is_tokenizer = model in vocabularies.names() or model.endswith(".json")
    return TokenCounter(model) if is_tokenizer else named_counter(model)


def named_counter(model: str) -> TokenCounter:
    """Return what counts for a model name, and only for that: a file's must not open another file."""
    return TokenCounter(ModelName(model))


def best_named(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of one model, those that say which it is first.

    A deployment is called as its owner likes; what answers in it may say more.
    """
    given = list(dict.fromkeys(name.strip() for name in names if 0 < len(name.strip()) <= _LONGEST))
    return tuple(sorted(given, key=lambda name: provider_named(name) is None))


def models_of(messages: Sequence[BaseMessage]) -> tuple[str, ...]:
    """Return how the newest reply of a conversation that names its model names it."""
    for message in reversed(messages):
        metadata = message.response_metadata if message.type == "ai" else {}
        names = (metadata.get(key) for key in ("model_name", "model", "model_id", "ls_model_name"))
        if found := best_named(name for name in names if isinstance(name, str)):
            return found
    return ()


def context_of(model: str) -> int | None:
    """Return how many tokens a model takes, where its installed provider package says so."""
    try:
        package, kind = provider_of(model).profile or ("", "")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is made to be asked, not to be called
            made = getattr(importlib.import_module(package), kind)(model=model, api_key="unused")
    except Exception:  # noqa: BLE001  # a package that is missing or finds fault with the name
        return None
    context = (getattr(made, "profile", None) or {}).get("max_input_tokens")
    return context if isinstance(context, int) else None
