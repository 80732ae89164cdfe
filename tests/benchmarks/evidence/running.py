"""Plays every policy on every set, and writes down what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.benchmarks.evidence.bootstrap import RESAMPLES, Bootstrap, total
from tests.benchmarks.evidence.configurations import BASES, POLICIES
from tests.benchmarks.evidence.measuring import counted_once, measure
from tests.benchmarks.trimming.conversations import ENCODING
from tests.benchmarks.trimming.peers import version_of
from tests.benchmarks.trimming.running import BESIDE, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.benchmarks.evidence.measuring import Evidence
    from tests.benchmarks.evidence.sets import EvidenceSet
    from tests.benchmarks.trimming.measuring import Figures
    from tests.benchmarks.trimming.policies import Policy


def players(chosen: EvidenceSet) -> list[Policy]:
    """Return who plays a set."""
    absent = missing()
    asked = (each for each in POLICIES if each.is_ours or (chosen.for_all and each.package not in absent))
    return [each for each in asked if each.why_not(chosen.data_set) is None]


def measured(sets: Sequence[EvidenceSet], tick: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Play everything; the result is one section of `results.json`, the same in every run with the same versions."""
    rows: dict[str, dict[str, Any]] = {each.name: {} for each in POLICIES}
    described = []
    with counted_once():
        for chosen in sets:
            bootstrap, found = Bootstrap(chosen.units), {}
            for policy in players(chosen):
                found[policy.name] = measure(policy, chosen)
                rows[policy.name][chosen.title] = _row(found[policy.name], bootstrap)
                tick()
            for name, other in _pairs(found).items():
                gain = _rounded(bootstrap.gain(found[name].whole, found[other].whole))
                rows[name][chosen.title] |= {"against": other, "gain": gain}
            described.append(describe(chosen))
    packages = sorted({*(each.package for each in POLICIES if not each.is_ours), *BESIDE})
    return {
        "versions": {each: version_of(each) for each in packages},
        "token_counter": ENCODING,
        "resamples": RESAMPLES,
        "sets": described,
        "policies": [
            {
                "name": each.name,
                "ours": each.is_ours,
                "trim_to": each.trim_to,
                "base": BASES.get(each.name),
                "sets": row,
            }
            for each in POLICIES
            if (row := rows[each.name])
        ],
    }


def describe(chosen: EvidenceSet) -> dict[str, Any]:
    """Return what the tables say of a set."""
    needs = [need for case in chosen.cases for need in case.needs]
    return {
        "name": chosen.title,
        "max_tokens": chosen.max_tokens,
        "is_chat": chosen.is_chat,
        "for_all": chosen.for_all,
        "conversations": len(chosen.cases),
        "calls": chosen.data_set.calls,
        "longest": chosen.data_set.longest,
        "needs": len(needs),
        "facts": sum(len(need.facts) for need in needs),
        "resampled": f"{len(chosen.units)} {chosen.resampled}",
    }


def _row(evidence: Evidence, bootstrap: Bootstrap) -> dict[str, Any]:
    figures = evidence.figures
    return {
        "facts": _rounded(bootstrap.share(evidence.facts)),
        "whole": _rounded(bootstrap.share(evidence.whole)),
        "openai": _cost(figures.openai, figures.openai_whole),
        "anthropic": _cost(figures.anthropic, figures.anthropic_whole),
        "faults": figures.faults,
    }


def _pairs(found: dict[str, Evidence]) -> dict[str, str]:
    """Return who is compared with whom: a variant of ours with its base, another with our best that costs no more."""
    pairs = {name: base for name, base in BASES.items() if base is not None}
    for name, evidence in found.items():
        if name not in BASES:
            cheaper = [ours for ours in BASES if _cost_of(found[ours].figures) <= _cost_of(evidence.figures)]
            if cheaper:
                pairs[name] = max(cheaper, key=lambda ours: total(found[ours].whole).value)
    return pairs


def _cost_of(figures: Figures) -> float:
    """Return what windows cost where writing the cache costs more, never trimming being 1; nothing if all are empty."""
    return figures.anthropic / figures.anthropic_whole if figures.anthropic_whole else 0.0


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


def _cost(spent: float, whole: float) -> float | None:
    return round(spent / whole, 4) if whole else None
