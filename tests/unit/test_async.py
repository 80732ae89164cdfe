"""The async methods do nothing slow on the event loop, also at their first use in a process."""

from __future__ import annotations

import pytest

from tests.builders import run_scripts

FIRST_USES = {
    "atrim": "await TokenBuffer(9, token_counter='o200k_base').atrim('hello')",
    "awindow": "await TokenBuffer(9, token_counter='o200k_base').awindow('hello')",
    "ainvoke": "await TokenBuffer(9, token_counter='o200k_base').ainvoke('hello')",
    "asave_context": "await memory.asave_context({'input': 'a'}, {'output': 'b'})",
    "aload_memory_variables": "await memory.aload_memory_variables({})",
    "aget_messages": "await history.aget_messages()",
}

SETUP = """
import asyncio
from blockbuster import BlockBuster
from langchain_core.messages import HumanMessage
from langchain_tokenbuffer import *
from langchain_tokenbuffer._memory.stores import OwnStore

memory = ConversationTokenBufferMemory(llm="o200k_base", max_token_limit=50)
memory.chat_memory.add_message(HumanMessage("hello"))
history = TokenBufferChatMessageHistory(
    OwnStore(messages=[HumanMessage("hello")]), max_tokens=50, token_counter="o200k_base"
)
"""
SCRIPT = """
async def main():
    guard = BlockBuster()
    guard.activate()  # any blocking call on the event loop raises from here on
    try:
        {use}
    finally:
        guard.deactivate()

asyncio.run(main())
print("not blocked")
"""
BLOCKING = "TokenBuffer(9, token_counter='o200k_base').trim('hello')"


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What each use prints, as the first one of a process."""
    uses = [*FIRST_USES.values(), BLOCKING]
    return dict(zip(uses, run_scripts(SETUP, *(SCRIPT.replace("{use}", use) for use in uses)), strict=True))


@pytest.mark.parametrize("use", FIRST_USES.values(), ids=FIRST_USES)
def test_the_first_use_does_not_block_the_event_loop(use: str, printed: dict[str, str]) -> None:
    assert printed[use] == "not blocked\n"


def test_the_guard_would_notice_a_vocabulary_loaded_on_the_event_loop(
    printed: dict[str, str],
) -> None:
    assert "BlockingError" in printed[BLOCKING]
