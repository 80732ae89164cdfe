"""An agent's middlewares beside ours, as a user's type checker sees them; `make type` checks this file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ContextEditingMiddleware,
    FilesystemFileSearchMiddleware,
    HumanInTheLoopMiddleware,
    LLMToolEmulator,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    ShellToolMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
    before_model,
)
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel

from langchain_tokenbuffer import TokenBufferMiddleware

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

MODEL = ParrotFakeChatModel()


class OwnState(AgentState[Any]):
    """A state with a key of its own."""

    visits: int


class Own(AgentMiddleware[OwnState, Any, Any]):
    """A middleware with a state of its own."""

    state_schema = OwnState


@before_model
def decorated(state: AgentState[Any], runtime: Runtime[Any]) -> None:
    """A middleware that a decorator made."""


def beside_one_other() -> None:
    """Each beside ours, and ours beside each: a list of two is inferred from both."""
    create_agent(MODEL, middleware=[TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[ContextEditingMiddleware(), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[FilesystemFileSearchMiddleware(root_path="/"), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[HumanInTheLoopMiddleware(interrupt_on={}), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[LLMToolEmulator(), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[LLMToolSelectorMiddleware(), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[ModelCallLimitMiddleware(run_limit=5), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[ModelFallbackMiddleware(MODEL), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[ModelRetryMiddleware(), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[PIIMiddleware("email"), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[ShellToolMiddleware(), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[SummarizationMiddleware(MODEL), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[TodoListMiddleware(), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[ToolCallLimitMiddleware(run_limit=5), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[ToolRetryMiddleware(), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[Own(), TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[decorated, TokenBufferMiddleware(8000)])
    create_agent(MODEL, middleware=[TokenBufferMiddleware(8000), ModelCallLimitMiddleware(run_limit=5)])


def beside_several() -> None:
    """A list of several, and lists that were made before."""
    create_agent(MODEL, middleware=[decorated, PIIMiddleware("email"), ModelRetryMiddleware(), TokenBufferMiddleware()])
    made = [TodoListMiddleware[Any](), TokenBufferMiddleware(8000)]
    create_agent(MODEL, middleware=made)
    declared: list[AgentMiddleware[Any, Any, Any]] = [Own(), ModelCallLimitMiddleware(), TokenBufferMiddleware(8000)]
    create_agent(MODEL, middleware=declared)
