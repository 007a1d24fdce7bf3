# SPDX-License-Identifier: MIT
"""The stacks of one profile, or of two, as one tree of call sites, and what is too small in it to be shown.

WHAT    Every stack is a path from the root; a node is one call site on it. A site is a function and a line in it. The
        figures of a stack stand at its last node, as a list of numbers in a fixed number of columns.

            root 0 --+-- main:10 --+-- parse:31     figures of main:10 / parse:31
                     |             +-- parse:35     figures of main:10 / parse:35
                     +-- idle:7                     figures of idle:7

FOLDING A path is small if its share is below the threshold by every measure. Stacks are cut where they become small,
        and what was cut goes, all of it, to one node "folded" there. So sums stay what they are.
WHY     A tree of all paths of 100,000 deep stacks has millions of nodes, few of which stay. So no such tree is made.
        Among sorted stacks, those with a path in common are neighbours: a path is an interval of them, and its sum
        the difference of two running sums. All paths that lie on the same interval are judged at once.
"""

from __future__ import annotations

import itertools
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from mprofile._core import FrameTuple

__all__ = ["FOLDED", "Function", "Stacks", "Tree", "add_into"]

#: Most paths on a page whose threshold nobody chose.
PATHS = 50000

FOLDED = "(folded)"


class Function(NamedTuple):
    """name: None if unknown. firstlineno: 0 if unknown."""

    name: Optional[str]
    filename: str
    firstlineno: int


class Span(NamedTuple):
    """Paths that the same stacks go through: stacks start to end, paths of more than `above` sites, up to `depth`."""

    start: int
    end: int
    above: int
    depth: int
    share: float


def add_into(target: List[float], figures: Sequence[float]) -> None:
    for i, figure in enumerate(figures):
        target[i] += figure


class Tree:
    """parents, site_of: by node; node 0 is the root. figures: of the stacks that end at a node, by node."""

    def __init__(self) -> None:
        self.parents = [-1]
        self.site_of = [0]
        self.figures: Dict[int, List[float]] = {}
        self._children: Dict[Tuple[int, int], int] = {}

    def add(self, sites: Iterable[int], figures: Sequence[float]) -> None:
        node = 0
        for site in sites:
            child = self._children.get((node, site))
            if child is None:
                child = self._children[node, site] = len(self.parents)
                self.parents.append(node)
                self.site_of.append(site)
            node = child
        own = self.figures.get(node)
        if own is None:
            self.figures[node] = list(figures)
        else:
            add_into(own, figures)

    def preorder(self) -> List[Tuple[int, int]]:
        """All nodes, each with its depth, so that what is below a node follows it: the depths alone give the tree."""
        children: List[List[int]] = [[] for _ in self.parents]
        for node in range(len(self.parents) - 1, 0, -1):
            children[self.parents[node]].append(node)
        order = []
        waiting = [(0, 0)]
        while waiting:
            node, depth = waiting.pop()
            order.append((node, depth))
            waiting.extend((child, depth + 1) for child in children[node])
        return order


class Stacks:
    """Stacks and the functions and sites on them, by number. sites: tuples (function, line); site 0 is the root's."""

    def __init__(self) -> None:
        self.functions: List[Function] = []
        self.sites: List[Tuple[int, int]] = [(-1, 0)]
        self._function_ids: Dict[Function, int] = {}
        self._site_ids: Dict[Tuple[int, int], int] = {}
        self._stacks: List[Tuple[Tuple[int, ...], Sequence[float]]] = []  # sites and figures

    def __len__(self) -> int:
        return len(self._stacks)

    def function(self, function: Function) -> int:
        number = self._function_ids.get(function)
        if number is None:
            number = self._function_ids[function] = len(self.functions)
            self.functions.append(function)
        return number

    def _site(self, function: Function, line: int) -> int:
        key = (self.function(function), line)
        number = self._site_ids.get(key)
        if number is None:
            number = self._site_ids[key] = len(self.sites)
            self.sites.append(key)
        return number

    def add(
        self,
        stacks: Sequence[Tuple[Sequence[FrameTuple], Sequence[float]]],
        aliases: Mapping[Function, Function],
    ) -> None:
        """Add stacks, each with its frames, oldest first, and its figures. aliases: functions to take for others."""
        known: Dict[int, int] = {}  # by the frame's id, which is its own while `stacks` is there
        for frames, figures in stacks:
            for frame in frames:
                if id(frame) not in known:
                    function = Function(frame.name, frame.filename, frame.firstlineno or 0)
                    known[id(frame)] = self._site(aliases.get(function, function), frame.lineno)
            self._stacks.append((tuple([known[id(frame)] for frame in frames]), figures))

    def _spans(self, columns: Sequence[int]) -> List[Span]:
        """Sort the stacks; all paths, as spans, in the order of their depth."""
        stacks = self._stacks
        stacks.sort(key=_sites_of)
        sums = []
        for column in columns:
            running = [0.0, *itertools.accumulate(figures[column] for _, figures in stacks)]
            if running[-1] > 0:
                sums.append((running, running[-1]))
        spans = []
        open_at: List[Tuple[int, int]] = []  # (first stack, depth above) of the spans that go on
        depth = 0
        before: Tuple[int, ...] = ()
        for place in range(len(stacks) + 1):
            sites = stacks[place][0] if place < len(stacks) else ()
            common = 0
            for one, other in zip(before, sites):
                if one != other:
                    break
                common += 1
            while depth > common:
                start, above = open_at.pop()
                if above < common:
                    open_at.append((start, above))
                    above = common
                share = max([(running[place] - running[start]) / total for running, total in sums] or [0.0])
                spans.append(Span(start, place, above, depth, share))
                depth = above
            if len(sites) > common:
                open_at.append((place, common))
                depth = len(sites)
            before = sites
        spans.sort(key=_depth_of)
        return spans

    def tree(self, columns: Sequence[int], threshold: Optional[float]) -> Tuple[Tree, float, int]:
        """Return the tree without what is small, the threshold, and the number of stacks that were cut.

        columns: those of the figures by which to judge, none negative. threshold: smallest share, from 0 to 1, that a
        path must have in one of them; None: the smallest of 0, 1, 2, 5, 10, 20, 50, ... millionths that
        leaves at most PATHS paths.
        """
        spans = self._spans(columns)
        if threshold is None:
            threshold = _threshold(spans)
        keep = [0] * len(self._stacks)
        for start, end, _, depth, share in spans:
            if share >= threshold:
                keep[start:end] = [depth] * (end - start)
        tree = Tree()
        cut = 0
        for (sites, figures), depth in zip(self._stacks, keep):
            if depth < len(sites):
                cut += 1
                sites = (*sites[:depth], self._site(Function(FOLDED, "", 0), 0))
            tree.add(sites, figures)
        return tree, threshold, cut


def _sites_of(stack: Tuple[Tuple[int, ...], Sequence[float]]) -> Tuple[int, ...]:
    return stack[0]


def _depth_of(span: Span) -> int:
    return span.depth


def _threshold(spans: Sequence[Span]) -> float:
    room = PATHS
    for span in sorted(spans, key=lambda span: -span.share):
        room -= span.depth - span.above
        if room < 0:
            return _above(span.share)
    return 0.0


def _above(share: float) -> float:
    """The smallest of 1, 2, 5, 10, ... millionths that is larger than `share`."""
    for exponent in range(-6, 1):
        for factor in (1, 2, 5):
            step = float("{}e{}".format(factor, exponent))
            if step > share:
                return step
    raise AssertionError("a share of {!r} is more than the whole".format(share))
