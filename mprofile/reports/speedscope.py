# SPDX-License-Identifier: MIT
"""A profile as speedscope's JSON: one "sampled" profile, its weights in bytes (or blocks, which have no unit there)."""

from __future__ import annotations

import json
from typing import Any, Dict, List

from mprofile._version import __version__
from mprofile.profile import Profile
from mprofile.reports.functions import paths, title
from mprofile.reports.names import printable

__all__ = ["render"]

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def render(profile: Profile, metric: str) -> str:
    """metric: as for functions.paths(). Weights are rounded to whole numbers."""
    found = paths(profile, metric)
    frames: List[Dict[str, Any]] = []
    for function in found.functions:
        frame: Dict[str, Any] = {"name": printable(function.name) if function.name else function.place(found.directory)}
        if function.filename:
            frame["file"] = printable(function.filename)
        if function.firstlineno:
            frame["line"] = function.firstlineno
        frames.append(frame)
    # Paths that have something in common side by side: the chart in order of time then is a flame graph.
    samples = sorted(path for path, value in found.values.items() if round(value) > 0)
    weights = [round(found.values[path]) for path in samples]
    name = title(profile, metric)
    document = {
        "$schema": SCHEMA,
        "name": name,
        "exporter": "mprofile " + __version__,
        "activeProfileIndex": 0,
        "shared": {"frames": frames},
        "profiles": [
            {
                "type": "sampled",
                "name": name,
                "unit": "none" if found.blocks else "bytes",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        ],
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n"
