# SPDX-License-Identifier: MIT
"""What each function of the extension refuses: the exception and its words, and that nothing has changed by it."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any, Callable, Iterator, Optional, Type

import pytest

import mprofile
from mprofile import _core


@pytest.fixture(autouse=True)
def stopped() -> Iterator[None]:
    mprofile.stop()
    yield
    mprofile.stop()


def made(count: int = 4) -> Any:
    """Traces of as many files with a function each."""
    return _core._make_traces([(0, 100 + i, ((f"file{i}.py", i + 1), ("main.py", 1))) for i in range(count)])


class Unequal:
    """Cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("compared")


class Endless:
    """A list whose length is not to be had, and whose items are not."""

    class WithoutLength(list):  # type: ignore[type-arg]
        def __len__(self) -> int:
            raise ZeroDivisionError("measured")

    class WithoutItems(list):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: Any) -> Any:
            raise ZeroDivisionError("looked at")


FUNCTIONS = [
    (lambda: _core.start("many"), TypeError, None),
    (lambda: _core.start(0), ValueError, r"the number of frames must be in range \[1; 65535\], not 0"),
    (lambda: _core.start(65536), ValueError, r"in range \[1; 65535\], not 65536"),
    (lambda: _core.start(1, -1), ValueError, r"sample_rate must be in range \[0; 1099511627776\] bytes, not -1"),
    (lambda: _core.start(1, (1 << 40) + 1), ValueError, "not 1099511627777"),
    (lambda: _core.start(1, 0, seed="seven"), TypeError, None),
    (lambda: _core.start(1, 0, max_live="many"), TypeError, None),
    (lambda: _core.start(1, 0, max_live=-1), OverflowError, None),
    (lambda: _core.start(1, 0, max_live=1 << 64), OverflowError, None),
    (lambda: _core._misread_frames("one"), TypeError, None),
    (lambda: _core._fail("one"), TypeError, None),
    (lambda: _core._start_recording("text"), TypeError, None),
    (lambda: _core._stop_recording("soon"), TypeError, None),
    (lambda: _core._recording_path(1, 2), TypeError, None),
    (lambda: _core._recording_path(b"/" + 5000 * b"x", 1), ValueError, "the path is longer than [0-9]+ bytes"),
    (lambda: _core._start_recording(b"/" + 5000 * b"x", 1.0, 0.1, b"", None, 0, False), OSError, "too long"),
    (lambda: _core._start_recording(b"/tmp/x", 1.0, 0.1, b"", b"/" + 5000 * b"x", 0, False), OSError, "too long"),
    (lambda: _core._guard_signal("TERM"), TypeError, None),
    (lambda: _core._guard_signal(10000), OSError, "Invalid argument"),
    (lambda: _core._guard_signal(signal.SIGKILL), ValueError, "signal 9 has no handler to guard"),
    (lambda: _core._make_traces(7), TypeError, None),
    (lambda: _core._merge_traces(7), TypeError, None),
    (lambda: _core._merge_traces([]), ValueError, "there is nothing to merge; give one profile or more"),
    (lambda: _core._merge_traces([made(), "text"]), TypeError, "what is merged must be Traces, not str"),
    (lambda: _core._traces_from_pprof("text"), TypeError, "a profile must be bytes, not str"),
    (lambda: _core._traces_from_pprof(b"\xff"), ValueError, None),
    (lambda: _core._restore_traces("text", b""), TypeError, None),
]


@pytest.mark.parametrize("call, kind, words", FUNCTIONS)
def test_functions(call: Callable[[], Any], kind: Type[Exception], words: Optional[str]) -> None:
    info = _core._recording_info()
    with pytest.raises(kind, match=words):
        call()
    assert not mprofile.is_tracing()
    assert _core._recording_info()["running"] is info["running"] is False


METHODS = [
    (lambda t: t["one"], TypeError, None),
    (lambda t: t[4], IndexError, "trace index 4 out of range: there are 4 traces"),
    (lambda t: t[-5], IndexError, "trace index -1 out of range: there are 4 traces"),
    (lambda t: t[1 << 70], IndexError, None),
    (lambda t: t["a":], TypeError, None),
    (lambda t: t[::0], ValueError, None),
    (lambda t: t.index(), TypeError, None),
    (lambda t: t.index(7), ValueError, "7 is not among the traces"),
    (lambda t: t.index(t[0], 1), ValueError, "is not among the traces"),
    (lambda t: t.index(t[3], 0, 3), ValueError, "is not among the traces"),
    (lambda t: t.index(t[3], -9, -1), ValueError, "is not among the traces"),
    (lambda t: t.index(Unequal()), ZeroDivisionError, "compared"),
    (lambda t: t.count(Unequal()), ZeroDivisionError, "compared"),
    (lambda t: Unequal() in t, ZeroDivisionError, "compared"),
    (lambda t: t == [Unequal()] * 4, ZeroDivisionError, "compared"),
    (lambda t: t == Endless.WithoutItems(), ZeroDivisionError, "looked at"),
    (lambda t: t == Endless.WithoutLength(), ZeroDivisionError, "measured"),
    (lambda t: t < t, TypeError, None),
    (lambda t: hash(t), TypeError, "unhashable"),
    (lambda t: t.statistics("lineno"), TypeError, None),
    (lambda t: t.statistics("colour", False), ValueError, "unknown key_type: 'colour'"),
    (lambda t: t.differences([], "lineno", False), TypeError, None),
    (lambda t: t.differences(t, "colour", False), ValueError, "unknown key_type: 'colour'"),
    (lambda t: t.rows(1), TypeError, None),
    (lambda t: t.rows("colour"), ValueError, "unknown key_type: 'colour'"),
    (lambda t: t.sums(b""), TypeError, None),
    (lambda t: t.sums("text", 1), ValueError, "must be bytes, four for each of 6 functions"),
    (lambda t: t.sums(b"1234", 1), ValueError, "must be bytes, four for each of 6 functions"),
    (lambda t: t.sums(24 * b"\1", 3), ValueError, "the number of a function is 16843009, they must be below 3"),
    (lambda t: t.fold(b""), TypeError, None),
    (lambda t: t.fold(24 * b"\0", "text", b"", 1, 0.0, 10), TypeError, "must be Traces or None, not str"),
    (lambda t: t.fold(b"", None, b"", 1, 0.0, 10), ValueError, "must be bytes, four for each of 6 functions"),
    (lambda t: t.fold(24 * b"\0", made(2), b"", 1, 0.0, 10), ValueError, "four for each of 4 functions"),
    (lambda t: t.select(), TypeError, None),
    (lambda t: t.select(7), TypeError, None),
    (lambda t: t.select([7]), TypeError, "a filter must be a tuple, not int"),
    (lambda t: t.select([(1, 2)]), TypeError, None),
    (lambda t: t.select([(True, "text", -1, False, -1)]), ValueError, "the files of a filter must be None or bytes, "),
    (lambda t: t.select([(True, b"", -1, False, -1)]), ValueError, "the files of a filter must be None or bytes, "),
    (lambda t: t.select_blocks("text"), TypeError, None),
    (lambda t: t.select_blocks(b"\1\1\1"), ValueError, r"needs one byte a trace: 4, not 3"),
    (lambda t: t.block("one"), TypeError, None),
    (lambda t: t.block(4), IndexError, "trace index 4 out of range: there are 4 traces"),
    (lambda t: t.block(-5), IndexError, "out of range: there are 4 traces"),
    (lambda t: t.to_pprof(), TypeError, None),
    (lambda t: t.to_pprof([], b""), TypeError, None),
    (lambda t: t.to_pprof(("text",), b""), TypeError, "a comment must be bytes, not str"),
]


@pytest.mark.parametrize("call, kind, words", METHODS)
def test_methods(call: Callable[[Any], Any], kind: Type[Exception], words: Optional[str]) -> None:
    traces = made()
    before = list(traces)
    with pytest.raises(kind, match=words):
        call(traces)
    assert list(traces) == before


def test_what_no_trace_can_equal() -> None:
    """Sizes are compared first; these have none that a trace could have."""
    traces = made()
    for other in ((0, -1, ()), (0, 1 << 64, ()), (0, "100", ()), (0,), [0, 100], 7, None):
        assert other not in traces and traces.count(other) == 0
    same = tuple(traces[0])
    assert same in traces and traces.index(same) == 0 and traces.count(same) == 1
    assert traces.index(traces[3], -1) == 3 and traces.index(traces[2], -2, -1) == 2
    assert traces.block(-1) == traces.block(3)
    assert traces != [same] and traces != (same,) * 4 and traces == tuple(traces) and not traces == 7
    assert sys.getsizeof(traces) > 1000


def test_a_trace_may_lack_the_number_of_its_frames() -> None:
    frames = (("a.py", 1),)
    assert _core._make_traces([(0, 1, frames, None)]) == _core._make_traces([(0, 1, frames)])


def test_what_is_known_is_not_made_again() -> None:
    traces = made()
    assert _core._make_traces(traces) is traces


@pytest.mark.parametrize(
    "frame",
    [
        ("<unknown>", 1),
        ("<unknown>", True),
        ("known", 0),
    ],
)
def test_frames_that_are_nearly_the_unknown_one(frame: Any) -> None:
    (one,) = _core._make_traces([(0, 1, (frame,))])
    assert one[2] == (frame,)
    assert _core._make_traces([(0, 1, (frame,))]).functions()[1:]


def test_the_unknown_frame_is_no_function() -> None:
    traces = _core._make_traces([(0, 1, (("<unknown>", 0),))])
    assert traces[0][2] == (("<unknown>", 0),) and len(traces.functions()) == 1


def test_a_module_that_was_not_executed() -> None:
    """Half an import: there are functions, but no types for what they return."""
    assert _core.__spec__ is not None
    module: Any = importlib.util.module_from_spec(_core.__spec__)
    mprofile.start()
    kept = bytearray(5000)
    assert _core._get_object_traceback(kept) is not None
    for call in (module._get_traces, lambda: module._get_object_traceback(kept)):
        with pytest.raises(RuntimeError, match="the module mprofile._core has been unloaded"):
            call()
    assert len(_core._get_traces()) > 0


def test_a_signal_without_a_handler_is_not_guarded() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    try:
        for action in (signal.SIG_DFL, signal.SIG_IGN):
            signal.signal(signal.SIGUSR2, action)
            with pytest.raises(ValueError, match="signal {} has no handler to guard".format(int(signal.SIGUSR2))):
                _core._guard_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)


GUARDED = """
import os, signal, sys
from mprofile import _core
seen = []
def handler(number, frame):
    seen.append(number)
    _core._spare()
signal.signal(signal.SIGUSR2, handler)
for _ in range(3):
    _core._guard_signal(signal.SIGUSR2)
os.kill(os.getpid(), signal.SIGUSR2)
while not seen:
    pass
assert seen == [signal.SIGUSR2]
"""


def test_guarding_again_calls_the_handler_once() -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED], stderr=subprocess.PIPE, universal_newlines=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_first_profile_that_cannot_be_written(tmp_path: pathlib.Path) -> None:
    """The call that failed is returned; the recording goes on and may be ended."""
    mprofile.start()
    target = os.fsencode(str(tmp_path / "missing" / "heap.pb.gz"))
    error, call = _core._start_recording(target, 3600.0, 0.1, b"", None, 0, False)
    assert (error, call) == (2, "open")
    with pytest.raises(RuntimeError, match="a recording is running already"):
        _core._start_recording(target, 3600.0, 0.1, b"", None, 0, False)
    info = _core._recording_info()
    assert info["running"] and info["failures"] == 1 and info["reason"] == "there is no such directory"
    os.mkdir(str(tmp_path / "missing"))
    assert _core._stop_recording(1e12) == 0
    assert os.path.getsize(target) > 0
