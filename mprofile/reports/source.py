# SPDX-License-Identifier: MIT
"""Lines of source code beside the figures, where the file can still be read.

A line is shown only if it is likely to be the one that ran: the file is a regular one, and is not younger than the
profile. A profile may come from anywhere and name any file: what is read is one line, of a file whose name ends as
Python's do.
"""

from __future__ import annotations

import os
import stat
from typing import Dict, List

from mprofile.profile import Profile
from mprofile.reports.names import printable, recorded

__all__ = ["Source"]

#: Largest file that is read, in bytes.
_LARGEST = 8 << 20


class Source:
    """The source files that a profile names."""

    def __init__(self, profile: Profile) -> None:
        self._directory = recorded(profile).get("directory", "")
        self._time_ns: int = profile.meta["time_ns"]
        self._files: Dict[str, List[str]] = {}

    def line(self, filename: str, lineno: int) -> str:
        """The line's text without its indentation; "" if it cannot be told."""
        if lineno < 1 or not filename.endswith((".py", ".pyw")):
            return ""
        lines = self._files.get(filename)
        if lines is None:
            lines = self._files[filename] = self._read(filename)
        return printable(lines[lineno - 1].strip()) if lineno <= len(lines) else ""

    def _read(self, filename: str) -> List[str]:
        import tokenize

        path = os.path.join(self._directory, filename)
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                return []
            if self._time_ns and status.st_mtime_ns > self._time_ns:
                return []
            with tokenize.open(path) as file:
                return file.read().split("\n")
        except (OSError, SyntaxError, ValueError):
            return []
