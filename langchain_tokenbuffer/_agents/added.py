"""What middlewares behind this one add to requests, noticed by what the model was sent."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_tokenbuffer._agents.fixed_part import format_tool_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._agents.facts import Request, RequestFacts
    from langchain_tokenbuffer._agents.model_run import ModelRun, SentRequest
    from langchain_tokenbuffer.counters import TokenCounter

logger = logging.getLogger(__name__)

_MAX_THREADS = 1000


class _Noticed(NamedTuple):
    tokens: int
    is_logged: bool


class AddedTokens:
    """What was added to requests of each thread at most, in tokens.

    The thread's private state holds it, too. This is for threads without one: a caller that keeps the messages itself,
    an agent that is a node. They are known by the ids of their messages, within this process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: OrderedDict[str, _Noticed] = OrderedDict()

    def find(self, request: Request) -> int:
        """Return what is known to be added to requests of this thread."""
        saved: int = (request.state.get("token_buffer") or {}).get("added", 0)
        return max(saved, self._noticed(request.messages).tokens)

    def learn(self, facts: RequestFacts, request: Request, tokens: int, added: int, max_tokens: int) -> None:
        """Keep what was added to a request that was counted to so many tokens; say once a thread if that is too much.

        `tokens` has in it what is reserved and what was known to be added.
        """
        earlier = self._noticed(request.messages)
        sent = tokens - facts.reserved - facts.fixed_tokens.added + added
        is_logged = earlier.is_logged or sent > max_tokens
        if is_logged and not earlier.is_logged:
            logger.warning(_TOO_MUCH, sent, max_tokens, added, max(added, facts.settings.reserve_tokens))
        newest = next((each.id for each in reversed(request.messages) if each.id), None)
        noticed = _Noticed(max(earlier.tokens, added), is_logged)
        if newest is not None and noticed != earlier:
            with self._lock:
                self._threads[newest] = noticed
                while len(self._threads) > _MAX_THREADS:
                    self._threads.popitem(last=False)

    def _noticed(self, messages: Sequence[BaseMessage]) -> _Noticed:
        ids = (each.id for each in reversed(messages) if each.id) if self._threads else ()
        return next((found for each in ids if (found := self._threads.get(each))), _Noticed(0, is_logged=False))


_TOO_MUCH = (
    "A request of %d tokens was sent, and max_tokens is %d: middlewares behind TokenBufferMiddleware added %d tokens to "
    "it. From the thread's next call on they are in the budget. For the first one, too, put TokenBufferMiddleware last "
    "or set reserve_tokens=%d."
)


def added_tokens(request: Request, run: ModelRun, counter: TokenCounter) -> int:
    """Return by how many tokens what the model was sent is more than the request handed on."""
    sent = _sent_for(request, run)
    if sent is None:
        return 0
    handed = [*([request.system_message] if request.system_message else []), *request.messages]
    added = 0 if _is_same(sent.messages, handed) else counter(sent.messages) - counter(handed)
    known = {*_names_of(request.tools), *format_tool_names(request.response_format)}
    if new := [tool for tool in sent.tools if not known.issuperset(_names_of([tool]))]:
        added += counter.count([], tools=[*request.tools, *new]) - counter.count([], tools=request.tools)
    return max(0, added)


def _sent_for(request: Request, run: ModelRun) -> SentRequest | None:
    """Return what was sent last with all the request's messages; a middleware may ask other things of a model."""
    wanted = set(map(_name_of, request.messages))
    return next((each for each in reversed(run.sent) if wanted.issubset(map(_name_of, each.messages))), None)


def _name_of(message: BaseMessage) -> str | int:
    return message.id or id(message)  # callbacks are shown copies of messages with files


def _is_same(some: Sequence[BaseMessage], others: Sequence[BaseMessage]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _names_of(tools: Sequence[Any]) -> Iterator[str]:
    """Yield what tools are called, in any provider's format."""
    for tool in tools:
        if not isinstance(tool, dict):
            yield getattr(tool, "name", None) or getattr(tool, "__name__", "")
            continue
        inner = tool.get("function_declarations") or [tool.get("function") or tool.get("toolSpec") or tool]
        yield from (str(each.get("name") or each.get("type", "")) for each in inner if isinstance(each, dict))
