# SPDX-License-Identifier: MIT
"""What the commands that answer share: reading profiles, options, output to a terminal or into a pipe, progress.

RICH    The library rich makes colours and the progress bar. Plain output does not import it: it takes longer to import
        than most profiles take to print. Nothing that a profiled program imports may import this module.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import threading
from types import TracebackType
from typing import Iterable, List, NoReturn, Optional, Pattern, Type

from mprofile._files import write_file
from mprofile._sizes import parse_size
from mprofile.cli.parser import Parser, columns
from mprofile.profile import Profile
from mprofile.reports.styled import Line, plain

__all__ = [
    "Progress",
    "add_at_least",
    "add_color",
    "add_limit",
    "add_metric",
    "check_inputs",
    "pattern",
    "read",
    "row_count",
    "show",
    "write",
    "write_text",
]

#: Seconds after which a progress bar appears.
PATIENCE = 1.0

METRICS = ("inuse", "allocated", "peak", "count")

STYLES = {
    "head": "bold",
    "size": "cyan",
    "range": "dim",
    "name": "bold green",
    "place": "blue",
    "source": "dim",
    "grew": "red",
    "shrank": "green",
    "quiet": "dim",
}


# ---- options ----


def row_count(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,18}", text) is None or int(text) < 1:
        raise argparse.ArgumentTypeError("{!r} is not a whole number of rows, 1 or more".format(text))
    return int(text)


def size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def pattern(text: str) -> Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(
            "{!r} is not a regular expression as Python's re has them: {}".format(text, error)
        ) from None


def add_color(parser: Parser) -> None:
    parser.add_argument(
        "--color",
        "--colour",
        choices=("auto", "always", "never"),
        default="auto",
        metavar="WHEN",
        help="auto, always or never (default: auto: on a terminal, unless NO_COLOR is set in the environment)",
    )


def add_metric(parser: Parser) -> None:
    parser.add_argument(
        "--metric",
        choices=METRICS,
        default="inuse",
        metavar="METRIC",
        help="what is measured: {} (default: %(default)s)".format(", ".join(METRICS)),
    )


def add_limit(parser: Parser, default: str) -> None:
    parser.add_argument("--limit", type=row_count, metavar="N", help="most rows (default: {})".format(default))


def add_at_least(parser: Parser, what: str) -> None:
    parser.add_argument(
        "--at-least",
        type=size,
        default=0,
        metavar="SIZE",
        help="only rows {} this size, like 128K or 1.5MiB".format(what),
    )


# ---- input ----


def check_inputs(parser: Parser, files: Iterable[str]) -> None:
    if list(files).count("-") > 1:
        parser.error("only one of the files can be - (standard input)")


def read(parser: Parser, file: str) -> Profile:
    """Read a profile; what is wrong with it ends the command with status 2."""
    shown = "standard input" if file == "-" else repr(file)
    try:
        return Profile.read(sys.stdin.buffer if file == "-" else file)
    except OSError as error:
        parser.error("cannot read {}: {}; FILE must be a pprof heap profile".format(shown, error.strerror))
    except (MemoryError, ValueError) as error:
        text = str(error).replace("\n", " ") or "out of memory"
        parser.error("{}; FILE must be a pprof heap profile".format(text.replace("<stdin>", shown)))


# ---- output ----


def wants_color(when: str) -> bool:
    if when != "auto":
        return when == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width() -> Optional[int]:
    """Columns of the terminal that stdout is; None if it is none."""
    return max(40, columns()) if sys.stdout.isatty() else None


def show(lines: Iterable[Line], color: str) -> int:
    """Print to stdout. Returns the exit status."""
    width = terminal_width()
    colored = wants_color(color)
    if not colored and width is None:
        return write_text(plain(lines))
    return write_text("".join(_fitted(line, width, colored) + "\n" for line in lines))


def _fitted(line: Line, width: Optional[int], colored: bool) -> str:
    """The line with its colours, cut off where the terminal ends."""
    from rich.cells import cell_len, set_cell_size

    parts = []
    room = width
    for text, what in line:
        if room is not None:
            cells = cell_len(text)
            if cells > room:
                text = set_cell_size(text, max(0, room - 1)) + "\u2026" if room else ""
                cells = room
            room -= cells
        parts.append(_painted(text, what) if colored and what in STYLES else text)
    return "".join(parts)


def _painted(text: str, what: str) -> str:
    from rich.color import ColorSystem
    from rich.style import Style

    return Style.parse(STYLES[what]).render(text, color_system=ColorSystem.STANDARD)


def write_text(text: str) -> int:
    """Write to stdout whatever its encoding. Returns the exit status: 1 if the reader has gone (`| head`)."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    return 0


def _reader_gone() -> int:
    # The interpreter flushes once more at its end: let that go nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def write(parser: Parser, output: str, data: bytes) -> int:
    """Write to a file, - for stdout. Returns the exit status."""
    if output == "-":
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            return _reader_gone()
        return 0
    try:
        write_file(output, data)
    except OSError as error:
        cannot_write(parser, output, error)
    return 0


def cannot_write(parser: Parser, output: str, error: OSError) -> NoReturn:
    parser.error("cannot write {!r}: {}; OUT must be a file's name".format(output, error.strerror))


# ---- progress ----


class Progress:
    """A bar on stderr that appears once the work has taken a second, if stderr is a terminal.

    with Progress(3) as progress:
        progress.step("reading")    three times in all: what comes next
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._texts: List[str] = []
        self._ended = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._thread = threading.Thread(target=self._draw, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def step(self, text: str) -> None:
        self._texts.append(text)

    def _draw(self) -> None:
        if self._ended.wait(PATIENCE):
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
            task = bar.add_task("", total=self._steps)
            while True:
                texts = list(self._texts)
                bar.update(task, completed=max(0, len(texts) - 1), description=texts[-1] if texts else "")
                if self._ended.wait(0.1):
                    return
