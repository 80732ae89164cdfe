"""What a name given as `--model` means: how tokens are counted, and how many the model takes."""

from __future__ import annotations

import importlib
import warnings

from langchain_tokenbuffer import vocabularies
from langchain_tokenbuffer._counting.providers import provider_of
from langchain_tokenbuffer._counting.resolve import ModelName
from langchain_tokenbuffer.counters import TokenCounter


def counter_of(model: str) -> TokenCounter:
    """Return what counts for a model name, an encoding name or the path of a `tokenizer.json`, which has to exist."""
    is_tokenizer = model in vocabularies.names() or model.endswith(".json")
    return TokenCounter(model if is_tokenizer else ModelName(model))


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
