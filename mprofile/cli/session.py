# SPDX-License-Identifier: MIT
"""The profiled process: starts the profiler and the recording before the program, and says what came of it after it.

WHAT    begin() runs in the new interpreter before the program. It registers the end with atexit, first of all, so
        that it comes last: after the threads were joined and after all that the program registered. The recording
        (mprofile/recording.py) writes the profile all the while and at the end. Where FILE is no file (a pipe), it is
        written at the end only.
        SIGTERM, where nobody handles it, would end the process without atexit. If it is at its default it gets a
        handler that writes the profile and then lets the default happen, so the status says what it always said. While
        the program computes in C for longer than a second no Python handler runs: then the recording's own thread
        writes the last profile and ends the process, without a table. The first process of a container (pid 1) gets no
        handler: the kernel spares it from SIGTERM's default, and so it is left.
FORK    Only the process that began writes the file and says so. A forked child records into a file of its own, and
        gets SIGTERM's default back. Until it has it back the signal is blocked: the interpreter forgets what arrives in
        a child before that. Programs that are executed get the default from the kernel, and record into files of their
        own if they are Python's: what they need to know is in the environment (mprofile/_autostart.py).
FAILURE What goes wrong is said on stderr; the program's exit status stays its own.
"""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, Dict, List, Optional

import mprofile
from mprofile import _core, recording
from mprofile._autostart import ANONYMOUS, NAMES, variables
from mprofile._files import is_file_name
from mprofile.profile import Profile
from mprofile.reports import table

TABLE_ROWS = 10


class Session:
    """One recording, from begin() to the end of the process."""

    def __init__(self, settings: Dict[str, Any]) -> None:
        self.output: str = settings["output"]
        self.shown: str = settings["shown"]
        self.settings = settings
        self.pid = os.getpid()
        self.started = time.time()
        self.recorded = is_file_name(self.output)
        self.writing = False
        self.done = False
        self.terminated = False
        self.forking = threading.local()

    def start(self) -> None:
        """Start the profiler and the recording."""
        settings = self.settings
        rate, frames, every = settings["sample_rate"], settings["max_frames"], settings["every"]
        history, history_size = settings["history"], settings["history_size"]
        # MPROFILERATE in the environment may have started it already; what was asked for here counts.
        mprofile.stop()
        mprofile.start(max_frames=frames, sample_rate=rate)
        for name in NAMES:
            os.environ.pop(name, None)
        if settings["anonymous"]:
            os.environ[ANONYMOUS] = "1"
        if self.recorded:
            os.environ.update(variables(self.output, rate, frames, every, history, history_size))
            recording.begin(self.output, every, recording.GROWTH, history, history_size, self.comments())

    def comments(self) -> List[str]:
        """What a report says about the program, one `mprofile: key=value` each."""
        return recording.describe(" ".join(shlex.quote(word) for word in self.settings["command"]))

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
        stopped = not mprofile.is_tracing()
        if not self.recorded:
            if stopped:
                return "mprofile: no profile written: the program stopped the profiler before it ended\n"
            snapshot = mprofile.take_snapshot()
            comments = [*self.comments(), "mprofile: pid={}".format(self.pid)]
            Profile.from_snapshot(snapshot).write(self.output, comments=comments)
            return "mprofile: wrote {}\n".format(self.shown)
        recording.stop_recording()
        info = recording.recording_info()
        if info is None or not info["publications"] or not os.path.exists(self.output):
            reason = info["reason"] if info else "the program has made a recording of its own"
            return "mprofile: no profile written to {!r}: {}\n".format(self.shown, reason)
        # The table is that of the file, so what is shown is what can be read again.
        text = "\n" + table.render(Profile.read(self.output), limit=TABLE_ROWS) + "\n"
        if stopped:
            text += "mprofile: the program stopped the profiler before it ended; the profile is of that moment\n"
        elif not info["complete"]:
            text += "mprofile: the last write failed ({}); the profile is of before\n".format(info["reason"])
        return text + self.others() + "mprofile: wrote {}\nmprofile: next, type: mprofile report {}\n".format(
            self.shown, shlex.quote(self.shown)
        )

    def others(self) -> str:
        """A line for each other process of the program that has left a file."""
        target = os.fsencode(self.output)
        directory = os.path.dirname(target)
        lines = []
        for name in os.listdir(directory):
            for word in name.split(b".")[1:]:
                # A process that died may have had this one's number; what is older than this run is not of it.
                path = os.path.join(directory, name)
                if not word.isdigit() or len(word) > 10 or _core._recording_path(target, int(word)) != path:
                    continue
                try:
                    written = os.stat(path).st_mtime
                except OSError:  # the program has removed it
                    continue
                if written >= self.started - 1:
                    shown = os.path.join(os.path.dirname(self.shown), os.fsdecode(name))
                    lines.append((int(word), "mprofile: process {} wrote {}\n".format(int(word), shown)))
        return "".join(line for _, line in sorted(lines))

    def on_sigterm(self, number: int, frame: Optional[FrameType]) -> None:
        _core._spare()
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
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and session.pid != 1:
        signal.signal(signal.SIGTERM, session.on_sigterm)
        _core._guard_signal(signal.SIGTERM)
        os.register_at_fork(
            before=session.before_fork,
            after_in_parent=session.after_fork_in_parent,
            after_in_child=session.after_fork_in_child,
        )
    session.start()
