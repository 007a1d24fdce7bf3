# SPDX-License-Identifier: MIT
"""The argument parser of all commands: what is wrong goes into one line."""

from __future__ import annotations

import argparse
from typing import NoReturn

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """An ArgumentParser without abbreviations, whose text stays as it is written, and whose errors are one line."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, "{0}: error: {1} (see {0} --help)\n".format(self.prog, message))
