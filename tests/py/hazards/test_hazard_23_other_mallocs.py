# SPDX-License-Identifier: MIT
"""Hazard 23: thread-local storage, which is short. The preloaded allocators themselves are in
tests/integration/test_preload.py, musl's library in tools/test_arch.py."""

from __future__ import annotations

import os
import platform
import struct
import sys
from typing import List

import pytest
from harness import compile_c, finish, run, start

#: Bytes that glibc keeps for libraries that are loaded late are a few hundred or thousand, for all of them together.
MOST = 64

glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc",
    reason="needs glibc, which keeps some static storage for late libraries",
)


def thread_local_sizes(path: str) -> List[int]:
    """Of an ELF file: sizes of its PT_TLS segments."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:4] == b"\x7fELF"
    wide = data[4] == 2
    order = "<" if data[5] == 1 else ">"
    if wide:
        (table,) = struct.unpack_from(order + "Q", data, 32)
        step, count = struct.unpack_from(order + "HH", data, 54)
    else:
        (table,) = struct.unpack_from(order + "I", data, 28)
        step, count = struct.unpack_from(order + "HH", data, 42)
    sizes = []
    for place in range(table, table + step * count, step):
        (kind,) = struct.unpack_from(order + "I", data, place)
        if kind == 7:
            sizes.append(struct.unpack_from(order + ("Q" if wide else "I"), data, place + (40 if wide else 20))[0])
    return sizes


@pytest.mark.skipif("TESTS_SANITIZED" in os.environ, reason="the sanitizers add thread-local storage of their own")
def test_hazard_23_little_thread_local_storage() -> None:
    """A countdown and a pointer or two. All else that a thread has is reached through them."""
    from mprofile import _core

    sizes = thread_local_sizes(_core.__file__)
    assert len(sizes) == 1 and 0 < sizes[0] <= MOST, sizes


#: take(): how many of these libraries could be loaded.
TAKE = """
import ctypes, os, sys
def take(paths):
    taken = 0
    for path in paths:
        try:
            ctypes.CDLL(path)
        except OSError as error:
            assert "static TLS" in str(error), error
        else:
            taken += 1
    return taken
"""


def libraries(directory: str) -> List[str]:
    """Many that take a lot, and many that take a little."""
    paths = []
    for size, count in ((512, 8), (64, 16), (8, 64)):
        for number in range(count):
            path = os.path.join(directory, "take{}-{}.so".format(size, number))
            if number == 0:
                compile_c("statictls.c", path, "-fPIC", "-shared", "-DSIZE={}".format(size))
            else:
                with open(os.path.join(directory, "take{}-0.so".format(size)), "rb") as file:
                    data = file.read()
                with open(path, "wb") as file:
                    file.write(data)
            paths.append(path)
    return paths


@glibc
def test_hazard_23_a_program_whose_libraries_left_a_little(tmp_path: object) -> None:
    """All but some 500 bytes of the storage for late libraries is taken: there is room for us."""
    large = [path for path in libraries(str(tmp_path)) if "take512" in path]
    code = TAKE + (
        "taken = take(sys.argv[1:])\n"
        "import mprofile\n"
        "mprofile.start()\n"
        "kept = bytearray(5002)\n"
        "print(1 <= taken < len(sys.argv) - 1, len(mprofile.take_snapshot().traces) > 0)\n"
    )
    assert run(code, arguments=large) == "True True\n"


@glibc
def test_hazard_23_a_program_whose_libraries_took_all(tmp_path: object) -> None:
    """Then the import says so, as of any such library, and the program goes on."""
    paths = libraries(str(tmp_path))
    code = TAKE + (
        "taken = take(sys.argv[1:])\n"
        "assert taken < len(sys.argv) - 1\n"
        "try:\n"
        "    import mprofile\n"
        "except ImportError as error:\n"
        "    assert 'static TLS' in str(error), error\n"
        "    print('told')\n"
        "print('runs on', sum(range(1000)))\n"
    )
    out = finish(start([sys.executable, "-c", code, *paths]))
    assert out == "told\nruns on 499500\n"
