# SPDX-License-Identifier: MIT
"""What `mprofile top` shows: one screen of text about a recording as it is now. Pure functions.

    view = View.of(profile, "line", base)        once a new profile has been read
    screen(view, Look(...), width, height)       once anything has changed
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from mprofile.profile import Profile
from mprofile.reports import facts
from mprofile.reports.growth import Key, key_of
from mprofile.reports.head import sampling
from mprofile.reports.names import format_size, printable, recorded, short, size_range
from mprofile.reports.styled import Line, tail_of

__all__ = ["BY", "KEYS", "SORTS", "Look", "View", "screen", "sparkline"]

BY = ("line", "function", "file")
SORTS = ("size", "growth", "allocated", "peak")  # as the fields of Item
KEYS = "q quit   p pause   s g a k sort by size growth allocated peak   b by   r reset growth"
SHORT_KEYS = "q quit  p pause  s g a k sort  b by  r reset"

BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
PLAIN_BARS = "_.-~=+*#"

Point = Tuple[float, int, int]


class Item(NamedTuple):
    """One row: bytes."""

    place: str
    name: Optional[str]
    size: float
    interval: Tuple[float, float]
    growth: float
    allocated: float
    peak: float


class View(NamedTuple):
    """One profile, as far as it is shown. base: bytes in use by row when viewing began."""

    by: str
    items: List[Item]
    base: Dict[Key, float]
    total: float
    total_interval: Tuple[float, float]
    total_base: float
    exact: bool
    sampling: str
    notes: Dict[str, str]
    history: List[Point]
    time: float

    @classmethod
    def of(cls, profile: Profile, by: str, base: Optional[Tuple[float, Dict[Key, float]]] = None) -> View:
        """base: bytes in use in all and by row, to compare with; None: this profile is where growth begins."""
        rows = profile.rows(by)
        inuse = profile.totals().inuse
        if base is None:
            base = (inuse.bytes, {key_of(row, by): row.flat.inuse.bytes for row in rows})
        notes = recorded(profile)
        directory = notes.get("directory", "")
        items = []
        for row in rows:
            now, allocated, peak = row.flat
            place = short(row.filename, directory) + (":{}".format(row.lineno) if row.lineno else "")
            grown = now.bytes - base[1].get(key_of(row, by), 0.0)
            name = None if row.name is None else printable(row.name)
            items.append(Item(place, name, now.bytes, now.bytes_interval(), grown, allocated.bytes, peak.bytes))
        meta = profile.meta
        return cls(
            by,
            items,
            base[1],
            inuse.bytes,
            inuse.bytes_interval(),
            base[0],
            meta["sample_rate"] <= 1,
            sampling(profile),
            notes,
            facts.history(profile),
            meta["time_ns"] / 1e9,
        )


class Look(NamedTuple):
    """How a view is shown. status: what the process does; resident: bytes, None if only the profile tells."""

    sort: str = "size"
    status: str = "running"
    resident: Optional[int] = None
    message: str = ""
    unicode: bool = True


def signed(size: float) -> str:
    return ("+" if size >= 0 else "-") + format_size(abs(size))


def sparkline(points: Sequence[Tuple[float, float]], width: int, bars: str = BARS) -> str:
    """The values (time, value) over time in `width` characters, from 0 to the largest; the largest of each part."""
    if not points or width < 1:
        return ""
    first, last = points[0][0], points[-1][0]
    most = max(value for _, value in points)
    tops: List[Optional[float]] = [None] * width
    for time, height in points:
        at = min(width - 1, int((time - first) / (last - first) * width)) if last > first else width - 1
        before = tops[at]
        tops[at] = height if before is None else max(before, height)
    text = ""
    value: Optional[float] = 0.0 if last > first else None  # what was last known holds until something else is
    for top in tops:
        value = top if top is not None else value
        if value is None:
            text += " "
        else:
            text += bars[min(len(bars) - 1, int(value / most * len(bars)))] if most > 0 else bars[0]
    return text


def _curves(view: View, look: Look, width: int) -> List[Line]:
    bars = BARS if look.unicode else PLAIN_BARS
    history = view.history
    interval = "" if view.exact else " ({})".format(size_range(*view.total_interval))
    heap: Line = [("heap  ", "head"), ("{:>10}".format(format_size(view.total)), "size"), (interval, "range")]
    growth = view.total - view.total_base
    heap += [(" {}".format(signed(growth)), "grew" if growth > 0 else "shrank"), (" since viewing", "quiet")]
    resident = look.resident if look.resident is not None else (history[-1][2] if history else None)
    shown = format_size(resident) if resident else "unknown"
    lines: List[Line] = [heap, [("rss   ", "head"), ("{:>10}".format(shown), "size")]]
    room = width - max(sum(len(text) for text, _ in line) for line in lines) - 2
    if len(history) > 1 and room >= 8:
        for which, line in ((1, lines[0]), (2, lines[1])):
            used = sum(len(text) for text, _ in line)
            curve = sparkline([(point[0], float(point[which])) for point in history], min(room, 60), bars)
            line.append((" " * (width - used - len(curve)) + curve, "place"))
    return lines


def _table(view: View, look: Look, width: int, room: int) -> List[Line]:
    by_value = sorted((-float(getattr(item, look.sort)), item.place, item) for item in view.items)
    items = [item for negative, _, item in by_value if negative < 0]
    last = "peak" if look.sort == "peak" else "allocated"
    wide = width >= 72 and not view.exact
    head = "{:>10}".format("size") + ("  {:>16}".format("95 % interval") if wide else "")
    head += "  {:>10}  {:>10}".format("growth", last)
    lines: List[Line] = [[(head, "head"), ("  " + view.by, "head")]]
    for item in items[:room]:
        line: Line = [("{:>10}".format(format_size(item.size)), "size")]
        if wide:
            line.append(("  {:>16}".format(size_range(*item.interval)), "range"))
        style = "grew" if item.growth > 0 else "shrank" if item.growth < 0 else "quiet"
        line.append(("  {:>10}".format(signed(item.growth) if item.growth else "0 B"), style))
        line.append(("  {:>10}".format(format_size(item.peak if last == "peak" else item.allocated)), ""))
        left = width - sum(len(text) for text, _ in line) - 2
        name = item.name or ""
        place = tail_of(item.place, max(8, left - (len(name) + 2 if name else 0)))
        line += [("  " + place, "place"), ("  " + name if name else "", "name")]
        lines.append(line)
    if not items:
        lines.append([("{:>10}".format("nothing"), "quiet")])
    return lines


def screen(view: View, look: Look, width: int, height: int) -> List[Line]:
    """Return what is shown, at most `height` lines; the caller cuts them at `width`."""
    notes = view.notes
    command = printable(notes.get("command", "an unnamed program"))
    title = "pid {}  ".format(printable(notes["pid"])) if "pid" in notes else ""
    lasted = "  after {}".format(printable(notes["duration"])) if "duration" in notes else ""
    status = [(look.status, "grew" if look.status.startswith("ended") else "head"), (lasted, "quiet")]
    used = len(title) + sum(len(text) for text, _ in status) + 2
    if len(command) > width - used:
        command = command[: max(0, width - used - 3)] + "..."
    lines: List[Line] = [[(title, "head"), (command, ""), ("  ", ""), *status]]
    lines += _curves(view, look, width)
    lines.append([("{}; sorted by {}".format(view.sampling, look.sort), "quiet")])
    lines.append([])
    lines += _table(view, look, width, max(0, height - len(lines) - 2))
    lines = lines[: max(0, height - 1)]
    lines += [[] for _ in range(height - 1 - len(lines))]
    keys = KEYS if len(KEYS) <= width else SHORT_KEYS
    lines.append([(look.message or keys, "grew" if look.message else "quiet")])
    return lines[-height:] if height > 0 else []
