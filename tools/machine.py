# SPDX-License-Identifier: MIT
"""What this machine has, and gets: Debian's packages and mirror, and steps that are tried twice."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

ROOT = Path(__file__).resolve().parents[1]
# One at a time: apt's own lock makes the second one fail.
_apt = threading.Lock()


class Failure(Exception):
    """Something that cannot be set up; the text says why, and what to do."""


def say(text: str) -> None:
    print("==", text, flush=True)


def must(command: Sequence[str], directory: Optional[Path] = None, environment: Optional[Dict[str, str]] = None) -> str:
    """What the command prints; its last lines and its status are the failure."""
    done = subprocess.run(
        command,
        cwd=str(directory or ROOT),
        env=dict(os.environ, **(environment or {})),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    if done.returncode != 0:
        raise Failure("{} failed ({}):\n{}".format(" ".join(command), done.returncode, last_lines(done.stdout)))
    return done.stdout


def last_lines(text: str, most: int = 12) -> str:
    return "\n".join([line for line in text.splitlines() if line.strip()][-most:])


def twice(step: Callable[[], object]) -> None:
    """A mirror may be out of reach for a moment: the step is tried once again."""
    try:
        step()
    except Failure as failure:
        say("once again: {}".format(failure))
        step()


def own_mirror() -> str:
    """The archive that this machine's apt takes Debian from."""
    found = _archives()
    if not found and os.geteuid() == 0:  # origins are known once there are lists
        apt_update()
        found = _archives()
    if not found:
        raise Failure("apt knows no Debian archive here: run apt-get update as root, or give --mirror URL")
    return found[0]


def _archives() -> List[str]:
    try:
        lines = must(
            ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages"]
        ).splitlines()
    except (Failure, FileNotFoundError):
        return []
    return [uri for uri, _, rest in (line.partition(" ") for line in lines) if rest == "Debian Debian"]


def apt_update() -> None:
    with _apt:
        twice(lambda: must(["apt-get", "-q", "update"]))


def apt_install(packages: Sequence[str]) -> None:
    """Installs Debian's packages on this machine, when root asks."""
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    if os.geteuid() != 0:
        raise Failure("needs Debian's packages, as root: apt-get install " + " ".join(packages))
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        with _apt:
            must(command, environment=environment)
    except FileNotFoundError:
        raise Failure("needs Debian's packages, and there is no apt-get: " + " ".join(packages)) from None
    except Failure:  # there may be no lists of packages, or old ones
        apt_update()
        with _apt:
            must(command, environment=environment)
