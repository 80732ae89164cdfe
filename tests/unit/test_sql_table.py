"""The pages show what the SQL measurements found, and that is within what was set for them."""

from __future__ import annotations

import pytest

from tests.benchmarks.sql_figures import RECALL, SCALE, Table

TARGETS = {
    "read the window, session of 1,000,000 against 100 messages": 1.2,
    "append a turn, session of 1,000,000 against 100 messages": 1.2,
    "read a window, 200,000 sessions against 1,000": 1.2,
    "append a turn, 200,000 sessions against 1,000": 1.2,
    "read another session while settings change on 300,000 messages, against usual": 2.0,
    "the worst of these reads, against the change": 0.1,
    "recall 512 tokens in a session of 1,000,000 messages, against 20,000": 2.0,
    "append a turn with recall in use, against without, 1,000,000 messages": 1.5,
    "append a turn with recall in use, against without, 20,000 messages": 1.5,
}
"""What the first may be of the second."""


@pytest.mark.parametrize("table", [SCALE, RECALL], ids=["scale", "recall"])
def test_a_page_shows_the_measured_table(table: Table) -> None:
    page = table.page.read_text(encoding="utf-8")
    assert table.pasted(page) == page


@pytest.mark.parametrize("what", TARGETS)
def test_each_database_was_measured_within_the_target(what: str) -> None:
    found = [figure for figure in [*SCALE.figures(), *RECALL.figures()] if figure.what == what]
    missed = [figure for figure in found if figure.ratio > TARGETS[what]]
    assert (len(found), missed) == (3, [])
