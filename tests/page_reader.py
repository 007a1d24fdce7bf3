# SPDX-License-Identifier: MIT
"""Reads the data out of a page, as the page's own script does (web/src/decode.ts)."""

from __future__ import annotations

import base64
import gzip
import json
import re
import struct
from typing import Any, Dict, List, NamedTuple, Tuple


class Content(NamedTuple):
    header: Dict[str, Any]
    columns: Dict[str, List[float]]

    def name(self, function: int) -> str:
        text: str = self.header["names"][int(self.columns["function_name"][function])]
        return text

    def stacks(self) -> Dict[Tuple[Tuple[str, int], ...], List[float]]:
        """Figures of each stack, by names and lines, oldest first."""
        columns = self.columns
        paths: List[Tuple[Tuple[str, int], ...]] = []
        path: List[Tuple[str, int]] = []
        for depth, site in zip(columns["node_depth"], columns["node_site"]):
            if depth:
                del path[int(depth) - 1 :]
                function = int(columns["site_function"][int(site)])
                path.append((self.name(function), int(columns["site_line"][int(site)])))
            paths.append(tuple(path))
        names = [name for name, _, _ in self.header["columns"] if name.startswith("stack.")]
        result: Dict[Tuple[Tuple[str, int], ...], List[float]] = {}
        for i, node in enumerate(columns["stack_node"]):
            assert paths[int(node)] not in result
            result[paths[int(node)]] = [columns[name][i] for name in names]
        return result

    def functions(self) -> Dict[str, List[float]]:
        """Flat, then cumulative figures of each function, by its name."""
        names = [name for name, _, _ in self.header["columns"] if name.startswith("table.")]
        return {
            self.name(int(function)): [self.columns[name][i] for name in names]
            for i, function in enumerate(self.columns["table_function"])
        }


def read_page(page: str) -> Content:
    found = re.findall(r'<script type="text/plain" id="data">([A-Za-z0-9+/=]+)</script>', page)
    assert len(found) == 1
    return unpack(found[0])


def unpack(text: str) -> Content:
    data = gzip.decompress(base64.b64decode(text))
    (length,) = struct.unpack_from("<I", data)
    header = json.loads(data[4 : 4 + length].decode("ascii"))
    offset = 4 + length
    columns: Dict[str, List[float]] = {}
    for name, kind, count in header["columns"]:
        size = {"u32": 4, "f64": 8}[kind]
        planes = [data[offset + i * count : offset + (i + 1) * count] for i in range(size)]
        numbers = b"".join(bytes(one) for one in zip(*planes))
        columns[name] = list(struct.unpack("<%d%s" % (count, {"u32": "I", "f64": "d"}[kind]), numbers))
        offset += size * count
    assert offset == len(data)
    return Content(header, columns)
