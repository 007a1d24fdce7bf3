# SPDX-License-Identifier: MIT
"""Builds the C modules of the hazard tests before the first of them, once."""

from __future__ import annotations

import os
from typing import Iterator

import harness
import pytest


@pytest.fixture(scope="session", autouse=True)
def hazard_modules() -> Iterator[None]:
    try:
        harness.extensions()
    except harness.NoCompiler as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    yield
    harness.forget_extensions()
