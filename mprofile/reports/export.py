# SPDX-License-Identifier: MIT
"""Rows of a profile as JSON and as CSV, for programs. Sizes are bytes, and all figures are rounded to whole numbers.

The interval of a figure holds the true one with a probability of 95 %; of an exact figure both ends are the figure.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Dict, List, Sequence

from mprofile.profile import Figures, Measures, Profile, Row
from mprofile.reports.calltree import Node, build
from mprofile.reports.groups import totals
from mprofile.reports.head import LEVEL
from mprofile.reports.names import recorded
from mprofile.reports.table import WHOLE, View, shown_rows, sorted_rows

__all__ = ["dump", "how_recorded", "measures_of", "place_of", "rows_csv", "rows_json", "spreadsheet", "tree_json"]

_MEASURES = ("inuse", "allocated", "peak")


def dump(value: Any) -> str:
    """JSON, two spaces an indentation; characters beyond ASCII are escaped, so any encoding will do."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def whole(interval: Sequence[float]) -> List[int]:
    return [round(end) for end in interval]


def figures_of(figures: Figures) -> Dict[str, Any]:
    return {
        "bytes": round(figures.bytes),
        "bytes_interval": whole(figures.bytes_interval(LEVEL)),
        "blocks": round(figures.blocks),
        "blocks_interval": whole(figures.blocks_interval(LEVEL)),
        "samples": figures.samples,
    }


def measures_of(measures: Measures) -> Dict[str, Any]:
    return {name: figures_of(getattr(measures, name)) for name in _MEASURES}


def how_recorded(profile: Profile) -> Dict[str, Any]:
    """What the profile says about itself; history is left out."""
    meta = profile.meta
    notes = {key: value for key, value in recorded(profile).items() if key != "history"}
    return {
        "notes": notes,
        "time_ns": meta["time_ns"],
        "start_ns": meta["start_ns"],
        "peak_ns": meta["peak_ns"],
        "sample_rate": meta["sample_rate"],
        "exact": meta["sample_rate"] <= 1,
        "max_frames": meta["max_frames"],
        "drops": meta["drops"],
        "thinnings": meta["thinnings"],
    }


def place_of(row: Row, by: str) -> Dict[str, Any]:
    """What a row is, by those attributes that its kind has."""
    if by in ("module", "package"):
        return {by: row.name}
    if by == "file":
        return {"file": row.filename}
    if by == "thread":
        return {"thread": row.name, "file": row.filename, "line": row.lineno}
    if by == "stack":
        return {"stack": [{"file": one.filename, "line": one.lineno, "function": one.name} for one in row.frames]}
    return {"file": row.filename, "line": row.lineno, "function": row.name}


def rows_json(profile: Profile, view: View) -> str:
    """An object with how it was recorded, totals and rows. Flat and cumulative are one thing for stacks and threads."""
    rows = []
    for row in shown_rows(sorted_rows(profile, view), view):
        one = place_of(row, view.by)
        one["flat"] = measures_of(row.flat)
        if view.by not in WHOLE:
            one["cumulative"] = measures_of(row.cumulative)
        rows.append(one)
    return dump(
        {
            "profile": how_recorded(profile),
            "by": view.by,
            "sort": view.sort,
            "level": LEVEL,
            "totals": measures_of(profile.totals()),
            "selected": measures_of(totals(profile, view.selection)),
            "rows": rows,
        }
    )


def tree_json(profile: Profile, view: View) -> str:
    """The whole call tree, unfolded: nodes have what they are, cumulative and flat figures, and children."""

    def node_of(node: Node, root: bool) -> Dict[str, Any]:
        row = node.row(profile)
        one: Dict[str, Any] = {} if root else place_of(row, view.by)
        one["cumulative"] = measures_of(row.cumulative)
        one["flat"] = measures_of(row.flat)
        one["children"] = []
        return one

    tree = build(profile, view)
    top = node_of(tree, True)
    waiting = [(tree, top)]
    while waiting:
        node, place = waiting.pop()
        children = sorted(node.children.values(), key=lambda one: -one.value(view.sort))
        for child in children:
            one = node_of(child, False)
            place["children"].append(one)
            waiting.append((child, one))
    return flat_dump({"profile": how_recorded(profile), "by": view.by, "sort": view.sort, "level": LEVEL, "tree": top})


def flat_dump(value: Any) -> str:
    """JSON of deep nesting, which json.dumps() gives up on: a tree's nodes are written one by one."""
    parts: List[str] = []
    waiting: List[Any] = [(value,)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            parts.append(one)
            continue
        (item,) = one
        nested = isinstance(item, dict) and ("children" in item or "tree" in item)
        if not nested:
            parts.append(json.dumps(item, allow_nan=False))
            continue
        todo: List[Any] = ["{"]
        for number, (key, inner) in enumerate(item.items()):
            todo.append(("," if number else "") + json.dumps(key) + ":")
            if key == "children":
                todo.append("[")
                for place, child in enumerate(inner):
                    todo += [",", (child,)] if place else [(child,)]
                todo.append("]")
            else:
                todo.append((inner,))
        todo.append("}")
        waiting += reversed(todo)
    return "".join(parts) + "\n"


def spreadsheet(header: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    """CSV as RFC 4180 has it, but for the end of a line: that is a newline."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_safe(item) for item in line] for line in body)
    return text.getvalue()


def _safe(item: Any) -> Any:
    """Names come from the program: a spreadsheet must not take one for a formula."""
    if isinstance(item, str) and item[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + item
    return "" if item is None else item


def stack_text(row: Row) -> str:
    return ";".join(
        "{} ({}:{})".format(one.name, one.filename, one.lineno)
        if one.name
        else "{}:{}".format(one.filename, one.lineno)
        for one in row.frames
    )


def rows_csv(profile: Profile, view: View) -> str:
    """One line a row. Columns: what it is; then flat and, where rows_json() has them, cumulative figures by measure."""
    kinds = ("flat",) if view.by in WHOLE else ("flat", "cumulative")
    figures = ("bytes", "bytes_low", "bytes_high", "blocks", "blocks_low", "blocks_high", "samples")
    names = ["{}_{}_{}".format(kind, measure, name) for kind in kinds for measure in _MEASURES for name in figures]
    body = []
    places: List[str] = []
    for row in shown_rows(sorted_rows(profile, view), view):
        place = {"stack": stack_text(row)} if view.by == "stack" else place_of(row, view.by)
        places = list(place)
        line: List[Any] = list(place.values())
        for kind in kinds:
            measures: Measures = getattr(row, kind)
            for measure in _MEASURES:
                one = figures_of(getattr(measures, measure))
                line += [one["bytes"], *one["bytes_interval"], one["blocks"], *one["blocks_interval"], one["samples"]]
        body.append(line)
    if not body:
        places = [view.by]
    return spreadsheet([*places, *names], body)
