# SPDX-License-Identifier: MIT
"""`mprofile top`: its screen, and the command in a pseudo-terminal: keys, new size, the program's end, the terminal."""

from __future__ import annotations

import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from typing import Any, Dict, Iterator, List, Optional

import pytest
from processes import MPROFILE

import mprofile
from mprofile.profile import Profile
from mprofile.reports import top
from mprofile.reports.styled import plain

#: Seconds to wait for what is bound to come.
PATIENCE = 120

PROGRAM = """\
import sys
import time

kept = []

def grow():
    kept.append(bytearray(2000000))

def steady():
    return bytearray(3000000)

held = steady()
print("ready", flush=True)
for line in sys.stdin:
    if line == "grow\\n":
        grow()
    print("done", flush=True)
"""


# ---- the screen ----


def made(tmp_path: pathlib.Path, sizes: Dict[str, int], state: str = "running") -> Profile:
    traces: List[Any] = []
    for name, size in sizes.items():
        frames = (("/srv/app/%s.py" % name, 7),)
        traces.append((0, size, frames, 1) if sys.version_info >= (3, 9) else (0, size, frames))
    path = str(tmp_path / "made.pb.gz")
    comments = [
        "mprofile: command=server.py --port 8080",
        "mprofile: directory=/srv/app",
        "mprofile: pid=4711",
        "mprofile: duration=12.5 s",
        "mprofile: state=" + state,
        "mprofile: history=1700000000000,1024,4096;1000,2048,4096;2000,1024,8192",
    ]
    Profile.from_snapshot(mprofile.Snapshot(traces, 128)).write(path, comments=comments)
    return Profile.read(path)


def shown(view: top.View, width: int = 80, height: int = 24, **look: Any) -> List[str]:
    return plain(top.screen(view, top.Look(**look), width, height)).splitlines()


def test_screen(tmp_path: pathlib.Path) -> None:
    old = top.View.of(made(tmp_path, {"a": 1 << 20, "b": 3 << 20}), "line")
    view = top.View.of(made(tmp_path, {"a": 4 << 20, "b": 2 << 20, "c": 1 << 20}), "line", (old.total, old.base))
    lines = shown(view)
    assert len(lines) == 24
    assert max(map(len, lines)) <= 80
    assert lines[0] == "pid 4711  server.py --port 8080  running  after 12.5 s"
    assert lines[1].startswith("heap     7.0 MiB +3.0 MiB since viewing")
    assert lines[2].startswith("rss      8.0 MiB ")
    assert lines[2].endswith("\u2588")
    table = [line.split() for line in lines[5:9]]
    assert table[0] == ["size", "growth", "allocated", "line"]
    assert table[1] == ["4.0", "MiB", "+3.0", "MiB", "0", "B", "a.py:7"]
    assert table[2] == ["2.0", "MiB", "-1.0", "MiB", "0", "B", "b.py:7"]
    assert table[3] == ["1.0", "MiB", "+1.0", "MiB", "0", "B", "c.py:7"]
    assert lines[-1].startswith("q quit")


def test_screen_sorted_by_growth_leaves_out_what_shrank(tmp_path: pathlib.Path) -> None:
    old = top.View.of(made(tmp_path, {"a": 1 << 20, "b": 3 << 20}), "line")
    view = top.View.of(made(tmp_path, {"a": 2 << 20, "b": 2 << 20, "c": 2 << 20}), "line", (old.total, old.base))
    names = [line.split()[-1] for line in shown(view, sort="growth")[6:-1] if line]
    assert names == ["c.py:7", "a.py:7"]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (20, 5), (200, 60), (10, 2), (1, 1)])
def test_screen_has_the_size_it_is_given(width: int, height: int, tmp_path: pathlib.Path) -> None:
    view = top.View.of(made(tmp_path, {"name%d" % i: 1000 + i for i in range(100)}), "line")
    assert len(top.screen(view, top.Look(), width, height)) == height


def test_control_characters_do_not_reach_the_terminal(tmp_path: pathlib.Path) -> None:
    view = top.View.of(made(tmp_path, {"a\x1b[2Jb": 5000}), "line")
    assert "\x1b" not in "".join(shown(view))


def test_sparkline() -> None:
    points = [(float(i), float(i)) for i in range(8)]
    assert top.sparkline(points, 8) == top.BARS
    assert top.sparkline([(0.0, 8.0), (4.0, 1.0)], 4, "12345678") == "8882"
    assert top.sparkline([(0.0, 0.0), (4.0, 0.0)], 4, "12345678") == "1111"
    assert top.sparkline([(0.0, 5.0)], 4, "12345678") == "   8"
    assert top.sparkline([], 4) == ""


# ---- in a pseudo-terminal ----


class Session:
    """The command in a terminal of its own. text(): what it wrote; escapes that move about are line ends."""

    def __init__(self, *words: str, cwd: str, width: int = 80, height: int = 24) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(width, height)
        self.before = termios.tcgetattr(self.slave)
        environment = dict(os.environ, TERM="xterm", PYTHONIOENCODING="utf-8")
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [MPROFILE, "top", "--interval", "0.1", *words],
            stdin=self.slave,
            stdout=self.slave,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
        self.output = ""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def read(self, seconds: float) -> bool:
        """Whether there was anything: a part of it, at most."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            self.output += os.read(self.master, 1 << 16).decode("utf-8", "replace")
        return bool(ready)

    def until(self, pattern: str) -> str:
        """What was written up to the pattern, which is then behind us."""
        deadline = time.monotonic() + PATIENCE
        while True:
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.output)
            match = re.search(pattern, text)
            if match is not None:
                self.output = ""
                return text
            assert time.monotonic() < deadline, (pattern, text[-3000:])
            self.read(0.2)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read(0.05)
        return self.process.wait(1)

    def restored(self) -> bool:
        """Whether the terminal is as it was once all is read: its modes, the cursor shown, the first screen."""
        deadline = time.monotonic() + PATIENCE
        while (self.read(0.05) or not self._restored()) and time.monotonic() < deadline:
            pass
        return self._restored()

    def _restored(self) -> bool:
        return (
            termios.tcgetattr(self.slave) == self.before
            and self.output.rfind("\x1b[?1049l") > self.output.rfind("\x1b[?1049h")
            and self.output.rfind("\x1b[?25h") > self.output.rfind("\x1b[?25l")
        )

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()
        os.close(self.master)
        os.close(self.slave)


class Program:
    def __init__(self, directory: str) -> None:
        self.process = subprocess.Popen(
            [MPROFILE, "run", "--sample-rate", "0", "--every", "0.1", "-o", "heap.pb.gz", "program.py"],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
        )
        self.answer()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def grow(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("grow\n")
        self.process.stdin.flush()
        self.answer()

    def finish(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def program(tmp_path: pathlib.Path) -> Iterator[Program]:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    running = Program(str(tmp_path))
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "heap.pb.gz").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    yield running
    running.close()


@pytest.fixture
def session(program: Program, tmp_path: pathlib.Path) -> Iterator[Session]:
    one = Session("heap.pb.gz", cwd=str(tmp_path))
    yield one
    one.close()


def test_follows_the_program(session: Session, program: Program) -> None:
    session.until("program.py:10")
    program.grow()
    session.until(r"\+1\.9 MiB since viewing")
    program.grow()
    session.until(r"\+3\.8 MiB since viewing")
    session.type("q")
    assert session.end() == 0
    assert session.restored()


def test_keys(session: Session, program: Program) -> None:
    session.until("sorted by size")
    for key, name in (("g", "growth"), ("a", "allocated"), ("k", "peak"), ("s", "size")):
        session.type(key)
        session.until("sorted by " + name)
    session.type("b")
    session.until("  function")
    session.type("p")
    session.until("paused")
    program.grow()
    time.sleep(0.6)
    session.type("a")  # draws once more, still of the same profile
    assert "+1.9 MiB since" not in session.until("sorted by allocated")
    session.type("p")
    session.until(r"\+1\.9 MiB since viewing")
    session.type("r")
    session.until(r"\+0 B since viewing")
    session.type("q")
    assert session.end() == 0


def test_new_size(session: Session) -> None:
    session.until("program.py:10")
    session.resize(50, 12)
    session.process.send_signal(signal.SIGWINCH)
    deadline = time.monotonic() + PATIENCE
    while True:  # what was drawn before is still to be read
        text = session.until("q quit  p pause  s g a k sort")
        frame = [line for line in re.split("\r?\n", text) if line][-12:]
        if max(map(len, frame)) <= 50 or time.monotonic() > deadline:
            break
    assert max(map(len, frame)) <= 50
    session.type("q")
    assert session.end() == 0


def test_end_of_the_program_is_told_and_its_last_state_stays(session: Session, program: Program) -> None:
    session.until("running")
    program.grow()
    program.finish()
    text = session.until("ended")
    assert "without a last profile" not in text
    session.type("g")
    assert "program.py:7" in session.until("sorted by growth[^$]*program.py:7")
    session.type("q")
    assert session.end() == 0


def test_a_killed_program(program: Program, tmp_path: pathlib.Path) -> None:
    session = Session(str(program.process.pid), cwd=str(tmp_path))
    try:
        session.until("running")
        program.process.kill()
        program.process.wait()
        assert "program.py:10" in session.until("ended without a last profile[^$]*program.py:10")
        session.type("q")
        assert session.end() == 0
    finally:
        session.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_put_the_terminal_back(number: signal.Signals, session: Session) -> None:
    session.until("sorted by size")
    assert termios.tcgetattr(session.slave) != session.before
    session.process.send_signal(number)
    assert session.end() == (0 if number == signal.SIGINT else 128 + number)
    assert session.restored()
    assert session.process.stderr is not None
    assert session.process.stderr.read() == b""


def test_suspending_puts_the_terminal_back(session: Session) -> None:
    session.until("sorted by size")
    session.process.send_signal(signal.SIGTSTP)
    deadline = time.monotonic() + PATIENCE
    state: Optional[str] = None
    while state != "T" and time.monotonic() < deadline:
        session.read(0.05)
        with open("/proc/{}/stat".format(session.process.pid)) as file:
            state = file.read().rpartition(")")[2].split()[0]
    assert state == "T"
    assert session.restored()
    session.output = ""
    session.process.send_signal(signal.SIGCONT)
    session.until("sorted by size")
    session.type("q")
    assert session.end() == 0


def test_file_that_goes(session: Session, tmp_path: pathlib.Path, program: Program) -> None:
    session.until("program.py:10")
    program.finish()
    session.until("ended")
    (tmp_path / "heap.pb.gz").unlink()
    session.until("'heap.pb.gz' is gone; this is what it said last")
    (tmp_path / "heap.pb.gz").write_bytes(b"nonsense")
    session.until("cannot read it: ")
    session.type("q")
    assert session.end() == 0


# ---- without a terminal ----


def run(*words: str, cwd: Optional[str] = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [MPROFILE, "top", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=dict(os.environ, PYTHONIOENCODING="utf-8"),
        cwd=cwd,
        timeout=60,
    )


def test_one_frame_without_a_terminal(program: Program, tmp_path: pathlib.Path) -> None:
    for target in ("heap.pb.gz", str(program.process.pid)):
        done = run(target, cwd=str(tmp_path))
        assert done.returncode == 0
        assert done.stderr == "mprofile top: there is no terminal, so this is one frame\n"
        assert "  program.py  running" in done.stdout
        assert "program.py:10" in done.stdout
        assert "\x1b" not in done.stdout


def test_default_name_is_found_by_pid(tmp_path: pathlib.Path) -> None:
    code = "import time; kept = bytearray(5000000); print(1, flush=True); time.sleep(600)"
    process = subprocess.Popen(
        [MPROFILE, "run", "-c", code], cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        deadline = time.monotonic() + PATIENCE
        while not list(tmp_path.glob("mprofile.*.pb.gz")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "running" in run(str(process.pid)).stdout
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["missing.pb.gz"], "cannot read 'missing.pb.gz': No such file or directory"),
        (["999999999"], "cannot look at process 999999999"),
        (["--interval", "0", "x"], "'0' is not a number of seconds from 0.1 to 3600"),
        (["--sort", "colour", "x"], "colour"),
        ([], "PID | FILE"),
    ],
)
def test_what_cannot_be_done(words: List[str], part: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert part in done.stderr


def test_process_that_is_not_recorded(tmp_path: pathlib.Path) -> None:
    process = subprocess.Popen(["sleep", "60"], cwd=str(tmp_path))
    try:
        done = run(str(process.pid))
    finally:
        process.kill()
        process.wait()
    assert done.returncode == 2
    assert "found no profile of process {}".format(process.pid) in done.stderr


def test_damaged_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "damaged.pb.gz").write_bytes(b"\x1f\x8bnonsense")
    done = run(str(tmp_path / "damaged.pb.gz"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "damaged" in done.stderr


def test_help_has_examples() -> None:
    assert "mprofile top --sort growth 4711" in run("--help").stdout
