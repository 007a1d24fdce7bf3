# SPDX-License-Identifier: MIT
"""apt-get with sources, lists and cache in a directory of its own.

It downloads what this machine's apt could not: another release, source, another architecture. Nothing is installed, so
it needs no root and changes nothing outside the directory. Needs apt-get and Debian's keyring.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import List, Sequence, Tuple

from machine import Failure, apt_install, must, say, twice

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class PrivateApt:
    """architecture: Debian's name of one for which nothing is installed yet; without it, this machine's."""

    def __init__(self, directory: Path, mirror: str, release: str, kind: str = "deb", architecture: str = "") -> None:
        if not shutil.which("apt-get"):
            raise Failure("needs Debian's packages, and there is no apt-get")
        if not KEYRING.exists():
            apt_install(["debian-archive-keyring"])
        apt = directory / "apt"
        self.downloads = directory / "downloads"
        shutil.rmtree(str(self.downloads), ignore_errors=True)
        for part in (apt / "state" / "lists" / "partial", self.downloads / "partial"):
            part.mkdir(parents=True, exist_ok=True)
        (apt / "cache").mkdir(exist_ok=True)
        status = Path("/var/lib/dpkg/status")
        if architecture:
            status = apt / "nothing-installed"
            status.touch()
        (apt / "sources.list").write_text(f"{kind} [signed-by={KEYRING}] {mirror} {release} main\n", encoding="utf-8")
        settings: List[Tuple[str, object]] = [
            ("Dir::Etc::sourcelist", apt / "sources.list"),
            ("Dir::Etc::sourceparts", "-"),
            ("Dir::State", apt / "state"),
            ("Dir::State::status", status),
            ("Dir::Cache", apt / "cache"),
            ("Dir::Cache::archives", self.downloads),
            ("APT::Sandbox::User", ""),  # all of it belongs to whoever runs this
            ("Acquire::Check-Valid-Until", "false"),  # a mirror that lags behind is good enough
            ("APT::Update::Error-Mode", "any"),  # one that is out of reach is not
        ]
        if architecture:
            settings += [("APT::Architecture", architecture), ("APT::Architectures", architecture)]
        (apt / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings), encoding="utf-8")
        self.environment = {"APT_CONFIG": str(apt / "apt.conf")}

    def download(self, *words: str) -> Path:
        """apt-get of the words without installing; the directory that has the files then."""
        say("apt-get --download-only " + " ".join(words))
        self._apt_get("update")
        self._apt_get("--download-only", *words)
        return self.downloads

    def _apt_get(self, *words: str) -> None:
        command: Sequence[str] = ["apt-get", "-q", *words]
        twice(lambda: must(command, self.downloads, self.environment))
