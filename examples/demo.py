# SPDX-License-Identifier: MIT
"""`make demo`: a web server under `mprofile run`, requests over the loopback interface, and what the profile says.

Leaves heap.pb.gz in build/demo. Takes seconds; every wait has a bound.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import List

from load import load

HERE = os.path.dirname(os.path.abspath(__file__))
DIRECTORY = os.path.join(os.path.dirname(HERE), "build", "demo")
REQUESTS = 20000


def step(words: List[str]) -> None:
    print("\n$ " + " ".join(words), flush=True)


def main() -> int:
    os.makedirs(DIRECTORY, exist_ok=True)
    profile = os.path.relpath(os.path.join(DIRECTORY, "heap.pb.gz"))
    script = os.path.relpath(os.path.join(HERE, "tornado_server.py"))
    words = ["run", "--sample-rate", "128K", "-o", profile, script, "--port", "0"]
    step(["mprofile", *words, "&"])
    mprofile = os.path.join(os.path.dirname(sys.executable), "mprofile")
    server = subprocess.Popen([mprofile, *words], stdout=subprocess.PIPE, universal_newlines=True)
    try:
        assert server.stdout is not None
        greeting = server.stdout.readline().strip()
        if not greeting.startswith("listening on "):
            print("demo: the server did not start: {!r}".format(greeting), file=sys.stderr)
            return 1
        print(greeting)
        url = greeting.split()[-1]
        step(["python", "examples/load.py", url, "--requests", str(REQUESTS)])
        failures = load(url, REQUESTS, connections=4)
        print("{} requests, {} failed".format(REQUESTS, len(failures)), flush=True)
        step(["kill", "-TERM", str(server.pid)])
        server.send_signal(signal.SIGTERM)
        status = server.wait(timeout=60)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
    if failures or status != -signal.SIGTERM:
        problem = failures[0] if failures else "the server ended with status {}".format(status)
        print("demo: " + problem, file=sys.stderr)
        return 1
    print("\nThe profile is in {}. Other things to type:".format(profile))
    command = os.path.relpath(mprofile)
    print("  {} report --by line {}".format(command, profile))
    print("  {} report --by stack --limit 3 {}".format(command, profile))
    print("  {} report --sort peak {}".format(command, profile))
    print("  go tool pprof -http=:8080 {}".format(profile))
    return 0


if __name__ == "__main__":
    sys.exit(main())
