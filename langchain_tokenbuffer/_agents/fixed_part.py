"""What a request costs beside its messages: its system message, tools and response format."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy

from langchain_tokenbuffer._agents.keyed import Keyed

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._agents.facts import Request
    from langchain_tokenbuffer.counters import TokenCounter, Tool

_TOOL_CHOICE_TOKENS = 10
"""For naming the tool to call, or forbidding all: OpenAI bills its name and 4, or 1."""
_FREE_CHOICES = (None, "auto", "any", "required")


class FixedPart(NamedTuple):
    """What is counted beside the messages, and by what."""

    counter: TokenCounter
    system: list[BaseMessage]
    tools: list[Any]
    response_format: Any
    chooses_tool: bool


class FixedPartCounter:
    """Counts the fixed part of requests, in tokens; once for the same objects."""

    def __init__(self) -> None:
        self._tokens = lru_cache(maxsize=32)(_tokens)

    def __call__(self, request: Request, counter: TokenCounter) -> int:
        system: list[BaseMessage] = [request.system_message] if request.system_message else []
        tools, wanted = [*request.tools], request.response_format
        chooses = request.tool_choice not in _FREE_CHOICES
        # A dict may be changed in place, so it is known by what it says; others by identity.
        known = tuple(repr(tool) if isinstance(tool, dict) else id(tool) for tool in tools)
        key = (id(counter), *counter.keys(system), known, id(wanted), chooses)
        return self._tokens(Keyed(key, FixedPart(counter, system, tools, wanted, chooses)))


def _tokens(keyed: Keyed[FixedPart]) -> int:
    counter, system, tools, wanted, chooses = keyed.value
    wholes = (counter.count(system, tools=[*tools, *more], response_format=schema) for more, schema in _formats(wanted))
    # Also as the counter counts the messages alone: a reasoning model's bill is one less.
    return max(counter(system), *wholes) + chooses * _TOOL_CHOICE_TOKENS


def _formats(wanted: Any) -> list[tuple[list[Tool], dict[str, Any] | None]]:
    """Return how a response format may be asked for: as tools, or as a schema.

    What is undecided is both; the one with more tokens counts.
    """
    if wanted is None:
        return [([], None)]
    if isinstance(wanted, ProviderStrategy):
        return [([], wanted.schema_spec.json_schema)]
    schema = wanted.schema if isinstance(wanted, AutoStrategy) else wanted
    specs = (wanted if isinstance(wanted, ToolStrategy) else ToolStrategy(schema)).schema_specs
    as_tools: list[Tool] = [
        {
            "type": "function",
            "function": {
                "name": spec.name,
                "description": spec.description,
                "parameters": spec.json_schema,
            },
        }
        for spec in specs
    ]
    if isinstance(wanted, ToolStrategy):
        return [(as_tools, None)]
    return [(as_tools, None), *(([], spec.json_schema) for spec in specs)]
