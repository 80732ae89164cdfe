"""What a request costs beside its messages: its system message, tools and response format."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy

from langchain_tokenbuffer._agents.facts import FixedTokens
from langchain_tokenbuffer._agents.keyed import Keyed

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._agents.facts import Request
    from langchain_tokenbuffer._counting.message_counters import MessageCounter


class FixedPart(NamedTuple):
    """What is counted beside the messages, and by what."""

    counter: MessageCounter
    system: list[BaseMessage]
    tools: list[Any]
    response_format: Any
    chosen: int  # what the tool choice brings, in tokens


class FixedPartCounter:
    """Counts the fixed part of requests, in tokens; once for the same objects."""

    def __init__(self) -> None:
        self._tokens = lru_cache(maxsize=32)(_tokens)

    def __call__(self, request: Request, counter: MessageCounter) -> FixedTokens:
        system: list[BaseMessage] = [request.system_message] if request.system_message else []
        tools, response_format = [*request.tools], request.response_format
        chosen = counter.choice_tokens(request.tool_choice)
        # A dict may be changed in place, so it is known by what it says; others by identity.
        tool_keys = tuple(repr(tool) if isinstance(tool, dict) else id(tool) for tool in tools)
        key = (id(counter), *counter.keys(system), tool_keys, id(response_format), chosen)
        return self._tokens(Keyed(key, FixedPart(counter, system, tools, response_format, chosen)))


def _tokens(keyed: Keyed[FixedPart]) -> FixedTokens:
    counter, system, tools, response_format, chosen = keyed.value
    candidates = (
        counter.request_tokens(system, [*tools, *format_tools], schema)
        for format_tools, schema in _formats(response_format)
    )
    system_tokens = counter.whole(system)
    # At least the plain count: a whole request to a reasoning model is counted one token less, as it is billed.
    return FixedTokens(system_tokens, max(0, max(candidates) - system_tokens) + chosen)


def _formats(response_format: Any) -> list[tuple[list[dict[str, Any]], dict[str, Any] | None]]:
    """Return how a response format may be asked for: as tools, or as a schema.

    `AutoStrategy` may become either; the dearer counts.
    """
    if response_format is None:
        return [([], None)]
    if isinstance(response_format, ProviderStrategy):
        return [([], response_format.schema_spec.json_schema)]
    if isinstance(response_format, ToolStrategy):
        return [(_as_tools(response_format), None)]
    schema = response_format.schema if isinstance(response_format, AutoStrategy) else response_format
    strategy = ToolStrategy(schema)
    return [(_as_tools(strategy), None), *(([], spec.json_schema) for spec in strategy.schema_specs)]


def format_tool_names(response_format: Any) -> frozenset[str]:
    """Return the names of the tools that a response format may become."""
    return _format_tool_names(Keyed(id(response_format), response_format))


@lru_cache(maxsize=32)
def _format_tool_names(keyed: Keyed[Any]) -> frozenset[str]:
    return frozenset(tool["function"]["name"] for tools, _ in _formats(keyed.value) for tool in tools)


def _as_tools(strategy: ToolStrategy[Any]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": spec.name, "description": spec.description, "parameters": spec.json_schema},
        }
        for spec in strategy.schema_specs
    ]
