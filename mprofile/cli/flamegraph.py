# SPDX-License-Identifier: MIT
"""`mprofile flamegraph`: makes a page to look into a profile with a browser."""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import sys
import webbrowser
from typing import List, Optional, Sequence

from mprofile._files import write_file
from mprofile.cli.parser import Parser
from mprofile.profile import Profile
from mprofile.reports import flamegraph, table

USAGE = """\
mprofile flamegraph [-o OUT.html] [OPTION ...] FILE
       mprofile flamegraph [-o OUT.html] [OPTION ...] --diff OLD NEW"""

DESCRIPTION = """\
Make a page that shows where the memory of a profile was allocated: flame graph, table, callers and callees.
It is one file that needs no network. FILE, OLD and NEW are pprof heap profiles; - reads standard input.
"""

EPILOG = """\
examples:
  mprofile flamegraph mprofile.4711.pb.gz
  mprofile flamegraph --metric peak --open heap.pb.gz
  mprofile flamegraph --diff -o growth.html before.pb.gz after.pb.gz
"""

_SUFFIX = re.compile(r"(\.pb\.gz|\.pb|\.pprof\.gz|\.pprof|\.gz)\Z")


def percentage(text: str) -> float:
    try:
        value = float(text[:-1] if text.endswith("%") else text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 100.0:
        raise argparse.ArgumentTypeError("{!r} is not a number of per cent from 0 to 100".format(text))
    return value


def make_parser() -> Parser:
    parser = Parser("mprofile flamegraph", USAGE, DESCRIPTION, EPILOG)
    parser.add_argument("files", metavar="FILE", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--diff", action="store_true", help="show what changed from the profile OLD to the profile NEW")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT.html",
        help="the page to write, - for standard output (default: FILE's name with .html, in this directory)",
    )
    parser.add_argument(
        "--metric",
        choices=list(flamegraph.METRICS),
        default="inuse",
        metavar="METRIC",
        help="what the page shows first: {} (default: %(default)s)".format(", ".join(flamegraph.METRICS)),
    )
    parser.add_argument("--title", help="heading of the page (default: the program's command line)")
    parser.add_argument(
        "--threshold",
        type=percentage,
        metavar="PCT",
        help="fold stacks below this share of the whole, in per cent (default: only as far as there are too many)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    return parser


def default_output(file: str) -> str:
    return "-" if file == "-" else _SUFFIX.sub("", os.path.basename(file)) + ".html"


def read(parser: Parser, file: str) -> Profile:
    shown = "standard input" if file == "-" else repr(file)
    try:
        return Profile.read(sys.stdin.buffer if file == "-" else file)
    except OSError as error:
        parser.error("cannot read {}: {}; FILE must be a pprof heap profile".format(shown, error.strerror))
    except ValueError as error:
        parser.error("{}; FILE must be a pprof heap profile".format(error))


def put(parser: Parser, output: str, page: bytes, show: bool) -> int:
    """Write the page. Returns the exit status: 1 if the reader of a pipe has gone."""
    if output == "-":
        try:
            sys.stdout.buffer.write(page)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # The interpreter flushes once more at its end: let that go nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        return 0
    try:
        write_file(output, page)
    except OSError as error:
        parser.error("cannot write {!r}: {}; OUT.html must be a file's name".format(output, error.strerror))
    print("mprofile: wrote {}".format(table.printable(output)), file=sys.stderr)
    if show and not webbrowser.open(pathlib.Path(output).absolute().as_uri()):
        print("mprofile: found no browser to open it", file=sys.stderr)
    return 0


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    files: List[str] = options.files
    if options.diff and len(files) != 2:
        parser.error("--diff takes two files, OLD and NEW, not {}".format(len(files)))
    if not options.diff and len(files) != 1:
        parser.error("one FILE makes a page, not {}; for the difference of two: --diff OLD NEW".format(len(files)))
    if files.count("-") > 1:
        parser.error("only one of the files can be - (standard input)")
    output: str = options.output or default_output(files[-1])
    if output == "-" and options.open:
        parser.error("--open needs a file: give -o OUT.html")
    if output == "-" and sys.stdout.isatty():
        parser.error("a page is not for a terminal: give -o OUT.html")
    profile = read(parser, files[-1])
    old: Optional[Profile] = read(parser, files[0]) if options.diff else None
    threshold = None if options.threshold is None else options.threshold / 100
    try:
        page = flamegraph.render(profile, old, options.title, threshold, options.metric)
    except flamegraph.PageMissing as error:
        parser.error(str(error))
    return put(parser, output, page.encode("utf-8", "backslashreplace"), options.open)
