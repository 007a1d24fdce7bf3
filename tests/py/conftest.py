# SPDX-License-Identifier: MIT
"""What the tests of the extension's parts share."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    path = Path(__file__).parent / "ext" / "build_probe.py"
    spec = importlib.util.spec_from_file_location("build_probe", str(path))
    assert spec is not None and spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    try:
        module = builder.load(tmp_path_factory.mktemp("probe"))
    except builder.NoCompilerError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    assert isinstance(module, ModuleType)
    return module
