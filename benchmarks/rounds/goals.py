# SPDX-License-Identifier: MIT
"""What a configuration may cost over all programs of the overhead suite, and whether it does."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional

from . import tables
from .ratios import Summary
from .tables import header, label, row

#: Where empty hooks alone cost more than a bound, a profiler may cost this much of what they do.
BESIDE_EMPTY = 1.01

S512 = "mprofile:524288:128"
S128 = "mprofile:131072:128"
EXACT = "mprofile:0:128"


class Goal(NamedTuple):
    configuration: str
    what: str  # seconds, rss
    figure: str  # of a Summary
    bound: float


GOALS = [
    Goal(S512, "seconds", "geometric_mean", 1.01),
    Goal(S512, "seconds", "p90", 1.03),
    Goal(S512, "seconds", "largest", 1.08),
    Goal(S512, "rss", "geometric_mean", 1.02),
    Goal(S128, "seconds", "geometric_mean", 1.015),
    Goal(EXACT, "seconds", "geometric_mean", 1.5),
    Goal(EXACT, "seconds", "largest", 2.4),
]

WHAT = {"seconds": "time", "rss": "peak RSS"}
FIGURE = {"geometric_mean": "geometric mean", "p90": "P90", "largest": "largest"}


def held(value: float, empty: Optional[float], bound: float) -> bool:
    """Within the bound, or, where empty hooks are not, hardly above these."""
    return value <= bound or (empty is not None and empty > bound and value <= BESIDE_EMPTY * empty)


def table(result: Dict[str, Any]) -> List[str]:
    """A line a goal whose configuration ran; none if there is no such goal."""
    found: Dict[str, Dict[str, Summary]] = {what: tables.summaries(result, what) for what in WHAT}
    lines = []
    for goal in GOALS:
        summary, empty = (found[goal.what].get(name) for name in (goal.configuration, "empty"))
        if summary is None:
            continue
        value = float(getattr(summary, goal.figure))
        beside = float(getattr(empty, goal.figure)) if empty else None
        lines.append(row([
            "%s: %s, %s" % (label(goal.configuration), WHAT[goal.what], FIGURE[goal.figure]),
            "%.3f" % value,
            "%.3f" % beside if beside is not None else "-",
            "<= %.4g" % goal.bound,
            "held" if held(value, beside, goal.bound) else "**missed**",
        ]))  # fmt: skip
    return header(["over all programs", "ratio", "empty hooks", "bound", ""]) + lines if lines else []
