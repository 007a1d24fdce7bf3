# SPDX-License-Identifier: MIT
"""Hazard 21: the end of the interpreter, and interpreters that come and go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from typing import Tuple

import pytest
from harness import DEBUG_BUILD, TIMEOUT, NoCompiler, compile_c, environment, finish, run, start

RATES = [0, 1000]

BUSY_THREADS = """if True:
    import atexit, threading, time
    atexit.register(print, "the last handler", flush=True)
    import _hazard_foreign as foreign
    from mprofile import _core

    def python_objects():
        while True:
            [bytearray(i) for i in range(100)]

    def without_the_gil():
        while True:
            foreign.release(foreign.detached(3000, 20))

    _core.start(20, {rate})
    foreign.hammer(2, 3000)
    for target in (python_objects, without_the_gil) * 2:
        threading.Thread(target=target, daemon=True).start()
    time.sleep(0.05)
    {last}
    """


def interpreters_own_crash(status: int, output: str) -> bool:
    """Whether CPython ends so without a profiler, too, now and then when the machine is busy."""
    # A daemon thread may take the GIL when the interpreter is gone (RESET_GIL_DROP_REQUEST): 2 of 150 such processes
    # crash so without a profiler, 4 of 150 with it.
    if sys.version_info[:2] == (3, 10):
        return status == -signal.SIGSEGV
    # Up to 3.13 a debug build sets RAW for moments to an allocator without checks, mostly at its end, and what another
    # thread then resizes or gives back has their marks. Of 400 processes of 3.13.18 each: 10 without a profiler, 14
    # that import it alone, 7 that record to the end, 11 that stop before; none of 400 that stop 100 times and then
    # leave by os._exit(). While the program runs, that is no excuse.
    moments = DEBUG_BUILD and sys.version_info < (3, 14)
    return moments and status in (-signal.SIGABRT, -signal.SIGSEGV) and "\nthe last handler\n" in output


@pytest.mark.parametrize("last", ["pass", "raise SystemExit(0)", "_core.stop()", "kept = bytearray(5002)"])
@pytest.mark.parametrize("rate", RATES)
def test_hazard_21_exit_while_threads_allocate(rate: int, last: str) -> None:
    """Daemon threads in Python, daemon threads that released the GIL, threads of C: they go on to the last moment."""
    # A debug build sets RAW to its default, with checks, at its end: without them before, others' blocks do not match.
    allocator = {"PYTHONMALLOC": "debug"} if DEBUG_BUILD else {}
    command = [sys.executable, "-c", BUSY_THREADS.format(rate=rate, last=last)]
    processes = [start(command, **allocator) for _ in range(4)]
    crashed = 0
    for process in processes:
        try:
            finish(process)
        except AssertionError as error:
            if not interpreters_own_crash(process.returncode, str(error)):
                raise
            crashed += 1
    assert crashed <= 2


@pytest.mark.parametrize("rate", RATES)
def test_hazard_21_a_detached_threads_state_is_freed(rate: int) -> None:
    """At its end the interpreter frees the states of threads that run on, here with PYTHONMALLOC's pattern over it."""
    code = """if True:
        import threading, time
        import _hazard_foreign as foreign
        from mprofile import _core
        _core.start(20, {})
        for _ in range(2):
            threading.Thread(target=foreign.for_ever, args=(100,), daemon=True).start()
        time.sleep(0.05)
        """.format(rate)
    processes = [start([sys.executable, "-c", code], PYTHONMALLOC="debug") for _ in range(6)]
    for process in processes:
        finish(process)


@pytest.mark.parametrize("rate", RATES)
def test_hazard_21_allocations_in_atexit_handlers_and_after(rate: int) -> None:
    """A handler registered before mprofile runs after ours, one registered after it before; then come finalizers."""
    out = run(
        """if True:
        import atexit, sys
        import _hazard_mem as mem

        def handler(name):
            kept = mem.many(0, 50003, 10)
            print(name, _core.is_tracing(), sum(t[1] == 50003 for t in _core._get_traces()) - before)
            mem.release(0, kept)

        class Late:
            def __del__(self, bytearray=bytearray, write=sys.__stdout__.write):
                kept = [bytearray(1000 * i) for i in range(100)]
                write("finalizer\\n")

        atexit.register(handler, "last")
        from mprofile import _core
        atexit.register(handler, "first")
        before = 0
        late = Late()
        late.me = late
        sys.modules["late"] = late
        _core.start(20, {})
        """.format(rate)
    )
    assert out == "first True 10\nlast True 10\nfinalizer\n"


@pytest.mark.parametrize("rate", RATES)
def test_hazard_21_a_start_in_the_last_handler(rate: int) -> None:
    """Recording that begins when the interpreter is about to end, beside threads that allocate without the GIL."""
    code = """if True:
        import atexit, threading, time
        import _hazard_foreign as foreign

        def last():
            _core.start(20, {})
            time.sleep(0.02)
            assert _core._valid()

        atexit.register(last)
        from mprofile import _core
        for _ in range(2):
            threading.Thread(target=foreign.for_ever, args=(100,), daemon=True).start()
        """.format(rate)
    processes = [start([sys.executable, "-c", code], PYTHONMALLOC="debug") for _ in range(6)]
    for process in processes:
        finish(process)


@pytest.mark.parametrize("ending", ["os._exit(7)", "sys.exit(7)", "os.kill(os.getpid(), 9)", "os.abort()"])
def test_hazard_21_the_status_is_the_programs(ending: str) -> None:
    status = {"os._exit(7)": 7, "sys.exit(7)": 7, "os.kill(os.getpid(), 9)": -9, "os.abort()": -6}[ending]
    run("import os, sys\nfrom mprofile import _core\n_core.start()\nkept = bytearray(5000)\n" + ending, status=status)


def embedded(code: str) -> Tuple[int, str]:
    """Runs `code` in three interpreters of a program, one after the other: its exit status and what it wrote."""
    library = sysconfig.get_config_var("LDLIBRARY") or ""
    directory = sysconfig.get_config_var("LIBDIR") or ""
    if not library or not os.path.exists(os.path.join(directory, library)):
        pytest.skip("this interpreter has no libpython to embed ({!r} in {!r})".format(library, directory))
    with tempfile.TemporaryDirectory() as here:
        program = os.path.join(here, "embed")
        # The second and third are for a libpython that is an archive: extensions then find Python in the program.
        names = ("LIBS", "SYSLIBS", "LINKFORSHARED")
        libraries = " ".join(sysconfig.get_config_var(name) or "" for name in names).split()
        try:
            compile_c(
                "embed.c",
                program,
                "-L" + directory,
                "-Wl,-rpath," + directory,
                "-lpython" + sysconfig.get_config_var("LDVERSION"),
                *libraries,
            )
        except NoCompiler as error:
            pytest.skip(str(error))
        package = run("import mprofile, os; print(os.path.dirname(os.path.dirname(mprofile.__file__)))").strip()
        path = os.pathsep.join([package, environment()["PYTHONPATH"]])
        done = subprocess.run(
            [program, code],
            env=environment(PYTHONHOME=sys.base_prefix, PYTHONPATH=path),
            cwd=here,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            timeout=TIMEOUT,
        )
    return done.returncode, done.stdout


def test_hazard_21_an_interpreter_three_times_in_a_process() -> None:
    """Py_Initialize, Py_FinalizeEx and both again, with recording on each time until the end and beyond it."""
    code = """if True:
        import sys, threading
        import _hazard_mem as mem
        from mprofile import _core
        assert not _core.is_tracing()
        for rate in (2, 0):
            _core.start(20, rate)
            kept = mem.many(0, 5003, 10)
            thread = threading.Thread(target=lambda: kept.extend(mem.many(0, 5003, 10)))
            thread.start()
            thread.join()
            found = [t for t in _core._get_traces() if t[1] in (5003, 5035)]
            assert len(found) == 20, found
            assert _core._valid()
            if rate:
                _core.stop()
        """
    assert embedded(code) == (0, "finished\n")


@pytest.mark.parametrize("last", ["mprofile.stop()", "pass"])
def test_hazard_21_the_package_in_three_interpreters_of_a_process(last: str) -> None:
    """Each imports the package anew, writes its own profiles, and ends with the thread that writes them still there."""
    code = """if True:
        import os
        import mprofile

        def leaf():
            return [bytearray(60000 + i) for i in range(10)]

        turn = int(os.environ.get("TURN", "1"))
        os.environ["TURN"] = str(turn + 1)
        for name in (f"{{n}}.pb.gz" for n in range(1, turn)):
            assert os.path.getsize(name) > 0 and mprofile.read_pprof(name).traces, name
        assert not mprofile.is_tracing()
        mprofile.start(20, 0)
        kept = leaf()
        sizes = [trace.size for trace in mprofile.take_snapshot().traces if 60000 <= trace.size < 60100]
        assert len(sizes) == 10, sizes
        mprofile.stop()
        mprofile.start(20, 1000)
        kept += leaf()
        mprofile.start_recording(f"{{turn}}.pb.gz", every=0.05)
        {last}
        """.format(last=last)
    assert embedded(code) == (0, "finished\n")


INTERPRETERS = """if True:
    import threading
    import _hazard_foreign as foreign
    import _hazard_mem as mem
    from mprofile import _core

    def run(code):
        results.append(foreign.interpreter(code))

    results = []
    """


@pytest.mark.parametrize("rate", [0, 2])
def test_hazard_21_interpreters_that_allocate_at_once(rate: int) -> None:
    """From 3.12 on each has a GIL of its own, so hooks run side by side. Before, they share one."""
    code = """
    work = '''if True:
        def leaf(i):
            return bytearray(5000 + i % 3)
        for turn in range(30):
            kept = [leaf(i) for i in range(100)]
            lists = [[None] * i for i in range(100)]
        assert all(len(item) == 5000 + i % 3 for i, item in enumerate(kept))
        '''
    _core.start(20, {rate})
    kept = mem.many(0, 6007, 10)
    threads = [threading.Thread(target=run, args=(work,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sizes = [t[1] for t in _core._get_traces()]
    print(results, sizes.count(6007), [sizes.count(size) for size in (5001, 5002, 5003)], _core._valid())
    """
    out = run(INTERPRETERS + code.format(rate=rate))
    assert out == "[True, True, True, True] 10 [0, 0, 0] True\n"


def test_hazard_21_interpreters_that_look_at_once() -> None:
    """Each takes snapshots, counts and reads tracebacks for itself, while the others allocate and do the same."""
    code = """
    work = '''if True:
        import mprofile
        def leaf():
            return bytearray({size})
        for turn in range(10):
            kept = leaf()
            found = [trace for trace in mprofile.take_snapshot().traces if {size} <= trace.size < {size} + 40]
            assert len(found) == 1, found
            assert mprofile.get_object_traceback(kept) is not None
            del kept
            assert mprofile.get_traced_memory()[0] > 0
        '''
    _core.start(20, 0)
    threads = [threading.Thread(target=run, args=(work.format(size=70000 + 100 * i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(results, _core._valid())
    """
    assert run(INTERPRETERS + code) == "[True, True, True, True] True\n"


def test_hazard_21_interpreters_that_start_and_stop_at_once() -> None:
    """There is one profile for the process: who stops it stops it for all. Nothing may break, and the next is right."""
    code = """
    work = '''if True:
        import mprofile
        for turn in range(40):
            mprofile.start(20, {rate})
            kept = [bytearray(5000 + i) for i in range(20)]
            try:
                mprofile.take_snapshot()
            except RuntimeError as error:
                assert "tracing" in str(error), error
            mprofile.clear_traces()
            mprofile.stop()
        '''
    threads = [threading.Thread(target=run, args=(work.format(rate=rate),)) for rate in (0, 0, 1000, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _core.stop()
    _core.start(20, 0)
    kept = mem.many(0, 6007, 10)
    print(results, sum(t[1] == 6007 for t in _core._get_traces()), _core._valid())
    """
    assert run(INTERPRETERS + code) == "[True, True, True, True] 10 True\n"


def test_hazard_21_stacks_in_another_interpreter() -> None:
    """A block made in a sub-interpreter has that interpreter's stack; the profile is one for the process."""
    code = """
    work = '''if True:
        from mprofile import _core
        def leaf():
            return bytearray(5002)
        kept = leaf()
        found = [[f.name.rpartition(".")[2] for f in t[2]] for t in _core._get_traces() if t[1] in (5003, 5035)]
        assert [names[:2] for names in found] == [["leaf", "<module>"]], found
        assert _core.is_tracing()
        '''
    _core.start(20, 0)
    for _ in range(5):
        run(work)
        assert not any(t[1] in (5003, 5035) for t in _core._get_traces())
    print(results, _core._valid())
    """
    assert run(INTERPRETERS + code) == "[True, True, True, True, True] True\n"


def test_hazard_21_started_and_ended_in_another_interpreter() -> None:
    """A sub-interpreter starts the profiler and ends; the main one goes on, stops it and starts it again."""
    code = """
    for _ in range(5):
        run("from mprofile import _core; _core.start(20, 0); kept = bytearray(5002)")
        assert _core.is_tracing()
        kept = mem.many(0, 6007, 10)
        assert sum(t[1] == 6007 for t in _core._get_traces()) == 10
        mem.release(0, kept)
        _core.stop()
        run("from mprofile import _core; assert not _core.is_tracing()")
    print(results)
    """
    assert run(INTERPRETERS + code) == "{}\n".format([True] * 10)
