# SPDX-License-Identifier: MIT
"""Starting the profiler from the environment, when mprofile is imported.

MPROFILERATE    mean bytes between samples, like 131072, 128K or 512KiB; 0 and 1 record every block. Starts it.
MPROFILEFRAMES  most frames kept of a stack, 128 if not set. By itself it starts nothing.

A variable that is set to nothing counts as not set. A value that cannot be used is named in one line on stderr, and the
program runs on without the profiler.
"""

from __future__ import annotations

import os
import sys

from mprofile import _core
from mprofile._sizes import parse_size

RATE = "MPROFILERATE"
FRAMES = "MPROFILEFRAMES"

_DEFAULT_FRAMES = 128
_MOST_FRAMES = 65535


def _parse_frames(text: str) -> int:
    try:
        frames = int(text)
    except ValueError:
        frames = 0
    if not 1 <= frames <= _MOST_FRAMES:
        raise ValueError("{!r} is not a whole number of frames from 1 to {}".format(text, _MOST_FRAMES))
    return frames


def start() -> bool:
    """Start the profiler if MPROFILERATE says so. Returns whether it did; never raises for a value that is no good."""
    rate_text = os.environ.get(RATE, "").strip()
    frames_text = os.environ.get(FRAMES, "").strip()
    if not rate_text:
        return False
    variable = FRAMES
    try:
        frames = _parse_frames(frames_text) if frames_text else _DEFAULT_FRAMES
        variable = RATE
        _core.start(frames, parse_size(rate_text))
    except (ValueError, RuntimeError, MemoryError) as error:
        value = os.environ.get(variable)
        sys.stderr.write(
            "mprofile: {}={!r} not used, running without the profiler: {}\n".format(variable, value, error)
        )
        return False
    return True
