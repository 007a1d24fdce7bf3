# SPDX-License-Identifier: MIT
"""`mprofile leaks`: what has lived for long, from one profile; what keeps growing, from several."""

from __future__ import annotations

import argparse
import os
from typing import Iterator, List, Sequence, Tuple

from mprofile.cli.common import add_color, add_limit, read, show
from mprofile.cli.history import age, listed
from mprofile.cli.parser import Parser
from mprofile.profile import Profile
from mprofile.reports import leaks
from mprofile.reports.styled import Line

USAGE = "mprofile leaks [--older-than AGE] [--by BY] [--limit N] (FILE | DIR | FILE FILE ...)"

DESCRIPTION = """\
Look for leaks. Each FILE is a pprof heap profile that mprofile wrote; DIR is what `mprofile run --history DIR` fills.

one FILE       what in it is older than AGE, by size, and how much of all that the line allocated is still alive
DIR or FILEs   what keeps growing, how fast, from which stack, and why it is suspected; what grew and has settled
"""

EPILOG = """\
AGE is a number of seconds, or has a unit: 90, 60s, 10min, 1h. Files know ages in steps: 1 s, 10 s, 1 min, 10 min, 1 h,
6 h; AGE is rounded up to one of these.

examples:
  mprofile leaks --older-than 10min mprofile.4711.pb.gz
  mprofile leaks first.pb.gz later.pb.gz last.pb.gz
  mprofile run --history profiles server.py        and later, while it runs
  mprofile leaks profiles
"""

#: Most profiles that are read of a directory, spread evenly over the time.
MOMENTS = 25

ROWS = 10


def make_parser() -> Parser:
    parser = Parser("mprofile leaks", USAGE, DESCRIPTION, EPILOG)
    parser.add_argument("files", nargs="+", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument(
        "--older-than",
        type=age,
        default="60s",
        metavar="AGE",
        help="with one FILE: show what has been in use for so long (default: %(default)s)",
    )
    parser.add_argument(
        "--by",
        choices=leaks.BY,
        default="line",
        metavar="BY",
        help="what is looked at: {} (default: %(default)s)".format(", ".join(leaks.BY)),
    )
    add_limit(parser, str(ROWS))
    add_color(parser)
    return parser


def spread(files: Sequence[Tuple[float, str]], most: int) -> List[str]:
    """At most so many of the files, the first, the last, and those nearest to moments evenly between."""
    first, last = files[0][0], files[-1][0]
    chosen = {}
    for step in range(most):
        moment = first + (last - first) * step / (most - 1)
        time, path = min(files, key=lambda item: abs(item[0] - moment))
        chosen[path] = time
    return sorted(chosen, key=lambda path: chosen[path])


def recorded(parser: Parser, paths: Sequence[str]) -> Iterator[Profile]:
    """The profiles of the recording that the last one is of, the last one first.

    A process may have the number of an earlier one, and may record twice.
    """
    recording = None
    for path in reversed(paths):
        if not os.path.exists(path):
            continue  # it has been thinned out since
        profile = read(parser, path)
        if recording is None:
            recording = profile.meta["recording"]
        if profile.meta["recording"] == recording:
            yield profile


def of_directory(parser: Parser, directory: str, by: str, limit: int) -> List[Line]:
    try:
        processes = listed(directory)
    except OSError as error:
        parser.error("cannot read {!r}: {}".format(directory, error.strerror))
    lines: List[Line] = []
    for pid, files in processes.items():
        if len(files) < 2:
            continue
        series = leaks.Series.of(recorded(parser, spread(files, MOMENTS)), by)
        if lines:
            lines.append([])
        if len(processes) > 1:
            lines.append([("process    ", "head"), (str(pid), "")])
        lines += leaks.suspects(series, by, limit)
    if not lines:
        parser.error("{!r} holds no two profiles of one process; DIR is what --history fills".format(directory))
    return lines


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    files: List[str] = options.files
    for name in files:
        if os.path.isdir(name) and len(files) > 1:
            parser.error("{!r} is a directory; give one DIR, or FILEs".format(name))
    by, limit = options.by, options.limit or ROWS
    try:
        if os.path.isdir(files[0]):
            lines = of_directory(parser, files[0], by, limit)
        elif len(files) == 1:
            lines = leaks.survivors(read(parser, files[0]), options.older_than, by, limit)
        else:
            lines = leaks.suspects(leaks.Series.of((read(parser, name) for name in files), by), by, limit)
    except ValueError as error:
        parser.error("{}; give profiles of one process, taken one after the other".format(error))
    return show(lines, options.color)
