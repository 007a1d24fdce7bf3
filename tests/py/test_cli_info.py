# SPDX-License-Identifier: MIT
"""`mprofile info`: how a profile was recorded."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
from typing import Any, Dict, List

import pytest
from processes import run_mprofile
from reports_made import trace

import mprofile
from mprofile.profile import Profile

A = ("/srv/app/a.py", 1)
B = ("/srv/app/b.py", 2)


def made(tmp_path: pathlib.Path, *comments: str) -> str:
    path = str(tmp_path / "made.pb.gz")
    snapshot = mprofile.Snapshot([trace(1 << 20, B, A), trace(1 << 20, A)], 2)
    Profile.from_snapshot(snapshot).write(path, comments=comments)
    return path


def command(*words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return run_mprofile(*words, **options)


def info(*words: str) -> Dict[str, List[str]]:
    """The lines by their first words."""
    done = command("info", *words)
    assert (done.returncode, done.stderr) == (0, "")
    facts: Dict[str, List[str]] = {}
    for line in done.stdout.splitlines():
        word, text = re.match(r"(.*?)  +(.*)", line).groups()  # type: ignore[union-attr]
        facts.setdefault(word, []).append(text)
    return facts


NOTES = [
    "mprofile: command=server.py --port 8080",
    "mprofile: directory=/srv/app",
    "mprofile: interpreter=CPython 3.11.7",
    "mprofile: pid=4711",
    "mprofile: parent=4710",
    "mprofile: duration=12.5 s",
    "mprofile: state=running",
    "mprofile: publications=13",
    "mprofile: failures=2",
    "mprofile: failure=no space left on the disk (write)",
    # Milliseconds, KiB of heap, KiB resident.
    "mprofile: history=1700000000000,1024,8192;2000,2048,4096",
    "of somebody else",
]


def test_facts(tmp_path: pathlib.Path) -> None:
    facts = info(made(tmp_path, *NOTES))
    assert facts["program"] == ["server.py --port 8080"]
    assert facts["directory"] == ["/srv/app"]
    assert facts["interpreter"] == ["CPython 3.11.7"]
    assert facts["process"] == ["4711, forked by 4710"]
    assert facts["duration"] == ["12.5 s"]
    assert facts["sampling"] == ["none, every block was recorded"]
    assert facts["samples"] == ["2 in use, 0 at the peak, 0 allocated"]
    assert facts["lost"] == ["no samples"]
    assert facts["failures"] == ["2 writes of the file failed, the last: no space left on the disk (write)"]
    assert facts["contents"] == ["2 stacks of 2 functions in 2 files"]
    assert facts["deepest"] == ["2 frames"]
    assert facts["in use"] == ["2.0 MiB in 2 blocks"]
    assert facts["resident"] == ["4.0 MiB"]
    assert facts[""][1] == "at most 8.0 MiB; the heap's peak is 0 % of that", "traces have no peak"
    assert facts[""][0].startswith("the heap explains 50 % of it; the rest: interpreter, shared libraries,")
    assert facts["history"] == ["2 points in 2 s"]
    assert facts["comment"] == ["of somebody else"]


def test_json(tmp_path: pathlib.Path) -> None:
    told = json.loads(command("info", "--json", made(tmp_path, *NOTES)).stdout)
    assert told["profile"]["notes"]["pid"] == "4711"
    assert "history" not in told["profile"]["notes"]
    assert told["history"] == [[1700000000.0, 1 << 20, 8 << 20], [1700000002.0, 2 << 20, 4 << 20]]
    assert told["resident"] == {
        "bytes": 4 << 20,
        "most": 8 << 20,
        "explained": 0.5,
        "explained_interval": [0.5, 0.5],
    }
    assert told["contents"] == {"stacks": 2, "functions": 2, "files": 2, "deepest_stack": 2, "stacks_at_limit": 0}
    assert told["totals"]["inuse"]["bytes"] == 2 << 20
    assert told["comments"] == ["of somebody else"]


def test_cut_stacks(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "cut.pb.gz")
    mprofile.start(max_frames=3)
    try:
        kept = [bytes(1000)]
        mprofile.take_snapshot().write_pprof(path)
    finally:
        mprofile.stop()
    assert kept
    assert re.match(r"3 frames; stacks with as many as are kept, which may be cut: [1-9]", info(path)["deepest"][0])


def test_more_heap_than_resident(tmp_path: pathlib.Path) -> None:
    facts = info(made(tmp_path, "mprofile: history=1700000000000,2048,1024"))
    assert facts[""][:1] == ["the heap explains 200 % of it: some of what was allocated was never written to"]


@pytest.mark.parametrize(
    "history", ["", "1,2", "x,y,z", "1,2,3;", "1;2;3", "1700000000000,5,0", "1,2,%d" % 10**30, "1,2,-3"]
)
def test_no_or_damaged_history(tmp_path: pathlib.Path, history: str) -> None:
    facts = info(made(tmp_path, "mprofile: history=" + history))
    assert "resident" not in facts
    assert facts["in use"] == ["2.0 MiB in 2 blocks"]


def test_nothing_known(tmp_path: pathlib.Path) -> None:
    facts = info(made(tmp_path))
    assert not {"program", "process", "duration", "resident", "history", "comment", "failures"} & set(facts)


def test_names_cannot_break_lines(tmp_path: pathlib.Path) -> None:
    facts = info(made(tmp_path, "mprofile: command=evil\n\x1b[31m", "other\nline"))
    assert facts["program"] == ["evil\\n\\x1b[31m"]
    assert facts["comment"] == ["other\\nline"]


def test_a_real_recording(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "program.py"
    script.write_text("kept = [bytearray(b'x' * 100000) for _ in range(300)]\n")
    path = str(tmp_path / "heap.pb.gz")
    done = command("run", "--sample-rate", "64K", "-o", path, str(script))
    assert done.returncode == 0
    facts = info(path)
    assert facts["program"] == [str(script)]
    assert facts["sampling"] == ["one sample in 64 KiB on average, stacks of up to 128 frames"]
    assert ", at its end, write " in facts["recorded"][0]
    told = json.loads(command("info", "--json", path).stdout)
    assert told["profile"]["notes"]["state"] == "final"
    inuse, resident = told["totals"]["inuse"], told["resident"]
    assert resident["explained"] == pytest.approx(inuse["bytes"] / resident["bytes"], abs=0.001)
    low, high = resident["explained_interval"]
    assert low <= resident["explained"] <= high
    assert resident["most"] >= resident["bytes"] > 0
    part = int(re.search(r"peak is (\d+) % of that", facts[""][1]).group(1))  # type: ignore[union-attr]
    assert part == round(100 * told["totals"]["peak"]["bytes"] / resident["most"])


def test_colors_and_standard_input(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, *NOTES)
    plain = command("info", path).stdout
    assert "\x1b[" not in plain
    pytest.importorskip("rich")
    assert re.sub(r"\x1b\[[0-9;]*m", "", command("info", "--color", "always", path).stdout) == plain
    with open(path, "rb") as file:
        assert command("info", "-", stdin=file).stdout == plain


@pytest.mark.parametrize(
    "words, parts",
    [([], ["FILE"]), (["missing"], ["'missing'", "No such file"]), (["text"], ["text", "pprof"])],
)
def test_bad_input(tmp_path: pathlib.Path, words: List[str], parts: List[str]) -> None:
    (tmp_path / "text").write_text("not a profile\n")
    done = command("info", *words, cwd=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    for part in parts:
        assert part in done.stderr


def test_help_has_an_example() -> None:
    assert "mprofile info mprofile.4711.pb.gz" in command("info", "--help").stdout
