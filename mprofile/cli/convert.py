# SPDX-License-Identifier: MIT
"""`mprofile convert`: writes a profile in the format of another tool."""

from __future__ import annotations

import io
import sys
from typing import Sequence

from mprofile.cli.common import METRICS, Progress, read, row_count, write
from mprofile.cli.parser import Parser
from mprofile.profile import Profile

USAGE = "mprofile convert --to FORMAT [-o OUT] [--metric METRIC] FILE"

DESCRIPTION = """\
Write a profile in another format. FILE is a pprof heap profile; - reads it from standard input.

pprof        profile.proto, compressed by gzip: `go tool pprof`, and what this program reads
speedscope   JSON for https://www.speedscope.app
collapsed    lines `outermost;...;innermost bytes`, for flame graph tools
json, csv    all stacks with all their figures and intervals
dot          a call graph for graphviz
"""

EPILOG = """\
examples:
  mprofile convert --to speedscope -o heap.speedscope.json heap.pb.gz
  mprofile convert --to collapsed --metric allocated heap.pb.gz > allocated.txt
  mprofile convert --to dot heap.pb.gz | dot -Tsvg -o heap.svg
"""

FORMATS = ("pprof", "speedscope", "collapsed", "json", "csv", "dot")
FUNCTIONS = 60


def make_parser() -> Parser:
    parser = Parser("mprofile convert", USAGE, DESCRIPTION, EPILOG)
    parser.add_argument("file", metavar="FILE")
    parser.add_argument(
        "--to", choices=FORMATS, required=True, metavar="FORMAT", help="one of: {}".format(", ".join(FORMATS))
    )
    parser.add_argument(
        "-o", "--output", default="-", metavar="OUT", help="the file to write (default: standard output)"
    )
    parser.add_argument(
        "--metric",
        choices=METRICS,
        metavar="METRIC",
        help="what the numbers are: {} (default: inuse); pprof has them all, json and csv sort by it".format(
            ", ".join(METRICS)
        ),
    )
    parser.add_argument(
        "--limit",
        type=row_count,
        default=FUNCTIONS,
        metavar="N",
        help="most functions of a call graph (default: %(default)s)",
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.to == "pprof":
        if options.metric is not None:
            parser.error("a pprof profile has all metrics: --metric goes with the other formats")
        if options.output == "-" and sys.stdout.isatty():
            parser.error("a pprof profile is not for a terminal: give -o OUT")
    with Progress(3) as progress:
        progress.step("reading")
        profile = read(parser, options.file)
        progress.step("converting")
        metric = options.metric or "inuse"
        if options.to == "pprof":
            buffer = io.BytesIO()
            profile.write(buffer)
            data = buffer.getvalue()
        else:
            data = _text(profile, options.to, metric, options.limit).encode("utf-8", "backslashreplace")
        progress.step("writing")
    return write(parser, options.output, data)


def _text(profile: Profile, form: str, metric: str, limit: int) -> str:
    # Each format is imported only where it is asked for.
    if form == "speedscope":
        from mprofile.reports import speedscope

        return speedscope.render(profile, metric)
    if form == "collapsed":
        from mprofile.reports import collapsed

        return collapsed.render(profile, metric)
    if form == "dot":
        from mprofile.reports import dot

        return dot.render(profile, metric, limit)
    from mprofile.reports import export
    from mprofile.reports.table import View

    view = View("stack", metric, None, all_rows=True)
    return export.rows_json(profile, view) if form == "json" else export.rows_csv(profile, view)
