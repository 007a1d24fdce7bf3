# SPDX-License-Identifier: MIT
"""Runs the programs of the integration tests, each in an interpreter of its own."""

from __future__ import annotations

import sys

from processes import output, start


def run(code: str, *arguments: str, timeout: float = 60.0) -> str:
    """What the program writes to stdout. AssertionError with its stderr if it fails or does not end."""
    process = start([sys.executable, "-c", code, *arguments])
    out, err = output(process, timeout)
    assert process.returncode == 0, "exit status {}\n{}\n{}".format(process.returncode, out, err)
    return out
