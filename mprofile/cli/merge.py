# SPDX-License-Identifier: MIT
"""`mprofile merge`: adds up the profiles of several processes."""

from __future__ import annotations

from typing import Sequence

from mprofile.cli.parser import Parser
from mprofile.profile import Profile

USAGE = "mprofile merge FILE [FILE ...] -o OUT"

DESCRIPTION = """\
Add up profiles, for example those of the processes of one program. Each FILE is a pprof heap profile; OUT is one, too.

What is in use, what was ever allocated and the peaks are added stack by stack. The peaks of several processes need
not have been at one time, so their sum is the most that can have been in use together. Profiles of different sample
rates can be added: each block keeps the rate that it was recorded at.
"""

EPILOG = """\
examples:
  mprofile merge heap.pb.gz heap.4711.pb.gz heap.4712.pb.gz -o all.pb.gz
  mprofile merge heap*.pb.gz -o all.pb.gz && mprofile report all.pb.gz
"""


def make_parser() -> Parser:
    parser = Parser("mprofile merge", USAGE, DESCRIPTION, EPILOG)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="the profile to write")
    return parser


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    profiles = []
    for name in options.files:
        try:
            profiles.append(Profile.read(name))
        except OSError as error:
            parser.error("cannot read {!r}: {}; FILE must be a pprof heap profile".format(name, error.strerror))
        except ValueError as error:
            parser.error("{}; FILE must be a pprof heap profile".format(error))
    comment = "mprofile: merged={} profiles".format(len(profiles))
    try:
        Profile.merge(profiles).write(options.output, comments=[comment])
    except OSError as error:
        parser.error("cannot write {!r}: {}; OUT must be a file's name".format(options.output, error.strerror))
    return 0
