"""Does a series grow, and how sure is that? Slopes with their standard errors, of a soak's samples and of their floors.

Under churn the front end's memory swings: by 60 MB within half a minute before pictures of clients that are away had a
limit. Neighbouring samples then say the same thing, so that a line through them looks far surer than it is: through
twenty minutes of such swings it has a slope of 20 MB an hour either way, for nothing. Three figures are told:

  raw     the least-squares slope of all samples; its error counts as many samples as are independent of one another
  floor   the slope of the least of each two minutes. A leak lifts the floor as well; swings come back to it
  rest    what is held with everything closed, after it less before it, by the time in between

Two of them judge. At rest nothing swings, so whatever is more there than tolerated is a leak. What grows under churn
and is gone at rest is found by the floor, when that grows by more than is tolerated by two standard errors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from soak_samples import Row

STRETCH_S = 120.0  # of which the least is taken: some ten times as long as what makes the swings
FEWEST = 4  # stretches, of a short soak: an error needs more points than a line
RAMP = 1 / 8  # of a soak, at its start, that is not looked at: clients have only begun
SURE = 2.0  # standard errors

Points = Sequence[tuple[float, float]]
"""Times in seconds, and values."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A slope and its standard error, of the series' unit an hour."""

    per_hour: float
    error: float = math.inf

    def __str__(self) -> str:
        return f"{self.per_hour:+.1f} ± {self.error:.1f}"

    @property
    def rounded(self) -> tuple[float, float | None]:
        """For people and JSON, which knows no infinity."""
        return round(self.per_hour, 1), round(self.error, 1) if math.isfinite(self.error) else None

    def surely_exceeds(self, tolerance: float) -> bool:
        """Whether chance can be left out of account."""
        return self.per_hour - SURE * self.error > tolerance


def fitted(points: Points) -> Growth:
    """The least-squares slope. Its error is that of so many points as are independent, by the correlation of neighbours
    (Bayley and Hammersley 1946, of a first-order autoregressive series).
    """
    count = len(points)
    if count < 2:
        return Growth(0.0)
    mean_at = sum(at for at, _ in points) / count
    mean = sum(value for _, value in points) / count
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    slope = sum((at - mean_at) * (value - mean) for at, value in points) / spread
    if count < 3:
        return Growth(3600 * slope)
    rest = [value - mean - slope * (at - mean_at) for at, value in points]
    squares = sum(value * value for value in rest)
    alike = sum(a * b for a, b in itertools.pairwise(rest)) / squares if squares else 0.0
    alike = min(0.99, max(0.0, alike))
    error = math.sqrt(squares / (count - 2) / spread * (1 + alike) / (1 - alike))
    return Growth(3600 * slope, 3600 * error)


def floors(points: Points) -> list[tuple[float, float]]:
    """The least of each stretch, at the stretch's middle."""
    start, span = points[0][0], points[-1][0] - points[0][0]
    count = max(FEWEST, round(span / STRETCH_S))
    found: dict[int, float] = {}
    for at, value in points:
        number = min(count - 1, int((at - start) / span * count)) if span else 0
        found[number] = min(value, found.get(number, math.inf))
    return [(start + (number + 0.5) * span / count, least) for number, least in sorted(found.items())]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one series' growth: see the module's docstring."""

    raw: Growth
    floor: Growth
    rest_per_hour: float

    def leaks(self, tolerance: float) -> bool:
        """Whether it grows by more than ``tolerance`` an hour.

        The smallest leaks that 20 minutes find with 25 MB an hour tolerated, in 95 of 100 made series (see the tests):
        40 MB an hour of what is still there at rest (13 MB, where two looks at rest differ by 3 for nothing); 100 MB
        an hour of what is gone then, under swings of 60 MB, which give the floor an error of 17. One run in 300 without
        a leak is said to have one.
        """
        return self.rest_per_hour > tolerance or self.floor.surely_exceeds(tolerance)


def verdict(before: Row, rows: Sequence[Row], after: Row, series: str) -> Verdict:
    """Judges a series by what was held at rest ``before`` and ``after``, and by the samples of the churn in between."""
    points = after_ramp(rows, series)
    hours = (after["at"] - before["at"]) / 3600
    rest = (after[series] - before[series]) / hours if hours > 0 else 0.0
    return Verdict(fitted(points), fitted(floors(points)) if points else Growth(0.0), rest)


def after_ramp(rows: Sequence[Row], series: str) -> list[tuple[float, float]]:
    """The samples that count."""
    if not rows:
        return []
    start = rows[0]["at"] + RAMP * (rows[-1]["at"] - rows[0]["at"])
    return [(row["at"], row[series]) for row in rows if row["at"] >= start]
