# SPDX-License-Identifier: MIT
"""`python -m mprofile` is the command `mprofile`."""

import sys

from mprofile.cli import main

if __name__ == "__main__":
    sys.exit(main())
