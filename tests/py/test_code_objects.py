# SPDX-License-Identifier: MIT
"""What is read of a code object: its names (names.c), its lines (lines.c), and the object from the frame.

The probe of tests/py/ext compares every offset of a code object with PyCode_Addr2Line() in C. Tables that no compiler
makes are compared with a second parser, in Python, here.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import sys
import types
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator, List, Optional

import pytest

NOT_STARTED = 0xFFFFFFFF
VERSION = sys.version_info[:2]
# Offsets past the end of the code are compared too; debug builds assert that there are none.
BEYOND = 0 if hasattr(sys, "gettotalrefcount") else 10


# ---- names ------------------------------------------------------------------------------

TEXTS = [
    "",
    "a",
    "plain ascii",
    "x" * 5000,
    "\x00 zero \x7f",
    "\x80",
    "latin-1: \xe9\xff",
    "bmp: \u0800 \u20ac \uffff",
    "astral: \U00010000 \U0001f600 \U0010ffff",
    "mixed a\xe9\u20ac\U0001f600z",
    "\udcff lone \ud800 surrogates \udfff",
    "\udcff\U0001f600",
]


class Text(str):
    """A subclass keeps its characters outside the object."""


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
@pytest.mark.parametrize("kind", [str, Text])
def test_names_are_utf8_with_surrogates(probe: ModuleType, text: str, kind: type) -> None:
    encoded = text.encode("utf-8", "surrogatepass")
    assert probe.name_bytes(kind(text)) == (len(encoded), encoded)
    assert encoded.decode("utf-8", "surrogatepass") == text


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_names_are_cut_between_characters(probe: ModuleType, text: str) -> None:
    encoded = text.encode("utf-8", "surrogatepass")
    for size in range(min(len(encoded), 80) + 2):
        whole = b""
        for character in text:
            following = whole + character.encode("utf-8", "surrogatepass")
            if len(following) > size:
                break
            whole = following
        expected = whole.ljust(min(size, len(encoded)), b"?")
        assert probe.name_bytes(text, size) == (len(encoded), expected)


@pytest.mark.parametrize("other", [None, 3, b"bytes", ["a"], object()])
def test_what_is_no_str_has_no_name(probe: ModuleType, other: object) -> None:
    assert probe.name_bytes(other) == (0, b"")


def with_fields(code: types.CodeType, **fields: Any) -> types.CodeType:
    """code.replace() of 3.8, for 3.7 as well."""
    if sys.version_info >= (3, 8):
        return code.replace(**fields)
    keys = "argcount kwonlyargcount nlocals stacksize flags code consts names varnames filename"
    keys += " name firstlineno lnotab freevars cellvars"
    return types.CodeType(*(fields.get("co_" + k, getattr(code, "co_" + k)) for k in keys.split()))


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_names_of_frames(probe: ModuleType, text: str) -> None:
    def named() -> Any:
        return probe.capture(1)[0]

    fields = {"co_filename": text + ".py", "co_name": text}
    if VERSION >= (3, 11):
        fields["co_qualname"] = text
    named.__code__ = with_fields(named.__code__, **fields)
    assert named()[:2] == (text + ".py", text)


def test_code_that_never_dies(probe: ModuleType) -> None:
    def immortal() -> Any:
        return probe.capture(1)[0]

    mortal = immortal()
    probe.immortalize(immortal.__code__)  # from 3.14 on, a frame's reference to it is tagged
    assert immortal()[:4] == mortal[:4]


# ---- lines ------------------------------------------------------------------------------

MODULES = """
    abc argparse ast asyncio.base_events asyncio.tasks base64 bisect bz2 calendar cmd code
    codecs collections compileall concurrent.futures.thread configparser contextlib copy csv
    ctypes dataclasses datetime decimal difflib dis doctest email.message enum fractions ftplib
    functools gettext glob gzip heapq html.parser http.client inspect io ipaddress json.decoder
    locale logging lzma mailbox multiprocessing.pool numbers opcode optparse os pathlib pdb
    pickle platform plistlib pprint queue random re reprlib selectors shelve shlex shutil
    smtplib socket sqlite3 ssl statistics string subprocess tarfile tempfile textwrap threading
    timeit tokenize trace traceback typing unittest.case unittest.mock urllib.parse
    urllib.request uuid warnings weakref xml.etree.ElementTree zipfile
""".split()


def code_objects(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_objects(constant)


def module_code(name: str) -> Optional[types.CodeType]:
    try:
        spec = importlib.util.find_spec(name)
    except ImportError:
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return compile(Path(spec.origin).read_bytes(), spec.origin, "exec", dont_inherit=True)


def check_lines(probe: ModuleType, code: types.CodeType) -> int:
    """Compares every offset with PyCode_Addr2Line and co_lines(); counts "no line"."""
    assert probe.compare_lines(code, BEYOND) is None, code
    assert probe.line_of(code, NOT_STARTED) == code.co_firstlineno
    without = 0
    if sys.version_info >= (3, 10):
        for start, end, line in code.co_lines():
            without += line is None
            for offset in range(start, end):
                assert probe.line_of(code, offset) == (line or 0)
        assert probe.table(code) == code.co_linetable
    else:
        assert probe.table(code) == code.co_lnotab
    return without


def test_lines_of_the_standard_library(probe: ModuleType) -> None:
    dis = importlib.import_module("dis")
    modules = functions = without = starts = 0
    for name in MODULES:
        top = module_code(name)
        modules += top is not None
        for code in code_objects(top) if top is not None else ():
            functions += 1
            without += check_lines(probe, code)
            for offset, line in dis.findlinestarts(code):
                starts += 1
                assert probe.line_of(code, offset) == (line or 0)
    assert modules >= 50
    assert functions > 3000
    assert starts > 30000
    if VERSION >= (3, 11):
        assert without > 100  # cleanup code of the compiler has no line


def source_of_long_lines() -> str:
    """Byte deltas over 255 within one line, line deltas over 127 both ways."""
    lines = ["def big(x):"]
    for step in (1, 100, 126, 127, 128, 129, 254, 255, 256, 300, 1000, 40000):
        lines += [""] * step
        lines.append("    x = " + " + ".join(["x * {}".format(step)] * 90))
        lines.append("    x = (" + "\n" * step + "x(" + "\n" * step + "1,\n\n2))")
        lines.append("    for x in (" + "\n" * step + "x): pass")
    lines.append("    return x")
    return "\n".join(lines)


SOURCES = {
    "empty": "",
    "pass": "pass",
    "expression": "\n\n\n1",
    "long": source_of_long_lines(),
    "one line": "def f(x): return [" + ", ".join("x.a{}".format(i) for i in range(600)) + "]",
    "while": "def f():\n    while True:\n        try:\n            g()\n        finally:\n            h()\n",
    "with": "def f():\n    with a() as b, c() as d:\n        return 1\n",
    "async": "async def f():\n    async with a() as b:\n        async for c in d:\n            await e\n",
    "decorated": "@a\n@b(\n  1\n)\nclass C(\n  D\n):\n    @e\n    def f(self): return lambda: (yield)\n",
    "many constants": "x = [\n" + "\n".join("{}.5,".format(i) for i in range(2000)) + "\n]\n",
}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_lines_of_odd_sources(probe: ModuleType, name: str) -> None:
    for code in code_objects(compile(SOURCES[name], name, "exec")):
        check_lines(probe, code)


def test_long_sources_hold_the_deltas_that_they_are_for(probe: ModuleType) -> None:
    code = compile(SOURCES["long"], "long", "exec").co_consts[0]
    lines = [probe.line_of(code, offset) for offset in range(0, len(code.co_code), 2)]
    jumps = [after - before for before, after in zip(lines, lines[1:])]
    assert max(jumps) > 30000
    if VERSION >= (3, 8):  # 3.7 gives a call the line where it ends
        assert min(jumps) < -30000
    assert max(lines.count(line) for line in set(lines)) * 2 > 255


def test_lines_of_other_tables_and_first_lines(probe: ModuleType) -> None:
    field = "co_lnotab" if VERSION < (3, 10) else "co_linetable"
    codes = list(code_objects(compile(SOURCES["with"] + SOURCES["async"], "x", "exec")))
    for code in codes:
        for first in (0, 1, 77, 1 << 30):
            assert probe.compare_lines(with_fields(code, co_firstlineno=first), BEYOND) is None
        empty = with_fields(code, **{field: b""})
        assert probe.compare_lines(empty, BEYOND) is None
        assert probe.line_of(empty, 0) == (code.co_firstlineno if VERSION < (3, 10) else 0)


# The formats once more, in Python, for tables that no compiler makes.


def clean(line: int) -> int:
    line &= 0xFFFFFFFF
    return 0 if line > 0x7FFFFFFF else line


def signed_byte(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def twin_lnotab(table: bytes, first: int, end: int) -> List[int]:
    result: List[int] = []
    line = first
    for forward, delta in zip(table[::2], table[1::2]):
        result += [clean(line)] * forward
        line += signed_byte(delta)
    return (result + [clean(line)] * end)[:end]


def twin_linetable(table: bytes, first: int, end: int) -> List[int]:
    result: List[int] = []
    line = first
    for covered, delta in zip(table[::2], table[1::2]):
        line += signed_byte(delta) if delta != 128 else 0
        result += [clean(line) if delta != 128 else 0] * covered
    return (result + [0] * end)[:end]


def twin_locations(table: bytes, first: int, end: int) -> List[int]:
    result: List[int] = []
    line = first
    at = 0
    while at < len(table):
        kind = table[at] >> 3 & 15
        covered = 2 * ((table[at] & 7) + 1)
        if kind in (10, 11, 12):
            line += kind - 10
        elif kind in (13, 14):
            value = shift = 0
            for byte in table[at + 1 :]:
                value |= (byte & 63) << shift if shift < 32 else 0
                if not byte & 64 or shift > 36:
                    break
                shift += 6
            value &= 0xFFFFFFFF
            line += -(value >> 1) if value & 1 else value >> 1
        result += [clean(line) if kind != 15 else 0] * covered
        at += 1
        while at < len(table) and table[at] < 128:
            at += 1
    return (result + [0] * end)[:end]


TWINS = {"lnotab": twin_lnotab, "linetable": twin_linetable, "locations": twin_locations}


def varint(value: int) -> bytes:
    value = value * 2 if value >= 0 else -value * 2 + 1
    digits = [value & 63]
    while value >> 6:
        value >>= 6
        digits.append(value & 63)
    return bytes([digit | 64 for digit in digits[:-1]] + digits[-1:])


def random_table(rng: random.Random, form: str) -> bytes:
    """Well-formed, but with lengths and deltas that a compiler seldom chooses."""
    table = b""
    for _ in range(rng.randrange(12)):
        if form != "locations":
            table += bytes([rng.choice([0, 0, 1, 2, 254, 255]), rng.choice([0, 1, 127, 128, 255])])
            continue
        kind = rng.randrange(16)
        table += bytes([128 | kind << 3 | rng.randrange(8)])
        if kind in (13, 14):
            table += varint(rng.choice([0, 1, -1, 31, 32, -32, 5000, -5000, 2**24]))
        if kind < 10:
            table += bytes([rng.randrange(128)])
        elif kind in (10, 11, 12):
            table += bytes([rng.randrange(128), rng.randrange(128)])
        elif kind == 14:
            table += varint(rng.randrange(9)) + varint(rng.randrange(99)) + varint(rng.randrange(99))
    return table


@pytest.mark.parametrize("form", sorted(TWINS))
def test_parsers_agree_with_their_twins(probe: ModuleType, form: str) -> None:
    rng = random.Random(form)
    for number in range(4000):
        table = random_table(rng, form)
        if number % 4 == 1:
            table = table[: rng.randrange(len(table) + 1)]
        elif number % 4 == 2:
            table = bytes(rng.randrange(256) for _ in range(rng.randrange(30)))
        first = rng.choice([0, 1, 1000, 2**31 - 1, -5])
        end = rng.randrange(1, 700)
        assert probe.find_lines(form, table, first, end) == TWINS[form](table, first, end), table


def test_well_formed_random_tables_against_python(probe: ModuleType) -> None:
    form = "lnotab" if VERSION < (3, 10) else "linetable" if VERSION < (3, 11) else "locations"
    field = "co_lnotab" if VERSION < (3, 10) else "co_linetable"
    code = compile(SOURCES["one line"], "x", "exec").co_consts[0]
    rng = random.Random(7)
    for _ in range(300):
        table = random_table(rng, form)
        if form == "linetable":
            table += bytes([2, 0])  # Python reads on past entries of no bytes
        assert probe.compare_lines(with_fields(code, **{field: table}), BEYOND) is None, table
