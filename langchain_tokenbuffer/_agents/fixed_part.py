"""What a request costs beside its messages: its system message, tools and response format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy

from langchain_tokenbuffer._agents.recent import Recent

if TYPE_CHECKING:
    from langchain_tokenbuffer._agents.facts import Request
    from langchain_tokenbuffer.counters import TokenCounter, Tool

_TOOL_CHOICE_TOKENS = 10
"""For naming the tool to call, or forbidding all: OpenAI bills its name and 4, or 1."""
_FREE_CHOICES = (None, "auto", "any", "required")


class FixedPartCounter:
    """Counts the fixed part of requests, in tokens; once for the same objects."""

    def __init__(self) -> None:
        self._recent: Recent[object, tuple[object, int]] = Recent()

    def __call__(self, request: Request, counter: TokenCounter) -> int:
        system = [] if request.system_message is None else [request.system_message]
        tools, wanted = request.tools, request.response_format
        # A dict may be changed in place, so it is known by what it says; others by identity, which
        # is theirs alone as long as they are held.
        key = (
            id(counter),
            *counter.keys(system),
            *(repr(tool) if isinstance(tool, dict) else id(tool) for tool in tools),
            id(wanted),
            _is_chosen(request),
        )
        held = (counter, *tools, wanted)
        return self._recent.get_or_make(key, lambda: (held, _count(request, counter)))[1]


def _count(request: Request, counter: TokenCounter) -> int:
    system = [] if request.system_message is None else [request.system_message]
    wholes = (
        counter.count(system, tools=[*request.tools, *more], response_format=schema)
        for more, schema in _formats(request.response_format)
    )
    # Also as the counter counts the messages alone: a reasoning model's bill is one less.
    return max(counter(system), *wholes) + _is_chosen(request) * _TOOL_CHOICE_TOKENS


def _is_chosen(request: Request) -> bool:
    return request.tool_choice not in _FREE_CHOICES


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
