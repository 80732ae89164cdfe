"""Intervals: how far a share would move if other conversations of the kind had been recorded."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

RESAMPLES = 1000
OUTSIDE = 0.025
"""The share of the resamples on either side of the interval."""


class Share(NamedTuple):
    """A part of a whole, counted."""

    part: int = 0
    whole: int = 0

    @property
    def value(self) -> float:
        """The share; of nothing, all."""
        return self.part / self.whole if self.whole else 1.0


class Estimate(NamedTuple):
    """A share over all units, and where 95 % of the resamples lie."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Resamples whole units, with replacement, the same ones each time: so rows can be compared.

    What belongs to a unit stays together, since calls of one conversation resemble each other.
    """

    def __init__(self, units: Sequence[Hashable]) -> None:
        self.units = list(units)
        rng = random.Random(f"{len(self.units)} units")
        self._samples = [rng.choices(range(len(self.units)), k=len(self.units)) for _ in range(RESAMPLES)]

    def share(self, shares: Mapping[Hashable, Share]) -> Estimate:
        """Return a share with its interval."""
        return _estimate(total(shares).value, self._values(shares))

    def gain(self, shares: Mapping[Hashable, Share], base: Mapping[Hashable, Share]) -> Estimate:
        """Return by how much one share is more than another of the same units, resampled together."""
        values = [one - other for one, other in zip(self._values(shares), self._values(base), strict=True)]
        return _estimate(total(shares).value - total(base).value, values)

    def _values(self, shares: Mapping[Hashable, Share]) -> list[float]:
        parts = [shares[unit].part for unit in self.units]
        wholes = [shares[unit].whole for unit in self.units]
        return [Share(sum(map(parts.__getitem__, s)), sum(map(wholes.__getitem__, s))).value for s in self._samples]


def total(shares: Mapping[Hashable, Share]) -> Share:
    """Return all units together."""
    return Share(sum(each.part for each in shares.values()), sum(each.whole for each in shares.values()))


def _estimate(value: float, values: list[float]) -> Estimate:
    ordered = sorted(values)
    outside = round(OUTSIDE * len(ordered))
    return Estimate(value, ordered[outside], ordered[-1 - outside])
