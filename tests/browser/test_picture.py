# SPDX-License-Identifier: MIT
"""The page of a real recording: the example server under load. Its picture is the README's (`make picture`)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from processes import MPROFILE
from view import View

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLES = os.path.join(ROOT, "examples")
REQUESTS = int(os.environ.get("PICTURE_REQUESTS", "4000"))


def test_the_example_server(browser: Any, tmp_path: Any, screenshot: Any) -> None:
    sys.path.insert(0, EXAMPLES)
    try:
        from load import load
    finally:
        sys.path.remove(EXAMPLES)
    profile, history, page = (str(tmp_path / name) for name in ("heap.pb.gz", "history", "heap.html"))
    options = ["--sample-rate", "128K", "-o", profile, "--history", history]
    server = subprocess.Popen(
        [MPROFILE, "run", *options, "examples/tornado_server.py", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, cwd=ROOT,
    )
    try:
        assert server.stdout is not None
        greeting = server.stdout.readline().split()
        assert greeting and load(greeting[-1], REQUESTS, connections=4) == []
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=60)
    finally:
        if server.poll() is None:
            server.kill()
            server.communicate()
    assert server.returncode == -signal.SIGTERM, said
    subprocess.run([MPROFILE, "flamegraph", history, "-o", page], check=True, cwd=ROOT)
    view = View(browser, page)
    view.open(width=1280, height=900)
    assert "tornado_server.py" in view.text("h1")
    assert view.shown("#history svg"), "heap and resident memory over time"
    assert "2 functions" in view.search("ThumbnailCache.")  # with the point: not the class's body, sampled now and then
    view.open(width=1280, height=900)
    screenshot("readme")
