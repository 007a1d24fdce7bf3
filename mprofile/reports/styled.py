# SPDX-License-Identifier: MIT
"""Lines of text whose parts say what they are: what renderers make, and what a command prints with or without colours.

A line is a list of pairs (text, what it is). What it is: "" or one of KINDS.
"""

from __future__ import annotations

from typing import Iterable, List, Tuple

__all__ = ["KINDS", "Line", "plain", "tail_of"]

Line = List[Tuple[str, str]]

KINDS = ("head", "size", "range", "share", "name", "place", "source", "grew", "shrank", "quiet")


def plain(lines: Iterable[Line]) -> str:
    """The text alone, lines ended by newlines."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def tail_of(text: str, width: int) -> str:
    """At most `width` characters of `text`, from its end: of a path the end says most."""
    return text if len(text) <= width else "\u2026" + text[len(text) - width + 1 :]
