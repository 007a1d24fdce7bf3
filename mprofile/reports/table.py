# SPDX-License-Identifier: MIT
"""A profile as a table of plain text.

render() is a pure function of the profile. The figures of a sampled profile are estimates: each size and count stands
with the interval that holds the true one with a probability of 95 %. An exact profile has no such columns.

FLAT    what was allocated in the line, function or file itself; CUM also what was allocated by what it called. Shares
        are of the whole heap by the same measure.
"""

from __future__ import annotations

import datetime
import re
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from mprofile._sizes import UNITS
from mprofile.profile import Figures, Measures, Profile, Row

__all__ = ["BY", "SORTS", "render"]

BY = ("line", "function", "file", "stack")

LEVEL = 0.95
PREFIX = "mprofile: "

# Directories that say nothing to a reader: of installed packages and of the standard library.
_LIBRARY = re.compile(r".*/(?:site-packages|dist-packages|lib(?:64)?/python3\.[0-9]+t?)/(?=.)", re.DOTALL)


class Sort(NamedTuple):
    """A measure to sort by and to show."""

    title: str
    figures: Callable[[Measures], Figures]
    blocks: bool  # counts blocks, not bytes

    def value(self, measures: Measures) -> float:
        figures = self.figures(measures)
        return figures.blocks if self.blocks else figures.bytes

    def interval(self, measures: Measures) -> Tuple[float, float]:
        figures = self.figures(measures)
        return figures.blocks_interval(LEVEL) if self.blocks else figures.bytes_interval(LEVEL)

    def show(self, value: float) -> str:
        return format_count(value) if self.blocks else format_size(value)

    def show_interval(self, interval: Tuple[float, float]) -> str:
        return count_range(*interval) if self.blocks else size_range(*interval)


SORTS: Dict[str, Sort] = {
    "inuse": Sort("memory in use", lambda measures: measures.inuse, False),
    "allocated": Sort("memory ever allocated", lambda measures: measures.allocated, False),
    "peak": Sort("memory in use at the heap's peak", lambda measures: measures.peak, False),
    "count": Sort("blocks in use", lambda measures: measures.inuse, True),
}


def format_count(value: float) -> str:
    return "{:,.0f}".format(value)


def _scale(size: float) -> int:
    """The power of 1024 in which `size` is written: the one that leaves at most three digits before the point."""
    power = 0
    while size >= 1023.95 and power < len(UNITS) - 1:
        size /= 1024
        power += 1
    return power


def format_size(size: float) -> str:
    return size_range(size, size).partition("..")[2]


def size_range(low: float, high: float) -> str:
    """Both ends in the unit of the upper one: 5.9..7.0 MiB."""
    power = _scale(high)
    digits = 1 if power else 0
    return "{:.{}f}..{:.{}f} {}".format(low / 1024**power, digits, high / 1024**power, digits, UNITS[power])


def count_range(low: float, high: float) -> str:
    return "{}..{}".format(format_count(low), format_count(high))


def printable(text: str) -> str:
    """`text` with escapes for what would break a line or a terminal: names come from the program."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def short(filename: str, directory: str) -> str:
    """A file's name for reading: without the directory it was run from, or that of the library it belongs to."""
    if directory and filename.startswith(directory + "/"):
        relative = filename[len(directory) + 1 :]
        if _LIBRARY.match("/" + relative) is None:
            return printable(relative)
    return printable(_LIBRARY.sub("", filename, count=1))


def render(profile: Profile, by: str = "function", sort: str = "inuse", limit: int = 20) -> str:
    """Return head and table, lines ended by newlines.

    by: one of BY; sort: one of SORTS; limit: most rows to show, at least 1. KeyError or ValueError for anything else.
    """
    order = SORTS[sort]
    total = order.value(profile.totals())
    rows = sorted(
        profile.rows(by), key=lambda row: (-order.value(row.flat), -order.value(row.cumulative))
    )
    rows = [row for row in rows if order.value(row.cumulative) > 0]
    exact = profile.meta["sample_rate"] <= 1
    directory = recorded(profile).get("directory", "")
    lines = head(profile)
    lines.append("")
    lines.append("{} by {}{}".format(order.title, by, "" if exact else ", with 95 % intervals"))
    lines.append("")
    shown = rows[:limit]
    if not shown:
        lines.append("  nothing")
    elif by == "stack":
        lines += stacks(shown, order, total, exact, directory)
    else:
        lines += table(shown, by, order, total, exact, directory)
    if len(rows) > len(shown):
        rest = sum(order.value(row.flat) for row in rows[limit:])
        lines.append("")
        lines.append(
            "  {:,} more with {} ({})".format(len(rows) - len(shown), order.show(rest), share(rest, total))
        )
    return "\n".join(lines) + "\n"


def recorded(profile: Profile) -> Dict[str, str]:
    """What `mprofile run` noted in the profile's comments, by key."""
    notes = {}
    for comment in profile.comments:
        key, separator, value = comment.partition("=")
        if comment.startswith(PREFIX) and separator:
            notes[key[len(PREFIX) :]] = value
    return notes


def head(profile: Profile) -> List[str]:
    """How the profile was recorded, and its totals."""
    meta = profile.meta
    notes = recorded(profile)
    lines = []
    if "command" in notes:
        lines.append("program    " + printable(notes["command"]))
    facts = []
    if meta["time_ns"]:
        moment = datetime.datetime.fromtimestamp(meta["time_ns"] // 10**9, datetime.timezone.utc)
        facts.append(moment.strftime("%Y-%m-%d %H:%M:%S UTC"))
    if "interpreter" in notes:
        facts.append(notes["interpreter"])
    if "pid" in notes:
        facts.append("pid " + notes["pid"])
    if "duration" in notes:
        facts.append("after " + notes["duration"])
    if facts:
        lines.append("recorded   " + printable(", ".join(facts)))
    lines.append("sampling   " + sampling(profile))
    if meta["thinnings"]:
        lines.append("           samples became too many: the mean was doubled {:,} times".format(meta["thinnings"]))
    if meta["drops"]:
        lines.append("           {:,} samples were lost for want of memory".format(meta["drops"]))
    totals = profile.totals()
    exact = meta["sample_rate"] <= 1
    for title, figures in (("in use", totals.inuse), ("at peak", totals.peak), ("allocated", totals.allocated)):
        lines.append("{:<11}{}".format(title, total_line(figures, exact)))
    return lines


def sampling(profile: Profile) -> str:
    meta = profile.meta
    frames = ", stacks of up to {:,} frames".format(meta["max_frames"]) if meta["max_frames"] else ""
    if meta["sample_rate"] <= 1:
        return "none, every block was recorded" + frames
    rate = format_size(meta["sample_rate"]).replace(".0 ", " ")
    return "one sample in {} on average".format(rate) + frames


def total_line(figures: Figures, exact: bool) -> str:
    if exact:
        return "{:>9} in {} blocks".format(format_size(figures.bytes), format_count(figures.blocks))
    return "{:>9} ({}) in {} blocks ({}), from {:,} samples".format(
        format_size(figures.bytes),
        size_range(*figures.bytes_interval(LEVEL)),
        format_count(figures.blocks),
        count_range(*figures.blocks_interval(LEVEL)),
        figures.samples,
    )


def share(value: float, total: float) -> str:
    return "{:.1f} %".format(100 * value / total) if total > 0 else "-"


def cells(measures: Measures, order: Sort, total: float, exact: bool) -> List[str]:
    value = order.value(measures)
    interval = [] if exact else [order.show_interval(order.interval(measures))]
    return [order.show(value), *interval, share(value, total)]


def table(rows: Sequence[Row], by: str, order: Sort, total: float, exact: bool, directory: str) -> List[str]:
    interval = [] if exact else ["95 % interval"]
    lines = [["flat", *interval, "share", "cum", *interval, "share"]]
    for row in rows:
        lines.append(cells(row.flat, order, total, exact) + cells(row.cumulative, order, total, exact))
    names = [by] + [where(row, by, directory) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    half = len(widths) // 2
    result = []
    for line, name in zip(lines, names):
        padded = [cell.rjust(width) for cell, width in zip(line, widths)]
        result.append("  {}    {}    {}".format("  ".join(padded[:half]), "  ".join(padded[half:]), name))
    return result


def where(row: Row, by: str, directory: str) -> str:
    place = short(row.filename, directory)
    if row.lineno:
        place += ":{}".format(row.lineno)
    if row.name is None:
        return place
    name = printable(row.name)
    return "{}  {}".format(name, place) if by == "function" else "{}  {}".format(place, name)


def stacks(rows: Sequence[Row], order: Sort, total: float, exact: bool, directory: str) -> List[str]:
    """One paragraph a stack: its figures, then its frames as in a traceback, the most recent last."""
    result: List[str] = []
    for row in rows:
        if result:
            result.append("")
        value, *interval, part = cells(row.flat, order, total, exact)
        ends = " ({})".format(interval[0]) if interval else ""
        result.append("  {}{}, {}".format(value, ends, part))
        for frame in row.frames:
            place = "{}:{}".format(short(frame.filename, directory), frame.lineno)
            result.append("    {}  {}".format(place, printable(frame.name)) if frame.name else "    " + place)
    return result
