# SPDX-License-Identifier: MIT
"""Reads what the peers write: enough of profile.proto to sum the values of its samples by the file of their last call.

Not mprofile's own reader: programs run where no mprofile is, or another one.
"""

from __future__ import annotations

import gzip
from typing import Dict, Iterator, List, Tuple, Union

Field = Tuple[int, Union[int, bytes]]


def varint(data: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data: bytes) -> Iterator[Field]:
    """(number, value) of a message's fields; fixed32 and fixed64 are passed over."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
            yield key >> 3, value
        elif kind == 2:
            size, at = varint(data, at)
            yield key >> 3, data[at : at + size]
            at += size
        else:
            at += 8 if kind == 1 else 4


def numbers(message: bytes, wanted: int) -> List[int]:
    """A repeated integer, packed or not."""
    found = []
    for number, value in fields(message):
        if number == wanted and isinstance(value, int):
            found.append(value)
        elif number == wanted:
            at = 0
            while at < len(value):  # type: ignore[arg-type]
                one, at = varint(value, at)  # type: ignore[arg-type]
                found.append(one)
    return found


def messages(data: bytes, wanted: int) -> List[bytes]:
    return [value for number, value in fields(data) if number == wanted and isinstance(value, bytes)]


def number(message: bytes, wanted: int) -> int:
    found = numbers(message, wanted)
    return found[-1] if found else 0


def by_file(data: bytes) -> Dict[str, Dict[str, int]]:
    """Sample type -> file of the innermost frame -> sum. `data` is unpacked."""
    strings = [text.decode("utf-8", "replace") for text in messages(data, 6)]
    types = [strings[number(message, 1)] for message in messages(data, 1)]
    files = {number(message, 1): strings[number(message, 4)] for message in messages(data, 5)}
    places = {}
    for message in messages(data, 4):
        lines = messages(message, 4)
        places[number(message, 1)] = files.get(number(lines[0], 1), "") if lines else ""
    sums: Dict[str, Dict[str, int]] = {name: {} for name in types}
    for sample in messages(data, 2):
        locations = numbers(sample, 1)
        place = places.get(locations[0], "") if locations else ""
        for name, value in zip(types, numbers(sample, 2)):
            sums[name][place] = sums[name].get(place, 0) + value
    return sums


def unpack(data: bytes) -> bytes:
    """gzip, zstd or neither."""
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        import zstandard

        unpacked: bytes = zstandard.ZstdDecompressor().stream_reader(data).read()
        return unpacked
    return data


def pushed(data: bytes) -> List[bytes]:
    """The profiles in a request that pushes them to a server: series, samples, raw profile."""
    found = []
    for series in messages(data, 1):
        for sample in messages(series, 2):
            found += [unpack(raw) for raw in messages(sample, 1)]
    return found
