# SPDX-License-Identifier: MIT
"""The data of the flame graph page: gzip of a length, a header in JSON, and columns of numbers.

    u32 length of the header | header (JSON, UTF-8) | column | column | ...

A column is an array of u32 or of doubles, its first bytes together, then its second bytes, and so on: bytes that are
alike stand side by side, which is what gzip is good at. header["columns"] lists (name, kind, length) in their order.
Doubles keep 32 bits of their mantissa, variances 20: whole numbers up to 8 GiB stay exact, the rest is as good as
anybody can read it. web/src/decode.ts is the reader.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
from array import array
from typing import Any, Dict, List, Sequence, Tuple, Union

from mprofile._files import compress

__all__ = ["FULL", "ROUGH", "Columns", "pack"]

#: Masks of the doubles' bits that are kept.
FULL = ~((1 << 20) - 1) & (1 << 64) - 1
ROUGH = ~((1 << 32) - 1) & (1 << 64) - 1


class Columns:
    """Columns of numbers, in the order they were added."""

    def __init__(self) -> None:
        self.index: List[Tuple[str, str, int]] = []
        self.parts: List[bytes] = []

    def whole(self, name: str, numbers: Sequence[int]) -> None:
        """Add whole numbers from 0 to 2^32 - 1."""
        self._add(name, "u32", array("I", numbers))

    def doubles(self, name: str, numbers: Sequence[float], mask: int) -> None:
        """Add numbers without the bits of their doubles that `mask` has not."""
        self._add(name, "f64", array("d", numbers), mask)

    def _add(self, name: str, kind: str, numbers: Union[array[int], array[float]], mask: int = -1) -> None:
        if sys.byteorder == "big":
            numbers.byteswap()
        data = numbers.tobytes()
        self.index.append((name, kind, len(numbers)))
        for i in range(numbers.itemsize):
            plane = data[i :: numbers.itemsize]
            kept = mask >> 8 * i & 255
            if kept != 255:
                plane = plane.translate(bytes(byte & kept for byte in range(256)))
            self.parts.append(plane)


def pack(header: Dict[str, Any], columns: Columns) -> str:
    """Return the data as base64."""
    text = json.dumps(dict(header, columns=columns.index), separators=(",", ":"), allow_nan=False).encode("ascii")
    data = compress(b"".join([struct.pack("<I", len(text)), text, *columns.parts]))
    return base64.b64encode(data).decode("ascii")
