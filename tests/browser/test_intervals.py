# SPDX-License-Identifier: MIT
"""The page's intervals (web/src/intervals.ts) are those of mprofile/intervals.py."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from typing import Any, List

import pytest

from mprofile import intervals

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(scope="module")
def module(tmp_path_factory: Any) -> str:
    """The source as the page has it, its types taken off."""
    target = str(tmp_path_factory.mktemp("web") / "intervals.js")
    build = os.path.join(ROOT, "web", "build.py")
    work = os.path.join(ROOT, "build", "web")
    subprocess.run([sys.executable, build, "--module", "intervals.ts", "--work", work, target], check=True, timeout=120)
    with open(target, encoding="utf-8") as file:
        return file.read()


def cases() -> List[List[float]]:
    """Figures of groups: rate, estimate of bytes and of blocks, their variances, bytes seen, samples, pooled weight."""
    chance = random.Random(11)
    found: List[List[float]] = []
    for _ in range(600):
        rate = chance.choice([0.0, 1.0, 2.0, 1000.0, 131072.0, 524288.0])
        pooled = chance.choice([0.0, 1.5, 900.0])
        size_e = blocks_e = size_v = blocks_v = seen = 0.0
        samples = chance.choice([0, 1, 2, 3, 10, 40, 1000])
        for _ in range(samples):
            size = chance.choice([1, 64, 5000, 10**6, 10**8])
            p = -math.expm1(-size / max(rate, 1e-9))
            size_e += size / p
            blocks_e += 1 / p
            size_v += size * size * (1 - p) / (p * p)
            blocks_v += (1 - p) / (p * p)
            seen += size
        found.append([rate, size_e, blocks_e, size_v, blocks_v, seen, samples, pooled])
    return found


def test_they_agree(browser: Any, module: str) -> None:
    browser.get("about:blank")
    given = cases()
    script = module + (
        ";return JSON.stringify(JSON.parse(arguments[0]).map(([rate, b, c, vb, vc, seen, n, pooled]) => ["
        "...mprofile.sizeInterval(b, vb, n, seen, rate), ...mprofile.countInterval(c, vc, n, rate, pooled),"
        "...mprofile.sizeDifferenceInterval(b - 1000, vb, n, rate),"
        "...mprofile.countDifferenceInterval(c - 50, vc, n, rate, pooled)]))"
    )
    got = json.loads(browser.execute_script(script, json.dumps(given)))
    for figures, numbers in zip(given, got):
        rate, b, c, vb, vc, seen, n, pooled = figures
        samples = int(n)
        expected = [
            *intervals.size_interval(b, vb, samples, seen, rate),
            *intervals.count_interval(c, vc, samples, rate, pooled),
            *intervals.difference_interval(b - 1000, vb, samples, rate),
            *intervals.count_difference_interval(c - 50, vc, samples, rate, pooled),
        ]
        assert numbers == pytest.approx(expected, rel=1e-9, abs=1e-6), figures
