# SPDX-License-Identifier: MIT
"""MPROFILERATE and MPROFILEFRAMES: each case in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = "import mprofile as m; print(m.is_tracing(), m.get_sample_rate(), m.get_traceback_limit())"


def run(**variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MPROFILE")}
    environment.update(variables)
    result = subprocess.run(
        [sys.executable, "-c", CODE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=environment,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result


@pytest.mark.parametrize(
    "rate, frames, output",
    [
        ("131072", "", "True 131072 128"),
        ("128K", "", "True 131072 128"),
        ("512KiB", "25", "True 524288 25"),
        (" 1.5MiB ", " 1 ", "True 1572864 1"),
        ("0", "", "True 0 128"),
        ("1", "65535", "True 1 65535"),
    ],
)
def test_values_that_start_it(rate: str, frames: str, output: str) -> None:
    result = run(MPROFILERATE=rate, MPROFILEFRAMES=frames)
    assert (result.stdout, result.stderr) == (output + "\n", "")


def test_frames_alone_start_nothing() -> None:
    for variables in (
        {},
        {"MPROFILEFRAMES": "25"},
        {"MPROFILEFRAMES": "many"},
        {"MPROFILERATE": ""},
        {"MPROFILERATE": " "},
    ):
        result = run(**variables)
        assert (result.stdout.split()[0], result.stderr) == ("False", "")


@pytest.mark.parametrize(
    "rate, frames, parts",
    [
        ("often", "", ["MPROFILERATE='often'", "like 131072, 128K, 512KiB"]),
        ("-1", "", ["MPROFILERATE='-1'", "like 131072"]),
        ("2T", "", ["MPROFILERATE='2T'", "[0; 1099511627776]"]),
        ("9999999T", "", ["MPROFILERATE='9999999T'", "below 2^62"]),
        ("128K", "0", ["MPROFILEFRAMES='0'", "from 1 to 65535"]),
        ("128K", "65536", ["MPROFILEFRAMES='65536'", "from 1 to 65535"]),
        ("128K", "all", ["MPROFILEFRAMES='all'", "from 1 to 65535"]),
        ("128K", "1.5", ["MPROFILEFRAMES='1.5'", "from 1 to 65535"]),
    ],
)
def test_values_that_are_no_good(rate: str, frames: str, parts: "list[str]") -> None:
    result = run(MPROFILERATE=rate, MPROFILEFRAMES=frames)
    assert result.stdout.split()[0] == "False"
    assert result.stderr.startswith("mprofile: ") and result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr
