# SPDX-License-Identifier: MIT
"""Hazard 19: what ends a program, or takes its disk, leaves the last complete profile; and the program does not notice.

Kills, crashes, memory groups: tests/integration/test_kill.py. Disks: test_disk.py there. Here is the rest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Tuple

import pytest
from harness import FREE_THREADED, TIMEOUT, environment

from mprofile.profile import Profile


def program(code: str, directory: str, *arguments: str) -> Tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=directory, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=TIMEOUT,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


VANISHED = """
import os, sys, time, warnings
import mprofile
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside a thread, which may be writing
os.mkdir("place")
os.chdir("place")
mprofile.start(sample_rate=0)
if sys.argv[1] == "before":
    os.rmdir("../place")
mprofile.start_recording(sys.argv[2], every=0.02)
if sys.argv[1] == "after":
    os.rmdir("../place")
kept = bytearray(3000016)
time.sleep(0.1)
if os.fork() == 0:
    own = bytearray(2000016)
    sys.exit(0)
os.wait()
assert mprofile.stop_recording()
mprofile.take_snapshot().write_pprof(sys.argv[2] + ".2")
print("done")
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_hazard_19_a_working_directory_that_vanishes(moment: str, tmp_path: object) -> None:
    """The file is elsewhere: it is written as ever, by a forked child, too."""
    path = os.path.join(str(tmp_path), "heap.pb.gz")
    assert program(VANISHED, str(tmp_path), moment, path) == (0, "done\n", "")
    assert 3000017 <= max(row.flat.inuse.bytes for row in Profile.read(path).rows("line")) < 3001000
    assert len([name for name in os.listdir(str(tmp_path)) if name.endswith(".gz")]) == 2


RELATIVE = """
import os, sys, time
import mprofile
os.mkdir("place")
os.chdir("place")
mprofile.start(sample_rate=0)
mprofile.start_recording("heap.pb.gz", every=0.02)
import shutil
while os.path.exists("../place"):  # a file may be begun between the look into the directory and its removal
    shutil.rmtree("../place", ignore_errors=True)
kept = [bytearray(100000) for _ in range(100)]
time.sleep(0.1)
complete = mprofile.stop_recording()
print(complete, mprofile.recording.recording_info()["reason"], len(kept))
"""


def test_hazard_19_a_file_in_a_working_directory_that_vanishes(tmp_path: object) -> None:
    status, out, err = program(RELATIVE, str(tmp_path))
    assert (status, out) == (0, "False there is no such directory 100\n"), err
    assert err.count("\n") == 1 and "there is no such directory" in err


#: Arguments: the file, the limit's name and its value, which the kernel kills by.
KILLED = """
import resource, sys, time
import mprofile
mprofile.start(sample_rate=0)
mprofile.start_recording(sys.argv[1], every=0.01)
kept = [bytearray(10000) for _ in range(200)]
def publications():
    return mprofile.recording.recording_info()["publications"]
before, until = publications(), time.monotonic() + 120
while publications() < before + 2:
    assert time.monotonic() < until, "not written again"
    time.sleep(0.02)
seconds = int(time.process_time() + 1.2)  # of the whole process
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
while True:
    [bytearray(i) for i in range(100)]
"""


def test_hazard_19_killed_by_the_kernel_at_a_limit(tmp_path: object) -> None:
    """Of processor time, where soft and hard limit are one: SIGKILL without a warning, in the middle of allocating."""
    path = os.path.join(str(tmp_path), "heap.pb.gz")
    status, _, err = program(KILLED, str(tmp_path), path)
    assert status == -signal.SIGKILL and err == ""
    profile = Profile.read(path)
    assert "mprofile: state=running" in profile.comments and profile.totals().inuse.bytes > 2000000


#: Arguments: the seed, the file. Ends while threads allocate, snapshots are taken and a recording goes on.
ENDED = """
import os, random, sys, threading, time
import mprofile
draw = random.Random(int(sys.argv[1]))
mprofile.start(sample_rate=draw.choice([0, 64]))
mprofile.start_recording(sys.argv[2], every=0.01, history=sys.argv[2] + ".past")
kept = [bytearray(10000) for _ in range(200)]
threading.excepthook = lambda arguments: None  # take_snapshot() after stop(); stderr may be in use at the end
def work():
    while True:
        [bytearray(i) for i in range(100)]
        mprofile.take_snapshot()
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(draw.random() * 0.1)
how = draw.choice(["fall off", "os._exit", "exec", "sys.exit", "stop"])
print(how, flush=True)
if how == "stop":
    threading.Thread(target=mprofile.stop).start()
if how == "os._exit":
    os._exit(0)
if how == "exec":
    os.execv("/bin/true", ["true"])
if how == "sys.exit":
    sys.exit(0)
"""


@pytest.mark.skipif(
    FREE_THREADED or sys.version_info[:2] in ((3, 9), (3, 10)),
    reason="daemon threads that allocate at the end crash some of these interpreters without a profiler, too",
)
def test_hazard_19_an_end_at_any_moment(tmp_path: object) -> None:
    """In any way; one in order leaves all there is. The seed is 1, or MPROFILE_TEST_SEED."""
    first = int(os.environ.get("MPROFILE_TEST_SEED", "1"))
    for seed in range(first, first + 20):
        path = os.path.join(str(tmp_path), "heap{}.pb.gz".format(seed))
        status, how, err = program(ENDED, str(tmp_path), str(seed), path)
        assert status == 0, (seed, err)
        profile = Profile.read(path)
        if how not in ("os._exit\n", "exec\n"):
            assert "mprofile: state=final" in profile.comments, (seed, how)
            assert profile.totals().inuse.bytes > 1000000, (seed, how)
