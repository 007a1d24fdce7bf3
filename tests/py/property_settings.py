# SPDX-License-Identifier: MIT
"""How many examples the property tests make, and which: few, and the same each time. To search longer:

    PROPERTY_EXAMPLES=N  each test makes N, at random
    PROPERTY_SEED=S      at random from this number, so that the same search can be made again

Without a seed Hypothesis draws one. Where a test fails it prints the example, and how to make it again.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Optional, TypeVar

from hypothesis import seed, settings

Test = TypeVar("Test", bound=Callable[..., Any])


def number(name: str, least: int) -> Optional[int]:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise ValueError("{}={!r} is not a whole number of {} or more".format(name, text, least))
    return int(text)


EXAMPLES = number("PROPERTY_EXAMPLES", 1)
SEED = number("PROPERTY_SEED", 0)
SEARCH = EXAMPLES is not None or SEED is not None


def examples(usual: int, **others: Any) -> Callable[[Test], Test]:
    """For a test: this many examples, always the same, if the environment does not say otherwise."""
    if SEARCH:
        others["print_blob"] = True
    chosen = settings(derandomize=not SEARCH, database=None, deadline=None, max_examples=EXAMPLES or usual, **others)

    def decorate(test: Test) -> Test:
        test = chosen(test)
        return test if SEED is None else seed(SEED)(test)

    return decorate
