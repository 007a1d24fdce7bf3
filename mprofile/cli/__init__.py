# SPDX-License-Identifier: MIT
"""The command `mprofile`: one module a subcommand, each with a HELP line and a function main(arguments) -> exit status.

Status 2 means that what was typed cannot be done; one line on stderr says which value and what is allowed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import List, Optional, Sequence

from mprofile.cli.parser import Parser

COMMANDS = {
    "run": "run a Python program and write its heap profile",
    "report": "print where the memory of a profile was allocated",
    "diff": "print what grew and what shrank between two profiles",
    "info": "say how a profile was recorded and what it explains",
    "flamegraph": "make a page to look into a profile with a browser",
    "merge": "add up the profiles of several processes",
    "convert": "write a profile in the format of another tool",
    "completion": "print a script for a shell to complete commands and options",
    "leaks": "tell what has lived for long and what keeps growing",
    "top": "watch the heap of a running program in the terminal",
}

EPILOG = """\
examples:
  mprofile run server.py --port 8080
  mprofile report mprofile.4711.pb.gz
  mprofile report --by function --sort peak mprofile.4711.pb.gz
  mprofile flamegraph mprofile.4711.pb.gz

`mprofile COMMAND --help` tells more. Profiles are pprof files: `go tool pprof FILE` reads them too.
"""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line `arguments` (default: the process's, without its name). Returns the exit status."""
    rest: List[str] = list(sys.argv[1:] if arguments is None else arguments)
    if rest and rest[0] in COMMANDS:
        command = importlib.import_module("mprofile.cli." + rest[0])
        status: int = command.main(rest[1:])
        return status

    listing = "\n".join("  {:12}{}".format(name, text) for name, text in COMMANDS.items())
    description = "A heap profiler for Python programs.\n\ncommands:\n" + listing
    parser = Parser("mprofile", "mprofile [--version] [--help] COMMAND ...", description, EPILOG)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args(rest)
    if options.command is not None:
        parser.error("no command {!r}; there are: {}".format(options.command, ", ".join(COMMANDS)))
    if options.version:
        import platform

        from mprofile import __version__

        print("mprofile {} ({} {})".format(__version__, platform.python_implementation(), platform.python_version()))
        return 0
    if rest:
        parser.error("no option {!r}; there are: --version, --help".format(rest[0]))
    parser.print_help()
    return 0
