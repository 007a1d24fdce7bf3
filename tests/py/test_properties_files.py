# SPDX-License-Identifier: MIT
"""What holds for any snapshot that goes into a file, for any two that are merged, and for any size that is written.

PROPERTY_EXAMPLES=N and PROPERTY_SEED=S in the environment make a longer search (property_settings.py).
"""

from __future__ import annotations

import collections
import io
import math
import os
import re
import tempfile
from fractions import Fraction
from typing import Any, List, Optional, Tuple
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from property_settings import examples

import mprofile
from mprofile import _core, _environment
from mprofile._sizes import UNITS, format_size, parse_size
from mprofile.profile import Profile

# ---- snapshots ----

filenames = st.one_of(
    st.sampled_from(["a.py", "b.py", "dir/c.py", "<frozen importlib>", "\ud800.py", "\u20ac", ""]),
    st.text(max_size=8),
    st.text(st.characters(), max_size=4),  # with lone surrogates
)
frames = st.tuples(filenames, st.integers(0, 1 << 31))
traces = st.lists(
    st.tuples(
        st.one_of(st.just(0), st.integers(0, (1 << 32) - 1)),
        st.one_of(st.integers(0, 4096), st.integers(0, 1 << 40)),
        st.lists(frames, min_size=1, max_size=6).map(tuple),
    ),
    max_size=30,
)


def named(text: str) -> str:
    """As it is in a file, which holds nothing but UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def totals(profile: Profile) -> List[Tuple[float, ...]]:
    return [(each.bytes, each.blocks, each.seen, float(each.samples)) for each in profile.totals()]


def by_stack(*profiles: Profile) -> Any:
    """Bytes in use of each stack, also where they are 0."""
    sums: Any = collections.Counter()
    for profile in profiles:
        sums.update({row.frames: row.flat.inuse.bytes for row in profile.rows("stack")})
    return sums


@examples(50)
@given(traces=traces, limit=st.integers(1, 65535))
def test_any_snapshot_comes_back_from_dump(traces: List[Any], limit: int) -> None:
    snapshot = mprofile.Snapshot(traces, limit)
    snapshot.note = "kept"  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "snapshot")
        snapshot.dump(path)
        loaded = mprofile.Snapshot.load(path)
    assert loaded.traces == snapshot.traces
    assert [trace[:3] for trace in loaded.traces._traces] == traces
    assert loaded.traceback_limit == limit
    assert vars(loaded)["note"] == "kept"
    assert loaded.statistics("traceback") == snapshot.statistics("traceback")
    assert Profile.from_snapshot(loaded).meta == Profile.from_snapshot(snapshot).meta


@examples(50)
@given(traces=traces)
def test_any_snapshot_comes_back_from_pprof(traces: List[Any]) -> None:
    snapshot = mprofile.Snapshot(traces, 100)
    file = io.BytesIO()
    snapshot.write_pprof(file)
    file.seek(0)
    read = Profile.read(file)
    assert totals(read)[0] == (sum(t[1] for t in traces), len(traces), sum(t[1] for t in traces), len(traces))
    expected: Any = collections.Counter()
    for _, size, stack in traces:
        expected[tuple((named(filename), lineno) for filename, lineno in reversed(stack))] += size
    assert by_stack(read) == expected
    domains = collections.Counter((t[0], t[1]) for t in traces)
    found: Any = collections.Counter()
    for i in range(len(read.traces)):
        trace, block = read.traces[i], read.traces.block(i)
        found[(trace[0], trace[1])] += round(block[1])
    assert found == domains

    again = io.BytesIO()
    read.write(again)
    again.seek(0)
    second = Profile.read(again)
    assert totals(second) == totals(read) and by_stack(second) == by_stack(read)


@examples(30)
@given(first=traces, second=traces, third=traces)
def test_merging_adds_in_any_order(first: List[Any], second: List[Any], third: List[Any]) -> None:
    one, two, three = (Profile.from_snapshot(mprofile.Snapshot(each, 100)) for each in (first, second, third))
    merged = Profile.merge([one, two])
    assert totals(merged) == totals(Profile.merge([two, one]))
    assert by_stack(merged) == by_stack(Profile.merge([two, one])) == by_stack(one, two)
    assert totals(merged)[0] == tuple(a + b for a, b in zip(totals(one)[0], totals(two)[0]))
    left, right = Profile.merge([merged, three]), Profile.merge([one, Profile.merge([two, three])])
    assert totals(left) == totals(right) == totals(Profile.merge([one, two, three]))
    assert by_stack(left) == by_stack(right)


# ---- sizes ----

SCALES = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SCALES.update({unit + "iB": SCALES[unit] for unit in "KMGT"})

LIKE_SIZES = st.one_of(
    st.from_regex(r"\A\s*[0-9]{1,20}(\.[0-9]{0,4})?\s*([KMGTkmgt](iB|ib|IB)?|[bB])?\s*\Z"),
    st.text(st.sampled_from("0123456789.eE+-_ KMGTiBkb\u0660\uff11\n"), max_size=8),
    st.text(max_size=8),
)


def meant(text: str) -> Optional[Fraction]:
    """The size by its definition, before rounding; None if there is none."""
    rest = text.strip()
    digits = ""
    while rest and rest[0] in "0123456789.":
        digits += rest[0]
        rest = rest[1:]
    whole, point, part = digits.partition(".")
    if "." in part or not whole + part:
        return None
    units = {unit.upper(): scale for unit, scale in SCALES.items()}
    unit = rest.lstrip(" \t\n\r\f\v")
    # upper() makes ASCII of letters that are not.
    if not all(ord(letter) < 128 for letter in unit) or unit.upper() not in units:
        return None
    return Fraction(int(whole + part or "0"), 10 ** len(part)) * units[unit.upper()]


@examples(200)
@given(text=LIKE_SIZES)
def test_any_text_is_a_size_or_is_refused_by_name(text: str) -> None:
    size = meant(text)
    try:
        parsed = parse_size(text)
    except ValueError as error:
        assert repr(text) in str(error) and "a number of bytes, like" in str(error)
        assert size is None or size >= (1 << 62) - (1 << 10 if "." in text else 0)
    else:
        assert size is not None and size < 1 << 62
        # A fraction is rounded; one of more than 2^53 bytes to what a float can say.
        assert abs(parsed - size) <= max(Fraction(1, 2), size / (1 << 51))
        assert parsed == size or "." in text


@examples(50)
@given(size=st.integers(0, 1 << 61))
def test_whole_sizes_are_read_as_they_are(size: int) -> None:
    assert parse_size(str(size)) == parse_size(" {} b ".format(size)) == size
    for unit, scale in SCALES.items():
        assert parse_size(str(size // scale) + unit) == size // scale * scale


@examples(50)
@given(size=st.floats(-1e18, 1e18), sign=st.booleans())
def test_written_sizes_are_near(size: float, sign: bool) -> None:
    text = format_size(size, sign)
    match = re.fullmatch(r"([+-]?)([0-9]+)(\.[0-9])? (B|KiB|MiB|GiB|TiB)", text)
    assert match is not None, text
    plus, whole, part, unit = match.groups()
    assert (plus == "-") == (math.copysign(1, size) < 0) and (plus == "+") == (sign and plus != "-")
    step = 1024 ** UNITS.index(unit)
    written = float(plus.replace("+", "") + whole + (part or "")) * step
    assert abs(written - size) <= (0.0501 if part else 0.501) * step
    assert len(whole) <= 5 or unit == "TiB"


# ---- the environment ----

printable = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8)
counts = st.one_of(
    st.integers(-5, 70000).map(str),
    st.sampled_from(["0", "1", "65535", "65536"]),
    st.text(st.sampled_from("0123456789 +-_.x\u0660"), max_size=6),
    printable,
)
rates = st.one_of(
    st.from_regex(r"\A[0-9]{1,14}[KMGTkmgt]?\Z"), LIKE_SIZES.filter(lambda text: "\0" not in text), printable
)


def started(rate: str, frames: str) -> Tuple[bool, Any, str]:
    """Whether the profiler was started, with which arguments, and what stderr was told."""
    errors = io.StringIO()
    environ = {"MPROFILERATE": rate, "MPROFILEFRAMES": frames}
    with mock.patch.dict(os.environ, environ), mock.patch.object(_environment.sys, "stderr", errors):
        try:
            result = _environment.start()
            arguments = (_core.get_traceback_limit(), _core.get_sample_rate()) if result else None
            assert _core.is_tracing() == result
        finally:
            _core.stop()
    return result, arguments, errors.getvalue()


def allowed_frames(text: str) -> Optional[int]:
    if not text.strip():
        return 128
    try:
        frames = int(text)
    except ValueError:
        return None
    return frames if 1 <= frames <= 65535 else None


@examples(150)
@given(rate=rates, frames=st.one_of(st.just(""), counts))
def test_any_environment_starts_or_is_named(rate: str, frames: str) -> None:
    result, arguments, said = started(rate, frames)
    if not rate.strip():
        assert (result, said) == (False, "")
        return
    wanted_frames = allowed_frames(frames)
    try:
        wanted_rate: Optional[int] = parse_size(rate)
    except ValueError:
        wanted_rate = None
    if wanted_rate is not None and wanted_rate > 1 << 40:
        wanted_rate = None
    if wanted_frames is not None and wanted_rate is not None:
        assert (result, said) == (True, "")
        assert arguments == (wanted_frames, wanted_rate)
        return
    name, value = ("MPROFILEFRAMES", frames) if wanted_frames is None else ("MPROFILERATE", rate)
    assert not result
    assert said.startswith("mprofile: {}={!r} not used, running without the profiler: ".format(name, value))
    assert said.count("\n") == 1


@pytest.mark.parametrize("rate, arguments", [("0", (128, 0)), ("1", (128, 1)), ("128K", (128, 131072))])
def test_the_environment_that_is_documented(rate: str, arguments: Tuple[int, int]) -> None:
    assert started(rate, "") == (True, arguments, "")
