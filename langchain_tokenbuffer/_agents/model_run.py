"""What LangChain's callbacks say of the model call that runs now."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.outputs import ChatGenerationChunk, GenerationChunk


class ModelRun(BaseCallbackHandler):
    """Sees the model that was called last."""

    run_inline = True  # an async run calls it at once, not in a worker thread for each token

    def __init__(self) -> None:
        self.has_streamed = False  # whether somebody may have seen a part of its reply

    @override
    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.has_streamed = False

    @override
    def on_llm_new_token(
        self, token: Any, *, chunk: GenerationChunk | ChatGenerationChunk | None = None, **kwargs: Any
    ) -> None:
        message = getattr(chunk, "message", None)  # the first chunks of a stream may hold nothing yet
        self.has_streamed |= bool(token or getattr(message, "content", None) or getattr(message, "tool_calls", None))


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
