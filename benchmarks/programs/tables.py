# SPDX-License-Identifier: MIT
"""numpy and pandas at work: python tables.py NAME LOOPS."""

from __future__ import annotations

import sys
from typing import Callable, Dict, List

from timing import parts, say


def arrays(loops: int) -> List[float]:
    """Many arrays of all sizes, most of them temporary."""
    import numpy

    random = numpy.random.default_rng(1)

    def part() -> None:
        for i in range(loops):
            values = random.random(10 ** (2 + i % 4))
            scaled = (values - values.mean()) / values.std()
            numpy.sort(scaled)[: len(scaled) // 2].sum()
            numpy.where(scaled > 0, scaled, -scaled).cumsum()

    return parts(part, 5)


def frames(loops: int) -> List[float]:
    """Frames with text and numbers: grouped, joined, filtered, written and read."""
    import io

    import pandas

    def part() -> None:
        for i in range(loops):
            orders = pandas.DataFrame(
                {
                    "customer": ["customer %d" % (n * 7 % 300) for n in range(3000)],
                    "day": [n % 30 for n in range(3000)],
                    "amount": [float(n % 97) for n in range(3000)],
                }
            )
            customers = pandas.DataFrame({"customer": ["customer %d" % n for n in range(300)], "rank": range(300)})
            joined = orders.merge(customers, on="customer")
            totals = joined.groupby(["customer", "day"])["amount"].sum().reset_index()
            text = totals[totals["amount"] > 10 + i % 5].to_csv(index=False)
            pandas.read_csv(io.StringIO(text)).sort_values("amount")

    return parts(part, 5)


PROGRAMS: Dict[str, Callable[[int], List[float]]] = {"numpy": arrays, "pandas": frames}

if __name__ == "__main__":
    say(PROGRAMS[sys.argv[1]](int(sys.argv[2])), {})
