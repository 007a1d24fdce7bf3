# SPDX-License-Identifier: MIT
"""Recordings of other processes: forked children, those of multiprocessing, those started from the environment, and the
summary of `mprofile run`."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time
from typing import Dict

import pytest
from recorded import MIB, comments, execute, in_use

from mprofile import _core
from mprofile.profile import Profile

# ---- forked children ----


def test_fork(tmp_path: pathlib.Path) -> None:
    done = execute(
        tmp_path,
        """
        import mprofile, os, signal, sys, time
        mprofile.start(sample_rate=0)
        kept = bytearray(300000)
        mprofile.start_recording("heap.pb.gz", every=3600)

        def child(function):
            pid = os.fork()
            if pid == 0:
                try:
                    function()
                finally:
                    os._exit(0)
            os.waitpid(pid, 0)
            return pid

        def grow_and_die():
            more = bytearray(30 << 20)
            while not os.path.exists("heap.%d.pb.gz" % os.getpid()):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

        def grandchild():
            print("grandchild", child(lambda: mprofile.stop_recording()), flush=True)

        print("nothing", child(lambda: None), flush=True)
        print("exec", child(lambda: os.execv(sys.executable, [sys.executable, "-c", "pass"])), flush=True)
        print("stop", child(lambda: mprofile.stop_recording()), flush=True)
        print("killed", child(grow_and_die), flush=True)
        print("parent", child(grandchild), flush=True)
        print(mprofile.recording.recording_info()["publications"])
        """,
        "-W",
        "ignore",
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines.pop() == "1"
    pids = dict(line.split() for line in lines)
    expected = ["heap.pb.gz"] + ["heap.%s.pb.gz" % pids[who] for who in ("stop", "killed", "grandchild")]
    assert sorted(path.name for path in tmp_path.glob("*.pb.gz")) == sorted(expected)
    assert not list(tmp_path.glob(".*"))
    first = comments(str(tmp_path / "heap.pb.gz"))["pid"]
    for who in ("stop", "killed", "grandchild"):
        path = str(tmp_path / ("heap.%s.pb.gz" % pids[who]))
        assert comments(path)["pid"] == pids[who]
        assert comments(path)["parent"] == (pids["parent"] if who == "grandchild" else first)
        assert in_use(path) > 300000 + (30 * MIB if who == "killed" else 0)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="os.fork() warns of threads since 3.12")
def test_no_warning_of_a_fork_with_threads(tmp_path: pathlib.Path) -> None:
    """A fork waits for a write that is on, but for a tenth of a second at most: if the write takes longer, it warns. No
    other fork does, and where writes are quick no more than three of fifty do."""
    done = execute(
        tmp_path,
        """
        import mprofile, os, time, warnings
        mprofile.start(sample_rate=1024)
        mprofile.start_recording("heap.pb.gz", every=0.01)
        end = time.monotonic() + 80
        warned = 50
        while warned > 3:
            assert time.monotonic() < end, "never fewer than four warnings of fifty forks"
            warned = 0
            for _ in range(50):
                kept = [bytearray(3000) for _ in range(50)]
                with warnings.catch_warnings(record=True) as told:
                    warnings.simplefilter("always")
                    begin = time.monotonic()
                    pid = os.fork()
                    if pid == 0:
                        os._exit(0)
                    took = time.monotonic() - begin
                os.waitpid(pid, 0)
                warned += len(told)
                assert took >= 0.1 or not told, (took, told[0].message)
        before = mprofile.recording.recording_info()["publications"]
        kept = [bytearray(3000) for _ in range(500)]
        end = time.monotonic() + 30
        while mprofile.recording.recording_info()["publications"] == before:
            assert time.monotonic() < end, "nothing was written for thirty seconds after the last fork"
            time.sleep(0.05)
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(tmp_path: pathlib.Path, method: str) -> None:
    """One file a process that worked, complete although its process ends by os._exit()."""
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import multiprocessing, os, sys

            def work(number):
                global kept
                kept = bytearray(number << 20)
                os.write(1, b"%d %d\\n" % (os.getpid(), number))

            if __name__ == "__main__":
                multiprocessing.set_start_method(sys.argv[1])
                processes = [multiprocessing.Process(target=work, args=(number,)) for number in (30, 50)]
                for process in processes:
                    process.start()
                for process in processes:
                    process.join()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "mprofile", "run", "--sample-rate", "1K", "-o", "h.pb.gz", "program.py", method],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    workers = [line.split() for line in done.stdout.splitlines()]
    assert len(workers) == 2
    for pid, number in workers:
        path = str(tmp_path / "h.{}.pb.gz".format(pid))
        assert comments(path)["state"] == "final"
        assert in_use(path) > int(number) * MIB
        assert "mprofile: process {0} wrote h.{0}.pb.gz\n".format(pid) in done.stderr
    assert in_use(str(tmp_path / "h.pb.gz")) < 10 * MIB  # modules; without a GIL more than 3 MiB


# ---- the environment ----


def test_environment(tmp_path: pathlib.Path) -> None:
    environment = {
        "MPROFILE_RECORD": str(tmp_path / "h.pb.gz"),
        "MPROFILE_RECORD_RATE": "2K",
        "MPROFILE_RECORD_FRAMES": "7",
        "MPROFILE_RECORD_EVERY": "0.5",
        "MPROFILE_RECORD_HISTORY": str(tmp_path / "history"),
        "MPROFILE_RECORD_HISTORY_SIZE": "10M",
    }
    done = execute(tmp_path, "import os; print(os.getpid())", environment=environment)
    assert done.stderr == ""
    path = tmp_path / "h.{}.pb.gz".format(done.stdout.strip())
    meta = Profile.read(str(path)).meta
    assert (meta["sample_rate"], meta["max_frames"]) == (2048, 7)
    assert comments(str(path))["command"].endswith("program.py")
    assert os.listdir(str(tmp_path / "history"))
    assert not (tmp_path / "h.pb.gz").exists()


@pytest.mark.parametrize("option", ["-E", "-I"])
def test_an_interpreter_that_ignores_its_environment_records_nothing(tmp_path: pathlib.Path, option: str) -> None:
    """Programs with more rights than their caller start so: the caller does not choose a file for them to write."""
    environment = dict(os.environ, MPROFILE_RECORD=str(tmp_path / "h.pb.gz"))
    words = [sys.executable, option, "-c", "import mprofile; print(mprofile.is_tracing())"]
    for options, loaded in ([words[0], *words[2:]], "True"), (words, "False"):
        done = subprocess.run(options, env=environment, stdout=subprocess.PIPE, universal_newlines=True, timeout=60)
        assert done.stdout == loaded + "\n"
    assert len(os.listdir(str(tmp_path))) == 1


@pytest.mark.parametrize(
    "environment, words",
    [
        ({"MPROFILE_RECORD_RATE": "fast"}, "MPROFILE_RECORD_RATE='fast'"),
        ({"MPROFILE_RECORD_FRAMES": "0"}, "[1; 65535]"),
        ({"MPROFILE_RECORD_EVERY": "often"}, "MPROFILE_RECORD_EVERY='often'"),
        ({"MPROFILE_RECORD_EVERY": "0"}, "0.01 to 86400"),
        ({"MPROFILE_RECORD_HISTORY_SIZE": "-1"}, "MPROFILE_RECORD_HISTORY_SIZE='-1'"),
        ({"MPROFILE_RECORD": "/missing/directory/h.pb.gz"}, "/missing/directory"),
        ({"MPROFILE_RECORD": "/dev/null"}, "/dev/null"),
    ],
)
def test_bad_environment(tmp_path: pathlib.Path, environment: Dict[str, str], words: str) -> None:
    """One line on stderr, and the program runs."""
    environment = dict({"MPROFILE_RECORD": str(tmp_path / "h.pb.gz")}, **environment)
    done = execute(tmp_path, "print('ran')", environment=environment)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert words in done.stderr
    assert done.stderr.startswith("mprofile: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.module("_testcapi")
@pytest.mark.parametrize("way", ["environment", "command"])
@pytest.mark.parametrize("end", ["", "mprofile.stop_recording()"], ids=["running", "stopped"])
def test_interpreters_of_one_process(tmp_path: pathlib.Path, way: str, end: str) -> None:
    """Each executes the start-up file. The first has begun the recording; the others have nothing to say or to do."""
    code = """if True:
        import _testcapi, mprofile
        from mprofile import recording
        {}
        was = recording.is_recording()
        for _ in range(3):
            assert _testcapi.run_in_subinterp("kept = [bytearray(1000) for _ in range(100)]") == 0
        print(was, recording.is_recording(), mprofile.is_tracing())
        """.format(end)
    python, environment = [sys.executable, "-c"], dict(os.environ, MPROFILE_RECORD="heap.pb.gz")
    if way == "command":
        python, environment = [sys.executable, "-m", "mprofile", "run", "-o", "heap.pb.gz", "-c"], dict(os.environ)
    done = subprocess.run(
        [*python, code],
        cwd=str(tmp_path),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    running = str(not end)
    assert done.stdout.splitlines()[0] == "{0} {0} True".format(running)
    assert "not recorded" not in done.stderr


@pytest.mark.module("_testcapi")
def test_an_interpreter_that_may_not_record(tmp_path: pathlib.Path) -> None:
    """The recording outlives it."""
    done = execute(
        tmp_path,
        """
        import _testcapi, mprofile, textwrap
        mprofile.start()
        mprofile.start_recording("heap.pb.gz")
        code = textwrap.dedent(
            '''
            import mprofile
            try:
                mprofile.start_recording("other.pb.gz")
            except RuntimeError as error:
                assert "a recording is running" in str(error)
            else:
                raise AssertionError
            '''
        )
        assert _testcapi.run_in_subinterp(code) == 0
        print(mprofile.recording.recording_info()["running"])
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n", done.stderr


def test_nothing_is_imported_without_the_variable(tmp_path: pathlib.Path) -> None:
    done = execute(tmp_path, "import sys; print([name for name in sys.modules if 'mprofile' in name])")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_other_path_names() -> None:
    assert _core._recording_path(b"/a/heap.pb.gz", 12) == b"/a/heap.12.pb.gz"
    with pytest.raises(ValueError):
        _core._recording_path(b"x" * 5000, 12)


# ---- mprofile run ----


def test_run_with_history_and_every(tmp_path: pathlib.Path) -> None:
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import sys, time
            from mprofile import recording

            def written():
                return recording.recording_info()["publications"]

            end = time.monotonic() + 100
            while time.monotonic() < end:
                before, until = written(), time.monotonic() + 0.8
                while time.monotonic() < until and written() < before + 2:
                    time.sleep(0.01)
                if written() >= before + 2:
                    sys.exit()
            sys.exit("never two writes in 0.8 s")
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "mprofile", "run", "--sample-rate", "0", "--every", "0.1", "--history", "past",
         "--history-size", "1M", "-o", "h.pb.gz", "program.py"],
        cwd=str(tmp_path),
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert int(comments(str(tmp_path / "h.pb.gz"))["publications"]) >= 4
    names = sorted(os.listdir(str(tmp_path / "past")))
    assert names and comments(str(tmp_path / "past" / names[-1]))["state"] == "final"


def test_summary_names_only_files_of_this_run(tmp_path: pathlib.Path) -> None:
    for name in ("h.1.pb.gz", "h.2.pb.gz", "h.99999999999999999999.pb.gz", "h.x.pb.gz", "h.3.pb", "other.4.pb.gz"):
        (tmp_path / name).write_text("")
    os.utime(str(tmp_path / "h.1.pb.gz"), (1000000000, 1000000000))
    os.utime(str(tmp_path / "h.2.pb.gz"), (2147483647, 2147483647))  # not before the run, however late it begins
    done = subprocess.run(
        [sys.executable, "-m", "mprofile", "run", "-o", "h.pb.gz", "-c", "pass"],
        cwd=str(tmp_path),
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    assert re.findall("process.*", done.stderr) == ["process 2 wrote h.2.pb.gz"]
    assert done.stderr.endswith("mprofile: next, type: mprofile report h.pb.gz\n")


def test_variables_of_an_outer_run_are_replaced(tmp_path: pathlib.Path) -> None:
    outer = {"MPROFILE_RECORD_HISTORY": str(tmp_path / "past"), "MPROFILE_RECORD_RATE": "1"}
    code = "import os; print(sorted(name for name in os.environ if name.startswith('MPROFILE')))"
    done = subprocess.run(
        [sys.executable, "-m", "mprofile", "run", "-o", "h.pb.gz", "-c", code],
        cwd=str(tmp_path),
        env=dict(os.environ, **outer),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    names = ["MPROFILE_RECORD", "MPROFILE_RECORD_EVERY", "MPROFILE_RECORD_FRAMES", "MPROFILE_RECORD_RATE"]
    assert done.stdout == "{}\n".format(names)
    assert not (tmp_path / "past").exists()


def test_run_into_a_pipe_writes_at_the_end(tmp_path: pathlib.Path) -> None:
    code = (
        "import os, mprofile.recording; kept = [bytearray(1000) for _ in range(1000)];"
        "print(mprofile.recording.is_recording(), 'MPROFILE_RECORD' in os.environ)"
    )
    os.mkfifo(str(tmp_path / "pipe"))
    reader = subprocess.Popen(["cat", "pipe"], cwd=str(tmp_path), stdout=subprocess.PIPE)
    done = subprocess.run(
        [sys.executable, "-m", "mprofile", "run", "--sample-rate", "1K", "-o", "pipe", "-c", code],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
    )
    data, _ = reader.communicate(timeout=60)
    assert (done.returncode, done.stdout) == (0, "False False\n"), done.stderr
    (tmp_path / "copy.pb.gz").write_bytes(data)
    assert in_use(str(tmp_path / "copy.pb.gz")) > 0
    assert done.stderr.endswith("mprofile: wrote pipe\n")


def test_sigterm_while_many_processes_run(tmp_path: pathlib.Path) -> None:
    """A master with workers: the master's end names the files of those that have written."""
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import os, signal, sys, time
            workers = []
            def work():
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                kept = [bytearray(10000) for _ in range(2000)]
                time.sleep(600)
            def end(*_):
                for pid in workers:
                    os.kill(pid, signal.SIGTERM)
                for pid in workers:
                    os.waitpid(pid, 0)
                sys.exit(0)
            for _ in range(3):
                pid = os.fork()
                if pid == 0:
                    work()
                workers.append(pid)
            signal.signal(signal.SIGTERM, end)
            print(workers, flush=True)
            while True:
                time.sleep(0.01)  # a signal that comes just before it waits for its end
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "mprofile", "run", "--sample-rate", "4K", "-o", "h.pb.gz", "program.py"],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    try:
        assert process.stdout is not None
        workers = json.loads(process.stdout.readline())
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            files = [str(tmp_path / "h.{}.pb.gz".format(pid)) for pid in workers]
            if all(os.path.exists(path) and in_use(path) > 10 * MIB for path in files):
                break
            time.sleep(0.05)
        os.kill(workers.pop(), signal.SIGKILL)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert re.findall(r"mprofile: process (\d+) wrote h\.\1\.pb\.gz\n", errors)
    for pid in workers:
        assert "mprofile: process {0} wrote h.{0}.pb.gz\n".format(pid) in errors
        assert in_use(str(tmp_path / "h.{}.pb.gz".format(pid))) > 10 * MIB
