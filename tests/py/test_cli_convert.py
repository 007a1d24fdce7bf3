# SPDX-License-Identifier: MIT
"""`mprofile convert`: what other tools read, checked against their formats."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import shutil
import subprocess
from typing import Any, Dict, List

import pytest
from processes import run_mprofile
from reports_made import trace

import mprofile
from mprofile.profile import Profile

COMMENTS = ["mprofile: command=app.py", "mprofile: directory=/srv/app"]

#: The file format of speedscope, as far as it is about profiles of samples. Written from its description.
SPEEDSCOPE: Dict[str, Any] = {
    "type": "object",
    "required": ["$schema", "shared", "profiles"],
    "properties": {
        "$schema": {"type": "string", "enum": ["https://www.speedscope.app/file-format-schema.json"]},
        "name": {"type": "string"},
        "exporter": {"type": "string"},
        "activeProfileIndex": {"type": "integer", "minimum": 0},
        "shared": {
            "type": "object",
            "required": ["frames"],
            "properties": {
                "frames": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "file": {"type": "string"},
                            "line": {"type": "integer", "minimum": 1},
                            "col": {"type": "integer", "minimum": 1},
                        },
                        "additionalProperties": False,
                    },
                }
            },
            "additionalProperties": False,
        },
        "profiles": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "name", "unit", "startValue", "endValue", "samples", "weights"],
                "properties": {
                    "type": {"type": "string", "enum": ["sampled"]},
                    "name": {"type": "string"},
                    "unit": {
                        "type": "string",
                        "enum": ["bytes", "microseconds", "milliseconds", "nanoseconds", "none", "seconds"],
                    },
                    "startValue": {"type": "number"},
                    "endValue": {"type": "number"},
                    "samples": {
                        "type": "array",
                        "items": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                    },
                    "weights": {"type": "array", "items": {"type": "number"}},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}

TYPES: Dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}


def check(value: Any, schema: Dict[str, Any], where: str = "$") -> List[str]:
    """What is wrong with a value by a JSON schema that uses the words above only."""
    if not isinstance(value, TYPES[schema["type"]]) or isinstance(value, bool):
        return ["{} is no {}: {!r}".format(where, schema["type"], value)]
    problems = []
    if "enum" in schema and value not in schema["enum"]:
        problems.append("{} is none of {}: {!r}".format(where, schema["enum"], value))
    if "minimum" in schema and value < schema["minimum"]:
        problems.append("{} is below {}: {!r}".format(where, schema["minimum"], value))
    for name in schema.get("required", ()):
        if name not in value:
            problems.append("{} has no {}".format(where, name))
    if isinstance(value, dict):
        for name, item in value.items():
            if name in schema["properties"]:
                problems += check(item, schema["properties"][name], "{}.{}".format(where, name))
            elif schema.get("additionalProperties") is False:
                problems.append("{} must not have {}".format(where, name))
    if isinstance(value, list):
        for number, item in enumerate(value):
            problems += check(item, schema["items"], "{}[{}]".format(where, number))
    return problems


A = ("/srv/app/a.py", 1)
B = ("/srv/app/b.py", 2)
ODD = ('/srv/app/od"d;\n\\N.py', 3)


def made(tmp_path: pathlib.Path, traces: Any) -> str:
    path = str(tmp_path / "made.pb.gz")
    Profile.from_snapshot(mprofile.Snapshot(traces, 128)).write(path, comments=COMMENTS)
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    def deep(n: int) -> List[bytearray]:
        return deep(n - 1) if n else [bytearray(500) for _ in range(400)]

    path = str(tmp_path_factory.mktemp("recorded") / "heap.pb.gz")
    mprofile.start(sample_rate=1000)
    try:
        kept = [deep(3), deep(5), [bytes(3000) for _ in range(200)]]
        snapshot = mprofile.take_snapshot()
    finally:
        mprofile.stop()
    assert kept
    snapshot.write_pprof(path)
    return path


def run(*words: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    return run_mprofile("convert", *words, universal_newlines=False, **options)


def convert(*words: str) -> str:
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode("utf-8")


def test_the_checker_finds_what_is_wrong() -> None:
    good = {"$schema": SPEEDSCOPE["properties"]["$schema"]["enum"][0], "shared": {"frames": []}, "profiles": []}
    assert check(good, SPEEDSCOPE) == []
    assert check(dict(good, profiles=[{}]), SPEEDSCOPE)
    assert check(dict(good, more=1), SPEEDSCOPE)
    assert check(dict(good, shared={"frames": [{"name": "x", "line": 0}]}), SPEEDSCOPE)
    assert check(dict(good, activeProfileIndex=True), SPEEDSCOPE)
    assert check({}, SPEEDSCOPE)


@pytest.mark.parametrize("metric", ["inuse", "allocated", "peak", "count"])
def test_speedscope(recorded: str, metric: str) -> None:
    told = json.loads(convert("--to", "speedscope", "--metric", metric, recorded))
    assert check(told, SPEEDSCOPE) == []
    (profile,) = told["profiles"]
    frames = told["shared"]["frames"]
    assert len(profile["samples"]) == len(profile["weights"]) > 2
    assert all(number < len(frames) for sample in profile["samples"] for number in sample)
    assert profile["unit"] == ("none" if metric == "count" else "bytes")
    totals = Profile.read(recorded).totals()
    whole = totals.inuse.blocks if metric == "count" else getattr(totals, metric).bytes
    assert profile["endValue"] == sum(profile["weights"])
    assert abs(profile["endValue"] - whole) <= len(profile["weights"])  # rounding
    names = [frames[number]["name"].rpartition(".")[2] for number in max(profile["samples"], key=len)]
    assert names.count("deep") == 6
    assert names.index("test_speedscope" if "test_speedscope" in names else "recorded") < names.index("deep")


def test_speedscope_of_odd_names(tmp_path: pathlib.Path) -> None:
    told = json.loads(convert("--to", "speedscope", made(tmp_path, [trace(10, ODD, A), trace(7, B, A)])))
    assert check(told, SPEEDSCOPE) == []
    assert told["profiles"][0]["weights"] == [10, 7]
    assert {frame["name"] for frame in told["shared"]["frames"]} == {"a.py", "b.py", 'od"d;\\n\\N.py'}


def test_collapsed(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, [trace(10, B, A), trace(5, B, A), trace(7, A), trace(3, ODD, A)])
    assert convert("--to", "collapsed", path) == 'a.py 7\na.py;b.py 15\na.py;od"d:\\n\\N.py 3\n'
    assert convert("--to", "collapsed", "--metric", "count", path).splitlines()[1] == "a.py;b.py 2"


def test_collapsed_sums(recorded: str) -> None:
    lines = convert("--to", "collapsed", recorded).splitlines()
    total = sum(int(line.rpartition(" ")[2]) for line in lines)
    assert abs(total - Profile.read(recorded).totals().inuse.bytes) <= len(lines)
    assert any(line.count("deep (") == 6 for line in lines)


def test_pprof(tmp_path: pathlib.Path, recorded: str) -> None:
    target = tmp_path / "copy.pb.gz"
    assert convert("--to", "pprof", "-o", str(target), recorded) == ""
    copy, original = Profile.read(str(target)), Profile.read(recorded)
    for one, other in zip(copy.totals(), original.totals()):
        assert (one.bytes, one.samples) == (other.bytes, other.samples)
    assert len(copy.rows("stack")) == len(original.rows("stack"))
    done = run("--to", "pprof", recorded)
    assert done.stdout == target.read_bytes()


def test_json_and_csv(recorded: str) -> None:
    stacks = Profile.read(recorded).rows("stack")
    told = json.loads(convert("--to", "json", recorded))
    assert len(told["rows"]) == len(stacks)
    sizes = [row["flat"]["inuse"]["bytes"] for row in told["rows"]]
    assert sizes == sorted(sizes, reverse=True)
    lines = list(csv.DictReader(io.StringIO(convert("--to", "csv", recorded))))
    assert [int(line["flat_inuse_bytes"]) for line in lines] == sizes


def test_dot(tmp_path: pathlib.Path) -> None:
    text = convert("--to", "dot", made(tmp_path, [trace(10, B, A), trace(7, A), trace(3, ODD, B, A)]))
    assert text.startswith("digraph mprofile {\n")
    assert '[label="a.py\\n7 B (35.0 %)\\nof 20 B (100.0 %)"' in text
    assert '[label="b.py\\n10 B (50.0 %)\\nof 13 B (65.0 %)"' in text
    assert 'od\\"d;\\\\n\\\\N.py' in text
    assert text.count(" -> ") == 2


def test_dot_leaves_out(tmp_path: pathlib.Path) -> None:
    middle = [("/srv/app/m{}.py".format(number), 1) for number in range(3)]
    path = made(tmp_path, [*[trace(10, B, one, A) for one in middle], trace(100, B, A)])
    text = convert("--to", "dot", "--limit", "2", path)
    assert "2 of 5 functions" in text
    assert text.count(" -> ") == 1
    assert "dashed" not in text, "one stack goes from one to the other directly"
    path = made(tmp_path, [trace(10, B, one, A) for one in middle])
    assert "dashed" in convert("--to", "dot", "--limit", "2", path)


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_graphviz_reads_it(tmp_path: pathlib.Path, recorded: str) -> None:
    for path in (recorded, made(tmp_path, [trace(10, B, A), trace(3, ODD, A), trace(5, B, B, A)]), made(tmp_path, [])):
        done = subprocess.run(
            ["dot", "-Tsvg"],
            input=convert("--to", "dot", path).encode("utf-8"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert b"syntax error" not in done.stderr
        assert b"</svg>" in done.stdout


@pytest.mark.parametrize("form", ["pprof", "speedscope", "collapsed", "json", "csv", "dot"])
def test_an_empty_profile(tmp_path: pathlib.Path, form: str) -> None:
    done = run("--to", form, made(tmp_path, []))
    assert (done.returncode, done.stderr) == (0, b"")


def test_standard_input_and_output_file(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, [trace(10, B, A)])
    target = tmp_path / "out.txt"
    with open(path, "rb") as file:
        done = run("--to", "collapsed", "-o", str(target), "-", stdin=file)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert target.read_text() == "a.py;b.py 10\n"


@pytest.mark.parametrize(
    "words, parts",
    [
        (["made.pb.gz"], ["--to"]),
        (["--to", "svg", "made.pb.gz"], ["'svg'", "speedscope", "dot"]),
        (["--to", "pprof", "--metric", "peak", "made.pb.gz"], ["--metric"]),
        (["--to", "csv", "missing"], ["'missing'", "No such file"]),
        (["--to", "csv", "text"], ["text", "pprof"]),
        (["--to", "csv", "-o", "no/such/place", "made.pb.gz"], ["'no/such/place'", "No such file"]),
    ],
)
def test_bad_input(tmp_path: pathlib.Path, words: List[str], parts: List[str]) -> None:
    made(tmp_path, [])
    (tmp_path / "text").write_text("not a profile\n")
    done = run(*words, cwd=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    for part in parts:
        assert part in done.stderr.decode()


def test_help_has_an_example() -> None:
    assert "mprofile convert --to speedscope" in convert("--help")
