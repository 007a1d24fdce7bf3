# SPDX-License-Identifier: MIT
"""`mprofile top`: shows a recording in the terminal while the program runs, from the file that it writes.

WHAT    Reads the profile that `mprofile run` or mprofile.start_recording() replaces again and again, and draws what it
        says. The program is not touched: nothing is sent to it, and nobody else can tell that it is looked at.
KEYS    Read in cbreak mode. Whatever ends the command (a key, a signal, an error) puts the terminal back; so does
        Ctrl-Z, until the command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from types import FrameType, TracebackType
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type

from mprofile import _core
from mprofile._autostart import RECORD, RUN
from mprofile.cli.common import STYLES, add_color, read, show, wants_color
from mprofile.cli.parser import Parser
from mprofile.profile import Profile
from mprofile.reports import top
from mprofile.reports.names import recorded
from mprofile.reports.styled import Line

USAGE = "mprofile top [--by BY] [--sort SORT] [--interval SECONDS] (PID | FILE)"

DESCRIPTION = """\
Watch the heap of a running program: heap and resident memory over time, the lines that hold most, what grew since
viewing began. The program must be recorded: started by `mprofile run`, or by mprofile.start_recording(). PID is its
number; FILE is the profile that it writes.
"""

EPILOG = """\
keys:
  q  quit              p  pause, and go on     b  by line, function or file
  s  sort by size      g  by growth            a  by all that was ever allocated    k  by size at the peak
  r  let growth begin now

examples:
  mprofile run -o heap.pb.gz server.py &
  mprofile top heap.pb.gz
  mprofile top --sort growth 4711

Without a terminal one frame is printed.
"""

LEAST, MOST = 0.1, 3600.0

#: Seconds without a new profile after which a process that cannot be seen is said to have ended.
SILENCE = 3.0

SORT_KEYS = {"s": "size", "g": "growth", "a": "allocated", "k": "peak"}

Stamp = Tuple[int, int, int]


def interval(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not LEAST <= value <= MOST:
        raise argparse.ArgumentTypeError("{!r} is not a number of seconds from {:g} to {:g}".format(text, LEAST, MOST))
    return value


def make_parser() -> Parser:
    parser = Parser("mprofile top", USAGE, DESCRIPTION, EPILOG)
    parser.add_argument("target", metavar="PID | FILE", help="a process's number, or the profile that it writes")
    parser.add_argument(
        "--by",
        choices=top.BY,
        default="line",
        metavar="BY",
        help="what a row is: {} (default: %(default)s)".format(", ".join(top.BY)),
    )
    parser.add_argument(
        "--sort",
        choices=top.SORTS,
        default="size",
        metavar="SORT",
        help="what to sort by: {} (default: %(default)s)".format(", ".join(top.SORTS)),
    )
    parser.add_argument(
        "--interval",
        type=interval,
        default="0.5",
        metavar="SECONDS",
        help="how often to look for a new profile (default: %(default)s)",
    )
    add_color(parser)
    return parser


# ---- the file of a process ----


def environment_of(pid: int) -> Dict[str, str]:
    """The environment that a process was started with; OSError if it is not there or not ours."""
    with open("/proc/{}/environ".format(pid), "rb") as file:
        items = file.read().split(b"\0")
    return dict(os.fsdecode(item).split("=", 1) for item in items if b"=" in item)


def candidates(pid: int) -> List[str]:
    """Where the profile of a process may be, the likeliest first. OSError."""
    environment = environment_of(pid)
    found = []
    try:
        found.append(str(json.loads(environment[RUN])["output"]))
    except (KeyError, TypeError, ValueError):
        pass
    bases = found + ([environment[RECORD]] if environment.get(RECORD) else [])
    for base in bases:
        found.append(os.fsdecode(_core._recording_path(os.fsencode(base), pid)))
    found.append(os.path.join("/proc/{}/cwd".format(pid), "mprofile.{}.pb.gz".format(pid)))
    return found


def file_of(parser: Parser, pid: int) -> str:
    """The profile that a process writes."""
    try:
        paths = candidates(pid)
    except OSError as error:
        parser.error("cannot look at process {}: {}; PID must be a process of yours".format(pid, error.strerror))
    for path in paths:
        if os.path.exists(path) and recorded(read(parser, path)).get("pid") == str(pid):
            return os.path.realpath(path)
    return parser.error(
        "found no profile of process {}; start it by `mprofile run`, or give the FILE that it records into".format(pid)
    )


# ---- what is known of the process ----


class Watch:
    """The file, what was read of it last, and whether its process goes on."""

    def __init__(self, parser: Parser, path: str, by: str, pid: Optional[int]) -> None:
        self.path = path
        self.by = by
        self.pid = pid  # asked for by number: what /proc says of it is of this process
        self.changed = 0.0  # when the file was, on the wall clock
        self.message = ""
        self.stamp = self._stamp()
        self.profile = self.base = read(parser, path)
        self.view = self._view()

    def _view(self) -> top.View:
        base = top.View.of(self.base, self.by)
        return top.View.of(self.profile, self.by, (base.total, base.base))

    def _stamp(self) -> Optional[Stamp]:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        self.changed = status.st_mtime
        return (status.st_ino, status.st_mtime_ns, status.st_size)

    def refresh(self) -> None:
        """Read the file if it is another one than last time. What cannot be read is said; what was shown stays."""
        stamp = self._stamp()
        if stamp is None:
            self.message = "{!r} is gone; this is what it said last".format(os.path.basename(self.path))
            return
        if stamp == self.stamp:
            return
        try:
            self.profile = Profile.read(self.path)
        except FileNotFoundError:
            return  # gone in between: next time
        except (OSError, ValueError, MemoryError) as error:
            self.message = "cannot read it: {}".format(str(error).replace("\n", " "))
            return
        self.stamp = stamp
        self.message = ""
        self.view = self._view()

    def group(self, by: str) -> None:
        self.by = by
        self.view = self._view()

    def reset(self) -> None:
        self.base = self.profile
        self.view = self._view()

    def status(self) -> str:
        notes = self.view.notes
        if notes.get("state") == "final":
            return "ended"
        pid = notes.get("pid", "")
        silent = time.time() - self.changed > SILENCE
        if pid.isdigit() and not os.path.exists("/proc/" + pid) and (silent or self.pid is not None):
            return "ended without a last profile"
        if "state" not in notes:
            return "a profile, no recording"
        return "running"

    def resident(self) -> Optional[int]:
        """Bytes, now; None if only the profile tells."""
        if self.pid is None:
            return None
        try:
            with open("/proc/{}/statm".format(self.pid)) as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") or None
        except (OSError, IndexError, ValueError):
            return None


# ---- the terminal ----


class Terminal:
    """The terminal in cbreak mode with a screen of its own, between enter() and leave(); signals wake wait()."""

    def __init__(self, color: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._input = sys.stdin.fileno()
        self._console = Console(no_color=not color, highlight=False, force_terminal=True)
        self._live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._before: Optional[List[Any]] = None
        self._wake: Tuple[int, int] = (-1, -1)
        self._handlers: Dict[int, Any] = {}
        self.stopping = False  # Ctrl-Z was typed

    def __enter__(self) -> Terminal:
        self._wake = os.pipe()
        for end in self._wake:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for number, handler in (
            (signal.SIGWINCH, self._ignore),
            (signal.SIGTSTP, self._stop),
            (signal.SIGTERM, self._end),
            (signal.SIGHUP, self._end),
        ):
            self._handlers[number] = signal.signal(number, handler)
        self.enter()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.leave()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for end in self._wake:
            os.close(end)

    def _ignore(self, number: int, frame: Optional[FrameType]) -> None:
        """The signal is there to wake."""

    def _stop(self, number: int, frame: Optional[FrameType]) -> None:
        self.stopping = True

    def _end(self, number: int, frame: Optional[FrameType]) -> None:
        sys.exit(128 + number)

    def enter(self) -> None:
        self._before = termios.tcgetattr(self._input)
        tty.setcbreak(self._input)
        self._live.start()

    def leave(self) -> None:
        if self._before is None:
            return
        before, self._before = self._before, None
        try:
            self._live.stop()
        finally:
            termios.tcsetattr(self._input, termios.TCSADRAIN, before)

    def suspend(self) -> None:
        self.stopping = False
        self.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.enter()

    def size(self) -> Tuple[int, int]:
        size = os.get_terminal_size(sys.stdout.fileno())
        return (size.columns or 80, size.lines or 24)

    def draw(self, lines: List[Line], width: int, height: int) -> None:
        from rich.console import ConsoleDimensions, Group
        from rich.text import Text

        self._console.size = ConsoleDimensions(width, height)
        texts = []
        for line in lines:
            text = Text(no_wrap=True, overflow="crop", end="\n")
            for part, what in line:
                text.append(part, STYLES.get(what))
            texts.append(text)
        self._live.update(Group(*texts), refresh=True)

    def wait(self, seconds: float) -> Optional[str]:
        """Keys typed within the time; "" if none was, or if a signal came; None at the end of the input."""
        ready, _, _ = select.select([self._input, self._wake[0]], [], [], seconds)
        if self._wake[0] in ready:
            try:
                os.read(self._wake[0], 1024)
            except BlockingIOError:
                pass
        if self._input not in ready:
            return ""
        try:
            data = os.read(self._input, 1024)
        except OSError:  # the terminal has gone
            return None
        return data.decode("ascii", "replace") if data else None


def can_draw_bars() -> bool:
    try:
        top.BARS.encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeError):
        return False
    return True


def watch(state: Watch, sort: str, every: float, color: bool) -> int:
    """Draw until a key or a signal ends it. Returns the exit status."""
    unicode = can_draw_bars()
    paused = False
    due = time.monotonic() + every
    with Terminal(color) as terminal:
        while True:
            status = state.status() + (" (paused)" if paused else "")
            look = top.Look(sort, status, None if paused else state.resident(), state.message, unicode)
            width, height = terminal.size()
            terminal.draw(top.screen(state.view, look, width, height), width, height)
            keys = terminal.wait(max(0.0, due - time.monotonic()))
            if keys is None:
                return 0
            for key in keys:
                if key in "qQ":
                    return 0
                if key in "pP ":
                    paused = not paused
                elif key in SORT_KEYS:
                    sort = SORT_KEYS[key]
                elif key == "b":
                    state.group(top.BY[(top.BY.index(state.by) + 1) % len(top.BY)])
                elif key == "r":
                    state.reset()
            if terminal.stopping:
                terminal.suspend()
            if time.monotonic() >= due:
                begin = time.monotonic()
                if not paused:
                    state.refresh()
                # Large profiles take a while to read: a fifth of the time at most.
                due = begin + max(every, 5 * (time.monotonic() - begin))


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    target: str = options.target
    pid = int(target) if target.isdigit() and len(target) < 19 else None
    state = Watch(parser, file_of(parser, pid) if pid is not None else target, options.by, pid)
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        print("mprofile top: there is no terminal, so this is one frame", file=sys.stderr)
        size = shutil.get_terminal_size()
        look = top.Look(options.sort, state.status(), state.resident(), "", can_draw_bars())
        return show(top.screen(state.view, look, size.columns, size.lines)[:-1], options.color)
    try:
        return watch(state, options.sort, options.interval, wants_color(options.color))
    except KeyboardInterrupt:
        return 0
