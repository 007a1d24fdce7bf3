# SPDX-License-Identifier: MIT
"""Hazard 15: names of files and functions as they come."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import pytest
from harness import blocks, finish, isolated, recording, run, start

NAMES = [
    "",
    "<string>",
    "<stdin>",
    "<frozen importlib._bootstrap>",
    "plain.py",
    "caf\xe9.py",
    "\u65e5\u672c\u8a9e.py",
    "\U0001f40d.py",
    "lone high \ud800 surrogate",
    "lone low \udfff surrogate",
    "pair out of order \udc00\ud800",
    "not UTF-8: \udcff\udc80.py",
    "nul \0 inside",
    "new\nline\ttab",
    "a" * 3000,
]


def renamed(code: types.CodeType, filename: str, name: str) -> types.CodeType:
    if sys.version_info >= (3, 11):
        return code.replace(co_filename=filename, co_name=name, co_qualname=name)
    if sys.version_info >= (3, 8):
        return code.replace(co_filename=filename, co_name=name)
    arguments: Any = [code.co_argcount, code.co_kwonlyargcount, code.co_nlocals, code.co_stacksize, code.co_flags]
    arguments += [code.co_code, code.co_consts, code.co_names, code.co_varnames, filename, name, code.co_firstlineno]
    return types.CodeType(*arguments, code.co_lnotab, code.co_freevars, code.co_cellvars)


def template() -> bytearray:
    return bytearray(5002)


@pytest.mark.parametrize("rate", [0, 2])
@isolated
def test_hazard_15_names_come_back_as_they_were(rate: int) -> None:
    """As a file and as a function, in a trace and in get_object_traceback()."""
    from mprofile import _core

    line = template.__code__.co_firstlineno + 1
    kept = []
    wanted = []
    with recording(sample_rate=rate):
        for name in NAMES:
            for filename, function_name in ((name, "plain"), ("plain.py", name)):
                made = types.FunctionType(renamed(template.__code__, filename, function_name), globals())()
                frames = _core._get_object_traceback(made)  # the bytearray itself was made in the same line
                assert frames is not None and frames[0] == (filename, line)
                kept.append(made)
                wanted.append((filename, line, function_name or None))
        assert sorted(map(repr, wanted)) == sorted(repr(block.frames[0]) for block in blocks(5003))


@isolated
def test_hazard_15_names_survive_a_profile_file() -> None:
    """Written and read again. A profile is UTF-8: what cannot be said in it is escaped, and nothing else changes."""
    import mprofile

    kept = []
    with recording():
        for name in NAMES:
            kept.append(types.FunctionType(renamed(template.__code__, name, "plain"), globals())())
        snapshot = mprofile.take_snapshot()
    path = os.path.join(os.environ["HAZARD_MODULES"], "names-{}.pb.gz".format(os.getpid()))
    snapshot.write_pprof(path)
    again = mprofile.read_pprof(path)
    os.unlink(path)
    found = {trace.traceback[-1].filename for trace in again.traces if trace.size in (5003, 5035)}
    for name in NAMES:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            continue
        assert (name or "<unknown>") in found or name in found, name
    assert len(found) == len(NAMES)


def test_hazard_15_python_c_is_on_the_stack() -> None:
    """`python -c`: a file name that begins with `<` belongs to the stack like any other."""
    out = run(
        "from mprofile import _core\n"
        "_core.start(128, 0)\n"
        "def make():\n"
        "    return bytearray(5002)\n"
        "kept = make()\n"
        "print([(f[0], f[1], f.name) for t in _core._get_traces() if t[1] in (5003, 5035) for f in t[2]])\n"
    )
    assert out.strip() == "[('<string>', 4, 'make'), ('<string>', 5, '<module>')]"


def test_hazard_15_program_on_stdin_and_frozen_modules() -> None:
    out = run(
        "from mprofile import _core\n"
        "_core.start(128, 0)\n"
        "import json.tool\n"
        "files = {f[0] for t in _core._get_traces() for f in t[2]}\n"
        "print('<frozen importlib._bootstrap>' in files, '<string>' in files, '<unknown>' in files)\n"
    )
    assert out.split()[:2] == ["True", "True"]


def test_hazard_15_a_path_that_is_not_utf8() -> None:
    """A program and a module in a directory whose name is no UTF-8 (file systems allow all bytes but / and NUL)."""
    import shutil
    import tempfile

    root = tempfile.mkdtemp().encode()
    try:
        directory = os.path.join(root, b"d\xff\xfe")
        try:
            os.mkdir(directory)
        except OSError as error:
            pytest.skip("this file system takes no such name: {}".format(error))
        with open(os.path.join(directory, b"main.py"), "w") as file:
            file.write(
                "from mprofile import _core\n"
                "_core.start(128, 0)\n"
                "kept = bytearray(5002)\n"
                "names = {f[0] for t in _core._get_traces() if t[1] in (5003, 5035) for f in t[2]}\n"
                "print(names == {__file__}, ascii(__file__[-12:]))\n"
            )
        program = os.fsdecode(os.path.join(directory, b"main.py"))
        out = finish(start([sys.executable, program], LC_ALL="C.UTF-8"))
    finally:
        shutil.rmtree(root)
    assert out == "True 'd\\udcff\\udcfe/main.py'\n".replace("'d", "'/d")
