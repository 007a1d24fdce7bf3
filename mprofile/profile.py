# SPDX-License-Identifier: MIT
"""Profile: what a profile file holds, in rows, for reports.

    profile = Profile.read("heap.pb.gz")
    for row in profile.rows("function"):
        row.name, row.filename, row.flat.inuse.bytes, row.cumulative.allocated.blocks

WHAT    A Profile is a Snapshot seen by its sums. rows() groups it by line, function, file or stack, in one pass in C.
        Each row has three measures, each flat and cumulative:

            inuse       in use when the profile was taken
            allocated   ever allocated
            peak        in use when the whole heap was at its peak

        Flat: stacks whose innermost frame is the row's. Cumulative: stacks that the row's frame is anywhere on; a
        stack counts once, however often the frame recurs. Every measure is a Figures: bytes, blocks, and how far
        the truth may be from them.
UNITS   Bytes, blocks of memory, lines from 1 (0: unknown), nanoseconds since 1970 (0: unknown).
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING, Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from mprofile import intervals
from mprofile._files import compress, write_file
from mprofile.snapshot import Snapshot, _Sampling, read_pprof

if TYPE_CHECKING:
    import os

    from mprofile import _core
    from mprofile._core import FrameTuple

    StrPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

__all__ = ["Figures", "Measures", "Place", "Profile", "Row"]

#: What a row is: filename, line, name.
Place = Tuple[str, int, Optional[str]]

#: What rows() can group by.
KEYS = ("line", "function", "file", "stack")

_DOUBLES = struct.Struct("6d")
_MEASURES = 3
_NUMBERS = struct.Struct("18d")
_BOTH = struct.Struct("36d")


class Figures:
    """Bytes and blocks of one group, estimated from its samples; exact if every block was recorded.

    bytes, blocks: unbiased estimates, floats. bytes_var, blocks_var: unbiased estimates of their variances.
    seen: bytes of the samples themselves, which are certain. samples: their number.
    """

    __slots__ = ("_sampling", "blocks", "blocks_var", "bytes", "bytes_var", "samples", "seen")

    def __init__(self, data: bytes, offset: int, sampling: _Sampling) -> None:
        """Six native doubles at ``offset`` in ``data``, in the order of the core's struct mprof_figures."""
        figures: Tuple[float, ...] = _DOUBLES.unpack_from(data, offset)
        self.bytes, self.blocks, self.bytes_var, self.blocks_var, self.seen = figures[:5]
        self.samples = int(figures[5])
        self._sampling = sampling

    @property
    def bytes_error(self) -> float:
        """One standard error of ``bytes``."""
        return float(self.bytes_var**0.5)

    @property
    def blocks_error(self) -> float:
        """One standard error of ``blocks``."""
        return float(self.blocks_var**0.5)

    def bytes_interval(self, level: float = 0.95) -> Tuple[float, float]:
        """Return (low, high): holds the true number of bytes with probability ``level``.

        ValueError if level is not a float above 0 and below 1.
        """
        rate = self._sampling.rate
        return intervals.size_interval(self.bytes, self.bytes_var, self.samples, self.seen, rate, level)

    def blocks_interval(self, level: float = 0.95) -> Tuple[float, float]:
        """Return (low, high): holds the true number of blocks with probability ``level``.

        ValueError if level is not a float above 0 and below 1.
        """
        sampling = self._sampling
        return intervals.count_interval(
            self.blocks, self.blocks_var, self.samples, sampling.rate, sampling.pooled_weight, level
        )

    def __repr__(self) -> str:
        return "<Figures bytes=%.0f+-%.0f blocks=%.0f+-%.0f samples=%d>" % (
            self.bytes,
            self.bytes_error,
            self.blocks,
            self.blocks_error,
            self.samples,
        )


class Measures(NamedTuple):
    """The three measures of a group."""

    inuse: Figures
    allocated: Figures
    peak: Figures


class Row:
    """One group of stacks. What it is grouped by says which of these are set:

                  filename   lineno             name       frames
        line      file       line               function   ()
        function  file       its first line     function   ()
        file      file       0                  None       ()
        stack     of the innermost frame: file, line, function   all frames, oldest first

    frames: tuples (filename, lineno) with the further attributes name and firstlineno. name: None if unknown; for a
    line that several functions share (a comprehension, on older Pythons), the first of them met. total_frames: of a
    stack, how many frames the program had: more than frames if the stack was cut at max_frames. Else 0.
    """

    __slots__ = ("_data", "_offset", "_sampling", "filename", "frames", "lineno", "name", "total_frames")

    def __init__(
        self,
        filename: str,
        lineno: int,
        name: Optional[str],
        frames: Tuple[FrameTuple, ...],
        data: bytes,
        offset: int,
        sampling: _Sampling,
        total_frames: int = 0,
    ) -> None:
        self.filename = filename
        self.lineno = lineno
        self.name = name
        self.frames = frames
        self._data = data
        self._offset = offset
        self._sampling = sampling
        self.total_frames = total_frames

    def _measures(self, first: int) -> Measures:
        start = self._offset + first * _DOUBLES.size
        return Measures(*(Figures(self._data, start + i * _DOUBLES.size, self._sampling) for i in range(_MEASURES)))

    @property
    def flat(self) -> Measures:
        """Of the stacks whose innermost frame is this row's."""
        return self._measures(0)

    @property
    def cumulative(self) -> Measures:
        """Of the stacks that this row's frame is on; the same as flat for a whole stack."""
        return self._measures(_MEASURES)

    def numbers(self, cumulative: bool = False) -> Tuple[float, ...]:
        """The figures of `flat`, or of `cumulative`, as they add up: bytes, blocks, bytes_var, blocks_var, seen and
        samples of each measure, 18 in all."""
        return _NUMBERS.unpack_from(self._data, self._offset + (_NUMBERS.size if cumulative else 0))

    def __repr__(self) -> str:
        return "<Row %s:%s %s in use: %r>" % (self.filename, self.lineno, self.name, self.flat.inuse)


class Profile:
    """A heap profile: from a file or from a snapshot. It never changes."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._traces = snapshot.traces._traces
        self._sampling = _Sampling(self._traces)

    @classmethod
    def read(cls, path_or_file: Union[StrPath, IO[bytes]], max_size: int = 1 << 30) -> Profile:
        """Read a pprof heap profile. Arguments and errors as for mprofile.read_pprof()."""
        return cls(read_pprof(path_or_file, max_size))

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> Profile:
        """The profile that Snapshot.write_pprof() would write."""
        return cls(snapshot)

    @classmethod
    def merge(cls, profiles: Iterable[Profile]) -> Profile:
        """The sum of several profiles, of processes that ran beside each other or one after the other.

        Stacks of the same frames become one. Each block keeps the rate it was recorded at, so the rates may differ;
        meta["sample_rate"] is the largest. The peak is the sum of the peaks, which need not have been at one time: no
        more than that was in use together. Of the comments those stay that all have. ValueError if there is none.
        """
        from mprofile import _core

        traces = _core._merge_traces([profile._traces for profile in profiles])
        return cls(Snapshot(traces, traces.meta()["max_frames"]))

    def write(self, path_or_file: Union[StrPath, IO[bytes]], comments: Iterable[str] = ()) -> None:
        """Write a pprof profile, as Snapshot.write_pprof() does, with ``comments`` after those it has."""
        added = tuple(comment.encode("utf-8", "backslashreplace") for comment in comments)
        write_file(path_or_file, compress(self._traces.to_pprof(added, b"")))

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    @property
    def traces(self) -> _core.Traces:
        """The object of the extension module behind it, on which reports compute."""
        return self._traces

    @property
    def meta(self) -> Dict[str, Any]:
        """How it was recorded:

        sample_rate: mean bytes between samples, a float; 1.0 if every block was recorded. max_frames: most frames
        kept of a stack. drops: samples lost for want of memory. thinnings: times that the rate was doubled.
        start_ns, time_ns, peak_ns: when profiling began, when the profile was taken, when the heap was at its peak,
        in nanoseconds since 1970; 0 if unknown. recording: a number that two profiles of one recording share.
        """
        return self._traces.meta()

    @property
    def comments(self) -> List[str]:
        return self._traces.comments()

    def totals(self) -> Measures:
        """The sums over everything."""
        data = self._traces.totals()
        return Measures(*(Figures(data, i * _DOUBLES.size, self._sampling) for i in range(_MEASURES)))

    def rows(self, by: str = "line") -> List[Row]:
        """Return a Row for each line, function, file or stack that has anything, by bytes in use (flat), descending.

        ``by``: "line", "function", "file" or "stack"; ValueError for anything else. Rows that are equal in that are
        in the order of bytes allocated (flat), then bytes in use (cumulative), both descending, then by name.
        """
        if by not in KEYS:
            raise ValueError("rows are by %s, not by %r" % (" or ".join(map(repr, KEYS)), by))
        keys, data, totals = self._traces.rows(by)
        size = 2 * _MEASURES * _DOUBLES.size
        rows = []
        for i, key in enumerate(keys):
            frame: FrameTuple = key[-1] if by == "stack" else key
            lineno: int = frame.lineno
            name: Optional[str] = frame.name
            if by == "file":
                lineno, name = 0, None
            elif by == "function":
                lineno = frame.firstlineno or 0
            frames = key if by == "stack" else ()
            total = totals[i] if by == "stack" else 0
            rows.append(Row(frame.filename, lineno, name, frames, data, i * size, self._sampling, total))
        return rows

    def row(self, place: Place, flat: Sequence[float], cumulative: Sequence[float]) -> Row:
        """Return a Row of sums of Row.numbers(). place: its filename, lineno and name."""
        return Row(*place, (), _BOTH.pack(*flat, *cumulative), 0, self._sampling)
