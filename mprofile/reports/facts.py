# SPDX-License-Identifier: MIT
"""How a profile was recorded, what is in it, and how much of the process's memory it explains.

RESIDENT A recording notes heap and resident memory over time. What is resident beyond the heap of the profile is the
        interpreter and its shared libraries, what C extensions allocate without Python's allocators, stacks of threads,
        and memory that was freed but not returned to the system. The share can be above 100 %: memory that was
        allocated and never written to is not resident.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from mprofile.profile import Profile
from mprofile.recording import heap_history
from mprofile.reports.export import dump, how_recorded, measures_of
from mprofile.reports.head import LEVEL, moment, sampling, total_line
from mprofile.reports.names import format_size, printable, recorded
from mprofile.reports.styled import Line

__all__ = ["Resident", "as_json", "history", "lines", "resident"]

PREFIX = "mprofile: "
_MOST = 1 << 62
REST = "interpreter, shared libraries, C extensions' own memory, freed but not returned"


class Resident(NamedTuple):
    """bytes: resident when the profile was written last; most: at its highest. share: of it that the heap explains,
    with the ends of its 95 % interval. 1.0 is all."""

    bytes: int
    most: int
    share: float
    low: float
    high: float


def history(profile: Profile) -> List[Tuple[float, int, int]]:
    """Points (seconds since 1970, bytes of heap, bytes resident); none if the file has none or they are damaged."""
    try:
        points = heap_history(profile.comments)
    except (OverflowError, ValueError):
        return []
    return points if all(0 <= number < _MOST for point in points for number in point) else []


def resident(profile: Profile) -> Optional[Resident]:
    """None if the file does not say what was resident."""
    points = history(profile)
    if not points or points[-1][2] <= 0:
        return None
    last = points[-1][2]
    inuse = profile.totals().inuse
    low, high = inuse.bytes_interval(LEVEL)
    return Resident(last, max(point[2] for point in points), inuse.bytes / last, low / last, high / last)


def contents(profile: Profile) -> Dict[str, int]:
    stacks = profile.rows("stack")
    most = profile.meta["max_frames"]
    return {
        "stacks": len(stacks),
        "functions": len(profile.rows("function")),
        "files": len(profile.rows("file")),
        "deepest_stack": max([len(row.frames) for row in stacks] or [0]),
        "stacks_at_limit": sum(1 for row in stacks if most and len(row.frames) >= most),
    }


def lines(profile: Profile) -> List[Line]:
    meta = profile.meta
    notes = {key: printable(value) for key, value in recorded(profile).items()}
    exact = meta["sample_rate"] <= 1
    totals = profile.totals()
    facts: List[Tuple[str, Line]] = []

    def fact(word: str, text: str) -> None:
        facts.append((word, [(text, "")]))

    for word, key in (("program", "command"), ("directory", "directory"), ("interpreter", "interpreter")):
        if key in notes:
            fact(word, notes[key])
    if "pid" in notes:
        fact("process", notes["pid"] + (", forked by {}".format(notes["parent"]) if "parent" in notes else ""))
    if "merged" in notes:
        fact("merged", "sum of {}".format(notes["merged"]))
    if meta["start_ns"]:
        fact("began", moment(meta["start_ns"]))
    if meta["time_ns"]:
        fact("recorded", moment(meta["time_ns"]) + _when(notes))
    seconds = _duration(profile, notes)
    if seconds:
        fact("duration", seconds)
    if meta["peak_ns"]:
        fact("peak", moment(meta["peak_ns"]))
    fact("sampling", sampling(profile))
    fact(
        "samples",
        "{:,} in use, {:,} at the peak, {:,} allocated".format(
            totals.inuse.samples, totals.peak.samples, totals.allocated.samples
        ),
    )
    fact("lost", "{:,} samples for want of memory".format(meta["drops"]) if meta["drops"] else "no samples")
    if meta["thinnings"]:
        fact("thinned", "samples became too many: the mean was doubled {:,} times".format(meta["thinnings"]))
    if "failures" in notes:
        fact(
            "failures", "{} writes of the file failed, the last: {}".format(notes["failures"], notes.get("failure", ""))
        )
    held = contents(profile)
    fact("contents", "{stacks:,} stacks of {functions:,} functions in {files:,} files".format(**held))
    deepest = "{:,} frames".format(held["deepest_stack"])
    if held["stacks_at_limit"]:
        deepest += "; stacks with as many as are kept, which may be cut: {:,}".format(held["stacks_at_limit"])
    fact("deepest", deepest)
    for word, figures in (("in use", totals.inuse), ("at peak", totals.peak), ("allocated", totals.allocated)):
        (size, what), *rest = total_line(figures, exact)
        facts.append((word, [(size.strip(), what), *rest]))
    seen = resident(profile)
    if seen is not None:
        fact("resident", format_size(seen.bytes))
        facts.append(("", explanation(seen, exact)))
        part = 100 * totals.peak.bytes / seen.most
        fact("", "at most {}; the heap's peak is {:.0f} % of that".format(format_size(seen.most), part))
    points = history(profile)
    if len(points) > 1:
        fact("history", "{:,} points in {:.0f} s".format(len(points), points[-1][0] - points[0][0]))
    for comment in profile.comments:
        if not comment.startswith(PREFIX):
            fact("comment", printable(comment))
    width = max(len(word) for word, _ in facts) + 2
    return [[(word.ljust(width), "head"), *line] for word, line in facts]


def explanation(seen: Resident, exact: bool) -> Line:
    """How much of the resident memory the heap is."""
    line: Line = [("the heap explains ", ""), ("{:.0f} %".format(100 * seen.share), "size")]
    if not exact:
        line.append((" ({:.0f}..{:.0f} %)".format(100 * seen.low, 100 * seen.high), "range"))
    if seen.share > 1:
        return [*line, (" of it: some of what was allocated was never written to", "")]
    return [*line, (" of it; the rest: {}".format(REST), "")]


def _when(notes: Dict[str, str]) -> str:
    state = {"running": ", while the program ran", "final": ", at its end"}.get(notes.get("state", ""), "")
    if state and "publications" in notes:
        state += ", write {}".format(notes["publications"])
    return state


def _duration(profile: Profile, notes: Dict[str, str]) -> str:
    if "duration" in notes:
        return notes["duration"]
    passed = profile.meta["time_ns"] - profile.meta["start_ns"]
    return "{:.1f} s".format(passed / 1e9) if profile.meta["start_ns"] and passed > 0 else ""


def as_json(profile: Profile) -> str:
    """An object with all of it. Sizes are bytes, times of the history are seconds since 1970."""
    seen = resident(profile)
    value: Dict[str, Any] = {
        "profile": how_recorded(profile),
        "totals": measures_of(profile.totals()),
        "contents": contents(profile),
        "resident": None
        if seen is None
        else {
            "bytes": seen.bytes,
            "most": seen.most,
            "explained": round(seen.share, 4),
            "explained_interval": [round(seen.low, 4), round(seen.high, 4)],
        },
        "history": [list(point) for point in history(profile)],
        "comments": [comment for comment in profile.comments if not comment.startswith(PREFIX)],
    }
    return dump(value)
