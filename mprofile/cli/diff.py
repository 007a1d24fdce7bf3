# SPDX-License-Identifier: MIT
"""`mprofile diff`: prints what grew and what shrank from one profile to another."""

from __future__ import annotations

import argparse
from typing import List, Sequence

from mprofile.cli.common import (
    Progress,
    add_at_least,
    add_color,
    add_limit,
    add_metric,
    check_inputs,
    pattern,
    read,
    show,
    terminal_width,
    write_text,
)
from mprofile.cli.history import add_moments, check_pair, first_and_last
from mprofile.cli.parser import Parser
from mprofile.reports import difference
from mprofile.reports.groups import BY, Selection

USAGE = """\
mprofile diff [OPTION ...] OLD NEW
       mprofile diff [OPTION ...] [--since AGE] DIR"""

DESCRIPTION = """\
Print what grew and what shrank from one profile to another: of one program at two moments, or of two versions of it.
OLD and NEW are pprof heap profiles; - reads one of them from standard input. Of DIR, which `mprofile run --history DIR`
fills, the last moment of a process is compared with its first, or with the one AGE before it.

Rows are in the order of what is certain about their change: the end nearest to zero of the interval that holds the
true change with a probability of 95 %. If that interval holds zero, the row is marked ~: it may be noise.
"""

EPILOG = """\
examples:
  mprofile diff before.pb.gz after.pb.gz
  mprofile diff --since 10min profiles
  mprofile diff --by package --metric peak v1.pb.gz v2.pb.gz
  mprofile diff --json v1.pb.gz v2.pb.gz | jq '[.rows[] | select(.certain > 1048576)]'
"""

ROWS = 20


def make_parser() -> Parser:
    parser = Parser("mprofile diff", USAGE, DESCRIPTION, EPILOG)
    parser.add_argument("files", nargs="+", metavar="OLD NEW", help=argparse.SUPPRESS)
    add_moments(parser, "of DIR")
    parser.add_argument(
        "--by",
        choices=BY,
        default="function",
        metavar="BY",
        help="what a row is: {} (default: %(default)s)".format(", ".join(BY)),
    )
    add_metric(parser)
    parser.add_argument("--cum", action="store_true", help="compare rows with what they called")
    add_limit(parser, "{} that grew and {} that shrank; all with --json and --csv".format(ROWS, ROWS))
    add_at_least(parser, "that changed by at least")
    parser.add_argument(
        "--focus", type=pattern, metavar="REGEX", help="only stacks with a frame whose function or file matches"
    )
    parser.add_argument(
        "--ignore", type=pattern, metavar="REGEX", help="only stacks without a frame whose function or file matches"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    add_color(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.at_least and options.metric == "count":
        parser.error("--at-least is a size: it does not go with --metric count")
    files: List[str] = options.files
    check_pair(parser, files, "a difference")
    directory = len(files) == 1
    if not directory and (options.since is not None or options.pid is not None):
        parser.error("--since and --pid choose from one DIR")
    check_inputs(parser, files)
    with Progress(3) as progress:
        progress.step("reading OLD")
        if directory:
            old, new = first_and_last(parser, files[0], options.pid, options.since)
        else:
            old = read(parser, files[0])
            progress.step("reading NEW")
            new = read(parser, files[1])
        progress.step("comparing")
        selection = Selection(options.focus, options.ignore)
        comparison = difference.Comparison(
            old, new, options.by, options.metric, options.cum, selection, options.at_least
        )
        if options.json or options.csv:
            text = (difference.as_json if options.json else difference.as_csv)(comparison, options.limit)
        else:
            lines = difference.lines(comparison, options.limit or ROWS, terminal_width())
    return write_text(text) if options.json or options.csv else show(lines, options.color)
