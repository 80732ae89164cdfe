"""What the command reads of a history, on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, HumanMessage

from langchain_tokenbuffer._replay.histories import HistoryOptions
from langchain_tokenbuffer._replay.sources import read_all

if TYPE_CHECKING:
    from tests.sql.conftest import Place


def test_the_command_reads_all_sessions_by_a_url(empty_place: Place) -> None:
    stored = [HumanMessage("a" * 500), AIMessage("b")]
    for session in ("ann", "bob"):
        empty_place.history(session).add_messages(stored)
    found = read_all([empty_place.url], HistoryOptions(prefix=empty_place.prefix)).transcripts
    assert [(each.name, each.messages) for each in found] == [("ann", stored), ("bob", stored)]


def test_the_command_reads_one_session_by_a_url(empty_place: Place) -> None:
    for session in ("ann", "bob"):
        empty_place.history(session).add_messages([HumanMessage(session)])
    options = HistoryOptions("bob", prefix=empty_place.prefix)
    assert [each.name for each in read_all([empty_place.url], options).transcripts] == ["bob"]
