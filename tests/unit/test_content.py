"""What a content costs: the same in every dialect, whatever is sent counts, and no letters of an encoded file do."""

from __future__ import annotations

import base64
import logging
import random
import struct
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_tokenbuffer import TokenCounter
from langchain_tokenbuffer._counting import content as _content

if TYPE_CHECKING:
    from langchain_core.messages.ai import UsageMetadata

COUNTER = TokenCounter("o200k_base")
RANDOM = random.Random(7)
WORDS = "One word after another, and so on. " * 40


def tokens_of(message: BaseMessage) -> int:
    """Return what a message costs beside an empty one of its kind."""
    return COUNTER([message]) - COUNTER([message.model_copy(update={"content": "", "additional_kwargs": {}})])


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 1280, 800) + RANDOM.randbytes(3_000)
PDF = b"%PDF-1.4\n" + b"/Type /Page " * 20 + RANDOM.randbytes(30_000)
MP3 = b"ID3" + RANDOM.randbytes(80_000)
MP4 = b"\0\0\0\x20ftyp" + RANDOM.randbytes(200_000)
WAV = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0" + struct.pack("<II", 16_000, 32_000) + RANDOM.randbytes(64_000)

ALIKE: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {  # LangChain's block, and others that mean the same
    "image": (
        {"type": "image", "base64": b64(PNG), "mime_type": "image/png"},
        [
            {"type": "image", "source_type": "base64", "data": b64(PNG), "mime_type": "image/png"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64(PNG)}"}},
            {"type": "image_url", "image_url": f"data:image/png;base64,{b64(PNG)}"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{b64(PNG)}"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(PNG)}},
            {"image": {"format": "png", "source": {"bytes": PNG}}},
            {"type": "image", "image": {"format": "png", "source": {"bytes": b64(PNG)}}},
            {"guardContent": {"image": {"format": "png", "source": {"bytes": PNG}}}},
            {"type": "media", "mime_type": "image/png", "data": b64(PNG)},
            {"type": "media", "mime_type": "image/png", "data": PNG},
            {"inlineData": {"mimeType": "image/png", "data": b64(PNG)}},
            {"inline_data": {"mime_type": "image/png", "data": PNG}},
            {"type": "file", "base64": b64(PNG), "mime_type": "image/png"},
            {"type": "non_standard", "value": {"type": "media", "mime_type": "image/png", "data": b64(PNG)}},
        ],
    ),
    "pdf": (
        {"type": "file", "base64": b64(PDF), "mime_type": "application/pdf"},
        [
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{b64(PDF)}"}},
            {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{b64(PDF)}"},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": b64(PDF)}},
            {"type": "document_url", "document_url": f"data:application/pdf;base64,{b64(PDF)}"},
            {"document": {"format": "pdf", "name": "d", "source": {"bytes": PDF}}},
            {"type": "document", "document": {"format": "pdf", "name": "d", "source": {"bytes": PDF}}},
            {"type": "media", "mime_type": "application/pdf", "data": b64(PDF)},
            {"inlineData": {"mimeType": "application/pdf", "data": b64(PDF)}},
        ],
    ),
    "audio": (
        {"type": "audio", "base64": b64(MP3), "mime_type": "audio/mp3"},
        [
            {"type": "input_audio", "input_audio": {"data": b64(MP3), "format": "mp3"}},
            {"type": "input_audio", "input_audio": b64(MP3)},
            {"type": "media", "mime_type": "audio/mp3", "data": MP3},
            {"inlineData": {"mimeType": "audio/mp3", "data": b64(MP3)}},
            {"audio": {"format": "mp3", "source": {"bytes": MP3}}},
        ],
    ),
    "video": (
        {"type": "video", "base64": b64(MP4), "mime_type": "video/mp4"},
        [
            {"type": "media", "mime_type": "video/mp4", "data": b64(MP4), "video_metadata": {"fps": 1}},
            {"video": {"format": "mp4", "source": {"bytes": MP4}}},
            {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{b64(MP4)}"}},
        ],
    ),
    "video by its address": (
        {"type": "video", "url": "https://example.com/a.mp4"},
        [
            {"type": "media", "mime_type": "video/mp4", "file_uri": "https://example.com/a.mp4"},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.com/a.mp4"}},
            {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://example/a.mp4"}}}},
        ],
    ),
    "text": (
        {"type": "text", "text": WORDS},
        [
            {"type": "input_text", "text": WORDS},
            {"type": "output_text", "text": WORDS, "annotations": []},
            {"type": "text-plain", "text": WORDS, "mime_type": "text/plain"},
            {"type": "refusal", "refusal": WORDS},
            {"type": "reference", "text": WORDS, "reference_ids": [1]},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": WORDS}},
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": WORDS}]}},
            {"type": "file", "mime_type": "text/plain", "base64": b64(WORDS.encode())},
            {"document": {"format": "txt", "name": "d", "source": {"bytes": WORDS.encode()}}},
            {"document": {"format": "txt", "name": "d", "source": {"text": WORDS}}},
            {"type": "reasoning", "reasoning": WORDS},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": WORDS}]},
            {"type": "thinking", "thinking": WORDS, "signature": b64(PNG)},
            {"type": "thinking", "thinking": [{"type": "text", "text": WORDS}]},
            {"type": "reasoning_content", "reasoning_content": {"text": WORDS, "signature": b64(PNG)}},
            {"reasoningContent": {"reasoningText": {"text": WORDS, "signature": b64(PNG)}}},
            {"text": WORDS},
            {"text": WORDS, "thought": True},
        ],
    ),
}
PAIRS = [(block, other) for block, others in ALIKE.values() for other in others]


@pytest.mark.parametrize(
    ("block", "other"), PAIRS, ids=[f"{kind}-{n}" for kind in ALIKE for n in range(len(ALIKE[kind][1]))]
)
def test_the_same_costs_the_same_in_every_dialect(block: dict[str, Any], other: dict[str, Any]) -> None:
    assert tokens_of(AIMessage([other])) == pytest.approx(tokens_of(AIMessage([block])), abs=8)


HOLDERS: dict[str, Any] = {
    "Anthropic's result": lambda *parts: {"type": "tool_result", "tool_use_id": "1", "content": [*parts]},
    "Bedrock's result": lambda *parts: {"toolResult": {"toolUseId": "1", "content": [*parts]}},
    "Responses' result": lambda *parts: {"type": "function_call_output", "call_id": "1", "output": [*parts]},
    "Gemini's result": lambda *parts: {"functionResponse": {"name": "f", "response": {}, "parts": [*parts]}},
    "a server tool's": lambda *parts: {"type": "server_tool_result", "tool_call_id": "1", "output": [*parts]},
    "what is unknown": lambda *parts: {"type": "hologram", "content": [*parts]},
}


@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_a_block_costs_the_same_inside_a_result(holder: Any, kind: str) -> None:
    block, _ = ALIKE[kind]
    inside = tokens_of(HumanMessage([holder(block)])) - tokens_of(HumanMessage([holder()]))
    assert inside == tokens_of(HumanMessage([block]))


SHOT = f"data:image/png;base64,{b64(PNG)}"
SCREENSHOTS: dict[str, BaseMessage] = {
    "a string": ToolMessage(SHOT, tool_call_id="1", additional_kwargs={"type": "computer_call_output"}),
    "a block": ToolMessage(
        [{"type": "input_image", "image_url": SHOT}],
        tool_call_id="1",
        additional_kwargs={"type": "computer_call_output"},
    ),
    "an item": HumanMessage(
        [{"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": SHOT}}]
    ),
    "an item with a string": HumanMessage([{"type": "computer_call_output", "call_id": "1", "output": SHOT}]),
}


@pytest.mark.parametrize("message", SCREENSHOTS.values(), ids=SCREENSHOTS)
def test_a_screenshot_costs_what_an_image_costs(message: BaseMessage) -> None:
    assert tokens_of(message) == tokens_of(HumanMessage([ALIKE["image"][0]]))


@pytest.mark.parametrize("rate", [WAV[28:32], bytes(4)], ids=["32 kB a second", "none"])
def test_a_wav_costs_by_the_seconds_its_header_says(rate: bytes) -> None:
    data = WAV[:28] + rate + WAV[32:]
    block = {"type": "input_audio", "input_audio": {"data": b64(data), "format": "wav"}}
    assert tokens_of(HumanMessage([block])) == pytest.approx(2 * 32, abs=1)


# --- thinking that only its provider can read ------------------------------------------------------

SEALED = b64(RANDOM.randbytes(6_000))


def usage(reasoning: int) -> UsageMetadata:
    return {
        "input_tokens": 9,
        "output_tokens": reasoning + 9,
        "total_tokens": reasoning + 18,
        "output_token_details": {"reasoning": reasoning},
    }


THOUGHT: dict[str, AIMessage] = {
    "OpenAI": AIMessage([{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": SEALED}]),
    "OpenAI, a summary too": AIMessage(
        [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": SEALED}]
    ),
    "OpenAI's first format": AIMessage(
        "", additional_kwargs={"reasoning": {"type": "reasoning", "id": "rs_1", "encrypted_content": SEALED}}
    ),
    "standard content": AIMessage(
        [{"type": "reasoning", "id": "rs_1", "extras": {"encrypted_content": SEALED, "summary": []}}]
    ),
    "Anthropic": AIMessage([{"type": "redacted_thinking", "data": SEALED}]),
    "Anthropic, thinking omitted": AIMessage([{"type": "thinking", "thinking": "", "signature": SEALED}]),
    "Bedrock": AIMessage([{"reasoningContent": {"redactedContent": base64.b64decode(SEALED)}}]),
    "LangChain's Bedrock": AIMessage(
        [{"type": "reasoning_content", "reasoning_content": {"redacted_content": SEALED}}]
    ),
    "Gemini's part": AIMessage([{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": SEALED}]),
    "Gemini's text": AIMessage([{"type": "text", "text": "Hm.", "extras": {"signature": SEALED}}]),
    "Gemini's calls": AIMessage(
        "", additional_kwargs={"__gemini_function_call_thought_signatures__": {"1": SEALED}}
    ),
    "OpenRouter": AIMessage(
        "", additional_kwargs={"reasoning_details": [{"type": "reasoning.encrypted", "data": SEALED}]}
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", THOUGHT.values(), ids=THOUGHT)
def test_sealed_thinking_costs_what_the_message_reports(message: AIMessage) -> None:
    said = message.model_copy(update={"usage_metadata": usage(2_000)})
    assert tokens_of(said) == pytest.approx(2_000, abs=15)


@pytest.mark.parametrize("message", THOUGHT.values(), ids=THOUGHT)
def test_sealed_thinking_costs_by_its_length_without_a_report(message: AIMessage) -> None:
    assert tokens_of(message) == pytest.approx(1_500, abs=20)


def test_several_sealed_blocks_cost_the_report_once() -> None:
    block = THOUGHT["OpenAI"].content[0]
    assert tokens_of(AIMessage([block, block], usage_metadata=usage(2_000))) == 2_000


def test_a_reference_to_stored_reasoning_costs_what_the_message_reports() -> None:
    message = AIMessage([{"type": "reasoning", "id": "rs_1", "summary": []}], usage_metadata=usage(2_000))
    assert tokens_of(message) == pytest.approx(2_000, abs=30)


def test_readable_thinking_costs_its_text_whatever_is_reported() -> None:
    block = {"type": "thinking", "thinking": WORDS, "signature": SEALED}
    assert tokens_of(AIMessage([block], usage_metadata=usage(9_000))) == tokens_of(AIMessage(WORDS))


def test_another_report_is_another_count() -> None:
    block = THOUGHT["OpenAI"].content[0]
    counts = [COUNTER([AIMessage([block], usage_metadata=usage(tokens))]) for tokens in (100, 900)]
    assert counts[1] - counts[0] == 800


SEALED_RESULTS: dict[str, dict[str, Any]] = {
    "a web search": {
        "type": "web_search_tool_result",
        "tool_use_id": "1",
        "content": [{"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": SEALED}],
    },
    "code execution": {
        "type": "code_execution_tool_result",
        "tool_use_id": "1",
        "content": {"type": "encrypted_code_execution_result", "encrypted_stdout": SEALED, "return_code": 0},
    },
    "an advisor": {
        "type": "advisor_tool_result",
        "tool_use_id": "1",
        "content": {"type": "advisor_redacted_result", "encrypted_content": SEALED},
    },
    "a compaction": {"type": "compaction", "id": "cmp_1", "encrypted_content": SEALED},
}


@pytest.mark.parametrize("block", SEALED_RESULTS.values(), ids=SEALED_RESULTS)
def test_what_is_sealed_and_no_thinking_costs_by_its_length(block: dict[str, Any]) -> None:
    assert 1_500 <= tokens_of(AIMessage([block], usage_metadata=usage(0))) < 1_600


# --- beside the content ---------------------------------------------------------------------------

BESIDE: dict[str, dict[str, Any]] = {
    "reasoning_content": {"reasoning_content": WORDS},
    "thinking": {"thinking": {"text": WORDS, "signature": SEALED}},
    "refusal": {"refusal": WORDS},
    "reasoning_details": {"reasoning_details": [{"type": "reasoning.text", "text": WORDS}]},
}


@pytest.mark.parametrize("extra", BESIDE.values(), ids=BESIDE)
def test_a_text_beside_the_content_costs_its_tokens(extra: dict[str, Any]) -> None:
    assert tokens_of(AIMessage("Yes.", additional_kwargs=extra)) == tokens_of(AIMessage(["Yes.", WORDS]))


@pytest.mark.parametrize(("model", "is_billed"), [("gemini-2.5-flash", False), ("gemini-3-flash", True)])
def test_a_signature_costs_where_its_provider_bills_it_again(model: str, is_billed: bool) -> None:  # noqa: FBT001
    counter = TokenCounter(model)
    signatures = {"__gemini_function_call_thought_signatures__": {"1": "A" * 400}}
    signed = AIMessage("Look.", additional_kwargs=signatures)
    assert (counter([signed]) > counter([AIMessage("Look.")])) is is_billed


def test_a_text_that_stands_under_two_names_costs_once() -> None:
    twice = AIMessage("", additional_kwargs={"reasoning": WORDS, "reasoning_content": WORDS})
    assert tokens_of(twice) == tokens_of(AIMessage("", additional_kwargs={"reasoning_content": WORDS}))


def test_spoken_replies_cost_something() -> None:
    message = AIMessage("", additional_kwargs={"audio": {"id": "audio_1", "data": b64(WAV), "transcript": WORDS}})
    assert tokens_of(message) == pytest.approx(tokens_of(AIMessage(WORDS)) + 64, abs=1)


def test_items_beside_the_content_cost_as_in_it() -> None:
    item = {"type": "code_interpreter_call", "id": "1", "code": WORDS, "outputs": [{"type": "logs", "logs": WORDS}]}
    beside = AIMessage([], additional_kwargs={"tool_outputs": [item]})
    assert tokens_of(beside) == tokens_of(AIMessage([item]))


@pytest.mark.parametrize(
    "extra", [{"refusal": None}, {"audio": None}, {"tool_outputs": "x"}, {"reasoning": 5}, {"a": 1}]
)
def test_what_is_beside_and_nothing_costs_nothing(extra: dict[str, Any]) -> None:
    assert tokens_of(AIMessage("Yes.", additional_kwargs=extra)) == tokens_of(AIMessage("Yes."))


def test_a_call_in_the_content_that_is_not_listed_counts() -> None:
    use = {"type": "tool_use", "id": "2", "name": "f", "input": {"words": WORDS}}
    listed: Any = {"name": "f", "args": {}, "id": "1", "type": "tool_call"}
    alone = COUNTER([AIMessage("", tool_calls=[listed])])
    assert COUNTER([AIMessage([use], tool_calls=[listed])]) > alone + 300


# --- what no row knows ----------------------------------------------------------------------------

UNKNOWN: dict[str, tuple[dict[str, Any], int]] = {  # with the least it costs
    "a text": ({"type": "hologram_a", "text": WORDS}, 300),
    "texts in JSON": ({"type": "hologram_b", "layers": {"deep": [WORDS]}}, 300),
    "a pdf": ({"type": "hologram_c", "data": b64(PDF)}, 20 * 1_200),
    "bytes": ({"type": "hologram_d", "body": {"raw": RANDOM.randbytes(100_000)}}, 1_200),
    "an image": ({"type": "hologram_e", "picture": SHOT}, 85 + 6 * 170),
    "an encoded text": ({"type": "hologram_f", "data": b64(WORDS.encode())}, 300),
    "a sealed text": ({"type": "hologram_g", "encrypted_content": SEALED}, 1_500),
    "no type": ({"depth": WORDS}, 300),
}


@pytest.mark.parametrize(("block", "least"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_block_costs_its_text_or_its_bytes(block: dict[str, Any], least: int) -> None:
    assert least <= tokens_of(HumanMessage([block])) < 4 * least


def test_an_unknown_block_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    _content._note_unknown.cache_clear()
    caplog.set_level(logging.DEBUG, _content.logger.name)
    for text in ("Once.", "Twice."):
        COUNTER([HumanMessage([{"type": "hologram", "text": text}])])
    assert [("hologram" in record.message, record.levelname) for record in caplog.records] == [(True, "DEBUG")]


def test_what_the_table_knows_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, _content.logger.name)
    COUNTER([AIMessage([block for pair in PAIRS for block in pair])])
    assert caplog.records == []


def knot() -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result"}
    block["content"] = [block]
    return block


ODD: dict[str, Any] = {
    "a text of None": {"type": "text", "text": None},
    "a source of None": {"type": "document", "source": None},
    "an image that is a number": {"type": "image_url", "image_url": 5},
    "a wav cut short": {"type": "input_audio", "input_audio": {"data": b64(WAV[:20]), "format": "wav"}},
    "base64 that is none": {"type": "file", "mime_type": "application/pdf", "base64": "%%%"},
    "a signature that is a number": {"type": "thinking", "thinking": "", "signature": 5},
    "extras that are a text": {"type": "reasoning", "extras": "x"},
    "keys that are numbers": {5: {6: 7}},
    "results in a circle": knot(),
    "a key that is a word": {"image": "a cat", "audio": 5},
}


@pytest.mark.parametrize("block", ODD.values(), ids=ODD)
def test_odd_blocks_count(block: Any) -> None:
    message = HumanMessage.model_construct(content=[block], additional_kwargs={})
    assert COUNTER([message]) > COUNTER([HumanMessage("")])
