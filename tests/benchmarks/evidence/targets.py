"""What our rows promise, held against the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Section = dict[str, Any]


def verdicts(section: Section) -> Iterator[str]:
    """Yield a line for each target: met, or missed and by what."""
    yield _line("no window of ours is at fault", faults(section))
    yield _line("no policy without a fault holds more than our best that costs no more, beyond chance", ahead(section))
    yield _line("no setting of ours holds less than the same `trim_to` without it", behind(section))


def faults(section: Section) -> Iterator[str]:
    """Yield where a window of ours is at fault."""
    for policy in section["policies"]:
        for name, row in policy["sets"].items():
            if policy["ours"] and any(row["faults"].values()):
                yield f"{policy['name']} on {name}"


def ahead(section: Section) -> Iterator[str]:
    """Yield where another policy without a fault holds more, and more than chance would have it."""
    for policy in section["policies"]:
        for name, row in policy["sets"].items():
            if not policy["ours"] and not any(row["faults"].values()) and row.get("gain", [0, 0])[1] > 0:
                yield _gain(policy, name, row)


def behind(section: Section) -> Iterator[str]:
    """Yield where a setting of ours holds less than without it."""
    for policy in section["policies"]:
        for name, row in policy["sets"].items():
            if policy["base"] is not None and row["gain"][0] < 0:
                yield _gain(policy, name, row)


def _gain(policy: dict[str, Any], name: str, row: dict[str, Any]) -> str:
    value, low, high = (100 * each for each in row["gain"])
    return f"{policy['name']} on {name}: {value:+z.1f} ({low:+z.1f} to {high:+z.1f}) against {row['against']}"


def _line(target: str, misses: Iterator[str]) -> str:
    missed = list(misses)
    return f"Target: {target}: {'**missed** by ' + '; '.join(missed) if missed else 'met'}."
