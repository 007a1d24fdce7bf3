# SPDX-License-Identifier: MIT
"""The stacks of a profile as paths of functions, for formats of other tools.

Lines inside a function do not tell paths apart here: stacks that differ in them only are one path.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple

from mprofile.profile import Profile
from mprofile.reports.names import printable, recorded, short
from mprofile.reports.table import SORTS

__all__ = ["Function", "Paths", "paths", "title"]


class Function(NamedTuple):
    """name: None if unknown. firstlineno: 0 if unknown."""

    name: Optional[str]
    filename: str
    firstlineno: int

    def shown(self, directory: str) -> str:
        """The name and, in brackets, where it is; without line breaks and what else is not printable."""
        place = self.place(directory)
        return place if self.name is None else "{} ({})".format(printable(self.name), place)

    def place(self, directory: str) -> str:
        place = short(self.filename, directory)
        return "{}:{}".format(place, self.firstlineno) if self.firstlineno else place


class Paths(NamedTuple):
    """functions: by number. values: of each path, a tuple of numbers, outermost function first; all above 0."""

    functions: List[Function]
    values: Dict[Tuple[int, ...], float]
    directory: str
    blocks: bool


def paths(profile: Profile, metric: str) -> Paths:
    """metric: "inuse", "allocated" or "peak", in bytes, or "count", blocks in use."""
    order = SORTS[metric]
    numbers: Dict[Function, int] = {}
    known: Dict[int, int] = {}  # by the frame's id, which is its own while `stacks` is there
    values: Dict[Tuple[int, ...], float] = {}
    stacks = profile.rows("stack")
    for row in stacks:
        value = row.numbers()[order.place]
        if value <= 0:
            continue
        for frame in row.frames:
            if id(frame) not in known:
                function = Function(frame.name, frame.filename, frame.firstlineno or 0)
                known[id(frame)] = numbers.setdefault(function, len(numbers))
        path = tuple([known[id(frame)] for frame in row.frames])
        values[path] = values.get(path, 0.0) + value
    return Paths(list(numbers), values, recorded(profile).get("directory", ""), order.blocks)


def title(profile: Profile, metric: str) -> str:
    """What the numbers are, and of which program."""
    command = recorded(profile).get("command")
    measured = SORTS[metric].title
    return measured if command is None else "{}: {}".format(printable(command), measured)
