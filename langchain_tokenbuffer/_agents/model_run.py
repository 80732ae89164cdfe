"""What LangChain's callbacks say of the model call that runs now."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook
from typing_extensions import override

from langchain_tokenbuffer._agents.fixed_part import format_tool_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, GenerationChunk

    from langchain_tokenbuffer._agents.facts import Request
    from langchain_tokenbuffer._counting.message_counters import MessageCounter


class SentRequest(NamedTuple):
    """What a model was sent."""

    messages: Sequence[BaseMessage]
    tools: Sequence[Any]  # as its provider takes them


class ModelRun(BaseCallbackHandler):
    """Sees what models are sent, and whether the last one has begun to answer."""

    run_inline = True  # an async run calls it at once, not in a worker thread for each token

    def __init__(self) -> None:
        self.sent: list[SentRequest] = []
        self.has_streamed = False  # whether somebody may have seen a part of its reply

    @override
    def on_chat_model_start(self, serialized: dict[str, Any], messages: list[list[BaseMessage]], **kwargs: Any) -> None:
        self.has_streamed = False
        tools = (kwargs.get("invocation_params") or {}).get("tools") or ()
        self.sent += (SentRequest(each, tools) for each in messages)

    @override
    def on_llm_new_token(
        self, token: Any, *, chunk: GenerationChunk | ChatGenerationChunk | None = None, **kwargs: Any
    ) -> None:
        message = getattr(chunk, "message", None)  # the first chunks of a stream may hold nothing yet
        self.has_streamed |= bool(token or getattr(message, "content", None) or getattr(message, "tool_calls", None))

    def added_to(self, request: Request, counter: MessageCounter) -> int:
        """Return by how many tokens what a model was sent is more than the request handed on."""
        # A middleware may ask models other things, too.
        wanted = set(map(_name_of, request.messages))
        sent = next((each for each in reversed(self.sent) if wanted.issubset(map(_name_of, each.messages))), None)
        if sent is None:
            return 0
        handed = [*([request.system_message] if request.system_message else []), *request.messages]
        added = 0 if _is_same(sent.messages, handed) else counter.whole(sent.messages) - counter.whole(handed)
        known = {*_names_of(request.tools), *format_tool_names(request.response_format)}
        if new := [tool for tool in sent.tools if not known.issuperset(_names_of([tool]))]:
            added += counter.request_tokens([], [*request.tools, *new]) - counter.request_tokens([], request.tools)
        return max(0, added)


def _name_of(message: BaseMessage) -> str | int:
    return message.id or id(message)  # callbacks are shown copies of messages with files


def _is_same(some: Sequence[BaseMessage], others: Sequence[BaseMessage]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _names_of(tools: Sequence[Any]) -> Iterator[str]:
    """Yield what tools are called, in any provider's format, as far as they say it."""
    for tool in tools:
        if isinstance(tool, dict):
            inner = tool.get("function_declarations") or [tool.get("function") or tool.get("toolSpec") or tool]
            names = [each.get("name") or each.get("type") for each in inner if isinstance(each, dict)]
        else:
            names = [getattr(tool, "name", None) or getattr(tool, "__name__", None)]
        yield from filter(None, names)


_run: ContextVar[ModelRun | None] = ContextVar("model_run", default=None)
register_configure_hook(_run, inheritable=True)


@contextmanager
def watched_model_run() -> Iterator[ModelRun]:
    """Watch the models that are called inside, in this thread or task and those it starts."""
    run = ModelRun()
    token = _run.set(run)
    try:
        yield run
    finally:
        _run.reset(token)
