"""Stand-ins for providers, over HTTP on this machine: each refuses what is too long, as it does."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALLOWED = 2000
"""How many tokens a request may have, of four letters each."""


class StandIn:
    """A provider that answers or refuses, and keeps how many tokens each request had.

    `answer` returns a body, a list of events, or a status and a body.
    """

    def __init__(self, answer: Callable[..., Any]) -> None:
        self.answer = answer  # given a request's tokens and whether it `streams`
        self.tokens: list[int] = []
        self.address = ""

    def reply_to(self, path: str, asked: dict[str, Any]) -> Any:
        messages = asked.get("messages") or asked.get("input") or asked.get("contents")
        self.tokens.append(len(json.dumps(messages)) // 4)
        return self.answer(self.tokens[-1], streams=bool(asked.get("stream")) or "stream" in path.lower())


@contextmanager
def standing_in(answer: Callable[..., Any]) -> Iterator[StandIn]:
    """Serve a provider while inside."""
    provider = StandIn(answer)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, body = 200, provider.reply_to(self.path, asked)
            if isinstance(body, tuple):
                status, body = body
            kind, sent = "application/json", json.dumps(body)
            if isinstance(body, list):
                kind, sent = "text/event-stream", "".join(map(_event, body))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(sent.encode())))
            self.end_headers()
            self.wfile.write(sent.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _event(said: dict[str, Any]) -> str:
    return (f"event: {said['type']}\n" if "type" in said else "") + f"data: {json.dumps(said)}\n\n"


# --- what each says --------------------------------------------------------------------------


def openai_chat(tokens: int, *, streams: bool, in_stream: bool = False) -> Any:
    if tokens > ALLOWED:
        text = f"This model's maximum context length is {ALLOWED} tokens. However, your messages resulted in {tokens} "
        text += "tokens. Please reduce the length of the messages."
        refusal = {"error": {"message": text, "type": "invalid_request_error", "code": "context_length_exceeded"}}
        return [refusal] if in_stream and streams else (400, refusal)
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    said = {"role": "assistant", "content": "hello"}
    if streams:
        return [chunk | {"choices": [{"index": 0, "delta": said, "finish_reason": "stop"}]}]
    return chunk | {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1},
    }


def openai_chat_in_stream(tokens: int, *, streams: bool) -> Any:
    return openai_chat(tokens, streams=streams, in_stream=True)


def vllm(tokens: int, *, streams: bool) -> Any:
    if tokens > ALLOWED:
        text = (
            f"This model's maximum context length is {ALLOWED} tokens. However, you requested 0 output tokens and your "
            f"prompt contains at least {ALLOWED + 1} input tokens, for a total of at least {ALLOWED + 1} tokens."
        )
        return 400, {"error": {"message": text, "type": "BadRequestError", "param": "input_tokens", "code": 400}}
    return openai_chat(tokens, streams=streams)


_TOO_LONG = "Your input exceeds the context window of this model. Please adjust your input and try again."
_RESPONSE: dict[str, Any] = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "status": "in_progress",
    "model": "gpt-5",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
_TEXT = {"type": "output_text", "text": "hello", "annotations": []}
_ITEM = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [_TEXT]}


def openai_responses(tokens: int, *, streams: bool, refused_by: str = "") -> Any:
    begun = {"type": "response.created", "sequence_number": 0, "response": _RESPONSE}
    if tokens > ALLOWED:
        error = {"code": "context_length_exceeded", "message": _TOO_LONG}
        if not (streams and refused_by):
            return 400, {"error": error | {"type": "invalid_request_error", "param": "input"}}
        failed = _RESPONSE | {"status": "failed", "error": error}
        kind: dict[str, Any] = {"type": refused_by, "sequence_number": 1}
        return [begun, kind | ({"error": error} if refused_by == "error" else {"response": failed})]
    usage = {
        "input_tokens": tokens,
        "output_tokens": 1,
        "total_tokens": tokens + 1,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    done = _RESPONSE | {"status": "completed", "output": [_ITEM], "usage": usage}
    if not streams:
        return done
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    return [
        begun,
        {
            "type": "response.output_item.added",
            "sequence_number": 1,
            "output_index": 0,
            "item": _ITEM | {"content": []},
        },
        {"type": "response.output_text.delta", "sequence_number": 2, "delta": "hello", "logprobs": []} | place,
        {"type": "response.completed", "sequence_number": 3, "response": done},
    ]


def openai_responses_error(tokens: int, *, streams: bool) -> Any:
    return openai_responses(tokens, streams=streams, refused_by="error")


def openai_responses_failed(tokens: int, *, streams: bool) -> Any:
    return openai_responses(tokens, streams=streams, refused_by="response.failed")


def anthropic(tokens: int, *, streams: bool, in_stream: bool = False) -> Any:
    if tokens > ALLOWED:
        text = f"prompt is too long: {tokens} tokens > {ALLOWED} maximum"
        refusal = {"type": "error", "error": {"type": "invalid_request_error", "message": text}}
        return [refusal] if in_stream and streams else (400, refusal)
    usage = {"input_tokens": tokens, "output_tokens": 1}
    reply: dict[str, Any] = {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-9"}
    reply |= {"stop_sequence": None, "usage": usage}
    if not streams:
        return reply | {"content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"}
    return [
        {"type": "message_start", "message": reply | {"content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]


def anthropic_in_stream(tokens: int, *, streams: bool) -> Any:
    return anthropic(tokens, streams=streams, in_stream=True)


def gemini(tokens: int, *, streams: bool) -> Any:
    if tokens > ALLOWED:
        text = f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({ALLOWED})."
        return 400, {"error": {"code": 400, "message": text, "status": "INVALID_ARGUMENT"}}
    said = {"role": "model", "parts": [{"text": "hello"}]}
    usage = {"promptTokenCount": tokens, "candidatesTokenCount": 1, "totalTokenCount": tokens + 1}
    reply = {"candidates": [{"content": said, "finishReason": "STOP", "index": 0}], "usageMetadata": usage}
    return [reply] if streams else reply
