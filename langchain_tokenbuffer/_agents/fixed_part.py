"""What a request costs beside its messages: system message, tools, response format, and what is added behind."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy

from langchain_tokenbuffer._agents.facts import FixedTokens
from langchain_tokenbuffer._agents.keyed import Keyed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._agents.facts import Request, RequestFacts
    from langchain_tokenbuffer.counters import TokenCounter

logger = logging.getLogger(__name__)


class FixedPart(NamedTuple):
    """What is counted beside the messages, and by what."""

    counter: TokenCounter
    system: list[BaseMessage]
    tools: list[Any]
    response_format: Any
    chosen: int  # what the tool choice brings, in tokens


class FixedPartCounter:
    """Counts the fixed part of requests, in tokens; once for the same objects."""

    def __init__(self) -> None:
        self._tokens = lru_cache(maxsize=32)(_tokens)
        self._added = AddedTokens()

    def __call__(self, request: Request, counter: TokenCounter) -> FixedTokens:
        system: list[BaseMessage] = [request.system_message] if request.system_message else []
        tools, response_format = [*request.tools], request.response_format
        chosen = counter.choice_tokens(request.tool_choice)
        # A dict may be changed in place, so it is known by what it says; others by identity.
        tool_keys = tuple(repr(tool) if isinstance(tool, dict) else id(tool) for tool in tools)
        key = (id(counter), *counter.keys(system), tool_keys, id(response_format), chosen)
        tokens = self._tokens(Keyed(key, FixedPart(counter, system, tools, response_format, chosen)))
        return tokens._replace(added=self._added.find(request))

    def learn_added(self, request: Request, facts: RequestFacts, added: int, tokens: int, max_tokens: int) -> int:
        """Learn by how many tokens what was sent is more than the request handed on, which has so many `tokens`.

        Returns what is added to requests of this thread at most.
        """
        if added:
            sent = tokens - facts.reserved - facts.fixed_tokens.added + added
            if self._added.keep(request.messages, added, is_too_much=sent > max_tokens):
                logger.warning(_TOO_MUCH, sent, max_tokens, added, max(added, facts.settings.reserve_tokens))
        return self._added.find(request)


def _tokens(keyed: Keyed[FixedPart]) -> FixedTokens:
    counter, system, tools, response_format, chosen = keyed.value
    candidates = (
        counter.count(system, tools=[*tools, *format_tools], response_format=schema)
        for format_tools, schema in _formats(response_format)
    )
    system_tokens = counter(system)
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


# --- what is added behind ---

_MAX_THREADS = 1000
_TOO_MUCH = (
    "A request of %d tokens was sent, and max_tokens is %d: middlewares behind TokenBufferMiddleware added %d tokens. "
    "From this thread's next call on they are in the budget. For its first call, too, put TokenBufferMiddleware "
    "last or set reserve_tokens=%d."
)


class _Added(NamedTuple):
    tokens: int  # at most, to a request of the thread
    is_too_much: bool  # whether a request was over budget by it


class AddedTokens:
    """What middlewares behind add to the requests of each thread, at most.

    The thread's private state holds it, too. This is for threads without one: of a caller that keeps the messages, of
    an agent that is a node. They are known by the ids of their messages, and only within this process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_newest: OrderedDict[str, _Added] = OrderedDict()  # by the id of a request's newest message

    def find(self, request: Request) -> int:
        """Return how many tokens are known to be added to requests of this thread."""
        state: Mapping[str, Any] = request.state
        saved: int = (state.get("token_buffer") or {}).get("added", 0)
        return max(saved, self._last(request.messages).tokens)

    def keep(self, messages: Sequence[BaseMessage], tokens: int, *, is_too_much: bool) -> bool:
        """Keep what was added to a request with these messages; tell whether it is the thread's first too much."""
        earlier = self._last(messages)
        now = _Added(max(tokens, earlier.tokens), is_too_much or earlier.is_too_much)
        newest = next((each.id for each in reversed(messages) if each.id), None)
        if newest is not None and now != earlier:
            with self._lock:
                self._by_newest[newest] = now
                while len(self._by_newest) > _MAX_THREADS:
                    self._by_newest.popitem(last=False)
        return now.is_too_much and not earlier.is_too_much

    def _last(self, messages: Sequence[BaseMessage]) -> _Added:
        ids = (each.id for each in reversed(messages) if each.id) if self._by_newest else ()
        return next((known for each in ids if (known := self._by_newest.get(each))), _NOTHING)


_NOTHING = _Added(0, is_too_much=False)
