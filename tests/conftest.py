# SPDX-License-Identifier: MIT
"""What all tests share.

A test that needs a program of the machine says so: @pytest.mark.tool("go"); one that needs a module from PyPI,
@pytest.mark.module("tornado"). Where it is missing the test skips with the reason; under continuous integration (CI set
in the environment) it fails, for there nothing may go untested in silence.

Tests run in an empty directory. In the project's own the package without its extension module would be found first.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from typing import Iterator

import pytest

# A job that a shell runs in the background is born with SIGINT ignored, and its children with it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "tool(name, ...): the test needs these programs on PATH")
    config.addinivalue_line("markers", "module(name, ...): the test needs these modules")


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [
        f"the program {name}, which is not on PATH"
        for marker in item.iter_markers("tool")
        for name in marker.args
        if shutil.which(name) is None
    ]
    missing += [
        f"the module {name}"
        for marker in item.iter_markers("module")
        for name in marker.args
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        message = "needs " + " and ".join(missing)
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)


@pytest.fixture(scope="session", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    here = os.getcwd()
    os.chdir(str(tmp_path_factory.mktemp("elsewhere")))
    yield
    os.chdir(here)
