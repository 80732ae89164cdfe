"""Nothing is tokenized twice: clamps, roles, names; and any change is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_openai import OpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import TokenBuffer, TokenCounter
from langchain_tokenbuffer._counting import count_cache
from langchain_tokenbuffer.counters import message_counter
from tests.builders import ai_calling, numbered_text
from tests.clamping import clamp, min_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

O200K = TokenCounter("o200k_base")
COUNTS = message_counter(O200K)


def letters(texts: list[str]) -> int:
    return sum(map(len, texts))


def step_of_results(results: int, words: int) -> list[BaseMessage]:
    """Return a question and one step with so many different results."""
    calls = ai_calling(*[("look", {"at": n}, f"c{n}") for n in range(results)])
    texts = [numbered_text(n, words) for n in range(results)]
    return [
        HumanMessage("Look."),
        calls,
        *[ToolMessage(text, tool_call_id=f"c{n}") for n, text in enumerate(texts)],
    ]


# --- clamps -------------------------------------------------------------------------------------


def test_the_smallest_clamp_of_a_message_is_taken_once(tokenized: list[str]) -> None:
    least = min_tokens(HumanMessage("Taken once. " * 300), O200K)
    tokenized.clear()
    assert min_tokens(HumanMessage("Taken once. " * 300), TokenCounter("o200k_base")) == least
    assert tokenized == []


def test_the_smallest_clamp_of_a_counted_text_does_not_tokenize_it(tokenized: list[str]) -> None:
    message = HumanMessage("Only its marker is new. " * 900)
    O200K([message])
    tokenized.clear()
    min_tokens(message, O200K)
    assert letters(tokenized) < 100


@pytest.mark.parametrize("size", [60, 200, 600])
def test_clamping_tokenizes_only_about_what_stays(tokenized: list[str], size: int) -> None:
    message = HumanMessage("Some of it stays, at both of its ends. " * 5_000)
    O200K([message])
    tokenized.clear()
    clamp(message, size, O200K)
    assert letters(tokenized) < 50 * size


@pytest.mark.parametrize("size", [60, 200, 600])
def test_clamping_without_an_encoding_counts_only_about_what_stays(size: int) -> None:
    counted: list[str] = []

    def count(messages: list[BaseMessage]) -> int:
        counted.extend(message.text for message in messages)
        return sum(len(message.text) // 4 for message in messages)

    counter = TokenCounter(count)
    message = HumanMessage("Some of it stays, at both of its ends. " * 5_000)
    counter([message])
    counted.clear()
    clamp(message, size, counter)
    assert letters(counted) < 50 * size


def test_deciding_among_large_results_tokenizes_none_of_them(tokenized: list[str]) -> None:
    messages = step_of_results(40, 5_000)
    O200K(messages)
    tokenized.clear()
    TokenBuffer(4_000, token_counter=O200K).trim(messages)
    assert letters(tokenized) < letters([message.text for message in messages]) / 10


def test_a_window_of_many_clamped_messages_is_cut_once(tokenized: list[str]) -> None:
    messages = step_of_results(1_400, 40)
    buffer = TokenBuffer(70_000, token_counter=O200K)
    assert len(buffer.window(messages).clamped) > 1_365
    tokenized.clear()
    buffer.trim(messages)
    assert tokenized == []


def test_excerpts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count_cache, "CLAMPED", 8)
    counter = TokenCounter(lambda messages: sum(len(message.text) for message in messages))
    for number in range(30):
        clamp(HumanMessage(f"{number} " * 90), 80, counter)
    assert len(message_counter(counter).count_cache.excerpts) <= 8


_parts = st.sampled_from(
    [
        "word ",
        "안녕 ",
        "🙂",
        "你好",
        "a.b ",
        "\n",
        "  ",
        "x" * 40,
        "12 ",
        "don't ",
        "²",
        "é ",
        "{}",
        "1234567",
        "0 ",
        "1,",
        "٣٤ ",
    ]
)


@given(st.lists(_parts, max_size=300), st.integers(1, 60))
@example(["word "] * 300, 9)
@example(["x" * 40] * 30, 9)
@example(["  "] * 300, 9)
@example(["1234567 "] * 90, 9)
def test_the_first_and_last_tokens_are_those_of_the_whole_text(parts: list[str], n: int) -> None:
    text = "".join(parts)
    tokenizer = COUNTS.tokenizer
    assert tokenizer is not None
    ids = tokenizer.encode(text)
    assert tokenizer.part(text, n, last=False) == ids[:n]
    assert tokenizer.part(text, n, last=True) == ids[-n:]


# --- roles and names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (lambda n: ChatMessage(content=f"{n}", role="critic of the week"), "critic of the week"),
        (lambda n: HumanMessage(f"{n}", name="Ann Lee of 7"), "Ann Lee of 7"),
        (lambda n: ai_calling(("look_up_once", {"at": n}, "a")), "look_up_once"),
        (lambda n: ai_calling(("look_up_twice", {"at": n}, "a")), "functions.look_up_twice"),
    ],
    ids=["role", "name", "tool", "function"],
)
def test_a_role_or_a_name_is_tokenized_once_for_all_messages(
    tokenized: list[str], message: Callable[[int], BaseMessage], name: str
) -> None:
    O200K([message(n) for n in range(50)])
    assert tokenized.count(name) == 1


def test_what_an_earlier_turn_thought_is_not_tokenized_again_by_the_next_request(tokenized: list[str]) -> None:
    counter, thought = TokenCounter("gpt-oss-120b"), "They ask for the second time what a tide is."
    reply = AIMessage("Water.", additional_kwargs={"reasoning_content": thought})
    counter.count([HumanMessage("What is a tide?"), reply, HumanMessage("Why?")])
    assert thought in tokenized
    tokenized.clear()
    counter.count([HumanMessage("What is a tide?"), reply, HumanMessage("Why?")])
    assert thought not in tokenized


# --- changes in place ---------------------------------------------------------------------------


def set_content(value: Any) -> Callable[[Any], None]:
    return lambda message: setattr(message, "content", value)


def edit_block(**values: Any) -> Callable[[Any], None]:
    return lambda message: message.content[0].update(values)


def edit_args(**values: Any) -> Callable[[Any], None]:
    return lambda message: message.tool_calls[0]["args"].update(values)


def rename_call(message: Any) -> None:
    message.tool_calls[0]["name"] = "see"


def add_call(message: Any) -> None:
    message.tool_calls.append({"name": "look", "args": {}, "id": "2"})


def drop_arg(message: Any) -> None:
    del message.tool_calls[0]["args"]["n"]


def rename_arg(message: Any) -> None:
    message.tool_calls[0]["args"] = {"to" if key == "at" else key: each for key, each in calling_args().items()}


def move_arg(message: Any) -> None:
    args = message.tool_calls[0]["args"]
    args["at"] = args.pop("at")


def edit_nested_arg(message: Any) -> None:
    message.tool_calls[0]["args"]["in"]["deep"][0] = 2


def add_invalid_call(message: Any) -> None:
    message.invalid_tool_calls.append({"name": "f", "args": "{", "id": "3", "error": None})


def edit_url(message: Any) -> None:
    message.content[0]["image_url"]["url"] = "https://example.com/other.png"


def add_block(message: Any) -> None:
    message.content.append({"type": "text", "text": ""})


def edit_inner_block(message: Any) -> None:
    message.content[0]["content"][0]["text"] = "other"


def set_name(message: Any) -> None:
    message.name = "Ann"


def set_extra(message: Any) -> None:
    message.additional_kwargs["function_call"] = {"name": "f", "arguments": "{}"}


def set_field(name: str, value: Any) -> Callable[[Any], None]:
    return lambda message: setattr(message, name, value)


def edit_call(**values: Any) -> Callable[[Any], None]:
    return lambda message: message.tool_calls[0].update(values)


def edit_extra(**values: Any) -> Callable[[Any], None]:
    return lambda message: message.additional_kwargs.update(values)


def take_call_id(message: Any) -> None:
    message.tool_call_id = None


def calling_args() -> dict[str, Any]:
    return {"at": "x", "n": 1, "in": {"deep": [1]}, "flag": False, "text": "i\x01\x00\x00\x00"}


def calling() -> AIMessage:
    return ai_calling(("look", calling_args(), "1"))


def image() -> HumanMessage:
    return HumanMessage([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}])


def text_block() -> HumanMessage:
    return HumanMessage([{"type": "text", "text": "Hello"}])


CHANGES: dict[str, tuple[Callable[[], BaseMessage], Callable[[Any], None]]] = {
    "a text": (lambda: HumanMessage("Hello"), set_content("Hello!")),
    "a system message": (lambda: SystemMessage("Hello"), set_content("Hello!")),
    "a result": (lambda: ToolMessage("Hello", tool_call_id="1"), set_content("Hello!")),
    "a text into blocks": (lambda: HumanMessage("Hello"), set_content(["Hello"])),
    "the text of a block": (text_block, edit_block(text="Bye")),
    "the type of a block": (text_block, edit_block(type="reasoning")),
    "a key more in a block": (text_block, edit_block(extra=None)),
    "one more block": (text_block, add_block),
    "a text of a block into a number": (text_block, edit_block(text=1)),
    "an address inside a block": (image, edit_url),
    "a text in a block inside a block": (
        lambda: ToolMessage([{"type": "tool_result", "content": [{"type": "text", "text": "a"}]}], tool_call_id="1"),
        edit_inner_block,
    ),
    "bytes in a block": (
        lambda: HumanMessage([{"type": "file", "data": b"a"}]),
        edit_block(data=b"b"),
    ),
    "an argument's text": (calling, edit_args(at="y")),
    "an argument's number": (calling, edit_args(n=2)),
    "a number into a truth": (calling, edit_args(n=True)),
    "a number into a fraction": (calling, edit_args(n=1.0)),
    "a number into its text": (calling, edit_args(n="1")),
    "a text into what it looks like marshalled": (calling, edit_args(text=1)),
    "a number into one of the same hash": (calling, edit_args(n=1 + (1 << 61) - 1)),
    "an argument more": (calling, edit_args(more="")),
    "an argument less": (calling, drop_arg),
    "an argument behind the others": (calling, move_arg),
    "an argument inside an argument": (calling, edit_nested_arg),
    "the name of a tool": (calling, rename_call),
    "a call more": (calling, add_call),
    "an invalid call more": (calling, add_invalid_call),
    "a name": (lambda: HumanMessage("Hello"), set_name),
    "a name of a reply": (lambda: AIMessage("Hello"), set_name),
    "an old function call": (lambda: AIMessage("Hello"), set_extra),
    "a result's id": (lambda: ToolMessage("Hello", tool_call_id="1", name="f"), take_call_id),
    "the id a result answers": (lambda: ToolMessage("Hello", tool_call_id="1"), set_field("tool_call_id", "2")),
    "the id of a call": (calling, edit_call(id="2")),
    "an argument's name": (calling, rename_arg),
    "the type of a message": (lambda: HumanMessage("Hello"), set_field("type", "system")),
    "a role": (lambda: ChatMessage(content="Hello", role="user"), set_field("role", "critic")),
    "an extra": (lambda: HumanMessage("Hello"), edit_extra(lc_source="summarization")),
    "an extra's value": (lambda: AIMessage("Hello", additional_kwargs={"refusal": None}), edit_extra(refusal="No.")),
    "a pin": (lambda: HumanMessage("Hello"), edit_extra(pinned=True)),
    "a pin into a number": (lambda: HumanMessage("Hello", additional_kwargs={"pinned": True}), edit_extra(pinned=1)),
    "a text of a chunk": (lambda: AIMessageChunk(content="Hello"), set_content("Hello!")),
    "a name without a hash": (lambda: HumanMessage("Hello"), set_field("name", ["Ann"])),
}


@pytest.mark.parametrize(("make", "change"), CHANGES.values(), ids=CHANGES)
def test_a_change_in_place_makes_another_key(make: Callable[[], BaseMessage], change: Callable[[Any], None]) -> None:
    message = make()
    before = COUNTS.keys([message])
    change(message)
    assert COUNTS.keys([message]) != before


@pytest.mark.parametrize(("make", "change"), CHANGES.values(), ids=CHANGES)
def test_a_change_in_place_makes_another_key_of_all(
    make: Callable[[], BaseMessage], change: Callable[[Any], None]
) -> None:
    messages = [SystemMessage("Be short."), HumanMessage("Hi"), make(), HumanMessage("Bye")]
    before = COUNTS.key(messages)
    change(messages[2])
    assert COUNTS.key(messages) != before


def test_messages_in_another_order_have_another_key() -> None:
    one, other = HumanMessage("one"), HumanMessage("other")
    assert COUNTS.key([one, other]) != COUNTS.key([other, one])


@pytest.mark.parametrize("make", [make for make, _ in CHANGES.values()], ids=CHANGES)
def test_equal_messages_have_one_key(make: Callable[[], BaseMessage]) -> None:
    assert COUNTS.keys([make()]) == COUNTS.keys([make()])
    assert COUNTS.key([make()]) == COUNTS.key([make()])


def test_a_completion_models_key_sees_the_id_of_a_call() -> None:
    counter = TokenCounter(OpenAI(model="gpt-3.5-turbo-instruct", api_key=SecretStr("unused")))
    message = calling()
    before = message_counter(counter).keys([message])
    message.tool_calls[0]["id"] = "an id of many more tokens"
    assert message_counter(counter).keys([message]) != before


def test_a_call_cannot_be_taken_for_the_arguments_of_another() -> None:
    one = ai_calling(("f", {"a": "b"}, "1"), ("g", {}, "2"))
    other = ai_calling(("f", {}, "1"), ("g", {"a": "b"}, "2"))
    assert COUNTS.keys([one]) != COUNTS.keys([other])


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage.model_construct(content=None),
        HumanMessage(["a", "b"]),
        HumanMessage.model_construct(content="a", name=["no", "hash"]),
        AIMessage.model_construct(content="a", tool_calls=[5]),
        AIMessage.model_construct(content="a", tool_calls=[{"name": "f", "args": {"a": object()}}]),
    ],
    ids=["no content", "texts as blocks", "a name without a hash", "calls that are none", "arguments that are no JSON"],
)
def test_a_message_of_no_usual_shape_has_a_key(message: BaseMessage) -> None:
    assert COUNTS.keys([message]) == COUNTS.keys([message])
