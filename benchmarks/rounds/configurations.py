# SPDX-License-Identifier: MIT
"""The configurations that are compared: a name on the command line, and what is started by it.

    none                       no profiler
    empty                      hooks around the three allocators that only pass on: the limit for any such profiler
    mprofile:RATE:FRAMES       this profiler; RATE 0 is exact
    recording:RATE:FRAMES      the same, and recording to a file
    tracemalloc:FRAMES         of the standard library
    older:RATE:FRAMES          mprofile 0.0.15 from PyPI
    memray:default, memray:python   without and with Python's own allocators
    pyroscope:RATE, ddtrace:RATE    the memory collectors of their agents alone
    scalene, fil               by the commands that they start programs with

All but the last two are started by start/sitecustomize.py, within the program's process, before the program begins.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Tuple

# Forms of the names: what is started -> how many numbers or words follow.
FORMS = {
    "none": 0,
    "empty": 0,
    "mprofile": 2,
    "recording": 2,
    "tracemalloc": 1,
    "older": 2,
    "memray": 1,
    "pyroscope": 1,
    "ddtrace": 1,
    "scalene": 0,
    "fil": 0,
}
TITLES = {
    "none": "no profiler",
    "empty": "empty hooks",
    "older": "mprofile 0.0.15",
    "memray": "memray",
    "pyroscope": "pyroscope-io",
    "ddtrace": "ddtrace",
    "scalene": "scalene",
    "fil": "filprofiler",
}
# What the virtual environment of a peer gets from PyPI, beside what the programs need.
PEERS: Dict[str, List[str]] = {
    "older": ["mprofile==0.0.15"],
    "memray": ["memray>=1.19,<2"],
    "pyroscope": ["pyroscope-io>=1.4,<2"],
    "ddtrace": ["ddtrace>=4,<5"],
    "scalene": ["scalene>=2,<3"],
    "fil": ["filprofiler>=2024.11"],
}
SETS: Dict[str, List[str]] = {
    "own": ["none", "empty", "mprofile:524288:128", "mprofile:131072:128", "mprofile:0:128"],
    "peers": ["none", "mprofile:524288:128", "mprofile:0:128", "tracemalloc:1", "tracemalloc:25", "tracemalloc:128",
              "older:524288:128", "memray:default", "memray:python", "pyroscope:524288", "ddtrace:524288",
              "scalene", "fil"],
    "quick": ["none", "empty", "mprofile:524288:128", "mprofile:0:128"],
    "exact": ["none", "mprofile:0:1", "mprofile:0:128", "tracemalloc:1", "tracemalloc:25", "tracemalloc:128"],
}  # fmt: skip


class Configuration(NamedTuple):
    name: str
    kind: str
    words: Tuple[str, ...]

    @property
    def label(self) -> str:
        """As the page calls it."""
        title = TITLES.get(self.kind, self.kind)
        if self.kind in ("mprofile", "recording", "older"):
            rate, frames = (int(word) for word in self.words)
            title += ", %s" % ("%d KiB" % (rate // 1024) if rate >= 1024 else "%d B" % rate if rate else "exact")
            return title if frames == 128 else "%s, %d frame%s" % (title, frames, "s" if frames != 1 else "")
        if self.kind == "tracemalloc":
            return "%s, %s frame%s" % (title, self.words[0], "s" if self.words[0] != "1" else "")
        if self.kind in ("pyroscope", "ddtrace"):
            return "%s, %d KiB" % (title, int(self.words[0]) // 1024)
        return "memray, Python allocators" if self.words == ("python",) else title

    @property
    def slow(self) -> bool:
        """Tens of times slower than none: it runs less often, and shorter."""
        return self.kind == "fil" or (self.kind == "tracemalloc" and int(self.words[0]) > 5)

    @property
    def environment(self) -> str:
        """The virtual environment it needs: a key of PEERS, or base."""
        return self.kind if self.kind in PEERS else "base"


def parse(name: str) -> Configuration:
    """ValueError: there is no such configuration."""
    words = name.split(":")
    kind = words[0]
    if kind not in FORMS or len(words) - 1 != FORMS[kind]:
        raise ValueError("no configuration %r: %s" % (name, ", ".join(sorted(FORMS))))
    if kind == "memray":
        if words[1] not in ("default", "python"):
            raise ValueError("no configuration %r: memray:default or memray:python" % name)
    elif not all(word.isdigit() for word in words[1:]):
        raise ValueError("no configuration %r: %s takes %d numbers" % (name, kind, FORMS[kind]))
    return Configuration(name, kind, tuple(words[1:]))


def parse_list(text: str) -> List[Configuration]:
    """Names and sets, separated by commas; each once, in the order given."""
    names: List[str] = []
    for word in text.split(","):
        names += [name for name in SETS.get(word, [word]) if name not in names]
    return [parse(name) for name in names]
