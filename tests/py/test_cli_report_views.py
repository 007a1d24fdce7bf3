# SPDX-License-Identifier: MIT
"""`mprofile report`: its groupings, columns, tree, formats and terminals."""

from __future__ import annotations

import csv
import io
import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any, List

import pytest
from processes import MPROFILE, run_mprofile
from reports_made import APP, EXACT, HANDLER, LIBRARY, made, report, rows_of, sampled, trace

import mprofile
from mprofile.profile import Profile
from mprofile.reports import groups, table

# ---- modules, packages, selections ----


def test_by_module_and_package(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, EXACT)
    assert rows_of(report("--by", "module", path).stdout) == [
        ["6.5 KiB", "76.5 %", "8.5 KiB", "100.0 %", "app"],
        ["2.0 KiB", "23.5 %", "2.0 KiB", "23.5 %", "json.decoder"],
    ]
    assert [row[-1] for row in rows_of(report("--by", "package", path).stdout)] == ["app", "json"]


@pytest.mark.parametrize(
    "filename, module, package",
    [
        ("/srv/app/pkg/sub/mod.py", "pkg.sub.mod", "pkg"),
        ("/srv/app/pkg/__init__.py", "pkg", "pkg"),
        ("/srv/app/__init__.py", "__init__", "__init__"),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", "yaml", "yaml"),
        ("<frozen importlib._bootstrap>", "importlib._bootstrap", "importlib"),
        ("<string>", "<string>", "<string>"),
        ("/elsewhere/tool/x.py", "/elsewhere/tool/x", "/elsewhere/tool"),
        ("", "", ""),
    ],
)
def test_modules(filename: str, module: str, package: str) -> None:
    assert groups.module_of(filename, "/srv/app") == module
    assert groups.package_of(filename, "/srv/app") == package


@pytest.mark.parametrize("by", ["line", "function", "file", "module", "package"])
def test_rows_made_of_stacks_are_those_of_the_core(tmp_path: pathlib.Path, by: str) -> None:
    """A selection of everything goes the other way, and must come to the same."""
    profile = Profile.read(sampled(tmp_path))
    everything = groups.Selection(focus=re.compile(""))
    assert everything

    def told(rows: Any) -> Any:
        # Floats may be added in another order.
        return {
            (row.filename, row.lineno, row.name if by in ("module", "package") else ""): [
                round(number, 3)
                for measures in (row.flat, row.cumulative)
                for one in measures
                for number in (one.bytes, one.blocks, one.bytes_var, one.blocks_var, one.seen, one.samples)
            ]
            for row in rows
        }

    assert told(groups.rows(profile, by, everything)) == told(groups.rows(profile, by))


def test_focus_and_ignore(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, EXACT)
    done = report("--by", "line", "--focus", "decoder", path)
    assert rows_of(done.stdout) == [
        ["2.0 KiB", "23.5 %", "2.0 KiB", "23.5 %", "json/decoder.py:30"],
        ["0 B", "0.0 %", "2.0 KiB", "23.5 %", "app.py:10"],
        ["0 B", "0.0 %", "2.0 KiB", "23.5 %", "app.py:20"],
    ]
    assert "selected     2.0 KiB, 23.5 % of memory in use: stacks with 'decoder'\n" in done.stdout
    ignored = report("--by", "line", "--ignore", "decoder", path)
    assert [row[-1] for row in rows_of(ignored.stdout)] == ["app.py:20", "app.py:10"]
    neither = report("--focus", "app", "--ignore", "app", path)
    assert neither.stdout.endswith("\n\n  nothing\n")


def test_focus_finds_functions(tmp_path: pathlib.Path) -> None:
    path = sampled(tmp_path)
    assert "<listcomp>" in report("--focus", "^sampled", path).stdout or sys.version_info >= (3, 12)
    assert rows_of(report("--by", "function", "--focus", "^sampled$", path).stdout)
    assert report("--focus", "^ampled$", path).stdout.endswith("  nothing\n")


# ---- columns ----


def test_columns(tmp_path: pathlib.Path) -> None:
    done = report("--by", "line", "--columns", "inuse,peak,allocated,blocks,average,cum-blocks", made(tmp_path, EXACT))
    header = next(line for line in done.stdout.splitlines() if line.split()[:1] == ["in"] and "line" in line)
    assert re.split(r" {2,}", header.strip()) == [
        "in use", "at peak", "allocated", "blocks", "average", "cum blocks", "line",
    ]  # fmt: skip
    line = next(line for line in done.stdout.splitlines() if line.endswith("app.py:10"))
    assert re.split(r" {2,}", line.strip())[3:] == ["512", "1 B", "515", "app.py:10"]


def test_all_columns_of_a_sampled_profile(tmp_path: pathlib.Path) -> None:
    done = report("--columns", "all", sampled(tmp_path))
    assert len(rows_of(done.stdout)[0]) == len(table.COLUMNS) + 2  # the function and its place


def test_at_least(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, EXACT)
    for size in ("2K", "2 KiB", "1.5K"):
        done = report("--by", "line", "--at-least", size, path)
        assert [row[-1] for row in rows_of(done.stdout)] == ["app.py:20", "json/decoder.py:30"]
        assert done.stdout.endswith("  1 more with 512 B (5.9 %)\n")
    assert len(rows_of(report("--by", "line", "--cum", "--at-least", "8K", path).stdout)) == 2
    assert len(tree_of(report("--tree", "--by", "line", "--at-least", "3K", path).stdout)) == 3
    assert len(json.loads(report("--json", "--by", "line", "--at-least", "2K", path).stdout)["rows"]) == 2


def test_sorted_by_cumulative(tmp_path: pathlib.Path) -> None:
    done = report("--by", "line", "--cum", made(tmp_path, EXACT))
    assert [row[-1] for row in rows_of(done.stdout)] == ["app.py:10", "app.py:20", "json/decoder.py:30"]


# ---- the tree ----


def tree_of(text: str) -> List[str]:
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.split()[:1] == ["cum"]) + 1
    return lines[first:]


def test_tree(tmp_path: pathlib.Path) -> None:
    other = ("/srv/app/other.py", 5)
    lines = tree_of(report("--tree", "--by", "line", made(tmp_path, [*EXACT, trace(1536, other, APP)])).stdout)
    assert lines == [
        "  10.0 KiB  100.0 %    512 B    app.py:10",
        "   8.0 KiB   80.0 %  6.0 KiB    |- app.py:20",
        "   2.0 KiB   20.0 %  2.0 KiB    |  `- json/decoder.py:30",
        "   1.5 KiB   15.0 %  1.5 KiB    `- other.py:5",
    ]


def test_tree_folds_what_is_small(tmp_path: pathlib.Path) -> None:
    small = [trace(10, ("/srv/app/small.py", line), APP) for line in range(1, 6)]
    lines = tree_of(report("--tree", "--by", "line", "--limit", "2", made(tmp_path, [*EXACT, *small])).stdout)
    assert [line.split("    ")[-1].strip() for line in lines] == [
        "app.py:10",
        "|- app.py:20",
        "|  `- 1 folded",
        "`- 5 folded",
    ]
    assert lines[3].split()[:2] == ["50", "B"]


def test_a_chain_does_not_indent(tmp_path: pathlib.Path) -> None:
    frames = [("/srv/app/deep.py", line) for line in range(1, 101)]
    lines = tree_of(report("--tree", "--by", "line", "--limit", "200", made(tmp_path, [trace(100, *frames)])).stdout)
    assert len(lines) == 100
    assert {line.index("deep.py") for line in lines} == {lines[0].index("deep.py")}
    assert tree_of(report("--tree", "--by", "file", made(tmp_path, [trace(100, *frames)])).stdout) == [
        "  100 B  100.0 %  100 B    deep.py"
    ]


def test_tree_sums(tmp_path: pathlib.Path) -> None:
    """Every node is the sum of its children and of what ends there."""
    tree = json.loads(report("--tree", "--json", "--by", "line", sampled(tmp_path)).stdout)["tree"]
    waiting = [tree]
    count = 0
    while waiting:
        node = waiting.pop()
        children = node["children"]
        for measure in ("inuse", "allocated", "peak"):
            total = sum(child["cumulative"][measure]["samples"] for child in children)
            assert node["cumulative"][measure]["samples"] == node["flat"][measure]["samples"] + total
        waiting += children
        count += 1
    assert count > 5


# ---- JSON, CSV ----


def test_json(tmp_path: pathlib.Path) -> None:
    told = json.loads(report("--json", "--by", "line", made(tmp_path, EXACT)).stdout)
    assert told["profile"]["notes"]["command"] == "server.py --port 8080"
    assert told["profile"]["exact"] is True
    first = told["rows"][0]
    assert (first["file"], first["line"]) == HANDLER
    assert first["flat"]["inuse"] == {
        "bytes": 6144,
        "bytes_interval": [6144, 6144],
        "blocks": 1,
        "blocks_interval": [1, 1],
        "samples": 1,
    }
    assert first["cumulative"]["inuse"]["bytes"] == 8192
    assert told["totals"] == told["selected"]
    assert len(told["rows"]) == 3
    assert told["totals"]["inuse"]["bytes"] == sum(row["flat"]["inuse"]["bytes"] for row in told["rows"])


def test_csv(tmp_path: pathlib.Path) -> None:
    lines = list(csv.DictReader(io.StringIO(report("--csv", "--by", "line", made(tmp_path, EXACT)).stdout)))
    assert [(line["file"], line["line"], line["flat_inuse_bytes"]) for line in lines] == [
        (HANDLER[0], "20", "6144"),
        (LIBRARY[0], "30", "2048"),
        (APP[0], "10", "512"),
    ]
    assert lines[2]["cumulative_inuse_blocks_high"] == "515"
    stacks = list(csv.DictReader(io.StringIO(report("--csv", "--by", "stack", made(tmp_path, EXACT)).stdout)))
    assert stacks[0]["stack"] == "/srv/app/app.py:10;/srv/app/app.py:20"


def test_no_formula_in_csv(tmp_path: pathlib.Path) -> None:
    text = report("--csv", "--by", "file", made(tmp_path, [trace(5, ("=1+1", 1))])).stdout
    assert text.splitlines()[1].startswith("'=1+1,")


# ---- lines of source ----


def test_source_lines(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("first = 1\nif first:\n    kept = [bytes(100)]  # \u00e9\n", encoding="utf-8")
    os.utime(str(script), (1, 1))
    names: Any = {}
    code = compile(script.read_text(encoding="utf-8"), str(script), "exec")
    mprofile.start()
    try:
        exec(code, names)
        snapshot = mprofile.take_snapshot()
    finally:
        mprofile.stop()
    path = str(tmp_path / "ran.pb.gz")
    snapshot.write_pprof(path)
    text = report("--by", "line", path).stdout
    assert re.search(r"script.py:3  <module> *\| kept = \[bytes\(100\)\]  # ", text)
    assert "| kept" in report("--by", "stack", path).stdout
    assert "| kept" in report("--by", "line", "--tree", path).stdout
    assert "kept" not in report("--by", "line", "--no-source", path).stdout
    later = os.stat(path).st_mtime + 100
    os.utime(str(script), (later, later))
    assert "kept" not in report("--by", "line", path).stdout, "the file was edited after it ran"


def test_source_that_is_no_file(tmp_path: pathlib.Path) -> None:
    os.mkfifo(str(tmp_path / "pipe.py"))
    (tmp_path / "directory.py").mkdir()
    (tmp_path / "bad.py").write_bytes(b"# coding: nonsense\nx\n")
    names = [str(tmp_path / name) for name in ("pipe.py", "directory.py", "bad.py", "missing.py")]
    done = report("--by", "line", made(tmp_path, [trace(100, (name, 1)) for name in names]))
    assert (done.returncode, done.stderr) == (0, "")
    assert "|" not in done.stdout


# ---- terminals ----


def on_terminal(words: List[str], columns: int, program: str = MPROFILE, **environment: str) -> str:
    """What a command prints on a terminal of that many columns."""
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen([program, *words], stdout=follower, stderr=follower, env=dict(variables, **environment))
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # what Linux says when the last writer has gone
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    assert process.wait(60) == 0
    return b"".join(parts).decode("utf-8", "replace").replace("\r\n", "\n")


ESCAPE = "\x1b["


def without_colors(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_colors(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, EXACT)
    pytest.importorskip("rich")
    assert ESCAPE in on_terminal(["report", path], 200, TERM="xterm")
    assert ESCAPE not in on_terminal(["report", path], 200, TERM="xterm", NO_COLOR="1")
    assert ESCAPE in on_terminal(["report", path], 200, TERM="xterm", NO_COLOR="")
    assert ESCAPE in on_terminal(["report", "--color", "always", path], 200, TERM="xterm", NO_COLOR="1")
    assert ESCAPE not in on_terminal(["report", "--color=never", path], 200, TERM="xterm")
    plain = report(path).stdout
    assert ESCAPE not in plain
    colored = report("--color", "always", path).stdout
    assert ESCAPE in colored
    assert "\n".join(line.rstrip() for line in without_colors(colored).split("\n")) == plain


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize("words", [["--by", "function"], ["--by", "stack"], ["--tree"]])
def test_width(tmp_path: pathlib.Path, columns: int, words: List[str]) -> None:
    long = [trace(100, ("/srv/app/" + "directory/" * 30 + "caf\u00e9\u6f22\u5b57.py", 7), APP)]
    path = made(tmp_path, long)
    text = without_colors(on_terminal(["report", *words, path], columns, TERM="xterm", PYTHONIOENCODING="utf-8"))
    assert "\u2026" in text
    assert max(len(line) for line in text.split("\n")) <= columns


def test_narrow_terminals_keep_the_name(tmp_path: pathlib.Path) -> None:
    path = sampled(tmp_path)
    text = without_colors(on_terminal(["report", path], 70, TERM="xterm"))
    header = next(line for line in text.splitlines() if line.split()[:1] == ["flat"])
    assert header.split()[0] == "flat"
    assert "interval" not in header.partition("cum")[2], "of what can be left out this goes first"
    assert header.index("function") <= 70 - 24


# ---- what is imported ----


def test_plain_output_does_without_rich(tmp_path: pathlib.Path) -> None:
    path = made(tmp_path, EXACT)
    code = "import sys; from mprofile.cli import main; main(['report', {!r}]); print('rich' in sys.modules)".format(
        path
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, universal_newlines=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_profiled_program_does_without_rich(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import sys, atexit\natexit.register(lambda: print('rich' in sys.modules, 'mprofile' in sys.modules))\n"
    )
    done = run_mprofile("run", "-o", str(tmp_path / "out.pb.gz"), str(script))
    assert done.returncode == 0
    assert done.stdout == "False True\n"
    # The table at the end is made in the same process, after the program's own atexit functions.
    code = (
        "import sys, mprofile, mprofile.cli.session; print([name for name in sys.modules if name.startswith('rich')])"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, universal_newlines=True, timeout=60)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "words, parts",
    [
        (["--columns", "inuse,size"], ["--columns", "'size'", "average"]),
        (["--columns", "blocks", "--tree"], ["--columns", "--tree"]),
        (["--focus", "("], ["--focus", "'('", "regular expression"]),
        (["--tree", "--by", "stack"], ["--tree", "--by", "module"]),
        (["--tree", "--csv"], ["--csv", "--tree"]),
        (["--json", "--csv"], ["--json", "--csv"]),
        (["--at-least", "2X"], ["--at-least", "'2X'", "KiB"]),
        (["--at-least", "2K", "--sort", "count"], ["--at-least", "count"]),
        (["--color", "red"], ["--color", "'red'", "never"]),
        (["--limit", "\u0663"], ["--limit", "1 or more"]),
    ],
)
def test_bad_options(tmp_path: pathlib.Path, words: List[str], parts: List[str]) -> None:
    done = report(*words, made(tmp_path, EXACT), env=dict(os.environ, PYTHONIOENCODING="utf-8"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    for part in parts:
        assert part in done.stderr


# ---- progress ----

#: Arguments: seconds until the bar appears, and the most to wait at each step for its text to be drawn.
SLOW = """
import sys, time
import rich.console, rich.live, rich.progress  # so that drawing begins at once, also on a busy machine
from mprofile.cli import common
common.PATIENCE = float(sys.argv[1])
said, drawn = [], []

def update(self, task, description, real=rich.progress.Progress.update, **changes):
    real(self, task, description=description, **changes)
    said.append(description)

def refresh(self, real=rich.live.Live.refresh):
    texts = list(said)
    real(self)
    drawn.extend(texts)

rich.progress.Progress.update, rich.live.Live.refresh = update, refresh
with common.Progress(2) as progress:
    for text in ("reading", "adding up"):
        progress.step(text)
        end = time.monotonic() + float(sys.argv[2])
        while text not in drawn and time.monotonic() < end:
            time.sleep(0.01)
print("done")
"""


def test_progress() -> None:
    pytest.importorskip("rich")
    slow = on_terminal(["-c", SLOW, "0.1", "60"], 100, program=sys.executable, TERM="xterm")
    assert "reading" in slow
    assert "adding up" in slow
    assert slow.endswith("done\n")
    assert on_terminal(["-c", SLOW, "60", "1"], 100, program=sys.executable, TERM="xterm") == "done\n"
    piped = subprocess.run(
        [sys.executable, "-c", SLOW, "0.1", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60
    )
    assert (piped.stdout, piped.stderr) == (b"done\n", b"")


# ---- profiles of others ----


def test_a_profile_of_go(tmp_path: pathlib.Path) -> None:
    """A heap profile as Go's runtime writes it: bytes built by hand, from the format's definition."""

    def varint(number: int) -> bytes:
        out = bytearray()
        while True:
            out.append(number & 127 | (128 if number > 127 else 0))
            number >>= 7
            if not number:
                return bytes(out)

    def field(number: int, value: "int | bytes") -> bytes:
        if isinstance(value, int):
            return varint(number << 3) + varint(value)
        return varint(number << 3 | 2) + varint(len(value)) + value

    strings = ["", "alloc_objects", "count", "alloc_space", "bytes", "inuse_objects", "inuse_space", "space"]
    strings += ["main.grow", "/go/src/main.go", "main.main"]
    data = b"".join(
        field(1, field(1, strings.index(kind)) + field(2, strings.index(unit)))
        for kind, unit in (
            ("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes"),
        )
    )  # fmt: skip
    data += field(2, field(1, varint(1) + varint(2)) + field(2, b"".join(map(varint, (10, 20480, 5, 10240)))))
    for number, line in ((1, 12), (2, 30)):
        data += field(4, field(1, number) + field(4, field(1, number) + field(2, line)))
    data += field(5, field(1, 1) + field(2, 8) + field(3, 8) + field(4, 9) + field(5, 10))
    data += field(5, field(1, 2) + field(2, 10) + field(3, 10) + field(4, 9) + field(5, 28))
    data += b"".join(field(6, text.encode()) for text in strings)
    data += field(11, field(1, 7) + field(2, 4)) + field(12, 524288)
    path = tmp_path / "go.pb"
    path.write_bytes(data)
    done = report(str(path))
    assert (done.returncode, done.stderr) == (0, "")
    row = rows_of(done.stdout)[0]
    assert row[0] == "10.0 KiB"
    assert row[-2:] == ["main.grow", "/go/src/main.go:10"]
    assert "main.main" in report("--tree", str(path)).stdout
