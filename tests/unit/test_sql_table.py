"""The page shows what the SQL measurements found, and that is within what was set for them."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.sql_figures import PAGE, RESULTS, Figure, pasted

SECTION = json.loads(RESULTS.read_text(encoding="utf-8"))["sql"]
TARGETS = {
    "read the window, session of 1,000,000 against 100 messages": 1.2,
    "append a turn, session of 1,000,000 against 100 messages": 1.2,
    "read a window, 200,000 sessions against 1,000": 1.2,
    "append a turn, 200,000 sessions against 1,000": 1.2,
    "read another session while settings change on 300,000 messages, against usual": 2.0,
    "the worst of these reads, against the change": 0.1,
}
"""What the first may be of the second."""


def test_the_page_shows_the_measured_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert pasted(page, SECTION) == page


@pytest.mark.parametrize("what", TARGETS)
def test_each_database_was_measured_within_the_target(what: str) -> None:
    found = [figure for figure in (Figure(*each) for each in SECTION) if figure.what == what]
    missed = [figure for figure in found if figure.ratio > TARGETS[what]]
    assert (len(found), missed) == (3, [])
