# SPDX-License-Identifier: MIT
"""The profiled process: starts the profiler before the program and writes the profile after it.

WHAT    begin() runs in the new interpreter before the program. It registers the end with atexit, first of all, so
        that it comes last: after the threads were joined and after all that the program registered.
        SIGTERM, where nobody handles it, would end the process without atexit. If it is at its default it gets a
        handler that writes the profile and then lets the default happen, so the status says what it always said.
FORK    Only the process that began writes. A forked child gets SIGTERM's default back and leaves the file alone. Until
        it has it back the signal is blocked: the interpreter forgets what arrives in a child before that.
        Programs that are executed get the default from the kernel.
FAILURE The profile is written to a temporary name and renamed. What goes wrong is said on stderr; the program's exit
        status stays its own.
"""

from __future__ import annotations

import atexit
import os
import platform
import shlex
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, Dict, List, Optional

import mprofile
from mprofile.profile import Profile
from mprofile.reports import table

TABLE_ROWS = 10


class Session:
    """One recording, from begin() to the end of the process."""

    def __init__(self, settings: Dict[str, Any]) -> None:
        self.output: str = settings["output"]
        self.shown: str = settings["shown"]
        self.directory: str = settings["directory"]
        self.command: List[str] = settings["command"]
        self.pid = os.getpid()
        self.started = time.monotonic()
        self.writing = False
        self.done = False
        self.terminated = False
        self.forking = threading.local()

    def comments(self) -> List[str]:
        """What a report says about the recording, one `mprofile: key=value` each."""
        interpreter = "{} {}".format(platform.python_implementation(), platform.python_version())
        return [
            "mprofile: command=" + " ".join(shlex.quote(word) for word in self.command),
            "mprofile: directory=" + self.directory,
            "mprofile: interpreter=" + interpreter,
            "mprofile: pid={}".format(self.pid),
            "mprofile: duration={:.1f} s".format(time.monotonic() - self.started),
        ]

    def finish(self) -> None:
        """Write the profile and say so, once, in the process that began."""
        if os.getpid() != self.pid or self.writing:
            return
        self.writing = True
        try:
            say(self.write())
        except Exception as error:
            say("mprofile: no profile written to {!r}: {}\n".format(self.shown, error))
        self.done = True
        if self.terminated:
            die_by(signal.SIGTERM)

    def write(self) -> str:
        if not mprofile.is_tracing():
            return "mprofile: no profile written: the program stopped the profiler before it ended\n"
        Profile.from_snapshot(mprofile.take_snapshot()).write(self.output, comments=self.comments())
        # The table is that of the file, so what is shown is what can be read again.
        text = table.render(Profile.read(self.output), limit=TABLE_ROWS)
        return "\n{}\nmprofile: wrote {}\nmprofile: next, type: mprofile report {}\n".format(
            text, self.shown, shlex.quote(self.shown)
        )

    def on_sigterm(self, number: int, frame: Optional[FrameType]) -> None:
        if self.writing and not (self.done or self.terminated):
            # The profile is half written: finish() ends the process when it is whole. A second signal does not wait.
            self.terminated = True
            return
        self.finish()
        die_by(number)

    def before_fork(self) -> None:
        self.forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def after_fork_in_parent(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.forking.mask)

    def after_fork_in_child(self) -> None:
        # After a fork from another thread that thread is the main one, so signal.signal works.
        if signal.getsignal(signal.SIGTERM) == self.on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.forking.mask)


def die_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def say(text: str) -> None:
    """Write to the process's stderr. Not through sys.stderr, which a signal may have interrupted half-way."""
    try:
        if sys.__stderr__ is not None:
            sys.__stderr__.flush()
    except (OSError, RuntimeError, ValueError):
        pass
    data = text.encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        pass


def begin(settings: Dict[str, Any]) -> None:
    """Start profiling this process as `settings` say (mprofile/cli/run.py makes them)."""
    session = Session(settings)
    atexit.register(session.finish)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, session.on_sigterm)
        os.register_at_fork(
            before=session.before_fork,
            after_in_parent=session.after_fork_in_parent,
            after_in_child=session.after_fork_in_child,
        )
    # MPROFILERATE in the environment may have started it already; what was asked for here counts.
    mprofile.stop()
    mprofile.start(max_frames=settings["max_frames"], sample_rate=settings["sample_rate"])
