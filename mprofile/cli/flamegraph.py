# SPDX-License-Identifier: MIT
"""`mprofile flamegraph`: makes a page to look into a profile with a browser."""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import List, Sequence

from mprofile.cli.common import Progress, add_metric, check_inputs, read, write
from mprofile.cli.history import add_moments, check_pair, first_and_last, last
from mprofile.cli.parser import Parser
from mprofile.profile import Profile
from mprofile.reports import flamegraph
from mprofile.reports.names import printable

USAGE = """\
mprofile flamegraph [-o OUT.html] [OPTION ...] (FILE ... | DIR)
       mprofile flamegraph [-o OUT.html] [OPTION ...] --diff (OLD NEW | DIR)"""

DESCRIPTION = """\
Make a page that shows where the memory of a profile was allocated: flame graph, table, callers and callees.
It is one file that needs no network. FILE, OLD and NEW are pprof heap profiles; - reads standard input. Several FILEs
are added up, as by mprofile merge. Of DIR, which `mprofile run --history DIR` fills, the page shows the last moment of
a process, with --diff what changed since its first.
"""

EPILOG = """\
examples:
  mprofile flamegraph mprofile.4711.pb.gz
  mprofile flamegraph --metric peak --open heap.pb.gz
  mprofile flamegraph --diff -o growth.html before.pb.gz after.pb.gz
  mprofile flamegraph --diff --since 10min profiles
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
    add_moments(parser, "with --diff and DIR")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT.html",
        help="the page to write, - for standard output (default: FILE's name with .html, in this directory)",
    )
    add_metric(parser)
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
    return "-" if file == "-" else _SUFFIX.sub("", os.path.basename(os.path.abspath(file))) + ".html"


def open_in_browser(path: str) -> bool:
    # Their import takes as long as a small page.
    import pathlib
    import webbrowser

    return webbrowser.open(pathlib.Path(path).absolute().as_uri())


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    files: List[str] = options.files
    directory = os.path.isdir(files[0])
    if len(files) > 1 and any(map(os.path.isdir, files)):
        parser.error("one DIR makes a page, or FILEs do, not both")
    if options.diff:
        check_pair(parser, files, "--diff")
    if options.since is not None and not (directory and options.diff):
        parser.error("--since chooses from one DIR, with --diff")
    if options.pid is not None and not directory:
        parser.error("--pid chooses from one DIR")
    check_inputs(parser, files)
    output: str = options.output or default_output(files[-1])
    if output == "-" and options.open:
        parser.error("--open needs a file: give -o OUT.html")
    if output == "-" and sys.stdout.isatty():
        parser.error("a page is not for a terminal: give -o OUT.html")
    threshold = None if options.threshold is None else options.threshold / 100
    with Progress(3) as progress:
        progress.step("reading")
        old = None
        if directory and options.diff:
            old, profile = first_and_last(parser, files[0], options.pid, options.since)
        elif directory:
            profile = last(parser, files[0], options.pid)
        elif options.diff:
            old, profile = (read(parser, name) for name in files)
        else:
            read_all = [read(parser, name) for name in files]
            profile = read_all[0] if len(read_all) == 1 else Profile.merge(read_all)
        progress.step("making the page")
        try:
            page = flamegraph.render(profile, old, options.title, threshold, options.metric)
        except flamegraph.PageMissing as error:
            parser.error(str(error))
        progress.step("writing")
        status = write(parser, output, page.encode("utf-8", "backslashreplace"))
    if output != "-":
        print("mprofile: wrote {}".format(printable(output)), file=sys.stderr)
        if options.open and not open_in_browser(output):
            print("mprofile: found no browser to open it", file=sys.stderr)
    return status
