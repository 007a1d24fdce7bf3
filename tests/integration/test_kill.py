# SPDX-License-Identifier: MIT
"""A recording survives what ends the program: kills at random moments, crashes, no memory.

Random moments come from MPROFILE_TEST_SEED, which is 1 if it is not set. No disk is in test_disk.py.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from typing import Any, Callable, Iterator, List, Sequence

import pytest
from programs import go_pprof
from survivors import MIB, MPROFILE, bytes_in, check, command, comments, run, temporary_files, wait_until, write

from mprofile.profile import Profile

sanitized = pytest.mark.skipif(
    "TESTS_SANITIZED" in os.environ, reason="the address sanitizer needs memory and signals for itself"
)

SEED = int(os.environ.get("MPROFILE_TEST_SEED", "1"))


def go_reads(paths: Sequence[pathlib.Path]) -> None:
    for path in paths if shutil.which("go") else ():
        assert "Type: inuse_space" in go_pprof("-top", str(path))


# ---- random moments ----

#: Starts to record, says so, and then allocates and frees without end.
RESTLESS = """
import os, random, sys
import mprofile
seed = int(sys.argv[1])
def work():
    choose = random.Random(seed)
    kept = {}
    while True:
        for _ in range(200):
            key = choose.randrange(2000)
            kept[key] = bytearray(choose.randrange(1, 20000))
            if choose.random() < 0.4:
                kept.pop(choose.randrange(2000), None)
"""

ALONE = (
    RESTLESS
    + """
mprofile.start(sample_rate=4096)
mprofile.start_recording("alone.%d.pb.gz" % seed, every=0.01)
print("ready", flush=True)
work()
"""
)

FORKED = (
    RESTLESS
    + """
mprofile.start(sample_rate=4096)
mprofile.start_recording("heap.pb.gz", every=0.01)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        seed = int(line)
        work()
    print(pid, flush=True)
"""
)


def kill_after(process: "subprocess.Popen[str]", seconds: float) -> None:
    time.sleep(seconds)
    process.kill()


def is_over(pid: int) -> bool:
    """Whether all threads of a killed process have ended; its entry may be left, if nobody waits for it."""
    process = pathlib.Path("/proc") / str(pid)
    try:
        return ") Z " in (process / "stat").read_text() and len(os.listdir(str(process / "task"))) == 1
    except OSError:
        return True


def test_killed_at_random_moments(tmp_path: pathlib.Path) -> None:
    """40 programs of their own, four at once."""
    choose = random.Random(SEED)
    (tmp_path / "alone.py").write_text(ALONE)
    for group in range(10):
        processes = {}
        for number in range(4 * group, 4 * group + 4):
            processes[number] = subprocess.Popen(
                [sys.executable, "alone.py", str(number)], cwd=str(tmp_path), stdout=subprocess.PIPE,
                universal_newlines=True,
            )
        for process in processes.values():
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for process in processes.values():
            kill_after(process, choose.random() * 0.05)
        for number, process in processes.items():
            process.communicate(timeout=300)
            assert process.returncode == -signal.SIGKILL
            check(tmp_path / "alone.{}.pb.gz".format(number))
    # Each was writing one file at most, and what is left of it is out of the way of any reader.
    assert len(temporary_files(tmp_path)) <= 40
    assert all(re.match(r"\.alone\.\d+\.pb\.gz\.\d+\.[0-9a-f]{16}\.tmp$", name) for name in temporary_files(tmp_path))
    go_reads([tmp_path / "alone.{}.pb.gz".format(number) for number in range(0, 40, 8)])


def test_forked_children_killed_at_random_moments(tmp_path: pathlib.Path) -> None:
    """160 children of one program, four at once, of which two have written before; it lives on and records itself."""
    choose = random.Random(SEED)
    (tmp_path / "forked.py").write_text(FORKED)
    parent = subprocess.Popen(
        [sys.executable, "forked.py", "0"], cwd=str(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    written: List[pathlib.Path] = []
    killed: List[int] = []
    try:
        assert parent.stdin is not None and parent.stdout is not None
        for group in range(40):
            pids = []
            for number in range(4):
                parent.stdin.write("{}\n".format(4 * group + number))
                parent.stdin.flush()
                pids.append(int(parent.stdout.readline()))
            for number, pid in enumerate(pids):
                if number >= 2:
                    wait_until("a child's profile", (tmp_path / "heap.{}.pb.gz".format(pid)).exists)
                time.sleep(choose.random() * 0.06)
                os.kill(pid, signal.SIGKILL)
            killed += pids
            for pid in pids:
                path = tmp_path / "heap.{}.pb.gz".format(pid)
                if path.exists():
                    profile = check(path)
                    assert comments(profile)["pid"] == str(pid)
                    assert comments(profile)["parent"] == str(parent.pid)
                    written.append(path)
        parent.communicate(timeout=300)
    finally:
        parent.kill()
    assert parent.returncode == 0
    assert len(written) >= 80, "children that lived long enough to write"
    assert comments(check(tmp_path / "heap.pb.gz"))["state"] == "final"
    stale = temporary_files(tmp_path)
    assert len(stale) <= 160
    go_reads(written[:: len(written) // 5])
    # The next recording with this target removes what they left, if they are not still held up in a write.
    wait_until("the end of those that were killed", lambda: all(is_over(pid) for pid in killed))
    (tmp_path / "next.py").write_text(
        "import mprofile\nmprofile.start(sample_rate=4096)\nmprofile.start_recording('heap.pb.gz')\n"
    )
    subprocess.run([sys.executable, "next.py"], cwd=str(tmp_path), check=True, timeout=300)
    assert temporary_files(tmp_path) == set()


def test_a_history_of_a_killed_program_is_whole(tmp_path: pathlib.Path) -> None:
    choose = random.Random(SEED)
    program = ALONE.replace("every=0.01)", "every=0.01, history='past', history_size=300000)")
    (tmp_path / "alone.py").write_text(program)
    for number in range(10):
        process = subprocess.Popen(
            [sys.executable, "alone.py", "0"], cwd=str(tmp_path), stdout=subprocess.PIPE, universal_newlines=True
        )
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        kill_after(process, choose.random() * 0.2)
        process.communicate(timeout=300)
        names = [name for name in os.listdir(str(tmp_path / "past")) if not name.startswith(".")]
        assert names
        for name in names:
            check(tmp_path / "past" / name)
        # Killed between a write and the thinning after it, there is one file more.
        sizes = sorted((tmp_path / "past" / name).stat().st_size for name in names)
        assert sum(sizes[:-1]) <= 300000


# ---- crashes ----

BEFORE = """
import ctypes, os, signal
kept = [bytearray(10000) for _ in range(1800)]
def last():
    return bytearray(2000000)
kept.append(last())
os.read(0, 1)
"""


class Waiting:
    """A program under `mprofile run` that waits for a byte from its stdin, and goes on."""

    def __init__(self, directory: pathlib.Path, text: str, *options: str, **arguments: Any) -> None:
        self.path = directory / "heap.pb.gz"
        self.process = subprocess.Popen(
            command(directory, text, *options), cwd=str(directory), stdin=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True, **arguments,
        )

    def until(self, what: str, condition: Callable[[Profile], bool]) -> None:
        """Wait until its file is so."""

        def is_so() -> bool:
            assert self.process.poll() is None, self.process.communicate()[1]
            return self.path.exists() and condition(check(self.path))

        wait_until(what, is_so)

    def tell(self, byte: str = ".") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(byte)
        self.process.stdin.flush()

    def end(self, byte: str = ".") -> int:
        """Let the program come to its end. Returns its exit status."""
        self.process.communicate(byte, timeout=300)
        return int(self.process.returncode)


@contextlib.contextmanager
def waiting(directory: pathlib.Path, text: str, *options: str, **arguments: Any) -> Iterator[Waiting]:
    program = Waiting(directory, text, *options, **arguments)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.communicate()


def is_settled(path: pathlib.Path) -> bool:
    """Whether nobody has written a file for a moment, nor begins to."""
    before = path.stat().st_mtime_ns
    time.sleep(0.3)
    return path.stat().st_mtime_ns == before and temporary_files(path.parent) == set()


@pytest.mark.parametrize(
    "ending, status",
    [
        ("os._exit(3)", 3),
        ("os.abort()", -signal.SIGABRT),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        pytest.param("ctypes.string_at(0)", -signal.SIGSEGV, marks=sanitized),
        pytest.param("os.kill(os.getpid(), signal.SIGBUS)", -signal.SIGBUS, marks=sanitized),
        ("os.execv('/bin/true', ['true'])", 0),
    ],
)
def test_crash(tmp_path: pathlib.Path, ending: str, status: int) -> None:
    with waiting(tmp_path, BEFORE + ending + "\n", "--every", "0.05") as program:
        program.until("the last block", lambda profile: "last" in {row.name for row in profile.rows("function")})
        wait_until("a file that nobody writes", lambda: is_settled(program.path))
        assert program.end() == status
    profile = check(tmp_path / "heap.pb.gz")
    low, high = profile.totals().inuse.bytes_interval(0.999999)
    assert low <= 20 * MIB <= high * 1.1
    assert comments(profile)["state"] == "running"
    assert temporary_files(tmp_path) == set()


def test_growth_just_before_the_crash_is_in_the_file(tmp_path: pathlib.Path) -> None:
    """Long before the next regular write."""
    text = "import os\nkept = bytearray(60 << 20)\nos.read(0, 1)\nos._exit(0)\n"
    with waiting(tmp_path, text, "--every", "3600") as program:
        program.until("the growth", lambda profile: bytes_in(profile) >= 60 * MIB)
        assert program.end() == 0
    assert check(tmp_path / "heap.pb.gz").totals().inuse.bytes >= 60 * MIB


def test_killed_by_the_age_of_a_second(tmp_path: pathlib.Path) -> None:
    """Without growth the file is at most a second old: what was freed is out of it.

    A second, unless the machine holds up the write, or the one before it, after which the thread rests.
    """
    text = """
    import os
    while True:
        kept = bytearray(60 << 20)
        os.read(0, 1)
        del kept
        if os.read(0, 1) == b"e":
            os._exit(0)
    """
    with waiting(tmp_path, text) as program:
        for _ in range(5):
            program.until("what is kept", lambda profile: bytes_in(profile) >= 60 * MIB)
            begun = time.monotonic()
            program.tell()
            program.until("a file without what was freed", lambda profile: bytes_in(profile) < 20 * MIB)
            age = time.monotonic() - begun
            if age < 1.5:
                break
            program.tell()
        assert age < 1.5
        assert program.end("e") == 0
    assert check(tmp_path / "heap.pb.gz").totals().inuse.bytes < 20 * MIB


# ---- no memory ----

GROW = """
import sys
kept = []
while True:
    kept.append(bytearray(b"x") * (1 << 20))
"""


@sanitized
def test_address_space_exhausted(tmp_path: pathlib.Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (400 * MIB, 400 * MIB))

    done = run(tmp_path, GROW, preexec_fn=limit)
    assert done.returncode == 1
    assert "MemoryError" in done.stderr
    assert check(tmp_path / "heap.pb.gz").totals().peak.bytes >= 100 * MIB


@contextlib.contextmanager
def memory_cgroup(limit: int) -> Iterator[pathlib.Path]:
    """A control group that may use so much memory; skips where none can be made."""
    name = "mprofile-test-{}".format(os.getpid())
    for base, file in (("memory", "memory.limit_in_bytes"), ("", "memory.max"), ("unified", "memory.max")):
        group = pathlib.Path("/sys/fs/cgroup") / base / name
        if not (group.parent / "cgroup.procs").exists():
            continue
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            try:
                (group / file).write_text(str(limit))
                for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
                    with contextlib.suppress(OSError):
                        if (group / swap).exists():
                            (group / swap).write_text(str(limit) if "limit" in swap else "0")
            except OSError:
                continue
            yield group
            return
        finally:
            for _ in range(100):
                try:
                    group.rmdir()
                    break
                except OSError:
                    time.sleep(0.05)
    pytest.skip("no memory control group can be made here")


@sanitized
def test_killed_by_the_kernel_for_want_of_memory(tmp_path: pathlib.Path) -> None:
    with memory_cgroup(200 * MIB) as group:

        def enter() -> None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

        text = "import os\n" + GROW + "    if len(kept) == 120:\n        os.read(0, 1)\n"
        with waiting(tmp_path, text, preexec_fn=enter) as program:
            program.until("most of what is kept", lambda profile: bytes_in(profile) >= 100 * MIB)
            assert program.end() == -signal.SIGKILL
    profile = check(tmp_path / "heap.pb.gz")
    assert comments(profile)["state"] == "running"
    assert profile.totals().inuse.bytes >= 100 * MIB


# ---- servers that fork ----


def test_workers_that_are_killed_and_replaced(tmp_path: pathlib.Path) -> None:
    """A master, as of gunicorn, keeps three workers; each that was killed has left its profile."""
    text = """
    import os, signal, sys, time
    def work():
        kept = [bytearray(10000) for _ in range(500)]
        while True:
            kept.append(bytearray(20000))
            if len(kept) > 800:
                del kept[500:]
            time.sleep(0.001)
    workers = []
    def fork():
        pid = os.fork()
        if pid == 0:
            work()
        workers.append(pid)
        print(pid, flush=True)
    for _ in range(3):
        fork()
    for line in sys.stdin:
        pid = int(line)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        workers.remove(pid)
        fork()
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    """
    process = subprocess.Popen(
        [*MPROFILE, "run", "--sample-rate", "16K", "--every", "0.05", "-o", "heap.pb.gz", write(tmp_path, text)],
        cwd=str(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        workers = [int(process.stdout.readline()) for _ in range(3)]
        for number in range(6):
            path = tmp_path / "heap.{}.pb.gz".format(workers[number])
            wait_until("a worker's profile", lambda: path.exists() and bytes_in(check(path)) > 4 * MIB)  # noqa: B023
            process.stdin.write("{}\n".format(workers[number]))
            process.stdin.flush()
            workers.append(int(process.stdout.readline()))
        time.sleep(0.5)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    for pid in workers[:6]:
        profile = check(tmp_path / "heap.{}.pb.gz".format(pid))
        low, high = profile.totals().inuse.bytes_interval(0.999999)
        assert low < 12 * MIB and high > 4 * MIB
        assert "mprofile: process {0} wrote heap.{0}.pb.gz\n".format(pid) in errors
    assert comments(check(tmp_path / "heap.pb.gz"))["state"] == "final"
    total = [str(path.name) for path in tmp_path.glob("heap*.pb.gz")]
    done = subprocess.run([*MPROFILE, "merge", *total, "-o", "all.pb.gz"], cwd=str(tmp_path), timeout=300)
    assert done.returncode == 0
    merged = Profile.read(str(tmp_path / "all.pb.gz"))
    assert bytes_in(merged) == pytest.approx(sum(bytes_in(check(tmp_path / name)) for name in total), rel=1e-6)
