# SPDX-License-Identifier: MIT
"""A recording whose file cannot be written: the program does not notice, and the file comes back with the disk."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Callable, Iterator, List, Optional

import pytest
from survivors import MIB, bytes_in, check, comments, temporary_files, wait_until, write

from mprofile.profile import Profile


@contextlib.contextmanager
def small_disk(directory: pathlib.Path, size: str) -> Iterator[pathlib.Path]:
    """A file system of its own; skips where none can be mounted."""
    place = directory / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    words = ["mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", str(place)]
    if subprocess.call(words, stderr=subprocess.DEVNULL) != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.call(["umount", "-l", str(place)])


#: A program that goes through steps as it is told, so that the test can change the disk meanwhile.
STEPS = """
import atexit, os, shlex, stat, sys
import mprofile, mprofile._files  # what the next user cannot read
from mprofile.recording import recording_info
if len(sys.argv) > 2:
    os.setuid(int(sys.argv[2]))
mprofile.start(sample_rate=0)
mprofile.start_recording(sys.argv[1], every=0.05)
kept = []
print("ready", flush=True)
for line in sys.stdin:
    kept.append(bytearray(int(line)))
    print(recording_info()["failures"], flush=True)
"""


class Stepper:
    """The program STEPS."""

    def __init__(self, directory: pathlib.Path, target: pathlib.Path, *arguments: str) -> None:
        (directory / "steps.py").write_text(STEPS)
        self.target = target
        self.process = subprocess.Popen(
            [sys.executable, str(directory / "steps.py"), str(target), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def step(self, size: int) -> int:
        """Let the program allocate. Returns how often its file could not be written so far."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("{}\n".format(size))
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def step_in_vain(self, size: int) -> None:
        """Let the program allocate where its file cannot be written, and wait until it has tried that."""
        failures = self.step(size)
        # The first may be of an attempt that was under way.
        wait_until("attempts to write that fail", lambda: self.step(0) >= failures + 2)

    def wait_for(self, condition: Callable[[Profile], bool]) -> Profile:
        """The file as soon as it is so."""
        profile: Optional[Profile] = None
        end = time.monotonic() + 300
        while time.monotonic() < end:
            if self.target.exists():
                profile = check(self.target)
                if condition(profile):
                    return profile
            time.sleep(0.05)
        raise AssertionError("not in 300 seconds: {!r}".format(profile and profile.comments))

    def end(self) -> str:
        """End the program in order. Returns its stderr."""
        out, errors = self.process.communicate(timeout=300)
        assert (self.process.returncode, out) == (0, "")
        return errors


def test_full_disk(tmp_path: pathlib.Path) -> None:
    with small_disk(tmp_path, "400k") as disk:
        program = Stepper(tmp_path, disk / "heap.pb.gz")
        program.step(3 * MIB)
        program.wait_for(lambda profile: bytes_in(profile) > 3 * MIB)
        with contextlib.suppress(OSError):
            (disk / "filler").write_bytes(b"x" * MIB)
        program.step_in_vain(4 * MIB)
        assert 3 * MIB < bytes_in(check(disk / "heap.pb.gz")) < 5 * MIB
        wait_until("no temporary file between two attempts", lambda: temporary_files(disk) == set())
        os.unlink(str(disk / "filler"))
        profile = program.wait_for(lambda profile: bytes_in(profile) > 7 * MIB)
        assert comments(profile)["failure"] == "no space left on the disk (write)"
        assert int(comments(profile)["failures"]) >= 1
        errors = program.end()
        assert errors.count("\n") == 1
        assert errors.startswith("mprofile: cannot write {}: no space left on the disk".format(disk / "heap.pb.gz"))
        assert temporary_files(disk) == set()


def test_disk_that_becomes_read_only(tmp_path: pathlib.Path) -> None:
    with small_disk(tmp_path, "10m") as disk:
        program = Stepper(tmp_path, disk / "heap.pb.gz")
        program.step(3 * MIB)
        program.wait_for(lambda profile: bytes_in(profile) > 3 * MIB)
        if subprocess.call(["mount", "-o", "remount,ro", str(disk)]) != 0:
            pytest.skip("the file system cannot be made read-only")
        program.step_in_vain(4 * MIB)
        errors = program.end()
        assert bytes_in(check(disk / "heap.pb.gz")) < 5 * MIB
        assert errors.count("\n") == 1 and "the file system is read-only" in errors


@pytest.fixture
def open_directory() -> Iterator[pathlib.Path]:
    """A directory that other users can come to; pytest's own are closed to them, again and again."""
    directory = pathlib.Path(tempfile.mkdtemp())
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(str(directory))


def test_directory_without_permission(tmp_path: pathlib.Path, open_directory: pathlib.Path) -> None:
    """As a user who may not write there; root may always."""
    place = open_directory / "place"
    place.mkdir()
    arguments: List[str] = []
    if os.geteuid() == 0:
        if not all(directory.stat().st_mode & 0o001 for directory in open_directory.parents):
            pytest.skip("another user cannot come to {}".format(open_directory))
        os.chown(str(place), 65534, 65534)
        arguments = ["65534"]
    program = Stepper(tmp_path, place / "heap.pb.gz", *arguments)
    program.step(3 * MIB)
    program.wait_for(lambda profile: bytes_in(profile) > 3 * MIB)
    place.chmod(0o555)
    program.step_in_vain(4 * MIB)
    assert bytes_in(check(place / "heap.pb.gz")) < 5 * MIB
    place.chmod(0o755)
    profile = program.wait_for(lambda profile: bytes_in(profile) > 7 * MIB)
    assert comments(profile)["failure"] == "permission denied (open)"
    errors = program.end()
    assert errors.count("\n") == 1 and "permission denied" in errors


def test_directory_that_vanishes_and_comes_back(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    program = Stepper(tmp_path, place / "heap.pb.gz")

    def is_gone() -> bool:
        shutil.rmtree(str(place), ignore_errors=True)  # fails if a file is begun meanwhile
        return not place.exists()

    wait_until("the directory's end", is_gone)
    program.step_in_vain(3 * MIB)
    place.mkdir()
    profile = program.wait_for(lambda profile: bytes_in(profile) > 3 * MIB)
    assert comments(profile)["failure"] == "there is no such directory (open)"
    errors = program.end()
    assert errors.count("\n") == 1 and "there is no such directory" in errors


def test_size_limit_of_files(tmp_path: pathlib.Path) -> None:
    """The signal SIGXFSZ that comes with it does not reach the program."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    text = """
    import mprofile
    mprofile.start(sample_rate=4096)
    try:
        mprofile.start_recording("heap.pb.gz")
    except OSError as error:
        print(error.strerror, flush=True)
    """
    done = subprocess.run(
        [sys.executable, write(tmp_path, text)], cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True, preexec_fn=limit, timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "File too large\n")
    assert not (tmp_path / "heap.pb.gz").exists() and temporary_files(tmp_path) == set()


def test_links_that_somebody_planted(tmp_path: pathlib.Path) -> None:
    """At the target, over and over: none is followed, and the recording goes on."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    target = tmp_path / "heap.pb.gz"
    target.symlink_to("victim")
    link = tmp_path / "link"
    program = Stepper(tmp_path, target)
    for number in range(3):
        link.symlink_to("victim")
        os.replace(str(link), str(target))
        program.step((number + 1) * 4 * MIB)
        wait_until("the file in place of the link", lambda: not target.is_symlink())
    program.end()
    assert bytes_in(check(target)) > 24 * MIB
    assert victim.read_text() == "precious"
