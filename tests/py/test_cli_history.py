# SPDX-License-Identifier: MIT
"""`mprofile diff DIR` and `mprofile flamegraph DIR`: which moments of a directory that --history fills they take."""

from __future__ import annotations

import json
import pathlib
import subprocess
from typing import Any, List

import pytest
from page_reader import read_page
from processes import run_mprofile

import mprofile

KEPT: List[bytes] = []
SIZE = 100_000


def keep() -> None:
    KEPT.append(bytes(SIZE))


@pytest.fixture(scope="module")
def made(tmp_path_factory: Any) -> List[bytes]:
    """Four profiles of one recording, each with one block more; and one of another recording."""
    path = str(tmp_path_factory.mktemp("made") / "heap.pb.gz")
    made = []
    for moments in (4, 1):
        mprofile.start(sample_rate=0)
        try:
            for _ in range(moments):
                keep()
                mprofile.take_snapshot().write_pprof(path)
                made.append(pathlib.Path(path).read_bytes())
        finally:
            mprofile.stop()
            KEPT.clear()
    return made


def fill(directory: pathlib.Path, pid: int, profiles: List[bytes], minute: int = 0) -> str:
    """One profile every ten seconds."""
    for number, profile in enumerate(profiles):
        name = "20260131T23{:02}{:02}.000Z.{}.pb.gz".format(minute, 10 * number, pid)
        (directory / name).write_bytes(profile)
    return str(directory)


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return run_mprofile(*words)


def grown(*words: str) -> int:
    """By how many blocks keep() grew."""
    done = run("diff", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [row for row in json.loads(done.stdout)["rows"] if row["function"] == "keep"]
    return int(round(sum(row["change"] for row in rows) / SIZE))


def failed(*words: str) -> str:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_the_first_moment_and_the_last(made: List[bytes], tmp_path: pathlib.Path) -> None:
    directory = fill(tmp_path, 4711, made[:4])
    assert grown(directory) == 3
    assert grown("--since", "10s", directory) == 1
    assert grown("--since", "14", directory) == 1
    assert grown("--since", "20s", directory) == 2
    assert grown("--since", "1h", directory) == 3


def test_an_earlier_recording_of_the_same_process_is_passed_over(made: List[bytes], tmp_path: pathlib.Path) -> None:
    directory = fill(tmp_path, 4711, [made[4], *made[:4]])
    assert grown(directory) == 3
    assert grown("--since", "40s", directory) == 3
    alone = tmp_path / "alone"
    alone.mkdir()
    message = failed("diff", fill(alone, 1, [made[0], made[4]]))
    assert "holds one moment of the last recording only; a difference takes two" in message


def test_of_several_processes_one_is_chosen(made: List[bytes], tmp_path: pathlib.Path) -> None:
    directory = fill(tmp_path, 4711, made[:4])
    fill(tmp_path, 12, made[1:3], minute=5)
    message = failed("diff", directory)
    assert "holds profiles of 2 processes; choose with --pid: 12, 4711" in message
    assert grown("--pid", "12", directory) == 1
    assert grown("--pid", "4711", directory) == 3
    assert "holds no profile of process 13, only of 12, 4711" in failed("diff", "--pid", "13", directory)
    assert "choose with --pid: 12, 4711" in failed("flamegraph", "-o", str(tmp_path / "x.html"), directory)
    assert not (tmp_path / "x.html").exists()


def test_pages_of_a_directory(made: List[bytes], tmp_path: pathlib.Path) -> None:
    directory = fill(tmp_path, 4711, made[:4])
    for options, blocks, difference in (([], 4, False), (["--diff"], 3, True), (["--diff", "--since", "10s"], 1, True)):
        page = tmp_path / "page.html"
        done = run("flamegraph", "-o", str(page), *options, directory)
        assert done.returncode == 0, done.stderr
        header = read_page(page.read_text(encoding="utf-8")).header
        assert bool(header["difference"]) == difference
        shown = header["totals"][0] - (header["totals"][2] if difference else 0)
        assert abs(shown - blocks * SIZE) < SIZE / 2
        page.unlink()


def test_files_of_several_processes_add_up_in_a_page(made: List[bytes], tmp_path: pathlib.Path) -> None:
    files = []
    for number in (0, 3):
        files.append(str(tmp_path / "{}.pb.gz".format(number)))
        pathlib.Path(files[-1]).write_bytes(made[number])
    page = tmp_path / "page.html"
    done = run("flamegraph", "-o", str(page), *files)
    assert done.returncode == 0, done.stderr
    assert abs(read_page(page.read_text(encoding="utf-8")).header["totals"][0] - 5 * SIZE) < SIZE / 2


def test_what_is_no_such_directory(made: List[bytes], tmp_path: pathlib.Path) -> None:
    assert "holds no profile; DIR is what `mprofile run --history DIR` fills" in failed("diff", str(tmp_path))
    heap = str(tmp_path / "heap.pb.gz")
    pathlib.Path(heap).write_bytes(made[0])
    assert "not the one file" in failed("diff", heap)
    assert "not 3 files" in failed("diff", heap, heap, heap)
    assert "--since and --pid choose from one DIR" in failed("diff", "--since", "5s", heap, heap)
