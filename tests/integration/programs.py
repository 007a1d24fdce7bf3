# SPDX-License-Identifier: MIT
"""Runs the programs of the integration tests, each in an interpreter of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile


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
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler writes the stacks
        try:
            out, err = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
        raise AssertionError("still running after {} seconds\n{}\n{}".format(timeout, out, err)) from None
    assert process.returncode == 0, "exit status {}\n{}\n{}".format(process.returncode, out, err)
    return out
