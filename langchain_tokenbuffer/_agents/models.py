"""What is known of an agent's model, whatever it is wrapped in: read once per object."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseLanguageModel

from langchain_tokenbuffer._agents.keyed import Keyed
from langchain_tokenbuffer._counting.providers import checks_thinking, provider_of
from langchain_tokenbuffer._counting.resolve import bound_options, fallback_models, resolve, served_name, unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_tokenbuffer._counting.message_counters import MessageCounter

OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
"""What LangChain's models call the most tokens of a reply: OpenAI's and Anthropic's, OpenAI's newer one, Gemini's,
Ollama's."""

_CONTINUES = "use_previous_response_id"  # of LangChain's `ChatOpenAI`


class ModelFacts:
    """What is known of a model: bound tools, fallbacks and configurable fields are seen through."""

    def __init__(self, model: Any) -> None:
        self._asked = model
        self._model = unwrapped(model)
        self.kind = type(self._model).__name__
        self.name = served_name(self._model)  # by which its replies' reports go, if it has one
        self.binds_thinking = provider_of(self._model).binds_thinking
        self.checks_thinking = checks_thinking(self._model)
        # Whether it sends only what is new, by the id of a response whose messages its server keeps.
        self.continues_responses = any(getattr(each, _CONTINUES, False) is True for each in fallback_models(model))
        # In tokens; of all that may answer the smallest window and the longest reply; None: one is unknown.
        self.max_input_tokens = _in_profiles(model, "max_input_tokens", min)
        self.max_output_tokens = _in_profiles(model, "max_output_tokens", max)
        limits = (getattr(self._model, name, None) for name in OUTPUT_LIMITS)
        # As set on the model; 0: nothing is.
        self.output_limit = next((limit for limit in limits if isinstance(limit, int) and limit > 0), 0)

    @cached_property
    def counter(self) -> MessageCounter:
        """What counts as the model does; raises `TypeError` if it cannot count before it is configured."""
        if not isinstance(self._model, BaseLanguageModel):
            msg = (
                f"The agent's model is a {self.kind}, which cannot count tokens before it is configured. Pass "
                "TokenBufferMiddleware(token_counter=...), e.g. one of the models it stands for, and max_tokens= as "
                "an int."
            )
            raise TypeError(msg)
        return resolve(self._asked)

    def counter_with(self, tools: Sequence[object]) -> MessageCounter:
        """Return what counts a request with these tools: a provider's own may change the API that is asked."""
        own = [tool for tool in tools if isinstance(tool, dict) and tool.get("type", "function") != "function"]
        if not own or not isinstance(self._model, BaseLanguageModel):
            return self.counter
        return resolve(self._model.bind(**{**bound_options(self._asked), "tools": own}))


def _in_profiles(model: object, name: str, pick: Callable[[list[int]], int]) -> int | None:
    """Return one number of the profiles of all that may answer; `None` if one is unknown."""
    profiles = [getattr(each, "profile", None) for each in fallback_models(model)]
    limits = [each.get(name) if isinstance(each, Mapping) else None for each in profiles]
    known = [limit for limit in limits if isinstance(limit, int)]
    return pick(known) if known and len(known) == len(limits) else None


class ModelReader:
    """Tells what is known of a model."""

    def __init__(self) -> None:
        self._read = lru_cache(maxsize=32)(_read)

    def __call__(self, model: object) -> ModelFacts:
        return self._read(Keyed(id(model), model))


def _read(model: Keyed[object]) -> ModelFacts:
    return ModelFacts(model.value)
