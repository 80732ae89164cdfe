"""Passages: what a message says, in pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_tokenbuffer._recall.passages import LONGEST, MOST, passages_of, pieces_of, read_passages
from langchain_tokenbuffer._recall.quotation import Quote, quotation, with_quotation


def test_a_short_message_is_one_passage() -> None:
    assert passages_of(HumanMessage("The code is 12.")) == ["The code is 12."]


def test_an_empty_message_has_no_passage() -> None:
    assert passages_of(AIMessage(" \n")) == []


def test_a_passage_ends_where_a_sentence_does() -> None:
    first, second = "a" * 300 + ".", "b" * 300 + "."
    assert passages_of(HumanMessage(f"{first} {second}")) == [first, second]


def test_a_passage_of_one_sentence_ends_where_a_word_does() -> None:
    assert passages_of(HumanMessage("word " * 200))[0] == ("word " * 70).strip()


def test_chinese_passages_are_a_third_as_long() -> None:
    assert {len(each) for each in passages_of(HumanMessage("储" * 500))} == {116, 36}


@given(st.text(max_size=3000))
def test_a_passage_is_no_longer_than_said(text: str) -> None:
    assert all(0 < len(each) <= LONGEST for each in passages_of(HumanMessage(text)))


@given(st.text(max_size=3000))
def test_passages_are_all_of_a_text_but_space(text: str) -> None:
    assert "".join("".join(passages_of(HumanMessage(text))).split()) == "".join(text.split())


@given(st.text(max_size=3000))
def test_pieces_that_follow_each_other_are_the_text_itself(text: str) -> None:
    assert "".join(pieces_of(HumanMessage(text))).strip() in text


def test_pieces_of_two_texts_are_lines_apart() -> None:
    blocks: list[str | dict[str, str]] = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert pieces_of(HumanMessage(blocks)) == ["One.\n", "Two.\n"]


def test_a_huge_message_has_so_many_passages_at_most() -> None:
    assert len(passages_of(HumanMessage("word " * 200_000))) == MOST


def test_results_are_read_in_their_dialect() -> None:
    block = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "Sunny."}]}
    assert passages_of(HumanMessage([block])) == ["Sunny."]


def test_a_tool_message_is_read() -> None:
    assert passages_of(ToolMessage("Sunny.", tool_call_id="1")) == ["Sunny."]


def test_thinking_arguments_and_files_are_not_read() -> None:
    content: list[str | dict[str, str]] = [
        {"type": "thinking", "thinking": "secret", "signature": "s"},
        {"type": "image", "base64": "A" * 2000, "mime_type": "image/png"},
        {"type": "text", "text": "Seen."},
    ]
    call = {"name": "look", "args": {"at": "argument"}, "id": "1"}
    assert passages_of(AIMessage(content, tool_calls=[call])) == ["Seen."]


def test_an_encoded_file_is_not_read() -> None:
    assert passages_of(ToolMessage("data:image/png;base64,AAAA", tool_call_id="1")) == []


def test_what_a_question_quotes_is_not_read() -> None:
    question = with_quotation(HumanMessage("And now?"), quotation([Quote("human", "The code is 12.")]))
    assert passages_of(question) == ["And now?"]


def test_a_passage_has_its_terms() -> None:
    assert read_passages(HumanMessage("The pin is 12."))[0].terms == ("pin", "12")
