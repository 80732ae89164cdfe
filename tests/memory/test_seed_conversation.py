"""The numbers that LangChain documents for its own class and conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage

from langchain_tokenbuffer import ConversationTokenBufferMemory
from tests.memory.stand_ins import COMPLETION, INPUTS, REPLIES, save

if TYPE_CHECKING:
    from collections.abc import Iterator


def _two_turns(**options: Any) -> ConversationTokenBufferMemory:
    memory = ConversationTokenBufferMemory(llm=COMPLETION, max_token_limit=10, **options)
    save(memory, "hi", "whats up")
    save(memory, "not much you", "not much")
    return memory


def test_ten_tokens_hold_the_second_turn() -> None:
    expected = {"history": "Human: not much you\nAI: not much"}
    assert _two_turns().load_memory_variables({}) == expected


def test_ten_tokens_hold_the_second_turn_as_messages() -> None:
    expected = {"history": [HumanMessage("not much you"), AIMessage("not much")]}
    assert _two_turns(return_messages=True).load_memory_variables({}) == expected


def _sixty_tokens() -> Iterator[ConversationTokenBufferMemory]:
    memory = ConversationTokenBufferMemory(llm=COMPLETION, max_token_limit=60)
    for question, reply in zip(INPUTS, REPLIES, strict=True):
        save(memory, question, reply)
        yield memory


def test_sixty_tokens_hold_28_54_50_and_35_tokens_of_the_seed_conversation() -> None:
    sizes = [COMPLETION.get_num_tokens_from_messages(memory.buffer_as_messages) for memory in _sixty_tokens()]
    assert sizes == [28, 54, 50, 35]


def test_the_fourth_prompt_of_the_seed_conversation_has_the_third_exchange_alone() -> None:
    histories = [memory.load_memory_variables({})["history"] for memory in _sixty_tokens()]
    assert histories[2] == f"Human: {INPUTS[2]}\nAI: {REPLIES[2]}"
