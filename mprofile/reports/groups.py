# SPDX-License-Identifier: MIT
"""The rows of a profile: by everything a report can group by, of all stacks or of some.

WHAT    Profile.rows() groups by line, function, file and stack, in C. Modules and packages are groups of functions,
        which C adds up, too. The rest is done here, from the rows of the stacks: threads (threads.py tells what these
        are), and rows of those stacks only that a Selection keeps.
NAMES   A module is named after its file, as it would be imported from the directory that the program ran in or from
        a library directory. The package is the first part of that. A file elsewhere stays a path without its suffix,
        and its package is the directory: where its import path began is not known.
"""

from __future__ import annotations

import operator
import os
import re
import struct
from typing import Callable, Dict, Hashable, List, NamedTuple, Optional, Pattern, Tuple

from mprofile._core import FrameTuple
from mprofile.profile import KEYS, Measures, Place, Profile, Row
from mprofile.reports.names import recorded, short
from mprofile.reports.threads import beginnings

__all__ = [
    "BY",
    "EVERYTHING",
    "Selection",
    "key_of",
    "module_of",
    "package_of",
    "rows",
    "totals",
]

BY = ("line", "function", "file", "module", "package", "thread", "stack")

_FIGURES = struct.Struct("36d")

_FROZEN = re.compile(r"<frozen (.*)>\Z", re.DOTALL)
_SUFFIX = re.compile(r"\.(?:py[cwx]?|so)\Z")


class Selection(NamedTuple):
    """Stacks with a frame that `focus` matches and none that `ignore` matches, in the function's or file's name."""

    focus: Optional[Pattern[str]] = None
    ignore: Optional[Pattern[str]] = None

    def __bool__(self) -> bool:
        return self.focus is not None or self.ignore is not None

    def of(self, stacks: List[Row]) -> List[Row]:
        known: Dict[int, Tuple[bool, bool]] = {}  # by the frame's id, which is its own while `stacks` is there
        kept = []
        for row in stacks:
            focused = self.focus is None
            ignored = False
            for frame in row.frames:
                found = known.get(id(frame))
                if found is None:
                    found = known[id(frame)] = (_matches(self.focus, frame), _matches(self.ignore, frame))
                focused = focused or found[0]
                ignored = ignored or found[1]
            if focused and not ignored:
                kept.append(row)
        return kept


EVERYTHING = Selection()


def _matches(pattern: Optional[Pattern[str]], frame: FrameTuple) -> bool:
    if pattern is None:
        return False
    return pattern.search(frame.filename) is not None or (
        frame.name is not None and pattern.search(frame.name) is not None
    )


def module_of(filename: str, directory: str) -> str:
    """The name of the module in a file, as far as it can be told. directory: that the program ran in, or ""."""
    frozen = _FROZEN.match(filename)
    if frozen is not None:
        return frozen.group(1)
    place = short(filename, directory)
    if place.startswith("<"):
        return place
    place = _SUFFIX.sub("", place)
    if place.startswith("/"):
        return place
    parts = place.split("/")
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


def package_of(filename: str, directory: str) -> str:
    """The first part of the module's name; the directory of a file elsewhere."""
    module = module_of(filename, directory)
    if module.startswith("/"):
        return os.path.dirname(module)
    return module if module.startswith("<") else module.partition(".")[0]


def key_of(by: str, directory: str) -> Callable[[FrameTuple], Place]:
    """What tells, for a frame, the row it belongs to: a tuple (filename, lineno, name)."""
    if by == "line":
        return lambda frame: (frame.filename, frame.lineno, frame.name)
    if by == "function":
        return lambda frame: (frame.filename, frame.firstlineno or 0, frame.name)
    if by == "file":
        return lambda frame: (frame.filename, 0, None)
    if by == "module":
        return lambda frame: ("", 0, module_of(frame.filename, directory))
    if by == "package":
        return lambda frame: ("", 0, package_of(frame.filename, directory))
    raise ValueError("a frame has no {!r}".format(by))


def rows(profile: Profile, by: str, selection: Selection = EVERYTHING) -> List[Row]:
    """Return the rows by one of BY (ValueError for anything else), in no particular order.

    Rows by module and package have their name in `name`, and no file; those by thread are the functions with which
    threads began, or something in brackets without a file.
    """
    if by not in BY:
        raise ValueError("rows are by {}, not by {!r}".format(", ".join(BY), by))
    directory = recorded(profile).get("directory", "")
    if not selection:
        if by in KEYS:
            return profile.rows(by)
        if by in ("module", "package"):
            return _of_functions(profile, module_of if by == "module" else package_of, directory)
    stacks = selection.of(profile.rows("stack")) if selection else profile.rows("stack")
    if by == "stack":
        return stacks
    if by == "thread":
        return _of_threads(profile, stacks)
    return _regroup(profile, stacks, key_of(by, directory), by == "line")


def _of_functions(profile: Profile, name_of: Callable[[str, str], str], directory: str) -> List[Row]:
    """Rows by what their file tells."""
    names: Dict[str, str] = {}
    numbers: Dict[str, int] = {}
    group_of = []
    for _, filename, _ in profile.traces.functions():
        name = names.get(filename)
        if name is None:
            name = names[filename] = name_of(filename, directory)
        group_of.append(numbers.setdefault(name, len(numbers)))
    data = profile.traces.sums(struct.pack("{}I".format(len(group_of)), *group_of), len(numbers))
    return [
        profile.row(("", 0, name), figures[:18], figures[18:])
        for name, figures in zip(numbers, _FIGURES.iter_unpack(data))
        if any(figures)
    ]


def _of_threads(profile: Profile, stacks: List[Row]) -> List[Row]:
    began = beginnings(profile)
    sums: Dict[Hashable, List[float]] = {}
    places: Dict[Hashable, Place] = {}
    for row in stacks:
        place = began(row)
        places.setdefault(place, place)
        _add(sums, place, row.numbers())
    return [profile.row(place, sums[place], sums[place]) for place in places.values()]


def _regroup(profile: Profile, stacks: List[Row], key: Callable[[FrameTuple], Place], line: bool) -> List[Row]:
    known: Dict[int, Hashable] = {}
    shown: Dict[Hashable, Place] = {}
    flat: Dict[Hashable, List[float]] = {}
    cumulative: Dict[Hashable, List[float]] = {}
    for row in stacks:
        figures = row.numbers()
        groups = []
        for frame in row.frames:
            group = known.get(id(frame))
            if group is None:
                found = key(frame)
                # Several functions can share a line; it is one row, with the first one's name.
                group = known[id(frame)] = found[:2] if line else found
                shown.setdefault(group, found)
            groups.append(group)
        _add(flat, groups[-1], figures)
        for group in dict.fromkeys(groups):
            _add(cumulative, group, figures)
    nothing = [0.0] * 18
    return [profile.row(shown[group], flat.get(group, nothing), sums) for group, sums in cumulative.items()]


def _add(sums: Dict[Hashable, List[float]], group: Hashable, figures: Tuple[float, ...]) -> None:
    own = sums.get(group)
    sums[group] = list(figures) if own is None else list(map(operator.add, own, figures))


def totals(profile: Profile, selection: Selection = EVERYTHING) -> Measures:
    """The sums over the stacks that are kept."""
    if not selection:
        return profile.totals()
    sums = [0.0] * 18
    for row in selection.of(profile.rows("stack")):
        sums = list(map(operator.add, sums, row.numbers()))
    return profile.row(("", 0, None), sums, sums).flat
