# SPDX-License-Identifier: MIT
"""`mprofile report`: the table says what the profile holds."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
from typing import List

import pytest
from processes import MPROFILE
from reports_made import EXACT, made, report, rows_of, sampled, trace

from mprofile.profile import Profile
from mprofile.reports import table

# ---- an exact profile, figure by figure ----


def test_head(tmp_path: pathlib.Path) -> None:
    lines = report(made(tmp_path, EXACT)).stdout.splitlines()
    assert lines[0] == "program    server.py --port 8080"
    assert lines[1].startswith("recorded   ")
    assert lines[1].endswith("CPython 3.11.7, pid 4711, after 12.5 s")
    assert lines[2] == "sampling   none, every block was recorded"
    assert lines[3] == "in use       8.5 KiB in 515 blocks"


def test_by_line(tmp_path: pathlib.Path) -> None:
    done = report("--by", "line", made(tmp_path, EXACT))
    assert (done.returncode, done.stderr) == (0, "")
    assert rows_of(done.stdout) == [
        ["6.0 KiB", "70.6 %", "8.0 KiB", "94.1 %", "app.py:20"],
        ["2.0 KiB", "23.5 %", "2.0 KiB", "23.5 %", "json/decoder.py:30"],
        ["512 B", "5.9 %", "8.5 KiB", "100.0 %", "app.py:10"],
    ]


def test_by_file_and_count(tmp_path: pathlib.Path) -> None:
    done = report("--by", "file", "--sort", "count", made(tmp_path, EXACT))
    assert rows_of(done.stdout) == [
        ["513", "99.6 %", "515", "100.0 %", "app.py"],
        ["2", "0.4 %", "2", "0.4 %", "json/decoder.py"],
    ]


def test_by_stack(tmp_path: pathlib.Path) -> None:
    text = report("--by", "stack", "--limit", "2", made(tmp_path, EXACT)).stdout
    assert text.partition("by stack\n\n")[2] == (
        "  6.0 KiB, 70.6 %\n"
        "    app.py:10\n"
        "    app.py:20\n"
        "\n"
        "  2.0 KiB, 23.5 %\n"
        "    app.py:10\n"
        "    app.py:20\n"
        "    json/decoder.py:30\n"
        "\n"
        "  1 more with 512 B (5.9 %)\n"
    )


def test_limit(tmp_path: pathlib.Path) -> None:
    text = report("--by", "line", "--limit", "1", made(tmp_path, EXACT)).stdout
    assert len(rows_of(text)) == 1
    assert text.endswith("\n\n  2 more with 2.5 KiB (29.4 %)\n")


def test_nothing(tmp_path: pathlib.Path) -> None:
    done = report(made(tmp_path, []))
    assert done.returncode == 0
    assert done.stdout.endswith("\n\n  nothing\n")


def test_names_cannot_break_lines(tmp_path: pathlib.Path) -> None:
    done = report("--by", "line", made(tmp_path, [trace(5, ("evil\n\x1b[31m\udc80.py", 1))]))
    assert rows_of(done.stdout)[0][-1] == "evil\\n\\x1b[31m\\udc80.py:1"


# ---- a sampled profile ----


@pytest.mark.parametrize("by", ["line", "function", "file", "stack"])
@pytest.mark.parametrize("sort", ["inuse", "allocated", "peak", "count"])
def test_every_view_of_a_sampled_profile(tmp_path: pathlib.Path, by: str, sort: str) -> None:
    path = sampled(tmp_path)
    done = report("--by", by, "--sort", sort, path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "by {}, with 95 % intervals".format(by) in done.stdout
    order = table.SORTS[sort]
    top = max(Profile.read(path).rows(by), key=lambda row: order.value(row.flat))
    value = order.show(order.value(top.flat))
    interval = order.show_interval(order.interval(top.flat))
    if by == "stack":
        assert "  {} ({}), ".format(value, interval) in done.stdout
    else:
        assert rows_of(done.stdout)[0][:2] == [value, interval]


def test_intervals_hold_the_estimates(tmp_path: pathlib.Path) -> None:
    path = sampled(tmp_path)
    for row in Profile.read(path).rows("line"):
        low, high = row.flat.inuse.bytes_interval()
        assert low <= row.flat.inuse.bytes <= high
    assert re.search(r"in use +\d+\.\d [KM]iB \(\d+\.\d\.\.\d+\.\d [KM]iB\) in ", report(path).stdout)


# ---- formats ----


@pytest.mark.parametrize(
    "size, text",
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (1.5 * 1024**2, "1.5 MiB"),
        (999.9 * 1024**2, "999.9 MiB"),
        (2.0**50, "1024.0 TiB"),
    ],
)
def test_format_size(size: float, text: str) -> None:
    assert table.format_size(size) == text


def test_ranges_share_a_unit() -> None:
    assert table.size_range(100 * 1024, 1.5 * 1024**2) == "0.1..1.5 MiB"
    assert table.size_range(0, 700) == "0..700 B"
    assert table.count_range(12.4, 12345.6) == "12..12,346"


@pytest.mark.parametrize(
    "filename, directory, text",
    [
        ("/srv/app/app.py", "/srv/app", "app.py"),
        ("/srv/application.py", "/srv/app", "/srv/application.py"),
        ("/srv/app/.venv/lib/python3.8/site-packages/tornado/web.py", "/srv/app", "tornado/web.py"),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", "", "yaml/__init__.py"),
        ("/usr/lib/python3.13t/json/decoder.py", "", "json/decoder.py"),
        ("/opt/app/lib/python3.11/", "", "/opt/app/lib/python3.11/"),
        ("<frozen importlib._bootstrap>", "/srv/app", "<frozen importlib._bootstrap>"),
        ("", "", ""),
    ],
)
def test_short_names(filename: str, directory: str, text: str) -> None:
    assert table.short(filename, directory) == text


# ---- input and output ----


def test_standard_input(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, EXACT)
    with open(path, "rb") as file:
        done = report("-", stdin=file)
    assert done.stdout == report(path).stdout


def test_output_in_ascii(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, [trace(5, ("/srv/caf\u00e9.py", 1))])
    environment = dict(os.environ, PYTHONIOENCODING="ascii")
    done = report("--by", "line", path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows_of(done.stdout)[0][-1] == "/srv/caf\\xe9.py:1"


def test_reader_that_leaves(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, EXACT)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [MPROFILE, "report", path], stdout=write, stderr=subprocess.PIPE, universal_newlines=True, timeout=60
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    "words, parts",
    [
        ([], ["FILE"]),
        (["missing.pb.gz"], ["'missing.pb.gz'", "No such file", "pprof"]),
        (["."], ["'.'", "directory"]),
        (["text"], ["text", "pprof"]),
        (["truncated"], ["truncated", "pprof"]),
        (["--by", "colour", "text"], ["--by", "'colour'", "line", "function", "file", "stack"]),
        (["--sort", "name", "text"], ["--sort", "'name'", "inuse", "allocated", "peak", "count"]),
        (["--limit", "0", "text"], ["--limit", "'0'", "1 or more"]),
        (["--limit", "all", "text"], ["--limit", "'all'", "1 or more"]),
        (["--colour", "text"], ["--colour"]),
    ],
)
def test_bad_input(tmp_path: pathlib.Path, words: List[str], parts: List[str]) -> None:
    (tmp_path / "text").write_text("not a profile\n")
    with open(made(tmp_path, EXACT), "rb") as file:
        (tmp_path / "truncated").write_bytes(file.read()[:-20])
    done = report(*words, cwd=str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("mprofile report: error: ")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr
