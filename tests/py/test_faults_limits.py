# SPDX-License-Identifier: MIT
"""A recording in a process that comes to one of its limits, and gets away from it again."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

#: Arguments: the limit's name, its value (0: as much as is in use now), the file.
PROGRAM = """
import os, resource, signal, sys, time
import mprofile
from mprofile import recording
from mprofile.profile import Profile

limit, value, target = getattr(resource, sys.argv[1]), int(sys.argv[2]), sys.argv[3]
SIZE = 3000017
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
mprofile.start(sample_rate=0)
mprofile.start_recording(target, every=0.02, growth=1e9)

def until(key, number):
    for _ in range(12000):
        info = recording.recording_info()
        if info[key] >= number:
            return info
        time.sleep(0.01)
    sys.exit("{} in two minutes, {!r}".format(key, info))

def size():
    with open("/proc/self/statm") as statm:  # a debug build tells of a file that is left open
        return int(statm.read().split()[0]) * resource.getpagesize()

def descriptor():
    lowest = os.dup(0)
    os.close(lowest)
    return lowest

def least(look):
    "What is in use between two writes: one that is on needs memory and a descriptor, which are free again after it."
    found, due = look(), recording.recording_info()["publications"] + 2
    for _ in range(120000):
        found = min(found, look())
        if recording.recording_info()["publications"] >= due:
            return found
        time.sleep(0.001)
    sys.exit("not written twice in two minutes")

def content():
    profile = Profile.read(target)
    for _ in range(3000):  # there may be a write on, but not at each look
        temporary = [name for name in os.listdir(os.path.dirname(target)) if name.startswith(".")]
        if not temporary:
            break
        time.sleep(0.01)
    assert temporary == []
    sizes = [row.flat.inuse.bytes for row in profile.rows("line")]
    return profile, sum(SIZE < size < SIZE + 100 for size in sizes)

until("publications", 2)
content()
soft, hard = resource.getrlimit(limit)
kept = [bytearray(SIZE)]
if limit == resource.RLIMIT_AS:
    value = least(size)
elif limit == resource.RLIMIT_NOFILE:
    value = least(descriptor)
failures = recording.recording_info()["failures"]
resource.setrlimit(limit, (value, hard))
kept.append([(i,) for i in range(50)])
info = until("failures", failures + 2)
resource.setrlimit(limit, (soft, hard))
assert (len(kept[0]), len(kept[1])) == (SIZE, 50)
content()
until("publications", recording.recording_info()["publications"] + 1)
profile, count = content()
assert count == 1, "the block is not in the file that was written without the limit"
notes = [comment for comment in profile.comments if comment.startswith("mprofile: failure")]
assert notes[0].startswith("mprofile: failures=") and int(notes[0].split("=")[1]) >= 2, notes
print(notes[1][len("mprofile: failure="):])
assert mprofile.stop_recording()
"""


@pytest.mark.parametrize(
    "limit, value, reason",
    [
        ("RLIMIT_NOFILE", 0, "too many open files (open)"),
        ("RLIMIT_FSIZE", 64, "the file would be larger than the process may write (write)"),
        ("RLIMIT_AS", 0, "no memory (mmap)"),
    ],
)
def test_limit_that_is_lifted(tmp_path: pathlib.Path, limit: str, value: int, reason: str) -> None:
    target = tmp_path / "heap.pb.gz"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, limit, str(value), str(target)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=600,
    )
    assert (done.returncode, done.stdout) == (0, reason + "\n"), done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("mprofile: cannot write {}: ".format(target))
