"""Shortening one message that does not fit."""

from __future__ import annotations

import copy
import re
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    ToolCall,
    ToolMessage,
)

from langchain_tokenbuffer import TokenBuffer, TokenCounter
from langchain_tokenbuffer.counters import message_counter
from tests.builders import count_words, count_words_by_threes
from tests.clamping import clamp, min_tokens
from tests.scale import examples

if TYPE_CHECKING:
    from langchain_tokenbuffer.counters import CountedBy

O200K = TokenCounter("o200k_base")
WORDS = TokenCounter(count_words)
MARKER = re.compile(r"\[\.\.\. (\d+) tokens omitted \.\.\.\]")


def letters(messages: list[BaseMessage]) -> int:
    """Count characters: what a callable can count that no encoding can."""
    return sum(len(message.text) for message in messages)


LETTERS = TokenCounter(letters)
COUNTERS = {"an encoding": O200K, "words": WORDS, "letters": LETTERS}
counters = pytest.mark.parametrize("counter", COUNTERS.values(), ids=COUNTERS)


def price(message: BaseMessage, counter: TokenCounter) -> int:
    return message_counter(counter).tokens([message], message_counter(counter).keys([message]))[0]


def text_of(message: BaseMessage) -> str:
    return str(message.text)


# --- the law ------------------------------------------------------------------------------------

_alphabet = st.sampled_from(["word ", "a", "안녕 ", "🙂", "\ud83d", "\n", "  ", "<|endoftext|>", "你"])
_texts = st.lists(_alphabet, max_size=30).flatmap(lambda parts: st.integers(0, 40).map(lambda n: "".join(parts) * n))


@st.composite
def messages(draw: st.DrawFn) -> BaseMessage:
    content: Any = draw(_texts)
    if draw(st.booleans()):
        content = [
            draw(st.sampled_from([{"type": "text", "text": text}, text])) for text in draw(st.lists(_texts, max_size=3))
        ]
    kind = draw(st.sampled_from(["human", "ai", "tool"]))
    if kind == "tool":
        return ToolMessage(content, tool_call_id="a")
    return HumanMessage(content) if kind == "human" else AIMessage(content)


@counters
@settings(max_examples=examples(80))
@given(messages(), st.data())
def test_a_clamped_message_costs_at_most_its_size(
    counter: TokenCounter, message: BaseMessage, data: st.DataObject
) -> None:
    size = data.draw(st.integers(min_tokens(message, counter), price(message, counter)))
    assert price(clamp(message, size, counter), counter) <= size


@pytest.mark.parametrize("letters", [17, 20, 26])
def test_no_text_is_replaced_by_a_longer_marker(letters: int) -> None:
    counter = TokenCounter(lambda messages: sum(len(message.text) for message in messages))
    short = {"type": "text", "text": "a" * letters}
    message = HumanMessage([short, {"type": "text", "text": "b" * 500}])
    marker = f"[... {letters + 500} tokens omitted ...]"
    assert min_tokens(message, counter) == letters + len(marker)


def test_a_text_of_more_words_than_its_marker_is_shortened_however_few_letters_it_has() -> None:
    message = HumanMessage("a b c d e f g h i")  # 17 letters, the marker has 26
    assert text_of(clamp(message, min_tokens(message, WORDS), WORDS)) == "[... 4 tokens omitted ...]"


def test_each_text_of_a_message_is_weighed_against_its_marker_by_the_counter() -> None:
    few, one = "a b c d e f g h i", "https://example.org/a/long/address"
    message = HumanMessage([{"type": "text", "text": text} for text in (few, one)])
    shown = clamp(message, min_tokens(message, WORDS), WORDS)
    assert text_of(shown) == f"[... 4 tokens omitted ...]{one}"


@counters
@settings(max_examples=examples(80))
@given(messages())
@example(HumanMessage([{"type": "text", "text": "word " * 7}, {"type": "text", "text": "a" * 27}]))
def test_the_smallest_size_can_be_had(counter: TokenCounter, message: BaseMessage) -> None:
    least = min_tokens(message, counter)
    assert price(clamp(message, least, counter), counter) <= least


@settings(max_examples=examples(80))
@given(messages())
def test_with_an_encoding_nothing_costs_less_than_the_smallest_size(message: BaseMessage) -> None:
    # With a lone surrogate the marker says a rough number, of a digit more or less.
    assume(not any("\ud800" <= letter <= "\udfff" for letter in text_of(message)))
    least = min_tokens(message, O200K)
    assert price(clamp(message, least, O200K), O200K) == least


@counters
@settings(max_examples=examples(80))
@given(messages())
def test_the_smallest_size_is_never_above_the_full_one(counter: TokenCounter, message: BaseMessage) -> None:
    assert min_tokens(message, counter) <= price(message, counter)


@counters
@settings(max_examples=examples(80))
@given(messages(), st.data())
def test_the_message_itself_stays_as_it_is(counter: TokenCounter, message: BaseMessage, data: st.DataObject) -> None:
    before = copy.deepcopy(message)
    clamp(message, data.draw(st.integers(min_tokens(message, counter), 200)), counter)
    assert message == before


@settings(max_examples=examples(80))
@given(messages(), st.data())
def test_clamping_the_same_again_gives_the_same(message: BaseMessage, data: st.DataObject) -> None:
    size = data.draw(st.integers(min_tokens(message, O200K), price(message, O200K)))
    assert clamp(message, size, O200K) == clamp(message, size, TokenCounter("o200k_base"))


@settings(max_examples=examples(80))
@given(messages(), st.data())
def test_a_clamped_message_that_is_clamped_to_its_own_size_stays(message: BaseMessage, data: st.DataObject) -> None:
    size = data.draw(st.integers(min_tokens(message, O200K), price(message, O200K)))
    once = clamp(message, size, O200K)
    assert clamp(once, size, O200K) == once


@counters
def test_a_message_that_fits_keeps_its_content(counter: TokenCounter) -> None:
    message = HumanMessage("Hi there.")
    assert clamp(message, 100, counter) == message


# --- what stays of a text -----------------------------------------------------------------------

NUMBERED = " ".join(f"n{i}" for i in range(100, 500))


@pytest.mark.parametrize(("counter", "size"), [(O200K, 200), (WORDS, 100), (LETTERS, 600)])
def test_the_beginning_and_the_end_stay_around_a_marker(counter: TokenCounter, size: int) -> None:
    text = text_of(clamp(HumanMessage(NUMBERED), size, counter))
    head, tail = re.split(r"\n\[\.\.\. \d+ tokens omitted \.\.\.\]\n", text)
    assert NUMBERED.startswith(head)
    assert NUMBERED.endswith(tail)
    assert min(len(head), len(tail)) > 20


@pytest.mark.parametrize(("counter", "size"), [(O200K, 200), (WORDS, 100), (LETTERS, 600)])
def test_head_and_tail_are_of_about_one_length(counter: TokenCounter, size: int) -> None:
    text = text_of(clamp(HumanMessage(NUMBERED), size, counter))
    head, tail = re.split(r"\n\[\.\.\. \d+ tokens omitted \.\.\.\]\n", text)
    assert abs(len(head) - len(tail)) < 0.2 * len(head)


def test_the_marker_says_how_many_tokens_are_left_out() -> None:
    message = HumanMessage(NUMBERED)
    text = text_of(clamp(message, 200, O200K))
    said = MARKER.search(text)
    assert said is not None
    tokenizer = message_counter(O200K).tokenizer
    assert tokenizer is not None
    stays = sum(len(tokenizer.encode(part)) for part in re.split(r"\n\[.*\]\n", text))
    assert int(said[1]) == len(tokenizer.encode(NUMBERED)) - stays


def test_under_a_callable_the_marker_says_what_was_saved() -> None:
    text = text_of(clamp(HumanMessage("word " * 400), 100, WORDS))
    assert "[... 302 tokens omitted ...]" in text


@pytest.mark.parametrize(("counter", "near"), [(O200K, 6), (WORDS, 2), (LETTERS, 2)])
def test_as_much_stays_as_fits(counter: TokenCounter, near: int) -> None:
    assert price(clamp(HumanMessage(NUMBERED), 300, counter), counter) > 300 - near


def estimating_counter() -> TokenCounter:
    """A model without a tokenizer: its tokens are a multiple of another's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TokenCounter(FakeListChatModel(responses=["x"]))


@pytest.mark.parametrize("size", [300, 600, 900])
def test_as_much_stays_as_fits_where_counting_is_an_estimate(size: int) -> None:
    counter = estimating_counter()
    assert price(clamp(HumanMessage(NUMBERED), size, counter), counter) > 0.9 * size


def test_at_the_smallest_size_only_the_marker_stays() -> None:
    message = HumanMessage(NUMBERED)
    text = text_of(clamp(message, min_tokens(message, O200K), O200K))
    assert MARKER.fullmatch(text)


def test_a_text_shorter_than_the_marker_stays() -> None:
    message = HumanMessage("Hi there, you.")
    assert min_tokens(message, O200K) == price(message, O200K)


# --- characters ---------------------------------------------------------------------------------


@counters
@settings(max_examples=40)
@given(st.data())
def test_no_character_is_cut_in_two(counter: TokenCounter, data: st.DataObject) -> None:
    message = HumanMessage("🙂 你好👩‍🚀안녕 é" * 60)
    size = data.draw(st.integers(min_tokens(message, counter), price(message, counter)))
    text = text_of(clamp(message, size, counter))
    assert set(re.sub(MARKER, "", text)) <= set(text_of(message)) | {"\n"}


@pytest.mark.parametrize("shift", [0, 1])
def test_the_two_halves_of_a_surrogate_pair_stay_together(shift: int) -> None:
    message = HumanMessage("x" * shift + "\ud83d\ude42" * 300)
    for size in range(40, 120):
        text = text_of(clamp(message, size, LETTERS))
        assert not re.search("\ud83d(?!\ude42)|(?<!\ud83d)\ude42", text)


@counters
def test_lone_surrogates_stay_as_they_are(counter: TokenCounter) -> None:
    message = HumanMessage("\ud83d one " * 300)
    text = text_of(clamp(message, 150, counter))
    assert text.startswith("\ud83d one")
    assert "\ufffd" not in text


def test_with_a_lone_surrogate_the_marker_says_tokens_too() -> None:
    message = HumanMessage("\ud83d" + "understandable " * 400)
    said = MARKER.search(text_of(clamp(message, 100, O200K)))
    assert said is not None
    assert int(said[1]) < price(message, O200K)


def test_with_a_lone_surrogate_as_much_stays_as_fits() -> None:
    message = HumanMessage("\ud83d" + "understandable " * 400)
    assert price(clamp(message, 300, O200K), O200K) > 270


def test_a_million_spaces_can_be_clamped() -> None:
    message = ToolMessage(" " * 1_000_000, tool_call_id="a")
    assert price(clamp(message, 50, O200K), O200K) <= 50


def test_special_tokens_are_text() -> None:
    message = HumanMessage("<|endoftext|>" * 100)
    assert text_of(clamp(message, 60, O200K)).startswith("<|endoftext|>")


# --- what is touched ----------------------------------------------------------------------------


def test_the_biggest_text_of_a_message_is_shortened_first() -> None:
    message = HumanMessage([{"type": "text", "text": "small " * 20}, {"type": "text", "text": "big " * 400}])
    clamped = clamp(message, 200, O200K)
    assert clamped.content[0] == message.content[0]
    assert clamped.content[1] != message.content[1]


def test_two_big_texts_are_shortened_alike() -> None:
    message = HumanMessage(["one " * 400, "two " * 300])
    first, second = list(clamp(message, 200, O200K).content)
    tokenizer = message_counter(O200K).tokenizer
    assert tokenizer is not None
    assert abs(len(tokenizer.encode(str(first))) - len(tokenizer.encode(str(second)))) <= 2


@counters
def test_other_blocks_stay_as_they_are(counter: TokenCounter) -> None:
    blocks: list[str | dict[Any, Any]] = [
        {"type": "thinking", "thinking": "hm " * 9, "signature": "s" * 30},
        {"type": "text", "text": "word " * 900, "id": "b"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        {"type": "tool_use", "id": "a", "name": "look", "input": {"q": "word " * 9}},
    ]
    message = AIMessage(blocks)
    clamped = clamp(message, 400, counter)
    assert [clamped.content[i] for i in (0, 2, 3)] == [blocks[i] for i in (0, 2, 3)]


def test_a_shortened_block_keeps_its_other_keys() -> None:
    message = AIMessage([{"type": "text", "text": "word " * 900, "id": "b"}])
    assert clamp(message, 100, O200K).content[0]["id"] == "b"  # type: ignore[index]


def test_calls_stay_as_they_are() -> None:
    calls = [ToolCall(name="look", args={"q": "word " * 50}, id="a")]
    message = AIMessage("word " * 900, tool_calls=calls)
    clamped = clamp(message, 200, O200K)
    assert isinstance(clamped, AIMessage)
    assert clamped.tool_calls == message.tool_calls


def test_everything_but_the_content_stays() -> None:
    message = ToolMessage("word " * 900, tool_call_id="a", name="look", id="m1", artifact=[1], status="error")
    clamped = clamp(message, 100, O200K)
    assert clamped.model_copy(update={"content": message.content}) == message


def test_a_string_stays_a_string_and_a_list_a_list() -> None:
    kinds = [type(clamp(m, 60, O200K).content) for m in (HumanMessage("a " * 99), HumanMessage(["a " * 99]))]
    assert kinds == [str, list]


# --- in a window --------------------------------------------------------------------------------


@pytest.mark.parametrize("token_counter", ["o200k_base", count_words, letters, count_words_by_threes])
def test_one_huge_message_never_empties_the_window(token_counter: CountedBy) -> None:
    messages = [HumanMessage("Hi"), AIMessage("Hello."), HumanMessage("word " * 4000)]
    shown = TokenBuffer(300, token_counter=token_counter).trim(messages)
    assert MARKER.search(shown[-1].text)


def test_a_question_that_its_marker_lets_fit_is_shown_under_a_counter_of_words() -> None:
    question = HumanMessage("so it is to be as he is in")  # 9 words of 26 letters; the marker has 5 of 27
    window = TokenBuffer(12, token_counter=count_words).window([question])
    assert window.tokens == 12
    assert window.clamped == {0: 7}


def test_under_len_nothing_can_be_clamped_and_nothing_needs_to_be() -> None:
    messages = [HumanMessage("word " * 4000)]
    assert TokenBuffer(1, token_counter=len).trim(messages) == messages


def test_clamping_converges_over_a_growing_tool_loop() -> None:
    messages: list[BaseMessage] = [HumanMessage("Look.")]
    buffer = TokenBuffer(400, token_counter="o200k_base")
    for n in range(30):
        call = ToolCall(name="look", args={}, id=f"c{n}")
        messages += [
            AIMessage("", tool_calls=[call]),
            ToolMessage(f"{n} " * 900, tool_call_id=f"c{n}"),
        ]
        assert buffer.window(messages).tokens <= 400


@given(st.integers(20, 400), st.lists(_texts, min_size=1, max_size=4))
def test_a_step_of_big_results_fits_or_says_why(max_tokens: int, results: list[str]) -> None:
    calls = [ToolCall(name="look", args={}, id=f"c{i}") for i in range(len(results))]
    messages: list[BaseMessage] = [HumanMessage("Look."), AIMessage("", tool_calls=calls)]
    messages += [ToolMessage(text, tool_call_id=call["id"]) for text, call in zip(results, calls, strict=True)]
    least = sum(min_tokens(message, O200K) for message in messages)
    assume(message_counter(O200K).constant + least <= max_tokens)
    assert O200K(TokenBuffer(max_tokens, token_counter=O200K).trim(messages)) <= max_tokens
