# SPDX-License-Identifier: MIT
"""A short stress with a fixed seed; `make stress` is the long one, with another seed each time."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import List

import pytest

STRESS = pathlib.Path(__file__).resolve().parents[1] / "stress" / "stress.py"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seed", "4", "--seconds", "8"],
        ["--seed", "1", "--forks", "100"],
        ["--seed", "1", "--exits", "12"],
    ],
    ids=["mixture", "forks", "exits"],
)
def test_stress(arguments: List[str]) -> None:
    """Whatever order it comes in: what is known is recorded, nothing crashes or hangs, and profiles are whole."""
    done = subprocess.run(
        [sys.executable, str(STRESS), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
