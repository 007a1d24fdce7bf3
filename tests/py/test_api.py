# SPDX-License-Identifier: MIT
"""The package: its names, tracemalloc's functions, what importing it costs."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tracemalloc
from typing import Any, Iterator, List

import pytest

import mprofile
from mprofile._sizes import format_size, parse_size


@pytest.fixture(autouse=True)
def stopped() -> Iterator[None]:
    assert not mprofile.is_tracing()
    yield
    mprofile.stop()


def python(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MPROFILE")}
    environment.update(variables)
    return subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=environment,
        timeout=300,
    )


def public(names: List[str]) -> List[str]:
    return [name for name in names if not name.startswith("_")]


def test_every_name_of_tracemalloc_is_there() -> None:
    functions_and_classes = [
        name
        for name in public(dir(tracemalloc))
        if inspect.isroutine(getattr(tracemalloc, name))
        or (inspect.isclass(getattr(tracemalloc, name)) and getattr(tracemalloc, name).__module__ == "tracemalloc")
    ]
    functions_and_classes.remove("total_ordering")
    assert {"start", "Snapshot", "Trace"} <= set(functions_and_classes)
    for name in functions_and_classes:
        assert name in mprofile.__all__
        assert hasattr(mprofile, name)
    assert mprofile.linecache is sys.modules["linecache"]  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="module 'mprofile' has no attribute 'nothing'"):
        mprofile.nothing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    "name",
    ["Snapshot", "Statistic", "StatisticDiff", "Traceback", "Trace", "Frame", "Filter", "DomainFilter", "BaseFilter"],
)
def test_arguments_are_those_of_tracemalloc(name: str) -> None:
    ours = getattr(mprofile, name)
    theirs = getattr(tracemalloc, name)
    for method in public(dir(theirs)) + ["__init__"]:
        if not inspect.isroutine(getattr(theirs, method)) or method in ("index", "count"):
            continue
        want = list(inspect.signature(getattr(theirs, method)).parameters.values())
        got = list(inspect.signature(getattr(ours, method)).parameters.values())
        assert [(one.name, one.default) for one in got[: len(want)]] == [(one.name, one.default) for one in want]
        assert all(one.default is not one.empty for one in got[len(want) :]), "a new argument must be optional"


def test_every_name_in_all_is_there_and_documented() -> None:
    for name in mprofile.__all__:
        assert name == "__version__" or getattr(mprofile, name).__doc__
    assert mprofile.__version__ == "0.1.0"


def test_take_snapshot_needs_the_profiler_running() -> None:
    with pytest.raises(RuntimeError) as caught:
        mprofile.take_snapshot()
    with pytest.raises(RuntimeError) as theirs:
        tracemalloc.take_snapshot()
    assert str(caught.value) == str(theirs.value)


def test_a_snapshot_outlives_the_profiler() -> None:
    mprofile.start(3)
    block = bytes(100000)
    snapshot = mprofile.take_snapshot()
    mprofile.stop()
    del block
    mprofile.start(3)
    mprofile.stop()
    assert snapshot.traceback_limit == 3
    largest = snapshot.statistics("lineno")[0]
    assert largest.traceback[0].filename == __file__ and largest.size >= 100000


def test_get_object_traceback() -> None:
    before = bytes(1000)
    mprofile.start(2)
    after = bytes(1000)
    assert mprofile.get_object_traceback(before) is None
    traceback = mprofile.get_object_traceback(after)
    assert traceback is not None and len(traceback) == 2
    assert traceback[-1].filename == __file__
    mprofile.stop()
    assert mprofile.get_object_traceback(after) is None
    assert mprofile._get_traces() == []


def test_numbers_of_the_profiler() -> None:
    assert mprofile.get_traced_memory() == (0, 0)
    mprofile.start(7, 1 << 20)
    assert (mprofile.is_tracing(), mprofile.get_traceback_limit(), mprofile.get_sample_rate()) == (True, 7, 1 << 20)
    assert mprofile.get_tracemalloc_memory() > 0
    mprofile.stop()
    mprofile.start()
    assert (mprofile.get_traceback_limit(), mprofile.get_sample_rate()) == (128, 0)
    block = bytes(1 << 20)
    current, peak = mprofile.get_traced_memory()
    assert peak >= current >= 1 << 20
    del block
    mprofile.reset_peak()
    assert mprofile.get_traced_memory()[1] < 1 << 20
    mprofile.clear_traces()


def test_importing_is_light() -> None:
    """Nothing that only some calls need: each of these costs as much as the package itself."""
    heavy = "__future__ typing re pickle linecache fnmatch zlib tempfile collections functools enum".split()
    result = python(
        "-S",
        "-c",
        "import sys; sys.path[:] = eval(sys.argv[1]); before = set(sys.modules); import mprofile; "
        "print(sorted(set(sys.modules) - before))",
        repr(sys.path),
    )
    assert result.returncode == 0, result.stderr
    loaded = eval(result.stdout)
    assert "mprofile._core" in loaded
    ours = ["mprofile._core", "mprofile._version", "mprofile.recording"]
    assert [name for name in loaded if name.startswith("mprofile.")] == ours
    assert [name for name in heavy if name in loaded] == []


LAZY = """
import sys, mprofile
names = {names!r}
assert names <= set(dir(mprofile)), names - set(dir(mprofile))
mprofile.start(sample_rate={rate})
first = mprofile.take_snapshot()
for name in names:
    getattr(mprofile, name)
assert mprofile.snapshot.Snapshot is mprofile.Snapshot is type(first)
try:
    mprofile.snapshots
except AttributeError as error:
    assert "snapshots" in str(error)
else:
    assert False
second = mprofile.take_snapshot()
changes = second.compare_to(first, "filename")
shown = [change for change in changes if "mprofile" in change.traceback[0].filename and change.size_diff > 20000]
assert not shown, shown
"""


@pytest.mark.parametrize("rate", [0, 64])
def test_what_is_loaded_later_is_not_shown_as_growth(rate: int) -> None:
    """The classes come when they are first asked for. That is not the program's growth."""
    result = python("-c", LAZY.format(names=set(mprofile.__all__), rate=rate))
    assert result.returncode == 0, result.stderr


def test_in_the_place_of_tracemalloc() -> None:
    """A program that imports tracemalloc and gets mprofile, and the pickles of one read by the other."""
    code = """
import sys, pickle, tracemalloc as theirs
dumped = pickle.dumps(theirs.Snapshot([(0, 10, (("a.py", 1),), 1)][:], 1))
import mprofile
sys.modules["tracemalloc"] = mprofile
import tracemalloc
loaded = pickle.loads(dumped)
assert type(loaded) is mprofile.Snapshot
assert loaded.traces[0].size == 10
tracemalloc.start()
block = bytes(10000)
assert tracemalloc.take_snapshot().statistics("lineno")[0].size >= 10000
"""
    result = python("-c", code)
    assert result.returncode == 0, result.stderr


def test_several_interpreters() -> None:
    """Each has its own types; a second start is harmless."""
    code = """
import sys
try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import _interpreters as interpreters
import mprofile
mprofile.start()
inner = interpreters.create()
source = '''
import sys
sys.path[:] = %r
import mprofile
mprofile.start()
block = bytes(50000)
snapshot = mprofile.take_snapshot()
assert snapshot.statistics("lineno")[0].size >= 50000, snapshot.statistics("lineno")[:3]
import pickle
assert pickle.loads(pickle.dumps(snapshot)).traces == snapshot.traces
'''
problem = interpreters.run_string(inner, source %% sys.path)
assert problem is None, problem
interpreters.destroy(inner)
assert len(mprofile.take_snapshot().traces) > 0
print("done")
""".replace("%%", "%")
    if sys.version_info < (3, 8):
        pytest.skip("3.7 has no module to make interpreters with")
    result = python("-c", code)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr


# ---- sizes ----


@pytest.mark.parametrize(
    "text, size",
    [
        ("0", 0),
        ("131072", 131072),
        ("131072B", 131072),
        ("128K", 131072),
        ("128k", 131072),
        ("128KiB", 131072),
        ("128kib", 131072),
        ("0.5 MiB", 524288),
        ("1.5M", 1572864),
        (".5K", 512),
        ("1.K", 1024),
        ("2G", 1 << 31),
        ("1TiB", 1 << 40),
        ("  512KiB ", 524288),
        ("9007199254740993", 9007199254740993),
        ("4611686018427387903", 4611686018427387903),
        ("0.0001K", 0),
    ],
)
def test_sizes_that_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "K", "-1", "+1", "1e6", "0x10", "1_000", "128KB", "128 kilobytes", "1.2.3", "1 2", "\u0661", "nan", "128K\n1"],
)
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_size(text)
    assert str(caught.value) == repr(text) + " is not a number of bytes, like 131072, 128K, 512KiB or 1.5MiB"


@pytest.mark.parametrize("text", ["4611686018427387904", "4194304T", "9" * 400, "9" * 400 + ".5K", "9" * 5000])
def test_sizes_that_are_too_large(text: str) -> None:
    with pytest.raises(ValueError, match="too large"):
        parse_size(text)


@pytest.mark.parametrize("size", [0, 1, -1, 5.4, 99, 10239, 10240, 102399, 102400, -(1 << 31), 1 << 44, 1 << 60])
@pytest.mark.parametrize("sign", [False, True])
def test_sizes_are_written_as_tracemalloc_does(size: Any, sign: bool) -> None:
    assert format_size(size, sign) == tracemalloc._format_size(size, sign)  # type: ignore[attr-defined]
