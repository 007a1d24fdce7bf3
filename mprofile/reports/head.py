# SPDX-License-Identifier: MIT
"""How a profile was recorded, and its totals: the lines above a table."""

from __future__ import annotations

import datetime
from typing import List

from mprofile.profile import Figures, Profile
from mprofile.reports.names import count_range, format_count, format_size, printable, recorded, size_range
from mprofile.reports.styled import Line

__all__ = ["LEVEL", "head", "moment", "sampling", "total_line"]

LEVEL = 0.95


def moment(time_ns: int) -> str:
    """A time in nanoseconds since 1970, as text."""
    try:
        when = datetime.datetime.fromtimestamp(time_ns // 10**9, datetime.timezone.utc)
    except (OSError, OverflowError, ValueError):  # what a damaged file may say
        return "{} ns after 1970".format(time_ns)
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def head(profile: Profile) -> List[Line]:
    """How the profile was recorded, and its totals."""
    meta = profile.meta
    notes = recorded(profile)
    lines: List[Line] = []
    if "command" in notes:
        lines.append([("program    ", "head"), (printable(notes["command"]), "")])
    facts = []
    if meta["time_ns"]:
        facts.append(moment(meta["time_ns"]))
    if "interpreter" in notes:
        facts.append(notes["interpreter"])
    if "pid" in notes:
        facts.append("pid " + notes["pid"])
    if "duration" in notes:
        facts.append("after " + notes["duration"])
    if facts:
        lines.append([("recorded   ", "head"), (printable(", ".join(facts)), "")])
    lines.append([("sampling   ", "head"), (sampling(profile), "")])
    if meta["thinnings"]:
        text = "samples became too many: the mean was doubled {:,} times".format(meta["thinnings"])
        lines.append([("           ", ""), (text, "")])
    if meta["drops"]:
        text = "{:,} samples were lost for want of memory".format(meta["drops"])
        lines.append([("           ", ""), (text, "")])
    totals = profile.totals()
    exact = meta["sample_rate"] <= 1
    for title, figures in (("in use", totals.inuse), ("at peak", totals.peak), ("allocated", totals.allocated)):
        lines.append([("{:<11}".format(title), "head"), *total_line(figures, exact)])
    return lines


def sampling(profile: Profile) -> str:
    meta = profile.meta
    frames = ", stacks of up to {:,} frames".format(meta["max_frames"]) if meta["max_frames"] else ""
    if meta["sample_rate"] <= 1:
        return "none, every block was recorded" + frames
    rate = format_size(meta["sample_rate"]).replace(".0 ", " ")
    return "one sample in {} on average".format(rate) + frames


def total_line(figures: Figures, exact: bool) -> Line:
    size = ("{:>9}".format(format_size(figures.bytes)), "size")
    if exact:
        return [size, (" in {} blocks".format(format_count(figures.blocks)), "")]
    return [
        size,
        (" ({})".format(size_range(*figures.bytes_interval(LEVEL))), "range"),
        (" in {} blocks".format(format_count(figures.blocks)), ""),
        (" ({})".format(count_range(*figures.blocks_interval(LEVEL))), "range"),
        (", from {:,} samples".format(figures.samples), ""),
    ]
