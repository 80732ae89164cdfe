"""What several of the unit tests watch."""

from __future__ import annotations

import pytest

from langchain_tokenbuffer._counting.tokenizers import TiktokenText


@pytest.fixture
def tokenized(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the texts that are tokenized from here on."""
    texts: list[str] = []
    encode = TiktokenText.encode

    def spy(self: TiktokenText, text: str) -> list[int]:
        texts.append(text)
        return encode(self, text)

    monkeypatch.setattr(TiktokenText, "encode", spy)
    return texts
