"""What the memory does with a message larger than its limit."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import SystemMessage

from langchain_tokenbuffer import ConversationTokenBufferMemory, TokenBudgetError
from tests.builders import numbered_text
from tests.memory.stand_ins import (
    CHAT,
    AsyncOnlyHistory,
    memory_of_words,
    save,
    stored_in,
    window_of,
)

if TYPE_CHECKING:
    from langchain_core.chat_history import BaseChatMessageHistory


def test_one_long_reply_never_empties_the_memory() -> None:
    memory = memory_of_words(30)
    save(memory, "why", numbered_text(1, 500))
    assert [message.type for message in memory.buffer_as_messages] == ["human", "ai"]


def test_one_long_reply_is_shown_shortened() -> None:
    memory = memory_of_words(30)
    save(memory, "why", numbered_text(1, 500))
    assert "tokens omitted" in memory.buffer_as_str


def test_one_long_reply_is_stored_whole() -> None:
    memory = memory_of_words(30)
    save(memory, "why", numbered_text(1, 500))
    assert stored_in(memory) == ["why", numbered_text(1, 500)]


def test_one_long_question_is_shown_shortened() -> None:
    memory = memory_of_words(30)
    save(memory, numbered_text(1, 500), "because")
    assert "tokens omitted" in memory.buffer_as_str


async def test_one_long_reply_is_shown_the_same_in_async() -> None:
    memory = memory_of_words(30)
    await memory.asave_context({"input": "why"}, {"output": numbered_text(1, 500)})
    assert await memory.aload_memory_variables({}) == memory.load_memory_variables({})


def test_a_shortened_reply_stays_as_it_is_over_later_turns() -> None:
    memory = memory_of_words(60, trim_to=0.5)
    save(memory, "why", numbered_text(1, 500))
    texts = []
    for number in range(2, 8):
        save(memory, numbered_text(number), numbered_text(number))
        texts.append(window_of(memory)[1])
    assert ("omitted" in str(texts[0]), len(set(texts))) == (True, 1)


def test_a_shortened_reply_leaves_when_its_turn_does() -> None:
    memory = memory_of_words(30)
    save(memory, "why", numbered_text(1, 500))
    for number in range(2, 30):
        save(memory, numbered_text(number), numbered_text(number))
    assert numbered_text(1, 500) not in stored_in(memory)


def _overfull(**options: Any) -> tuple[ConversationTokenBufferMemory, list[str]]:
    """Save a turn of which not even the marker fits, and load; return the warnings."""
    memory = memory_of_words(2, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        save(memory, "why", numbered_text(1, 500))
        memory.load_memory_variables({})
        memory.load_memory_variables({})
    return memory, [str(warning.message) for warning in caught]


def test_what_not_even_shortening_fits_is_left_out() -> None:
    memory, _ = _overfull()
    assert window_of(memory) == ["why"]


def test_what_is_left_out_leaves_memory() -> None:
    memory, _ = _overfull()
    assert stored_in(memory) == ["why"]


def test_the_memory_warns_once_of_what_is_left_out() -> None:
    _, caught = _overfull()
    assert len(caught) == 1


def test_the_warning_of_what_is_left_out_names_both_numbers() -> None:
    _, [warning] = _overfull()
    assert "needs 6 tokens" in warning
    assert "max_tokens is 2" in warning


def test_the_memory_warns_once_of_what_is_left_out_of_a_passed_store(
    foreign: BaseChatMessageHistory,
) -> None:
    _, caught = _overfull(chat_memory=foreign)
    assert len(caught) == 1


def test_the_memory_does_not_warn_again_when_a_passed_store_grows(foreign: BaseChatMessageHistory) -> None:
    memory, _ = _overfull(chat_memory=foreign)
    save(memory, "a", "b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert window_of(memory) == ["a", "b"]


def test_the_memory_warns_once_a_turn_of_a_limit_below_a_requests_own_tokens() -> None:
    memory = ConversationTokenBufferMemory(llm=CHAT, max_token_limit=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(3):
            save(memory, numbered_text(number), numbered_text(number))
            memory.load_memory_variables({})
            memory.load_memory_variables({})
    assert len(caught) == 3


def test_after_what_was_left_out_the_next_turn_is_followed_as_ever() -> None:
    memory = memory_of_words(4)
    with pytest.warns(UserWarning, match="Left out"):
        save(memory, numbered_text(1, 500), "because")
    for number in range(2, 6):
        save(memory, numbered_text(number), numbered_text(number))
    assert stored_in(memory) == ["w4", "w4", "w5", "w5"]


def test_oversize_drop_logs_what_was_left_out(caplog: pytest.LogCaptureFixture) -> None:
    memory = memory_of_words(4, oversize="drop")
    with caplog.at_level(logging.WARNING, logger="langchain_tokenbuffer"):
        save(memory, "why", numbered_text(1, 500))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_oversize_drop_leaves_out_the_reply_alone() -> None:
    memory = memory_of_words(4, oversize="drop")
    save(memory, "why", numbered_text(1, 500))
    assert stored_in(memory) == ["why"]


def test_oversize_drop_leaves_out_a_question_with_its_turn() -> None:
    memory = memory_of_words(4, oversize="drop")
    save(memory, numbered_text(1, 500), "because")
    assert stored_in(memory) == []


def test_dropping_single_messages_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    memory = memory_of_words(4, start_on=None, oversize="drop")
    save(memory, "why", numbered_text(1, 500))
    assert caplog.records == []


def test_the_warning_of_system_messages_that_do_not_fit_names_both_numbers() -> None:
    memory = memory_of_words(5)
    memory.chat_memory.add_message(SystemMessage(numbered_text(0, 9)))
    with pytest.warns(UserWarning, match=r"needs 9 tokens.*max_tokens is 5"):
        assert window_of(memory) == []


@pytest.fixture
def raising(foreign: BaseChatMessageHistory) -> ConversationTokenBufferMemory:
    return memory_of_words(5, oversize="raise", chat_memory=foreign)


def test_oversize_raise_raises_from_save_with_both_numbers(save_either_way: Any) -> None:
    with pytest.raises(TokenBudgetError, match=r"needs 501 tokens.*max_tokens is 5"):
        save_either_way(
            memory_of_words(5, oversize="raise"),
            {"input": "why"},
            {"output": numbered_text(1, 500)},
        )


def test_oversize_raise_stores_nothing(save_either_way: Any) -> None:
    memory = memory_of_words(5, oversize="raise")
    save(memory, "a", "b")
    with pytest.raises(TokenBudgetError):
        save_either_way(memory, {"input": "why"}, {"output": numbered_text(1, 500)})
    assert stored_in(memory) == ["a", "b"]


def test_oversize_raise_stores_nothing_in_a_passed_store(
    raising: ConversationTokenBufferMemory, save_either_way: Any
) -> None:
    save(raising, "a", "b")
    with pytest.raises(TokenBudgetError):
        save_either_way(raising, {"input": "why"}, {"output": numbered_text(1, 500)})
    assert stored_in(raising) == ["a", "b"]


def test_oversize_raise_saves_what_fits(raising: ConversationTokenBufferMemory) -> None:
    for number in range(4):
        save(raising, numbered_text(number), numbered_text(number))
    assert window_of(raising) == ["w2", "w2", "w3", "w3"]


def test_oversize_raise_raises_on_load_when_the_limit_was_lowered() -> None:
    memory = memory_of_words(50, oversize="raise")
    save(memory, numbered_text(1, 20), numbered_text(1, 20))
    memory.max_token_limit = 5
    with pytest.raises(TokenBudgetError):
        memory.load_memory_variables({})


async def test_oversize_raise_reads_an_async_history_in_async() -> None:
    memory = memory_of_words(5, oversize="raise", chat_memory=AsyncOnlyHistory())
    await memory.asave_context({"input": "a"}, {"output": "b"})
    with pytest.raises(TokenBudgetError):
        await memory.asave_context({"input": "why"}, {"output": numbered_text(1, 500)})
