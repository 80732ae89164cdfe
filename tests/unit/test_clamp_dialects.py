"""What of a message clamping may shorten, in every dialect: texts, however deep they stand, and nothing else."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_tokenbuffer import TokenBuffer, TokenCounter
from langchain_tokenbuffer.counters import message_counter
from tests.builders import ai_calling
from tests.clamping import clamp, min_tokens
from tests.dialects import BIG, FILE, IMAGE, MEDIA, REPLIES, RESULTS, SEALED, blanked
from tests.scale import examples

if TYPE_CHECKING:
    from collections.abc import Callable

O200K = TokenCounter("o200k_base")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it has no tokenizer of its own
    ESTIMATE = TokenCounter(FakeListChatModel(responses=["x"]))


def result(block: Any) -> ToolMessage:
    return ToolMessage([block], tool_call_id="1")


def tokens_of(message: BaseMessage, counter: TokenCounter = O200K) -> int:
    return message_counter(counter).tokens([message])[0]


def strings_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings_in(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings_in(each)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("shape", RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("counter", [O200K, ESTIMATE], ids=["an encoding", "an estimate"])
def test_a_long_text_is_shortened_wherever_a_result_holds_it(
    counter: TokenCounter, shape: Callable[[str], dict[str, Any]]
) -> None:
    message = result(shape(BIG))
    clamped = clamp(message, 500, counter)
    assert 400 < tokens_of(clamped, counter) <= 500
    assert blanked(clamped.content) == blanked(message.content)


@pytest.mark.parametrize("shape", REPLIES.values(), ids=REPLIES)
def test_a_long_text_is_shortened_wherever_a_reply_holds_it(shape: Callable[[str], dict[str, Any]]) -> None:
    message = AIMessage([shape(BIG)])
    clamped = clamp(message, 500, O200K)
    assert 400 < tokens_of(clamped) <= 500
    assert blanked(clamped.content) == blanked(message.content)


@pytest.mark.parametrize("shape", RESULTS.values(), ids=RESULTS)
def test_a_window_holds_one_huge_result_in_any_dialect(shape: Callable[[str], dict[str, Any]]) -> None:
    messages = [HumanMessage("q"), ai_calling(("look", {}, "1")), result(shape(BIG))]
    assert TokenBuffer(600, token_counter="o200k_base").window(messages).tokens <= 600


@pytest.mark.parametrize("shape", RESULTS.values(), ids=RESULTS)
def test_the_message_itself_stays_as_it_is(shape: Callable[[str], dict[str, Any]]) -> None:
    message = result(shape(BIG))
    before = copy.deepcopy(message)
    clamp(message, 200, O200K)
    assert message == before


def test_what_is_said_of_a_file_is_shortened_and_the_file_stays() -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}
    message = result({"type": "document", "source": source, "context": BIG})
    block: Any = clamp(message, tokens_of(message) - 2_000, O200K).content[0]
    assert "omitted" in block["context"]
    assert block["source"] == source


@pytest.mark.parametrize("block", SEALED.values(), ids=SEALED)
def test_what_a_provider_checks_is_never_shortened(block: dict[str, Any]) -> None:
    message = AIMessage([block, {"type": "text", "text": BIG}])
    clamped = clamp(message, min_tokens(message, O200K), O200K)
    assert clamped.content[0] == block
    assert "omitted" in str(clamped.content[1])


@pytest.mark.parametrize("block", MEDIA.values(), ids=MEDIA)
def test_media_addresses_and_encrypted_content_stay_as_they_are(block: dict[str, Any]) -> None:
    message = ToolMessage([block, {"type": "text", "text": BIG}], tool_call_id="1")
    clamped = clamp(message, min_tokens(message, O200K), O200K)
    assert clamped.content[0] == block
    assert "omitted" in str(clamped.content[1])


@pytest.mark.parametrize("screenshot", [IMAGE, f"https://example.com/{'a-b' * 200}"], ids=["data", "an address"])
def test_a_screenshot_that_is_a_string_stays_whole(screenshot: str) -> None:
    message = ToolMessage(screenshot, tool_call_id="1", additional_kwargs={"type": "computer_call_output"})
    assert clamp(message, 1, O200K).content == screenshot


EMBEDDED = {
    "an image in a page": f"{BIG}<img src='{IMAGE}'>{BIG}",
    "an image at the end": f"{BIG}{IMAGE}",
    "a small icon": "icon " * 60 + "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP" + " icon" * 60,
    "a file as it is": f"{BIG}\n{FILE}\n{BIG}",
    "nothing but a file": FILE,
}


@pytest.mark.parametrize("text", EMBEDDED.values(), ids=EMBEDDED)
@pytest.mark.parametrize("counter", [O200K, TokenCounter(lambda m: sum(len(x.text) for x in m))], ids=["o200k", "len"])
def test_no_text_is_cut_inside_an_encoded_file(counter: TokenCounter, text: str) -> None:
    message = ToolMessage(text, tool_call_id="1")
    whole, least = tokens_of(message, counter), min_tokens(message, counter)
    for target in range(least, whole, max(1, (whole - least) // 12)):
        shown = clamp(message, target, counter)
        assert tokens_of(shown, counter) <= target
        head, _, tail = str(shown.content).partition("[...")
        for file in (FILE, "R0lGODlhAQABAIAAAAAAAP"):
            assert (file[:12] in head) == (file in head)
            assert (file[-12:] in tail) == (file in tail)


def test_json_stays_json_and_loses_its_longest_texts_first() -> None:
    rows = [{"id": "r1", "text": BIG}, {"id": "r2", "text": "A short text that stays. " * 3}]
    message = result({"type": "json", "json": {"rows": rows, "total": 2}})
    block: Any = clamp(message, 300, O200K).content[0]
    assert block["json"]["rows"][1] == rows[1]
    assert block["json"]["rows"][0]["id"] == "r1"
    assert "omitted" in block["json"]["rows"][0]["text"]
    assert block["json"]["total"] == 2


ROWS = {"rows": [{"id": n, "name": f"n{n}", "ok": True} for n in range(800)]}


@pytest.mark.parametrize(
    "block",
    [{"type": "json", "json": ROWS}, {"toolResult": {"toolUseId": "1", "content": [{"json": ROWS}]}}],
    ids=["json", "toolResult"],
)
def test_json_of_many_small_values_becomes_an_excerpt(block: dict[str, Any]) -> None:
    clamped = clamp(result(block), 300, O200K)
    assert 250 < tokens_of(clamped) <= 300
    (excerpt,) = [text for text in strings_in(clamped.content) if "omitted" in text]
    assert excerpt.startswith('{"rows": [{"id": 0, "name": "n0"')
    assert excerpt.endswith('{"id": 799, "name": "n799", "ok": true}]}')


# --- as a law -----------------------------------------------------------------------------------

_texts = st.sampled_from(
    ["", "a", "word " * 40, "안녕 " * 30, "x" * 900, f"See {IMAGE}.", "[... 9 tokens omitted ...]"]
)
_blocks = st.sampled_from([*RESULTS.values(), *REPLIES.values()]).flatmap(_texts.map)


@st.composite
def messages(draw: st.DrawFn) -> BaseMessage:
    content: Any = draw(st.lists(st.one_of(_blocks, _texts, st.sampled_from([*SEALED.values(), *MEDIA.values()]))))
    if draw(st.booleans()):
        return AIMessage(content)
    return draw(st.sampled_from([ToolMessage(content, tool_call_id="1"), HumanMessage(content)]))


@settings(max_examples=examples(30))
@given(messages(), st.data(), st.sampled_from([O200K, ESTIMATE]))
def test_a_clamped_message_of_any_dialect_costs_at_most_its_target(
    message: BaseMessage, data: st.DataObject, counter: TokenCounter
) -> None:
    least, whole = min_tokens(message, counter), tokens_of(message, counter)
    target = data.draw(st.integers(least, whole))
    clamped = clamp(message, target, counter)
    assert tokens_of(clamped, counter) <= target
    assert min_tokens(clamped, counter) <= least


@settings(max_examples=examples(30))
@given(messages(), st.data())
def test_clamping_to_the_same_again_changes_nothing(message: BaseMessage, data: st.DataObject) -> None:
    target = data.draw(st.integers(min_tokens(message, O200K), tokens_of(message)))
    clamped = clamp(message, target, O200K)
    assert clamp(clamped, target, O200K) == clamped
