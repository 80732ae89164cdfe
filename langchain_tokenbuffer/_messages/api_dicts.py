"""Messages as the APIs write them, as dicts, in LangChain's classes: what `convert_to_messages` does not read.

| dialect | what is read here |
| --- | --- |
| OpenAI Responses | items without a role; those of one reply, which stand next to each other, are one AI message |
| Gemini | `{"role": "model", "parts": [...]}`; function responses are tool messages |
| OpenAI chat, Mistral, Cohere | assistant messages without content; arguments that are no JSON |
| Ollama | `thinking`, `images`; calls and results without ids |

Nothing is guessed: a call without an id gets one, and a result without one answers the first call of its name that is
open. Where there is none, it is an error.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage, convert_to_messages

from langchain_tokenbuffer._messages.blocks import BLOCK_TYPES, read_block

if TYPE_CHECKING:
    from collections.abc import Mapping

_ASSISTANT: Final = frozenset({"assistant", "ai", "model"})
_UNREAD: Final = frozenset({"item_reference", "compaction_trigger", "additional_tools", "configuration_update"})
READ = "LangChain, OpenAI (chat and Responses), Anthropic, Gemini, Bedrock, Mistral, Cohere and Ollama"


def is_item(value: Mapping[Any, Any]) -> bool:
    """Tell whether this is an item of OpenAI's Responses that has no role."""
    row = None if "role" in value else BLOCK_TYPES.get(str(value.get("type")))
    return row is not None and ("content" not in value or row.role == "thinking")  # reasoning may show its texts


class ApiReader:
    """Reads a list of dicts in order: a result without an id hangs on the calls before it."""

    def __init__(self) -> None:
        self.messages: list[BaseMessage] = []
        self._open: list[tuple[str, str]] = []  # name and id of the calls of the last AI message without a result
        self._named = 0  # how many calls got an id here
        self._is_reply = False  # whether the last message is made of items, which may go on

    def read(self, value: object) -> None:
        """Read one message, or one item."""
        if not isinstance(value, dict):
            self._add(*convert_to_messages([value]))  # type: ignore[list-item]
        elif is_item(value) or (value.get("type") == "message" and "role" in value):
            self._read_item(value)
        elif isinstance(value.get("parts"), list):
            self._read_parts(value)
        elif value.get("role") in _ASSISTANT:
            self._read_assistant(value)
        elif value.get("role") == "tool":
            self._read_result(value)
        else:
            self._add(*convert_to_messages([_with_images(value)]))

    def _add(self, *messages: BaseMessage) -> None:
        for message in messages:
            self._is_reply = False
            if isinstance(message, AIMessage):
                self._open = [(call["name"], call["id"] or "") for call in message.tool_calls]
            elif isinstance(message, ToolMessage):
                self._open = [call for call in self._open if call[1] != message.tool_call_id]
            self.messages.append(message)

    def _answered(self, name: object) -> str:
        """Return the id of the call that a result without an id answers."""
        id_ = next((id_ for called, id_ in self._open if name in (None, called)), None)
        if id_ is None:
            msg = f"A result{f' of {name!r}' if name else ''} has no id, and no call before it is open."
            raise ValueError(msg)
        return id_

    def _call(self, name: object, args: object, id_: object) -> dict[str, Any]:
        if not id_:
            self._named += 1
            id_ = f"{name}-{self._named}"
        return {"name": str(name or ""), "args": args, "id": str(id_)}

    def _with_calls(self, calls: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the fields of calls: those whose arguments are no JSON object are apart."""
        fields: dict[str, Any] = {"tool_calls": [], "invalid_tool_calls": []}
        for call in calls:
            args = _parsed(call["args"])
            if isinstance(args, dict):
                fields["tool_calls"].append({**call, "args": args, "type": "tool_call"})
            else:
                text = None if args is None else str(args)
                broken = {**call, "args": text, "error": None, "type": "invalid_tool_call"}
                fields["invalid_tool_calls"].append(broken)
        return fields

    def _read_assistant(self, value: Mapping[str, Any]) -> None:
        rest = {key: each for key, each in value.items() if each is not None}
        functions = [_function(call) for call in rest.pop("tool_calls", ())]
        calls = self._with_calls([self._call(*each) for each in functions])
        if "thinking" in rest:
            rest["reasoning_content"] = rest.pop("thinking")
        content = rest.pop("content", None) or rest.pop("tool_plan", "")  # Cohere's plan is what it says beside calls
        (message,) = convert_to_messages([{**rest, "role": "assistant", "content": content}])
        self._add(message.model_copy(update=calls))

    def _read_result(self, value: Mapping[str, Any]) -> None:
        id_ = value.get("tool_call_id") or self._answered(value.get("name") or value.get("tool_name"))
        rest = {key: each for key, each in value.items() if key != "tool_name"}
        self._add(*convert_to_messages([{"content": "", **rest, "tool_call_id": id_}]))

    def _read_item(self, item: dict[str, Any]) -> None:
        kind, role = item["type"], read_block(item).row.role
        if kind in _UNREAD:
            msg = f"An item of type {kind!r} is no message: it refers to what OpenAI stores, or sets the request up."
            raise ValueError(msg)
        if kind == "message" and item["role"] not in _ASSISTANT:
            self._add(*convert_to_messages([{"role": item["role"], "content": item["content"]}]))
        elif role == "result" and item.get("execution") != "server" and kind != "program_output":
            self._add(_result(item))
        else:
            self._extend_reply(item)

    def _extend_reply(self, item: dict[str, Any]) -> None:
        blocks: list[Any] = [item]
        fields: dict[str, Any] = {}
        if item["type"] == "message":
            content = item.get("content") or []
            blocks = [{"type": "output_text", "text": content}] if isinstance(content, str) else list(content)
        elif item["type"] == "function_call":
            fields = self._with_calls([self._call(item.get("name"), item.get("arguments"), item.get("call_id"))])
        last = self.messages[-1] if self._is_reply else None
        if isinstance(last, AIMessage):
            self.messages.pop()
            blocks = [*last.content, *blocks]
            fields = {key: [*getattr(last, key), *fields.get(key, ())] for key in ("tool_calls", "invalid_tool_calls")}
        self._add(AIMessage(content=blocks, **fields))
        self._is_reply = True

    def _read_parts(self, value: Mapping[str, Any]) -> None:
        parts = [part for part in value["parts"] if isinstance(part, dict)]
        results = [part for part in parts if _has(part, "function_response")]
        calls = [part for part in parts if _has(part, "function_call")]
        content: Any = [_block_of_part(part) for part in parts if part not in calls and part not in results]
        if value.get("role") in _ASSISTANT:
            self._add(AIMessage(content=content, **self._calls_of_parts(calls)))
            return
        self._add(*map(self._result_of_part, results))
        if content or not results:
            self._add(HumanMessage(content))

    def _calls_of_parts(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        bodies = [_has(part, "function_call") for part in parts]
        calls = [self._call(body.get("name"), body.get("args") or {}, body.get("id")) for body in bodies]
        signed = {call["id"]: _signature(part) for call, part in zip(calls, parts, strict=True) if _signature(part)}
        extra = {"__gemini_function_call_thought_signatures__": signed} if signed else {}
        return {"additional_kwargs": extra, **self._with_calls(calls)}

    def _result_of_part(self, part: dict[str, Any]) -> ToolMessage:
        body = _has(part, "function_response")
        name, id_ = body.get("name"), body.get("id")
        text = json.dumps(body.get("response"), ensure_ascii=False, default=str)
        media = [_block_of_part(each) for each in body.get("parts") or () if isinstance(each, dict)]
        message = ToolMessage(
            [{"type": "text", "text": text}, *media] if media else text,
            name=name,
            tool_call_id=id_ or self._answered(name),
        )
        self._open = [call for call in self._open if call[1] != message.tool_call_id]
        return message


def _parsed(arguments: object) -> object:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def _function(call: object) -> tuple[object, object, object]:
    """Return name, arguments and id of a call, in OpenAI's form, Ollama's or LangChain's."""
    given = call if isinstance(call, dict) else {}
    function = given.get("function", given)
    if not isinstance(function, dict) or not function.get("name"):
        msg = f"A call of type {given.get('type')!r} is not read: expected a 'function' with 'name' and 'arguments'."
        raise ValueError(msg)
    return function["name"], function.get("arguments", function.get("args")), given.get("id")


def _result(item: dict[str, Any]) -> BaseMessage:
    """Return a result of a tool that the client runs, in the shape in which langchain-openai sends it."""
    kind, output, id_ = item["type"], item.get("output"), str(item.get("call_id") or "")
    if kind == "function_call_output":
        return ToolMessage(output or "", tool_call_id=id_)
    if kind == "custom_tool_call_output":
        return ToolMessage([item], tool_call_id=id_)
    if kind == "computer_call_output":
        extra = {key: item[key] for key in ("type", "acknowledged_safety_checks") if key in item}
        shown = {**output, "type": "input_image"} if isinstance(output, dict) else output
        return ToolMessage([shown] if isinstance(shown, dict) else shown, tool_call_id=id_, additional_kwargs=extra)
    return HumanMessage([item])


def _has(part: Mapping[str, Any], *kinds: str) -> dict[str, Any]:
    """Return the body of a part of one of these kinds; else nothing."""
    read = read_block(part)
    return dict(read.body) if read.kind in kinds else {}


def _signature(part: Mapping[str, Any]) -> object:
    return part.get("thoughtSignature") or part.get("thought_signature")


def _block_of_part(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of Gemini's as langchain-google-genai takes it; as it is where it knows no such block."""
    read = read_block(part)
    fields = _PARTS.get(read.kind)
    if fields is None:
        return part
    type_, keys = fields
    block = {"type": type_} | {
        name: value
        for name, key in keys.items()
        if (value := read.body.get(key, read.body.get(_camel(key)))) is not None
    }
    signature = _signature(part)
    if signature:
        block |= {"signature": signature} if type_ == "thinking" else {"extras": {"signature": signature}}
    return block


# By the kind of a part: the type of its block, and each of its keys with the one under which the part has it.
_PARTS: dict[str, tuple[str, dict[str, str]]] = {
    "text": ("text", {"text": "text"}),
    "thought": ("thinking", {"thinking": "text"}),
    "inline_data": ("media", {"mime_type": "mime_type", "data": "data"}),
    "file_data": ("media", {"mime_type": "mime_type", "file_uri": "file_uri"}),
    "executable_code": ("executable_code", {"executable_code": "code", "language": "language"}),
    "code_execution_result": ("code_execution_result", {"code_execution_result": "output", "outcome": "outcome"}),
}


def _camel(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(map(str.capitalize, others))


def _with_images(value: dict[str, Any]) -> dict[str, Any]:
    """Return a message of Ollama's with its images in the content."""
    if not isinstance(value.get("images"), list):
        return value
    images = [{"type": "image_url", "image_url": {"url": each}} for each in value["images"]]
    text = [{"type": "text", "text": value["content"]}] if value.get("content") else []
    return {**{key: each for key, each in value.items() if key != "images"}, "content": [*text, *images]}
