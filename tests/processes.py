# SPDX-License-Identifier: MIT
"""Processes that tests start: the command, and programs that must come to an end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from typing import Any, Sequence, Tuple

#: The script that pip installed beside the interpreter.
MPROFILE = os.path.join(os.path.dirname(sys.executable), "mprofile")


def run_mprofile(*words: str, **options: Any) -> "subprocess.CompletedProcess[Any]":
    """What the command did; text, unless the options of subprocess.run() say otherwise."""
    options = dict({"universal_newlines": True, "timeout": 60}, **options)
    return subprocess.run([MPROFILE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def start(command: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
    """A process that leads a session of its own, has nothing to read, and is read as text. It runs outside the source
    tree, whose package has no extension module, unless the options of subprocess.Popen() say where."""
    options = dict({"cwd": tempfile.gettempdir(), "stderr": subprocess.PIPE}, **options)
    options["env"] = dict(options.get("env", os.environ), PYTHONFAULTHANDLER="1")
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        errors="backslashreplace",  # CPython's debug hooks print bytes of memory as they are
        start_new_session=True,
        **options,
    )


def preload(library: "os.PathLike[str] | str") -> str:
    """LD_PRELOAD for one more library: after those that this process was started with, as a sanitizer's, which must be
    first."""
    return " ".join(filter(None, [os.environ.get("LD_PRELOAD", "").replace(":", " "), os.fspath(library)]))


def output(process: "subprocess.Popen[str]", timeout: float) -> Tuple[str, str]:
    """What a process, which leads a session of its own, wrote to stdout and stderr. AssertionError with that, and with
    the stacks that faulthandler writes, if it does not end."""
    try:
        return process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGABRT)
    try:
        out, err = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    raise AssertionError("still running after {} seconds\n{}\n{}".format(timeout, out, err or ""))
