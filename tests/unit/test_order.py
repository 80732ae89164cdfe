"""`validate` finds what providers refuse; `repair` leaves nothing to be found."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from langchain_tokenbuffer._messages.kinds import kind_of
from langchain_tokenbuffer.order import Violation, repair, validate

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM, ASK, SAY = SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello")


def calls(*ids: str | None, content: str | list[str | dict[str, object]] = "") -> AIMessage:
    """An AI message that calls a tool once for each id."""
    made = [ToolCall(name="look", args={}, id=each) for each in ids]
    return AIMessage(content=content, tool_calls=made)


def result(id_: str, content: str = "ok") -> ToolMessage:
    """A result that answers the call with this id."""
    return ToolMessage(content=content, tool_call_id=id_)


def old_call() -> AIMessage:
    """An AI message with an old-style function call."""
    return AIMessage(content="", additional_kwargs={"function_call": {"name": "look", "arguments": "{}"}})


def broken_call(id_: str | None) -> AIMessage:
    """An AI message whose call could not be read."""
    call = InvalidToolCall(type="invalid_tool_call", name="look", args="{", id=id_, error="no JSON")
    return AIMessage(content="", invalid_tool_calls=[call])


IN_ORDER: dict[str, list[BaseMessage]] = {
    "nothing": [],
    "system messages alone": [SYSTEM, SYSTEM],
    "a chat": [SYSTEM, ASK, SAY, ASK],
    "a step": [ASK, calls("a"), result("a"), SAY, ASK],
    "parallel calls answered in another order": [ASK, calls("a", "b"), result("b"), result("a")],
    "equal ids in one step": [ASK, calls("a", "a"), result("a"), result("a")],
    "equal ids in two steps": [ASK, calls("a"), result("a"), calls("a"), result("a")],
    "a step still running": [ASK, calls("a", "b"), result("a")],
    "a conversation without a human message": [SYSTEM, SAY],
    "an old-style function call": [ASK, old_call(), FunctionMessage(name="look", content="ok")],
    "a call that could not be read": [ASK, broken_call("a"), result("a")],
    "a server-side tool": [
        ASK,
        AIMessage(content=[{"type": "server_tool_use", "id": "s", "name": "search", "input": {}}]),
        ASK,
    ],
    "a system message inside a step": [ASK, calls("a"), SYSTEM, result("a")],
}
OUT_OF_ORDER: dict[str, tuple[list[BaseMessage], list[tuple[str, int]]]] = {
    "a result without a call": ([ASK, result("a")], [("orphan_result", 1)]),
    "a result behind the wrong step": (
        [ASK, calls("a"), calls("b"), result("a"), result("b")],
        [("missing_result", 1), ("orphan_result", 3)],
    ),
    "a result behind the next question": (
        [ASK, calls("a"), ASK, result("a")],
        [("missing_result", 1), ("orphan_result", 3)],
    ),
    "a second result for one call": (
        [ASK, calls("a"), result("a"), result("a")],
        [("orphan_result", 3)],
    ),
    "a call whose step is over": ([ASK, calls("a"), ASK], [("missing_result", 1)]),
    "two calls whose step is over": (
        [ASK, calls("a", "b"), ASK],
        [("missing_result", 1), ("missing_result", 1)],
    ),
    "an old-style call whose step is over": ([ASK, old_call(), ASK], [("missing_result", 1)]),
    "a greeting": ([SYSTEM, SAY, ASK], [("first_not_human", 1)]),
}
REFUSED_BY_SOME: dict[str, tuple[list[BaseMessage], list[str]]] = {
    "a late system message": ([ASK, SYSTEM, ASK], ["late_system"]),
    "two human messages in a row": ([ASK, ASK], ["consecutive_human"]),
    "an AI message at the end": ([ASK, SAY], ["ends_with_ai"]),
    "an open call behind its result": ([ASK, calls("a", "b"), result("a")], ["open_step"]),
    "a question without text": ([HumanMessage("")], ["empty_text"]),
    "a question of white space": ([HumanMessage(" \n")], ["empty_text"]),
    "a reply without text": ([ASK, AIMessage(""), ASK], ["empty_text"]),
    "a reply of no blocks": ([ASK, AIMessage([]), ASK], ["empty_text"]),
    "a blank block beside another": (
        [HumanMessage([{"type": "text", "text": ""}, {"type": "text", "text": "Hi"}])],
        ["empty_text"],
    ),
    "a role nobody knows": ([ASK, ChatMessage(role="critic", content="No.")], ["unknown_role"]),
    "nobody asking": ([SYSTEM, SAY, calls("a"), result("a")], ["first_not_human"]),
}


def codes(violations: list[Violation]) -> list[tuple[str, int]]:
    return [(violation.code, violation.index) for violation in violations]


@pytest.mark.parametrize("messages", IN_ORDER.values(), ids=IN_ORDER)
def test_a_conversation_in_order_has_no_violations(messages: list[BaseMessage]) -> None:
    assert validate(messages) == []


@pytest.mark.parametrize(("messages", "expected"), OUT_OF_ORDER.values(), ids=OUT_OF_ORDER)
def test_what_is_out_of_order_is_found_where_it_is(
    messages: list[BaseMessage], expected: list[tuple[str, int]]
) -> None:
    assert codes(validate(messages)) == expected


@pytest.mark.parametrize(("messages", "expected"), REFUSED_BY_SOME.values(), ids=REFUSED_BY_SOME)
def test_strict_finds_what_only_some_providers_refuse(messages: list[BaseMessage], expected: list[str]) -> None:
    assert [each.code for each in validate(messages, strict=True)] == expected


@pytest.mark.parametrize(("messages", "expected"), REFUSED_BY_SOME.values(), ids=REFUSED_BY_SOME)
def test_what_only_some_providers_refuse_is_nothing_when_not_strict(
    messages: list[BaseMessage], expected: list[str]
) -> None:
    assert validate(messages) == []


@pytest.mark.parametrize(
    "message",
    [calls("a"), result("a", ""), AIMessage([{"type": "thinking", "thinking": "Hm."}])],
    ids=["calls", "a result", "thinking"],
)
def test_what_needs_no_text_may_be_without(message: BaseMessage) -> None:
    found = validate([ASK, calls("a"), message], strict=True)
    assert "empty_text" not in [each.code for each in found]


def test_a_whole_exchange_passes_strictly() -> None:
    assert validate([SYSTEM, ASK, calls("a"), result("a"), SAY, ASK], strict=True) == []


def test_a_violation_says_which_call_it_is_about() -> None:
    assert "'a'" in validate([ASK, calls("a"), ASK])[0].detail


def test_a_violation_pickles() -> None:
    violation = Violation("orphan_result", 1, "…")
    assert pickle.loads(pickle.dumps(violation)) == violation


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (AIMessageChunk(content="x"), "ai"),
        (ChatMessage(role="developer", content="x"), "system"),
        (ChatMessage(role="User", content="x"), "human"),
        (ChatMessage(role="critic", content="x"), "other"),
        (FunctionMessage(name="f", content="x"), "tool"),
    ],
)
def test_a_message_is_what_its_type_or_role_says(message: BaseMessage, kind: str) -> None:
    assert kind_of(message) == kind


# --- repair -----------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", IN_ORDER.values(), ids=IN_ORDER)
def test_what_is_in_order_comes_back_as_the_same_objects(messages: list[BaseMessage]) -> None:
    assert list(map(id, repair(messages)[0])) == list(map(id, messages))


@pytest.mark.parametrize(("messages", "expected"), OUT_OF_ORDER.values(), ids=OUT_OF_ORDER)
def test_what_is_repaired_has_no_violations(messages: list[BaseMessage], expected: list[tuple[str, int]]) -> None:
    assert validate(repair(messages)[0]) == []


def test_a_result_behind_the_wrong_step_is_moved_to_its_call() -> None:
    first, second, a, b = calls("a"), calls("b"), result("a"), result("b")
    assert repair([ASK, first, second, a, b])[0] == [ASK, first, a, second, b]


def test_a_result_without_a_call_is_left_out() -> None:
    assert repair([ASK, result("a"), SAY])[0] == [ASK, SAY]


def test_a_call_whose_step_is_over_gets_a_result() -> None:
    messages, _ = repair([ASK, calls("a"), ASK])
    assert (messages[2].type, getattr(messages[2], "status", None)) == ("tool", "error")


def test_an_old_style_call_whose_step_is_over_gets_a_result() -> None:
    assert isinstance(repair([ASK, old_call(), ASK])[0][2], FunctionMessage)


def test_the_calls_of_the_last_step_stay_open() -> None:
    messages: list[BaseMessage] = [ASK, calls("a", "b"), result("b")]
    assert repair(messages) == (messages, [])


def test_calls_without_an_id_are_left_out_when_their_step_is_over() -> None:
    message = repair([ASK, calls(None, "a"), result("a"), ASK])[0][1]
    assert [call["id"] for call in getattr(message, "tool_calls", [])] == ["a"]


def test_a_call_that_could_not_be_read_and_has_no_id_is_left_out() -> None:
    assert repair([ASK, broken_call(None), ASK])[0] == [ASK, AIMessage("[no text]"), ASK]


def test_a_call_without_an_id_is_left_out_as_the_provider_sent_it_too() -> None:
    raw = {"id": None, "type": "function", "function": {"name": "look", "arguments": "{}"}}
    poisoned = AIMessage(content="", additional_kwargs={"tool_calls": [raw]})
    assert repair([ASK, poisoned, ASK])[0][1].additional_kwargs == {"tool_calls": []}


def test_a_greeting_is_left_out_and_system_messages_behind_it_are_not() -> None:
    assert repair([SAY, SYSTEM, ASK])[0] == [SYSTEM, ASK]


def test_a_reply_without_content_is_left_out() -> None:
    assert repair([ASK, AIMessage(""), ASK])[0] == [ASK, ASK]


def test_a_question_without_content_says_so() -> None:
    assert repair([HumanMessage(""), SAY])[0][0].text == "[no text]"


def test_blank_blocks_are_left_out_of_a_message() -> None:
    blocks: list[str | dict[str, object]] = [{"type": "text", "text": " "}, {"type": "image"}]
    assert repair([HumanMessage(blocks)])[0][0].content == [{"type": "image"}]


def test_blank_blocks_are_left_out_of_a_result() -> None:
    blank = ToolMessage(content=[{"type": "text", "text": ""}], tool_call_id="a")
    assert repair([ASK, calls("a"), blank])[0][2].content == []


def test_repair_says_what_it_did() -> None:
    _, done = repair([SAY, ASK, calls("a"), ASK, result("b")])
    assert codes(done) == [("first_not_human", 0), ("missing_result", 2), ("orphan_result", 4)]


ids = st.sampled_from(["a", "b", None])
anything = st.lists(
    st.one_of(
        st.sampled_from([SYSTEM, ASK, SAY, HumanMessage(""), AIMessage(""), old_call()]),
        st.sampled_from([FunctionMessage(name="look", content=""), ChatMessage(role="critic", content="")]),
        st.lists(ids, max_size=3).map(lambda drawn: calls(*drawn)),
        ids.map(broken_call),
        st.sampled_from(["a", "b"]).map(result),
    ),
    max_size=12,
)


@given(anything)
def test_whatever_is_repaired_has_no_violations(messages: list[BaseMessage]) -> None:
    assert validate(repair(messages)[0]) == []


@given(anything)
def test_whatever_is_repaired_has_no_empty_text(messages: list[BaseMessage]) -> None:
    found = validate(repair(messages)[0], strict=True)
    assert "empty_text" not in [each.code for each in found if each.code != "unknown_role"]


@given(anything)
def test_repairing_twice_is_repairing_once(messages: list[BaseMessage]) -> None:
    repaired, _ = repair(messages)
    assert repair(repaired) == (repaired, [])


@given(anything)
def test_repair_never_changes_the_input(messages: list[BaseMessage]) -> None:
    before = copy.deepcopy(messages)
    repair(messages)
    assert messages == before


@given(anything)
def test_repair_does_something_exactly_where_there_is_a_violation(
    messages: list[BaseMessage],
) -> None:
    empty = [each for each in validate(messages, strict=True) if each.code == "empty_text"]
    assert bool(repair(messages)[1]) == bool(validate(messages) or empty)


def nested(times: int) -> object:
    found: object = {}
    for _ in range(times):
        found = {"a": found}
    return found


NO_TEXTS = {"nothing": None, "a dict": {"a": 1}, "a list": ["a"], "bytes": b"\xff", "a number": 7, "deep": nested(3000)}


def listing(value: object) -> AIMessage:
    message, function = AIMessage(""), {"name": value, "arguments": "{}"}
    message.additional_kwargs["tool_calls"] = [{"id": value, "type": "function", "function": function}]  # unchecked
    return message


UNNAMED = {
    "listed": listing,
    "old-style": lambda value: AIMessage("", additional_kwargs={"function_call": {"name": value, "arguments": "{}"}}),
    "in content": lambda value: AIMessage([{"type": "tool_use", "id": value, "name": value, "input": {}}]),
}


@pytest.mark.parametrize("value", NO_TEXTS.values(), ids=NO_TEXTS)
@pytest.mark.parametrize("make", UNNAMED.values(), ids=UNNAMED)
def test_a_call_whose_name_and_id_are_no_texts_can_be_mended(
    make: Callable[[object], AIMessage], value: object
) -> None:
    mended, _ = repair([ASK, make(value), ASK])
    assert validate(mended) == []
