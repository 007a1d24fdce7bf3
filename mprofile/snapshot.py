# SPDX-License-Identifier: MIT
"""Snapshots and their statistics, as tracemalloc has them, with estimates and their errors.

WHAT    Snapshot, Statistic and StatisticDiff (here), Trace, Traceback and Frame (traces.py) and the filters
        (filters.py) have the names, arguments, orders and text forms that they have in tracemalloc. Sums, differences
        and filters are computed by the extension module on the snapshot's tree of stacks; Python objects are made
        for the results only.

        In a sampled snapshot sizes and counts are unbiased estimates, rounded to whole numbers. Each statistic says
        how far off it may be: size_error and count_error are one standard error, size_interval() and
        count_interval() hold the true number with the given probability (mprofile/intervals.py). In exact mode
        errors are zero and intervals have no width.
UNITS   size: bytes. count: blocks of memory.
IMPORTS What only some calls need is imported by them. Annotations are strings: `__future__` takes as much memory as a
        module of this size, and a handler of a signal may find it half imported.
"""

from _collections_abc import Iterable

from mprofile import _core
from mprofile._sizes import format_size
from mprofile.filters import compile_filters, passes
from mprofile.traces import Traceback, _Traces

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import IO, List, Optional, Tuple, Union

    from mprofile.filters import BaseFilter
    from mprofile.traces import RawTrace

    StrPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
    Interval = Tuple[float, float]

__all__ = ["Snapshot", "Statistic", "StatisticDiff", "read_pprof"]


class _Sampling:
    """What the interval of any group of one snapshot needs to know about the whole snapshot."""

    __slots__ = ("pooled_weight", "rate")

    def __init__(self, traces: "_core.Traces") -> None:
        self.rate: float = traces.meta()["sample_rate"]
        self.pooled_weight = 0.0
        if self.rate > 1:
            from struct import unpack_from

            from mprofile import intervals

            _, blocks, _, blocks_var, _, samples = unpack_from("6d", traces.totals())
            self.pooled_weight = intervals.pooled_weight(blocks, blocks_var, int(samples))


_EXACT_FIGURES = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Statistic:
    """Memory in use by one group of traces.

    traceback: Traceback of the group, of one frame if grouped by line or file. size: bytes. count: blocks.
    Statistics are equal if these three are.
    """

    __slots__ = ("_figures", "_sampling", "count", "size", "traceback")

    def __init__(self, traceback: "Traceback", size: int, count: int) -> None:
        self.traceback = traceback
        self.size = size
        self.count = count
        # bytes, blocks, their variances, bytes seen, samples; None if every block was recorded.
        self._figures: "Optional[_core.RawFigures]" = None
        self._sampling: "Optional[_Sampling]" = None

    @property
    def size_error(self) -> float:
        """One standard error of size, in bytes; 0.0 in exact mode."""
        return float((self._figures or _EXACT_FIGURES)[2] ** 0.5)

    @property
    def count_error(self) -> float:
        """One standard error of count, in blocks; 0.0 in exact mode."""
        return float((self._figures or _EXACT_FIGURES)[3] ** 0.5)

    def size_interval(self, level: float = 0.95) -> "Interval":
        """Return (low, high) in bytes: holds the true size with probability ``level``.

        ValueError if level is not above 0 and below 1. Exact mode: (size, size).
        """
        from mprofile import intervals

        if self._figures is None or self._sampling is None:
            return intervals.size_interval(self.size, 0.0, self.count, self.size, 1.0, level)
        size, _, variance, _, seen, samples = self._figures
        return intervals.size_interval(size, variance, int(samples), seen, self._sampling.rate, level)

    def count_interval(self, level: float = 0.95) -> "Interval":
        """Return (low, high) in blocks: holds the true count with probability ``level``.

        ValueError if level is not above 0 and below 1. Exact mode: (count, count).
        """
        from mprofile import intervals

        if self._figures is None or self._sampling is None:
            return intervals.count_interval(self.count, 0.0, self.count, 1.0, 0.0, level)
        _, blocks, _, variance, _, samples = self._figures
        sampling = self._sampling
        return intervals.count_interval(blocks, variance, int(samples), sampling.rate, sampling.pooled_weight, level)

    def __hash__(self) -> int:
        return hash((self.traceback, self.size, self.count))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Statistic):
            return NotImplemented
        return (self.size, self.count, self.traceback) == (other.size, other.count, other.traceback)

    def __str__(self) -> str:
        text = "%s: size=%s, count=%i" % (self.traceback, format_size(self.size), self.count)
        return text + _average(self.size, self.count)

    def __repr__(self) -> str:
        return "<Statistic traceback=%r size=%i count=%i>" % (self.traceback, self.size, self.count)

    def _sort_key(self) -> "Tuple[int, int, Traceback]":
        return (self.size, self.count, self.traceback)


class StatisticDiff:
    """Change of one group of traces between an old and a new snapshot.

    size, count: bytes and blocks in the new snapshot. size_diff, count_diff: new less old. traceback as in
    Statistic. Equal if these five are.

    Samples alive in both snapshots of one recording add the same to both and cancel, so the errors of the
    differences come from the samples born or died between them: they are far smaller than those of two independent
    estimates. A pprof file does not say which sample is which, so with a snapshot read from one nothing cancels.
    """

    __slots__ = ("_changed", "_sampling", "count", "count_diff", "size", "size_diff", "traceback")

    def __init__(self, traceback: "Traceback", size: int, size_diff: int, count: int, count_diff: int) -> None:
        self.traceback = traceback
        self.size = size
        self.size_diff = size_diff
        self.count = count
        self.count_diff = count_diff
        # variances in bytes and blocks, and number, of the samples that changed; None if nothing was sampled.
        self._changed: "Optional[Tuple[float, float, float]]" = None
        self._sampling: "Optional[_Sampling]" = None

    @property
    def size_diff_error(self) -> float:
        """One standard error of size_diff, in bytes; 0.0 in exact mode."""
        return float(self._changed[0] ** 0.5) if self._changed else 0.0

    @property
    def count_diff_error(self) -> float:
        """One standard error of count_diff, in blocks; 0.0 in exact mode."""
        return float(self._changed[1] ** 0.5) if self._changed else 0.0

    def _arguments(self, which: int) -> "Tuple[float, int, float, float]":
        """Variance, samples, rate and pooled weight for mprofile.intervals; which: 0 bytes, 1 blocks."""
        if self._changed is None or self._sampling is None:
            return (0.0, 0, 1.0, 0.0)
        return (
            self._changed[which],
            int(self._changed[2]),
            self._sampling.rate,
            self._sampling.pooled_weight,
        )

    def size_diff_interval(self, level: float = 0.95) -> "Interval":
        """Return (low, high) in bytes: holds the true change with probability ``level``.

        ValueError if level is not above 0 and below 1. Exact mode: (size_diff, size_diff).
        """
        from mprofile import intervals

        variance, samples, rate, _ = self._arguments(0)
        return intervals.difference_interval(self.size_diff, variance, samples, rate, level)

    def count_diff_interval(self, level: float = 0.95) -> "Interval":
        """Return (low, high) in blocks: holds the true change with probability ``level``.

        ValueError if level is not above 0 and below 1. Exact mode: (count_diff, count_diff).
        """
        from mprofile import intervals

        variance, samples, rate, weight = self._arguments(1)
        return intervals.count_difference_interval(self.count_diff, variance, samples, rate, weight, level)

    def is_significant(self, level: float = 0.95) -> bool:
        """Return whether the interval of size_diff excludes zero. Exact mode: whether size_diff is not zero.

        Of 100 groups that did not change, up to 5 are called significant at 0.95: raise the level when looking at
        many. ValueError if level is not above 0 and below 1.
        """
        from mprofile import intervals

        variance, samples, rate, _ = self._arguments(0)
        return intervals.is_significant(self.size_diff, variance, samples, rate, level)

    def __hash__(self) -> int:
        return hash((self.traceback, self.size, self.size_diff, self.count, self.count_diff))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StatisticDiff):
            return NotImplemented
        return (self.size, self.size_diff, self.count, self.count_diff, self.traceback) == (
            other.size,
            other.size_diff,
            other.count,
            other.count_diff,
            other.traceback,
        )

    def __str__(self) -> str:
        text = "%s: size=%s (%s), count=%i (%+i)" % (
            self.traceback,
            format_size(self.size),
            format_size(self.size_diff, True),
            self.count,
            self.count_diff,
        )
        return text + _average(self.size, self.count)

    def __repr__(self) -> str:
        return "<StatisticDiff traceback=%r size=%i (%+i) count=%i (%+i)>" % (
            self.traceback,
            self.size,
            self.size_diff,
            self.count,
            self.count_diff,
        )

    def _sort_key(self) -> "Tuple[int, int, int, int, Traceback]":
        return (abs(self.size_diff), self.size, abs(self.count_diff), self.count, self.traceback)


def _average(size: int, count: int) -> str:
    return ", average=%s" % format_size(size / count) if count else ""


class Snapshot:
    """The memory in use at one moment. It never changes and stays usable after stop().

    traces: sequence of Trace. traceback_limit: most frames kept of a stack.
    """

    def __init__(self, traces: "Union[_core.Traces, Iterable[RawTrace]]", traceback_limit: int) -> None:
        """``traces``: tuples (domain, size, frames most recent first[, total_nframe]), as tracemalloc has them."""
        self.traces = _Traces(traces)
        self.traceback_limit = traceback_limit

    @property
    def sample_rate(self) -> int:
        """Mean number of bytes between samples; 1 if every block was recorded."""
        rate: float = self.traces._traces.meta()["sample_rate"]
        return max(1, round(rate))

    def dump(self, filename: "StrPath") -> None:
        """Write the snapshot into a file, as a pickle. Attributes added to the snapshot are kept.

        For files that others read, write_pprof() is the better form. As there, the file is readable and writable by
        its owner only, and appears whole or not at all.
        """
        import pickle

        from mprofile import _files

        _files.write_file(filename, pickle.dumps(self, pickle.HIGHEST_PROTOCOL))

    @staticmethod
    def load(filename: "StrPath") -> "Snapshot":
        """Read a snapshot that dump() wrote, here or in tracemalloc.

        Loading a pickle can run any code: load only files that you trust. ValueError if the file holds something
        else than a snapshot.
        """
        import pickle

        with open(filename, "rb") as file:
            loaded = pickle.load(file)
        if isinstance(loaded, Snapshot):
            return loaded
        try:
            attributes = dict(vars(loaded))
            snapshot = Snapshot(attributes.pop("traces")._traces, attributes.pop("traceback_limit"))
        except (AttributeError, KeyError, TypeError):
            raise ValueError("%r holds a %s, not a snapshot" % (filename, type(loaded).__name__)) from None
        snapshot.__dict__.update(attributes)
        return snapshot

    def write_pprof(self, path_or_file: "Union[StrPath, IO[bytes]]") -> None:
        """Write the snapshot as a pprof profile, compressed with gzip: `go tool pprof` reads it.

        Given a path, the file is readable and writable by its owner only, and appears whole or not at all. Given
        an object with a write() method, the bytes are written to it. OSError if it cannot be written.
        """
        from mprofile import _files

        _files.write_file(path_or_file, _files.compress(self.traces._traces.to_pprof((), b"")))

    def filter_traces(self, filters: "Iterable[BaseFilter]") -> "Snapshot":
        """Return a new snapshot of the traces that pass.

        A trace passes if at least one inclusive filter matches it, or there is none, and no exclusive one rejects
        it. An empty list gives a copy. TypeError if ``filters`` is not iterable.
        """
        if not isinstance(filters, Iterable):
            raise TypeError("filters must be a list of filters, not %s" % type(filters).__name__)
        filters = list(filters)
        traces = self.traces._traces
        if not filters:
            return Snapshot(traces.copy(), self.traceback_limit)
        compiled = compile_filters(filters, traces.filenames())
        if compiled is not None:
            return Snapshot(traces.select(compiled), self.traceback_limit)
        keep = bytes(passes(filters, trace) for trace in traces)
        return Snapshot(traces.select_blocks(keep), self.traceback_limit)

    def statistics(self, key_type: str, cumulative: bool = False) -> "List[Statistic]":
        """Return what is in use by group, a list of Statistic in descending order of size, count and traceback.

        key_type: "filename", "lineno" (file and line of the most recent frame) or "traceback". cumulative: count a
        block for every frame on its stack, each time that frame occurs; for "filename" and "lineno" only.
        ValueError for anything else.
        """
        _check_key(key_type, cumulative)
        traces = self.traces._traces
        sampling = _Sampling(traces)
        statistics = []
        for frames, size, count, figures in traces.statistics(key_type, cumulative):
            statistic = Statistic(Traceback._oldest_first(frames), size, count)
            statistic._figures = figures
            statistic._sampling = sampling
            statistics.append(statistic)
        return statistics

    def compare_to(self, old_snapshot: "Snapshot", key_type: str, cumulative: bool = False) -> "List[StatisticDiff]":
        """Return the changes since ``old_snapshot`` by group, a list of StatisticDiff.

        In descending order of abs(size_diff), size, abs(count_diff), count and traceback. Arguments and errors as
        for statistics().
        """
        _check_key(key_type, cumulative)
        traces = self.traces._traces
        old = _core._make_traces(old_snapshot.traces._traces)
        sampling = max(_Sampling(traces), _Sampling(old), key=lambda one: one.rate)
        differences = []
        for frames, size, size_diff, count, count_diff, changed in traces.differences(old, key_type, cumulative):
            difference = StatisticDiff(Traceback._oldest_first(frames), size, size_diff, count, count_diff)
            difference._changed = changed
            difference._sampling = sampling
            differences.append(difference)
        return differences


def _check_key(key_type: str, cumulative: bool) -> None:
    if key_type not in ("traceback", "filename", "lineno"):
        raise ValueError("unknown key_type: %r" % (key_type,))
    if cumulative and key_type == "traceback":
        raise ValueError("cumulative mode cannot by used with key type %r" % key_type)


def read_pprof(path_or_file: "Union[StrPath, IO[bytes]]", max_size: int = 1 << 30) -> "Snapshot":
    """Read a pprof heap profile, with or without gzip, from a path or an object with a read() method.

    max_size: most bytes to accept, compressed or not (default: 1 GiB). ValueError names the file and says what is
    wrong with it; OSError if it cannot be read.
    """
    from mprofile import _files

    data = _files.read_file(path_or_file, max_size)
    try:
        traces = _core._traces_from_pprof(data)
    except ValueError as error:
        raise ValueError("%s: %s" % (_files.name_of(path_or_file), error)) from None
    return Snapshot(traces, traces.meta()["max_frames"])
