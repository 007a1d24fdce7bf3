# SPDX-License-Identifier: MIT
"""The readers of src/cpython (frames, lines, names) against what Python itself says.

The extension under test is the probe of tests/py/ext, built once a session. Its
function both() reads the stack twice around sys._getframe(), all at one instruction
of the caller, so the three lists must be equal: file, name, first line, line, offset.
"""

from __future__ import annotations

import functools
import gc
import sys
import threading
import types
import weakref
from types import ModuleType
from typing import Any, AsyncIterator, Callable, Generator, Iterator, List, Tuple

import pytest

Frame = Tuple[str, str, int, int, int]
Stack = List[Frame]

ALL = 1 << 20  # more frames than any stack here has
NOT_STARTED = 0xFFFFFFFF
WARM = 60  # enough calls for the adaptive interpreter to specialise them
VERSION = sys.version_info[:2]


def agreed(probe: ModuleType) -> Stack:
    """The caller's stack, once the three ways to read it agree."""
    before, official, after = probe.both(ALL)
    assert before == official
    assert after == official
    stack: Stack = official[1:]  # without this function
    return stack


def names(stack: Stack) -> List[str]:
    """Plain names: before 3.11 a code object has no other."""
    return [frame[1].rpartition(".")[2] for frame in stack]


def test_check_accepts_this_interpreter(probe: ModuleType) -> None:
    assert probe.check() is None


def test_check_refuses_another_version(probe: ModuleType) -> None:
    here = "{}.{}".format(*VERSION)
    for other in ("2.7.18", "3.6.1 (default)", "3.1{}.0".format(VERSION[1]), "3.16.0a1+", "x"):
        assert probe.check(other) == "compiled for Python {}, but this is Python {}".format(here, other)
    assert probe.check(here + ".99 (another patch release)") is None
    assert probe.check("3.6.1", -1, 20) == "compiled for Python"


def test_check_refuses_other_offsets(probe: ModuleType) -> None:
    reasons = [probe.check(None, word) for word in range(128)]
    refused = [reason for reason in reasons if reason is not None]
    if VERSION < (3, 13):
        assert refused == []  # these versions publish no offsets
        return
    assert refused[0].startswith("this interpreter does not publish its offsets")
    assert refused[1].startswith("compiled for a")
    fields = {reason.split()[2] for reason in refused[2:]}
    assert len(fields) == len(refused) - 2 >= 16
    for field in ("PyThreadState.current_frame", "_PyInterpreterFrame.instr_ptr"):
        assert field in fields


# ---- frames: each scenario returns the names that must lead the stack -------------------


def plain(probe: ModuleType) -> Tuple[Stack, List[str]]:
    def inner(*args: int, key: int = 0) -> Stack:
        return agreed(probe)

    def middle() -> Stack:
        return inner(*(1, 2), **{"key": 3})

    return middle(), ["inner", "middle", "plain"]


def lambdas(probe: ModuleType) -> Tuple[Stack, List[str]]:
    return (lambda f: f())(lambda: agreed(probe)), ["<lambda>", "<lambda>", "lambdas"]


def generators(probe: ModuleType) -> Tuple[Stack, List[str]]:
    def leaf() -> Generator[Stack, None, None]:
        yield []
        yield agreed(probe)

    def relay() -> Generator[Stack, None, None]:
        yield from leaf()

    stacks = []
    for stack in relay():
        stacks.append(stack)
    return stacks[1], ["leaf", "relay", "generators"]


def generator_thrown_into(probe: ModuleType) -> Tuple[Stack, List[str]]:
    def suspended() -> Generator[Stack, None, None]:
        try:
            yield []
        except ValueError:
            yield agreed(probe)

    generator = suspended()
    next(generator)
    return generator.throw(ValueError()), ["suspended", "generator_thrown_into"]


def coroutines(probe: ModuleType) -> Tuple[Stack, List[str]]:
    class Await:
        def __await__(self) -> Generator[None, None, Stack]:
            yield
            return agreed(probe)

    async def inner() -> Stack:
        return await Await()

    async def outer() -> Stack:
        return await inner()

    coroutine = outer()
    coroutine.send(None)
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value, ["__await__", "inner", "outer", "coroutines"]
    raise AssertionError("the coroutine did not return")


def async_generators(probe: ModuleType) -> Tuple[Stack, List[str]]:
    async def numbers() -> AsyncIterator[Stack]:
        yield []
        yield agreed(probe)

    async def consume() -> Stack:
        stack: Stack = []
        async for stack in numbers():
            pass
        return stack

    coroutine = consume()
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value, ["numbers", "consume", "async_generators"]
    raise AssertionError("the coroutine did not return")


def comprehensions(probe: ModuleType) -> Tuple[Stack, List[str]]:
    stack = [agreed(probe) for _ in range(1)][0]
    own_frame = VERSION < (3, 12)  # PEP 709 inlines them
    return stack, ["<listcomp>"] * own_frame + ["comprehensions"]


def generator_expression(probe: ModuleType) -> Tuple[Stack, List[str]]:
    return next(agreed(probe) for _ in range(1)), ["<genexpr>", "generator_expression"]


def class_body(probe: ModuleType) -> Tuple[Stack, List[str]]:
    class Outer:
        class Inner:
            stack = agreed(probe)

    return Outer.Inner.stack, ["Inner", "Outer", "class_body"]


def executed_text(probe: ModuleType) -> Tuple[Stack, List[str]]:
    scope = {"agreed": agreed, "probe": probe}
    exec("\n\ndef run():\n    return eval('agreed(probe)')\nstack = run()", scope)
    stack: Stack = scope["stack"]  # type: ignore[assignment]
    assert [frame[0] for frame in stack[:3]] == ["<string>"] * 3
    assert [frame[3] for frame in stack[:3]] == [1, 4, 5]
    return stack, ["<module>", "run", "<module>", "executed_text"]


def callbacks(probe: ModuleType) -> Tuple[Stack, List[str]]:
    stacks: List[Stack] = []

    def step(*args: Any) -> int:
        if not stacks:
            stacks.append(agreed(probe))
        return 0

    def reduced(_: int) -> None:
        functools.reduce(step, [1, 2])

    def mapped(_: int) -> None:
        list(map(reduced, [1]))

    def by_key(_: int) -> int:
        mapped(0)
        return 0

    sorted([1], key=by_key)
    return stacks[0], ["step", "reduced", "mapped", "by_key", "callbacks"]


def destructor(probe: ModuleType) -> Tuple[Stack, List[str]]:
    stacks: List[Stack] = []

    class Dying:
        def __del__(self) -> None:
            stacks.append(agreed(probe))

    def leave() -> None:
        dying = Dying()
        dying.self = None  # type: ignore[attr-defined]

    def clear() -> None:
        held = [Dying()]
        held.clear()

    leave()  # the local of a frame that is being cleared
    assert names(stacks[0])[0] == "__del__"
    assert "destructor" in names(stacks[0])[1:3]
    clear()
    return stacks[1], ["__del__", "clear", "destructor"]


def weakref_callback(probe: ModuleType) -> Tuple[Stack, List[str]]:
    stacks: List[Stack] = []

    class Target:
        pass

    def told(_: Any) -> None:
        stacks.append(agreed(probe))

    target = [Target()]
    reference = weakref.ref(target[0], told)
    target.pop()
    assert reference() is None
    return stacks[0], ["told", "weakref_callback"]


def collected(probe: ModuleType) -> Tuple[Stack, List[str]]:
    stacks: List[Stack] = []

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            stacks.append(agreed(probe))

    gc.disable()
    try:
        Cycle()
        gc.collect()
    finally:
        gc.enable()
    return stacks[0], ["__del__", "collected"]


def constructor(probe: ModuleType) -> Tuple[Stack, List[str]]:
    class Made:
        def __init__(self) -> None:
            self.stack = agreed(probe)

    def make() -> Made:
        return Made()

    for _ in range(WARM):
        made = make()
    return made.stack, ["__init__", "make", "constructor"]


def special_methods(probe: ModuleType) -> Tuple[Stack, List[str]]:
    class Special:
        @property
        def item(self) -> Stack:
            return self[0]

        def __getitem__(self, _: int) -> Stack:
            return self.missing

        def __getattr__(self, name: str) -> Stack:
            return agreed(probe)

    special = Special()
    for _ in range(WARM):
        stack = special.item
    return stack, ["__getattr__", "__getitem__", "item", "special_methods"]


def in_except(probe: ModuleType) -> Tuple[Stack, List[str]]:
    def fail() -> None:
        raise KeyError("x")

    def handle() -> Stack:
        try:
            fail()
        except KeyError:
            return agreed(probe)
        return []

    return handle(), ["handle", "in_except"]


def in_finally(probe: ModuleType) -> Tuple[Stack, List[str]]:
    stacks: List[Stack] = []

    class Manager:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *args: object) -> bool:
            stacks.append(agreed(probe))
            return True

    def fail() -> None:
        try:
            with Manager():
                raise ValueError
            raise KeyError
        finally:
            stacks.append(agreed(probe))

    try:
        fail()
    except KeyError:
        pass
    assert names(stacks[0])[:3] == ["__exit__", "fail", "in_finally"]
    return stacks[1], ["fail", "in_finally"]


def many_lines(probe: ModuleType) -> Tuple[Stack, List[str]]:
    stack: Stack = max(
        [],
        agreed(
            probe,
        ),
        key=len,
    )
    return stack, ["many_lines"]


SCENARIOS = [
    plain,
    lambdas,
    generators,
    generator_thrown_into,
    coroutines,
    async_generators,
    comprehensions,
    generator_expression,
    class_body,
    executed_text,
    callbacks,
    destructor,
    weakref_callback,
    collected,
    constructor,
    special_methods,
    in_except,
    in_finally,
    many_lines,
]
Scenario = Callable[[ModuleType], Tuple[Stack, List[str]]]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.__name__))
def test_stack_is_that_of_getframe(probe: ModuleType, scenario: Scenario) -> None:
    for _ in range(5 if scenario is collected else WARM):
        stack, leading = scenario(probe)
        assert names(stack)[: len(leading)] == leading
        assert "test_stack_is_that_of_getframe" in names(stack)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.__name__))
@pytest.mark.parametrize("install", [sys.settrace, sys.setprofile])
def test_traced_stack_is_that_of_getframe(
    probe: ModuleType, scenario: Scenario, install: Callable[[Any], None]
) -> None:
    events: List[Stack] = []

    def trace(frame: types.FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename == __file__ and frame.f_code is not agreed.__code__:
            events.append(agreed(probe))
        return trace

    before = sys.gettrace() if install is sys.settrace else sys.getprofile()
    install(trace)
    try:
        stack, leading = scenario(probe)
    finally:
        install(before)
    assert names(stack)[: len(leading)] == leading
    assert all(names(stack)[0] == "trace" for stack in events)
    started = [frame[4] != NOT_STARTED for stack in events for frame in stack]
    assert len(started) > len(events) > 0
    if VERSION < (3, 11):
        # The "call" event comes before the first instruction: the line is the first one.
        assert not all(started)
        first = [frame for stack in events for frame in stack if frame[4] == NOT_STARTED]
        assert all(frame[2] == frame[3] for frame in first)
    else:
        assert all(started)


def test_recursion_of_a_hundred_thousand_frames(probe: ModuleType) -> None:
    depth = 100000
    results: List[Any] = []

    def recurse(n: int) -> None:
        if n == 0:
            results.append(probe.both(ALL))
            results.append(probe.count(7, ALL))
            results.append(probe.count(7, 1000))
            return
        recurse(n - 1)

    def run() -> None:
        recurse(depth - 1)

    limit = sys.getrecursionlimit()
    size = threading.stack_size(1 << 30)  # before 3.11 each call takes C stack
    sys.setrecursionlimit(depth + 1000)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(limit)
        threading.stack_size(size)
    (before, official, after), rest, bounded = results
    assert before == official == after
    assert names(official).count("recurse") == depth
    assert rest == (7, len(official) - 7, False)
    assert bounded == (7, 1000, False)


def test_the_walk_stops_at_max_and_says_what_is_left(probe: ModuleType) -> None:
    for _ in range(2):
        whole = probe.capture(ALL)
        size = len(whole)
        for most in range(size + 2):
            part = probe.capture(most)
            # The innermost frame is this one, at another instruction each time.
            assert part[1:] == whole[1:most]
            assert probe.count(most, ALL) == (min(most, size), max(size - most, 0), most >= size)


def test_each_thread_sees_its_own_stack(probe: ModuleType) -> None:
    found: List[Tuple[int, Stack]] = []
    barrier = threading.Barrier(8)

    def descend(n: int, me: int) -> None:
        if n > 0:
            descend(n - 1, me)
            return
        barrier.wait()
        for _ in range(200):
            found.append((me, agreed(probe)))

    threads = [threading.Thread(target=descend, args=(me, me)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 * 200
    for me, stack in found:
        assert names(stack).count("descend") == me + 1
        assert names(stack)[-1] == "_bootstrap"


@pytest.fixture
def spinning() -> Iterator[None]:
    """Another thread that always wants the GIL and has a stack of its own."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(100))

    thread = threading.Thread(target=spin)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_a_thread_without_the_gil_sees_its_own_stack(probe: ModuleType, spinning: None) -> None:
    for _ in range(30):
        detached = probe.capture(ALL, 1)
        assert names(detached)[0] == "test_a_thread_without_the_gil_sees_its_own_stack"
        assert detached[1:] == probe.capture(ALL)[1:]


def test_a_false_claim_to_the_gil_gives_no_other_stack(probe: ModuleType, spinning: None) -> None:
    for _ in range(5):
        claimed = probe.capture(ALL, 2)
        if VERSION >= (3, 12):
            assert claimed == []  # the state is thread-local there, and detached
        else:
            assert claimed[1:] == probe.capture(ALL)[1:]
            assert "spin" not in names(claimed)


# ---- frames inside an allocator hook ----------------------------------------------------


def closure_maker(value: int) -> Callable[[], int]:
    def closure() -> int:
        return value

    return closure


def generator_maker() -> Iterator[int]:
    yield 1


async def coroutine_maker() -> int:
    return 1


def thrown_maker() -> Iterator[int]:
    yield 1


def calls_makers() -> List[object]:
    kept: List[object] = []
    for number in range(WARM):
        kept.append(closure_maker(number + 1000))
        kept.append(generator_maker())
        coroutine = coroutine_maker()
        kept.append(coroutine)
        coroutine.close()
        kept.append(bytes(40))
        try:
            thrown_maker().throw(KeyError)  # type: ignore[attr-defined]
        except KeyError as error:
            kept.append(error)
    return kept


def test_a_frame_in_construction_is_not_on_the_stack(probe: ModuleType) -> None:
    gc.disable()  # other people's callbacks of the collector, hypothesis' for one, would be on the stacks
    try:
        stacks = probe.record(calls_makers)
    finally:
        gc.enable()
    assert 4 * WARM <= len(stacks) < 8192
    first = calls_makers.__code__.co_firstlineno
    tops = {(stack[0][0], stack[0][1] - first) for stack in stacks if stack[0][0] == "calls_makers"}
    # Cells, generators and coroutines are made while their function's frame is not
    # complete: the caller's line is charged, as tracemalloc and sys._getframe() have it.
    assert {3, 4, 5, 8} <= {line for _, line in tops}
    for stack in stacks:
        plain_names = [frame[0] for frame in stack]
        assert "generator_maker" not in plain_names
        # throw() and, up to 3.10, close() raise in a generator that has not started.
        not_started = {frame[0] for frame in stack if frame[2] == NOT_STARTED}
        assert not_started <= ({"coroutine_maker", "thrown_maker"} if VERSION < (3, 11) else set())
        if plain_names[0] == "test_a_frame_in_construction_is_not_on_the_stack":
            continue  # calls_makers has returned: its frame is being taken down
        where = plain_names.index("calls_makers")
        assert plain_names[where + 1] == "test_a_frame_in_construction_is_not_on_the_stack"
        assert set(plain_names[:where]) <= {"closure_maker", "coroutine_maker", "thrown_maker"}
    # The traceback of an exception thrown in is made in the generator's frame.
    thrown = [stack for stack in stacks if stack[0][0] == "thrown_maker"]
    assert len(thrown) >= WARM
    assert {stack[0][1] for stack in thrown} == {thrown_maker.__code__.co_firstlineno}
    # The function object of the closure is made by a complete frame.
    own = closure_maker.__code__.co_firstlineno
    inside = [stack[0][1] - own for stack in stacks if stack[0][0] == "closure_maker"]
    assert inside.count(1) >= WARM
    assert inside.count(0) <= 3  # RESUME may allocate when it first sees the code


def test_the_walk_in_a_hook_survives_everything_else(probe: ModuleType) -> None:
    def run() -> None:
        for scenario in (generators, coroutines, callbacks, destructor, collected, in_finally):
            scenario(probe)
        compile("def f(x):\n    return [x for x in range(x)]\n" * 20, "<made>", "exec")

    stacks = probe.record(run)
    assert len(stacks) > 500
    assert all(stack for stack in stacks)
    assert {"run"} <= {frame[0] for stack in stacks for frame in stack}
