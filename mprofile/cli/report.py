# SPDX-License-Identifier: MIT
"""`mprofile report`: prints where the memory of a profile was allocated."""

from __future__ import annotations

import argparse
import io
import os
import sys
from typing import Sequence

from mprofile.cli.parser import Parser
from mprofile.profile import Profile
from mprofile.reports import table

USAGE = "mprofile report [--by BY] [--sort SORT] [--limit N] FILE"

DESCRIPTION = """\
Print where the memory of a profile was allocated. FILE is a pprof heap profile; - reads it from standard input.

flat   allocated in the line, function or file itself
cum    also what it called
"""

EPILOG = """\
examples:
  mprofile report mprofile.4711.pb.gz
  mprofile report --by stack --limit 3 heap.pb.gz
  mprofile report --by file --sort peak heap.pb.gz
"""


def row_count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("{!r} is not a whole number of rows, 1 or more".format(text))
    return int(text)


def make_parser() -> Parser:
    parser = Parser("mprofile report", USAGE, DESCRIPTION, EPILOG)
    parser.add_argument("file", metavar="FILE")
    parser.add_argument(
        "--by",
        choices=table.BY,
        default="function",
        metavar="BY",
        help="what a row is: {} (default: %(default)s)".format(", ".join(table.BY)),
    )
    parser.add_argument(
        "--sort",
        choices=list(table.SORTS),
        default="inuse",
        metavar="SORT",
        help="the measure to show and to sort by: {} (default: %(default)s)".format(", ".join(table.SORTS)),
    )
    parser.add_argument(
        "--limit", type=row_count, default=20, metavar="N", help="most rows to print (default: %(default)s)"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    shown = "standard input" if options.file == "-" else repr(options.file)
    try:
        profile = Profile.read(sys.stdin.buffer if options.file == "-" else options.file)
    except OSError as error:
        parser.error("cannot read {}: {}; FILE must be a pprof heap profile".format(shown, error.strerror))
    except ValueError as error:
        parser.error("{}; FILE must be a pprof heap profile".format(error))
    return put(table.render(profile, options.by, options.sort, options.limit))


def put(text: str) -> int:
    """Write to stdout whatever its encoding. Returns the exit status: 1 if the reader has gone (`| head`)."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0
