# SPDX-License-Identifier: MIT
"""Programs of processes: a server with workers that are killed, a queue's workers, a pool; and another event loop.

What they answer is right throughout, workers that end are replaced, and every process leaves a profile of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import threading
from typing import Dict, Iterator, List, Set, Tuple

import pytest
from processes import MPROFILE, output, run_mprofile, start
from survivors import check, comments, wait_until

from mprofile.profile import Profile

BLOCK = 300000  # what a worker of the server keeps: found again in its profile


@contextlib.contextmanager
def running(words: List[str], directory: pathlib.Path, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """The process, in a session of its own, of which nothing is left afterwards."""
    environment = dict(os.environ, PYTHONPATH=str(directory), **variables)
    process = start(words, cwd=str(directory), env=environment, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def recorded_functions(profile: Profile) -> Set[str]:
    return {row.name for row in profile.rows("function") if row.name}


def profiles(directory: pathlib.Path) -> Dict[int, Profile]:
    """The profiles of all processes but the first, by process; each makes sense."""
    found = {}
    for path in directory.glob("heap.*.pb.gz"):
        profile = check(path)
        number = int(path.name.split(".")[1])
        assert comments(profile)["pid"] == str(number)
        found[number] = profile
    return found


# ---- a server with workers ----

APPLICATION = (
    """
import hashlib, os, time
kept = {}
def hold(name):
    kept[name] = bytearray(%d)
def stay():
    here = os.path.dirname(os.path.abspath(__file__))
    mark = here + "/stays." + str(os.getpid())
    open(mark, "w").close()
    while not os.path.exists(here + "/go"):
        time.sleep(0.01)
    os.unlink(mark)
def application(environ, start_response):
    hold("block")
    number = environ["QUERY_STRING"]
    if number.startswith("stay"):
        stay()
    parts = [str(i) + number for i in range(200)]
    body = (hashlib.sha256("".join(parts).encode()).hexdigest() + " " + str(os.getpid())).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
    % BLOCK
)


class Load:
    """Threads that ask and check until told to stop. A killed worker leaves an answer out; none may be wrong."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.right: List[int] = []  # the process that gave the answer
        self.wrong: List[str] = []
        self.missing: List[str] = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(3)]
        for thread in self.threads:
            thread.start()

    def ask(self, number: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request("GET", "/?" + number)
            answer = connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException) as error:
            self.missing.append(repr(error))
            return
        finally:
            connection.close()
        expected = hashlib.sha256("".join(str(i) + number for i in range(200)).encode()).hexdigest()
        digest, _, pid = answer.partition(" ")
        if digest == expected:
            self.right.append(int(pid))
        else:
            self.wrong.append(answer)

    def work(self, thread: int) -> None:
        count = 0
        while not self.stop.is_set():
            self.ask("{}-{}".format(thread, count))
            count += 1
            self.stop.wait(0.005)

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(330)
            assert not thread.is_alive()


@contextlib.contextmanager
def staying(load: Load, directory: pathlib.Path, worker: int) -> Iterator[None]:
    """While one of three workers is at an answer. So are the others, for nobody can say who gets a question."""
    threads = [threading.Thread(target=load.ask, args=("stay-{}".format(number),)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until("the worker to be at an answer", (directory / "stays.{}".format(worker)).exists)
        yield
    finally:
        (directory / "go").touch()
        for thread in threads:
            thread.join(330)
            assert not thread.is_alive()
        (directory / "go").unlink()


def logged(log: pathlib.Path, pattern: str) -> List[str]:
    """What a pattern finds in a server's log so far."""
    return re.findall(pattern, log.read_text()) if log.exists() else []


def holds(directory: pathlib.Path, worker: int) -> bool:
    """Whether a worker's profile has what it made for its answers."""
    path = directory / "heap.{}.pb.gz".format(worker)
    return path.exists() and "hold" in recorded_functions(Profile.read(str(path)))


#: Every block, and one sample in 4 KiB.
RATES = pytest.mark.parametrize("rate", ["1", "4K"])


def started_by(way: str, rate: str, directory: pathlib.Path) -> Tuple[List[str], Dict[str, str]]:
    """How Python is started, and with what in the environment, so that it records."""
    heap = str(directory / "heap.pb.gz")
    if way == "command":
        return [MPROFILE, "run", "--sample-rate", rate, "--every", "0.1", "-o", heap], {}
    record = {"MPROFILE_RECORD": heap, "MPROFILE_RECORD_RATE": rate, "MPROFILE_RECORD_EVERY": "0.1"}
    return [sys.executable], record


@pytest.mark.module("gunicorn")
@pytest.mark.parametrize("way", ["command", "environment"])
@RATES
def test_a_server_whose_workers_are_killed(rate: str, way: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "served.py").write_text(APPLICATION)
    log = tmp_path / "log.txt"
    python, variables = started_by(way, rate, tmp_path)
    server = ["-m", "gunicorn", "--workers", "3", "--bind", "127.0.0.1:0", "--error-logfile", str(log)]
    server += ["--worker-tmp-dir", str(tmp_path), "--timeout", "300", "--graceful-timeout", "120", "served:application"]

    def workers() -> List[int]:
        return [int(pid) for pid in logged(log, r"Booting worker with pid: (\d+)")]

    with running(python + server, tmp_path, **variables) as process:
        wait_until("three workers", lambda: len(workers()) == 3 or process.poll() is not None)
        assert process.poll() is None, process.communicate()[0]
        load = Load(int(logged(log, r"Listening at: http://127\.0\.0\.1:(\d+)")[0]))
        try:
            ends: Dict[int, int] = {}
            for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
                before = len(workers())
                victim = min(set(workers()) - set(ends))
                wait_until("the worker's profile of its answers", lambda: holds(tmp_path, victim))  # noqa: B023
                os.kill(victim, number)
                ends[victim] = number
                wait_until("another worker", lambda: len(workers()) > before)  # noqa: B023
            wait_until("answers of all", lambda: all(holds(tmp_path, worker) for worker in set(workers()) - set(ends)))
        finally:
            load.end()
        process.send_signal(signal.SIGTERM)
        text, _ = output(process, 300)
    assert process.returncode in (0, -signal.SIGTERM), text

    assert load.wrong == []
    # A worker of this kind has one request at a time.
    assert len(load.missing) <= list(ends.values()).count(signal.SIGKILL), load.missing
    assert len(workers()) == 7
    found = profiles(tmp_path)
    assert set(workers()) <= set(found)
    for pid in workers():
        assert comments(found[pid])["state"] == ("running" if ends.get(pid) == signal.SIGKILL else "final")
        assert "hold" in recorded_functions(found[pid]), pid
        assert found[pid].totals().inuse.bytes > BLOCK
    # `mprofile run` names the first process's file, the environment names all alike.
    first = tmp_path / ("heap.pb.gz" if way == "command" else "heap.{}.pb.gz".format(process.pid))
    assert comments(check(first))["state"] == "final"
    assert "hold" not in recorded_functions(Profile.read(str(first)))


#: Not among what the tests require, since pip compiles it: for minutes, and not with each interpreter.
UWSGI = os.path.join(os.path.dirname(sys.executable), "uwsgi")


@pytest.mark.skipif(not os.path.exists(UWSGI), reason="needs uWSGI (pip install uwsgi, which compiles it)")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("told", [True, False], ids=["told", "not-told"])
@RATES
def test_a_server_in_c_that_forks(rate: str, told: bool, threads: int, tmp_path: pathlib.Path) -> None:
    """uWSGI embeds Python and forks in C. Python hears of that only if uWSGI is asked to tell it.

    Where it does not hear of it the workers write no profile, which docs/recording.md says. They must work all the
    same, with a recording that they inherit and whose thread is not there.
    """
    (tmp_path / "served.py").write_text(APPLICATION)
    log = tmp_path / "log.txt"
    _, variables = started_by("environment", rate, tmp_path)
    words = [UWSGI, "--master", "--processes", "3", "--http-socket", "127.0.0.1:0", "--need-app", "--die-on-term"]
    words += ["--threads", str(threads)]
    words += ["--logto", str(log), "--disable-logging", "--virtualenv", sys.prefix, "--module", "served"]
    if told:
        words += ["--py-call-uwsgi-fork-hooks"]

    def workers() -> List[int]:
        return [int(pid) for pid in logged(log, r"awned uWSGI worker \d+ \((?:new )?pid: (\d+)")]

    with running(words, tmp_path, **variables) as process:
        wait_until("three workers", lambda: len(workers()) == 3 or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        load = Load(int(logged(log, r"bound to TCP address 127\.0\.0\.1:(\d+)")[0]))
        try:
            ends: Dict[int, int] = {}
            for number in (signal.SIGKILL, signal.SIGHUP, signal.SIGKILL, signal.SIGHUP):
                before = len(workers())
                victim = min(set(workers()) - set(ends))
                answered = load.right.count(victim) + 20
                wait_until("answers of the worker", lambda: load.right.count(victim) > answered)  # noqa: B023
                if told:
                    wait_until("the worker's profile of its answers", lambda: holds(tmp_path, victim))  # noqa: B023
                if number == signal.SIGHUP and threads == 1:
                    # uWSGI would end without an answer if this came between accept() and its note of a request.
                    heard = "Gracefully killing worker .*pid: {}\\)".format(victim)
                    with staying(load, tmp_path, victim):
                        os.kill(victim, number)
                        wait_until("the worker to hear of its end", lambda: logged(log, heard))  # noqa: B023
                else:
                    os.kill(victim, number)
                ends[victim] = number
                wait_until("another worker", lambda: len(workers()) > before)  # noqa: B023
            left = set(workers()) - set(ends)
            wait_until("answers of all", lambda: left <= set(load.right))
            if told:
                wait_until("profiles of all", lambda: all(holds(tmp_path, worker) for worker in left))
        finally:
            load.end()
        process.send_signal(signal.SIGTERM)
        text, _ = output(process, 300)
    assert process.returncode in (0, -signal.SIGTERM), text + log.read_text()

    assert load.wrong == []
    assert len(load.missing) <= threads * list(ends.values()).count(signal.SIGKILL), load.missing
    assert len(workers()) == 7
    found = profiles(tmp_path)
    assert "hold" not in recorded_functions(found[process.pid])
    assert set(found) == ({process.pid, *workers()} if told else {process.pid})
    for pid in workers() if told else ():
        assert "hold" in recorded_functions(found[pid]), pid
        assert found[pid].totals().inuse.bytes > BLOCK
        assert comments(found[pid])["state"] == ("running" if ends.get(pid) == signal.SIGKILL else "final")


# ---- a queue's workers ----

TASKS = """
import hashlib, os, time
from celery import Celery
here = os.path.dirname(os.path.abspath(__file__))
folders = {"data_folder_in": here + "/queue", "data_folder_out": here + "/queue", "control_folder": here + "/control"}
app = Celery("tasks", broker="filesystem://", backend="file://" + here + "/results")
app.conf.update(broker_transport_options=folders, broker_connection_retry_on_startup=True)
begun = time.monotonic()
kept = []
def hold():
    kept.append(bytearray(300000))
@app.task
def work(number):
    hold()
    open(here + "/took/" + str(os.getpid()), "w").close()
    while len(os.listdir(here + "/took")) < 2 and time.monotonic() < begun + 240:  # until the other worker has one, too
        time.sleep(0.01)
    time.sleep(0.05)
    return hashlib.sha256(str(number).encode()).hexdigest(), os.getpid()
"""


@pytest.mark.module("celery")
@RATES
def test_a_queue(rate: str, tmp_path: pathlib.Path) -> None:
    """Celery, with files as its queue. Its workers end by os._exit(): their profiles are what was written before."""
    (tmp_path / "tasks.py").write_text(TASKS)
    for name in ("queue", "control", "results", "took"):
        (tmp_path / name).mkdir()
    python, variables = started_by("environment", rate, tmp_path)
    words = ["-m", "celery", "-A", "tasks", "worker", "--concurrency", "2", "--loglevel", "WARNING"]
    words += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    ask = """if True:
        import tasks
        answers = [tasks.work.delay(number) for number in range(20)]
        for answer in answers:
            print(*answer.get(timeout=300, interval=0.05))
        """
    with running(python + words, tmp_path, **variables) as process:
        environment = dict(os.environ, PYTHONPATH=str(tmp_path))
        asked = subprocess.run(
            [sys.executable, "-c", ask],
            cwd=str(tmp_path),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=600,
        )
        answers = [line.split() for line in asked.stdout.splitlines()]
        workers = {int(answer[1]) for answer in answers}
        if asked.returncode == 0:
            wait_until("the workers' profiles of their tasks", lambda: all(holds(tmp_path, pid) for pid in workers))
        process.send_signal(signal.SIGTERM)
        text, _ = output(process, 300)
    assert asked.returncode == 0, asked.stderr + text
    assert [answer[0] for answer in answers] == [hashlib.sha256(str(i).encode()).hexdigest() for i in range(20)]
    assert len(workers) == 2, text
    found = profiles(tmp_path)
    assert workers <= set(found), text
    for pid in workers:
        assert "hold" in recorded_functions(found[pid])


# ---- a pool ----

POOL = """
import hashlib, multiprocessing, os, sys, time
kept = []
def hold():
    kept.append(bytearray(300000))
def work(number):
    hold()
    return hashlib.sha256(str(number).encode()).hexdigest(), os.getpid()
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(3, maxtasksperchild=4) as pool:
        answers = pool.map(work, range(24), chunksize=1)
        pool.close()
        pool.join()
    for digest, pid in answers:  # when nothing forks any more: a child prints what its parent has not printed yet
        print(digest, pid)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@RATES
def test_a_pool_whose_workers_are_replaced(rate: str, method: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    done = run_mprofile(
        "run", "--sample-rate", rate, "-o", "heap.pb.gz", "pool.py", method, cwd=str(tmp_path), timeout=300
    )
    assert done.returncode == 0, done.stderr
    answers = [line.split() for line in done.stdout.splitlines() if len(line.split()) == 2]
    assert [answer[0] for answer in answers] == [hashlib.sha256(str(i).encode()).hexdigest() for i in range(24)]
    workers = {int(answer[1]) for answer in answers}
    assert len(workers) >= 6
    found = profiles(tmp_path)
    assert workers <= set(found), done.stderr
    for pid in workers:
        assert comments(found[pid])["state"] == "final"
        assert "hold" in recorded_functions(found[pid])


# ---- another event loop ----


@pytest.mark.module("uvloop")
@pytest.mark.parametrize("rate", ["0", "1", "4K"])
def test_another_event_loop(rate: str, tmp_path: pathlib.Path) -> None:
    """uvloop allocates in C, with PyMem, and calls Python from its own loop: answers are right, stacks are whole."""
    (tmp_path / "loop.py").write_text(
        textwrap.dedent(
            """
            import asyncio, gc, uvloop
            kept = []
            def hold(line):
                kept.append(bytearray(3000))
                return line[::-1]
            async def serve(reader, writer):
                async for line in reader:
                    writer.write(hold(line.strip()) + b"\\n")
                    await writer.drain()
                writer.close()
            async def ask(port, number):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                for count in range(20):
                    word = "{}-{}".format(number, count)
                    writer.write(word.encode() + b"\\n")
                    assert (await reader.readline()).decode().strip() == word[::-1]
                writer.close()
            async def command():
                process = await asyncio.create_subprocess_exec("echo", "said", stdout=asyncio.subprocess.PIPE)
                return (await process.communicate())[0]
            async def main():
                server = await asyncio.start_server(serve, "127.0.0.1", 0)
                port = server.sockets[0].getsockname()[1]
                for _ in range(5):
                    await asyncio.gather(*(ask(port, number) for number in range(10)))
                    await asyncio.get_running_loop().run_in_executor(None, gc.collect)
                assert await command() == b"said\\n"
                server.close()
            for _ in range(3):
                loop = uvloop.new_event_loop()
                asyncio.set_event_loop(loop)
                loop.run_until_complete(main())
                loop.close()
            print(len(kept))
            """
        )
    )
    done = run_mprofile("run", "--sample-rate", rate, "-o", "heap.pb.gz", "loop.py", cwd=str(tmp_path), timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "3000"
    rows = [row for row in check(tmp_path / "heap.pb.gz").rows("function") if row.name == "hold"]
    if rate == "4K":
        (row,) = rows
        low, high = row.flat.inuse.bytes_interval(0.999999)
        assert low <= 3000 * 3100 and 3000 * 3001 <= high
    else:
        assert sum(row.flat.inuse.blocks for row in rows) >= 3000
