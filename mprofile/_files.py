# SPDX-License-Identifier: MIT
"""Profile files: written whole or not at all, read within bounds.

WRITING To a temporary file beside the target, which is synced and renamed over it. A profile may hold names from the
        program, so only its owner can read it. The temporary file is created anew (O_EXCL), so nobody can have put a
        link in its place; a link that stands at the target is replaced, not followed. What is not a regular file
        (a pipe, /dev/stdout) is written to as it is, but not one that somebody else has planted.
READING A few kilobytes of gzip can stand for gigabytes, and a few megabytes for a hundred thousand members:
        decompression stops at the limit, and takes time in proportion.
"""

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Union

    StrPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

__all__ = ["compress", "is_file_name", "name_of", "read_file", "write_file"]

#: Bytes given to zlib, and taken from it, at a time.
_PIECE = 4 << 10
_STEP = 1 << 20

#: Directories below /dev that anybody may write to.
_SHARED = ("/dev/shm/", "/dev/mqueue/")


def name_of(path_or_file: "Any") -> str:
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


def write_file(path_or_file: "Union[StrPath, IO[bytes]]", data: bytes) -> None:
    """Write ``data`` to a path or to an object with a write() method. OSError names the path it was given."""
    if not isinstance(path_or_file, (str, bytes, os.PathLike)):
        path_or_file.write(data)
        return
    path = os.fsdecode(path_or_file)
    try:
        if is_file_name(path):
            _replace(path, data)
        else:
            with _open_stream(path) as file:
                file.write(data)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, path) from None


def _is_the_systems(path: str) -> bool:
    """Whether the path leads through the system's own links, such as /dev/stdout, which are to be followed."""
    absolute = os.path.abspath(path)
    return absolute.startswith(("/dev/", "/proc/")) and not absolute.startswith(_SHARED)


def is_file_name(path: "StrPath") -> bool:
    """Whether a file can be put at a path, in place of what is there. Else it is something to write into."""
    name = os.fsdecode(path)
    if _is_the_systems(name):
        return not os.path.exists(name)
    try:
        mode = os.lstat(name).st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _open_stream(path: str) -> "IO[bytes]":
    """Open a pipe or a device to write into. OSError if it has become a link or a file meanwhile, or if it is in a
    directory that all share, such as /tmp, and somebody else has put it there to be sent what is written."""
    if _is_the_systems(path):
        return open(path, "wb")
    directory = os.stat(os.path.dirname(os.path.abspath(path)))
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    status = os.fstat(descriptor)
    shared = directory.st_mode & stat.S_ISVTX and directory.st_mode & stat.S_IWOTH
    foreign = shared and status.st_uid not in (os.geteuid(), directory.st_uid)
    if foreign or stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        import errno

        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return os.fdopen(descriptor, "wb")


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


def read_file(path_or_file: "Union[StrPath, IO[bytes]]", limit: int) -> bytes:
    """Return the bytes of a file, out of gzip if it is in it.

    limit: most bytes to read and most bytes to return. ValueError if there are more or the gzip is damaged.
    """
    if isinstance(path_or_file, (str, bytes, os.PathLike)):
        with open(path_or_file, "rb") as file:
            data = _read(path_or_file, file, limit)
    else:
        data = _read(path_or_file, path_or_file, limit)
    return _decompress(path_or_file, data, limit) if data[:2] == b"\x1f\x8b" else data


def _read(path_or_file: "Any", file: "IO[bytes]", limit: int) -> bytes:
    """All of a file. In steps: to be asked for so much at once it would make room for the limit first."""
    import io

    out = io.BytesIO()
    while True:
        part = file.read(min(_STEP, limit + 1 - out.tell()))
        if not isinstance(part, bytes):
            raise TypeError("%s must be open for reading bytes, not %s" % (name_of(path_or_file), type(part).__name__))
        if not part:
            return out.getvalue()
        out.write(part)
        if out.tell() > limit:
            raise ValueError("%s: larger than the limit of %d bytes" % (name_of(path_or_file), limit))


def _decompress(path_or_file: "Any", data: bytes, limit: int) -> bytes:
    """What is in the members of a gzip file; zeros may follow each. In time linear in what goes in and comes out:
    what a member leaves is copied, so it is given little at a time."""
    import io
    import zlib

    out = io.BytesIO()
    room = limit
    stream: "Any" = None
    rest = b""
    position = 0
    while True:
        if not rest:
            rest = data[position : position + _PIECE]
            position += len(rest)
        if stream is None:
            rest = rest.lstrip(b"\0")
            if not rest and position >= len(data):
                return out.getvalue()
            if not rest:
                continue
            stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            part = stream.decompress(rest, min(room + 1, _STEP))
        except zlib.error as error:
            raise ValueError("%s: damaged gzip: %s" % (name_of(path_or_file), error)) from None
        room -= len(part)
        if room < 0:
            raise ValueError("%s: larger than the limit of %d bytes when decompressed" % (name_of(path_or_file), limit))
        out.write(part)
        if stream.eof:
            rest = stream.unused_data
            stream = None
            continue
        rest = stream.unconsumed_tail
        if not part and not rest and position >= len(data):
            raise ValueError("%s: damaged gzip: it ends too early" % name_of(path_or_file))
