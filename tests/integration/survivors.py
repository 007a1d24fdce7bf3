# SPDX-License-Identifier: MIT
"""What the tests of recordings that are cut short share."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap
import time
from typing import Any, Callable, Dict, List, Set

import pytest

from mprofile.profile import Profile

MIB = 1 << 20
MPROFILE = [sys.executable, "-m", "mprofile"]


def wait_until(what: str, condition: Callable[[], object], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited {} seconds for {}".format(seconds, what)
        time.sleep(0.02)


def comments(profile: Profile) -> Dict[str, str]:
    """The comments `mprofile: key=value` of a profile."""
    found = [comment[len("mprofile: ") :].split("=", 1) for comment in profile.comments]
    return {item[0]: item[1] for item in found if len(item) == 2}


def check(path: pathlib.Path) -> Profile:
    """Read a profile that may be of any moment; it has to make sense."""
    profile = Profile.read(str(path))
    totals = profile.totals()
    notes = comments(profile)
    assert notes["state"] in ("running", "final")
    assert int(notes["publications"]) >= 1
    assert path.stat().st_mode & 0o777 == 0o600
    # Each is rounded by itself in the file.
    stacks = len(profile.rows("stack"))
    assert totals.inuse.bytes <= totals.peak.bytes + stacks <= totals.allocated.bytes + 2 * stacks
    assert totals.inuse.blocks >= 0
    rows = profile.rows("line")
    assert sum(row.flat.inuse.bytes for row in rows) == pytest.approx(totals.inuse.bytes, rel=1e-6, abs=1)
    return profile


def temporary_files(directory: pathlib.Path) -> Set[str]:
    return {name for name in os.listdir(str(directory)) if name.startswith(".")}


def write(directory: pathlib.Path, text: str) -> str:
    (directory / "program.py").write_text(textwrap.dedent(text))
    return "program.py"


def command(directory: pathlib.Path, text: str, *options: str) -> List[str]:
    """How to run a program under `mprofile run -o heap.pb.gz`."""
    return [*MPROFILE, "run", "--sample-rate", "16K", "-o", "heap.pb.gz", *options, write(directory, text)]


def run(
    directory: pathlib.Path, text: str, *options: str, **arguments: Any
) -> "subprocess.CompletedProcess[str]":
    """Run it to its end."""
    return subprocess.run(
        command(directory, text, *options),
        cwd=str(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=300,
        **arguments,
    )


def bytes_in(profile: Profile) -> float:
    return profile.totals().inuse.bytes
