"""Stores that somebody passes, the classic class, and saving in sync and async."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from tests.memory.stand_ins import CHAT, ClassicMemory, FileHistory, FreshListHistory, PassedHistory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langchain_core.chat_history import BaseChatMessageHistory

    from langchain_tokenbuffer import ConversationTokenBufferMemory


@pytest.fixture(params=["in_memory", "fresh_list", "file"])
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> BaseChatMessageHistory:
    """A store that somebody passes as `chat_memory`."""
    if request.param == "in_memory":
        return PassedHistory()
    return FreshListHistory() if request.param == "fresh_list" else FileHistory(tmp_path / "h.json")


@pytest.fixture
def classic() -> ClassicMemory:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ClassicMemory(llm=CHAT)


@pytest.fixture(params=["sync", "async"])
def save_either_way(
    request: pytest.FixtureRequest,
) -> Callable[[ConversationTokenBufferMemory, dict[str, Any], dict[str, Any]], None]:
    """`save_context` or its async twin."""
    if request.param == "sync":
        return lambda memory, inputs, outputs: memory.save_context(inputs, outputs)
    return lambda memory, inputs, outputs: asyncio.run(memory.asave_context(inputs, outputs))
