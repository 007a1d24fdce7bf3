# SPDX-License-Identifier: MIT
"""`mprofile run`: runs a program as `python` would and writes its heap profile, while it runs and at the end.

WHAT    Replaces itself by a new interpreter that is given the program and its arguments as they are. The difference
        is in the environment: a directory in front of PYTHONPATH holds a `sitecustomize` that starts the profiler
        (bootstrap/sitecustomize.py) before the interpreter turns to the program. It takes itself out of the
        environment and of sys.path on the way. What the program can see are the variables MPROFILE_RECORD..., by
        which its children record themselves (mprofile/_autostart.py).
WHY     To run the program in here would mean to imitate `python`: __main__ and its attributes, sys.path, directories
        and archives, tracebacks, the status after an interrupt, and a stack whose first frames are somebody else's. A
        new interpreter does all that itself, on every version.
LIMITS  An interpreter told to ignore its environment (-I, -E) or to leave out `site` (-S) cannot be started so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from mprofile import recording
from mprofile._sizes import parse_size
from mprofile.cli.parser import Parser

DEFAULT_SAMPLE_RATE = "512K"
DEFAULT_MAX_FRAMES = 128
MOST_FRAMES = 65535

VARIABLE = "MPROFILE_RUN"
BOOTSTRAP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap")

WITH_VALUE = ("--sample-rate", "--max-frames", "-o", "--output", "--every", "--history", "--history-size")

USAGE = "mprofile run [OPTIONS] (SCRIPT | -m MODULE | -c CODE) [ARGUMENT ...]"

DESCRIPTION = "Run a Python program as `python` would, and write its heap profile while it runs and when it ends."

EPILOG = """\
SCRIPT is a file, or a directory or zip archive with a __main__.py. What follows it belongs to the program.

examples:
  mprofile run server.py --port 8080
  mprofile run --sample-rate 128K -o heap.pb.gz -m http.server 8000
  mprofile run --sample-rate 0 -c 'import json'

The profile is written at most every --every seconds, at once when the heap has grown by a tenth, and when the program
ends: by itself, by sys.exit(), by an exception, or by SIGTERM if the program has not set its own handler. Whatever else
ends it (SIGKILL, a crash, the kernel out of memory) leaves the last complete profile. Python processes that the program
starts write profiles of their own: heap.pb.gz -> heap.PID.pb.gz.
"""


class Program(NamedTuple):
    """What to run: kind is "script", "-m" or "-c"."""

    kind: str
    target: str
    arguments: Tuple[str, ...]

    def words(self) -> List[str]:
        """The command line after the interpreter and its options."""
        if self.kind == "script":
            # A script whose name begins with a dash must not be taken for an option of the interpreter.
            target = os.path.join(".", self.target) if self.target.startswith("-") else self.target
            return [target, *self.arguments]
        return [self.kind, self.target, *self.arguments]


def split(words: Sequence[str], with_value: Sequence[str]) -> Tuple[List[str], Optional[Program]]:
    """Split a command line into our own options and the program.

    with_value: our options that take a value. As for `python`, everything after the script, module or code belongs to
    the program, whatever it looks like; -mMODULE and -cCODE may be one word.
    """
    position = 0
    while position < len(words):
        word = words[position]
        if word[:2] in ("-m", "-c"):
            if len(word) > 2:
                return list(words[:position]), Program(word[:2], word[2:], tuple(words[position + 1 :]))
            if position + 1 < len(words):
                return list(words[:position]), Program(word, words[position + 1], tuple(words[position + 2 :]))
            return list(words[:position]), None
        if word == "--" and position + 1 < len(words):
            return list(words[:position]), Program("script", words[position + 1], tuple(words[position + 2 :]))
        if not word.startswith("-") or word == "-":
            return list(words[:position]), Program("script", word, tuple(words[position + 1 :]))
        position += 2 if word in with_value else 1
    return list(words), None


def sample_rate(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def frame_count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MOST_FRAMES:
        raise argparse.ArgumentTypeError("{!r} is not a whole number from 1 to {}".format(text, MOST_FRAMES))
    return int(text)


def seconds(text: str) -> float:
    least, most = recording.LEAST_EVERY, recording.MOST_EVERY
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise argparse.ArgumentTypeError("{!r} is not a number of seconds from {:g} to {:g}".format(text, least, most))
    return value


def make_parser() -> Parser:
    parser = Parser("mprofile run", USAGE, DESCRIPTION, EPILOG)
    parser.add_argument(
        "--sample-rate",
        type=sample_rate,
        default=DEFAULT_SAMPLE_RATE,
        metavar="SIZE",
        help="mean bytes between samples, like 128K or 1M; 0 records every block (default: %(default)s)",
    )
    parser.add_argument(
        "--max-frames",
        type=frame_count,
        default=DEFAULT_MAX_FRAMES,
        metavar="N",
        help="innermost frames kept of each stack (default: %(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the profile to write (default: mprofile.PID.pb.gz in this directory)",
    )
    parser.add_argument(
        "--every",
        type=seconds,
        default=str(recording.EVERY),
        metavar="SECONDS",
        help="least time between two writes while the program runs (default: %(default)s)",
    )
    parser.add_argument(
        "--history",
        metavar="DIR",
        help="also keep profiles over time: of each second of the last minute, each minute of the last hour, each hour",
    )
    parser.add_argument(
        "--history-size",
        type=sample_rate,
        default="{}M".format(recording.HISTORY_SIZE >> 20),
        metavar="SIZE",
        help="most bytes of all profiles in DIR, the oldest go first; 0: no bound (default: %(default)s)",
    )
    parser.add_argument(
        "--anonymous",
        action="store_true",
        help="leave the command line and the directory out of the files (functions and their files stay)",
    )
    return parser


def interpreter_options() -> List[str]:
    """This interpreter's own options, for the one that takes its place."""
    options: List[str] = list(subprocess._args_from_interpreter_flags())  # type: ignore[attr-defined]
    if getattr(sys.stdout, "write_through", False) and "PYTHONUNBUFFERED" not in os.environ:
        options.append("-u")
    return options


def obstacle(program: Program, output: str) -> Optional[str]:
    """Why the program cannot be run or its profile not be written to `output`, or None."""
    if sys.flags.ignore_environment or sys.flags.no_site:
        return "python was started with -I, -E or -S; `mprofile run` works without these (or call mprofile.start())"
    directory = os.path.dirname(output) or os.curdir
    if not os.path.isdir(directory):
        return "cannot write {!r}: there is no directory {!r}".format(output, directory)
    if os.path.isdir(output):
        return "cannot write {!r}: it is a directory; FILE must be a file's name".format(output)
    if not os.access(directory, os.W_OK):
        return "cannot write {!r}: no permission to write in {!r}".format(output, directory)
    if program.kind == "script":
        try:
            with open(program.target, "rb"):
                pass
        except IsADirectoryError:
            if not os.path.exists(os.path.join(program.target, "__main__.py")):
                return "cannot run {!r}: the directory has no __main__.py".format(program.target)
        except OSError as error:
            return "cannot run {!r}: {}; SCRIPT must be a readable file or directory".format(
                program.target, error.strerror
            )
    return None


def environment(settings: Dict[str, object]) -> Dict[str, str]:
    """The new interpreter's environment: ours, the settings, and the bootstrap directory in front."""
    result = dict(os.environ)
    before = result.get("PYTHONPATH")
    result[VARIABLE] = json.dumps(dict(settings, pythonpath=before))
    result["PYTHONPATH"] = BOOTSTRAP + os.pathsep + before if before else BOOTSTRAP
    return result


def main(arguments: Sequence[str]) -> int:
    """Run `mprofile run`. Returns only when the program cannot be started."""
    parser = make_parser()
    own, program = split(arguments, with_value=WITH_VALUE)
    options = parser.parse_args(own)
    if program is None:
        parser.error("nothing to run; give SCRIPT, -m MODULE or -c CODE")
    try:
        here = os.getcwd()
    except OSError as error:
        parser.error("cannot tell the current directory: {}; start from one that exists".format(error.strerror))
    output = options.output or "mprofile.{}.pb.gz".format(os.getpid())
    problem = obstacle(program, output)
    if problem is not None:
        parser.error(problem)
    history = options.history and os.path.join(here, options.history)
    if history:
        try:
            os.makedirs(history, 0o700, exist_ok=True)
        except OSError as error:
            parser.error("cannot make {!r}: {}; DIR must be a directory".format(options.history, error.strerror))
    settings = {
        "sample_rate": options.sample_rate,
        "max_frames": options.max_frames,
        "every": options.every,
        "history": history,
        "history_size": options.history_size,
        "output": os.path.join(here, output),
        "shown": output,
        "command": program.words(),
        "anonymous": options.anonymous,
    }
    command = [sys.executable, *interpreter_options(), *program.words()]
    try:
        os.execve(sys.executable, command, environment(settings))
    except OSError as error:
        parser.error("cannot start {!r}: {}".format(sys.executable, error.strerror))
