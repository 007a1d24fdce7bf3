# SPDX-License-Identifier: MIT
"""Snapshots in files: dumped and loaded, tracemalloc's too, damaged, or of another machine."""

from __future__ import annotations

import pickle
import random
import struct
from typing import Any, Tuple

import pytest
from raw_traces import both, random_traces

import mprofile
from mprofile import _core


def test_dump_and_load(tmp_path: Any) -> None:
    given = random_traces(5, 200)
    snapshot = mprofile.Snapshot(given, 5)
    snapshot.note = ["kept"]  # type: ignore[attr-defined]
    path = str(tmp_path / "snapshot.pickle")
    snapshot.dump(path)
    loaded = mprofile.Snapshot.load(path)
    assert loaded.traces == snapshot.traces and loaded.traces._traces == given
    assert loaded.traceback_limit == 5
    assert loaded.note == ["kept"]  # type: ignore[attr-defined]
    assert loaded.statistics("traceback") == snapshot.statistics("traceback")


def test_load_what_tracemalloc_dumped(tmp_path: Any) -> None:
    ours, theirs = both(random_traces(6, 100))
    theirs.note = "kept"
    path = str(tmp_path / "snapshot.pickle")
    theirs.dump(path)
    loaded = mprofile.Snapshot.load(path)
    assert type(loaded) is mprofile.Snapshot
    assert loaded.traces == ours.traces and loaded.traceback_limit == 5
    assert loaded.note == "kept"  # type: ignore[attr-defined]


def test_load_something_else(tmp_path: Any) -> None:
    path = str(tmp_path / "list.pickle")
    with open(path, "wb") as file:
        pickle.dump([1, 2], file)
    with pytest.raises(ValueError, match="list.pickle.* holds a list, not a snapshot"):
        mprofile.Snapshot.load(path)


def test_a_sampled_snapshot_survives_a_pickle() -> None:
    mprofile.start(10, 200, seed=1)
    try:
        blocks = [bytes(100 + i % 50) for i in range(2000)]
        snapshot = mprofile.take_snapshot()
    finally:
        mprofile.stop()
    del blocks
    again = pickle.loads(pickle.dumps(snapshot))
    assert again.traces == snapshot.traces and len(again.traces) > 100
    assert again.sample_rate == snapshot.sample_rate == 200
    assert [one.weight for one in again.traces] == [one.weight for one in snapshot.traces]
    assert again.traces._traces.meta() == snapshot.traces._traces.meta()
    assert again.traces._traces.totals() == snapshot.traces._traces.totals()
    assert [again.traces._traces.block(i) for i in range(50)] == [snapshot.traces._traces.block(i) for i in range(50)]
    # Samples still cancel: ids came through.
    assert all(one.size_diff_error == 0.0 for one in again.compare_to(snapshot, "lineno"))


def state_of(snapshot: mprofile.Snapshot) -> Tuple[Any, Any]:
    return snapshot.traces._traces.__reduce__()[1]  # type: ignore[index,misc]


def refused(state: Any, comments: Any) -> bool:
    """Else there is a snapshot, and all can be asked of it."""
    try:
        traces = _core._restore_traces(state, comments)
    except ValueError as error:
        assert "damaged snapshot" in str(error)
        return True
    list(traces)
    traces.statistics("traceback", False)
    traces.statistics("lineno", True)
    traces.rows("function")
    return False


def test_a_damaged_pickle_is_refused() -> None:
    """Each part of the state shortened or overwritten, at random: an error or another snapshot, never a crash."""
    snapshot = mprofile.Snapshot(random_traces(7, 50), 5)
    state, comments = state_of(snapshot)
    rng = random.Random(1)
    count = 0
    for _ in range(3000):
        part = rng.randrange(2, 10)
        data = bytearray(state[part])
        if rng.randrange(3) == 0 and data:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.randrange(3)):
            if data:
                data[rng.randrange(len(data))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        count += refused(state[:part] + (bytes(data),) + state[part + 1 :], comments)
    assert count > 300


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), 1e300, -1.0])
def test_a_pickle_with_a_number_that_is_none(number: float) -> None:
    """In the place of any figure: refused, or what is computed of it is a number."""
    mprofile.start(10, 100, seed=1)
    try:
        kept = [bytes(1000 + i) for i in range(100)]
        sample = mprofile.take_snapshot()
    finally:
        mprofile.stop()
    del kept
    count = 0
    for snapshot in (mprofile.Snapshot(random_traces(7, 50), 5), sample):
        state, comments = state_of(snapshot)
        for part in range(2, 10):
            if not isinstance(state[part], bytes):
                continue
            for offset in range(0, min(len(state[part]) - 7, 800), 8):
                data = state[part][:offset] + struct.pack("d", number) + state[part][offset + 8 :]
                count += refused(state[:part] + (data,) + state[part + 1 :], comments)
    assert count > 50


def test_a_pickle_of_another_format_or_machine() -> None:
    state, comments = state_of(mprofile.Snapshot(random_traces(7, 5), 5))
    assert _core._restore_traces(state, comments)
    with pytest.raises(ValueError, match="has format 2; this mprofile reads format 1"):
        _core._restore_traces((2,) + state[1:], comments)
    with pytest.raises(ValueError, match="from a mixed-endian machine"):
        _core._restore_traces((1, "mixed") + state[2:], comments)
    with pytest.raises(TypeError):
        _core._restore_traces((), comments)
