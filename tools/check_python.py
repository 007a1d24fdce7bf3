# SPDX-License-Identifier: MIT
"""Says in one line why an interpreter cannot be used to build mprofile, and exits with status 1."""

import os
import sys
import sysconfig


def problem():
    # Old interpreters run this too: no syntax newer than Python 2.7.
    version = "%d.%d" % sys.version_info[:2]
    if sys.version_info < (3, 7):
        return "%s is Python %s; 3.7 or newer is needed" % (sys.executable, version)
    if sys.implementation.name != "cpython":
        return "%s is %s; CPython is needed" % (sys.executable, sys.implementation.name)
    if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
        return "%s has no Python.h; install its development package (python3-dev or the like)" % sys.executable
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        return "%s makes no virtual environments; install its venv package (python3-venv or the like)" % sys.executable
    return None


if __name__ == "__main__":
    message = problem()
    if message:
        sys.exit("mprofile: " + message + "\nmprofile: choose another one: make PYTHON=/path/to/python3 ...")
