# SPDX-License-Identifier: MIT
"""Recording from the environment: how processes that a recorded program starts come to record themselves.

`mprofile-autostart.pth`, in site-packages, imports this at the start of an interpreter that has MPROFILE_RECORD in its
environment, and does nothing in all others. `mprofile run` sets the variables for its program's children; they may be
set by hand just as well.

MPROFILE_RECORD               path of the profile; each process writes beside it: heap.pb.gz -> heap.4711.pb.gz
MPROFILE_RECORD_RATE          mean bytes between samples, like 128K (default: 512K); 0 records every block
MPROFILE_RECORD_FRAMES        most frames kept of a stack (default: 128)
MPROFILE_RECORD_EVERY         least seconds between two writes (default: 1)
MPROFILE_RECORD_HISTORY       directory for profiles over time; not set: none
MPROFILE_RECORD_HISTORY_SIZE  most bytes of it (default: 128M)
MPROFILE_RECORD_ANONYMOUS     1: neither command line nor directory go into the files

What cannot be used is named in one line on stderr, and the program runs on without. An interpreter that was told to
ignore its environment (-E, -I) does not look at them.
"""

from __future__ import annotations

import os
import sys
from typing import Dict, Optional

RECORD = "MPROFILE_RECORD"
RATE = "MPROFILE_RECORD_RATE"
FRAMES = "MPROFILE_RECORD_FRAMES"
EVERY = "MPROFILE_RECORD_EVERY"
HISTORY = "MPROFILE_RECORD_HISTORY"
HISTORY_SIZE = "MPROFILE_RECORD_HISTORY_SIZE"
ANONYMOUS = "MPROFILE_RECORD_ANONYMOUS"

NAMES = (RECORD, RATE, FRAMES, EVERY, HISTORY, HISTORY_SIZE, ANONYMOUS)

#: In the process that `mprofile run` itself makes, its own start comes first (mprofile/cli/session.py).
RUN = "MPROFILE_RUN"


def variables(
    path: str, rate: int, frames: int, every: float, history: Optional[str], history_size: int
) -> Dict[str, str]:
    """The environment that makes other processes record."""
    result = {RECORD: path, RATE: str(rate), FRAMES: str(frames), EVERY: repr(every)}
    if history is not None:
        result[HISTORY] = history
        result[HISTORY_SIZE] = str(history_size)
    return result


def start() -> bool:
    """Start the profiler and the recording if the environment says so. Returns whether it did; never raises.

    Sub-interpreters come here, too. The recording is the process's: what the first began, or ended, stays so.
    """
    path = os.environ.get(RECORD, "")
    if not path or RUN in os.environ or sys.flags.ignore_environment:
        return False
    try:
        from mprofile import recording

        if recording.recording_info() is not None:
            return False
        _start(path)
    except Exception as error:
        try:
            sys.stderr.write("mprofile: {}={!r}: not recorded: {}\n".format(RECORD, path, error))
        except Exception:
            pass
        return False
    return True


def _start(path: str) -> None:
    import mprofile
    from mprofile import recording
    from mprofile._sizes import parse_size

    def number(name: str, default: str, kind: str) -> float:
        text = os.environ.get(name, "").strip() or default
        try:
            return parse_size(text) if kind == "size" else int(text) if kind == "whole" else float(text)
        except ValueError as error:
            raise ValueError("{}={!r}: {}".format(name, text, error)) from None

    rate = int(number(RATE, "512K", "size"))
    frames = int(number(FRAMES, "128", "whole"))
    every = number(EVERY, "1", "seconds")
    history = os.environ.get(HISTORY) or None
    history_size = int(number(HISTORY_SIZE, str(recording.HISTORY_SIZE), "size"))
    mprofile.start(frames, rate)
    recording.begin(path, every, recording.GROWTH, history, history_size, recording.describe(), child=True)


start()
