# SPDX-License-Identifier: MIT
"""The CPythons on this machine: pyenv's versions, and python3.7 ... python3.15 on PATH.

Free-threaded and debug builds (python3.13t, python3.13d, Debian's python3.13-dbg) are among them.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SUPPORTED = range(7, 16)
PROBE = """
import json, os, sys, sysconfig
print(json.dumps({
    "path": os.path.realpath(sys.executable),
    "name": sys.implementation.name,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "minor": list(sys.version_info[:2]),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "debug": bool(sysconfig.get_config_var("Py_DEBUG")),
}))
"""


class Interpreter(NamedTuple):
    path: str
    tag: str  # 3.11.7, 3.14.0t, 3.11.2d
    order: Tuple[int, ...]

    @property
    def kind(self) -> str:  # 3.11, 3.14t, 3.11d
        return "{}.{}".format(*self.order) + self.tag.lstrip("0123456789.")


def candidates() -> List[str]:
    found = []
    if shutil.which("pyenv"):
        root = subprocess.check_output(["pyenv", "root"], universal_newlines=True).strip()
        found += sorted(glob.glob(os.path.join(root, "versions", "*", "bin", "python")))
    for minor in SUPPORTED:
        for suffix in ("", "t", "d", "td", "-dbg"):
            for directory in os.get_exec_path():
                path = os.path.join(directory, f"python3.{minor}{suffix}")
                if os.access(path, os.X_OK) and os.path.basename(os.path.dirname(path)) != "shims":
                    found.append(path)
    found.append(sys.executable)
    return found


def discover(besides: Sequence[str] = ()) -> List[Interpreter]:
    """One entry a real executable, oldest first."""
    interpreters: Dict[str, Interpreter] = {}
    for path in [*candidates(), *besides]:
        facts = probe(path)
        if not facts or facts["name"] != "cpython" or facts["minor"][0] != 3 or facts["minor"][1] not in SUPPORTED:
            continue
        tag = facts["version"] + ("t" if facts["free_threaded"] else "") + ("d" if facts["debug"] else "")
        order = tuple(int(part) for part in facts["version"].split("."))
        interpreters.setdefault(facts["path"], Interpreter(facts["path"], tag, order))
    return sorted(interpreters.values(), key=lambda interpreter: (interpreter.order, interpreter.tag, interpreter.path))


def probe(path: str) -> Dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    run = subprocess.run([path, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    return dict(json.loads(run.stdout)) if run.returncode == 0 else {}


def chosen(names: List[str], wanted: Optional[List[str]]) -> bool:
    """Whether a thing of these names is wanted: 3.11 is every 3.11.x but 3.11.xd, no wish is everything."""
    return not wanted or any(
        name == wish or (name.startswith(wish + ".") and name[-1].isdigit()) for name in names for wish in wanted
    )


def unusable(interpreter: Interpreter) -> Optional[str]:
    check = os.path.join(ROOT, "tools", "check_python.py")
    run = subprocess.run([interpreter.path, check], stderr=subprocess.PIPE, universal_newlines=True)
    if run.returncode == 0:
        return None
    return run.stderr.splitlines()[0].partition("mprofile: ")[2].replace(interpreter.path + " ", "", 1)
