# SPDX-License-Identifier: MIT
"""A profile as collapsed stacks: `outermost;...;innermost number` a line, as flamegraph.pl and its kin read them."""

from __future__ import annotations

from mprofile.profile import Profile
from mprofile.reports.functions import paths

__all__ = ["render"]


def render(profile: Profile, metric: str) -> str:
    """metric: as for functions.paths(). Numbers are rounded; a semicolon in a name becomes a colon."""
    found = paths(profile, metric)
    names = [function.shown(found.directory).replace(";", ":") for function in found.functions]
    lines = [
        "{} {}\n".format(";".join([names[number] for number in path]), round(value))
        for path, value in found.values.items()
        if round(value) > 0
    ]
    return "".join(sorted(lines))
