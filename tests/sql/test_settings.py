"""What a stored window is compared by: its numbers are taken for ours only where we count alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from langchain_tokenbuffer import TokenBuffer
from langchain_tokenbuffer._counting.count_cache import CountCache
from langchain_tokenbuffer._counting.families import ChatFormat
from langchain_tokenbuffer._counting.images import Media, Tiles
from langchain_tokenbuffer._counting.message_counters import ChatCounter
from langchain_tokenbuffer._sql.settings import Settings

if TYPE_CHECKING:
    from langchain_tokenbuffer._counting.tokenizers import CountText


class Letters:
    """A vocabulary of letters."""

    tokenizer = None

    def __call__(self, text: str) -> int:
        return len(text)


LETTERS: CountText = Letters()
FORMAT, MEDIA = ChatFormat(), Media(Tiles(85, 170), page=1200)


def counter_name(form: ChatFormat = FORMAT, media: Media = MEDIA) -> str:
    buffer = TokenBuffer(1000, token_counter=len)
    buffer.token_counter._counter = ChatCounter(LETTERS, CountCache(), "letters", form, media, exact=True)
    return Settings(buffer).counter


def test_a_counter_that_counts_alike_is_the_same() -> None:
    assert counter_name() == counter_name(replace(FORMAT), replace(MEDIA))


@pytest.mark.parametrize(
    ("form", "media"),
    [
        (replace(FORMAT, per_message=FORMAT.per_message + 1), MEDIA),
        (replace(FORMAT, call=FORMAT.call + 1), MEDIA),
        (replace(FORMAT, result=FORMAT.result + 1), MEDIA),
        (replace(FORMAT, thought=FORMAT.thought + 1), MEDIA),
        (FORMAT, replace(MEDIA, images=Tiles(86, 170))),
        (FORMAT, replace(MEDIA, page=MEDIA.page + 1)),
    ],
    ids=["message", "call", "result", "thinking", "image", "page"],
)
def test_a_counter_that_counts_one_kind_otherwise_is_another(form: ChatFormat, media: Media) -> None:
    assert counter_name(form, media) != counter_name()
