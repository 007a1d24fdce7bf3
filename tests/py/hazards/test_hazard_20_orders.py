# SPDX-License-Identifier: MIT
"""Hazard 20: memray, debuggers, monitoring and Python's development mode beside a recording, started and stopped in
every order. tracemalloc's orders are in test_hazard_20_other_tools.py."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from types import CodeType
from typing import Any, List

import pytest
from harness import (
    FREE_THREADED,
    ONE_AND_TWO,
    TIMEOUT,
    TWO_AND_ONE,
    blocks,
    environment,
    finish,
    isolated,
    recording,
    run,
    start,
)

#: Arguments: the rate, whether memray hooks Python's allocators, whether it takes stacks of C, and the orders.
MEMRAY = """
import sys, threading
import memray
from mprofile import _core

rate, allocators, native = int(sys.argv[1]), sys.argv[2] == "1", sys.argv[3] == "1"
over = threading.Event()

def work():
    while not over.is_set():
        kept = [bytearray(50 * i) for i in range(100)]
        del kept
        exec("def f():\\n  return [str(i) * i for i in range(100)]\\nf()")

threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
def session(order):
    tracker, number, cut_off, ours_below, ours_above = None, 0, False, False, False
    for event in order:
        number += 1
        if event == "M":
            _core.start(20, rate)
            cut_off, ours_above = False, tracker is not None
        elif event == "m":
            _core.stop()
        elif event == "T":
            name = "{}{}.bin".format(order, number)
            tracker = memray.Tracker(name, trace_python_allocators=allocators, native_traces=native)
            tracker.__enter__()
            ours_below = _core.is_tracing() and not cut_off
        else:
            tracker.__exit__(None, None, None)
            tracker = None
            cut_off = cut_off or (allocators and _core.is_tracing() and ours_above and not ours_below)
            ours_below = ours_above = False
        kept = [bytearray(5002) for _ in range(20)]
        if _core.is_tracing():
            assert _core._valid(), (order, number)
            found = [trace for trace in _core._get_traces() if trace[1] in (5003, 5035)]
            assert len(found) == (0 if cut_off else 20), (order, number, len(found), cut_off)
        del kept
        if _core.is_tracing() and not cut_off:
            assert not [trace for trace in _core._get_traces() if trace[1] in (5003, 5035)], (order, number)
    assert tracker is None and not _core.is_tracing()
    _core.start(20, rate)
    kept = [bytearray(5002) for _ in range(20)]
    assert len([trace for trace in _core._get_traces() if trace[1] in (5003, 5035)]) == 20, order
    _core.stop()

for order in sys.argv[4:]:
    session(order)
over.set()
for thread in threads:
    thread.join()
# Of what a program allocates, memray has seen the blocks.
for order in sys.argv[4:5]:
    for number, event in enumerate(order, 1):
        if event == "T":
            reader = memray.FileReader("{}{}.bin".format(order, number))
            sizes = {record.size for record in reader.get_allocation_records()}
            assert sizes & {5003, 5035}, (order, number, len(sizes))
print("done")
"""


@pytest.mark.skipif(
    importlib.util.find_spec("memray") is None, reason="needs memray, which few interpreters have; pip install memray"
)
@pytest.mark.skipif("TESTS_SANITIZED" in os.environ, reason="memray replaces what the sanitizer has replaced")
@pytest.mark.parametrize("allocators, native", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("rate", [0, 2])
def test_hazard_20_memray_in_any_order(rate: int, allocators: int, native: int, tmp_path: object) -> None:
    """Two threads allocate meanwhile. Both see the program's blocks; the one order without a remedy is that of
    tracemalloc: memray, where it hooks Python's allocators, was started before and stops during a recording."""
    code = "import os; os.chdir({!r})\n".format(str(tmp_path)) + MEMRAY
    words = [sys.executable, "-c", code, str(rate), str(allocators), str(native), *TWO_AND_ONE, *ONE_AND_TWO]
    assert finish(start(words), timeout=300) == "done\n"


DEBUGGED = """\
from mprofile import _core
_core.start(10, 0)
def make(count):
    made = []
    for _ in range(count):
        made.append(bytearray(5002))
    return made
kept = make(3)
kept += make(4)
found = [trace[2][0][1] for trace in _core._get_traces() if trace[1] in (5003, 5035)]
print(found, _core._valid())
_core.stop()
"""


def test_hazard_20_pdb(tmp_path: object) -> None:
    """Breakpoints, steps, values, moves up and down: the program's blocks keep their lines."""
    path = os.path.join(str(tmp_path), "debugged.py")
    with open(path, "w") as file:
        file.write(DEBUGGED)
    commands = ["b 6", "c", "p count", "n", "s", "up", "down", "pp made", "w", "c", "tbreak 9", "clear 1", "c", "s"]
    commands += ["r", "n", "!more = bytearray(5002)", "c", "q"]
    done = subprocess.run(
        [sys.executable, "-m", "pdb", path], input="\n".join(commands) + "\n", cwd=str(tmp_path), timeout=TIMEOUT,
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
    )  # fmt: skip
    assert "[6, 6, 6, 6, 6, 6, 6, 1] True" in done.stdout, done.stdout


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with 3.12")
@pytest.mark.parametrize("rate", [0, 2])
@isolated
def test_hazard_20_monitoring(rate: int) -> None:
    """All events that there are, whose callbacks allocate, and start and stop the profiler. Instructions are replaced
    in the code meanwhile: lines stay what they are."""
    from mprofile import _core

    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    events = monitoring.events
    noise: List[bytearray] = []
    calls: List[str] = []

    def callback(name: str) -> Any:
        def called(code: CodeType, *rest: object) -> None:
            if code.co_filename == __file__ and len(noise) < 5000:
                noise.append(bytearray(6006))
                calls.append(name)

        return called

    def leaf() -> bytearray:
        made = bytearray(5002)
        return made

    def branch() -> List[bytearray]:
        made = []
        for number in range(10):
            if number % 2:
                made.append(leaf())
            else:
                made += [leaf() for _ in range(1)]
        return made

    with recording(sample_rate=rate):
        plain = branch()
        expected = sorted(block.frames[:2] for block in blocks(5003))
        assert len(expected) == 10
        del plain
        monitoring.use_tool_id(3, "test")
        names = [name for name in dir(events) if name.isupper() and name != "NO_EVENTS"]
        chosen = 0
        for name in names:
            monitoring.register_callback(3, getattr(events, name), callback(name))
            if name not in ("C_RAISE", "C_RETURN"):
                chosen |= getattr(events, name)
        monitoring.set_events(3, chosen)
        watched = branch()
        monitoring.set_events(3, 0)
        assert sorted(block.frames[:2] for block in blocks(5003)) == expected
        assert len(blocks(6007)) == len(noise) > 50 and {block.names[0] for block in blocks(6007)} == {"called"}
        assert {"PY_START", "LINE", "CALL", "INSTRUCTION"} <= set(calls)
        del watched

    def switch(code: CodeType, line: int) -> None:
        if _core.is_tracing():
            _core.stop()
        else:
            _core.start(10, rate)

    monitoring.register_callback(3, events.LINE, switch)
    monitoring.set_local_events(3, branch.__code__, events.LINE)
    for _ in range(50):
        branch()
    monitoring.set_local_events(3, branch.__code__, 0)
    monitoring.free_tool_id(3)
    _core.stop()
    with recording(sample_rate=rate):
        kept = branch()
        assert sorted(block.frames[:2] for block in blocks(5003)) == expected
        del kept


@isolated
def test_hazard_20_a_debugger_that_starts_and_stops_the_profiler() -> None:
    """At each line that bdb stops at."""
    import bdb

    from mprofile import _core

    class Debugger(bdb.Bdb):
        lines = 0

        def user_line(self, frame: Any) -> None:
            self.lines += 1
            if self.lines % 2:
                _core.start(10, 0)
            else:
                _core.stop()
            self.set_step()

    def debugged() -> List[bytearray]:
        made = []
        for _ in range(30):
            made.append(bytearray(5002))
        return made

    debugger = Debugger()
    kept = debugger.runcall(debugged)
    assert debugger.lines > 60 and len(kept) == 30
    _core.stop()
    with recording():
        again = debugged()
        assert [block.names[0] for block in blocks(5003)] == ["debugged"] * 30
        del again


#: Everything a program may do with the package, where warnings are errors.
CHECKED = """
import os, sys, warnings
warnings.simplefilter("error")
import mprofile
from mprofile import cli
mprofile.start(sample_rate=int(sys.argv[1]))
mprofile.start_recording("heap.pb.gz", every=0.02, history="past")
kept = [bytearray(5002) for _ in range(100)]
snapshot = mprofile.take_snapshot()
if int(sys.argv[1]) == 0:
    sizes = [trace.size for trace in snapshot.traces if trace.size in (5003, 5035)]
    assert len(sizes) == 100, len(sizes)
snapshot.dump("pickle")
mprofile.Snapshot.load("pickle").compare_to(snapshot, "lineno")
snapshot.write_pprof("written.pb.gz")
mprofile.clear_traces()
assert mprofile.stop_recording()
mprofile.stop()
for words in (["info"], ["report"], ["report", "--tree"], ["flamegraph", "-o", "page.html"], ["leaks"]):
    assert cli.main([*words, "written.pb.gz"]) in (0, 1), words
mprofile.start(sample_rate=int(sys.argv[1]))
print("done", file=sys.__stdout__)
"""


@pytest.mark.parametrize("rate", [0, 4096])
@pytest.mark.parametrize("options", [["-X", "dev"], ["-X", "dev", "-X", "tracemalloc=5"], ["-X", "dev", "-bb"]])
def test_hazard_20_development_mode(options: List[str], rate: int, tmp_path: object) -> None:
    """PYTHONDEVMODE: checks around each block, warnings, faulthandler. Nothing of ours is left open or warned of."""
    code = "import os; os.chdir({!r})\n".format(str(tmp_path)) + CHECKED
    process = start([sys.executable, *options, "-c", code, str(rate)], PYTHONMALLOC=None)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0 and out.endswith("done\n") and err == "mprofile: wrote page.html\n", err


@pytest.mark.skipif(FREE_THREADED, reason="there is mimalloc instead")
@pytest.mark.parametrize("allocator", ["malloc", "debug", "malloc_debug", "pymalloc_debug"])
def test_hazard_20_development_mode_and_an_allocator(allocator: str) -> None:
    code = (
        "from mprofile import _core\n"
        "_core.start(10, 0)\n"
        "kept = [bytearray(5002) for _ in range(100)]\n"
        "for block in kept[:50]:\n"
        "    block.extend(bytes(3000))\n"
        "found = [trace for trace in _core._get_traces() if trace[1] in (5003, 5035)]\n"
        "del kept\n"
        "left = [trace for trace in _core._get_traces() if 5000 < trace[1] < 12000]\n"
        "print(len(found), len(left), _core._valid())\n"
    )
    out = run(code, "-X", "dev", PYTHONMALLOC=allocator).split()
    assert out[0] == "50" and out[2] == "True" and int(out[1]) <= 2, out
