# SPDX-License-Identifier: MIT
"""A profile as a call graph in graphviz's language.

A box is a function: what it allocated itself, and with what it called; the more itself, the larger its text. An arrow
goes from caller to callee and says what was allocated through it. Only the functions with the largest totals are there.
A dashed arrow leads past functions that were left out.
"""

from __future__ import annotations

from typing import Dict, List, Set, Tuple

from mprofile.profile import Profile
from mprofile.reports.functions import paths, title
from mprofile.reports.names import printable
from mprofile.reports.table import SORTS, share

__all__ = ["render"]


def quoted(text: str) -> str:
    """`text` as a string of the language; a backslash stays one, and a newline is a line of its own, centred."""
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))


def render(profile: Profile, metric: str, limit: int) -> str:
    """metric: as for functions.paths(). limit: most functions."""
    order = SORTS[metric]
    found = paths(profile, metric)
    count = len(found.functions)
    flat, cumulative = [0.0] * count, [0.0] * count
    for path, value in found.values.items():
        flat[path[-1]] += value
        for number in set(path):
            cumulative[number] += value
    total = sum(flat)
    kept = set(sorted(range(count), key=lambda number: -cumulative[number])[:limit])
    edges: Dict[Tuple[int, int], float] = {}
    past: Dict[Tuple[int, int], bool] = {}
    for path, value in found.values.items():
        seen: Set[Tuple[int, int]] = set()
        before, skipped = -1, False
        for number in path:
            if number not in kept:
                skipped = True
                continue
            edge = (before, number)
            if before >= 0 and edge not in seen:
                seen.add(edge)  # a recursion goes through an arrow many times, and counts once
                edges[edge] = edges.get(edge, 0.0) + value
                past[edge] = past.get(edge, True) and skipped
            before, skipped = number, False

    heading = "{}\n{}".format(title(profile, metric), order.show(total))
    if count > len(kept):
        heading += "\n{:,} of {:,} functions".format(len(kept), count)
    lines: List[str] = [
        "digraph mprofile {",
        '  graph [label={}, labelloc="t", fontname="sans-serif"];'.format(quoted(heading)),
        '  node [shape="box", style="filled", fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize="10"];',
    ]
    for number in sorted(kept, key=lambda number: -cumulative[number]):
        function = found.functions[number]
        part = flat[number] / total
        label = "" if function.name is None else printable(function.name) + "\n"
        label += function.place(found.directory) + "\n"
        label += "{} ({})".format(order.show(flat[number]), share(flat[number], total))
        if cumulative[number] > flat[number]:
            label += "\nof {} ({})".format(order.show(cumulative[number]), share(cumulative[number], total))
        shade = "0.08 {:.3f} 1.0".format(0.6 * cumulative[number] / total)
        size = 9 + 15 * part**0.5
        lines.append('  n{} [label={}, fontsize="{:.1f}", fillcolor="{}"];'.format(number, quoted(label), size, shade))
    for (caller, callee), value in sorted(edges.items()):
        style = ', style="dashed"' if past[caller, callee] else ""
        width = 0.5 + 4.5 * value / total
        lines.append(
            '  n{} -> n{} [label={}, penwidth="{:.2f}"{}];'.format(
                caller, callee, quoted(order.show(value)), width, style
            )
        )
    return "\n".join([*lines, "}"]) + "\n"
