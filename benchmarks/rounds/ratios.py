# SPDX-License-Identifier: MIT
"""From values to figures: medians and quartiles of ratios within a round; means over programs."""

from __future__ import annotations

import math
import statistics
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence

from .runner import Record


class Spread(NamedTuple):
    low: float  # quartile
    median: float
    high: float


def spread(values: Iterable[float]) -> Optional[Spread]:
    """Median and quartiles (medians of the halves, each with the middle one); None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    half = len(ordered) // 2
    return Spread(
        statistics.median(ordered[: half + len(ordered) % 2]),
        statistics.median(ordered),
        statistics.median(ordered[half:]),
    )


def value_of(record: Record, what: str) -> Optional[float]:
    """`seconds`: the median of the values of one process. `rss`, or a name of what the program says besides."""
    if record["status"] != 0:
        return None
    if what == "seconds":
        return statistics.median(record["values"]) if record["values"] else None
    if what == "rss":
        return float(record["rss"]) if record["rss"] else None
    found = record["extra"].get(what)
    return float(found) if found is not None else None


def select(records: Iterable[Record], program: str, configuration: str) -> List[Record]:
    return [record for record in records if record["program"] == program and record["configuration"] == configuration]


def ratios(
    records: Sequence[Record], program: str, configuration: str, against: str = "none", what: str = "seconds"
) -> List[float]:
    """One a round in which both ran."""
    base = {record["round"]: value_of(record, what) for record in select(records, program, against)}
    found = []
    for record in select(records, program, configuration):
        mine, theirs = value_of(record, what), base.get(record["round"])
        if mine is not None and theirs:
            found.append(mine / theirs)
    return found


class Summary(NamedTuple):
    """A configuration over all programs on which it and the base of comparison ran."""

    programs: int
    failed: List[str]
    geometric_mean: float
    p90: float
    largest: float
    largest_program: str


def summary(medians: Dict[str, float], failed: List[str]) -> Optional[Summary]:
    """`medians`: program -> ratio."""
    if not medians:
        return None
    ordered = sorted(medians.values())
    rank = min(len(ordered) - 1, math.ceil(0.9 * len(ordered)) - 1)
    largest = max(medians, key=lambda name: medians[name])
    mean = math.exp(sum(math.log(value) for value in ordered) / len(ordered))
    return Summary(len(ordered), failed, mean, ordered[rank], ordered[-1], largest)


def failures(records: Iterable[Record]) -> Dict[str, Dict[str, str]]:
    """Configuration -> program -> what happened."""
    found: Dict[str, Dict[str, str]] = {}
    for record in records:
        if record["status"] != 0:
            found.setdefault(record["configuration"], {})[record["program"]] = record["error"]
    return found
