"""What a model was asked and what it answered, as each API has it.

| API | a request's messages | beside them | an answer's messages |
| --- | --- | --- | --- |
| OpenAI chat, Mistral, Ollama, Cohere | `messages` | `tools`, `functions` | `choices`, `message` |
| OpenAI Responses | `input`, a text or items | `instructions`, `tools` | `output` |
| Anthropic | `messages` | `system`, `tools` | the answer is one |
| Gemini | `contents` | `systemInstruction`, `tools` | `candidates` |
| Cohere's first | `chat_history`, `message` | `preamble`, `tools` | |
| Bedrock Converse | `messages` | `system`, `toolConfig` | `output` |
| LangChain | `messages`, also several lists | what its model was called with | `generations`, `messages` |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langchain_tokenbuffer._replay.messages import is_message
from langchain_tokenbuffer._replay.model_names import best_named

_MODEL_KEYS = ("model", "model_name", "modelId", "model_id", "modelVersion", "ls_model_name")
_SYSTEM_KEYS = ("system", "instructions", "systemInstruction", "system_instruction", "preamble")


@dataclass(frozen=True)
class Request:
    """What a model was asked."""

    batches: list[list[Any]]  # the messages of each conversation in it: one, but where requests went out in a batch
    tools: tuple[dict[str, Any], ...]  # the schemas, as the API has them
    models: tuple[str, ...]  # how it names the model, the best name first


def request_in(value: object) -> Request | None:
    """Return the request that a dict is; `None` if it is none."""
    if not isinstance(value, dict) or (asked := _messages_in(value)) is None:
        return None
    batches = asked if asked and all(isinstance(each, list) for each in asked) else [asked]
    head = [_system(value[key]) for key in _SYSTEM_KEYS if value.get(key)]
    return Request([[*head, *batch] for batch in batches], _tools_in(value), models_in(value))


def _messages_in(request: dict[str, Any]) -> list[Any] | None:
    """Return the messages of a request, under whatever key."""
    if "contents" in request:
        return _contents_in(request["contents"])
    if isinstance(request.get("message"), str) and request.get("model"):
        return [*map(_of_cohere, request.get("chat_history") or ()), _user(request["message"])]
    for given in (request.get("messages"), request.get("input")):
        messages = given.get("messages") if isinstance(given, dict) else given
        if isinstance(messages, list):
            return messages
    given = request.get("input")
    return [_user(given)] if isinstance(given, str) and _is_chat(request) else None


def _contents_in(contents: object) -> list[Any] | None:
    """Return Gemini's, in which a text is the user's."""
    if isinstance(contents, str):
        return [_user(contents)]
    return [_user(each) if isinstance(each, str) else each for each in contents] if isinstance(contents, list) else None


def _of_cohere(turn: object) -> object:
    """Return a turn of Cohere's first API, which calls roles and texts its own way."""
    if not isinstance(turn, dict) or "message" not in turn:
        return turn
    roles = {"CHATBOT": "assistant", "SYSTEM": "system", "USER": "user"}
    role = str(turn.get("role")).upper()
    return {"role": roles.get(role, role), "content": turn["message"]}


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _is_chat(request: dict[str, Any]) -> bool:
    """Tell OpenAI's request with a text from what has such a key, too: a chain's inputs, what is to be embedded."""
    names = models_in(request)
    return bool(names) and "embed" not in names[0].lower()


def _system(given: object) -> dict[str, Any]:
    parts = given.get("parts") if isinstance(given, dict) else None
    return {"role": "system", "content": given if parts is None else parts}


def _tools_in(request: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    config = request.get("config") or request.get("toolConfig")
    beside = config.get("tools") if isinstance(config, dict) else None
    for tools in (request.get("tools"), request.get("functions"), beside):
        if isinstance(tools, list) and tools and all(isinstance(tool, dict) for tool in tools):
            return tuple(function for tool in tools for function in _functions_in(tool))
    return ()


def _functions_in(tool: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the functions of one of Gemini's tools, and one of the Responses' as the chat has it; else the tool."""
    functions = tool.get("functionDeclarations", tool.get("function_declarations"))
    if isinstance(functions, list):
        return [function for function in functions if isinstance(function, dict)]
    if tool.get("type") == "function" and "function" not in tool:
        return [{"type": "function", "function": {key: tool[key] for key in tool if key != "type"}}]
    return [tool]


def models_in(*values: object) -> tuple[str, ...]:
    """Return how dicts name a model, the best name first."""
    dicts = [value for value in values if isinstance(value, dict)]
    names = (value.get(key) for value in dicts for key in _MODEL_KEYS)
    return best_named(name for name in names if isinstance(name, str))


def replies_in(answer: object) -> list[list[Any]]:
    """Return the messages of an answer, for each request of its batch."""
    if isinstance(answer, list) and answer and all(map(is_message, answer)):
        return [answer]
    if not isinstance(answer, dict):
        return []
    if is_message(answer):
        return [[answer]]
    chosen = _choices_in(answer)
    return replies_in(next((answer[key] for key in _INNER if key in answer), None)) if chosen is None else chosen


_INNER = ("messages", "output", "message", "body")  # where an answer's messages may stand


def _choices_in(answer: dict[str, Any]) -> list[list[Any]] | None:
    """Return the first of each list of choices; `None` if there are none to choose from."""
    if isinstance(batch := answer.get("generations"), list):
        return [_chosen(choices, "message") for choices in batch]
    for key, inner in (("choices", "message"), ("candidates", "content")):
        if isinstance(choices := answer.get(key), list):
            return [_chosen(choices, inner)]
    return None


def _chosen(choices: object, key: str) -> list[Any]:
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get(key) if isinstance(first, dict) else None
    return [message] if is_message(message) else []
