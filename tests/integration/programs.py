# SPDX-License-Identifier: MIT
"""Runs the programs of the integration tests, each in an interpreter of its own, and Go's pprof tool."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from processes import output, start


def run(code: str, *arguments: str, timeout: float = 300.0) -> str:
    """What the program writes to stdout. AssertionError with its stderr if it fails or does not end."""
    process = start([sys.executable, "-c", code, *arguments])
    out, err = output(process, timeout)
    assert process.returncode == 0, "exit status {}\n{}\n{}".format(process.returncode, out, err)
    return out


def go_pprof(*words: str, **options: Any) -> str:
    """What Go's pprof tool writes to stdout. Newer releases of Go compile it when it is first asked for."""
    done = subprocess.run(
        ["go", "tool", "pprof", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=600,
        env=dict(os.environ, PPROF_NO_BROWSER="1"),
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
