# SPDX-License-Identifier: MIT
"""Profile files: written whole, read within bounds, the same profile after the trip; Profile and its rows."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import sys
import zlib
from typing import Any, List

import pytest

import mprofile
from mprofile import _files
from mprofile.profile import Measures, Profile


def recursive(depth: int, sizes: List[int]) -> List[Any]:
    if depth:
        return recursive(depth - 1, sizes)
    return [bytes(size) for size in sizes]


def make_snapshot(rate: int = 500) -> mprofile.Snapshot:
    mprofile.start(20, rate, seed=3)
    try:
        kept = recursive(3, [100] * 500 + [5000] * 20)
        kept.append([bytes(70) for _ in range(300)])
        garbage = [bytes(1000) for _ in range(100)]
        del garbage
        return mprofile.take_snapshot()
    finally:
        mprofile.stop()


@pytest.fixture(scope="module", params=[500, 0], ids=["sampled", "exact"])
def snapshot(request: Any) -> mprofile.Snapshot:
    return make_snapshot(request.param)


def leftovers(directory: Any) -> List[str]:
    return [name for name in os.listdir(str(directory)) if name.endswith(".tmp")]


# ---- there and back ----


def test_round_trip(snapshot: mprofile.Snapshot, tmp_path: Any) -> None:
    path = str(tmp_path / "heap.pb.gz")
    snapshot.write_pprof(path)
    again = mprofile.read_pprof(path)
    assert again.sample_rate == snapshot.sample_rate
    assert again.traceback_limit == snapshot.traceback_limit == 20
    for key_type in ("lineno", "filename", "traceback"):
        got = again.statistics(key_type)
        want = snapshot.statistics(key_type)
        assert got == want
        assert [one.size_error for one in got] == pytest.approx([one.size_error for one in want])
        assert [one.count_error for one in got] == pytest.approx([one.count_error for one in want])
    names = {frame.name for one in snapshot.traces for frame in one.traceback}
    assert names == {frame.name for one in again.traces for frame in one.traceback}
    # A file does not say which sample is which, so in a comparison with it none cancels.
    errors = {one.traceback: one.size_error for one in snapshot.statistics("traceback")}
    for change in snapshot.compare_to(again, "traceback"):
        assert change.size_diff == 0
        assert change.size_diff_error == pytest.approx(2**0.5 * errors[change.traceback])


def test_paths_and_files(snapshot: mprofile.Snapshot, tmp_path: Any) -> None:
    path = tmp_path / "heap.pb.gz"
    snapshot.write_pprof(str(path))
    snapshot.write_pprof(path)
    snapshot.write_pprof(os.fsencode(str(path)))
    buffer = io.BytesIO()
    snapshot.write_pprof(buffer)
    written = path.read_bytes()
    assert written == buffer.getvalue()
    assert written[:2] == b"\x1f\x8b" and written[4:8] == b"\0\0\0\0"  # gzip without a time
    plain = gzip.decompress(written)
    for source in (path, str(path), os.fsencode(str(path)), io.BytesIO(written), io.BytesIO(plain)):
        assert mprofile.read_pprof(source).statistics("lineno") == snapshot.statistics("lineno")
    with open(str(path), "rb") as file:
        assert mprofile.read_pprof(file).statistics("lineno") == snapshot.statistics("lineno")
    # Several members make one gzip file; zeros may follow.
    half = len(plain) // 2
    members = gzip.compress(plain[:half]) + gzip.compress(plain[half:]) + b"\0" * 100
    assert mprofile.read_pprof(io.BytesIO(members)).statistics("lineno") == snapshot.statistics("lineno")


def test_a_file_belongs_to_its_owner_alone(snapshot: mprofile.Snapshot, tmp_path: Any) -> None:
    path = tmp_path / "heap.pb.gz"
    path.write_bytes(b"old")
    os.chmod(str(path), 0o666)
    snapshot.write_pprof(path)
    assert stat.S_IMODE(os.stat(str(path)).st_mode) == 0o600
    assert leftovers(tmp_path) == []


def test_a_link_is_replaced_and_not_followed(snapshot: mprofile.Snapshot, tmp_path: Any) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    link = tmp_path / "heap.pb.gz"
    os.symlink(str(victim), str(link))
    snapshot.write_pprof(link)
    assert victim.read_bytes() == b"precious"
    assert not os.path.islink(str(link)) and mprofile.read_pprof(link)


def test_a_pipe_is_written_to(tmp_path: Any) -> None:
    code = (
        "import mprofile, sys; mprofile.start(); s = mprofile.take_snapshot(); s.write_pprof('/dev/stdout'); "
        "sys.stderr.write(str(len(s.traces)))"
    )
    for target in (subprocess.PIPE, open(str(tmp_path / "out"), "wb")):
        process = subprocess.run([sys.executable, "-c", code], stdout=target, stderr=subprocess.PIPE, timeout=60)
        assert process.returncode == 0, process.stderr
        data = process.stdout if target == subprocess.PIPE else (tmp_path / "out").read_bytes()
        assert len(mprofile.read_pprof(io.BytesIO(data)).traces) == int(process.stderr)
    assert stat.S_ISLNK(os.lstat("/dev/stdout").st_mode)


class Interrupted(Exception):
    pass


def test_nothing_half_written_remains(snapshot: mprofile.Snapshot, tmp_path: Any, monkeypatch: Any) -> None:
    path = tmp_path / "heap.pb.gz"
    path.write_bytes(b"old")

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device", "somewhere.tmp")

    for name in ("write", "fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError) as caught:
                snapshot.write_pprof(path)
        assert caught.value.errno == 28 and caught.value.filename == str(path)
        assert path.read_bytes() == b"old" and leftovers(tmp_path) == []

    def interrupt(*arguments: Any) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(Interrupted):
            snapshot.write_pprof(path)
    assert path.read_bytes() == b"old" and leftovers(tmp_path) == []


def test_short_writes_are_continued(tmp_path: Any, monkeypatch: Any) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:7])))
    _files.write_file(tmp_path / "file", b"0123456789" * 10)
    assert (tmp_path / "file").read_bytes() == b"0123456789" * 10


def test_where_nothing_can_be_written(snapshot: mprofile.Snapshot, tmp_path: Any) -> None:
    missing = tmp_path / "missing" / "heap.pb.gz"
    with pytest.raises(FileNotFoundError) as caught:
        snapshot.write_pprof(missing)
    assert caught.value.filename == str(missing)
    with pytest.raises(OSError):
        snapshot.write_pprof(tmp_path)
    assert leftovers(tmp_path) == []
    assert len(os.listdir(str(tmp_path))) == 0


# ---- what is no profile ----


def test_missing_file() -> None:
    with pytest.raises(FileNotFoundError):
        mprofile.read_pprof("/nowhere/heap.pb.gz")


@pytest.mark.parametrize(
    "data",
    [
        b"text, not a profile",
        b"\x1f\x8b",
        b"\x1f\x8bjunk",
        gzip.compress(b"text"),
        gzip.compress(b"x" * 100)[:-9],
        b"\xff" * 64,
    ],
)
def test_an_error_names_the_file(data: bytes, tmp_path: Any) -> None:
    path = tmp_path / "broken.pb.gz"
    path.write_bytes(data)
    with pytest.raises(ValueError) as caught:
        mprofile.read_pprof(path)
    assert str(caught.value).startswith(str(path) + ": ")
    with open(str(path), "rb") as file, pytest.raises(ValueError) as caught:
        mprofile.read_pprof(file)
    assert str(caught.value).startswith(str(path) + ": ")


def test_damage_is_found(snapshot: mprofile.Snapshot) -> None:
    buffer = io.BytesIO()
    snapshot.write_pprof(buffer)
    data = buffer.getvalue()
    for cut in (2, 10, len(data) // 2, len(data) - 1):
        with pytest.raises(ValueError, match="damaged gzip"):
            mprofile.read_pprof(io.BytesIO(data[:cut]))
    with pytest.raises(ValueError, match="damaged gzip"):
        mprofile.read_pprof(io.BytesIO(data + b"more"))
    changed = bytearray(data)
    changed[len(data) // 2] ^= 0xFF
    with pytest.raises(ValueError, match="damaged gzip"):
        mprofile.read_pprof(io.BytesIO(bytes(changed)))


def test_a_small_file_cannot_fill_the_memory(tmp_path: Any) -> None:
    bomb = tmp_path / "bomb.pb.gz"
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b"\0" * (1 << 20)
    bomb.write_bytes(b"".join(compressor.compress(zeros) for _ in range(64)) + compressor.flush())
    assert os.path.getsize(str(bomb)) < 100000
    with pytest.raises(ValueError, match="larger than the limit of 10485760 bytes when decompressed"):
        mprofile.read_pprof(bomb, max_size=10 << 20)
    with pytest.raises(ValueError, match="larger than the limit of 100 bytes"):
        mprofile.read_pprof(bomb, max_size=100)
    exact = gzip.compress(b"\0" * 1000)
    assert _files.read_file(io.BytesIO(exact), 1000) == b"\0" * 1000
    with pytest.raises(ValueError, match="limit of 999 bytes"):
        _files.read_file(io.BytesIO(exact), 999)


def test_a_file_open_for_text() -> None:
    with pytest.raises(TypeError, match="must be open for reading bytes, not str"):
        mprofile.read_pprof(io.StringIO("text"))  # type: ignore[arg-type]


# ---- profiles ----


def test_profile_of_a_file_and_of_its_snapshot(snapshot: mprofile.Snapshot, tmp_path: Any) -> None:
    profile = Profile.from_snapshot(snapshot)
    assert profile.snapshot is snapshot and profile.comments == []
    path = str(tmp_path / "heap.pb.gz")
    profile.write(path, comments=["first", "second \u00e9 \ud800"])
    again = Profile.read(path)
    assert again.comments == ["first", "second \u00e9 \\ud800"]
    again.write(path, comments=["third"])
    assert Profile.read(path).comments == ["first", "second \u00e9 \\ud800", "third"]
    assert again.meta["sample_rate"] == profile.meta["sample_rate"]
    assert again.meta["recording"] == profile.meta["recording"] != 0
    assert again.totals().inuse.bytes == pytest.approx(profile.totals().inuse.bytes)
    # What was allocated is written in whole bytes, stack by stack.
    rounding = float(len(profile.rows("stack")))
    assert again.totals().allocated.bytes == pytest.approx(profile.totals().allocated.bytes, abs=rounding)


def values(measures: Measures) -> List[float]:
    return [value for figures in measures for value in (figures.bytes, figures.blocks, figures.bytes_var)]


@pytest.mark.parametrize("by", ["line", "function", "file", "stack"])
def test_rows_add_up(snapshot: mprofile.Snapshot, by: str) -> None:
    profile = Profile.from_snapshot(snapshot)
    rows = profile.rows(by)
    totals = values(profile.totals())
    for i, total in enumerate(totals):
        assert sum(values(row.flat)[i] for row in rows) == pytest.approx(total)
    sizes = [row.flat.inuse.bytes for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    for row in rows:
        for flat, cumulative, total in zip(values(row.flat), values(row.cumulative), totals):
            assert flat <= cumulative * (1 + 1e-9) and cumulative <= total * (1 + 1e-9)
        for figures in row.cumulative:
            low, high = figures.bytes_interval()
            assert low <= figures.bytes <= high
            low, high = figures.blocks_interval(0.5)
            assert low <= figures.blocks <= high
        assert row.cumulative.allocated.bytes >= row.cumulative.inuse.bytes - 1e-6


def test_rows_say_what_they_are_of() -> None:
    snapshot = make_snapshot(0)
    profile = Profile.from_snapshot(snapshot)
    code = recursive.__code__

    def mine(by: str) -> List[Any]:
        return [row for row in profile.rows(by) if row.filename == __file__]

    functions = {row.name: row for row in mine("function")}
    row = functions["recursive"]
    assert row.lineno == code.co_firstlineno and row.frames == ()
    inner = 500 * (100 + sys.getsizeof(b"")) + 20 * (5000 + sys.getsizeof(b""))
    # Called four deep, each block counts once.
    assert inner <= row.cumulative.inuse.bytes < 1.2 * inner
    lines = {row.lineno: row for row in mine("line")}
    assert lines[code.co_firstlineno + 2].name == "recursive"
    assert inner <= lines[code.co_firstlineno + 2].cumulative.inuse.bytes < 1.2 * inner
    (file,) = mine("file")
    assert (file.lineno, file.name, file.frames) == (0, None, ())
    largest = profile.rows("stack")[0]
    assert [frame.name for frame in largest.frames].count("recursive") == 4
    assert (largest.filename, largest.lineno, largest.name) == (
        largest.frames[-1].filename,
        largest.frames[-1].lineno,
        largest.frames[-1].name,
    )
    assert values(largest.flat) == values(largest.cumulative)
    totals = profile.totals()
    # The garbage: 100 blocks of 1000 bytes were in use at the peak, and were allocated.
    assert totals.peak.bytes >= totals.inuse.bytes + 90000
    assert totals.allocated.bytes >= totals.peak.bytes
    with pytest.raises(ValueError, match="rows are by 'line' or 'function' or 'file' or 'stack', not by 'colour'"):
        profile.rows("colour")


def test_errors_of_figures() -> None:
    profile = Profile.from_snapshot(make_snapshot(500))
    inuse = profile.totals().inuse
    assert inuse.samples == len(profile.snapshot.traces)
    assert inuse.bytes_error == inuse.bytes_var**0.5 > 0
    assert inuse.blocks_error == inuse.blocks_var**0.5 > 0
    assert inuse.bytes == pytest.approx(sum(one.size * one.weight for one in profile.snapshot.traces))
    assert inuse.seen == sum(one.size for one in profile.snapshot.traces)
    low, high = inuse.bytes_interval()
    assert inuse.seen <= low < inuse.bytes < high
    assert "samples=%d" % inuse.samples in repr(inuse)
    exact = Profile.from_snapshot(make_snapshot(0)).totals().inuse
    assert exact.bytes_error == 0 and exact.bytes_interval() == (exact.bytes, exact.bytes)
