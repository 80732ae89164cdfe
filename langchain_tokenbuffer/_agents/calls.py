"""One way through an agent's call: facts, state, plan, rendering, and what the reply brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware.types import ExtendedModelResponse, ModelResponse
from langchain_core.messages import RemoveMessage
from langgraph.types import Command

from langchain_tokenbuffer._agents.facts import AgentSettings, Request, RequestReader
from langchain_tokenbuffer._agents.plan import overflow_limit, plan_call
from langchain_tokenbuffer._agents.rendering import RenderedCall, evictable, render
from langchain_tokenbuffer._agents.state import Overflowed, ThreadState
from langchain_tokenbuffer._window.drivers import DriverCache
from langchain_tokenbuffer.errors import TokenBudgetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """One model call: the request to send, and what goes into the state with its reply.

    Attributes:
        original: The request as it came.
        rendered: The request as it is sent.
        evicted: The messages that leave the agent's state.
    """

    original: Request
    rendered: RenderedCall
    evicted: list[BaseMessage]

    @property
    def request(self) -> Request:
        """The request to send."""
        return self.rendered.request

    def with_updates(
        self, response: ModelResponse[Any]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Return the response, with what changes in the agent's state."""
        plan = self.rendered.plan
        update: dict[str, Any] = {}
        if self.evicted:
            update["messages"] = [RemoveMessage(id=str(each.id)) for each in self.evicted]
        private = plan.state.save(plan, self.evicted)
        if private is not None:
            update["token_buffer"] = private
        if not update:
            return response
        return ExtendedModelResponse(model_response=response, command=Command(update=update))


class CallPreparer:
    """Prepares an agent's model calls; what it holds is only a cache, and is not pickled.

    Args:
        on_rendered: Called with every request that is about to be sent.
    """

    def __init__(self, on_rendered: Callable[[RenderedCall], None]) -> None:
        self._on_rendered = on_rendered
        self._reader = RequestReader()
        self._drivers = DriverCache()

    def prepare(
        self, request: Request, settings: AgentSettings, overflowed: Overflowed | None = None
    ) -> PreparedCall:
        """Return the request with the window for its messages.

        Args:
            request: The request as it came.
            settings: The middleware's.
            overflowed: What a refusal of this request taught.

        Raises:
            TokenBudgetError: If what must stay does not fit and `oversize` cannot make it fit.
            ValueError: If `max_tokens` needs a profile and the model has none.
            TypeError: If the model cannot count, or `pin` returns no bool.
        """
        facts = self._reader.facts(request, settings)
        state = ThreadState.load(request.state, facts, overflowed)
        plan = plan_call(facts, state, request.messages, self._drivers)
        rendered = render(plan, request)
        self._on_rendered(rendered)
        evicts = settings.evict_from_state
        evicted = evictable(plan, request.state["messages"]) if evicts else []
        return PreparedCall(request, rendered, evicted)

    def retry(self, refused: PreparedCall, error: Exception) -> PreparedCall:
        """Return the call to try instead of one the provider found too long.

        Raises:
            Exception: The error itself, if it is another or nothing smaller is allowed.
        """
        plan, sent = refused.rendered.plan, refused.rendered.tokens
        overflowed = overflow_limit(plan, sent, error)
        try:
            smaller = self.prepare(refused.original, plan.facts.settings, overflowed)
        except TokenBudgetError:
            raise error from None
        if smaller.rendered.tokens >= sent:
            raise error
        return smaller
