# SPDX-License-Identifier: MIT
"""Recording to a file while the program runs: the functions of mprofile.recording.

Other processes are in test_recording_processes.py, how a recording survives what kills the program in
tests/integration/test_kill.py.
"""

from __future__ import annotations

import errno
import os
import pathlib
import re
import stat
import time
from typing import Any, Dict, Iterator, Set

import pytest
from recorded import MIB, comments, execute, in_use

import mprofile
from mprofile import recording
from mprofile.profile import Profile


@pytest.fixture(autouse=True)
def stopped() -> Iterator[None]:
    mprofile.stop()
    yield
    mprofile.stop()


@pytest.fixture
def target(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "heap.pb.gz")


def times_written() -> int:
    info = recording.recording_info()
    return info["publications"] if info is not None else 0


def wait_for(publications: int) -> None:
    for _ in range(6000):
        if times_written() >= publications:
            return
        time.sleep(0.01)
    raise AssertionError("only %r after a minute" % (recording.recording_info(),))


# ---- start, stop, info ----


def test_from_start_to_stop(target: str) -> None:
    mprofile.start(sample_rate=4096)
    assert not recording.is_recording()
    mprofile.start_recording(target)
    assert recording.is_recording()
    assert comments(target)["state"] == "running"
    kept = [bytearray(10000) for _ in range(1000)]
    assert mprofile.stop_recording() is True
    assert not recording.is_recording()
    assert mprofile.is_tracing()
    low, high = Profile.read(target).totals().inuse.bytes_interval(0.999999)
    assert high > sum(map(len, kept)) and low > 5 * MIB
    notes = comments(target)
    assert (notes["state"], notes["pid"]) == ("final", str(os.getpid()))
    assert notes["interpreter"].startswith("CPython 3.")
    assert notes["directory"] == os.getcwd()
    assert "pytest" in notes["command"]
    assert re.match(r"\d+\.\d s$", notes["duration"])
    assert os.listdir(os.path.dirname(target)) == ["heap.pb.gz"]
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o600
    assert mprofile.stop_recording() is False
    mprofile.start_recording(target, every=3600)
    assert comments(target)["publications"] == "1"


def test_info(target: str) -> None:
    mprofile.start(sample_rate=4096)
    mprofile.start_recording(target.encode(), every=3600)
    info = recording.recording_info()
    assert info is not None
    assert info["running"] and not info["complete"] and info["path"] == target
    assert info["publications"] == 1 and info["failures"] == 0 and info["reason"] == ""
    assert info["file_bytes"] == os.path.getsize(target) <= info["plain_bytes"]
    assert os.path.isdir("/proc/self/task/%d" % info["thread"])
    assert all(0 <= info[key] < 60 for key in info if key.endswith("_seconds"))
    mprofile.stop_recording()
    info = recording.recording_info()
    assert info is not None and info["complete"] and info["thread"] == 0


def test_gzip_where_there_is_zlib(target: str) -> None:
    mprofile.start(sample_rate=4096)
    mprofile.start_recording(target)
    mprofile.stop_recording()
    with open(target, "rb") as file:
        magic = file.read(2)
    info = recording.recording_info()
    assert info is not None
    assert (magic == b"\x1f\x8b") == info["gzip"]


def test_a_large_profile_is_compressed_at_the_end_only(target: str) -> None:
    lines = ["    kept.append(bytearray(10))\n" for _ in range(12)]
    namespace: Dict[str, Any] = {"kept": []}
    exec("def deep(depth):\n" + "".join(lines) + "    if depth: deep(depth - 1)\n", namespace)
    mprofile.start(1000, 0)
    namespace["deep"](700)
    mprofile.start_recording(target)
    info = recording.recording_info()
    assert info is not None and info["plain_bytes"] > 4 * MIB
    assert info["file_bytes"] == info["plain_bytes"]
    assert mprofile.stop_recording()
    info = recording.recording_info()
    assert info is not None
    assert info["file_bytes"] < info["plain_bytes"] / 2 or not info["gzip"]
    assert Profile.read(target).totals().inuse.blocks >= 700 * 12


def test_stopping_the_profiler_ends_the_recording(target: str) -> None:
    mprofile.start(sample_rate=0)
    mprofile.start_recording(target, every=3600)
    kept = bytearray(500000)
    mprofile.stop()
    assert not recording.is_recording()
    assert in_use(target) > len(kept)
    assert comments(target)["state"] == "final"


def test_relative_path_and_changed_directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    mprofile.start(sample_rate=4096)
    mprofile.start_recording("heap.pb.gz")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert mprofile.stop_recording()
    assert comments(str(tmp_path / "heap.pb.gz"))["state"] == "final"
    assert os.listdir(str(tmp_path / "elsewhere")) == []


def test_a_link_at_the_target_is_replaced(tmp_path: pathlib.Path, target: str) -> None:
    (tmp_path / "precious").write_text("content")
    os.symlink("precious", target)
    mprofile.start(sample_rate=4096)
    mprofile.start_recording(target)
    assert not os.path.islink(target)
    assert (tmp_path / "precious").read_text() == "content"


def test_end_of_the_program(tmp_path: pathlib.Path, target: str) -> None:
    done = execute(
        tmp_path,
        """
        import mprofile, sys
        mprofile.start(sample_rate=0)
        mprofile.start_recording("heap.pb.gz", every=3600)
        kept = bytearray(700000)
        sys.exit(3)
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    assert comments(target)["state"] == "final"
    assert in_use(target) > 700000


# ---- errors ----


def test_not_running(target: str) -> None:
    with pytest.raises(RuntimeError, match="mprofile.start"):
        mprofile.start_recording(target)
    assert not os.path.exists(target)


def test_one_at_a_time(target: str) -> None:
    mprofile.start(sample_rate=4096)
    mprofile.start_recording(target)
    with pytest.raises(RuntimeError, match="stop_recording"):
        mprofile.start_recording(target + "2")
    assert recording.is_recording()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"every": 0}, "every.*0.01 to 86400"),
        ({"every": -1.0}, "every"),
        ({"every": float("nan")}, "every"),
        ({"every": 1e9}, "every"),
        ({"growth": 0}, "growth"),
        ({"growth": float("nan")}, "growth"),
        ({"history_size": -1}, "history_size"),
        ({"path": "/dev/null"}, "/dev/null.*file's name"),
        ({"path": "."}, "file's name"),
    ],
)
def test_bad_arguments(target: str, arguments: Dict[str, Any], words: str) -> None:
    mprofile.start(sample_rate=4096)
    with pytest.raises(ValueError, match=words):
        mprofile.start_recording(**dict({"path": target}, **arguments))
    assert not recording.is_recording()


def test_a_path_that_cannot_be_written(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    mprofile.start(sample_rate=4096)
    with pytest.raises(FileNotFoundError, match="missing"):
        mprofile.start_recording(tmp_path / "missing" / "heap.pb.gz")
    assert not recording.is_recording()
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        mprofile.start_recording(tmp_path / "file" / "heap.pb.gz")
    with pytest.raises(OSError):
        mprofile.start_recording("x" * 5000)
    with pytest.raises(ValueError):
        mprofile.start_recording("a\0b")
    with pytest.raises(FileExistsError):
        mprofile.start_recording(tmp_path / "heap.pb.gz", history=tmp_path / "file")
    mprofile.start_recording(tmp_path / "heap.pb.gz")


# ---- when ----


def switches(thread: int) -> int:
    with open("/proc/self/task/%d/status" % thread) as file:
        match = re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", file.read(), re.MULTILINE)
    assert match is not None
    return int(match.group(1))


def test_an_idle_program_is_left_alone(target: str) -> None:
    mprofile.start(sample_rate=1 << 40)  # what this test allocates itself is no change
    mprofile.start_recording(target, every=0.05)
    info = recording.recording_info()
    assert info is not None
    time.sleep(0.3)
    written = os.stat(target).st_mtime_ns
    before = -1
    for _ in range(200):  # it may not be asleep yet
        if before == switches(info["thread"]):
            break
        before = switches(info["thread"])
        time.sleep(0.3)
    time.sleep(1.0)
    assert switches(info["thread"]) == before
    assert os.stat(target).st_mtime_ns == written


def test_every(target: str) -> None:
    """After a write that takes long there is a rest, so the least that is expected is expected of any second and a
    half, the most of all."""
    mprofile.start(sample_rate=0)
    begin = time.monotonic()
    mprofile.start_recording(target, every=0.2)
    before, written = 0, 0
    while written < before + 3:
        assert time.monotonic() - begin < 120, "never three writes in a second and a half, %d in all" % written
        before, second = written, time.monotonic()
        while time.monotonic() - second < 1.5:
            str(time.monotonic())
        written = times_written()
        assert written <= (time.monotonic() - begin) / 0.2 + 2


def test_growth_is_written_at_once(target: str) -> None:
    mprofile.start(sample_rate=64 * 1024)
    mprofile.start_recording(target, every=3600)
    kept = bytearray(40 * MIB)
    wait_for(2)
    assert in_use(target) >= len(kept)


def test_history_of_heap_and_resident_memory(target: str) -> None:
    mprofile.start(sample_rate=64 * 1024)
    begin = time.time()
    mprofile.start_recording(target, every=3600)
    kept = bytearray(b"x") * (100 * MIB)
    wait_for(2)
    mprofile.stop_recording()
    points = recording.heap_history(Profile.read(target).comments)
    times, heaps, residents = zip(*points)
    assert len(points) == 3
    assert list(times) == sorted(times)
    assert begin - 1 < times[0] and times[-1] < time.time() + 1
    assert max(heaps) >= len(kept) > heaps[0]
    assert residents[-1] - residents[0] > 30 * MIB
    assert recording.heap_history(["mprofile: state=final", "else"]) == []


def test_history_directory(tmp_path: pathlib.Path, target: str) -> None:
    directory = tmp_path / "made" / "here"
    mprofile.start(sample_rate=0)
    begin = time.monotonic()
    mprofile.start_recording(target, every=0.02, history=directory, history_size=100 * MIB)

    def seconds() -> Set[str]:
        return {name.split(".")[0] for name in os.listdir(str(directory)) if not name.startswith(".")}

    while time.monotonic() - begin < 2.5 or (len(seconds()) < 3 and time.monotonic() - begin < 50):
        str(time.monotonic())
    mprofile.stop_recording()
    names = sorted(os.listdir(str(directory)))
    assert 3 <= len(names) == len(seconds()) <= time.monotonic() - begin + 2
    assert all(re.match(r"\d{8}T\d{6}\.\d{3}Z\.%d\.pb\.gz$" % os.getpid(), name) for name in names)
    moments = [Profile.read(str(directory / name)).meta["time_ns"] for name in names]
    assert moments == sorted(moments)
    assert comments(str(directory / names[-1]))["state"] == "final"
    assert stat.S_IMODE(os.stat(str(directory)).st_mode) == 0o700


# ---- the program does not notice ----


def test_no_python_thread_and_no_signals(tmp_path: pathlib.Path) -> None:
    done = execute(
        tmp_path,
        """
        import mprofile, os, signal, sys, threading, time
        mprofile.start(sample_rate=1024)
        mprofile.start_recording("heap.pb.gz", every=0.01)
        assert threading.active_count() == 1 and len(sys._current_frames()) == 1
        hits = []
        def handler(*_):
            hits.append(threading.get_ident())
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        begin = time.monotonic()
        while time.monotonic() - begin < 0.5 or (len(hits) <= 50 and time.monotonic() - begin < 60):
            try:
                [bytearray(2000) for _ in range(100)]
                time.sleep(0.001)
            except InterruptedError:
                pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert len(hits) > 50 and set(hits) == {threading.get_ident()}, len(hits)
        assert len(os.listdir("/proc/self/task")) == 2
        mprofile.stop_recording()
        # The kernel counts a thread that has been joined for a moment longer.
        end = time.monotonic() + 30
        while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < end:
            time.sleep(0.001)
        assert len(os.listdir("/proc/self/task")) == 1
        print("done")
        """,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_path_that_is_too_long_is_named(target: str) -> None:
    mprofile.start()
    for path in (target + "x" * 4096, os.path.dirname(target) + "/d" * 2048):
        with pytest.raises(OSError, match="File name too long \\(open\\): '/") as caught:
            mprofile.start_recording(path)
        assert (caught.value.errno, caught.value.filename) == (errno.ENAMETOOLONG, path)
    assert not mprofile.recording.is_recording()


def test_no_descriptor_stays_open(target: str) -> None:
    mprofile.start(sample_rate=1024)
    before = os.listdir("/proc/self/fd")
    mprofile.start_recording(target, every=0.01)
    for _ in range(20):
        bytearray(100000)
        time.sleep(0.01)
    mprofile.stop_recording()
    assert os.listdir("/proc/self/fd") == before
