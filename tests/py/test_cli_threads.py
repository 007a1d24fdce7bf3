# SPDX-License-Identifier: MIT
"""`mprofile report --by thread`: where threads began."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import subprocess
import sys
from typing import Any, Dict, List, Tuple

import pytest
from pprof_maker import Call, Sample, make_pprof
from processes import MPROFILE
from reports_made import report, rows_of

import mprofile
from mprofile.profile import Profile
from mprofile.reports import groups, threads

# Each kind of thread keeps a number of kilobytes of its own.
PROGRAM = """
import _thread
import concurrent.futures.thread
import multiprocessing.dummy
import multiprocessing.pool
import multiprocessing.queues
import multiprocessing.synchronize
import sys
import threading

import mprofile

kept = []
done = threading.Event()


def keep(kilobytes):
    kept.append([bytearray(1000) for _ in range(kilobytes)])


def serve(kilobytes):
    keep(kilobytes)


def raw():
    keep(40)
    done.set()


class Worker(threading.Thread):
    def run(self):
        keep(80)


class Wrapped(threading.Thread):
    def run(self):
        super().run()


def child(path):
    keep(2000)
    mprofile.take_snapshot().write_pprof(path)


mprofile.start()
keep(20)
started = [
    threading.Thread(target=serve, args=(100,)),
    threading.Timer(0, serve, (60,)),
    Worker(),
    Wrapped(target=serve, args=(120,)),
]
for thread in started:
    thread.start()
for thread in started:
    thread.join()
_thread.start_new_thread(raw, ())
assert done.wait(60)
with concurrent.futures.ThreadPoolExecutor(2) as executor:
    list(executor.map(keep, [100, 110]))
with multiprocessing.pool.ThreadPool(2) as pool:
    pool.map(keep, [150, 160])
mprofile.take_snapshot().write_pprof(sys.argv[1])
process = multiprocessing.get_context("fork").Process(target=child, args=(sys.argv[2],))
process.start()
process.join()
"""

#: Kilobytes, by what the row is called: from 3.11 on methods have their class before their name.
KEPT = {
    "(main thread)": 20,
    "serve": 160,
    "run": 80,
    "run (Wrapped)": 120,
    "raw": 40,
    "ThreadPoolExecutor worker": 210,
    "multiprocessing.Pool worker": 310,
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: Any) -> Tuple[Profile, Profile]:
    """Profiles of the program and of the process that it started."""
    directory = tmp_path_factory.mktemp("threads")
    (directory / "program.py").write_text(PROGRAM)
    paths = [str(directory / name) for name in ("parent.pb.gz", "child.pb.gz")]
    subprocess.run([sys.executable, str(directory / "program.py"), *paths], check=True, timeout=120)
    return Profile.read(paths[0]), Profile.read(paths[1])


def kilobytes(profile: Profile) -> Dict[str, int]:
    """What each kind of threads keeps, but for what is little, what starting them took, and a pool's own threads: these
    find work to do, and remember it, when the machine is busy."""
    found: Dict[str, int] = {}
    for row in groups.rows(profile, "thread"):
        name = (row.name or "").rpartition(".")[2] if row.filename.endswith("program.py") else row.name or ""
        if name == "run" and "class Wrapped" in PROGRAM.split("\n")[row.lineno - 2]:
            name = "run (Wrapped)"
        if row.flat.inuse.bytes > 15000 and name != threads.STARTING and not name.startswith("_handle_"):
            assert name not in found
            found[name] = int(row.flat.inuse.bytes / 1000)
    return found


def test_where_threads_began(recorded: Tuple[Profile, Profile]) -> None:
    found = kilobytes(recorded[0])
    assert set(found) == set(KEPT)
    for name, kept in KEPT.items():
        # A bytearray has a head of some 60 bytes; modules that are imported meanwhile are the main thread's.
        assert kept <= found[name] < 1.1 * kept + (400 if name == threads.MAIN else 10), name


def test_a_process_of_multiprocessing(recorded: Tuple[Profile, Profile]) -> None:
    before, after = (kilobytes(profile) for profile in recorded)
    assert 2000 <= after.pop("child") < 2250
    assert set(after) == set(before), "what the parent allocated stays with the parent's threads"


def test_rows_add_up(recorded: Tuple[Profile, Profile]) -> None:
    profile = recorded[0]
    rows = groups.rows(profile, "thread")
    for measure in ("inuse", "allocated", "peak"):
        total = getattr(profile.totals(), measure)
        figures = [getattr(row.flat, measure) for row in rows]
        assert sum(one.samples for one in figures) == total.samples
        assert sum(one.bytes for one in figures) == pytest.approx(total.bytes)
    for row in rows:
        assert row.flat.inuse.bytes == row.cumulative.inuse.bytes


def test_a_stack_that_was_cut(tmp_path: pathlib.Path) -> None:
    def deep(n: int) -> List[Any]:
        return [deep(n - 1)] if n else [bytearray(100000)]

    mprofile.start(4)
    try:
        kept = deep(10)
        snapshot = mprofile.take_snapshot()
    finally:
        mprofile.stop()
    assert kept
    path = str(tmp_path / "cut.pb.gz")
    snapshot.write_pprof(path)
    for profile in (Profile.from_snapshot(snapshot), Profile.read(path)):
        (row,) = [row for row in groups.rows(profile, "thread") if row.name == threads.CUT]
        assert row.flat.inuse.bytes > 100000
        largest = max(profile.rows("stack"), key=lambda row: row.flat.inuse.bytes)
        assert largest.total_frames > len(largest.frames) == 4


# ---- stacks as they are elsewhere ----

LIB = "/usr/lib/python3.8/"
SITE = "/srv/venv/lib/python3.8/site-packages/"
BOOT = (Call("_bootstrap", LIB + "threading.py"), Call("_bootstrap_inner", LIB + "threading.py"))
START = (*BOOT, Call("run", LIB + "threading.py"))
APP = Call("handle", "/srv/app/main.py", 12, 10)
PROCESS = Call("BaseProcess._bootstrap", LIB + "multiprocessing/process.py")


@pytest.mark.parametrize(
    "calls, name",
    [
        ((APP,), "handle"),
        ((*START, APP, Call("more")), "handle"),
        ((*BOOT, Call("Worker.run", "/srv/app/main.py")), "Worker.run"),
        ((*BOOT, Call("wrapper", "/srv/app/main.py")), "wrapper"),
        ((*START, Call("Event.wait", LIB + "threading.py"), APP), threads.STARTING),
        ((*BOOT, Call("WeakSet.add", LIB + "_weakrefset.py")), threads.STARTING),
        (START, threads.STARTING),
        ((*START, Call("task", LIB + "sched.py")), "task"),
        ((*START, Call("_worker", LIB + "concurrent/futures/thread.py"), APP), "ThreadPoolExecutor worker"),
        ((Call("_worker", "/srv/app/thread.py"), APP), "_worker"),
        ((Call("<module>", "/srv/app/main.py"), APP), threads.MAIN),
        ((Call("_run_module_as_main", LIB + "runpy.py"), APP), threads.MAIN),
        ((Call("_find_and_load", "<frozen importlib._bootstrap>"), APP), threads.MAIN),
        ((Call("<module>"), PROCESS, Call("BaseProcess.run", LIB + "multiprocessing/process.py"), APP), "handle"),
        ((*START, APP, PROCESS, Call("_close_stdin", LIB + "multiprocessing/util.py")), threads.STARTING),
        ((Call("GreenThread.main", SITE + "eventlet/greenthread.py"), APP), "handle"),
        ((Call("Greenlet.run", SITE + "gevent/greenlet.py"), APP), "handle"),
        ((Call("_WorkerGreenlet.run", SITE + "gevent/threadpool.py"), APP), "gevent ThreadPool worker"),
        ((*START, Call("tworker", SITE + "eventlet/tpool.py"), APP), "eventlet.tpool worker"),
        ((Call("main.(*Server).serve", "/go/src/main.go", 7), Call("make", "/go/src/x.go")), "main.(*Server).serve"),
        ((Call("runtime.goexit", "/go/src/runtime/asm_amd64.s"), Call("main.work", "/go/src/main.go")), "main.work"),
        ((), threads.NOTHING),
    ],
)
def test_beginnings(calls: Tuple[Call, ...], name: str) -> None:
    profile = Profile.read(io.BytesIO(make_pprof([Sample(calls, 100, 3, 2)])))
    (row,) = groups.rows(profile, "thread")
    assert row.name == name
    assert (row.filename == "") == name.startswith("(")
    assert (row.flat.inuse.bytes, row.flat.allocated.bytes) == (200, 300)


# ---- the command ----


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    samples = [
        Sample((*START, APP), 1024, 8, 8),
        Sample((*START, APP, Call("more")), 1024, 2, 2),
        Sample((Call("<module>"), APP), 1024, 3, 3),
    ]
    (tmp_path / "heap.pb.gz").write_bytes(make_pprof(samples))
    return str(tmp_path / "heap.pb.gz")


def test_report(path: str) -> None:
    assert rows_of(report("--by", "thread", path).stdout) == [
        ["10.0 KiB", "76.9 %", "handle", "/srv/app/main.py:10"],
        ["3.0 KiB", "23.1 %", "(main thread)"],
    ]
    done = report("--by", "thread", "--focus", "^more$", path)
    assert rows_of(done.stdout) == [["2.0 KiB", "15.4 %", "handle", "/srv/app/main.py:10"]]


def test_json_and_csv(path: str) -> None:
    rows = json.loads(report("--by", "thread", "--json", path).stdout)["rows"]
    assert [(row["thread"], row["file"], row["line"]) for row in rows] == [
        ("handle", "/srv/app/main.py", 10),
        ("(main thread)", "", 0),
    ]
    assert rows[0]["flat"]["inuse"]["bytes"] == 10240 and "cumulative" not in rows[0]
    lines = list(csv.DictReader(io.StringIO(report("--by", "thread", "--csv", path).stdout)))
    assert [(line["thread"], line["flat_inuse_bytes"]) for line in lines] == [
        ("handle", "10240"),
        ("(main thread)", "3072"),
    ]


def test_there_is_no_tree_of_threads(path: str) -> None:
    done = report("--by", "thread", "--tree", path)
    assert done.returncode == 2
    assert "--by must be one of: line, function, file, module, package (" in done.stderr


def test_diff(path: str, tmp_path: pathlib.Path) -> None:
    moved = APP._replace(line=22, first=20)
    (tmp_path / "new.pb.gz").write_bytes(make_pprof([Sample((*START, moved), 1024, 15, 15)]))
    command = [MPROFILE, "diff", "--by", "thread", "--json", path, str(tmp_path / "new.pb.gz")]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
    rows = json.loads(done.stdout.decode("utf-8"))["rows"]
    assert [(row["thread"], row["old"], row["new"]) for row in rows] == [
        ("handle", 10240, 15360),
        ("(main thread)", 3072, 0),
    ]
