# SPDX-License-Identifier: MIT
"""tracemalloc's objects, with estimates and their errors.

WHAT    Snapshot, Statistic, StatisticDiff, Trace, Traceback, Frame and the filters have the names, arguments, orders
        and text forms that they have in tracemalloc. They are thin views: sums, differences and filters are computed
        by the extension module on the snapshot's tree of stacks, and Python objects are made for the results only.

        In a sampled snapshot sizes and counts are unbiased estimates, rounded to whole numbers. Each statistic says
        how far off it may be: size_error and count_error are one standard error, size_interval() and
        count_interval() hold the true number with the given probability (mprofile/intervals.py). In exact mode
        errors are zero and intervals have no width.
UNITS   size: bytes. count: blocks of memory. lineno: lines, from 1; 0 if unknown.
IMPORTS The module is part of `import mprofile`, so what only some calls need is imported by them.
"""

from __future__ import annotations

import sys
from _collections_abc import Iterable, Sequence

from mprofile import _core
from mprofile._sizes import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Callable, Dict, Iterator, List, Optional, Tuple, Union, overload

    # A frame is (filename, lineno), a trace (domain, size, frames most recent first[, total_nframe]).
    RawFrame = Tuple[str, int]
    RawTrace = Tuple[Any, ...]
    StrPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
    Interval = Tuple[float, float]
    import os
else:

    def overload(function):
        return function


__all__ = [
    "BaseFilter",
    "DomainFilter",
    "Filter",
    "Frame",
    "Snapshot",
    "Statistic",
    "StatisticDiff",
    "Trace",
    "Traceback",
    "read_pprof",
]

# Lib/tracemalloc.py has the fourth item of a trace, the total number of frames, since 3.9.
_TRACE_ITEMS = 4 if sys.version_info >= (3, 9) else 3


class _Sampling:
    """What the interval of any group of one snapshot needs to know about the whole snapshot."""

    __slots__ = ("pooled_weight", "rate")

    def __init__(self, traces: _core.Traces) -> None:
        self.rate: float = traces.meta()["sample_rate"]
        self.pooled_weight = 0.0
        if self.rate > 1:
            from struct import unpack_from

            from mprofile.intervals import pooled_weight

            _, blocks, _, blocks_var, _, samples = unpack_from("6d", traces.totals())
            self.pooled_weight = pooled_weight(blocks, blocks_var, int(samples))


_EXACT_FIGURES = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Statistic:
    """Memory in use by one group of traces.

    traceback: Traceback of the group, of one frame if grouped by line or file. size: bytes. count: blocks.
    Statistics are equal if these three are.
    """

    __slots__ = ("_figures", "_sampling", "count", "size", "traceback")

    def __init__(self, traceback: Traceback, size: int, count: int) -> None:
        self.traceback = traceback
        self.size = size
        self.count = count
        # bytes, blocks, their variances, bytes seen, samples; None if every block was recorded.
        self._figures: Optional[_core.RawFigures] = None
        self._sampling: Optional[_Sampling] = None

    @property
    def size_error(self) -> float:
        """One standard error of size, in bytes; 0.0 in exact mode."""
        return float((self._figures or _EXACT_FIGURES)[2] ** 0.5)

    @property
    def count_error(self) -> float:
        """One standard error of count, in blocks; 0.0 in exact mode."""
        return float((self._figures or _EXACT_FIGURES)[3] ** 0.5)

    def size_interval(self, level: float = 0.95) -> Interval:
        """Return (low, high) in bytes: holds the true size with probability ``level``.

        ValueError if level is not above 0 and below 1. Exact mode: (size, size).
        """
        from mprofile import intervals

        if self._figures is None or self._sampling is None:
            return intervals.size_interval(self.size, 0.0, self.count, self.size, 1.0, level)
        size, _, variance, _, seen, samples = self._figures
        return intervals.size_interval(size, variance, int(samples), seen, self._sampling.rate, level)

    def count_interval(self, level: float = 0.95) -> Interval:
        """Return (low, high) in blocks: holds the true count with probability ``level``.

        ValueError if level is not above 0 and below 1. Exact mode: (count, count).
        """
        from mprofile import intervals

        if self._figures is None or self._sampling is None:
            return intervals.count_interval(self.count, 0.0, self.count, 1.0, 0.0, level)
        _, blocks, _, variance, _, samples = self._figures
        sampling = self._sampling
        return intervals.count_interval(
            blocks, variance, int(samples), sampling.rate, sampling.pooled_weight, level
        )

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

    def _sort_key(self) -> Tuple[int, int, Traceback]:
        return (self.size, self.count, self.traceback)


class StatisticDiff:
    """Change of one group of traces between an old and a new snapshot.

    size, count: bytes and blocks in the new snapshot. size_diff, count_diff: new less old. traceback as in
    Statistic. Equal if these five are.

    Samples alive in both snapshots of one recording add the same to both and cancel, so the errors of the
    differences come from the samples born or died between them: they are far smaller than those of two independent
    estimates.
    """

    __slots__ = ("_changed", "_sampling", "count", "count_diff", "size", "size_diff", "traceback")

    def __init__(
        self, traceback: Traceback, size: int, size_diff: int, count: int, count_diff: int
    ) -> None:
        self.traceback = traceback
        self.size = size
        self.size_diff = size_diff
        self.count = count
        self.count_diff = count_diff
        # variances in bytes and blocks, and number, of the samples that changed; None if nothing was sampled.
        self._changed: Optional[Tuple[float, float, float]] = None
        self._sampling: Optional[_Sampling] = None

    @property
    def size_diff_error(self) -> float:
        """One standard error of size_diff, in bytes; 0.0 in exact mode."""
        return float(self._changed[0] ** 0.5) if self._changed else 0.0

    @property
    def count_diff_error(self) -> float:
        """One standard error of count_diff, in blocks; 0.0 in exact mode."""
        return float(self._changed[1] ** 0.5) if self._changed else 0.0

    def _arguments(self, which: int) -> Tuple[float, int, float, float]:
        """Variance, samples, rate and pooled weight for mprofile.intervals; which: 0 bytes, 1 blocks."""
        if self._changed is None or self._sampling is None:
            return (0.0, 0, 1.0, 0.0)
        return (
            self._changed[which],
            int(self._changed[2]),
            self._sampling.rate,
            self._sampling.pooled_weight,
        )

    def size_diff_interval(self, level: float = 0.95) -> Interval:
        """Return (low, high) in bytes: holds the true change with probability ``level``.

        ValueError if level is not above 0 and below 1. Exact mode: (size_diff, size_diff).
        """
        from mprofile import intervals

        variance, samples, rate, _ = self._arguments(0)
        return intervals.difference_interval(self.size_diff, variance, samples, rate, level)

    def count_diff_interval(self, level: float = 0.95) -> Interval:
        """Return (low, high) in blocks: holds the true change with probability ``level``.

        ValueError if level is not above 0 and below 1. Exact mode: (count_diff, count_diff).
        """
        from mprofile import intervals

        variance, samples, rate, weight = self._arguments(1)
        return intervals.count_difference_interval(
            self.count_diff, variance, samples, rate, weight, level
        )

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

    def _sort_key(self) -> Tuple[int, int, int, int, Traceback]:
        return (abs(self.size_diff), self.size, abs(self.count_diff), self.count, self.traceback)


def _average(size: int, count: int) -> str:
    return ", average=%s" % format_size(size / count) if count else ""


class Frame:
    """One frame of a traceback. Frames compare by filename, then by lineno."""

    __slots__ = ("_frame",)

    def __init__(self, frame: RawFrame) -> None:
        """``frame`` is a tuple (filename, lineno)."""
        self._frame = frame

    @property
    def filename(self) -> str:
        """File name of the code; "<unknown>" if the block was allocated outside Python code."""
        return self._frame[0]

    @property
    def lineno(self) -> int:
        """Line number; 0 if unknown."""
        return self._frame[1]

    @property
    def name(self) -> Optional[str]:
        """Name of the function, qualified from Python 3.11 on; None if unknown."""
        return getattr(self._frame, "name", None)

    @property
    def firstlineno(self) -> Optional[int]:
        """Line where the function begins; None if unknown."""
        return getattr(self._frame, "firstlineno", None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return self._frame == other._frame

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return self._frame < other._frame

    def __le__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return self._frame <= other._frame

    def __gt__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return self._frame > other._frame

    def __ge__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return self._frame >= other._frame

    def __hash__(self) -> int:
        return hash(self._frame)

    def __str__(self) -> str:
        return "%s:%s" % (self.filename, self.lineno)

    def __repr__(self) -> str:
        return "<Frame filename=%r lineno=%r>" % (self.filename, self.lineno)


class Traceback(Sequence):  # type: ignore[type-arg]
    """The frames of an allocation, oldest first. Tracebacks compare as tuples of frames.

    total_nframe: frames that the program had, more than len() if the traceback was cut at the limit given to
    start(); None if unknown.
    """

    __slots__ = ("_frames", "_total_nframe")

    def __init__(self, frames: Sequence[RawFrame], total_nframe: Optional[int] = None) -> None:
        """``frames`` are tuples (filename, lineno), most recent frame first."""
        self._frames: Tuple[RawFrame, ...] = tuple(reversed(frames))
        self._total_nframe = total_nframe

    @property
    def total_nframe(self) -> Optional[int]:
        return self._total_nframe

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Tuple[Frame, ...]: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[Frame, Tuple[Frame, ...]]:
        if isinstance(index, slice):
            return tuple(Frame(frame) for frame in self._frames[index])
        return Frame(self._frames[index])

    def __contains__(self, frame: Any) -> bool:
        return frame._frame in self._frames

    def __hash__(self) -> int:
        return hash(self._frames)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Traceback):
            return NotImplemented
        return self._frames == other._frames

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Traceback):
            return NotImplemented
        return self._frames < other._frames

    def __le__(self, other: object) -> bool:
        if not isinstance(other, Traceback):
            return NotImplemented
        return self._frames <= other._frames

    def __gt__(self, other: object) -> bool:
        if not isinstance(other, Traceback):
            return NotImplemented
        return self._frames > other._frames

    def __ge__(self, other: object) -> bool:
        if not isinstance(other, Traceback):
            return NotImplemented
        return self._frames >= other._frames

    def __str__(self) -> str:
        return str(self[0])

    def __repr__(self) -> str:
        total = "" if self._total_nframe is None else " total_nframe=%s" % self._total_nframe
        return "<Traceback %r%s>" % (tuple(self), total)

    def format(self, limit: Optional[int] = None, most_recent_first: bool = False) -> List[str]:
        """Return the lines of the traceback as text, with the source line where it can be read.

        limit: keep that many of the most recent frames; if negative, that many of the oldest.
        most_recent_first: turn the order of the frames around.
        """
        import linecache

        frames: Sequence[RawFrame] = self._frames
        if limit is not None:
            frames = frames[-limit:] if limit > 0 else frames[:limit]
        lines = []
        for filename, lineno in reversed(frames) if most_recent_first else frames:
            lines.append('  File "%s", line %s' % (filename, lineno))
            source = linecache.getline(filename, lineno).strip()
            if source:
                lines.append("    %s" % source)
        return lines


def _traceback_oldest_first(frames: Tuple[RawFrame, ...]) -> Traceback:
    traceback = Traceback.__new__(Traceback)
    traceback._frames = frames
    traceback._total_nframe = None
    return traceback


class Trace:
    """One recorded block. Traces are equal if domain, size, traceback and total_nframe are.

    weight: the number of blocks it stands for, a float; 1.0 in exact mode. The sum of weights estimates the number
    of blocks in use, that of weight * size their bytes.
    """

    __slots__ = ("_trace", "_weight")

    def __init__(self, trace: RawTrace, weight: float = 1.0) -> None:
        """``trace`` is a tuple (domain, size, frames most recent first[, total_nframe])."""
        self._trace = trace
        self._weight = weight

    @property
    def domain(self) -> int:
        """tracemalloc's domain: 0 for Python's own memory."""
        return int(self._trace[0])

    @property
    def size(self) -> int:
        """Bytes of this block."""
        return int(self._trace[1])

    @property
    def weight(self) -> float:
        return self._weight

    @property
    def traceback(self) -> Traceback:
        return Traceback(*self._trace[2:])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return self._trace == other._trace

    def __hash__(self) -> int:
        return hash(self._trace)

    def __str__(self) -> str:
        return "%s: %s" % (self.traceback, format_size(self.size))

    def __repr__(self) -> str:
        return "<Trace domain=%s size=%s, traceback=%r>" % (
            self.domain,
            format_size(self.size),
            self.traceback,
        )


class _Traces(Sequence):  # type: ignore[type-arg]
    """Sequence of Trace over a snapshot of the core, made as they are looked at."""

    def __init__(self, traces: Union[_core.Traces, Iterable[RawTrace]]) -> None:
        self._traces = _core._make_traces(traces)

    def __setstate__(self, state: Dict[str, Any]) -> None:
        # A snapshot that tracemalloc dumped has a list here.
        self._traces = _core._make_traces(state["_traces"])

    def __len__(self) -> int:
        return len(self._traces)

    def _trace(self, index: int) -> Trace:
        return Trace(self._traces[index], self._traces.block(index)[1])

    @overload
    def __getitem__(self, index: int) -> Trace: ...
    @overload
    def __getitem__(self, index: slice) -> Tuple[Trace, ...]: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[Trace, Tuple[Trace, ...]]:
        if isinstance(index, slice):
            return tuple(self._trace(i) for i in range(*index.indices(len(self))))
        return self._trace(index)

    def __iter__(self) -> Iterator[Trace]:
        return (self._trace(i) for i in range(len(self)))

    def __contains__(self, trace: Any) -> bool:
        return trace._trace in self._traces

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Traces):
            return NotImplemented
        return self._traces == other._traces

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<Traces len=%s>" % len(self)


def _normalize_filename(filename: str) -> str:
    from os.path import normcase

    filename = normcase(filename)
    return filename[:-1] if filename.endswith(".pyc") else filename


class BaseFilter:
    """Base of the filters. A subclass of its own decides trace by trace in _match(trace)."""

    def __init__(self, inclusive: bool) -> None:
        self.inclusive = inclusive

    def _match(self, trace: RawTrace) -> bool:
        raise NotImplementedError


class Filter(BaseFilter):
    """Filter on file name and line.

    inclusive: keep what matches (True) or drop it (False). filename_pattern: as for fnmatch; ".pyc" stands for
    ".py". lineno: only this line, or None. all_frames: match any frame, not only the most recent one. domain: only
    blocks of this domain, or None.
    """

    def __init__(
        self,
        inclusive: bool,
        filename_pattern: str,
        lineno: Optional[int] = None,
        all_frames: bool = False,
        domain: Optional[int] = None,
    ) -> None:
        super().__init__(inclusive)
        self._filename_pattern = _normalize_filename(filename_pattern)
        self.lineno = lineno
        self.all_frames = all_frames
        self.domain = domain

    @property
    def filename_pattern(self) -> str:
        return self._filename_pattern

    def _match_filename(self, filename: str) -> bool:
        from fnmatch import fnmatch

        return fnmatch(_normalize_filename(filename), self._filename_pattern)

    def _match_frame_impl(self, filename: str, lineno: int) -> bool:
        return self._match_filename(filename) and self.lineno in (None, lineno)

    def _match_frame(self, filename: str, lineno: int) -> bool:
        return self._match_frame_impl(filename, lineno) ^ (not self.inclusive)

    def _match_traceback(self, traceback: Sequence[RawFrame]) -> bool:
        frames = traceback if self.all_frames else traceback[:1]
        found = any(self._match_frame_impl(filename, lineno) for filename, lineno in frames)
        return found ^ (not self.inclusive)

    def _match(self, trace: RawTrace) -> bool:
        res = self._match_traceback(trace[2])
        if self.domain is None:
            return res
        if self.inclusive:
            return res and trace[0] == self.domain
        return res or trace[0] != self.domain


class DomainFilter(BaseFilter):
    """Filter on tracemalloc's domain; inclusive as in Filter."""

    def __init__(self, inclusive: bool, domain: int) -> None:
        super().__init__(inclusive)
        self._domain = domain

    @property
    def domain(self) -> int:
        return self._domain

    def _match(self, trace: RawTrace) -> bool:
        return (trace[0] == self.domain) ^ (not self.inclusive)


def _number_or(value: Optional[int], anything: int = -1) -> int:
    """A line or domain for the core: -1 for any, -2 for what no frame or block can have."""
    if value is None:
        return anything
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return -2
    return number if number == value and 0 <= number < 1 << 32 else -2


def _compiled(
    filters: List[BaseFilter], names: List[Optional[str]]
) -> Optional[List[Tuple[bool, Optional[bytes], int, bool, int]]]:
    """The filters for the core, file names matched; None if one of them decides in code of its own."""
    compiled: List[Tuple[bool, Optional[bytes], int, bool, int]] = []
    for item in filters:
        if type(item) is Filter:
            match: Callable[[str], bool] = item._match_filename
            files = bytes(name is not None and match(name) for name in names)
            line = _number_or(item.lineno)
            all_frames = bool(item.all_frames)
            compiled.append((bool(item.inclusive), files, line, all_frames, _number_or(item.domain)))
        elif type(item) is DomainFilter:
            compiled.append((bool(item.inclusive), None, -1, False, _number_or(item.domain, -2)))
        else:
            return None
    return compiled


def _matches(filters: List[BaseFilter], trace: RawTrace) -> bool:
    including = [item for item in filters if item.inclusive]
    if including and not any(item._match(trace) for item in including):
        return False
    return all(item._match(trace) for item in filters if not item.inclusive)


class Snapshot:
    """The memory in use at one moment. It never changes and stays usable after stop().

    traces: sequence of Trace. traceback_limit: most frames kept of a stack.
    """

    def __init__(
        self, traces: Union[_core.Traces, Iterable[RawTrace]], traceback_limit: int
    ) -> None:
        """``traces``: tuples (domain, size, frames most recent first[, total_nframe]), as tracemalloc has them."""
        self.traces = _Traces(traces)
        self.traceback_limit = traceback_limit

    @property
    def sample_rate(self) -> int:
        """Mean number of bytes between samples; 1 if every block was recorded."""
        return max(1, round(self.traces._traces.meta()["sample_rate"]))

    def dump(self, filename: StrPath) -> None:
        """Write the snapshot into a file, as a pickle. Attributes added to the snapshot are kept.

        For files that others read, write_pprof() is the better form.
        """
        import pickle

        with open(filename, "wb") as file:
            pickle.dump(self, file, pickle.HIGHEST_PROTOCOL)

    @staticmethod
    def load(filename: StrPath) -> Snapshot:
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

    def write_pprof(self, path_or_file: Union[StrPath, IO[bytes]]) -> None:
        """Write the snapshot as a pprof profile, compressed with gzip: `go tool pprof` reads it.

        Given a path, the file is readable and writable by its owner only, and appears whole or not at all. Given
        an object with a write() method, the bytes are written to it. OSError if it cannot be written.
        """
        from mprofile._files import compress, write_file

        write_file(path_or_file, compress(self.traces._traces.to_pprof((), b"")))

    def filter_traces(self, filters: Iterable[BaseFilter]) -> Snapshot:
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
        compiled = _compiled(filters, traces.filenames())
        if compiled is not None:
            return Snapshot(traces.select(compiled), self.traceback_limit)
        keep = bytes(_matches(filters, trace) for trace in traces)
        return Snapshot(traces.select_blocks(keep), self.traceback_limit)

    def statistics(self, key_type: str, cumulative: bool = False) -> List[Statistic]:
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
            statistic = Statistic(_traceback_oldest_first(frames), size, count)
            statistic._figures = figures
            statistic._sampling = sampling
            statistics.append(statistic)
        return statistics

    def compare_to(
        self, old_snapshot: Snapshot, key_type: str, cumulative: bool = False
    ) -> List[StatisticDiff]:
        """Return the changes since ``old_snapshot`` by group, a list of StatisticDiff.

        In descending order of abs(size_diff), size, abs(count_diff), count and traceback. Arguments and errors as
        for statistics().
        """
        _check_key(key_type, cumulative)
        traces = self.traces._traces
        old = _core._make_traces(old_snapshot.traces._traces)
        sampling = max(_Sampling(traces), _Sampling(old), key=lambda one: one.rate)
        differences = []
        for frames, size, size_diff, count, count_diff, changed in traces.differences(
            old, key_type, cumulative
        ):
            difference = StatisticDiff(
                _traceback_oldest_first(frames), size, size_diff, count, count_diff
            )
            difference._changed = changed
            difference._sampling = sampling
            differences.append(difference)
        return differences


def _check_key(key_type: str, cumulative: bool) -> None:
    if key_type not in ("traceback", "filename", "lineno"):
        raise ValueError("unknown key_type: %r" % (key_type,))
    if cumulative and key_type == "traceback":
        raise ValueError("cumulative mode cannot by used with key type %r" % key_type)


def read_pprof(
    path_or_file: Union[StrPath, IO[bytes]], max_size: int = 1 << 30
) -> Snapshot:
    """Read a pprof heap profile, with or without gzip, from a path or an object with a read() method.

    max_size: most bytes to accept, compressed or not (default: 1 GiB). ValueError names the file and says what is
    wrong with it; OSError if it cannot be read.
    """
    from mprofile._files import name_of, read_file

    data = read_file(path_or_file, max_size)
    try:
        traces = _core._traces_from_pprof(data)
    except ValueError as error:
        raise ValueError("%s: %s" % (name_of(path_or_file), error)) from None
    return Snapshot(traces, traces.meta()["max_frames"])
