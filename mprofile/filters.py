# SPDX-License-Identifier: MIT
"""Filters of traces, as tracemalloc has them.

Filter and DomainFilter are told to the extension module: Python matches each file name once, C decides block by block.
A subclass decides trace by trace in its _match().
"""

from _collections_abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional, Tuple

    from mprofile.traces import RawFrame, RawTrace

    # inclusive, one byte for each file name or None for any, line, all_frames, domain
    CompiledFilter = Tuple[bool, Optional[bytes], int, bool, int]

__all__ = ["BaseFilter", "DomainFilter", "Filter"]


def _normalize_filename(filename: str) -> str:
    from os.path import normcase

    filename = normcase(filename)
    return filename[:-1] if filename.endswith(".pyc") else filename


class BaseFilter:
    """Base of the filters. A subclass of its own decides trace by trace in _match(trace)."""

    def __init__(self, inclusive: bool) -> None:
        self.inclusive = inclusive

    def _match(self, trace: "RawTrace") -> bool:
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
        lineno: "Optional[int]" = None,
        all_frames: bool = False,
        domain: "Optional[int]" = None,
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

    def _match_traceback(self, traceback: "Sequence[RawFrame]") -> bool:
        frames = traceback if self.all_frames else traceback[:1]
        found = any(self._match_frame_impl(filename, lineno) for filename, lineno in frames)
        return found ^ (not self.inclusive)

    def _match(self, trace: "RawTrace") -> bool:
        res = self._match_traceback(trace[2])
        if self.domain is None:
            return res
        if self.inclusive:
            return res and bool(trace[0] == self.domain)
        return res or bool(trace[0] != self.domain)


class DomainFilter(BaseFilter):
    """Filter on tracemalloc's domain; inclusive as in Filter."""

    def __init__(self, inclusive: bool, domain: int) -> None:
        super().__init__(inclusive)
        self._domain = domain

    @property
    def domain(self) -> int:
        return self._domain

    def _match(self, trace: "RawTrace") -> bool:
        return bool(trace[0] == self.domain) ^ (not self.inclusive)


def _number_or(value: "Optional[int]", anything: int = -1) -> int:
    """A line or domain for the core: -1 for any, -2 for what no frame or block can have."""
    if value is None:
        return anything
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return -2
    return number if number == value and 0 <= number < 1 << 32 else -2


def compile_filters(filters: "List[BaseFilter]", names: "List[Optional[str]]") -> "Optional[List[CompiledFilter]]":
    """The filters for the core, file names matched; None if one of them decides in code of its own."""
    compiled: "List[CompiledFilter]" = []
    for item in filters:
        if type(item) is Filter:
            match: "Callable[[str], bool]" = item._match_filename
            files = bytes(name is not None and match(name) for name in names)
            line = _number_or(item.lineno)
            all_frames = bool(item.all_frames)
            compiled.append((bool(item.inclusive), files, line, all_frames, _number_or(item.domain)))
        elif type(item) is DomainFilter:
            compiled.append((bool(item.inclusive), None, -1, False, _number_or(item.domain, -2)))
        else:
            return None
    return compiled


def passes(filters: "List[BaseFilter]", trace: "RawTrace") -> bool:
    including = [item for item in filters if item.inclusive]
    if including and not any(item._match(trace) for item in including):
        return False
    return all(item._match(trace) for item in filters if not item.inclusive)
