"""Stand-in results: what answers a call whose result never came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_tokenbuffer._messages.calls import pairing_of

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_tokenbuffer._messages.calls import Call

NO_RESULT = "[no result: the call was not completed]"


def stand_in(message: BaseMessage, place: int) -> BaseMessage:
    """Return a result for an open call of an AI message, `facts_of(message).calls[place]`.

    Law: it answers that call and no other, in the shape in which langchain-openai, -anthropic, -google-genai and -aws
    send it behind the call. Its id depends on the message's id and the place alone (where there is none: on the call's
    id).
    """
    from langchain_core.messages import FunctionMessage, HumanMessage, ToolMessage  # noqa: PLC0415  # see kinds

    call = pairing_of(message).calls[place]
    own: dict[str, Any] = {"id": f"no-result-{message.id or call.id or 'call'}-{place}"}
    if call.id is None:
        return FunctionMessage(name=call.name, content=NO_RESULT, **own)
    own |= {"tool_call_id": call.id, "status": "error"}
    if call.answer is None:
        return ToolMessage(content=NO_RESULT, **own)
    block = _answer(call)
    if call.answer == "custom_tool_call_output":
        return ToolMessage(content=[block], **own)
    if call.answer == "computer_call_output":
        return ToolMessage(content=[block], additional_kwargs={"type": call.answer}, **own)
    return HumanMessage(content=[block], id=own["id"])


# An empty screen of 32 x 32 pixels: a screenshot is the one answer that computer use takes.
_NO_SCREENSHOT = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgAQAAAABbAUdZAAAAD0lEQVR42mP4DwQMg5cAANrpf4Em8vpjAAAAAElFTkSuQmCC"
)


def _answer(call: Call) -> dict[str, Any]:
    """Return the block that answers a call, in the shape of OpenAI's Responses."""
    if call.answer == "computer_call_output":
        return {"type": "input_image", "image_url": _NO_SCREENSHOT}
    if call.answer == "mcp_approval_response":
        return {"type": call.answer, "approval_request_id": call.id, "approve": False, "reason": NO_RESULT}
    answer: dict[str, Any] = {"type": call.answer, "call_id": call.id}
    if call.answer == "tool_search_output":
        return {**answer, "execution": "client", "tools": []}
    if call.answer == "shell_call_output":
        failed = {"stdout": "", "stderr": NO_RESULT, "outcome": {"type": "exit", "exit_code": 1}}
        return {**answer, "output": [failed]}
    if call.answer == "local_shell_call_output":
        answer = {"type": call.answer, "id": call.id}
    elif call.answer == "apply_patch_call_output":
        answer["status"] = "failed"
    return {**answer, "output": NO_RESULT}
