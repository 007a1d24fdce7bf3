# SPDX-License-Identifier: MIT
"""Snapshots of given traces: the same results as tracemalloc's own objects give, and what goes beyond them."""

from __future__ import annotations

import pickle
import random
import sys
import tracemalloc
from typing import Any, Iterator, List, Sequence, Tuple

import pytest
from raw_traces import RawTrace, both, random_traces, trace

import mprofile
from mprofile import _core


def texts(items: Sequence[Any]) -> List[Tuple[str, str]]:
    return [(str(item), repr(item)) for item in items]


KEYS = [("lineno", False), ("filename", False), ("traceback", False), ("lineno", True), ("filename", True)]


# ---- against tracemalloc ----


@pytest.mark.parametrize("key_type, cumulative", KEYS)
@pytest.mark.parametrize("seed", range(8))
def test_statistics_equal_those_of_tracemalloc(seed: int, key_type: str, cumulative: bool) -> None:
    ours, theirs = both(random_traces(seed, 20 * seed * seed))
    got = ours.statistics(key_type, cumulative)
    want = theirs.statistics(key_type, cumulative)
    assert texts(got) == texts(want)
    assert [one._sort_key()[:2] for one in got] == [one._sort_key()[:2] for one in want]
    assert [tuple(one.traceback._frames) for one in got] == [one.traceback._frames for one in want]


@pytest.mark.parametrize("key_type, cumulative", KEYS)
@pytest.mark.parametrize("seed", range(8))
def test_differences_equal_those_of_tracemalloc(seed: int, key_type: str, cumulative: bool) -> None:
    first, second = random_traces(seed, 20 * seed), random_traces(seed + 100, 30 * seed)
    second += first[::2]
    ours, theirs = both(first)
    ours_later, theirs_later = both(second)
    got = ours_later.compare_to(ours, key_type, cumulative)
    assert texts(got) == texts(theirs_later.compare_to(theirs, key_type, cumulative))
    got_back = ours.compare_to(ours_later, key_type, cumulative)
    assert texts(got_back) == texts(theirs.compare_to(theirs_later, key_type, cumulative))


def test_an_old_snapshot_may_be_tracemallocs() -> None:
    traces = random_traces(1, 50)
    ours, theirs = both(traces[:40])
    later = mprofile.Snapshot(traces, 5)
    assert later.compare_to(theirs, "lineno") == later.compare_to(ours, "lineno")


def random_filters(rng: random.Random) -> Iterator[Tuple[Any, Any]]:
    for _ in range(rng.randrange(4)):
        if rng.randrange(4) == 0:
            arguments: Tuple[Any, ...] = (bool(rng.randrange(2)), rng.choice([0, 1, 2, -1, 1 << 40]))
            yield mprofile.DomainFilter(*arguments), tracemalloc.DomainFilter(*arguments)
        else:
            arguments = (
                bool(rng.randrange(2)),
                rng.choice(["*", "a.py", "*.py", "dir/c.py", "<*", "[!a]*", "", "\ud800*", "\u00e9.pyc"]),
                rng.choice([None, None, 0, 1, 2, -3, 1 << 40]),
                bool(rng.randrange(2)),
                rng.choice([None, None, 0, 1]),
            )
            yield mprofile.Filter(*arguments), tracemalloc.Filter(*arguments)


@pytest.mark.parametrize("seed", range(60))
def test_filters_keep_what_tracemallocs_keep(seed: int) -> None:
    rng = random.Random(seed)
    ours, theirs = both(random_traces(seed, 60))
    filters = list(random_filters(rng))
    got = ours.filter_traces([pair[0] for pair in filters])
    want = theirs.filter_traces([pair[1] for pair in filters])
    assert got.traces._traces == want.traces._traces
    assert list(got.traces._traces) == want.traces._traces
    assert got.traceback_limit == 5
    for one, other in filters:
        for raw in theirs.traces._traces:
            assert bool(one._match(raw)) == bool(other._match(raw))
    # The slow way, trace by trace, decides the same.
    by_hand = ours.filter_traces([Reversed(pair[0]) for pair in filters])
    assert by_hand.traces == got.traces


class Reversed(mprofile.BaseFilter):
    """Somebody's own filter: asks another one."""

    def __init__(self, inner: mprofile.BaseFilter) -> None:
        super().__init__(inner.inclusive)
        self.inner = inner

    def _match(self, trace: RawTrace) -> bool:
        return self.inner._match(trace)


def test_a_subclass_of_filter_decides_by_itself() -> None:
    class OnlyLarge(mprofile.Filter):
        def _match(self, trace: RawTrace) -> bool:
            return bool(trace[1] > 20)

    snapshot = mprofile.Snapshot([trace(0, 10, ("a.py", 1)), trace(0, 30, ("b.py", 1))], 1)
    kept = snapshot.filter_traces([OnlyLarge(True, "a.py")])
    assert [one.size for one in kept.traces] == [30]


def test_a_filter_that_is_no_list() -> None:
    snapshot = mprofile.Snapshot([], 1)
    with pytest.raises(TypeError) as caught:
        snapshot.filter_traces(mprofile.Filter(True, "a.py"))  # type: ignore[arg-type]
    assert str(caught.value) == "filters must be a list of filters, not Filter"
    assert len(snapshot.filter_traces(iter([mprofile.Filter(True, "a.py")])).traces) == 0


def test_the_base_filter_matches_nothing() -> None:
    snapshot = mprofile.Snapshot([trace(0, 10, ("a.py", 1))], 1)
    with pytest.raises(NotImplementedError):
        snapshot.filter_traces([mprofile.BaseFilter(True)])


@pytest.mark.parametrize(
    "key_type, cumulative, text",
    [
        ("line", False, "unknown key_type: 'line'"),
        ("traceback", True, "cumulative mode cannot by used with key type 'traceback'"),
    ],
)
def test_errors_of_statistics(key_type: str, cumulative: bool, text: str) -> None:
    ours, theirs = both([trace(0, 1, ("a.py", 1))])
    for snapshot in (ours, theirs):
        with pytest.raises(ValueError) as caught:
            snapshot.statistics(key_type, cumulative)
        assert str(caught.value) == text
        with pytest.raises(ValueError):
            snapshot.compare_to(snapshot, key_type, cumulative)


# ---- the sequence of traces ----


def test_the_raw_traces_are_a_sequence_of_tuples() -> None:
    given = random_traces(3, 100)
    raw = mprofile.Snapshot(given, 5).traces._traces
    assert raw == given and given == raw and not raw != given
    assert list(raw) == given and len(raw) == 100
    assert raw[0] == given[0] and raw[-1] == given[-1]
    assert raw[3:90:7] == given[3:90:7] and raw[::-1] == given[::-1] and isinstance(raw[:2], list)
    assert raw.copy() == raw and raw.copy() is not raw
    assert given[50] in raw and raw.index(given[50]) == given.index(given[50])
    assert raw.count(given[50]) == given.count(given[50])
    assert raw.index(given[0], 0, 5) == 0
    assert trace(9, 9, ("a.py", 1)) not in raw and "a.py" not in raw
    assert raw != given[:-1] and raw != given[:-1] + [trace(0, 3, ("x", 1))] and raw != "text"
    assert raw == tuple(given)
    with pytest.raises(ValueError):
        raw.index(trace(9, 9, ("a.py", 1)))
    for index in (100, -101):
        with pytest.raises(IndexError):
            raw[index]
    with pytest.raises(TypeError):
        raw["1"]  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        hash(raw)
    assert sys.getsizeof(raw) > 100 * 16


def test_the_type_of_raw_traces_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        _core.Traces()
    with pytest.raises(TypeError):
        type("Sub", (_core.Traces,), {})


def test_one_traceback_is_one_object() -> None:
    raw = mprofile.Snapshot([trace(0, 1, ("a.py", 1)), trace(0, 2, ("a.py", 1))], 1).traces._traces
    assert raw[0][2] is raw[1][2]
    assert raw[0][2] is raw[0][2]


def test_traces_given_may_be_any_iterable_and_come_back() -> None:
    given = random_traces(4, 30)
    snapshot = mprofile.Snapshot((one for one in given), 5)
    assert snapshot.traces._traces == given
    again = mprofile.Snapshot(list(snapshot.traces._traces), 5)
    assert again.traces == snapshot.traces
    assert mprofile.Snapshot(snapshot.traces._traces, 5).traces == snapshot.traces


def test_frames_know_their_functions() -> None:
    def allocate() -> bytes:
        return bytes(5000)

    mprofile.start(5)
    try:
        block = allocate()
        traceback = mprofile.get_object_traceback(block)
        snapshot = mprofile.take_snapshot()
    finally:
        mprofile.stop()
    assert traceback is not None
    code = allocate.__code__
    name = getattr(code, "co_qualname", code.co_name)
    assert (traceback[-1].name, traceback[-1].firstlineno) == (name, code.co_firstlineno)
    found = [one for one in snapshot.traces if one.traceback == traceback and one.size >= 5000]
    assert len(found) == 1
    frame = found[0].traceback[-1]
    assert (frame.name, frame.firstlineno) == (name, code.co_firstlineno)
    # Through a list of tuples and back, and through a pickle of one frame.
    again = mprofile.Snapshot(list(snapshot.traces._traces), 5)
    assert {one.traceback[-1].name for one in again.traces} == {one.traceback[-1].name for one in snapshot.traces}
    copied = pickle.loads(pickle.dumps(frame))
    assert copied == frame and copied.name == name
    # A plain tuple equals it; what it does not know is None.
    assert mprofile.Frame((frame.filename, frame.lineno)) == frame
    assert mprofile.Frame(("a.py", 1)).name is None and mprofile.Frame(("a.py", 1)).firstlineno is None


@pytest.mark.parametrize(
    "bad",
    [
        17,
        (0, 1),
        (0, 1, (("a.py", 1),), 1, 1),
        (0, 1, [("a.py", 1)]),
        (0, 1, ("a.py", 1)),
        (0, 1, (("a.py",),)),
        (0, 1, ((1, "a.py"),)),
        (0, 1, (("a.py", "1"),)),
        (0, 1.5, (("a.py", 1),)),
        ("0", 1, (("a.py", 1),)),
    ],
)
def test_traces_of_a_wrong_type(bad: Any) -> None:
    with pytest.raises(TypeError):
        mprofile.Snapshot([bad], 1)


@pytest.mark.parametrize(
    "bad",
    [
        (-1, 1, (("a.py", 1),)),
        (1 << 32, 1, (("a.py", 1),)),
        (0, 1, (("a.py", -1),)),
        (0, 1, (("a.py", 1 << 32),)),
        (0, 1, (("a.py", 1),), 1 << 32),
    ],
)
def test_numbers_out_of_range(bad: Any) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 4294967295"):
        mprofile.Snapshot([bad], 1)


def test_sizes_of_64_bits() -> None:
    snapshot = mprofile.Snapshot([trace(0, (1 << 64) - 1, ("a.py", 1)), trace(7, 1 << 31, ("b.py", 1))], 1)
    assert [one.size for one in snapshot.traces] == [(1 << 64) - 1, 1 << 31]
    assert [one.size for one in snapshot.statistics("lineno")] == [1 << 64, 1 << 31]
    for size in (-1, 1 << 64):
        with pytest.raises(OverflowError):
            mprofile.Snapshot([trace(0, size, ("a.py", 1))], 1)


def test_no_frames_at_all() -> None:
    snapshot = mprofile.Snapshot([(0, 5, ())], 1)
    assert snapshot.traces[0].traceback[0] == mprofile.Frame(("<unknown>", 0))
    assert snapshot.statistics("filename")[0].traceback[0].filename == "<unknown>"
    assert mprofile.Snapshot([], 1).statistics("lineno", True) == []


# ---- the small objects ----


def test_objects_can_be_made_and_compared() -> None:
    traceback = mprofile.Traceback((("a.py", 2), ("b.py", 4)))
    assert [str(frame) for frame in traceback] == ["b.py:4", "a.py:2"]
    assert traceback.total_nframe is None and mprofile.Traceback((), 3).total_nframe == 3
    assert traceback < mprofile.Traceback((("a.py", 3), ("b.py", 4))) <= mprofile.Traceback((("c.py", 1),))
    assert mprofile.Traceback((("c.py", 1),)) > traceback >= traceback
    assert mprofile.Frame(("a.py", 1)) < mprofile.Frame(("a.py", 2)) <= mprofile.Frame(("b.py", 1))
    assert mprofile.Frame(("b.py", 1)) > mprofile.Frame(("a.py", 2)) >= mprofile.Frame(("a.py", 2))
    assert mprofile.Frame(("a.py", 2)) in traceback
    statistic = mprofile.Statistic(traceback, 100, 3)
    assert statistic == mprofile.Statistic(traceback, 100, 3) != mprofile.Statistic(traceback, 101, 3)
    assert hash(statistic) == hash(mprofile.Statistic(traceback, 100, 3))
    difference = mprofile.StatisticDiff(traceback, 100, -5, 3, 1)
    assert (
        difference == mprofile.StatisticDiff(traceback, 100, -5, 3, 1) != mprofile.StatisticDiff(traceback, 1, -5, 3, 1)
    )
    assert hash(difference) == hash(mprofile.StatisticDiff(traceback, 100, -5, 3, 1))
    one = mprofile.Trace(trace(0, 10, ("a.py", 2)))
    assert one == mprofile.Trace(trace(0, 10, ("a.py", 2))) and hash(one) == hash(
        mprofile.Trace(trace(0, 10, ("a.py", 2)))
    )
    assert one.weight == 1.0 and one.domain == 0
    for thing in (traceback, traceback[0], statistic, difference, one):
        assert thing != 5 and not thing == None  # noqa: E711
        with pytest.raises(AttributeError):
            thing.anything = 1
        assert pickle.loads(pickle.dumps(thing)) == thing
    for thing in (traceback, traceback[0]):
        with pytest.raises(TypeError):
            thing < 5  # noqa: B015


def test_objects_made_by_hand_have_no_error() -> None:
    statistic = mprofile.Statistic(mprofile.Traceback((("a.py", 2),)), 100, 3)
    assert (statistic.size_error, statistic.count_error) == (0.0, 0.0)
    assert (statistic.size_interval(), statistic.count_interval(0.5)) == ((100, 100), (3, 3))
    difference = mprofile.StatisticDiff(statistic.traceback, 100, -5, 3, 1)
    assert (difference.size_diff_error, difference.count_diff_error) == (0.0, 0.0)
    assert (difference.size_diff_interval(), difference.count_diff_interval()) == ((-5, -5), (1, 1))
    assert difference.is_significant()
    assert not mprofile.StatisticDiff(statistic.traceback, 100, 0, 3, 1).is_significant()
    with pytest.raises(ValueError):
        statistic.size_interval(2.0)


@pytest.mark.parametrize(
    "size", [0, 1, -1, 99, 100, 10239, 10240, -10240, 102399, 102400, 10 << 20, (10 << 20) - 1, 1 << 40, 1 << 60]
)
@pytest.mark.parametrize("count", [0, 1, 7])
def test_text_of_sizes(size: int, count: int) -> None:
    frames = (("a.py", 2),)
    assert str(mprofile.Statistic(mprofile.Traceback(frames), size, count)) == str(
        tracemalloc.Statistic(tracemalloc.Traceback(frames), size, count)
    )
    assert str(mprofile.StatisticDiff(mprofile.Traceback(frames), 5, size, count, -count)) == str(
        tracemalloc.StatisticDiff(tracemalloc.Traceback(frames), 5, size, count, -count)
    )


@pytest.mark.parametrize("limit", [None, 0, 1, 2, 5, -1, -5])
@pytest.mark.parametrize("most_recent_first", [False, True])
def test_format_of_tracebacks(limit: Any, most_recent_first: bool) -> None:
    frames = ((__file__, 1), ("nothing.py", 3), (__file__, 2))
    got = mprofile.Traceback(frames).format(limit, most_recent_first)
    assert got == tracemalloc.Traceback(frames).format(limit, most_recent_first)
    assert limit in (0, -5) or len(got) > 1


# ---- estimates ----

RATE = 4096
SIZE = 300


def sampled(seed: int, count: int, more: int = 0) -> Tuple[mprofile.Snapshot, mprofile.Snapshot]:
    """Two snapshots of a program: with `count` blocks of SIZE bytes, then with `more`, from another line."""
    mprofile.start(5, RATE, seed=seed)
    try:
        data = [bytes(SIZE - EMPTY) for _ in range(count)]  # noqa: F841
        first = mprofile.take_snapshot()
        further = [bytes(SIZE - EMPTY) for _ in range(more)]  # noqa: F841
        return first, mprofile.take_snapshot()
    finally:
        mprofile.stop()


EMPTY = sys.getsizeof(b"")


def of_these_blocks(statistics: List[Any]) -> List[Any]:
    lines = (sampled.__code__.co_firstlineno, sampled.__code__.co_firstlineno + 12)
    return [
        one
        for one in statistics
        if one.traceback[-1].filename == __file__ and lines[0] < one.traceback[-1].lineno < lines[1]
    ]


def test_estimates_are_right_on_average_and_their_errors_too() -> None:
    """100 seeds. The mean of the estimates is within 4 standard errors of the truth, and the spread is what the
    errors say: the mean of (estimate - truth)^2 / error^2 is 1, and its standard error is about sqrt(2/100)."""
    rounds = 100
    count = 2000
    errors = []
    squares = []
    count_errors = []
    covered = 0
    for seed in range(rounds):
        snapshot, _ = sampled(seed, count)
        assert snapshot.sample_rate == RATE
        blocks = [one for one in snapshot.traces if one.size == SIZE]
        size = sum(one.size * one.weight for one in blocks)
        filtered = snapshot.filter_traces([mprofile.Filter(True, __file__)]).statistics("lineno")
        statistic = of_these_blocks(filtered)[0]
        errors.append(size - count * SIZE)
        count_errors.append(sum(one.weight for one in blocks) - count)
        squares.append((errors[-1] / statistic.size_error) ** 2)
        low, high = statistic.size_interval()
        assert low <= statistic.size <= high
        covered += low <= count * SIZE + 8 * count + 10000 and count * SIZE <= high
    sigma = (count * SIZE * RATE) ** 0.5  # of one estimate, for blocks far smaller than the rate
    assert abs(sum(errors) / rounds) < 4 * sigma / rounds**0.5
    assert abs(sum(count_errors) / rounds) < 4 * sigma / SIZE / rounds**0.5
    assert 1 - 4 * (2 / rounds) ** 0.5 < sum(squares) / rounds < 1 + 4 * (2 / rounds) ** 0.5
    assert covered >= 85  # of 100, where 95 are expected


def test_samples_alive_in_both_snapshots_cancel() -> None:
    first, second = sampled(1, 5000, 500)
    before = of_these_blocks(first.statistics("lineno"))
    changes = of_these_blocks(second.compare_to(first, "lineno"))
    grown = max(changes, key=lambda one: one.size_diff)
    stayed = [one for one in changes if one.size_diff == 0]
    assert len(before) == 1 and len(stayed) >= 1
    assert all(one.size_diff_error == 0.0 and not one.is_significant() for one in stayed)
    assert before[0].size_error > 2 * grown.size_diff_error > 0  # about sqrt(10) times
    assert grown.is_significant() and grown.is_significant(0.999)
    low, high = grown.size_diff_interval(0.9999)
    assert low < grown.size_diff < high
    assert low < 500 * SIZE < high
    low, high = grown.count_diff_interval()
    assert low < grown.count_diff < high
    assert grown.count_diff_error > 0


def test_two_recordings_share_nothing() -> None:
    first, _ = sampled(1, 2000)
    second, _ = sampled(2, 2000)
    one = of_these_blocks(first.statistics("lineno"))[0]
    other = of_these_blocks(second.statistics("lineno"))[0]
    change = of_these_blocks(second.compare_to(first, "lineno"))[0]
    assert change.size_diff_error == pytest.approx((one.size_error**2 + other.size_error**2) ** 0.5)
    # A given list has no ids: nothing is known to cancel there either.
    plain = mprofile.Snapshot(list(first.traces._traces), 5)
    assert plain.sample_rate == 1
    assert of_these_blocks(second.compare_to(plain, "lineno"))[0].size_diff_error == pytest.approx(other.size_error)


def test_exact_mode_has_no_error() -> None:
    mprofile.start(5, 0)
    try:
        blocks = [bytes(SIZE) for _ in range(100)]
        snapshot = mprofile.take_snapshot()
    finally:
        mprofile.stop()
    assert snapshot.sample_rate == 1
    assert len([one for one in snapshot.traces if one.size == SIZE + EMPTY]) >= len(blocks)
    assert {one.weight for one in snapshot.traces} == {1.0}
    for statistic in snapshot.statistics("lineno"):
        assert statistic.size_error == statistic.count_error == 0.0
        assert statistic.size_interval() == (statistic.size, statistic.size)
        assert statistic.count_interval() == (statistic.count, statistic.count)
