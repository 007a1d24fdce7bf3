# SPDX-License-Identifier: MIT
"""The functions of one profile, or of two, under one numbering, and the tree of their call sites.

WHAT    A Numbering has every function that is on a stack, once, by its number, and what it has in each profile. Its
        fold() makes the tree of all stacks without what is too small in it, as core/folding.h tells; a site of the
        tree is a function, by its number, and a line in it.
WHY     100,000 deep stacks have millions of frames, but some thousand functions: these are all that Python sees.
"""

from __future__ import annotations

from array import array
from itertools import compress
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from mprofile.profile import Profile

__all__ = ["FOLDED", "Columns", "Function", "Numbering", "Tree", "columns_of"]

#: Most paths on a page whose threshold nobody chose.
PATHS = 50000

FOLDED = "(folded)"

#: Numbers of a stack: three measures of six figures; of a function: these flat, then cumulative.
STACK, FUNCTION = 18, 36
#: Those of a function that tell whether it is on any stack: blocks and samples, cumulative.
_TELLING = (19, 23, 25, 29, 31, 35)

Columns = List["array[float]"]


class Function(NamedTuple):
    """name: None if unknown. firstlineno: 0 if unknown."""

    name: Optional[str]
    filename: str
    firstlineno: int


class Tree(NamedTuple):
    """stacks: how many there are; cut: how many of them end at a node "folded". site_function, site_line: by site; site
    0 is the root's and has no function. node_depth, node_site: by node, in preorder, so that the depths alone give the
    tree. own_node: nodes at which stacks end; figures: of these in each profile."""

    threshold: float
    stacks: int
    cut: int
    site_function: array[int]
    site_line: array[int]
    node_depth: array[int]
    node_site: array[int]
    own_node: array[int]
    figures: List[Columns]


def columns_of(data: bytes, width: int) -> Columns:
    """Rows of `width` doubles as columns."""
    numbers = array("d", data)
    return [numbers[i::width] for i in range(width)]


class _Side:
    """One profile: functions and figures of what is on stacks in it, by its own numbers."""

    def __init__(self, profile: Profile) -> None:
        self.traces = profile.traces
        names = self.traces.functions()
        columns = columns_of(self.traces.sums(array("I", range(len(names))).tobytes(), len(names)), FUNCTION)
        self.used = [any(row) for row in zip(*[columns[i] for i in _TELLING])]
        self.functions = [Function(*name) for name in compress(names, self.used)]
        self.columns = [array("d", compress(column, self.used)) for column in columns]


class Numbering:
    """functions: by number."""

    def __init__(self, profile: Profile, old: Optional[Profile] = None) -> None:
        """Functions are the same if name, file and first line are, or if only the line differs and neither profile has
        another function of that name in that file."""
        sides = [_Side(one) for one in (profile, old) if one is not None]
        known: Dict[Function, int] = {}
        aliases = {} if old is None else _moved(sides[1].functions, sides[0].functions)
        found = [
            [known.setdefault(names.get(function, function), len(known)) for function in side.functions]
            for side, names in zip(sides, ({}, aliases))
        ]
        self.functions = list(known)
        #: What each function has, in each profile.
        self.figures = [self._spread(side.columns, numbers) for side, numbers in zip(sides, found)]
        self._traces = [side.traces for side in sides]
        self._numbers = []  # of all functions of each profile
        for side, numbers in zip(sides, found):
            rest = iter(numbers)
            self._numbers.append(array("I", [next(rest) if used else 0 for used in side.used]))

    def _spread(self, columns: Columns, numbers: Sequence[int]) -> Columns:
        """Columns by the functions of one profile as columns by their numbers here."""
        result = []
        for column in columns:
            spread = array("d", bytes(8 * len(self.functions)))
            for number, value in zip(numbers, column):
                spread[number] += value
            result.append(spread)
        return result

    def fold(self, threshold: Optional[float]) -> Tree:
        """Return the tree without what is small; adds the function FOLDED if there was any.

        threshold: smallest share, from 0 to 1, that a path must have of the whole, in bytes or blocks of any measure;
        None: the smallest of 0, 1, 2, 5, 10, 20, 50, ... millionths that leaves at most PATHS paths.
        """
        old = self._traces[1] if len(self._traces) > 1 else None
        numbers = [numbers.tobytes() for numbers in self._numbers]
        limit = -1.0 if threshold is None else threshold
        threshold, stacks, cut, functions, lines, depths, sites, own, new_figures, old_figures = self._traces[0].fold(
            numbers[0], old, numbers[-1], len(self.functions), limit, PATHS
        )
        if cut:
            self.functions.append(Function(FOLDED, "", 0))
        figures = [columns_of(data, STACK) for data in (new_figures, old_figures)[: len(numbers)]]
        site_function, site_line, node_depth, node_site, own_node = (
            array("I", data) for data in (functions, lines, depths, sites, own)
        )
        return Tree(threshold, stacks, cut, site_function, site_line, node_depth, node_site, own_node, figures)


def _moved(old: Sequence[Function], new: Sequence[Function]) -> Mapping[Function, Function]:
    """Functions of `old` that begin at another line in `new`, for the file was edited: those which are alone in both to
    have this name and file."""
    places: List[Dict[Tuple[Optional[str], str], List[Function]]] = [{}, {}]
    for by_name, functions in zip(places, (old, new)):
        for function in functions:
            by_name.setdefault(function[:2], []).append(function)
    before, after = places
    return {
        functions[0]: after[key][0]
        for key, functions in before.items()
        if len(functions) == 1 and len(after.get(key, ())) == 1
    }
