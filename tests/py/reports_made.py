# SPDX-License-Identifier: MIT
"""Profiles that the tests of `mprofile report` make, and the rows that it prints of them."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
from typing import Any, List

from processes import run_mprofile

import mprofile
from mprofile.profile import Profile

COMMENTS = [
    "mprofile: command=server.py --port 8080",
    "mprofile: directory=/srv/app",
    "mprofile: interpreter=CPython 3.11.7",
    "mprofile: pid=4711",
    "mprofile: duration=12.5 s",
    "a comment of somebody else",
]


Traces = List["tuple[int, int, tuple[tuple[str, int], ...]]"]


def made(tmp_path: pathlib.Path, traces: Any) -> str:
    """A profile file with the given exact traces."""
    path = str(tmp_path / "made.pb.gz")
    profile = Profile.from_snapshot(mprofile.Snapshot(traces, 128))
    profile.write(path, comments=COMMENTS)
    return path


def trace(size: int, *frames: "tuple[str, int]") -> Any:
    """tracemalloc's tuple: most recent frame first, with the total number of frames from 3.9 on."""
    return (0, size, frames, len(frames)) if sys.version_info >= (3, 9) else (0, size, frames)


APP = ("/srv/app/app.py", 10)
HANDLER = ("/srv/app/app.py", 20)
LIBRARY = ("/srv/none/lib/python3.11/json/decoder.py", 30)

EXACT = [
    trace(1024, LIBRARY, HANDLER, APP),
    trace(1024, LIBRARY, HANDLER, APP),
    trace(6144, HANDLER, APP),
    *[trace(1, APP) for _ in range(512)],
]


def sampled(tmp_path: pathlib.Path) -> str:
    path = str(tmp_path / "sampled.pb.gz")
    mprofile.start(sample_rate=2000, max_frames=16)
    try:
        kept = [bytearray(500) for _ in range(2000)]
        snapshot = mprofile.take_snapshot()
    finally:
        mprofile.stop()
    assert len(kept) == 2000
    Profile.from_snapshot(snapshot).write(path)
    return path


def report(*words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return run_mprofile("report", *words, **options)


def rows_of(text: str) -> List[List[str]]:
    """The cells of the table, without its header: columns are two spaces or more apart."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.split()[:1] == ["flat"]) + 1
    result = []
    for line in lines[first:]:
        if not line:
            break
        result.append(re.split(r" {2,}", line.strip()))
    return result
