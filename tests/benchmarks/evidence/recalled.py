"""What recall brings back: the chats of the evidence, at one total budget with more and less of it recalled.

Half of each set's questions were looked at while the ranking was tuned; the other half confirms it.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from tests.benchmarks.evidence.bootstrap import Bootstrap, Share, total
from tests.benchmarks.evidence.configurations import configuration
from tests.benchmarks.evidence.measuring import counted_once, measure
from tests.benchmarks.evidence.sets import sources
from tests.benchmarks.evidence.tables import table

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from pathlib import Path

    from tests.benchmarks.evidence.sets import EvidenceSet
    from tests.benchmarks.trimming.measuring import Figures

Section = dict[str, Any]
BEGIN, END = "<!-- recall -->", "<!-- /recall -->"
SETTINGS = ((2_048, 0), (2_048, 128), (2_048, 256), (2_048, 512), (2_048, 1_024))
LONGER = ((4_096, 512), (8_192, 0), (16_384, 0))
"""Also tried where a chat is longer than these: what more tokens without recall come to."""
LEAST = 0.8
"""The share that 512 of 2,048 tokens are to bring, on every set."""
FAULTS = ("invalid", "over_budget", "system_lost", "empty_or_raised")
"""A quoted question is a copy, so that the benchmark of trimming does not know it again: the laws look after it."""


def measured(sets: list[EvidenceSet]) -> Section:
    """Play every chat at every setting; the same in every run."""
    rows = []
    with counted_once():
        for chosen in sets:
            for max_tokens, recalled in (*SETTINGS, *(LONGER if chosen.data_set.longest > LONGER[-1][0] else ())):
                rows.append(_row(dataclasses.replace(chosen, max_tokens=max_tokens), recalled))
    return {"rows": rows}


def chats() -> list[EvidenceSet]:
    """Return the sets whose needs are what questions ask for."""
    return [each for made in sources().values() for each in made() if each.is_chat]


def _row(chosen: EvidenceSet, recalled: int) -> dict[str, Any]:
    evidence = measure(configuration({"trim_to": 0.6, "recall_tokens": recalled}), chosen)
    whole, figures = evidence.whole, evidence.figures
    confirming = total({unit: share for unit, share in whole.items() if _is_held_back(unit)})
    return {
        "set": chosen.name,
        "max_tokens": chosen.max_tokens,
        "recalled": recalled,
        "whole": [round(value, 4) for value in Bootstrap(chosen.units).share(whole)],
        "held_back": round(Share(*confirming).value, 4),
        "cost": _cost(figures),
        "faults": sum(figures.faults[each] for each in FAULTS),
    }


def _is_held_back(unit: Hashable) -> bool:
    """Tell whether a question, or a generated chat, was not looked at while the ranking was tuned: every other one."""
    return int(str(unit).rpartition(" ")[2]) % 2 == 1


def _cost(figures: Figures) -> float:
    return round(figures.anthropic / figures.anthropic_whole, 4)


def tables(section: Section) -> str:
    """Return the page's table, and what is promised held against it."""
    heads = ["max_tokens", "recall_tokens", "questions", "held back", "cost", "at fault"]
    return "\n\n".join([table("set", heads, _cells(section)), "\n".join(f"- {line}" for line in verdicts(section))])


def _cells(section: Section) -> Iterator[list[str]]:
    for row in section["rows"]:
        value, low, high = (100 * each for each in row["whole"])
        shown = [f"{row['max_tokens']:,}", f"{row['recalled']:,}", f"{value:.1f} ({low:.0f}-{high:.0f})"]
        yield [row["set"], *shown, f"{100 * row['held_back']:.1f}", f"{100 * row['cost']:.0f}", f"{row['faults']}"]


def verdicts(section: Section) -> Iterator[str]:
    """Yield a line for each target: met, or missed by what."""
    wanted = [row for row in section["rows"] if (row["max_tokens"], row["recalled"]) == (2_048, 512)]
    yield _line(f"512 of 2,048 tokens hold at least {LEAST:.0%}", [r["set"] for r in wanted if r["whole"][0] < LEAST])
    for one, other in _larger(section):
        missed = [one["set"]] if one["whole"][0] <= other["whole"][0] or one["cost"] >= other["cost"] else []
        yield _line("512 of 4,096 tokens hold more than 16,384 without, and cost less", missed)
    yield _line("no window is at fault", [row["set"] for row in section["rows"] if row["faults"]])


def _larger(section: Section) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    by = {(row["set"], row["max_tokens"], row["recalled"]): row for row in section["rows"]}
    for name in dict.fromkeys(row["set"] for row in section["rows"]):
        if (name, 16_384, 0) in by:
            yield by[name, 4_096, 512], by[name, 16_384, 0]


def _line(target: str, missed: list[str]) -> str:
    return f"Target: {target}: {'**missed** on ' + ', '.join(missed) if missed else 'met'}."


def pasted(page: str, section: Section) -> str:
    """Return the page with the table between its markers."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{tables(section)}\n\n{END}{after}"


def write(section: Section, results: Path, page: Path) -> None:
    """Put what was measured into the results and the page."""
    found = json.loads(results.read_text(encoding="utf-8"))
    found["recall"] = section
    results.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page.write_text(pasted(page.read_text(encoding="utf-8"), section), encoding="utf-8")
