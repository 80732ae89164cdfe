"""The measurement of recall: its page shows what was measured, and what is promised is held against it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.benchmarks.evidence.recalled import BEGIN, pasted, verdicts
from tests.benchmarks.evidence.reporting import RESULTS
from tests.benchmarks.recall import PAGE


@pytest.fixture(scope="module")
def section() -> Any:
    return json.loads(RESULTS.read_text(encoding="utf-8"))["recall"]


def test_the_page_shows_what_was_measured(section: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert pasted(page, section) == page


def test_512_of_2048_tokens_hold_four_fifths_on_every_set(section: Any) -> None:
    assert next(verdicts(section)).endswith(": met.")


def test_512_of_4096_tokens_hold_more_than_16384_without_and_cost_less(section: Any) -> None:
    assert [line for line in verdicts(section) if "16,384" in line and line.endswith(": met.")] != []


def row(**values: Any) -> dict[str, Any]:
    return {"set": "x", "max_tokens": 2_048, "recalled": 512, "whole": [0.9, 0, 1], "cost": 1, "faults": 0, **values}


@pytest.mark.parametrize(
    ("rows", "missed"),
    [
        ([row()], 0),
        ([row(whole=[0.7, 0, 1])], 1),
        ([row(faults=1)], 1),
        ([row(max_tokens=4_096), row(max_tokens=16_384, recalled=0, cost=2, whole=[0.8, 0, 1])], 0),
        ([row(max_tokens=4_096), row(max_tokens=16_384, recalled=0, whole=[0.8, 0, 1])], 1),
    ],
)
def test_a_target_is_missed_where_the_figures_are_not_there(rows: list[dict[str, Any]], missed: int) -> None:
    assert sum("missed" in line for line in verdicts({"rows": rows})) == missed
