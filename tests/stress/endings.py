# SPDX-License-Identifier: MIT
"""A process that ends in some way at some moment, while its threads allocate: what stress.py --exits starts many of.

    [mprofile run -o DIRECTORY/profile.pb.gz] python endings.py SEED DIRECTORY

plan() draws everything from the seed, so that who starts the process knows how it must end.
"""

from __future__ import annotations

import atexit
import os
import random
import signal
import sys
import threading
import time
from typing import Any, List, NamedTuple, Optional

ENDINGS = (
    "fall off",
    "sys.exit",
    "os._exit",
    "exception",
    "os._exit in a thread",
    "SIGTERM",
    "SIGTERM twice",
    "SIGTERM deep in C",
    "SIGKILL",
    "abort",
    "exec",
    "sys.exit in a forked child",
    "stop, then fall off",
)
#: Sent from outside, at any moment.
TERMINATED = ("SIGTERM", "SIGTERM twice", "SIGTERM deep in C")
#: In these the interpreter comes to its end, and with it a recording.
ORDERLY = ("fall off", "sys.exit", "exception", "stop, then fall off", "sys.exit in a forked child")

PROFILE = "profile.pb.gz"

#: Longest until the ending is begun.
SECONDS = 0.08


class Ending(NamedTuple):
    kind: str
    status: int
    #: Seconds.
    moment: float
    rate: int
    records: bool
    #: Whether `mprofile run` starts it, and the profiler.
    under_run: bool
    daemons: int
    joined: int
    #: Threads of C that allocate, and threads of Python that do without the GIL.
    hammers: int
    detached: int
    #: What a handler of atexit does: nothing, or a call of the profiler.
    last: str


def plan(seed: int) -> Ending:
    draw = random.Random(seed)
    kind = draw.choice(ENDINGS)
    number = draw.randrange(3, 100)
    status = {
        "fall off": 0,
        "sys.exit": number,
        "os._exit": number,
        "exception": 1,
        "os._exit in a thread": number,
        "SIGTERM": -signal.SIGTERM,
        "SIGTERM twice": -signal.SIGTERM,
        "SIGTERM deep in C": -signal.SIGTERM,
        "SIGKILL": -signal.SIGKILL,
        "abort": -signal.SIGABRT,
        "exec": 0,
        "sys.exit in a forked child": number,
        "stop, then fall off": 0,
    }[kind]
    under_run = draw.random() < 0.3
    return Ending(
        kind,
        status,
        draw.uniform(0, SECONDS),
        draw.choice((0, 0, 64, 4096)),
        under_run or draw.random() < 0.5,
        under_run,
        draw.choice((0, 0, 1, 3)),
        draw.choice((0, 0, 1, 2)),
        draw.choice((0, 0, 0, 2)),
        draw.choice((0, 0, 1)),
        draw.choice(("", "", "", "snapshot", "stop", "clear", "start")),
    )


def objects(until: Optional[float]) -> None:
    kept: List[Any] = []
    while until is None or time.monotonic() < until:
        kept.append([bytearray(i) for i in range(100)])
        if len(kept) > 50:
            kept.clear()


def last(what: str) -> None:
    from mprofile import _core

    if what == "snapshot":
        len(_core._get_traces())
    elif what == "stop":
        _core.stop()
    elif what == "clear":
        _core.clear_traces()
    elif what == "start":
        _core.stop()
        _core.start(16, 64)


def end(ending: Ending) -> None:
    if ending.kind in ("sys.exit", "sys.exit in a forked child"):
        if ending.kind == "sys.exit in a forked child":
            pid = os.fork()
            if pid:
                _, status = os.waitpid(pid, 0)
                sys.exit(ending.status if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else 2)
            signal.alarm(30)
            sys.exit(0)
        sys.exit(ending.status)
    elif ending.kind == "os._exit":
        os._exit(ending.status)
    elif ending.kind == "exception":
        raise ValueError("this is how it ends")
    elif ending.kind == "os._exit in a thread":
        threading.Thread(target=os._exit, args=(ending.status,)).start()
        time.sleep(60)
    elif ending.kind in ("SIGTERM", "SIGTERM twice"):
        time.sleep(60)
    elif ending.kind == "SIGTERM deep in C":
        sum(range(10**12))
    elif ending.kind == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    elif ending.kind == "abort":
        os.abort()
    elif ending.kind == "exec":
        os.execv(sys.executable, [sys.executable, "-S", "-c", "pass"])
    elif ending.kind == "stop, then fall off":
        import mprofile

        mprofile.stop()


def main() -> None:
    import mprofile

    ending = plan(int(sys.argv[1]))
    directory = sys.argv[2]
    if ending.last:
        atexit.register(last, ending.last)
    if not ending.under_run:
        mprofile.start(32, ending.rate)
        if ending.records:
            mprofile.start_recording(os.path.join(directory, PROFILE), 0.01)
    for _ in range(ending.daemons):
        threading.Thread(target=objects, args=(None,), daemon=True).start()
    for _ in range(ending.joined):
        threading.Thread(target=objects, args=(time.monotonic() + SECONDS,)).start()
    if ending.hammers or ending.detached:
        try:
            import _hazard_foreign as foreign
        except ImportError:  # there is no C compiler
            pass
        else:
            if ending.hammers:
                foreign.hammer(ending.hammers, 3000)
            for _ in range(ending.detached):
                threading.Thread(target=foreign.for_ever, args=(100,), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    objects(time.monotonic() + ending.moment)
    end(ending)


if __name__ == "__main__":
    main()
