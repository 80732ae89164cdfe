"""Which input and which output of a chain the memory saves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.memory.stand_ins import memory_of_words, stored_in


def _saved(inputs: dict[str, Any], outputs: dict[str, Any], **options: Any) -> list[object]:
    memory = memory_of_words(60, **options)
    memory.save_context(inputs, outputs)
    return stored_in(memory)


def test_the_only_input_and_output_are_saved_whatever_their_names() -> None:
    assert _saved({"question": "q"}, {"reply": "r"}) == ["q", "r"]


def test_the_input_key_says_which_input_is_saved() -> None:
    assert _saved({"a": "1", "b": "2"}, {"output": "r"}, input_key="b") == ["2", "r"]


def test_the_memory_key_is_no_input() -> None:
    assert _saved({"history": "h", "input": "q"}, {"output": "r"}) == ["q", "r"]


def test_stop_words_are_no_input() -> None:
    assert _saved({"stop": ["x"], "input": "q"}, {"output": "r"}) == ["q", "r"]


def test_several_inputs_without_an_input_key_are_the_classic_error() -> None:
    with pytest.raises(ValueError, match="One input key expected"):
        _saved({"a": "1", "b": "2"}, {"output": "r"})


def test_the_output_key_says_which_output_is_saved() -> None:
    assert _saved({"input": "q"}, {"a": "1", "b": "2"}, output_key="b") == ["q", "2"]


def test_of_several_outputs_the_one_called_output_is_saved_with_the_classic_warning() -> None:
    with pytest.warns(UserWarning, match="got multiple output keys"):
        assert _saved({"input": "q"}, {"output": "r", "answer": "a"}) == ["q", "r"]


@pytest.mark.parametrize(
    ("keys", "saved"),
    [
        (["text", "response", "result", "answer"], "answer"),
        (["text", "response", "result"], "result"),
        (["text", "response"], "response"),
        (["text", "source_documents"], "text"),
        (["source_documents", "answer"], "answer"),
    ],
)
def test_of_several_outputs_the_first_known_one_is_saved(keys: list[str], saved: str) -> None:
    assert _saved({"input": "q"}, {key: f"the {key}" for key in keys}) == ["q", f"the {saved}"]


def test_several_outputs_of_unknown_names_are_the_classic_error() -> None:
    with pytest.raises(ValueError, match="Got multiple output keys"):
        _saved({"input": "q"}, {"a": "1", "b": "2"})


def test_no_output_at_all_is_the_classic_error() -> None:
    with pytest.raises(ValueError, match="Got multiple output keys"):
        _saved({"input": "q"}, {})


def test_content_blocks_are_saved_as_they_are() -> None:
    blocks = [{"type": "text", "text": "look at this"}]
    assert _saved({"input": blocks}, {"output": "r"}) == [blocks, "r"]
