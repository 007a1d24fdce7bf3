# SPDX-License-Identifier: MIT
"""Heap profiles as another program might write them: any names, any stacks, any figures."""

from __future__ import annotations

import gzip
import random
from typing import Dict, List, NamedTuple, Sequence, Tuple


class Call(NamedTuple):
    name: str
    filename: str = "/srv/app/main.py"
    line: int = 1
    first: int = 1


class Sample(NamedTuple):
    """calls: oldest first. size: of one block. counts: blocks allocated and in use, estimates."""

    calls: Tuple[Call, ...]
    size: int
    allocated: int
    inuse: int


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: object) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    assert isinstance(value, bytes)
    return varint(number << 3 | 2) + varint(len(value)) + value


def make_pprof(samples: Sequence[Sample], rate: int = 1, comments: Sequence[str] = ()) -> bytes:
    strings: Dict[str, int] = {"": 0}
    functions: Dict[Tuple[str, str, int], int] = {}
    locations: Dict[Call, int] = {}
    known: Dict[int, bytes] = {}  # by id, which is quicker to look up: `samples` keeps the calls
    tables: List[bytes] = []
    out: List[bytes] = []

    def string(text: str) -> int:
        return strings.setdefault(text, len(strings))

    def location(call: Call) -> int:
        number = locations.get(call)
        if number is None:
            key = (call.name, call.filename, call.first)
            if key not in functions:
                functions[key] = len(functions) + 1
                parts = field(1, functions[key]) + field(2, string(call.name)) + field(3, string(call.name))
                tables.append(field(5, parts + field(4, string(call.filename)) + field(5, call.first)))
            number = locations[call] = len(locations) + 1
            line = field(1, functions[key]) + field(2, call.line)
            tables.append(field(4, field(1, number) + field(4, line)))
        return number

    def place(call: Call) -> bytes:
        text = known.get(id(call))
        if text is None:
            text = known[id(call)] = varint(location(call))
        return text

    kinds = (("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes"))
    for kind, unit in kinds:
        out.append(field(1, field(1, string(kind)) + field(2, string(unit))))
    for sample in samples:
        places = b"".join([place(call) for call in reversed(sample.calls)])
        numbers = (sample.allocated, sample.allocated * sample.size, sample.inuse, sample.inuse * sample.size)
        values = b"".join(varint(number) for number in numbers)
        label = field(1, string("bytes")) + field(3, sample.size)
        out.append(field(2, field(1, places) + field(2, values) + field(3, label)))
    out.extend(tables)
    out.append(field(11, field(1, string("space")) + field(2, string("bytes"))) + field(12, rate))
    out.extend(field(13, string(comment)) for comment in comments)
    out.extend(field(6, text.encode("utf-8")) for text in strings)
    return gzip.compress(b"".join(out), 1)


def web_server(count: int) -> List[Sample]:
    """Stacks as of a web server, always the same: 10 to 30 frames, many functions, a few large groups, a long tail."""
    chance = random.Random(3)
    places = ("/srv/app/.venv/lib/python3.11/site-packages/", "/srv/app/")
    functions = [
        Call(f"Service{i % 40}.method_{i}", f"{places[i % 3 == 0]}pkg{i % 25}/mod{i % 200}.py", 5, 3)
        for i in range(4000)
    ]
    callees = [[chance.randrange(4000) for _ in range(3)] for _ in range(4000)]
    stacks: Dict[Tuple[int, ...], None] = {}
    while len(stacks) < count:
        f = 0
        stack = []
        for _ in range(10 + int(20 * chance.random())):
            stack.append(f)
            f = callees[f][int(3 * chance.random() ** 2)]
        stacks[tuple(stack)] = None
    samples = []
    for one in stacks:
        allocated = 1 + int(40 * chance.paretovariate(1.1))
        block = chance.choice([64, 120, 5000])
        samples.append(Sample(tuple([functions[f] for f in one]), block, allocated, max(1, allocated // 3)))
    return samples
