# SPDX-License-Identifier: MIT
"""Starts the profiler in an interpreter that `mprofile run` made (see mprofile/cli/run.py), and steps aside.

`site` imports this before the program, because its directory stands first in PYTHONPATH. It undoes that, starts the
profiler, and then lets `site` have the sitecustomize that it would have found: if there is none, the failing import at
the end is just what `site` expects.
"""

import json
import os
import sys


def _start() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)

    text = os.environ.pop("MPROFILE_RUN", None)
    if text is None:
        return
    settings = json.loads(text)
    before = settings["pythonpath"]
    if before is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = before

    # The package may have been found through a path that this interpreter does not have (`python -m mprofile`).
    root = os.path.dirname(os.path.dirname(os.path.dirname(here)))
    added = root not in sys.path
    if added:
        sys.path.append(root)
    try:
        from mprofile.cli.session import begin

        begin(settings)
    except Exception as error:
        sys.stderr.write("mprofile: cannot start, the program runs without it: {}\n".format(error))
    finally:
        if added:
            sys.path.remove(root)
            sys.path_importer_cache.pop(root, None)


_start()
del sys.modules["sitecustomize"]
import sitecustomize  # noqa: E402, F401
