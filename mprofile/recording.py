# SPDX-License-Identifier: MIT
"""Recording to a file while the program runs, so that the profile survives whatever ends the process.

    mprofile.start(sample_rate=512 * 1024)
    mprofile.start_recording("heap.pb.gz")
    ...
    mprofile.stop_recording()       # or never: it ends with the program

WHAT    A thread of the extension module, which needs neither the GIL nor Python, writes the profile into the file: once
        a second at most, at once when the heap has grown by a tenth, and at the end. While nothing is allocated it
        sleeps. The file is replaced as a whole, so it is complete at any moment. docs/recording.md tells more.
FORK    A forked child records into a file of its own, named after this one: heap.pb.gz -> heap.4711.pb.gz. A child
        that ends by os._exit() or becomes another program within the first second leaves no file.
IMPORTS The module is part of `import mprofile`, so what only some calls need is imported by them, and annotations are
        strings: `__future__` takes as much memory as a module of this size.
"""

import os
import sys

from mprofile import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Tuple, Union

    StrPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

__all__ = ["heap_history", "is_recording", "recording_info", "start_recording", "stop_recording"]

#: Seconds between two writes, the part of the heap by which it must grow for another at once, bytes of a history.
EVERY = 1.0
GROWTH = 0.1
HISTORY_SIZE = 128 << 20

LEAST_EVERY, MOST_EVERY = 0.01, 86400.0
#: Seconds to wait for the last write.
TIMEOUT = 30.0

#: From this version on os.fork() warns of threads, and in some counts them after its handlers have run.
_RESUME_LATER = sys.version_info >= (3, 12)

_registered = False
_multiprocessing_registered = False


def start_recording(
    path: "StrPath",
    every: float = EVERY,
    *,
    growth: float = GROWTH,
    history: "Optional[StrPath]" = None,
    history_size: int = HISTORY_SIZE,
) -> None:
    """Write the profile to ``path``, now and again and again until stop_recording() or the end of the program.

    path: a pprof file, replaced as a whole each time; only its owner can read it. It is compressed by gzip where the
    system has zlib (libz.so.1); readers of pprof profiles accept both.
    every: least number of seconds between two writes, 0.01 to 86400.
    growth: when the heap has grown by this part since the last write (and by 1 MiB), it is written at once.
    history: a directory for profiles over time, made if it is not there: one for each second of the last minute, for
    each minute of the last hour, and for each hour before.
    history_size: most bytes of all files in that directory; the oldest go first.

    RuntimeError if the profiler is not running or a recording is. ValueError for a number out of range, or for a path
    that is something else than a file. OSError if the file cannot be written now; later failures are told once on
    stderr, noted in the next file, and tried again.
    """
    if not _core.is_tracing():
        raise RuntimeError("the profiler is not running; call mprofile.start() first")
    failure = begin(path, every, growth, history, history_size, describe())
    if failure is not None:
        _core._stop_recording(TIMEOUT)
        raise OSError(failure[0], os.strerror(failure[0]), os.fsdecode(path))


def stop_recording() -> bool:
    """Write the profile a last time and end the recording. The profiler runs on.

    Returns whether the file holds everything up to now: False if there was no recording, or if the file could not be
    written; recording_info() then says why.
    """
    return _core._stop_recording(TIMEOUT) == 0


def is_recording() -> bool:
    """Return whether the profile of this process is being recorded."""
    return bool(_core._recording_info()["running"])


def recording_info() -> "Optional[Dict[str, Any]]":
    """Return what the recording of this process has done so far, or None if there has been none.

    running; complete: whether the file holds everything up to the end of the recording; path; publications: how often
    the file was written; failures: how often it could not be, and the last one's error (an errno), call and reason;
    gzip: whether files are compressed; plain_bytes and file_bytes of the last one before and after compression;
    snapshot_seconds, encode_seconds, gzip_seconds and write_seconds that it took; thread: the thread's id for the
    system.
    """
    info = _core._recording_info()
    info["path"] = os.fsdecode(info["path"])
    return info if info["path"] else None


def heap_history(comments: "Iterable[str]") -> "List[Tuple[float, int, int]]":
    """Return heap and resident memory over time from the comments of a profile.

    A list of tuples (time, heap, resident): seconds since 1970; bytes of heap in use and bytes resident, in whole KiB.
    Empty if the profile was not recorded so. ValueError if what it holds is no history.
    """
    prefix = "mprofile: history="
    points = []
    for comment in comments:
        if not comment.startswith(prefix):
            continue
        moment = 0
        for item in comment[len(prefix) :].split(";"):
            step, heap, resident = item.split(",")
            moment += int(step)
            points.append((moment / 1000, int(heap) * 1024, int(resident) * 1024))
    return points


# ---- for the command line and the start from the environment ----


def begin(
    path: "StrPath",
    every: float,
    growth: float,
    history: "Optional[StrPath]",
    history_size: int,
    comments: "Iterable[str]",
    child: bool = False,
) -> "Optional[Tuple[int, str]]":
    """Start the recording whether or not the first write succeeds; if it does not, return its errno and system call.

    child: write into the file of a child of the process that ``path`` belongs to. Errors as for start_recording(),
    but for OSError.
    """
    from mprofile import _files

    target = os.path.abspath(os.fsencode(path))
    if not LEAST_EVERY <= every <= MOST_EVERY:
        raise ValueError("every must be from %g to %g seconds, not %r" % (LEAST_EVERY, MOST_EVERY, every))
    if not growth > 0:
        raise ValueError("growth must be above 0, not %r" % (growth,))
    if history_size < 0:
        raise ValueError("history_size must be 0 (no bound) or more bytes, not %r" % (history_size,))
    if not _files.is_file_name(target):
        raise ValueError("%r is not a file, and cannot be replaced; path must be a file's name" % os.fsdecode(path))
    directory = None
    if history is not None:
        directory = os.path.abspath(os.fsencode(history))
        os.makedirs(directory, 0o700, exist_ok=True)
    text = b"".join(comment.encode("utf-8", "backslashreplace").replace(b"\0", b"") + b"\0" for comment in comments)
    if not is_recording():  # else the next line raises, and the end of this interpreter shall not be the recording's
        _register()
    return _core._start_recording(target, every, growth, text, directory, history_size, child)


def describe(command: "Optional[str]" = None) -> "List[str]":
    """What a report says about the process, one `mprofile: key=value` each, in anonymous files only the interpreter."""
    names = {"cpython": "CPython"}
    name = names.get(sys.implementation.name, sys.implementation.name)
    comments = ["mprofile: interpreter={} {}".format(name, sys.version.split()[0])]
    if os.environ.get("MPROFILE_RECORD_ANONYMOUS", "0") not in ("", "0"):
        return comments
    if command is None:
        command = _command_line()
    if command:
        comments.insert(0, "mprofile: command=" + command)
    try:
        comments.append("mprofile: directory=" + os.getcwd())
    except OSError:
        pass
    return comments


def _command_line() -> str:
    import shlex

    try:
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read().split(b"\0")[:-1]
    except OSError:
        return ""
    return " ".join(shlex.quote(os.fsdecode(word)) for word in words)


# ---- the end, and forked children ----


def _register() -> None:
    """Once: the last write at the end of the program, and what stands around a fork."""
    global _registered
    if _registered:
        return
    _registered = True
    import atexit

    atexit.register(stop_recording)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork,
            # No Python code: what is to happen later would happen in it.
            after_in_parent=_core._recording_after_fork_parent,
            after_in_child=_after_fork_in_child,
        )


def _before_fork() -> None:
    # A program of one thread must not be told that it has two. In others the warning comes in any case, and only the
    # main thread can be asked to do something later.
    later = False
    if _RESUME_LATER:
        import threading

        later = threading.current_thread() is threading.main_thread()
    _core._recording_before_fork(later)


def _after_fork_in_child() -> None:
    global _multiprocessing_registered
    _core._recording_after_fork_child()
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _multiprocessing_registered:
        # A process of multiprocessing forgets what its parent had to do at its end, does this, and ends by os._exit().
        _multiprocessing_registered = True
        util.register_after_fork(_after_fork_in_child, _finish_with_multiprocessing)


def _finish_with_multiprocessing(_: object) -> None:
    from multiprocessing.util import Finalize

    Finalize(None, stop_recording, exitpriority=-100)
