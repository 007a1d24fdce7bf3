# SPDX-License-Identifier: MIT
"""A profile as a call tree of text, from the root to what allocates, with what is small folded.

WHAT    A node is a function (or line, file, module, package) on one path from the root; its total is that of all
        stacks through it. The nodes with the largest totals are shown. As no node has more than its parent, the
        parents of what is shown are shown as well. What a node has beyond the children that are shown is one line,
        "folded".

            10.0 MiB  100.0 %  main  app.py:1
             6.0 MiB   60.0 %  |- load  app.py:20
             4.0 MiB   40.0 %  `- 3 folded

CHAINS  An only child with all that its parent has stands below it, not further to the right: deep stacks stay readable.
"""

from __future__ import annotations

import heapq
import operator
from typing import Dict, Iterable, List, Optional, Tuple

from mprofile.profile import Place, Profile, Row
from mprofile.reports.groups import key_of
from mprofile.reports.head import head
from mprofile.reports.names import recorded
from mprofile.reports.source import Source
from mprofile.reports.styled import Line
from mprofile.reports.table import SORTS, View, selected, share, where

__all__ = ["Node", "build", "lines"]


class Node:
    """key: what the node is. own: figures of the stacks that end there; sums: of all through it. children: by key."""

    __slots__ = ("children", "key", "own", "sums")

    def __init__(self, key: Place) -> None:
        self.key = key
        self.own: List[float] = [0.0] * 18
        self.sums: List[float] = []
        self.children: Dict[Place, Node] = {}

    def row(self, profile: Profile) -> Row:
        """The node as a row: cumulative is its total, flat what ends there."""
        return profile.row(self.key, self.own, self.sums)

    def value(self, sort: str) -> float:
        return self.sums[SORTS[sort].place]


def build(profile: Profile, view: View) -> Node:
    """The whole tree of the stacks that are kept; its root has no name."""
    key = key_of(view.by, recorded(profile).get("directory", ""))
    known: Dict[int, Place] = {}
    root = Node(("", 0, None))
    nodes: List[Tuple[Node, Node]] = []  # each with its parent, parents first
    stacks = view.selection.of(profile.rows("stack")) if view.selection else profile.rows("stack")
    for row in stacks:
        node = root
        for frame in row.frames:
            name = known.get(id(frame))
            if name is None:
                name = known[id(frame)] = key(frame)
            # A file that calls itself, a recursion: one node, as long as it goes on.
            if view.by != "line" and node.key == name and node is not root:
                continue
            child = node.children.get(name)
            if child is None:
                child = node.children[name] = Node(name)
                nodes.append((child, node))
            node = child
        node.own = list(map(operator.add, node.own, row.numbers()))
    for node in [root] + [node for node, _ in nodes]:
        node.sums = node.own
    for node, parent in reversed(nodes):
        parent.sums = list(map(operator.add, parent.sums, node.sums))
    return root


def largest(root: Node, view: View) -> Dict[int, float]:
    """The totals of the nodes to show, by id."""
    chosen: Dict[int, float] = {}
    waiting: List[Tuple[float, int, Node]] = []
    number = 0

    def wait_for(children: Iterable[Node]) -> None:
        nonlocal number
        for child in children:
            number += 1  # of two that are equal the first comes first
            heapq.heappush(waiting, (-child.value(view.sort), number, child))

    wait_for(root.children.values())
    while waiting and (view.limit is None or len(chosen) < view.limit):
        value, _, node = heapq.heappop(waiting)
        if value >= 0 or -value < view.least:
            break
        chosen[id(node)] = -value
        wait_for(node.children.values())
    return chosen


def lines(profile: Profile, view: View) -> List[Line]:
    """Return head and tree. The view's columns count for nothing."""
    order = SORTS[view.sort]
    exact = profile.meta["sample_rate"] <= 1
    directory = recorded(profile).get("directory", "")
    total = order.value(profile.totals())
    root = build(profile, view)
    chosen = largest(root, view)
    source = Source(profile) if view.source and view.by == "line" else None
    result = head(profile)
    if view.selection:
        result.append(selected(profile, view.selection, order, total, exact))
    title = "{} by {}, from the root{}".format(order.title, view.by, "" if exact else ", with 95 % intervals")
    result += [[], [(title, "head")], []]
    table: List[Tuple[str, str, str, Line]] = []
    # (node or None for what is folded, value, how many are folded, indentation, whether it is a branch, the last one)
    waiting: List[Tuple[Optional[Node], float, int, str, bool, bool]] = []

    def put_children(node: Node, indent: str, value: float) -> None:
        shown = sorted((one for one in node.children.values() if id(one) in chosen), key=lambda one: -chosen[id(one)])
        hidden = [one.value(view.sort) for one in node.children.values() if id(one) not in chosen]
        hidden = [one for one in hidden if one > 0]
        entries: List[Tuple[Optional[Node], float, int]] = [(one, chosen[id(one)], 0) for one in shown]
        if hidden:
            entries.append((None, sum(hidden), len(hidden)))
        chain = len(entries) == 1 and bool(shown) and entries[0][1] >= value * (1 - 1e-9)
        for place in range(len(entries) - 1, -1, -1):
            branch = not chain and node is not root
            waiting.append((*entries[place], indent, branch, place == len(entries) - 1))

    put_children(root, "", 0.0)
    while waiting:
        node, value, folded, indent, branch, last = waiting.pop()
        mark = ("`- " if last else "|- ") if branch else ""
        if node is None:
            name: Line = [("{:,} folded".format(folded), "quiet")]
            flat = interval = ""
        else:
            row = node.row(profile)
            name = where(row, view.by, directory)
            text = source.line(row.filename, row.lineno) if source is not None else ""
            if text:
                name = [*name, ("  | " + text, "source")]
            own = order.value(row.flat)
            flat = order.show(own) if own > 0 else ""
            interval = "" if exact else order.show_interval(order.interval(row.cumulative))
            put_children(node, indent + (("   " if last else "|  ") if branch else ""), value)
        table.append(
            (
                order.show(value),
                interval,
                flat,
                [(share(value, total).rjust(7), "share"), (indent + mark, "quiet"), *name],
            )
        )
    if not table:
        return [*result, [("  nothing", "")]]
    widths = [
        max(len(title), *(len(row[i]) for row in table)) for i, title in enumerate(("cum", "95 % interval", "flat"))
    ]
    head_line = [("  " + "cum".rjust(widths[0]), "head")]
    if not exact:
        head_line.append(("  " + "95 % interval".rjust(widths[1]), "head"))
    head_line += [("    share", "head"), ("  " + "flat".rjust(widths[2]), "head"), ("    " + view.by, "head")]
    result.append(head_line)
    for shown_value, interval, flat, (part, mark_part, *name) in table:
        line = [("  " + shown_value.rjust(widths[0]), "size")]
        if not exact:
            line.append(("  " + interval.rjust(widths[1]), "range"))
        result.append(
            [*line, ("  " + part[0], "share"), ("  " + flat.rjust(widths[2]), ""), ("    ", ""), mark_part, *name]
        )
    return result
