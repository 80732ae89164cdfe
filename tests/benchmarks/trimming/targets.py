"""What our rows promise, held against the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.benchmarks.trimming.tables import played

if TYPE_CHECKING:
    from collections.abc import Iterator

Section = dict[str, Any]
PRICES = ("openai", "anthropic")


def verdicts(section: Section) -> Iterator[str]:
    """Yield a line for each target: met, or MISSED and by what."""
    yield _line("no window of ours is at fault", faults(section))
    yield _line(
        "below `trim_to=1.0` no policy without a fault shows as much for as little",
        beaten(section),
    )
    yield _line("ours tokenizes each text once, where none had to be shortened", repeated(section))


def faults(section: Section) -> Iterator[str]:
    """Yield where a window of ours is at fault."""
    for policy in _ours(section):
        for name, row in policy["sets"].items():
            for fault, count in row["faults"].items():
                if count:
                    yield f"{policy['name']} on {name}: {fault} {count}"


def beaten(section: Section) -> Iterator[str]:
    """Yield where another policy, without a fault on that data set, is better than one of ours.

    At 1.0 ours keeps as much as fits, as others do, and which of them is a little ahead is chance.
    """
    for policy in _ours(section):
        if policy["trim_to"] == 1:
            continue
        for name, row in policy["sets"].items():
            for other in played(section):
                theirs = other["sets"].get(name)
                if other["ours"] or theirs is None or any(theirs["faults"].values()):
                    continue
                for price in PRICES:
                    if theirs[price] <= row[price] and theirs["kept"] >= row["kept"]:
                        yield f"{policy['name']} on {name}, {price}: {other['name']}"


def repeated(section: Section) -> Iterator[str]:
    """Yield where ours tokenizes anything again, although it shortened nothing.

    A shortened message is another text, and to find it some of its like are counted.
    """
    oversized = {each["name"]: each["has_oversized"] for each in section["sets"]}
    for policy in _ours(section):
        for name, row in policy["sets"].items():
            times = row["tokenized"] / row["distinct"]
            if times > 1 and not row["shortened"] and not oversized[name]:
                yield f"{policy['name']} on {name}: {times:.3f}"


def _ours(section: Section) -> list[dict[str, Any]]:
    return [each for each in played(section) if each["ours"]]


def _line(target: str, misses: Iterator[str]) -> str:
    missed = list(misses)
    return f"Target: {target}: {'MISSED by ' + '; '.join(missed) if missed else 'met'}."
