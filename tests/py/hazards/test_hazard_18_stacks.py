# SPDX-License-Identifier: MIT
"""Hazard 18: generators, coroutines, deep recursion, frames in the making, C that calls Python."""

from __future__ import annotations

import sys
from typing import Any, Callable, Generator, List

import pytest
from harness import Block, blocks, blocks_of, isolated, recording

EVERYTHING = [0, 2]


def python_stack() -> List[str]:
    """Names on the caller's stack, most recent first, as Python itself tells them."""
    frame: Any = sys._getframe(1)
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


def stacks_of(size: int) -> List[List[str]]:
    return [block.names for block in blocks(size)]


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_18_generators(rate: int) -> None:
    """A generator's block has the stack of who resumed it, each time another."""

    def inner() -> Generator[Any, None, None]:
        while True:
            yield bytearray(5002), python_stack()

    def outer() -> Generator[Any, None, None]:
        yield from inner()

    def resume_here() -> Any:
        return next(generator)

    def resume_there() -> Any:
        return [next(generator)][0]

    with recording(sample_rate=rate):
        generator = outer()
        kept = [resume() for resume in (resume_here, resume_there, lambda: next(generator)) for _ in range(3)]
        assert sorted(stacks_of(5003)) == sorted(stack for _, stack in kept)
        assert {tuple(stack[:3]) for stack in stacks_of(5003)} == {
            ("inner", "outer", "resume_here"),
            ("inner", "outer", "resume_there"),
            ("inner", "outer", "<lambda>"),
        }


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_18_coroutines(rate: int) -> None:
    import asyncio

    async def leaf(number: int) -> None:
        kept.append(bytearray(5002))
        stacks.append(python_stack())
        await asyncio.sleep(0)
        kept.append(bytearray(5002))
        stacks.append(python_stack())

    async def branch(number: int) -> None:
        await leaf(number)

    async def main() -> None:
        await asyncio.gather(*(branch(number) for number in range(5)), leaf(9))

    kept: List[bytearray] = []
    stacks: List[List[str]] = []
    loop = asyncio.new_event_loop()
    with recording(sample_rate=rate):
        loop.run_until_complete(main())
        assert sorted(stacks_of(5003)) == sorted(stacks)
        assert len(stacks) == 12
    loop.close()


#: How deep the next test recurses. From 3.11 on calls of Python functions by Python functions take none of C's stack.
DEPTHS = [100000]
if sys.version_info >= (3, 11) and sys.maxsize > 2**32:
    DEPTHS.append(1000000)


@pytest.mark.parametrize("max_frames", [1, 128, 65535])
@pytest.mark.parametrize("depth", DEPTHS)
@isolated
def test_hazard_18_a_hundred_thousand_frames_and_a_million(depth: int, max_frames: int) -> None:
    import threading

    from mprofile import _core

    def down(left: int) -> None:
        if left:
            down(left - 1)
        else:
            bottom()

    def bottom() -> None:
        with recording(max_frames=max_frames):
            kept.append(bytearray(5002))
            seen.append(_core._get_traces())  # looked at later: its objects would each walk this stack

    kept: List[bytearray] = []
    seen: List[Any] = []
    sys.setrecursionlimit(depth + 1000)
    threading.stack_size(1 << 30)
    thread = threading.Thread(target=down, args=(depth,))
    thread.start()
    thread.join()
    (block,) = blocks_of(seen[0], 5003)
    assert block.names == (["bottom"] + ["down"] * depth)[:max_frames]
    lines = [frame[1] for frame in block.frames[1:]]
    assert len(set(lines)) == min(len(lines), 2)  # the innermost down() calls bottom(), the others down()
    if sys.version_info >= (3, 9):
        assert [trace[3] for trace in seen[0] if trace[1] in (5003, 5035)] == [65535]  # the tree counts no further


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_18_frames_in_the_making(rate: int) -> None:
    """Cells are made before a function begins: they belong to its caller, as Python shows the stack just then."""
    count = 300
    names = ", ".join("cell_{}".format(i) for i in range(count))
    code = (
        "def function():\n    {0} = range({1})\n    return lambda: [{0}]\n"
        "def generator():\n    {0} = range({1})\n    yield lambda: [{0}]\n"
        "async def coroutine():\n    {0} = range({1})\n    return lambda: [{0}]\n"
    ).format(names, count)
    scope: Any = {}
    exec(compile(code, "<cells>", "exec"), scope)

    def calls_function() -> None:
        kept.append(scope["function"]())

    def calls_generator() -> None:
        made = scope["generator"]()
        kept.append((made, next(made)))

    def calls_coroutine() -> None:
        made = scope["coroutine"]()
        try:
            made.send(None)
        except StopIteration as stop:
            kept.append(stop.value)

    kept: List[Any] = []
    calls_function()
    cell_size = sys.getsizeof(kept[0].__closure__[0])
    for caller in (calls_function, calls_generator, calls_coroutine):
        with recording(sample_rate=rate):
            caller()
            found = [block.names for block in blocks(cell_size) if block.names[0].startswith(caller.__name__[6:])]
            own = [block.names for block in blocks(cell_size) if block.names[0] == caller.__name__]
            assert len(own) >= count * (0.9 if rate == 0 else 0.8)
            assert len(found) <= 10
            assert {tuple(stack[1:]) for stack in own} == {tuple(python_stack())}
            kept.clear()


@pytest.mark.parametrize("rate", EVERYTHING)
@isolated
def test_hazard_18_c_that_calls_python(rate: int) -> None:
    """Callbacks from C in this thread and in a thread that C made, and from sorted(), re.sub() and a finalizer."""
    import functools
    import gc
    import re

    import _hazard_foreign as foreign

    def callback(*arguments: Any) -> Any:
        kept.append(bytearray(5002))
        stacks.append(python_stack())
        return arguments[0] if arguments and isinstance(arguments[0], (int, str)) else ""

    def through(function: Callable[[], Any]) -> Any:
        return function()

    class Finalized:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            callback()

    kept: List[bytearray] = []
    stacks: List[List[str]] = []
    with recording(sample_rate=rate):
        foreign.call(callback)
        foreign.call(functools.partial(through, lambda: foreign.call(callback)))
        foreign.call_in_thread(callback)
        sorted([3, 1], key=callback)
        re.sub("x", callback, "xx")
        list(map(callback, [1]))
        Finalized()
        gc.collect()
        found = stacks_of(5003)
        assert sorted(found) == sorted(stacks)
        assert ["callback"] in found  # the foreign thread has no frame below
        assert len(found) == 9


@isolated
def test_hazard_18_exceptions_and_tracebacks() -> None:
    """Frames that live on in a traceback are not on the stack any more."""

    def fails(depth: int) -> None:
        if depth == 0:
            raise ValueError(bytearray(5002))
        fails(depth - 1)

    def catches() -> Block:
        try:
            fails(10)
        except ValueError as error:
            held.append(error)
            kept.append(bytearray(5008))
        return blocks(5009)[0]

    held: List[ValueError] = []
    kept: List[bytearray] = []
    with recording():
        block = catches()
        assert block.names[:2] == ["catches", "test_hazard_18_exceptions_and_tracebacks"]
        assert stacks_of(5003)[0][:12] == ["fails"] * 11 + ["catches"]
