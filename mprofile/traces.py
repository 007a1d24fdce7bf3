# SPDX-License-Identifier: MIT
"""Frames, tracebacks and traces, as tracemalloc has them: thin views of tuples.

A frame is a tuple (filename, lineno), a trace a tuple (domain, size, frames most recent first[, total_nframe]). The
tuples come from the extension module, or from whoever builds a Snapshot of traces of their own.

UNITS   size: bytes. lineno: lines, from 1; 0 if unknown.
IMPORTS What only some calls need is imported by them, and annotations are strings, as in snapshot.py.
"""

from _collections_abc import Sequence

from mprofile import _core
from mprofile._sizes import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple, Union, overload

    RawFrame = Tuple[str, int]
    RawTrace = Tuple[Any, ...]
else:

    def overload(function):
        return function


__all__ = ["Frame", "Trace", "Traceback"]


class Frame:
    """One frame of a traceback. Frames compare by filename, then by lineno."""

    __slots__ = ("_frame",)

    def __init__(self, frame: "RawFrame") -> None:
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
    def name(self) -> "Optional[str]":
        """Name of the function, qualified from Python 3.11 on; None if unknown."""
        return getattr(self._frame, "name", None)

    @property
    def firstlineno(self) -> "Optional[int]":
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

    def __init__(self, frames: "Sequence[RawFrame]", total_nframe: "Optional[int]" = None) -> None:
        """``frames`` are tuples (filename, lineno), most recent frame first."""
        self._frames: "Tuple[RawFrame, ...]" = tuple(reversed(frames))
        self._total_nframe = total_nframe

    @classmethod
    def _oldest_first(cls, frames: "Tuple[RawFrame, ...]") -> "Traceback":
        traceback = cls.__new__(cls)
        traceback._frames = frames
        traceback._total_nframe = None
        return traceback

    @property
    def total_nframe(self) -> "Optional[int]":
        return self._total_nframe

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> "Frame": ...
    @overload
    def __getitem__(self, index: "slice") -> "Tuple[Frame, ...]": ...  # noqa: F811
    def __getitem__(self, index: "Union[int, slice]") -> "Union[Frame, Tuple[Frame, ...]]":  # noqa: F811
        if isinstance(index, slice):
            return tuple(Frame(frame) for frame in self._frames[index])
        return Frame(self._frames[index])

    def __contains__(self, frame: "Any") -> bool:
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

    def format(self, limit: "Optional[int]" = None, most_recent_first: bool = False) -> "List[str]":
        """Return the lines of the traceback as text, with the source line where it can be read.

        limit: keep that many of the most recent frames; if negative, that many of the oldest.
        most_recent_first: turn the order of the frames around.
        """
        import linecache

        frames: "Sequence[RawFrame]" = self._frames
        if limit is not None:
            frames = frames[-limit:] if limit > 0 else frames[:limit]
        lines = []
        for filename, lineno in reversed(frames) if most_recent_first else frames:
            lines.append('  File "%s", line %s' % (filename, lineno))
            source = linecache.getline(filename, lineno).strip()
            if source:
                lines.append("    %s" % source)
        return lines


class Trace:
    """One recorded block. Traces are equal if domain, size, traceback and total_nframe are.

    weight: the number of blocks it stands for, a float; 1.0 in exact mode. The sum of weights estimates the number
    of blocks in use, that of weight * size their bytes.
    """

    __slots__ = ("_trace", "_weight")

    def __init__(self, trace: "RawTrace", weight: float = 1.0) -> None:
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
    def traceback(self) -> "Traceback":
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

    def __init__(self, traces: "Union[_core.Traces, Iterable[RawTrace]]") -> None:
        self._traces = _core._make_traces(traces)

    def __setstate__(self, state: "Dict[str, Any]") -> None:
        # A snapshot that tracemalloc dumped has a list here.
        self._traces = _core._make_traces(state["_traces"])

    def __len__(self) -> int:
        return len(self._traces)

    def _trace(self, index: int) -> "Trace":
        return Trace(self._traces[index], self._traces.block(index)[1])

    @overload
    def __getitem__(self, index: int) -> "Trace": ...
    @overload
    def __getitem__(self, index: "slice") -> "Tuple[Trace, ...]": ...  # noqa: F811
    def __getitem__(self, index: "Union[int, slice]") -> "Union[Trace, Tuple[Trace, ...]]":  # noqa: F811
        if isinstance(index, slice):
            return tuple(self._trace(i) for i in range(*index.indices(len(self))))
        return self._trace(index)

    def __iter__(self) -> "Iterator[Trace]":
        return (self._trace(i) for i in range(len(self)))

    def __contains__(self, trace: "Any") -> bool:
        return trace._trace in self._traces

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Traces):
            return NotImplemented
        return self._traces == other._traces

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<Traces len=%s>" % len(self)
