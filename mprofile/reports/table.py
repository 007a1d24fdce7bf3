# SPDX-License-Identifier: MIT
"""A profile as a table of text.

render() is a pure function of the profile (and, if asked for, of source files). The figures of a sampled profile are
estimates: each size and count stands with the interval that holds the true one with a probability of 95 %. An exact
profile has no such columns.

FLAT    what was allocated in the line, function or file itself; CUM also what was allocated by what it called. Shares
        are of the whole heap by the same measure.
"""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from mprofile.profile import Figures, Measures, Profile, Row
from mprofile.reports.groups import BY, EVERYTHING, Selection, rows, totals
from mprofile.reports.head import LEVEL, head, sampling
from mprofile.reports.names import count_range, format_count, format_size, printable, recorded, short, size_range
from mprofile.reports.source import Source
from mprofile.reports.styled import Line, plain, tail_of

__all__ = [
    "BY",
    "COLUMNS",
    "SORTS",
    "Sort",
    "View",
    "WHOLE",
    "count_range",
    "format_size",
    "lines",
    "printable",
    "recorded",
    "render",
    "sampling",
    "selected",
    "share",
    "short",
    "shown_rows",
    "size_range",
    "sorted_rows",
    "where",
]


class Sort(NamedTuple):
    """A measure to sort by and to show. blocks: counts blocks, not bytes. place: among the numbers of a Row."""

    title: str
    figures: Callable[[Measures], Figures]
    blocks: bool
    place: int

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
    "inuse": Sort("memory in use", lambda measures: measures.inuse, False, 0),
    "allocated": Sort("memory ever allocated", lambda measures: measures.allocated, False, 6),
    "peak": Sort("memory in use at the heap's peak", lambda measures: measures.peak, False, 12),
    "count": Sort("blocks in use", lambda measures: measures.inuse, True, 1),
}

#: What a column can show, of the row itself; "cum" or "cum-" and the name: with what it called.
_PLAIN = ("flat", "interval", "share", "inuse", "allocated", "peak", "blocks", "average")
COLUMNS = _PLAIN + tuple("cum" if name == "flat" else "cum-" + name for name in _PLAIN)
DEFAULT = ("flat", "interval", "share", "cum", "cum-interval", "cum-share")
#: Rows that have nothing beyond their own: with these there is no cum.
WHOLE = ("thread", "stack")
#: Columns to leave out one after the other where there is little room, and the room that a name shall have.
_SPARE = ("cum-interval", "cum-share", "share", "interval")
_NAME_ROOM = 24

_TITLES = {"interval": "95 % interval", "inuse": "in use", "peak": "at peak"}


class View(NamedTuple):
    """What to show of a profile, and how.

    by: one of BY. sort: one of SORTS. limit: most rows, None: all. cumulative: sort by what rows have with what they
    called. columns: some of COLUMNS; None: the usual ones, as many as there is room for. source: show lines of source
    code. width: columns of the terminal; None: as wide as it gets. all_rows: also those that have
    nothing by this measure. least: smallest value, of what is sorted by, of a row that is shown.
    """

    by: str = "function"
    sort: str = "inuse"
    limit: Optional[int] = 20
    selection: Selection = EVERYTHING
    cumulative: bool = False
    columns: Optional[Sequence[str]] = None
    source: bool = False
    width: Optional[int] = None
    all_rows: bool = False
    least: float = 0.0


def render(profile: Profile, by: str = "function", sort: str = "inuse", limit: int = 20) -> str:
    """Return head and table, lines ended by newlines.

    by: one of BY; sort: one of SORTS; limit: most rows to show, at least 1. KeyError or ValueError for anything else.
    """
    return plain(lines(profile, View(by, sort, limit)))


def sorted_rows(profile: Profile, view: View) -> List[Row]:
    """The rows in the view's order."""
    place = SORTS[view.sort].place
    ranked = []
    for row in rows(profile, view.by, view.selection):
        values = (row.numbers()[place], row.numbers(cumulative=True)[place])
        if values[1] > 0 or view.all_rows:
            ranked.append((values[::-1] if view.cumulative else values, row))
    # The core has its rows in an order of their own among equals; those that are made of stacks have none.
    ranked.sort(key=lambda pair: (-pair[0][0], -pair[0][1], pair[1].filename, pair[1].lineno, pair[1].name or ""))
    return [row for _, row in ranked]


def shown_rows(rows: Sequence[Row], view: View) -> Sequence[Row]:
    """Of sorted rows those to show, from the first on."""
    rows = rows[: view.limit]
    if not view.least:
        return rows
    place = SORTS[view.sort].place
    return [row for row in rows if row.numbers(view.cumulative)[place] >= view.least]


def lines(profile: Profile, view: View) -> List[Line]:
    """Return head and table."""
    order = SORTS[view.sort]
    exact = profile.meta["sample_rate"] <= 1
    directory = recorded(profile).get("directory", "")
    total = order.value(profile.totals())
    found = sorted_rows(profile, view)
    result = head(profile)
    if view.selection:
        result.append(selected(profile, view.selection, order, total, exact))
    result.append([])
    result.append([("{} by {}{}".format(order.title, view.by, "" if exact else ", with 95 % intervals"), "head")])
    result.append([])
    shown = shown_rows(found, view)
    if not shown:
        result.append([("  nothing", "")])
    elif view.by == "stack":
        result += stacks(profile, shown, view, total, exact, directory)
    else:
        result += table(profile, shown, view, total, exact, directory)
    if len(found) > len(shown):
        rest = sum(row.numbers()[order.place] for row in found[len(shown) :])
        text = "  {:,} more with {} ({})".format(len(found) - len(shown), order.show(rest), share(rest, total))
        result += [[], [(text, "quiet")]]
    return result


def selected(profile: Profile, selection: Selection, order: Sort, total: float, exact: bool) -> Line:
    """How much of the heap the stacks have that are kept."""
    measures = totals(profile, selection)
    value = order.value(measures)
    line = [("{:<11}".format("selected"), "head"), ("{:>9}".format(order.show(value)), "size")]
    if not exact:
        line.append((" ({})".format(order.show_interval(order.interval(measures))), "range"))
    words = []
    if selection.focus is not None:
        words.append("with {}".format(printable(repr(selection.focus.pattern))))
    if selection.ignore is not None:
        words.append("without {}".format(printable(repr(selection.ignore.pattern))))
    line.append((", {} of {}: stacks {}".format(share(value, total), order.title, " and ".join(words)), ""))
    return line


def share(value: float, total: float) -> str:
    return "{:.1f} %".format(100 * value / total) if total > 0 else "-"


def cells(measures: Measures, order: Sort, total: float, exact: bool) -> List[str]:
    value = order.value(measures)
    interval = [] if exact else [order.show_interval(order.interval(measures))]
    return [order.show(value), *interval, share(value, total)]


def cell(row: Row, column: str, order: Sort, total: float) -> Tuple[str, str]:
    """The text of one column, and what it is."""
    measures = row.cumulative if column.startswith("cum") else row.flat
    name = column[4:] if column.startswith("cum-") else column
    figures = order.figures(measures)
    if name in ("flat", "cum"):
        return order.show(order.value(measures)), "size"
    if name == "interval":
        return order.show_interval(order.interval(measures)), "range"
    if name == "share":
        return share(order.value(measures), total), "share"
    if name == "blocks":
        return format_count(figures.blocks), ""
    if name == "average":
        return format_size(figures.bytes / figures.blocks) if figures.blocks > 0 else "-", ""
    one: Figures = getattr(measures, name)
    return format_size(one.bytes), "size"


def title_of(column: str) -> str:
    if column in ("cum-interval", "cum-share"):
        column = column[4:]  # they stand beside "cum"
    prefix, _, name = column.rpartition("-")
    return (prefix + " " if prefix else "") + _TITLES.get(name, name)


def table(profile: Profile, found: Sequence[Row], view: View, total: float, exact: bool, directory: str) -> List[Line]:
    order = SORTS[view.sort]
    columns = list(DEFAULT if view.columns is None else view.columns)
    if view.columns is None and view.by in WHOLE:
        columns = [name for name in columns if not name.startswith("cum")]
    if exact:
        columns = [name for name in columns if not name.endswith("interval")]
    body = {name: [cell(row, name, order, total) for row in found] for name in columns}
    widths = {name: max([len(title_of(name))] + [len(text) for text, _ in body[name]]) for name in columns}
    if view.columns is None and view.width is not None:
        for name in _SPARE:
            if name in columns and sum(widths[one] + 2 for one in columns) + 6 + _NAME_ROOM > view.width:
                columns.remove(name)

    def row_line(texts: Sequence[Tuple[str, str]]) -> Line:
        line: Line = []
        before = None
        for name, (text, what) in zip(columns, texts):
            cumulative = name.startswith("cum")
            gap = "    " if before is not None and before != cumulative else "  "
            before = cumulative
            line.append((gap, ""))
            line.append((text.rjust(widths[name]), what))
        return line

    names = [where(row, view.by, directory) for row in found]
    sources = ["" for _ in found]
    if view.source and view.by == "line":
        source = Source(profile)
        sources = [source.line(row.filename, row.lineno) for row in found]
    column = min(60, max(sum(len(text) for text, _ in name) for name in names))
    result = [[*row_line([(title_of(name), "head") for name in columns]), ("    ", ""), (view.by, "head")]]
    for number, (name_line, text) in enumerate(zip(names, sources)):
        line = [*row_line([body[name][number] for name in columns]), ("    ", ""), *name_line]
        if text:
            used = sum(len(part) for part, _ in name_line)
            line.append((" " * max(0, column - used) + "  | " + text, "source"))
        result.append(line)
    return result


def where(row: Row, by: str, directory: str) -> Line:
    if by in ("module", "package") or (by == "thread" and not row.filename):
        return [(printable(row.name or ""), "name")]
    place = short(row.filename, directory)
    if row.lineno:
        place += ":{}".format(row.lineno)
    if row.name is None:
        return [(place, "place")]
    name = (printable(row.name), "name")
    if by in ("function", "thread"):
        return [name, ("  ", ""), (place, "place")]
    return [(place, "place"), ("  ", ""), name]


def stacks(profile: Profile, found: Sequence[Row], view: View, total: float, exact: bool, directory: str) -> List[Line]:
    """One paragraph a stack: its figures, then its frames as in a traceback, the most recent last."""
    order = SORTS[view.sort]
    source = Source(profile) if view.source else None
    result: List[Line] = []
    for row in found:
        if result:
            result.append([])
        value, *interval, part = cells(row.flat, order, total, exact)
        line = [("  ", ""), (value, "size")]
        if interval:
            line.append((" ({})".format(interval[0]), "range"))
        result.append([*line, (", ", ""), (part, "share")])
        for frame in row.frames:
            place = "{}:{}".format(short(frame.filename, directory), frame.lineno)
            line = [("    ", ""), (place if view.width is None else tail_of(place, view.width - 4), "place")]
            if frame.name:
                line += [("  ", ""), (printable(frame.name), "name")]
            text = source.line(frame.filename, frame.lineno) if source is not None else ""
            if text:
                line.append(("  | " + text, "source"))
            result.append(line)
    return result
