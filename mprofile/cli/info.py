# SPDX-License-Identifier: MIT
"""`mprofile info`: says how a profile was recorded, and how much of the process's memory it explains."""

from __future__ import annotations

from typing import Sequence

from mprofile.cli.common import Progress, add_color, read, show, write_text
from mprofile.cli.parser import Parser
from mprofile.reports import facts

USAGE = "mprofile info [--json] FILE"

DESCRIPTION = """\
Say how a profile was recorded: program, interpreter, sampling, duration, what was lost; what is in it; and how much of
the memory of the process it explains, if the file knows that. FILE is a pprof heap profile; - reads it from standard
input.
"""

EPILOG = """\
examples:
  mprofile info mprofile.4711.pb.gz
  mprofile info --json heap.pb.gz | jq .resident
"""


def make_parser() -> Parser:
    parser = Parser("mprofile info", USAGE, DESCRIPTION, EPILOG)
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_color(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    with Progress(2) as progress:
        progress.step("reading")
        profile = read(parser, options.file)
        progress.step("adding up")
        if options.json:
            text = facts.as_json(profile)
        else:
            lines = facts.lines(profile)
    return write_text(text) if options.json else show(lines, options.color)
