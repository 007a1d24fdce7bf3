# SPDX-License-Identifier: MIT
"""Hazard 6: where a thread of CPython 3.11 and 3.12 says that its innermost frame is, there may be none.

So it is for some instructions of each entry into the evaluation loop, where a signal handler may come; and frames that
are some must be known in whatever place they are.
"""

from __future__ import annotations

import sys
from typing import Iterator

import pytest
from harness import blocks, compile_library, isolated, recording, run

import mprofile

has_cframes = pytest.mark.skipif(
    not (3, 11) <= sys.version_info[:2] <= (3, 12), reason="only CPython 3.11 and 3.12 point to frames so"
)

START = """
import ctypes, sys
from mprofile import _core

library, rate = ctypes.PyDLL(sys.argv[1]), int(sys.argv[2])
pointer = ctypes.c_void_p
for name in ("innermost", "entry", "unmapped", "in_window"):
    getattr(library, name).restype = pointer
library.in_window.argtypes = [pointer, pointer, ctypes.c_size_t]
library.give_back.argtypes = [pointer]
library.on_a_frame_object.argtypes = [ctypes.py_object, ctypes.py_object]
library.on_a_frame_object.restype = ctypes.py_object
_core.start(20, rate)
"""

#: Arguments: the library, the rate.
GARBAGE = (
    START
    + """
SIZE = 5003
bytes_type = bytes
dead = []

arm, fire = library.arm, library.fire
arm.restype = fire.restype = None

def remembered():
    arm()
    bytes_type(50000)

def between():
    remembered()

def caller():
    between()

def nothing(*arguments):
    pass

# Frames of calls that have ended, in the part of this one's that it does not use at the moment.
source = "def large(full):\\n    if full:\\n" + "".join("        v{} = 0\\n".format(i) for i in range(10))
source += "        nothing(" + "full, " * 29 + ")\\n    fire()\\n"
exec(source)

def generator():
    dead.append(library.innermost())
    bytes_type(50000)
    yield

def deep(number):
    if number:
        deep(number - 1)
    else:
        dead.append(library.innermost())
        bytes_type(50000)

def look(frame):
    entry = library.entry()
    for previous in (0, 8, -8, 0x5555, 0x2020202020202020, library.unmapped(), entry, entry + 8, frame):
        block = library.in_window(frame, previous, SIZE)
        traces = [trace for trace in _core._get_traces() if trace[1] == SIZE]
        assert len(traces) == 1 or rate > 0, len(traces)
        for trace in traces:
            assert {one[0] for one in trace[2]} <= {"<unknown>", "<string>"}, trace[2]
        library.give_back(block)
        looked.append(frame)

looked = []
for _ in range(3):
    here = library.innermost()
    for frame in (0, 8, -8, 1, here + 1, 0x5555, 0x2020202020202020, library.unmapped()):
        look(frame)
    for frame in (library.entry(), library.entry() + 8):
        look(frame)
    for frame in (id(look), id(look) + 1, id(look.__code__), id(type(look)), here, here + 8, here + 64):
        look(frame)
    caller()
    fire()
    caller()
    large(False)
    caller()
    large(True)
    suspended = generator()
    next(suspended)
    look(dead[-1])
    del suspended
    look(dead[-1])
    deep(900)
    look(dead[-1])
    assert _core._valid()
assert not [trace for trace in _core._get_traces() if trace[1] == SIZE]
_core.stop()
print(len(looked))
"""
)


@has_cframes
@pytest.mark.parametrize("rate", [0, 2])
def test_hazard_06_what_is_no_frame_is_not_read(rate: int, tmp_path: object) -> None:
    """Pointers to nothing, to objects, into frames, to frames of calls and generators that have ended."""
    library = compile_library("window.c", tmp_path)
    assert run(GARBAGE, arguments=[library, str(rate)]) == "{}\n".format(3 * 9 * 20)


#: Arguments: the library, the rate.
OBJECTS = (
    START
    + """
kept = []

def fill():
    kept.append(bytearray(5002))

def compiled():
    pass

def between():
    library.on_a_frame_object(compiled.__code__, fill)

def outer():
    library.on_a_frame_object(compiled.__code__, between)

outer()
traces = [trace for trace in _core._get_traces() if trace[1] == 5003]
_core.stop()
print([[frame.name for frame in trace[2]] for trace in traces])
"""
)


@has_cframes
def test_hazard_06_frames_of_frame_objects(tmp_path: object) -> None:
    """Modules compiled by Nuitka put such frames, which lie on the heap, between Python's."""
    library = compile_library("window.c", tmp_path)
    names = ["fill", "compiled", "between", "compiled", "outer", "<module>"]
    assert run(OBJECTS, arguments=[library, "0"]) == "{}\n".format([names])


@isolated
def test_hazard_06_throw_into_generators_within_generators() -> None:
    """On its way to the innermost one, CPython 3.11 and 3.12 point to each without having it run. CPython 3.9 forgets
    who called the outermost: sys._getframe() and tracebacks end there, too."""

    class Delegate:
        throw = staticmethod(repr)  # written in C, and it allocates

        def __iter__(self) -> "Delegate":
            return self

        def __next__(self) -> int:
            return 1

    def inner(iterator: Iterator[int]) -> Iterator[object]:
        yield from iterator

    def outer(iterator: Iterator[int]) -> Iterator[object]:
        yield from inner(iterator)

    def thrown(iterator: Iterator[int], what: object) -> object:
        suspended = outer(iterator)
        next(suspended)
        return suspended.throw(what)  # type: ignore[attr-defined]

    with recording(sample_rate=0):
        made = thrown(Delegate(), ValueError("x" * 5000))  # type: ignore[arg-type]
        assert made == "ValueError('{}')".format("x" * 5000)
        (block,) = (block for block in blocks() if 5012 < block.size < 5100)
        forgets = sys.version_info[:2] == (3, 9)
        assert list(block.names) == ["outer"] if forgets else "thrown" in block.names, block
        try:
            thrown(iter([1, 1]), ValueError)
        except ValueError as error:
            traceback = mprofile.get_object_traceback(error)
            assert traceback is not None
            lines = [frame.lineno for frame in traceback]
            last = outer.__code__.co_firstlineno + 1
            assert lines == [last] if forgets else thrown.__code__.co_firstlineno + 3 in lines, traceback
