# SPDX-License-Identifier: MIT
"""`mprofile report`: prints where the memory of a profile was allocated."""

from __future__ import annotations

import argparse
from typing import List, Sequence

from mprofile.cli.common import (
    Progress,
    add_at_least,
    add_color,
    add_limit,
    pattern,
    read,
    show,
    terminal_width,
    write_text,
)
from mprofile.cli.parser import Parser
from mprofile.reports import table
from mprofile.reports.groups import Selection

USAGE = "mprofile report [OPTION ...] FILE"

DESCRIPTION = """\
Print where the memory of a profile was allocated. FILE is a pprof heap profile; - reads it from standard input.

flat   allocated in the line, function or file itself
cum    also what it called

--by thread tells where threads began: the function that was given to the thread, or the main thread.
"""

EPILOG = """\
Columns: {}.
blocks and average (bytes of a block) are of the measure that is sorted by.

examples:
  mprofile report mprofile.4711.pb.gz
  mprofile report --tree --focus 'json|yaml' heap.pb.gz
  mprofile report --by file --sort peak --columns inuse,peak,allocated,average heap.pb.gz
  mprofile report --by file --at-least 1.5MiB heap.pb.gz
  mprofile report --json heap.pb.gz > heap.json
""".format(", ".join(table.COLUMNS))

ROWS = 20
NODES = 50


def column_names(text: str) -> List[str]:
    if text == "all":
        return list(table.COLUMNS)
    names = text.split(",")
    for name in names:
        if name not in table.COLUMNS:
            raise argparse.ArgumentTypeError(
                "{!r} is not a column; there are: all, {}".format(name, ", ".join(table.COLUMNS))
            )
    return names


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
        "--metric",
        choices=list(table.SORTS),
        default="inuse",
        metavar="SORT",
        help="the measure to show and to sort by: {} (default: %(default)s)".format(", ".join(table.SORTS)),
    )
    parser.add_argument("--cum", action="store_true", help="sort by cum, not by flat")
    add_limit(parser, "{}; {} with --tree; all with --json and --csv".format(ROWS, NODES))
    add_at_least(parser, "(nodes of the tree) of at least")
    parser.add_argument("--columns", type=column_names, metavar="LIST", help="columns, apart by commas; or all")
    parser.add_argument("--tree", action="store_true", help="print the call tree from the root, what is small folded")
    parser.add_argument(
        "--focus", type=pattern, metavar="REGEX", help="only stacks with a frame whose function or file matches"
    )
    parser.add_argument(
        "--ignore", type=pattern, metavar="REGEX", help="only stacks without a frame whose function or file matches"
    )
    parser.add_argument("--no-source", action="store_true", help="show no lines of source code")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    add_color(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.tree and options.by in table.WHOLE:
        others = [by for by in table.BY if by not in table.WHOLE]
        parser.error("--tree shows all stacks; --by must be one of: {}".format(", ".join(others)))
    if options.tree and options.csv:
        parser.error("a tree is no table: --tree goes with --json, not with --csv")
    if options.columns and (options.tree or options.json or options.csv or options.by == "stack"):
        parser.error("--columns is for tables, not for --tree, --json, --csv or --by stack")
    if options.at_least and options.sort == "count":
        parser.error("--at-least is a size: it does not go with --sort count")
    data = options.json or options.csv
    default = None if data else NODES if options.tree else ROWS
    view = table.View(
        options.by,
        options.sort,
        options.limit or default,
        Selection(options.focus, options.ignore),
        options.cum,
        options.columns,
        not options.no_source,
        terminal_width(),
        least=options.at_least,
    )
    with Progress(2) as progress:
        progress.step("reading")
        profile = read(parser, options.file)
        progress.step("adding up")
        if data:
            from mprofile.reports import export

            render = export.tree_json if options.tree else export.rows_json if options.json else export.rows_csv
            text = render(profile, view)
        elif options.tree:
            from mprofile.reports import calltree

            lines = calltree.lines(profile, view)
        else:
            lines = table.lines(profile, view)
    return write_text(text) if data else show(lines, options.color)
