# SPDX-License-Identifier: MIT
"""The first start compares the stack that it reads with the one Python shows; where they differ it does not start."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from typing import Any, Callable, Iterator

import pytest

import mprofile
from mprofile import _core


@pytest.fixture(autouse=True)
def test_it_again() -> Iterator[None]:
    _core._misread_frames(0)
    yield
    mprofile.stop()
    _core._misread_frames(0)


def started() -> bool:
    _core._misread_frames(0)
    mprofile.start()
    mprofile.stop()
    return True


def recurse(depth: int, then: Callable[[], Any]) -> Any:
    return then() if depth == 0 else recurse(depth - 1, then)


@pytest.mark.parametrize("depth", [0, 1, 30, 62, 63, 64, 65, 200])
def test_stacks_of_any_depth(depth: int) -> None:
    assert recurse(depth, started)


def test_generators_comprehensions_and_calls_from_c() -> None:
    def generate() -> Iterator[bool]:
        yield started()
        yield from (started() for _ in range(2))

    class Caller:
        def __init__(self) -> None:
            self.ok = sorted([2, 1], key=lambda _: started())

        def __del__(self) -> None:
            started()

    assert list(generate()) == [True, True, True]
    assert [started() for _ in range(2)] == [True, True]
    assert Caller().ok == [2, 1]
    assert eval("started()", {"started": started})


def test_under_a_tracer() -> None:
    """A tracer may set f_lineno, and is called itself between instructions."""
    lines = []

    def trace(frame: Any, event: str, argument: Any) -> Any:
        lines.append((event, started()) if len(lines) < 50 else None)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        recurse(
            3,
            started,
        )
    finally:
        sys.settrace(before)
    assert lines


def test_coroutines() -> None:
    async def inner() -> bool:
        return started()

    async def outer() -> bool:
        return await inner()

    with pytest.raises(StopIteration) as stop:
        outer().send(None)
    assert stop.value.value is True


def test_frames_that_are_misread_are_not_profiled() -> None:
    _core._misread_frames(1)
    with pytest.raises(RuntimeError, match="not what mprofile was built for: frame 2 of its stack is read as another"):
        recurse(1, mprofile.start)
    assert not mprofile.is_tracing()
    _core._misread_frames(1000)
    with pytest.raises(RuntimeError, match="its stack is read with fewer frames than it has"):
        mprofile.start()
    _core._misread_frames(0)
    mprofile.start()
    assert mprofile.is_tracing()


def test_the_program_runs_on_without(tmp_path: pathlib.Path) -> None:
    code = """
import os
from mprofile import _core, _environment, is_tracing

def begin():
    os.environ["MPROFILERATE"] = "1K"
    _core._misread_frames(1)
    return _environment.start()

print(begin(), is_tracing(), "runs on")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
        cwd=str(tmp_path), timeout=60, env={k: v for k, v in os.environ.items() if not k.startswith("MPROFILE")},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "False False runs on\n")
    assert done.stderr.count("\n") == 1
    assert "running without the profiler: this interpreter is not what mprofile was built for: frame 1" in done.stderr
