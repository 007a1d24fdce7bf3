# SPDX-License-Identifier: MIT
"""`mprofile leaks` finds planted leaks and accuses nobody else. leak_precision.py measures it over many seeds."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap
from typing import Iterator, List

import leak_precision
import pytest
from processes import MPROFILE
from programs import go_pprof

# Without the floats: what they are made of was allocated by others. See docs/howto-find-a-leak.md.
LEAKS = ["cache", "listeners", "reference", "closure"]


def leaks(*words: str) -> str:
    done = subprocess.run([MPROFILE, "leaks", *words], stdout=subprocess.PIPE, universal_newlines=True, timeout=300)
    assert done.returncode == 0
    return done.stdout


def runs(case: str, seed: int, rate: int, directory: pathlib.Path) -> Iterator[List[str]]:
    """Profiles of up to three runs. Growth is judged over time: a program that a busy machine holds up again and again
    does not grow steadily."""
    for attempt in range(3):
        (directory / str(attempt)).mkdir()
        yield leak_precision.run(case, seed, rate, str(directory / str(attempt)))


@pytest.mark.parametrize("rate", [0, 4096])
@pytest.mark.parametrize("case", LEAKS)
def test_planted(case: str, rate: int, tmp_path: pathlib.Path) -> None:
    for files in runs(case, 1, rate, tmp_path):
        result, text = leak_precision.judge(files), leaks(*files)
        found = result.right and result.all[0] == result.right[0]
        # What a leak takes from the interpreter's free lists is named by the line that first allocated it: lists and
        # bound methods have such lists in older versions.
        if found and len(result.wrong) <= 3 and "suspects, by line" in text and "leaky.py:" in text and "leak_" in text:
            break
    else:
        pytest.fail("not found in three runs; in the last: {}\n{}".format(result, text))


@pytest.mark.parametrize("rate", [0, 4096])
@pytest.mark.parametrize("seed", [1, 2])
def test_innocent(seed: int, rate: int, tmp_path: pathlib.Path) -> None:
    for files in runs("none", seed, rate, tmp_path):
        text = leaks(*files)
        innocent = leak_precision.judge(files) == leak_precision.Result([], [], []) and "no suspect" in text
        if innocent and (rate != 0 or "make_row" in text.partition("settled: ")[2]):
            break
    else:
        pytest.fail("accused in three runs; in the last:\n{}".format(text))


def test_history_of_a_running_program(tmp_path: pathlib.Path) -> None:
    """As a user would: a program under `mprofile run --history`, which leaks for twelve seconds."""
    program = tmp_path / "server.py"
    program.write_text(
        textwrap.dedent("""
            import time

            cache = {}

            def answer(number):
                cache[number] = bytes(3000)
                return bytearray(100000)

            begin = time.monotonic()
            number = 0
            while time.monotonic() < begin + 12:
                # The leak grows with time, whatever holds the program up.
                while number < (time.monotonic() - begin) * 300:
                    answer(number)
                    number += 1
                time.sleep(0.002)
        """)
    )
    subprocess.run(
        [MPROFILE, "run", "--sample-rate", "16K", "--every", "0.2", "--history", "profiles", str(program)],
        cwd=str(tmp_path),
        stderr=subprocess.DEVNULL,
        timeout=300,
        check=True,
    )
    text = leaks(str(tmp_path / "profiles"))
    suspects = text[text.index("suspects, by line") :]
    assert "answer" in suspects and ":7" in suspects
    assert ":8  answer" not in suspects  # what it gives back is freed
    assert "of what it allocated in the first" in suspects
    old = leaks("--older-than", "1s", *[str(path) for path in tmp_path.glob("*.pb.gz")])
    assert "in use for 1 s or more, by line" in old
    assert ":7  answer" in old


@pytest.mark.tool("go")
def test_go_tells_blocks_by_their_age(tmp_path: pathlib.Path) -> None:
    program = """
        import time, mprofile
        def early():
            return bytes(1000000)
        def late():
            return bytes(2000000)
        mprofile.start()
        kept = [early()]
        time.sleep(1.3)
        for _ in range(100):
            born = time.monotonic()
            kept[1:] = [late()]
            snapshot = mprofile.take_snapshot()
            if time.monotonic() < born + 1:
                break
        snapshot.write_pprof("heap.pb.gz")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=str(tmp_path), check=True, timeout=300)
    for label, name, other in (("age=1s:", "early", "late"), ("", "late", "nobody")):
        words = ["-top", "-sample_index=inuse_space", "-tagfocus", label, "heap.pb.gz"]
        text = go_pprof(*words, cwd=str(tmp_path))
        names = {line.split()[-1] for line in text.splitlines() if line}
        assert name in names and other not in names
