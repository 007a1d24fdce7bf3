# SPDX-License-Identifier: MIT
"""Runs the programs of the integration tests, each in an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from processes import output


def run(code: str, *arguments: str, timeout: float = 60.0) -> str:
    """What the program writes to stdout. AssertionError with its stderr if it fails or does not end."""
    environment = dict(os.environ, PYTHONFAULTHANDLER="1")
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=tempfile.gettempdir(),  # not the source tree, whose package has no extension module
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        start_new_session=True,
    )
    out, err = output(process, timeout)
    assert process.returncode == 0, "exit status {}\n{}\n{}".format(process.returncode, out, err)
    return out
