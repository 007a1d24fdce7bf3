# SPDX-License-Identifier: MIT
"""Hazard 18: the stack that ends: Python's, by RecursionError, and C's, by a signal."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from typing import List

import pytest
from harness import FREE_THREADED, blocks, environment, isolated, recording

from mprofile.profile import Profile

KILOBYTES = 512


@pytest.mark.parametrize("rate", [0, 2])
@isolated
def test_hazard_18_recursion_that_python_ends(rate: int) -> None:
    """Dozens of times, also where the limit is met in a call from C. What the frames held goes."""

    def down(depth: int) -> List[object]:
        block = bytearray(5002)
        return [block, down(depth + 1)]

    def through_c(depth: int) -> List[object]:
        block = bytearray(5002)
        return [block, sorted([1, 2], key=lambda _: len(through_c(depth + 1)))]

    caught = 0
    with recording(sample_rate=rate):
        kept = [bytearray(6006) for _ in range(50)]
        for number in range(60):
            try:
                (down, through_c)[number % 2](0)
            except RecursionError:
                caught += 1
        assert caught == 60
        assert blocks(5003) == [] and len(blocks(6007)) == 50
        del kept
        assert blocks(6007) == []


#: Arguments: the rate, the file. Each level is a call of C that calls Python, so that each takes C's stack. Lines about
#: mprofile are taken out to see what happens without.
OVERFLOW = """
import faulthandler, sys, time
import mprofile
faulthandler.enable()
sys.setrecursionlimit(10**8)
mprofile.start(sample_rate=int(sys.argv[1]))
mprofile.start_recording(sys.argv[2], every=0.01)
kept = [bytearray(10000) for _ in range(100)]
late, due = time.monotonic() + 60, mprofile.recording.recording_info()["publications"] + 2  # the next may have begun
while time.monotonic() < late and mprofile.recording.recording_info()["publications"] < due: time.sleep(0.01)
assert mprofile.recording.recording_info()["publications"] >= due, "not written twice in a minute"
def down(depth):
    block = bytearray(50)
    return [block, sorted([depth], key=down)]
print("going", flush=True)
down(0)
"""


@pytest.mark.skipif("TESTS_SANITIZED" in os.environ, reason="the address sanitizer handles the signal")
@pytest.mark.skipif(FREE_THREADED or sys.version_info >= (3, 14), reason="Python looks at C's stack there, and raises")
@pytest.mark.parametrize("rate", [0, 4096])
def test_hazard_18_a_stack_of_c_that_overflows(rate: int, tmp_path: object) -> None:
    """The process ends by the signal that it would have ended by, faulthandler says where, and the file is whole."""
    path = os.path.join(str(tmp_path), "heap.pb.gz")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (KILOBYTES << 10, KILOBYTES << 10))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def overflow(code: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", code, str(rate), path], cwd=str(tmp_path), env=environment(), preexec_fn=limit,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=120,
        )  # fmt: skip

    alone = "\n".join(line for line in OVERFLOW.splitlines() if "mprofile" not in line)
    expected = overflow(alone)
    assert expected.returncode == -signal.SIGSEGV, expected.stderr[-1000:]
    done = overflow(OVERFLOW)
    assert (done.returncode, done.stdout) == (-signal.SIGSEGV, "going\n"), done.stderr[-1000:]
    assert "Fatal Python error: Segmentation fault" in done.stderr and "in down" in done.stderr
    profile = Profile.read(path)
    assert "mprofile: state=running" in profile.comments
    assert profile.totals().inuse.bytes > 500000
