# SPDX-License-Identifier: MIT
"""The argument parser of all commands: what is wrong goes into one line."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

__all__ = ["Parser", "columns"]


def columns() -> int:
    """Columns of the terminal: what COLUMNS says in the environment, what the terminal says, or 80.

    As shutil.get_terminal_size() has it; but importing shutil takes longer than reading a small profile."""
    try:
        told = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        told = 0
    if told > 0:
        return told
    try:
        return os.get_terminal_size().columns or 80
    except OSError:  # stdout is no terminal
        return 80


class Formatter(argparse.RawDescriptionHelpFormatter):
    """One is made for each option that a parser gets."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=columns() - 2)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser without abbreviations, whose text stays as it is written, and whose errors are one line."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=Formatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, "{0}: error: {1} (see {0} --help)\n".format(self.prog, message))
