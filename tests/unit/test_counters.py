"""What messages cost: the same as LangChain where that counts, remembered, and for any text."""

from __future__ import annotations

import base64
import copy
import functools
import gc
import inspect
import math
import pickle
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import SecretStr

from langchain_tokenbuffer import TokenBuffer, TokenCounter
from langchain_tokenbuffer._counting import count_cache as _count_cache
from langchain_tokenbuffer._counting.count_cache import cache_of
from langchain_tokenbuffer._messages.convert import as_messages
from langchain_tokenbuffer.counters import message_counter
from tests.builders import chat, letters_as_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEY = SecretStr("unused")
CHAT = ChatOpenAI(model="gpt-4o", api_key=KEY)
OLD_CHAT = ChatOpenAI(model="gpt-4", api_key=KEY)
COMPLETION = OpenAI(model="gpt-3.5-turbo-instruct", api_key=KEY)


def call(name: str = "look_up", args: dict[str, Any] | None = None, of: str = "1") -> dict[str, Any]:
    return {"name": name, "args": args or {}, "id": of, "type": "tool_call"}


# --- the same as LangChain ------------------------------------------------------------------------

ALIKE: dict[str, list[BaseMessage]] = {
    "nothing": [],
    "one human message": [HumanMessage("Hello!")],
    "an empty text": [HumanMessage("")],
    "system, human, ai": [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello.")],
    "a developer message": [SystemMessage("Be brief.", additional_kwargs={"__openai_role__": "developer"})],
    "names": [HumanMessage("Hi", name="Ann Lee"), AIMessage("Hello.", name="bot")],
    "a name in additional_kwargs": [HumanMessage("Hi", additional_kwargs={"name": "Ann"})],
    "an empty name": [HumanMessage("Hi", name="")],
    "a role of one's own": [ChatMessage(role="critic", content="Too long.")],
    "a function's result": [FunctionMessage(name="look_up", content="42")],
    "a tool's result": [ToolMessage("42", tool_call_id="call_1")],
    "a named tool's result": [ToolMessage("42", tool_call_id="call_1", name="look_up")],
    "text blocks": [HumanMessage([{"type": "text", "text": "One"}, {"type": "text", "text": "two"}])],
    "string blocks": [HumanMessage(["One", "two"])],
    "an image at low detail": [HumanMessage([{"type": "image_url", "image_url": {"url": "x://y", "detail": "low"}}])],
    "other languages": [
        HumanMessage("안녕하세요, 다시 만나서 반가워요."),
        AIMessage("你好世界"),
    ],
}


@pytest.mark.parametrize("model", [CHAT, OLD_CHAT], ids=["gpt-4o", "gpt-4"])
@pytest.mark.parametrize("messages", ALIKE.values(), ids=ALIKE)
def test_a_chat_model_counts_as_langchain_openai_does(messages: list[BaseMessage], model: ChatOpenAI) -> None:
    assert TokenCounter(model)(messages) == model.get_num_tokens_from_messages(messages)


@pytest.mark.parametrize("messages", ALIKE.values(), ids=ALIKE)
def test_a_completion_model_counts_as_langchain_does(messages: list[BaseMessage]) -> None:
    assert TokenCounter(COMPLETION)(messages) == COMPLETION.get_num_tokens_from_messages(messages)


def test_a_completion_model_counts_tool_calls_as_langchain_does() -> None:
    messages: list[BaseMessage] = [AIMessage("", tool_calls=[call(args={"word": "bakery"})])]
    assert TokenCounter(COMPLETION)(messages) == COMPLETION.get_num_tokens_from_messages(messages)


@given(
    st.lists(
        st.builds(
            lambda kind, text, name: kind(content=text, name=name),
            st.sampled_from([HumanMessage, AIMessage, SystemMessage]),
            st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "<|" not in text),
            st.none() | st.sampled_from(["Ann", "b_2"]),
        ),
        max_size=4,
    )
)
def test_any_conversation_without_tools_counts_as_langchain_openai_does(
    messages: list[BaseMessage],
) -> None:
    assert TokenCounter(CHAT)(messages) == CHAT.get_num_tokens_from_messages(messages)


@pytest.mark.parametrize(("name", "tokens"), [("o200k_base", 124), ("cl100k_base", 129)], ids=["gpt-4o", "gpt-4"])
def test_the_published_jargon_example_counts_as_published(name: str, tokens: int) -> None:
    jargon = "This late pivot means we don't have time to boil the ocean for the client deliverable."
    messages = [
        SystemMessage(
            "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."
        ),
        SystemMessage("New synergies will help drive top-line growth.", name="example_user"),
        SystemMessage("Things working well together will increase revenue.", name="example_assistant"),
        SystemMessage(
            "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
            name="example_user",
        ),
        SystemMessage(
            "Let's talk later when we're less busy about how to do better.",
            name="example_assistant",
        ),
        HumanMessage(jargon),
    ]
    assert TokenCounter(name)(messages) == tokens


def test_a_chunk_counts_as_what_it_is_a_chunk_of() -> None:
    counter = TokenCounter(CHAT)
    assert counter([AIMessageChunk(content="Hello.")]) == counter([AIMessage("Hello.")])


def test_bound_tools_are_seen_through() -> None:
    bound = CHAT.bind_tools([{"name": "f", "description": "d", "parameters": {}}])
    assert TokenCounter(bound)([HumanMessage("Hi")]) == TokenCounter(CHAT)([HumanMessage("Hi")])


def test_fallbacks_are_seen_through() -> None:
    counter = TokenCounter(CHAT.with_fallbacks([OLD_CHAT]))
    assert counter([HumanMessage("안녕하세요")]) == TokenCounter(CHAT)([HumanMessage("안녕하세요")])


def test_a_request_of_no_messages_costs_its_constant() -> None:
    assert TokenCounter("o200k_base")([]) == 3


# --- whatever counts ------------------------------------------------------------------------------

TALK = [
    SystemMessage("Be brief."),
    HumanMessage("Where is the bakery?"),
    AIMessage("", tool_calls=[call(args={"word": "bakery"})]),
    ToolMessage("Two streets from here.", tool_call_id="1"),
    AIMessage("Two streets from here."),
]


def characters(messages: Sequence[BaseMessage]) -> int:
    return sum(len(message.text) for message in messages)


class Characters:
    """Counts as a method, and as an object."""

    def count(self, messages: Sequence[BaseMessage]) -> int:
        return characters(messages)

    def __call__(self, messages: Sequence[BaseMessage]) -> int:
        return characters(messages)


CALLABLES: dict[str, Callable[[Any], int]] = {
    "len": len,
    "count_tokens_approximately": count_tokens_approximately,
    "a function": characters,
    "a lambda": lambda messages: 7 * len(messages),
    "a partial": functools.partial(count_tokens_approximately, chars_per_token=3.0),
    "a method": Characters().count,
    "an object": Characters(),
    "a model's own method": CHAT.get_num_tokens_from_messages,
}


@pytest.mark.parametrize("counts", CALLABLES.values(), ids=CALLABLES)
def test_a_callable_is_what_counts(counts: Callable[[Any], int]) -> None:
    assert TokenCounter(counts)(TALK) == counts(TALK)


@pytest.mark.parametrize("counts", CALLABLES.values(), ids=CALLABLES)
def test_an_additive_callable_is_found_additive(counts: Callable[[Any], int]) -> None:
    assert message_counter(TokenCounter(counts)).additive


def test_a_counter_of_a_counter_counts_the_same() -> None:
    assert TokenCounter(TokenCounter(CHAT))(TALK) == TokenCounter(CHAT)(TALK)


@pytest.mark.parametrize("divisor", range(2, 13))
def test_a_count_that_rounds_its_sum_down_is_found_not_additive(divisor: int) -> None:
    counter = TokenCounter(lambda messages: characters(messages) // divisor)
    assert not message_counter(counter).additive


@pytest.mark.parametrize("divisor", range(2, 13))
def test_a_count_that_rounds_its_sum_up_is_found_not_additive(divisor: int) -> None:
    counter = TokenCounter(lambda messages: math.ceil(characters(messages) / divisor))
    assert not message_counter(counter).additive


NOT_ADDITIVE: dict[str, Callable[[Any], int]] = {
    "the longest": lambda messages: max((len(m.text) for m in messages), default=0),
    "at least one": lambda messages: max(60, characters(messages)),
    "each text once": lambda messages: len("".join({m.type for m in messages})),
    "quadratic": lambda messages: len(messages) ** 2,
}
if "use_usage_metadata_scaling" in inspect.signature(count_tokens_approximately).parameters:
    NOT_ADDITIVE["scaled by usage"] = functools.partial(count_tokens_approximately, use_usage_metadata_scaling=True)


@pytest.mark.parametrize("counts", NOT_ADDITIVE.values(), ids=NOT_ADDITIVE)
def test_a_count_that_is_no_sum_is_found_not_additive(counts: Callable[[Any], int]) -> None:
    assert not message_counter(TokenCounter(counts)).additive


@pytest.mark.parametrize("counts", NOT_ADDITIVE.values(), ids=NOT_ADDITIVE)
def test_a_count_that_is_no_sum_is_taken_of_the_whole(counts: Callable[[Any], int]) -> None:
    assert TokenCounter(counts)(TALK) == counts(TALK)


def joined(messages: Sequence[BaseMessage]) -> int:
    return len("\n---\n".join(message.text for message in messages))


def test_a_separator_between_messages_is_a_negative_constant() -> None:
    assert message_counter(TokenCounter(joined)).constant == -5


def test_a_count_with_separators_is_the_callables_own() -> None:
    assert TokenCounter(joined)(TALK) == joined(TALK)


def test_a_count_with_separators_of_no_messages_is_not_negative() -> None:
    assert TokenCounter(joined)([]) == 0


def test_a_constant_of_a_callable_is_found() -> None:
    assert message_counter(TokenCounter(lambda messages: 40 + characters(messages))).constant == 40


async def remotely(messages: Sequence[BaseMessage]) -> int:
    return len(messages)


class Remotely:
    async def __call__(self, messages: Sequence[BaseMessage]) -> int:
        return len(messages)


WRONG: dict[str, tuple[object, str]] = {
    "a float": (12.0, "returned 12.0 (float)"),
    "a bool": (True, "returned True (bool)"),
    "nothing": (None, "returned None (None)"),
    "a text": ("12", "returned '12' (str)"),
}


@pytest.mark.parametrize(("value", "shown"), WRONG.values(), ids=WRONG)
def test_a_callable_that_returns_no_int_is_an_error_that_says_so(value: object, shown: str) -> None:
    def my_count(messages: Sequence[BaseMessage]) -> Any:
        return value

    with pytest.raises(TypeError, match="token_counter must return an int") as caught:
        TokenCounter(my_count)([HumanMessage("Hi")])
    assert shown in str(caught.value)


def test_a_wrong_count_is_an_error_that_names_the_callable() -> None:
    def my_count(messages: Sequence[BaseMessage]) -> Any:
        return None

    with pytest.raises(TypeError, match="my_count"):
        TokenCounter(my_count)([HumanMessage("Hi")])


def test_a_negative_count_is_an_error_that_names_the_callable() -> None:
    with pytest.raises(ValueError, match=r"negative count; .*lambda.* returned -1"):
        TokenCounter(lambda _: -1)([HumanMessage("Hi")])


def test_a_callable_that_returns_a_coroutine_is_an_error() -> None:
    with pytest.raises(TypeError, match="must return an int"):
        TokenCounter(cast("Any", lambda messages: remotely(list(messages))))([HumanMessage("Hi")])


@pytest.mark.parametrize("counter", [remotely, Remotely(), functools.partial(remotely)])
def test_a_coroutine_function_is_an_error_at_construction(counter: Any) -> None:
    with pytest.raises(TypeError, match="coroutine function"):
        TokenCounter(counter)


def test_a_callable_on_texts_is_an_error_that_says_what_a_counter_is_called_with() -> None:
    with pytest.raises(TypeError) as caught:
        TokenCounter(CHAT.get_num_tokens)([HumanMessage("Hi")])  # type: ignore[arg-type]
    assert "called with a list of messages" in str(caught.value.__notes__)


@pytest.mark.parametrize("counter", [None, 5, ["o200k_base"], RunnableLambda(len), ChatOpenAI])
def test_what_cannot_count_is_an_error_at_construction(counter: Any) -> None:
    with pytest.raises(TypeError, match="token_counter must be a chat model or LLM"):
        TokenCounter(counter)


def test_an_unknown_encoding_name_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"o2000k_base.* known are .*o200k_base"):
        TokenCounter("o2000k_base")


def test_a_models_name_counts_as_the_model_does() -> None:
    said = [HumanMessage("Hi", name="Ann"), AIMessage("Hello.")]
    tool = {"name": "look_up", "description": "Look something up."}
    assert TokenCounter("gpt-4o").count(said, tools=[tool]) == TokenCounter(CHAT).count(said, tools=[tool])


def test_an_unknown_exactness_is_an_error() -> None:
    with pytest.raises(ValueError, match="exact must be 'local' or 'remote'"):
        TokenCounter(CHAT, exact="maybe")  # type: ignore[arg-type]


def test_an_error_shows_no_key() -> None:
    secret = ChatOpenAI(model="gpt-4o", api_key=SecretStr("sk-secret"))
    with pytest.raises(TypeError) as caught:
        TokenCounter(secret | StrOutputParser())  # type: ignore[arg-type]
    assert "sk-secret" not in str(caught.value)


# --- any text, any block --------------------------------------------------------------------------

TEXTS = {
    "a special token": "<|endoftext|>",
    "a lone surrogate": "\ud83d",
    "surrogates": "a\udc00\ud800b",
    "a million spaces": " " * 1_000_000,
    "a million and one tabs": "\t" * 1_000_001,
    "a space": " ",
    "a newline": "\n",
    "a control character": "\x00",
    "a combining mark": "\u0301",
    "a private character": "\U0010fffd",
}


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base", "o200k_harmony"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_costs_more_than_none(text: str, name: str) -> None:
    counter = TokenCounter(name)
    assert counter([HumanMessage(text)]) > counter([HumanMessage("")])


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_costs_more_than_none_with_a_completion_model(text: str) -> None:
    counter = TokenCounter(COMPLETION)
    assert counter([HumanMessage(text)]) > 0


def test_a_long_text_counts_exactly() -> None:
    text = "The baker's shop, two streets from here, opens at 7.\n" * 12_000
    counter = TokenCounter("o200k_base")
    assert counter([HumanMessage(text)]) == CHAT.get_num_tokens_from_messages([HumanMessage(text)])


def test_what_no_model_could_hold_counts_high_but_no_more_than_its_bytes() -> None:
    text = '{"a": [1, 2.5, "x"]}' * 300_000
    exact = 15 * 300_000  # measured on a tenth of it
    counted = TokenCounter("o200k_base")([HumanMessage(text)])
    assert exact <= counted <= len(text) + 10


BLOCKS: dict[str, dict[str, Any]] = {
    "text without a text": {"type": "text"},
    "text that is None": {"type": "text", "text": None},
    "reasoning": {"type": "reasoning", "reasoning": "First the bakery."},
    "reasoning as OpenAI sends it": {"type": "reasoning", "summary": [{"text": "First."}]},
    "thinking": {"type": "thinking", "thinking": "First the bakery.", "signature": "abc"},
    "redacted thinking": {"type": "redacted_thinking", "data": "abc"},
    "refusal": {"type": "refusal", "refusal": "I will not."},
    "input_text": {"type": "input_text", "text": "Hello"},
    "output_text": {"type": "output_text", "text": "Hello"},
    "text-plain": {"type": "text-plain", "text": "Hello", "mime_type": "text/plain"},
    "input_audio": {"type": "input_audio", "input_audio": {"data": "abc", "format": "wav"}},
    "audio": {"type": "audio", "base64": "abc", "mime_type": "audio/wav"},
    "video": {"type": "video", "url": "https://example.com/a.mp4"},
    "file": {"type": "file", "file": {"file_data": "data:application/pdf;base64,abc"}},
    "tool_use": {"type": "tool_use", "id": "1", "name": "look_up", "input": {"word": "a"}},
    "tool_result": {"type": "tool_result", "tool_use_id": "1", "content": "Two streets."},
    "server_tool_call": {"type": "server_tool_call", "name": "web", "args": {}, "id": "1"},
    "web_search_call": {"type": "web_search_call", "id": "1", "status": "completed"},
    "image_generation_call": {"type": "image_generation_call", "result": "abc"},
    "non_standard": {"type": "non_standard", "value": {"a": 1}},
    "image_url as a string": {"type": "image_url", "image_url": "https://example.com/a.png"},
    "image_url as a dict": {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    "image": {"type": "image", "base64": "abc", "mime_type": "image/png"},
    "unknown": {"type": "hologram", "depth": 3},
    "without a type": {"text": "Hello"},
}


@pytest.mark.parametrize("model", [CHAT, "cl100k_base"], ids=["model", "encoding"])
@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_any_block_costs_more_than_none(block: dict[str, Any], model: Any) -> None:
    counter = TokenCounter(model)
    assert counter([HumanMessage([block])]) > counter([HumanMessage([])])


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_any_block_counts_with_a_completion_model(block: dict[str, Any]) -> None:
    assert TokenCounter(COMPLETION)([HumanMessage([block])]) > 0


def test_a_tool_call_in_content_and_in_tool_calls_counts_once() -> None:
    counter = TokenCounter(CHAT)
    use = {"type": "tool_use", "id": "1", "name": "look_up", "input": {"word": "a"}}
    calls = [call(args={"word": "a"})]
    assert counter([AIMessage([use], tool_calls=calls)]) == counter([AIMessage("", tool_calls=calls)])


def test_a_chinese_text_in_an_unknown_block_is_no_encoded_file() -> None:
    block = {"type": "tool_result", "content": "你好世界" * 500}
    assert TokenCounter(CHAT)([HumanMessage([block])]) > 1000


PAGE = "A line of a text file, said as it is. " * 9


@pytest.mark.parametrize(
    "data",
    [PAGE, base64.b64encode(PAGE.encode() * 9).decode(), PAGE.encode()],
    ids=["as it is", "encoded", "bytes"],
)
def test_a_text_file_costs_its_text(data: str | bytes) -> None:
    counter = TokenCounter("o200k_base")
    empty = counter([HumanMessage("")])
    text = PAGE * 9 if isinstance(data, str) and " " not in data else PAGE
    block = {"type": "file", "mime_type": "text/plain", "data": data}
    assert counter([HumanMessage([block])]) - empty == counter([HumanMessage(text)]) - empty


def test_an_encoded_file_does_not_cost_its_letters() -> None:
    block = {"type": "hologram", "data": "iVBORw0KGgo" * 9999}  # the letters with which a PNG begins
    assert 85 < TokenCounter(CHAT)([HumanMessage([block])]) < 1000


class Odd(HumanMessage):
    """A message of a user's own."""

    mood: str = "good"


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


ODD: dict[str, BaseMessage] = {
    "a message to be removed": RemoveMessage("1"),
    "a subclass": Odd(content="Hello"),
    "content that is None": HumanMessage.model_construct(content=None),
    "content that is a number": HumanMessage.model_construct(content=5),
    "no extras": HumanMessage.model_construct(content="Hello", additional_kwargs=None),
    "an invalid call of nothing": AIMessage(
        "",
        invalid_tool_calls=[{"name": None, "args": None, "id": None, "error": None, "type": "invalid_tool_call"}],
    ),
    "a call in additional_kwargs": AIMessage(
        "",
        additional_kwargs={
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}]
        },
    ),
    "a function call": AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
    "a special token in arguments": AIMessage("", tool_calls=[call(args={"a": "<|endoftext|>"})]),
    "a special token in a name": HumanMessage("Hi", name="<|endoftext|>"),
    "arguments nested too deeply": AIMessage("", tool_calls=[call(args=deep(500))]),
    "arguments that are no JSON": AIMessage("", tool_calls=[call(args={"a": object})]),
}


@pytest.mark.parametrize("model", [CHAT, COMPLETION, "cl100k_base"], ids=["chat", "llm", "name"])
@pytest.mark.parametrize("message", ODD.values(), ids=ODD)
def test_an_odd_message_counts(message: BaseMessage, model: Any) -> None:
    assert TokenCounter(model)([message]) > 0


def test_a_block_that_holds_itself_counts() -> None:
    block: dict[str, Any] = {"type": "hologram"}
    block["self"] = block
    message = HumanMessage("")
    message.content = [block]
    assert TokenCounter(CHAT)([message]) > 0


# --- custom_get_token_ids -------------------------------------------------------------------------


def test_custom_get_token_ids_wins_over_a_chat_models_own_encoding() -> None:
    model = ChatOpenAI(model="gpt-4o", api_key=KEY, custom_get_token_ids=letters_as_tokens)
    assert TokenCounter(model)([HumanMessage("abc")]) == 3 + 3 + len("user") + len("abc")


def test_custom_get_token_ids_wins_with_a_completion_model() -> None:
    model = OpenAI(model="gpt-3.5-turbo-instruct", api_key=KEY, custom_get_token_ids=letters_as_tokens)
    assert TokenCounter(model)([HumanMessage("abc")]) == len("Human: abc")


def test_custom_get_token_ids_wins_with_a_model_that_has_no_tokenizer() -> None:
    model = FakeListChatModel(responses=["a"], custom_get_token_ids=letters_as_tokens)
    assert TokenCounter(model)([HumanMessage("abc")]) == len("Human: abc")


def test_custom_get_token_ids_that_finds_nothing_still_counts_one() -> None:
    model = FakeListChatModel(responses=["a"], custom_get_token_ids=lambda _: [])
    assert TokenCounter(model)([HumanMessage("abc")]) == 1


def refusing(text: str) -> list[int]:
    if "<|" in text:
        msg = "Encountered text corresponding to disallowed special token"
        raise ValueError(msg)
    return letters_as_tokens(text)


def test_a_text_that_custom_get_token_ids_refuses_counts_with_one_warning() -> None:
    model = FakeListChatModel(responses=["a"], custom_get_token_ids=refusing)
    counter = TokenCounter(model)
    with pytest.warns(UserWarning, match="refused a text") as warned:
        counter([HumanMessage("<|endoftext|>"), HumanMessage("<|endofprompt|>")])
    assert len(warned) == 1


# --- counted once ---------------------------------------------------------------------------------


class Counting:
    """Counts, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, messages: Sequence[BaseMessage]) -> int:
        self.asked += 1
        return characters(messages)

    def method(self, messages: Sequence[BaseMessage]) -> int:
        return self(messages)


def test_a_second_count_asks_nothing() -> None:
    counting = Counting()
    counter = TokenCounter(counting)
    counter(chat(5))
    asked = counting.asked
    counter(chat(5))
    assert counting.asked == asked


def test_a_new_counter_over_the_same_callable_asks_nothing() -> None:
    counting = Counting()
    TokenCounter(counting)(chat(5))
    asked = counting.asked
    TokenCounter(counting)(chat(5))
    assert counting.asked == asked


def test_a_new_counter_over_the_same_method_asks_nothing() -> None:
    counting = Counting()
    TokenCounter(counting.method)(chat(5))
    asked = counting.asked
    TokenCounter(counting.method)(chat(5))
    assert counting.asked == asked


def test_a_method_of_another_object_is_another_counter() -> None:
    TokenCounter(Counting().method)(chat(5))
    other = Counting()
    TokenCounter(other.method)(chat(5))
    assert other.asked


def test_functions_of_one_name_on_one_object_are_counters_apart() -> None:
    one = Counting()
    few = TokenCounter((lambda _, messages: len(messages)).__get__(one))
    many = TokenCounter((lambda _, messages: 100 * len(messages)).__get__(one))
    assert (few(chat(1)), many(chat(1))) == (2, 200)


def texts_counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the texts that are tokenized from here on."""
    texts: list[str] = []
    price = message_counter(TokenCounter("o200k_base"))
    encode = price.tokenizer.encode  # type: ignore[union-attr]

    def seen(self: object, text: str) -> list[int]:
        texts.append(text)
        return encode(text)

    monkeypatch.setattr(type(price.tokenizer), "encode", seen)
    return texts


def test_a_conversation_is_tokenized_once_for_all_models_of_an_encoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    messages: list[BaseMessage] = [HumanMessage(f"Only here: {number}") for number in range(50)]
    TokenCounter(CHAT)(messages)
    texts = texts_counted(monkeypatch)
    TokenCounter("o200k_base")([message.model_copy() for message in messages])
    assert texts == []


def test_a_changed_text_is_counted_anew() -> None:
    message = HumanMessage("Hello")
    counter = TokenCounter(CHAT)
    counter([message])
    message.content = "Hello to all of you"
    assert counter([message]) == CHAT.get_num_tokens_from_messages([message])


def test_a_block_changed_in_place_is_counted_anew() -> None:
    message = HumanMessage([{"type": "text", "text": "Hello"}])
    counter = TokenCounter(CHAT)
    counter([message])
    message.content[0]["text"] = "Hello to all of you"  # type: ignore[index]
    assert counter([message]) == CHAT.get_num_tokens_from_messages([message])


def test_arguments_changed_in_place_are_counted_anew() -> None:
    message = AIMessage("", tool_calls=[call(args={"word": "bakery"})])
    counter = TokenCounter(CHAT)
    before = counter([message])
    message.tool_calls[0]["args"]["word"] = "a bakery that is open at night"
    assert counter([message]) > before


def test_a_name_given_later_is_counted() -> None:
    message = HumanMessage("Hello")
    counter = TokenCounter(CHAT)
    before = counter([message])
    message.name = "Ann"
    assert counter([message]) > before


def test_whatever_changes_is_seen_with_a_callable() -> None:
    counter = TokenCounter(lambda messages: sum(len(m.response_metadata) for m in messages))
    message = AIMessage("Hello")
    before = counter([message])
    message.response_metadata["a"] = 1
    assert counter([message]) == before + 1


def test_the_counts_of_a_callable_go_with_it() -> None:
    counting = Counting()
    TokenCounter(counting)(chat(5))
    gc.collect()  # what other tests left
    before = len(_count_cache._by_owner)
    del counting
    gc.collect()
    assert len(_count_cache._by_owner) == before - 1


def test_what_cannot_be_watched_still_counts() -> None:
    class Slotted:
        __slots__ = ()

        def __call__(self, messages: Sequence[BaseMessage]) -> int:
            return characters(messages)

    assert TokenCounter(Slotted())(TALK) == characters(TALK)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_count_cache, "REMEMBERED", 100)
    counter = TokenCounter(Counting())
    counter(chat(500))
    assert len(message_counter(counter).count_cache.counts) <= 100


def test_forgetting_changes_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_count_cache, "REMEMBERED", 10)
    messages = chat(100)
    assert TokenCounter(Counting())(messages) == characters(messages)


def test_what_is_remembered_are_numbers() -> None:
    counter = TokenCounter("o200k_base")
    counter([*TALK, HumanMessage([{"type": "text", "text": "Hello"}])])
    counts = message_counter(counter).count_cache.counts
    assert {type(number) for item in counts.items() for number in item} == {int}


def test_a_remembered_message_takes_at_most_300_bytes() -> None:
    counter = TokenCounter(len)
    counter(chat(1))
    messages = chat(5_000)
    keys = message_counter(counter).keys(messages)
    del keys
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    counter(messages)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken / len(messages) <= 300


def test_threads_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_count_cache, "REMEMBERED", 64)  # forgetting while others read
    messages = chat(200)
    counting = Counting()
    counts: list[int] = []

    def count() -> None:
        counts.extend(TokenCounter(counting)(messages) for _ in range(5))

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [characters(messages)] * 30


def test_the_memory_of_an_object_is_found_again() -> None:
    owner = Counting()
    assert cache_of(owner) is cache_of(owner)


# --- pickling, comparing, showing -----------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda counter: pickle.loads(pickle.dumps(counter))])
def test_a_copied_counter_counts_the_same(again: Callable[[TokenCounter], TokenCounter]) -> None:
    counter = TokenCounter("o200k_base")
    assert again(counter)(TALK) == counter(TALK)


def test_a_pickled_counter_carries_no_counts() -> None:
    counter = TokenCounter("o200k_base")
    before = len(pickle.dumps(counter))
    counter(chat(100))
    assert len(pickle.dumps(counter)) == before


def test_a_pickled_counter_keeps_its_exactness() -> None:
    counter = TokenCounter("o200k_base", exact="remote")
    assert pickle.loads(pickle.dumps(counter)).exact == "remote"


def test_a_counter_inside_another_keeps_its_exactness() -> None:
    assert TokenCounter(TokenCounter("o200k_base", exact="remote")).exact == "remote"


def test_counters_over_the_same_are_equal() -> None:
    assert TokenCounter("o200k_base") == TokenCounter("o200k_base")


def test_counters_over_others_are_not_equal() -> None:
    assert TokenCounter("o200k_base") != TokenCounter("cl100k_base")


def test_a_counter_shows_no_key() -> None:
    model = ChatOpenAI(model="gpt-4o", api_key=SecretStr("sk-secret"))
    assert "sk-secret" not in repr(TokenCounter(model))


# --- inside LangChain -----------------------------------------------------------------------------


def test_a_token_counter_counts_for_trim_messages() -> None:
    counter = TokenCounter(CHAT)
    messages = chat(20)
    trimmed = trim_messages(messages, max_tokens=60, token_counter=counter)
    assert trimmed == trim_messages(messages, max_tokens=60, token_counter=CHAT)


# --- what a list of messages may be ---------------------------------------------------------------

HI = HumanMessage("Hi")
LIKE: dict[str, Any] = {
    "a text": "Hi",
    "a message": HI,
    "a dict": {"role": "user", "content": "Hi"},
    "a list": [HI],
    "a tuple": (HI,),
    "a generator": (message for message in [HI]),
    "a list of texts": ["Hi"],
    "a list of pairs": [("user", "Hi")],
    "a list of dicts": [{"role": "user", "content": "Hi"}],
    "a prompt value": ChatPromptValue(messages=[HI]),
}


@pytest.mark.parametrize("value", LIKE.values(), ids=LIKE)
def test_whatever_is_like_messages_becomes_messages(value: Any) -> None:
    assert [message.text for message in as_messages(value)] == ["Hi"]


def test_messages_stay_the_same_objects() -> None:
    assert as_messages([HI, ("ai", "Hello")])[0] is HI


def test_a_state_is_an_error_that_names_the_key_to_pass() -> None:
    with pytest.raises(TypeError, match=r"state\['messages'\]"):
        as_messages({"messages": [HI], "jump_to": None})


def test_a_number_is_an_error_that_shows_it() -> None:
    with pytest.raises(TypeError, match="got int: 5"):
        as_messages(5)  # type: ignore[arg-type]


# --- parallel calls -------------------------------------------------------------------------------

PRETTY, COMPACT = '{\n  "city": "Rome",\n  "lines": 3\n}', '{"city": "Rome", "lines": 3}'


def results_of(calls: int, result: str) -> list[BaseMessage]:
    made = [{"name": "look", "args": {"at": n}, "id": f"{n}"} for n in range(calls)]
    results = [ToolMessage(result, tool_call_id=f"{n}") for n in range(calls)]
    return [HI, AIMessage("", tool_calls=made), *results]


def test_results_of_parallel_calls_count_as_the_json_they_are_sent_as() -> None:
    count = TokenCounter("gpt-4o").count
    assert count(results_of(2, PRETTY)) == count(results_of(2, COMPACT))


@pytest.mark.parametrize("result", [PRETTY, COMPACT, 'one\n"two"\n', "", "ok"])
def test_a_window_counts_results_of_parallel_calls_to_no_less_than_the_whole(result: str) -> None:
    counter, messages = TokenCounter("gpt-4o"), results_of(3, result)
    assert counter.count(messages) <= TokenBuffer(5000, token_counter=counter).window(messages).tokens


def test_the_result_of_one_call_counts_as_its_text() -> None:
    count = TokenCounter("gpt-4o").count
    assert count(results_of(1, PRETTY)) > count(results_of(1, COMPACT))


def test_results_of_parallel_calls_count_as_their_texts_where_calls_are_sent_apart() -> None:
    count = TokenCounter("gpt-5").count
    assert count(results_of(2, PRETTY)) > count(results_of(2, COMPACT))


# --- Claude behind OpenAI's API -------------------------------------------------------------------


def test_a_response_format_of_claude_behind_openais_api_counts_as_a_forced_tool() -> None:
    behind = ChatOpenAI(model="claude-sonnet-4", base_url="https://example.invalid/v1", api_key=SecretStr("x"))
    counter, schema = TokenCounter(behind), {"title": "City", "type": "object", "properties": {"name": {}}}
    tool = {"type": "function", "function": {"name": "City", "parameters": schema}}
    assert counter.count([HI], response_format=schema) > counter.count([HI], tools=[tool]) > counter.count([HI])
