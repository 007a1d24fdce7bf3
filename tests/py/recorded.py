# SPDX-License-Identifier: MIT
"""What the tests of recordings share."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap
from typing import Dict, Optional

from mprofile.profile import Profile

MIB = 1 << 20


def comments(path: str) -> Dict[str, str]:
    """The comments `mprofile: key=value` of a profile."""
    found = [comment[len("mprofile: ") :].split("=", 1) for comment in Profile.read(path).comments]
    return {item[0]: item[1] for item in found if len(item) == 2}


def in_use(path: str) -> float:
    return Profile.read(path).totals().inuse.bytes


def execute(
    directory: pathlib.Path, text: str, *options: str, environment: Optional[Dict[str, str]] = None
) -> "subprocess.CompletedProcess[str]":
    """Run a program given as text, in a directory."""
    program = directory / "program.py"
    program.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, *options, str(program)],
        cwd=str(directory),
        env=dict(os.environ, **(environment or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=300,
    )
