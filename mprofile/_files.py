# SPDX-License-Identifier: MIT
"""Profile files: written whole or not at all, read within bounds.

WRITING To a temporary file beside the target, which is synced and renamed over it. A profile may hold names from the
        program, so only its owner can read it. The temporary file is created anew (O_EXCL), so nobody can have put a
        link in its place; a link that stands at the target is replaced, not followed. What is not a regular file
        (a pipe, /dev/stdout) is written to as it is.
READING A few kilobytes of gzip can stand for gigabytes: decompression stops at the limit.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Union

    StrPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

__all__ = ["compress", "name_of", "read_file", "write_file"]

_STEP = 1 << 20


def name_of(path_or_file: Any) -> str:
    """Return how an error message names the file."""
    if isinstance(path_or_file, (str, bytes, os.PathLike)):
        return os.fsdecode(path_or_file)
    name = getattr(path_or_file, "name", None)
    return name if isinstance(name, str) else repr(path_or_file)


def compress(data: bytes) -> bytes:
    """Return ``data`` as a gzip file that says neither its name nor its time: equal data give equal files."""
    import zlib

    compressor = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def write_file(path_or_file: Union[StrPath, IO[bytes]], data: bytes) -> None:
    """Write ``data`` to a path or to an object with a write() method. OSError names the path it was given."""
    if not isinstance(path_or_file, (str, bytes, os.PathLike)):
        path_or_file.write(data)
        return
    path = os.fsdecode(path_or_file)
    try:
        if _is_stream(path):
            with open(path, "wb") as file:
                file.write(data)
        else:
            _replace(path, data)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, path) from None


def _is_stream(path: str) -> bool:
    """Whether the path is something to write into, not to put a new file at."""
    if os.path.abspath(path).startswith(("/dev/", "/proc/")):
        return os.path.exists(path)
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode))


def _replace(path: str, data: bytes) -> None:
    directory, name = os.path.split(path)
    # The beginning of the name tells whose it is if a crash leaves it; the rest keeps it under NAME_MAX bytes.
    temporary = os.path.join(directory, ".%s.%d.%s.tmp" % (name[:40], os.getpid(), os.urandom(8).hex()))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o600)
    try:
        try:
            view = memoryview(data)
            while len(view):
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise


def read_file(path_or_file: Union[StrPath, IO[bytes]], limit: int) -> bytes:
    """Return the bytes of a file, out of gzip if it is in it.

    limit: most bytes to read and most bytes to return. ValueError if there are more or the gzip is damaged.
    """
    if isinstance(path_or_file, (str, bytes, os.PathLike)):
        with open(path_or_file, "rb") as file:
            data = file.read(limit + 1)
    else:
        data = path_or_file.read(limit + 1)
    if not isinstance(data, bytes):
        raise TypeError("%s must be open for reading bytes, not %s" % (name_of(path_or_file), type(data).__name__))
    if len(data) > limit:
        raise ValueError("%s: larger than the limit of %d bytes" % (name_of(path_or_file), limit))
    return _decompress(path_or_file, data, limit) if data[:2] == b"\x1f\x8b" else data


def _decompress(path_or_file: Any, data: bytes, limit: int) -> bytes:
    import zlib

    parts = []
    room = limit
    rest = data
    while rest.strip(b"\0"):  # a gzip file is one member or more; zeros may follow the last
        stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not stream.eof:
            try:
                part = stream.decompress(rest, min(room + 1, _STEP))
            except zlib.error as error:
                raise ValueError("%s: damaged gzip: %s" % (name_of(path_or_file), error)) from None
            rest = stream.unconsumed_tail
            room -= len(part)
            if room < 0:
                raise ValueError(
                    "%s: larger than the limit of %d bytes when decompressed" % (name_of(path_or_file), limit)
                )
            if not part and not rest and not stream.eof:
                raise ValueError("%s: damaged gzip: it ends too early" % name_of(path_or_file))
            parts.append(part)
        rest = stream.unused_data
    return b"".join(parts)
