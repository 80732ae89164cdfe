"""Conversations in every dialect, whole and torn: results lost, doubled, late or without a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from tests.builders import ai_calling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCREEN = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgAQAAAABbAUdZAAAAD0lEQVR42mP4DwQMg5cAANrpf4Em8vpjAAAAAElFTkSuQmCC"
)


@dataclass(frozen=True)
class Dialect:
    """How one API writes a call and its result into messages."""

    call: Callable[[str], AIMessage]
    result: Callable[[str], BaseMessage]


def _blocks(*blocks: dict[str, Any]) -> Any:
    return [*blocks]


def _human(*blocks: dict[str, Any]) -> HumanMessage:
    return HumanMessage(_blocks(*blocks))


def _listed(id_: str, *blocks: dict[str, Any]) -> AIMessage:
    """Return a call as the integrations read it: in the content, and listed."""
    return ai_calling(("look", {"q": "fox"}, id_), content=_blocks(*blocks))


DIALECTS: dict[str, Dialect] = {
    "LangChain": Dialect(
        lambda i: ai_calling(("look", {"q": "fox"}, i)), lambda i: ToolMessage("Found it.", tool_call_id=i, name="look")
    ),
    "a function": Dialect(
        lambda _: AIMessage("", additional_kwargs={"function_call": {"name": "look", "arguments": "{}"}}),
        lambda _: FunctionMessage(name="look", content="Found it."),
    ),
    "Anthropic": Dialect(
        lambda i: _listed(i, {"type": "tool_use", "id": i, "name": "look", "input": {"q": "fox"}}),
        lambda i: _human({"type": "tool_result", "tool_use_id": i, "content": "Found it."}),
    ),
    "Anthropic as sent": Dialect(
        lambda i: AIMessage(_blocks({"type": "tool_use", "id": i, "name": "look", "input": {}})),
        lambda i: _human(
            {"type": "tool_result", "tool_use_id": i, "content": _blocks({"type": "text", "text": "Yes."})}
        ),
    ),
    "Responses": Dialect(
        lambda i: _listed(i, {"type": "function_call", "call_id": i, "id": "fc", "name": "look", "arguments": "{}"}),
        lambda i: ToolMessage("Found it.", tool_call_id=i),
    ),
    "a custom tool": Dialect(
        lambda i: _listed(i, {"type": "custom_tool_call", "call_id": i, "id": "ct", "name": "look", "input": "fox"}),
        lambda i: ToolMessage(_blocks({"type": "custom_tool_call_output", "output": "Yes."}), tool_call_id=i),
    ),
    "a computer": Dialect(
        lambda i: AIMessage(
            _blocks({"type": "computer_call", "id": "cu", "call_id": i, "action": {"type": "screenshot"}})
        ),
        lambda i: ToolMessage(
            _blocks({"type": "input_image", "image_url": SCREEN}),
            tool_call_id=i,
            additional_kwargs={"type": "computer_call_output"},
        ),
    ),
    "an approval": Dialect(
        lambda i: AIMessage(
            _blocks({"type": "mcp_approval_request", "id": i, "name": "x", "arguments": "{}", "server_label": "s"})
        ),
        lambda i: _human({"type": "mcp_approval_response", "approve": True, "approval_request_id": i}),
    ),
    "Bedrock": Dialect(
        lambda i: AIMessage(_blocks({"toolUse": {"toolUseId": i, "name": "look", "input": {}}})),
        lambda i: _human({"toolResult": {"toolUseId": i, "content": _blocks({"text": "Yes."})}}),
    ),
    "a server's tool": Dialect(
        lambda i: AIMessage(
            _blocks({"type": "server_tool_use", "id": i, "name": "web_search", "input": {"query": "q"}})
        ),
        lambda i: AIMessage(_blocks({"type": "web_search_tool_result", "tool_use_id": i, "content": []}, _text("So."))),
    ),
}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


QUESTION, REPLY = HumanMessage("What does the fox say now?"), AIMessage("It says nothing that I can repeat here.")
BOTH = _human({"type": "tool_result", "tool_use_id": "a", "content": "Yes."}, _text("And what else?"))
TWO = _human(
    {"type": "tool_result", "tool_use_id": "a", "content": "Yes."},
    {"type": "tool_result", "tool_use_id": "b", "content": "No."},
)
ODD: list[BaseMessage] = [
    BOTH,
    TWO,
    HumanMessage("A task has ended.", additional_kwargs={"lc_source": "tasks"}),
    AIMessage(_blocks({"type": "compaction", "content": "They talked about a fox."})),
    ai_calling(("look", {}, "a"), ("look", {}, "b")),
    ai_calling(("look", {}, "a"), ("look", {}, "a")),
    AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": None}]),
    SystemMessage("Be brief."),
    ChatMessage(role="critic", content="No."),
    HumanMessage(""),
    AIMessage(""),
]


@st.composite
def torn(
    draw: st.DrawFn, dialects: Sequence[str] = (*DIALECTS,), odd: Sequence[BaseMessage] = (*ODD,)
) -> list[BaseMessage]:
    """An arbitrary list of messages in these dialects, mixed."""
    chosen = [DIALECTS[name] for name in dialects]
    pool: list[BaseMessage] = [QUESTION, QUESTION, REPLY, *odd]
    pool += [make(each) for one in chosen for make in (one.call, one.result) for each in ("a", "b")]
    messages = [QUESTION] * draw(st.integers(0, 1))
    for _ in range(draw(st.integers(1, 6))):
        one, id_ = draw(st.sampled_from(chosen)), draw(st.sampled_from(["a", "b", "c"]))
        messages += draw(st.sampled_from([[one.call(id_), one.result(id_)], [one.call(id_)], [QUESTION, REPLY]]))
        messages += draw(st.lists(st.sampled_from(pool), max_size=3))
    return [message.model_copy(update={"id": f"m{n}"}) for n, message in enumerate(messages)]
