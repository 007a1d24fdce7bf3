# SPDX-License-Identifier: MIT
"""The directories that `mprofile run --history DIR` fills: a profile a moment and process."""

from __future__ import annotations

import argparse
import datetime
import os
import re
from typing import Dict, List, Optional, Sequence, Tuple

from mprofile.cli.common import read
from mprofile.cli.parser import Parser
from mprofile.profile import Profile
from mprofile.reports import growth

__all__ = ["add_moments", "age", "check_pair", "first_and_last", "last", "listed"]

_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}

# 20260131T235959.123Z.4711.pb.gz
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{3})Z\.(\d+)\.pb\.gz")


def age(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?([a-z]*)", text.strip().lower())
    seconds = 0.0
    if match is not None and match.group(2) in _UNITS:
        seconds = float(match.group(1)) * _UNITS[match.group(2)]
    if not 0 < seconds <= growth.BOUNDS[-1]:
        raise argparse.ArgumentTypeError("{!r} is not an age above 0 and up to 6h, like 90, 60s or 10min".format(text))
    return seconds


def add_moments(parser: Parser, of: str) -> None:
    """Options that choose what of DIR is compared. of: when --since may be given."""
    parser.add_argument(
        "--since", type=age, metavar="AGE", help=of + ": since so long before its last moment (90, 10min)"
    )
    parser.add_argument("--pid", type=int, metavar="PID", help="the process, if DIR holds profiles of more than one")


def check_pair(parser: Parser, files: Sequence[str], what: str) -> None:
    """End the command unless the files are OLD and NEW, or one directory."""
    if len(files) == 2 or (len(files) == 1 and os.path.isdir(files[0])):
        return
    given = "the one file " + repr(files[0]) if len(files) == 1 else "{} files".format(len(files))
    parser.error("{} takes two files, OLD and NEW, or one DIR that --history filled, not {}".format(what, given))


def listed(directory: str) -> Dict[int, List[Tuple[float, str]]]:
    """The profiles of a directory by process: (seconds since 1970, path), sorted. What is no regular file is passed
    over: to open a pipe could take for ever. OSError."""
    found: Dict[int, List[Tuple[float, str]]] = {}
    for name in sorted(os.listdir(directory)):
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        try:
            time = datetime.datetime.strptime(match.group(1) + "+0000", "%Y%m%dT%H%M%S.%f%z")
        except ValueError:
            continue
        path = os.path.join(directory, name)
        if os.path.isfile(path) and not os.path.islink(path):
            found.setdefault(int(match.group(2)), []).append((time.timestamp(), path))
    return found


def moments(parser: Parser, directory: str, pid: Optional[int]) -> List[Tuple[float, str]]:
    """The profiles of one process, as of `listed`."""
    try:
        processes = listed(directory)
    except OSError as error:
        parser.error("cannot read {!r}: {}".format(directory, error.strerror))
    names = ", ".join(str(number) for number in sorted(processes))
    if not processes:
        parser.error("{!r} holds no profile; DIR is what `mprofile run --history DIR` fills".format(directory))
    if pid is None and len(processes) > 1:
        parser.error("{!r} holds profiles of {} processes; choose with --pid: {}".format(
            directory, len(processes), names))
    if pid is not None and pid not in processes:
        parser.error("{!r} holds no profile of process {}, only of {}".format(directory, pid, names))
    return processes[next(iter(processes)) if pid is None else pid]


def last(parser: Parser, directory: str, pid: Optional[int]) -> Profile:
    return read(parser, moments(parser, directory, pid)[-1][1])


def first_and_last(
    parser: Parser, directory: str, pid: Optional[int], since: Optional[float]
) -> Tuple[Profile, Profile]:
    """Two moments of one recording: its last, and its first, or the one nearest to `since` seconds before the last.

    A process may have the number of an earlier one, and may record twice. What is thinned out meanwhile is passed over.
    """
    files = moments(parser, directory, pid)
    end, newest = files[-1]
    new = read(parser, newest)
    earlier = files[:-1]
    if since is not None:
        earlier.sort(key=lambda item: abs(end - since - item[0]))
    for _, path in earlier:
        if not os.path.exists(path):
            continue
        old = read(parser, path)
        if old.meta["recording"] == new.meta["recording"]:
            return old, new
    parser.error("{!r} holds one moment of the last recording only; a difference takes two".format(directory))
