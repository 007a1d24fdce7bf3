# SPDX-License-Identifier: MIT
"""How names, sizes and counts are written, and what was noted in a profile's comments. No formatting of tables."""

from __future__ import annotations

import re
from typing import Dict

from mprofile._sizes import UNITS
from mprofile.profile import Profile

__all__ = ["count_range", "format_count", "format_size", "printable", "recorded", "scale", "short", "size_range"]

PREFIX = "mprofile: "

# Directories that say nothing to a reader: of installed packages and of the standard library.
_LIBRARY = re.compile(r".*/(?:site-packages|dist-packages|lib(?:64)?/python3\.[0-9]+t?)/(?=.)", re.DOTALL)


def format_count(value: float) -> str:
    return "{:,.0f}".format(value)


def scale(size: float) -> int:
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
    power = scale(high)
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


def recorded(profile: Profile) -> Dict[str, str]:
    """What `mprofile run` noted in the profile's comments, by key."""
    notes = {}
    for comment in profile.comments:
        key, separator, value = comment.partition("=")
        if comment.startswith(PREFIX) and separator:
            notes[key[len(PREFIX) :]] = value
    return notes
