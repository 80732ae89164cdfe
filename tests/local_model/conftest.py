"""Real models on loopback, and no other network. `make test_local_model` runs these tests."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from examples.local_model import Ledger, OwnTokenizer, Served, chat_model, serving
from langchain_tokenbuffer import TokenCounter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_openai import ChatOpenAI


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these tests, and no others, talk to this machine's servers."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1"]))
            item.add_marker(pytest.mark.filterwarnings("ignore:The model name 'smollm2'"))
            item.add_marker(pytest.mark.filterwarnings("ignore:.*(MessageHistory)"))


@contextmanager
def served(model: str, context: int) -> Iterator[Served]:
    """Serve a model, or skip what needs it where it is not installed."""
    try:
        with serving(model, context) as address:
            yield address
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def smollm2() -> Iterator[Served]:
    with served("smollm2", 4096) as address:
        yield address


@pytest.fixture(scope="session")
def own(smollm2: Served) -> OwnTokenizer:
    """SmolLM2's own tokenizer and chat template."""
    return OwnTokenizer(smollm2.weights)


@pytest.fixture(scope="session")
def counter(own: OwnTokenizer) -> TokenCounter:
    return TokenCounter(own)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def model(smollm2: Served, ledger: Ledger) -> ChatOpenAI:
    return chat_model(smollm2, ledger)
