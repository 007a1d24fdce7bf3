# SPDX-License-Identifier: MIT
"""Attacks: files made to hurt who reads them, links and pipes planted for who writes, and ways into the process.

What each is about stands in docs/security.md.
"""

from __future__ import annotations

import array
import ast
import gzip
import io
import os
import pathlib
import pickle
import random
import resource
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import pytest
from pprof_maker import Call, Sample, field, make_pprof, varint
from processes import MPROFILE

import mprofile
from mprofile import _files

MIB = 1 << 20

sanitized = pytest.mark.skipif("TESTS_SANITIZED" in os.environ, reason="the address sanitizer needs memory for itself")

# ---- files that are read ----

#: Strings 1 to 4, and two columns of them: blocks and bytes in use.
HEAD = b"".join(field(6, text) for text in (b"", b"inuse_objects", b"count", b"inuse_space", b"bytes")) + b"".join(
    field(1, field(1, kind) + field(2, kind + 1)) for kind in (1, 3)
)
CODE = field(5, field(1, 1) + field(2, 1)) + field(4, field(1, 1) + field(4, field(1, 1) + field(2, 7)))


def sample(stack: bytes, *values: int) -> bytes:
    return field(2, field(1, stack) + field(2, b"".join(map(varint, values))))


class Payload:
    """Unpickling it makes a directory."""

    def __reduce__(self) -> Tuple[Callable[..., Any], Tuple[str]]:
        return os.mkdir, ("unpickled",)


def expanding(size: int) -> bytes:
    """Zeros, in gzip files of 16 MiB behind each other, which are as good as one."""
    return gzip.compress(bytes(16 * MIB), 9) * (size // (16 * MIB))


def strings(count: int) -> bytes:
    """A profile that is nothing but empty strings, as zlib likes them best."""
    return gzip.compress(HEAD + field(6, b"") * count, 9)


def nested(depth: int) -> bytes:
    """Messages in messages, where a number is expected at the end: lengths that all fit."""
    inside = b""
    for _ in range(depth):
        inside = field(4, inside)
    return HEAD + inside


#: Name -> file, and what is said of it: "" if it may be read.
HOSTILE: Dict[str, Tuple[Callable[[], bytes], str]] = {
    "a bomb beyond the limit": (lambda: expanding((1 << 30) + 16 * MIB), "larger than the limit of 1073741824 bytes"),
    "a bomb within the limit": (lambda: expanding(256 * MIB), "field number"),
    "a bomb of strings": (lambda: strings(8 * MIB), ""),
    "a hundred thousand gzip files in one": (lambda: gzip.compress(b"") * 100000 + gzip.compress(HEAD), ""),
    "gzip in gzip": (lambda: gzip.compress(gzip.compress(HEAD)), "wire type"),
    "a pickle": (lambda: pickle.dumps(Payload()), " at byte "),
    "a pickle in gzip": (lambda: gzip.compress(pickle.dumps(Payload(), 0)), " at byte "),
    "a length of 2^63": (lambda: HEAD + b"\x12" + varint(1 << 63), "past the end of its message"),
    "a length of 2^64 - 1 in a message": (lambda: HEAD + field(4, b"\x22" + varint((1 << 64) - 1)), "past the end"),
    "negative sizes": (lambda: HEAD + CODE + sample(b"\x01", 1, (1 << 64) - 5), "negative value -5 of inuse_space"),
    "sums that overflow": (lambda: HEAD + CODE + sample(b"\x01", (1 << 63) - 1, (1 << 63) - 1) * 1000, ""),
    "a location that names itself": (lambda: HEAD + field(4, field(1, 1) + field(4, field(1, 1))), "function id 1 is"),
    "an index beyond all": (lambda: HEAD + field(5, field(1, 1) + field(2, 1 << 40)), "string index 1099511627776"),
    "messages in messages": (lambda: nested(20000), "function id 0 is not defined"),
    "a stack of a million frames": (lambda: HEAD + CODE + sample(b"\x01" * 10**6, 1, 8), ""),
    "lines times locations": (
        lambda: (
            HEAD
            + field(5, field(1, 1))
            + field(4, field(1, 1) + field(4, field(1, 1)) * 100000)
            + sample(b"\x01" * 100000, 1, 8)
        ),
        "too many frames for the size",
    ),
    "a million labels": (
        lambda: HEAD + CODE + field(2, b"\x0a\x01\x01\x12\x02\x01\x08" + b"\x1a\x04\x08\x04\x18\x05" * 10**6),
        "",
    ),
}


def limits() -> None:
    """As much memory and time of a processor as these tests may take; without them a bad one would take the machine."""
    if "TESTS_SANITIZED" not in os.environ:
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


def command(directory: pathlib.Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [MPROFILE, *words], cwd=str(directory), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, universal_newlines=True, errors="replace", timeout=180, preexec_fn=limits,
    )  # fmt: skip


@sanitized
@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_file_that_was_made_to_hurt(name: str, tmp_path: pathlib.Path) -> None:
    """Said in one line, or read; in either case within bounds, and without running anything."""
    make, words = HOSTILE[name]
    (tmp_path / "hostile.pb.gz").write_bytes(make())
    done = command(tmp_path, "info", "hostile.pb.gz")
    assert "Traceback" not in done.stderr, done.stderr
    if words:
        assert done.returncode == 2 and words in done.stderr, (done.returncode, done.stderr)
        assert done.stderr.count("\n") == 1 and "; FILE must be a pprof heap profile" in done.stderr, done.stderr
    else:
        assert done.returncode == 0, done.stderr
    assert os.listdir(str(tmp_path)) == ["hostile.pb.gz"]


@sanitized
@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="without a GIL Python reserves a gigabyte for itself"
)
def test_a_small_file_takes_little_memory(tmp_path: pathlib.Path) -> None:
    """Less than the limit: a process that may have a quarter of it, reads. With checks around each block, which fill
    what is asked for."""
    (tmp_path / "heap.pb.gz").write_bytes(make_pprof([Sample((Call("main"),), 1000, 5, 3)]))
    code = (
        "import resource, mprofile\n"
        "resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))\n"
        "print(len(mprofile.read_pprof('heap.pb.gz').traces))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True, timeout=60, env=dict(os.environ, PYTHONMALLOC="debug"),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_time_is_linear_in_the_number_of_gzip_files() -> None:
    """Ten times as many in at most thirty times the time; copying what is left after each would take a hundred."""

    def seconds(count: int) -> float:
        data = gzip.compress(b"") * count
        best = 1e9
        for _ in range(3):
            began = time.process_time()
            assert _files.read_file(io.BytesIO(data), 16 * MIB) == b""
            best = min(best, time.process_time() - began)
        return best

    assert seconds(100000) < 30 * seconds(10000)


#: A number below 2^32 times this has equal halves: hashes that fold them make the same of all.
HALVES = (1 << 32) + 1


def degenerate(what: str, count: int, chosen: bool) -> bytes:
    """A file that has so many of these, all with one hash if the key of their table is 0 or 1 or they are not mixed. If
    not chosen they are drawn, from a range as large."""
    choose = random.Random(count)
    ks = range(1, count + 1)

    def pick(value: Callable[[int], int]) -> List[int]:
        values = [value(k) for k in ks]
        end = 2 * max(values)
        return values if chosen else [choose.randrange(1, end) for _ in ks]

    def order(places: Sequence[int]) -> List[int]:
        return list(places) if chosen else choose.sample(places, len(places))

    def functions(*columns: Sequence[int]) -> List[bytes]:
        """Columns: ids, first lines, names, files."""
        return [field(5, b"".join(map(field, (1, 5, 2, 4), row))) for row in zip(*columns)]

    def locations(lines: Sequence[int]) -> List[bytes]:
        return [field(4, field(1, k) + field(4, field(1, k) + field(2, line))) for k, line in zip(ks, lines)]

    def samples(places: Sequence[int], sizes: Sequence[int]) -> List[bytes]:
        pairs = zip(map(varint, places), map(varint, sizes))
        return [
            field(2, field(1, place) + field(2, b"\x01" + size) + field(3, b"\x08\x04\x18" + size))
            for place, size in pairs
        ]

    parts = [HEAD]
    if what == "ids of functions":
        parts += functions(pick(lambda k: k * HALVES))
    elif what == "ids of locations":
        parts += [field(4, field(1, number)) for number in pick(lambda k: k << 44)]
    elif what == "strings":
        # Three words of seven bytes: their sum and the last are always the same.
        texts = pick(lambda k: k | (1 << 55) - k << 56 | 1 << 112)
        parts += [field(6, number.to_bytes(21, "little")) for number in texts]
        parts += functions(ks, ks, [4 + k for k in ks])
    elif what == "functions":
        # Half of them number the strings. In the other half the numbers of name and file have one sum.
        names = [4 + k for k in ks[: count // 2]]
        parts += [field(6, b"%d" % name) for name in names]
        parts += functions(ks, pick(lambda k: 1 << 20), 2 * names, names + order(names[::-1]))
    elif what == "frames":
        # Of one stack. Node k is called by node k - 1; with the number of its function that has one sum.
        parts += functions(ks, ks) + locations(pick(lambda k: 1 << 20))
        parts.append(sample(b"".join(map(varint, order(ks))), 1, 8))
    elif what == "sizes to write":
        parts += [CODE, *samples([1] * count, pick(lambda k: k * HALVES))]
    else:
        lines = pick(lambda k: k if what == "lines to write" else k << 17)
        parts += functions(ks, ks) + locations(lines) + samples(ks, ks)
    return b"".join(parts)


def seconds_for(what: str, data: bytes) -> float:
    """Of the processor: to read the profile; or, of one that was read, to write it, or to make a flame graph's tree."""
    began = time.process_time()
    traces = mprofile.read_pprof(io.BytesIO(data)).traces._traces
    if what.endswith("write"):
        began = time.process_time()
        traces.to_pprof((), b"")
    elif what.endswith("draw"):
        numbers = array.array("I", range(len(traces.functions())))
        began = time.process_time()
        traces.fold(numbers.tobytes(), None, b"", len(numbers), 0.0, 1 << 30)
    return time.process_time() - began


DEGENERATE = (
    "ids of functions", "ids of locations", "strings", "functions", "frames",
    "sizes to write", "lines to write", "lines to draw",
)  # fmt: skip


@pytest.mark.parametrize("what", DEGENERATE)
def test_time_is_linear_whatever_a_file_chooses(what: str) -> None:
    """Ten times as much in at most thirty times the time, and that at most five times the time of a file of chance. A
    table in which all is in one place takes a hundred times, and ten."""
    files = [degenerate(what, *kind) for kind in ((1000, True), (10000, True), (10000, False))]
    rounds = [[seconds_for(what, data) for data in files] for _ in range(5)]
    small, large, chance = map(min, zip(*rounds))
    assert large < 30 * small and large < 5 * chance, (small, large, chance)


def test_gzip_files_behind_each_other_are_one() -> None:
    """In pieces of all sizes, with zeros between and behind; and what is cut anywhere is refused."""
    choose = random.Random(1)
    for _ in range(300):
        texts = [choose.choice((b"", b"x", b"abc" * 3000, bytes(5000), os.urandom(9000))) for _ in range(3)]
        data = b"".join(gzip.compress(text) + bytes(choose.choice((0, 3, 4096, 5000))) for text in texts)
        assert _files.read_file(io.BytesIO(data), MIB) == b"".join(texts)
    whole = gzip.compress(os.urandom(9000))
    for cut in range(2, len(whole), 97):
        with pytest.raises(ValueError, match="damaged gzip"):
            _files.read_file(io.BytesIO(gzip.compress(b"before") + whole[:cut]), MIB)


#: Keys that commands look for in comments, and values that are none.
KEYS = (
    "history pid parent duration start peak sample_rate max_frames drops thinnings recording failures failure "
    "publications state merged command directory interpreter"
).split()
VALUES = ["", "nan", "-1", "x", "9" * 400, "1,2", "1,2,3;4", "a,b,c", "1,{},1".format("9" * 5000), "\x1b[2J<b>", "\0"]
COMMANDS = (
    ("info",), ("info", "--json"), ("report",), ("report", "--tree"), ("leaks",), ("top",), ("diff", "FILE"),
    ("flamegraph", "-o", "out.html"), ("merge", "-o", "out.pb.gz"), ("convert", "--to", "speedscope", "-o", "out.json"),
)  # fmt: skip


def test_comments_that_are_not_what_they_should_be(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """Any command, any value: no exception, and nothing for the terminal to obey."""
    from mprofile import cli

    monkeypatch.chdir(tmp_path)
    samples = [Sample((Call("main"), Call("f", "/x/y.py", 5)), 1000, 5, 3), Sample((Call("g"),), 7, 1, 1)]
    ran = 0
    for value in VALUES:
        comments = ["mprofile: {}={}".format(key, value) for key in KEYS]
        pathlib.Path("FILE").write_bytes(make_pprof(samples, 4096, comments))
        for words in COMMANDS:
            try:
                ran += cli.main([*words, "FILE"]) in (0, 1)
            except SystemExit as end:
                assert end.code == 2
            out, err = capsys.readouterr()
            assert "\x1b" not in out + err and "\0" not in out + err, (words, value)
    assert ran > len(VALUES) * len(COMMANDS) // 2


def test_a_history_with_a_pipe_in_it(tmp_path: pathlib.Path) -> None:
    """Nobody writes into it: who opened it would wait for ever. A link may lead to any file."""
    place = tmp_path / "past"
    place.mkdir()
    name = "2026010{}T000000.000Z.4711.pb.gz"
    data = make_pprof([Sample((Call("main"),), 1000, 5, 3)])
    for day in (2, 3, 4):
        (place / name.format(day)).write_bytes(data)
    os.mkfifo(str(place / name.format(1)))
    os.mkfifo(str(place / name.format(5)))
    (place / name.format(6)).symlink_to("/dev/zero")
    for words in (["leaks", "past"], ["diff", "past"]):
        done = command(tmp_path, *words)
        assert done.returncode in (0, 2) and "Traceback" not in done.stderr, done.stderr


# ---- files that are written ----


@pytest.fixture
def snapshot() -> Iterator[mprofile.Snapshot]:
    mprofile.start()
    kept = [bytearray(1000) for _ in range(10)]
    yield mprofile.take_snapshot()
    del kept
    mprofile.stop()


def mode(path: Any) -> int:
    return stat.S_IMODE(os.lstat(str(path)).st_mode)


@pytest.mark.parametrize("umask", [0, 0o22, 0o77])
def test_nobody_else_can_read_what_is_written(snapshot: mprofile.Snapshot, umask: int, tmp_path: pathlib.Path) -> None:
    """Neither profiles nor what is made of them; not even where a file was that all could read."""
    for name in ("profile", "pickle", "recorded"):
        (tmp_path / name).write_bytes(b"old")
        (tmp_path / name).chmod(0o666)
    before = os.umask(umask)
    try:
        snapshot.write_pprof(tmp_path / "profile")
        snapshot.dump(tmp_path / "pickle")
        mprofile.start_recording(tmp_path / "recorded", history=tmp_path / "past")
        mprofile.stop_recording()
        for words in (
            ["flamegraph", "-o", "page.html"],
            ["convert", "--to", "speedscope", "-o", "out.json"],
            ["merge", "-o", "sum.pb.gz"],
        ):
            done = command(tmp_path, *words, "profile", *["profile"] * (words[0] == "merge"))
            assert done.returncode == 0, done.stderr
    finally:
        os.umask(before)
    names = [tmp_path / name for name in ("profile", "pickle", "recorded", "page.html", "out.json", "sum.pb.gz")]
    past = list((tmp_path / "past").iterdir())
    assert past and [mode(path) for path in [*names, *past]] == [0o600] * (len(names) + len(past))
    assert mode(tmp_path / "past") == 0o700
    assert mprofile.Snapshot.load(tmp_path / "pickle").statistics("lineno")


def writers(snapshot: mprofile.Snapshot) -> List[Callable[[str], None]]:
    def record(path: str) -> None:
        mprofile.start_recording(path, every=0.01)
        mprofile.stop_recording()

    return [snapshot.write_pprof, snapshot.dump, record]


@pytest.mark.parametrize("number", range(3), ids=["write_pprof", "dump", "start_recording"])
@pytest.mark.parametrize("what", ["link", "dangling link", "link to a directory"])
def test_links_are_replaced(snapshot: mprofile.Snapshot, number: int, what: str, tmp_path: pathlib.Path) -> None:
    victim = tmp_path / "victim"
    if what == "link":
        victim.write_text("precious")
    elif what == "link to a directory":
        victim.mkdir()
    target = tmp_path / "heap"
    target.symlink_to(victim)
    writers(snapshot)[number](str(target))
    assert stat.S_ISREG(os.lstat(str(target)).st_mode) and mode(target) == 0o600
    assert os.path.exists(str(victim)) == (what != "dangling link")
    if what == "link":
        assert victim.read_text() == "precious"
    elif what == "link to a directory":
        assert os.listdir(str(victim)) == []


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs /dev/shm, which all may write to")
@pytest.mark.parametrize("number", range(3), ids=["write_pprof", "dump", "start_recording"])
def test_links_below_dev_are_replaced_too(snapshot: mprofile.Snapshot, number: int, tmp_path: pathlib.Path) -> None:
    """/dev/stdout is a link to follow; one in /dev/shm may be anybody's. A file there is a file."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        target = os.path.join(directory, "heap")
        os.symlink(str(victim), target)
        for _ in range(2):
            writers(snapshot)[number](target)
            assert stat.S_ISREG(os.lstat(target).st_mode) and mode(target) == 0o600
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("number", range(3), ids=["write_pprof", "dump", "start_recording"])
def test_links_that_are_planted_all_the_time(snapshot: mprofile.Snapshot, number: int, tmp_path: pathlib.Path) -> None:
    """Another process puts links, files and pipes at the target, as fast as it can, and takes temporary files away."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    place = tmp_path / "place"
    place.mkdir()
    attacker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import itertools, os, sys\n"
            "target, victim = sys.argv[1:]\n"
            "def attempt(function, *arguments):\n"
            "    try:\n"
            "        function(*arguments)\n"
            "    except OSError:\n"
            "        pass\n"
            "def plain(path):\n"
            "    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666))\n"
            "print('ready', flush=True)\n"
            "for number in itertools.count():\n"
            "    attempt(os.unlink, target)\n"
            "    kind = number % 3\n"
            "    attempt(*((os.symlink, victim, target) if kind else (plain, target)))\n"
            "    for name in os.listdir(os.path.dirname(target)) if number % 20 == 0 else ():\n"
            "        if name.startswith('.'):\n"
            "            path = os.path.join(os.path.dirname(target), name)\n"
            "            attempt(os.unlink, path)\n"
            "            attempt(os.symlink, victim, path)\n",
            str(place / "heap"),
            str(victim),
        ],
        stdout=subprocess.PIPE,
    )
    written = 0
    try:
        assert attacker.stdout is not None and attacker.stdout.readline() == b"ready\n"
        begin = time.monotonic()
        while time.monotonic() < begin + 2 or (written <= 10 and time.monotonic() < begin + 120):
            try:
                writers(snapshot)[number](str(place / "heap"))
                written += 1
            except (OSError, ValueError):
                pass
    finally:
        attacker.kill()
        attacker.communicate()
    assert written > 10
    assert victim.read_text() == "precious" and stat.S_ISREG(os.lstat(str(victim)).st_mode)


def test_a_pipe_that_somebody_else_planted_is_not_written_to(
    snapshot: mprofile.Snapshot, tmp_path: pathlib.Path
) -> None:
    """In a directory like /tmp. One's own is."""
    if os.geteuid() != 0:
        pytest.skip("to make a pipe of somebody else's needs root")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    pipe = shared / "heap"
    os.mkfifo(str(pipe), 0o666)
    received: List[bytes] = []

    def read() -> None:
        with open(str(pipe), "rb") as file:
            received.append(file.read())

    for owner, allowed in ((12345, False), (os.geteuid(), True)):
        os.chown(str(pipe), owner, -1)
        reader = threading.Thread(target=read)
        reader.start()
        if allowed:
            snapshot.write_pprof(pipe)
        else:
            with pytest.raises(PermissionError):
                snapshot.write_pprof(pipe)
        reader.join()
    assert received[0] == b"" and mprofile.read_pprof(io.BytesIO(received[1]))


def test_a_pipe_that_becomes_a_link(
    snapshot: mprofile.Snapshot, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at it and the opening."""
    victim, target = tmp_path / "victim", tmp_path / "heap"
    real = _files.is_file_name
    for plant in (target.symlink_to, lambda path: os.link(str(path), str(target))):
        victim.write_text("precious")
        os.mkfifo(str(target))

        def look(path: Any, plant: Callable[[pathlib.Path], None] = plant) -> bool:
            result = real(path)
            target.unlink()
            plant(victim)
            return result

        monkeypatch.setattr(_files, "is_file_name", look)
        with pytest.raises(OSError):
            snapshot.write_pprof(target)
        assert victim.read_text() == "precious"
        target.unlink()


# ---- ways in ----

LOOKED_AT = """
import os, sys, threading
import mprofile
def sockets():
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink("/proc/self/fd/" + name))
        except OSError:
            pass
    return {name for name in found if not name.startswith("/")}
def handlers():
    # Not 32 and 33, which the C library handles from the first thread on.
    text = open("/proc/self/status").read().splitlines()
    return [int(line.split()[1], 16) & ~(3 << 31) for line in text if line.startswith(("SigCgt", "SigIgn"))]
before = sockets(), handlers()
mprofile.start(sample_rate=64)
mprofile.start_recording(sys.argv[1], every=0.01, history=sys.argv[1] + ".past")
kept = [bytearray(1000) for _ in range(1000)]
mprofile.take_snapshot().statistics("lineno")
assert (sockets(), handlers()) == before, (sockets(), handlers(), before)
maps = [line.split(None, 5) for line in open("/proc/self/maps")]
assert not [line for line in maps if "w" in line[1] and "x" in line[1]]
assert not [line for line in maps if "s" in line[1][3:] and "w" in line[1]]
mprofile.stop_recording()
mprofile.stop()
assert (sockets(), handlers()) == before
print("nothing")
"""


def test_nothing_listens(tmp_path: pathlib.Path) -> None:
    """While a program is recorded there is no socket, pipe or event descriptor, no handler of a signal, no memory that
    other processes share, and none that can be both written to and run."""
    done = subprocess.run(
        [sys.executable, "-c", LOOKED_AT, str(tmp_path / "heap")], cwd=str(tmp_path), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60,
        env={key: value for key, value in os.environ.items() if key != "PYTHONFAULTHANDLER"},
    )  # fmt: skip
    assert done.stdout == "nothing\n", done.stderr


def test_no_part_of_the_package_opens_a_socket_or_runs_text() -> None:
    """Nor unpickles anything but in Snapshot.load()."""
    package = os.path.dirname(mprofile.__file__)
    names = ("socket", "socketserver", "http", "asyncio", "marshal", "ctypes", "multiprocessing")
    calls = ("eval", "exec", "system", "popen", "loads", "load")
    found = []
    for directory, _, files in os.walk(package):
        for file in files:
            if not file.endswith(".py"):
                continue
            with open(os.path.join(directory, file), encoding="utf-8") as source:
                tree = ast.parse(source.read())
            for node in ast.walk(tree):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    modules = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                    found += [(file, module) for module in modules if module.partition(".")[0] in names]
                elif isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    found += [(file, name)] if name in calls else []
    # The commands read JSON from the environment of a process of the same user.
    assert sorted(found) == [
        ("recording.py", "multiprocessing.util"),
        ("sitecustomize.py", "loads"),
        ("snapshot.py", "load"),
        ("top.py", "loads"),
    ]
