"""What is known of an agent's model, whatever it is wrapped in: read once for the same object."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache

from langchain_core.language_models import BaseLanguageModel

from langchain_tokenbuffer._agents.keyed import Keyed
from langchain_tokenbuffer._counting.providers import provider_of
from langchain_tokenbuffer._counting.resolve import fallback_models, served_name, unwrapped
from langchain_tokenbuffer.counters import TokenCounter


class ModelFacts:
    """What is known of a model: bound tools, fallbacks and configurable fields are looked through.

    Attributes:
        kind: The name of its class.
        name: The name that its replies' reports go by, if it has one.
        binds_thinking: Whether thinking is valid only behind the messages it was produced under.
        context: The smallest `max_input_tokens` of all that may answer; `None` if one is unknown.
        output_limit: How many tokens a reply may have, as set on the model; 0 if nothing is set.
    """

    def __init__(self, model: object) -> None:
        self._model = unwrapped(model)
        self.kind = type(self._model).__name__
        self.name = served_name(self._model)
        self.binds_thinking = provider_of(self._model).binds_thinking
        self.context = _context(model)
        self.output_limit = int(getattr(self._model, "max_tokens", None) or 0)

    @cached_property
    def counter(self) -> TokenCounter:
        """What counts as the model does.

        Raises:
            TypeError: If it cannot count before it is configured.
        """
        if not isinstance(self._model, BaseLanguageModel):
            msg = (
                f"The agent's model is a {self.kind}, which cannot count tokens before it is "
                "configured. Pass TokenBufferMiddleware(token_counter=...), e.g. one of the "
                "models it stands for, and max_tokens= as an int."
            )
            raise TypeError(msg)
        return TokenCounter(self._model)


def _context(model: object) -> int | None:
    profiles = [getattr(each, "profile", None) for each in fallback_models(model)]
    limits = [each.get("max_input_tokens") for each in profiles if isinstance(each, Mapping)]
    known = [limit for limit in limits if isinstance(limit, int)]
    return min(known) if known and len(known) == len(profiles) else None


class ModelReader:
    """Tells what is known of a model; read once for the same object."""

    def __init__(self) -> None:
        self._read = lru_cache(maxsize=32)(_read)

    def __call__(self, model: object) -> ModelFacts:
        return self._read(Keyed(id(model), model))


def _read(model: Keyed[object]) -> ModelFacts:
    return ModelFacts(model.value)
