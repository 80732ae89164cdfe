"""A tokenizer object, or the path of its file, as the counter."""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

import pytest
import tiktoken
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from langchain_tokenbuffer import (
    ConversationTokenBufferMemory,
    TokenBuffer,
    TokenBufferError,
    TokenCounter,
    vocabularies,
)
from langchain_tokenbuffer.counters import message_counter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LETTERS = {chr(code): code for code in range(32, 127)}


def by_letter() -> Tokenizer:
    """Return a tokenizer for which each character is a token."""
    tokenizer = Tokenizer(models.WordLevel({**LETTERS, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return tokenizer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "tokenizer.json"
    by_letter().save(str(file))
    return file


SAID = [HumanMessage("abc"), AIMessage("de")]
COST = 5 + 4 + len("user") + len("abc") + 4 + len("assistant") + len("de")


def test_a_tokenizer_object_counts_in_the_dearest_format_of_open_models() -> None:
    assert TokenCounter(by_letter())(SAID) == COST


class Plain:
    """A tokenizer that knows no special tokens, nor the option to leave them out."""

    def encode(self, text: str) -> list[int]:
        return list(map(ord, text))

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


def test_a_tokenizer_without_special_tokens_counts_as_well() -> None:
    assert TokenCounter(Plain())(SAID) == COST


def test_the_path_of_a_file_counts_as_its_tokenizer(path: Path) -> None:
    assert TokenCounter(path)(SAID) == COST


def test_the_path_may_be_a_text(path: Path) -> None:
    assert TokenCounter(str(path))(SAID) == COST


def test_a_file_that_was_replaced_is_read_anew(path: Path) -> None:
    TokenCounter(path)
    other = Tokenizer(models.WordLevel({"?": 1}, unk_token="?"))
    other.save(str(path))
    assert TokenCounter(path)(SAID) < COST


def test_counters_over_one_file_remember_together(path: Path) -> None:
    assert message_counter(TokenCounter(path)).count_cache is message_counter(TokenCounter(path)).count_cache


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.json"):
        TokenCounter(tmp_path / "nowhere.json")


def test_a_file_of_another_kind_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text("{}")
    with pytest.raises(ValueError, match=r"is no tokenizer\.json"):
        TokenCounter(file)


def test_without_the_package_the_error_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(TokenBufferError, match="pip install tokenizers"):
        TokenCounter(path)


@pytest.mark.parametrize("text", ["\ud83d", "<|endoftext|>", " " * 600_000, "中" * 600_000])
def test_any_text_costs_more_than_none(text: str) -> None:
    counter = TokenCounter(by_letter())
    assert counter([HumanMessage(text)]) > counter([HumanMessage("")])


def test_an_encoding_object_of_tiktoken_counts_as_its_name() -> None:
    vocabularies.load("o200k_base")
    encoding: Any = tiktoken.get_encoding("o200k_base")
    said = [HumanMessage("안녕하세요 <|endoftext|>")]
    assert TokenCounter(encoding)(said) == TokenCounter("o200k_base")(said)


def test_a_counter_over_a_tokenizer_pickles() -> None:
    counter = TokenCounter(by_letter())
    assert pickle.loads(pickle.dumps(counter))(SAID) == COST


def test_a_window_is_within_budget_with_a_tokenizer() -> None:
    buffer = TokenBuffer(60, token_counter=by_letter())
    assert buffer.window([HumanMessage("x" * 400)]).tokens <= 60


def test_the_memory_counts_with_a_tokenizer() -> None:
    memory = ConversationTokenBufferMemory(llm=by_letter(), max_token_limit=60)
    memory.save_context({"input": "hi"}, {"output": "x" * 20})
    memory.save_context({"input": "yo"}, {"output": "z"})
    assert memory.load_memory_variables({}) == {"history": "Human: yo\nAI: z"}


class Templated:
    """What is asked of a tokenizer of `transformers`: a token for each character."""

    chat_template: str | None = "{{ messages }}"

    def __call__(self, text: str) -> Any:
        raise AssertionError

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [*map(ord, text), *([0] if add_special_tokens else [])]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> list[int]:
        shown = "".join(f"<{m['role']}>{m['content']}</>\n" for m in messages)
        return self.encode(f"BEGIN{shown}<assistant>", add_special_tokens=False)


def test_a_chat_template_is_what_messages_are_counted_in() -> None:
    templated: Any = Templated()
    talk = [{"role": "user", "content": "abc"}, {"role": "assistant", "content": "de"}]
    assert TokenCounter(templated)(SAID) == len(templated.apply_chat_template(talk))


def test_a_chat_template_says_so() -> None:
    templated: Any = Templated()
    assert "its chat template" in TokenCounter(templated).describe()


def test_a_chat_template_that_refuses_is_that_format_too() -> None:
    class Refusing(Templated):
        def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> list[int]:
            raise ValueError

    refusing: Any = Refusing()
    assert TokenCounter(refusing)(SAID) == COST


# --- anchors --------------------------------------------------------------------------------------


def billed(messages: list[BaseMessage]) -> int:
    """What a server bills whose format takes 9 tokens around a message and 20 once."""
    return 20 + sum(len(message.text) + 9 for message in messages)


def served(turns: int) -> list[BaseMessage]:
    """A conversation whose replies report what the server billed."""
    messages: list[BaseMessage] = []
    for n in range(turns):
        messages.append(HumanMessage("x" * (7 + 13 * n)))
        asked, text = billed(messages), "y" * (5 + 3 * n)
        usage = {"input_tokens": asked, "output_tokens": len(text) + 1}
        total = {**usage, "total_tokens": sum(usage.values())}
        messages.append(AIMessage(text, usage_metadata=total))
    return messages


@pytest.mark.parametrize("turns", [2, 3, 7])
def test_from_the_second_report_on_a_format_is_known_exactly(turns: int) -> None:
    messages = [*served(turns), HumanMessage("And now?")]
    assert TokenCounter(by_letter()).count(messages, anchor=True) == billed(messages)


def test_a_report_of_another_request_says_nothing_about_the_format() -> None:
    messages = served(4)
    usage = {"input_tokens": 5_000, "output_tokens": 5, "total_tokens": 5_005}
    messages[3] = AIMessage("y" * 8, usage_metadata=usage)
    messages.append(HumanMessage("And now?"))
    assert TokenCounter(by_letter()).count(messages, anchor=True) == billed(messages)
