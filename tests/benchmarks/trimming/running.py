"""Plays every policy on every data set, and writes down what came of it."""

from __future__ import annotations

import os
import platform
import statistics
import time
from typing import TYPE_CHECKING, Any

from tests.benchmarks.trimming.measuring import judge, needed, play
from tests.benchmarks.trimming.peers import PEERS, version_of
from tests.benchmarks.trimming.policies import LANGCHAIN, OURS
from tests.benchmarks.trimming.tokenizing import ENCODING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.benchmarks.trimming.conversations import DataSet
    from tests.benchmarks.trimming.measuring import Figures, Played
    from tests.benchmarks.trimming.policies import Policy

POLICIES = [*OURS, *LANGCHAIN, *PEERS]
DRAWING = ("matplotlib", "pillow")
BESIDE = ("langchain-tokenbuffer", "tiktoken")  # whose versions matter, too


def missing() -> list[str]:
    """Return the packages that are not installed."""
    wanted = {*(each.package for each in POLICIES), *DRAWING}
    return sorted(each for each in wanted if version_of(each) is None)


def calls(data_sets: Sequence[DataSet]) -> int:
    """Return how many windows will be asked for."""
    return sum(each.calls * len(_players(each)) for each in data_sets)


def measured(data_sets: Sequence[DataSet], tick: Callable[[], object]) -> dict[str, Any]:
    """Play everything; the result is one section of `results.json`.

    All but `"timing"` is the same in every run with the same versions.
    """
    began = time.perf_counter()
    rows: dict[str, dict[str, Any]] = {each.name: {} for each in POLICIES}
    times: dict[str, dict[str, float]] = {each.name: {} for each in POLICIES}
    for data_set in data_sets:
        whole = needed(data_set)
        for policy in _players(data_set):
            played = play(policy, data_set, tick)
            figures = judge(data_set, played)
            rows[policy.name][data_set.name] = _row(figures, played, whole)
            times[policy.name][data_set.name] = round(1000 * statistics.median(played.seconds), 4)
    packages = sorted({*(each.package for each in POLICIES), *BESIDE})
    return {
        "versions": {each: version_of(each) for each in packages},
        "token_counter": ENCODING,
        "sets": [_described(each) for each in data_sets],
        "policies": [
            {
                "name": each.name,
                "package": "langchain-tokenbuffer" if each.is_ours else each.package,
                "ours": each.is_ours,
                "trim_to": each.trim_to,
                "left_out": _left_out(each, data_sets),
                "sets": rows[each.name],
            }
            for each in POLICIES
        ],
        "timing": {
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "seconds": round(time.perf_counter() - began, 1),
            "median_ms": {name: row for name, row in times.items() if row},
        },
    }


def _players(data_set: DataSet) -> list[Policy]:
    absent = missing()
    return [each for each in POLICIES if each.package not in absent and not each.why_not(data_set)]


def _left_out(policy: Policy, data_sets: Sequence[DataSet]) -> dict[str, str]:
    if policy.package in missing():
        return {each.name: f"{policy.package} is not installed" for each in data_sets}
    return {each.name: why for each in data_sets if (why := policy.why_not(each))}


def _described(data_set: DataSet) -> dict[str, Any]:
    return {
        "name": data_set.name,
        "max_tokens": data_set.max_tokens,
        "conversations": len(data_set.conversations),
        "calls": data_set.calls,
        "longest": data_set.longest,
        "has_oversized": data_set.has_oversized,
    }


def _row(figures: Figures, played: Played, whole: int) -> dict[str, Any]:
    return {
        "calls": figures.calls,
        "faults": figures.faults,
        "invalid": dict(sorted(figures.invalid.items())),
        "shortened": figures.shortened,
        "kept": _share(figures.seen, figures.said),
        "sent": figures.sent,
        "reusable": figures.common,
        "openai": _share(figures.openai, figures.openai_whole),
        "anthropic": _share(figures.anthropic, figures.anthropic_whole),
        "tokenized": played.tokens,
        "distinct": whole,
        "first_error": next(iter(played.errors), None),
    }


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
