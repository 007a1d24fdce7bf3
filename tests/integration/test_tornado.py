# SPDX-License-Identifier: MIT
"""A web server from start to SIGTERM: `mprofile run`, load over the loopback interface, report, Go's pprof tool."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
from typing import Tuple

import pytest
from processes import MPROFILE
from programs import go_pprof

from mprofile.profile import Profile

pytestmark = pytest.mark.module("tornado")

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER = ROOT / "examples" / "tornado_server.py"
LOAD = ROOT / "examples" / "load.py"
REQUESTS = 2000


def serve(directory: pathlib.Path) -> Tuple[str, str]:
    """Run the server under load until SIGTERM. Returns the profile's path and what was on stderr."""
    output = str(directory / "server.pb.gz")
    server = subprocess.Popen(
        [MPROFILE, "run", "--sample-rate", "16K", "-o", output, str(SERVER), "--port", "0"],
        cwd=str(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        load = subprocess.run(
            [sys.executable, str(LOAD), url, "--requests", str(REQUESTS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            timeout=300,
        )
        assert load.returncode == 0, load.stdout
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=300)
    finally:
        if server.poll() is None:
            server.kill()
            server.communicate()
    assert server.returncode == -signal.SIGTERM, errors
    return output, errors


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Tuple[str, str]:
    return serve(tmp_path_factory.mktemp("server"))


def test_stderr_ends_with_what_to_type_next(served: Tuple[str, str]) -> None:
    path, errors = served
    assert errors.endswith("mprofile: wrote {0}\nmprofile: next, type: mprofile report {0}\n".format(path))
    assert "ThumbnailCache.render" in errors or sys.version_info < (3, 11)


def test_the_cache_is_found(served: Tuple[str, str]) -> None:
    """150 different pictures are asked for, and the cache keeps 100 of them."""
    rows = [row for row in Profile.read(served[0]).rows("function") if row.name and row.name.endswith("render")]
    rows = [row for row in rows if row.filename.endswith("tornado_server.py")]
    low, high = rows[0].flat.inuse.bytes_interval(0.9999)
    assert low <= 100 * sys.getsizeof(bytes(65536)) <= high


def test_stacks_reach_from_the_program_to_the_handler(served: Tuple[str, str]) -> None:
    """Nothing of the profiler is on them: the outermost frame is the program's."""
    stacks = [row.frames for row in Profile.read(served[0]).rows("stack") if row.name and row.name.endswith("render")]
    stack = [(os.path.basename(frame.filename), frame.name.rpartition(".")[2]) for frame in stacks[0]]
    assert stack[0] == ("tornado_server.py", "<module>")
    assert ("tornado_server.py", "get") in stack
    assert stack[-1] == ("tornado_server.py", "render")


@pytest.mark.tool("go")
def test_report_and_pprof_agree(served: Tuple[str, str]) -> None:
    path = served[0]
    report = subprocess.run(
        [MPROFILE, "report", path], stdout=subprocess.PIPE, universal_newlines=True, timeout=300, check=True
    )
    shown = re.search(r"^in use +(\d+\.\d) MiB \(.*, from [\d,]+ samples$", report.stdout, re.MULTILINE)
    assert shown is not None, report.stdout
    top = go_pprof("-top", "-sample_index=inuse_space", "-unit=B", path)
    total = re.search(r"of (\d+)B total", top)
    assert total is not None, top
    assert int(total.group(1)) == pytest.approx(Profile.read(path).totals().inuse.bytes, rel=1e-6)
    assert float(shown.group(1)) == pytest.approx(int(total.group(1)) / 1024**2, abs=0.051)
