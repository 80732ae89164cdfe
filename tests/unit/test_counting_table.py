"""The page on counting shows what was measured."""

from __future__ import annotations

import json

from tests.benchmarks.counting import PAGE, RESULTS, pasted


def test_the_page_shows_the_measured_table() -> None:
    section = json.loads(RESULTS.read_text(encoding="utf-8"))["counting"]
    page = PAGE.read_text(encoding="utf-8")
    assert pasted(page, section) == page
