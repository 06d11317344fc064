"""Figures: what a part of the benchmarks measures, what was asked for, and how both are kept as JSON.

What stays true: a figure that has a baseline was measured in the same run as it, on the same machine and
the same servers, in alternating rounds, and is read as a ratio to it; each is the median of its rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Demand:
    """What was asked of a figure: a bound of its value, or of its ratio to the baseline."""

    bound: Literal["at least", "at most"]
    limit: float
    of: Literal["value", "ratio"] = "value"

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.bound == "at least" else value <= self.limit

    def __str__(self) -> str:
        return f"{self.bound} {'x ' if self.of == 'ratio' else ''}{self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table: the median of its rounds."""

    #: Unique in its part: pages quote it by this.
    key: str
    label: str
    #: One value a round.
    rounds: Sequence[float]
    unit: str
    #: What it is compared to; None on the baseline's own line.
    baseline: "Figure | None" = None
    demand: Demand | None = None

    @property
    def value(self) -> float:
        return median(self.rounds)

    @property
    def ratio(self) -> float | None:
        """The value by the baseline's; None where there is none, or it is 0."""
        return self.value / self.baseline.value if self.baseline and self.baseline.value else None

    @property
    def is_met(self) -> bool | None:
        """Whether the demand is met; None where nothing was asked."""
        if self.demand is None:
            return None
        measured = self.ratio if self.demand.of == "ratio" else self.value
        return measured is not None and self.demand.is_met(measured)

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "label": self.label,
            "value": self.value,
            "unit": self.unit,
            "least": min(self.rounds),
            "most": max(self.rounds),
            "rounds": len(self.rounds),
            "baseline": self.baseline and self.baseline.key,
            "ratio": self.ratio,
            "demand": self.demand and str(self.demand),
            "met": self.is_met,
        }


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence of the table: what could not be measured here, and why."""

    text: str


Measures = Sequence[Figure | Note]


def at_most(limit: float) -> Demand:
    return Demand("at most", limit)


def at_least(limit: float) -> Demand:
    return Demand("at least", limit)


def ratio_at_most(limit: float) -> Demand:
    return Demand("at most", limit, "ratio")


def ratio_at_least(limit: float) -> Demand:
    return Demand("at least", limit, "ratio")


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many in a hundred do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def render_number(value: float) -> str:
    """A number as the table and the pages show it: three digits, or all of those before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def render_table(figures: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a part's figures in the table of the terminal."""
    baselines = {figure["baseline"] for figure in figures}
    return [_render_line(figure, is_baseline=figure["key"] in baselines) for figure in figures]


def _render_line(figure: dict[str, Any], *, is_baseline: bool) -> str:
    ratio = "" if figure["ratio"] is None else f"x {render_number(figure['ratio'])}"
    if is_baseline and not ratio:
        ratio = "baseline"
    verdict = "" if figure["met"] is None else f"{figure['demand']}: {'met' if figure['met'] else 'MISSED'}"
    value = render_number(figure["value"])
    return f"  {figure['label']:<56} {value:>9} {figure['unit']:<6} {ratio:<10} {verdict}".rstrip()
