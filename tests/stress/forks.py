# SPDX-License-Identifier: MIT
"""A process that forks as often as it is told, while its threads allocate: what stress.py --forks starts.

    python forks.py SEED FORKS DIRECTORY

Each child checks the tables that it has inherited; one in a hundred compares them with what its parent held, block by
block. The parent forks from its main thread and, one time in ten, from another. In half of all seeds the profile is
recorded to a file meanwhile. At the end the parent has what it held, and the profiler has no more memory than after the
first tenth.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import sys
import threading
import traceback
from typing import Any, Counter, List, Optional

import mprofile
from mprofile import _core
from mprofile.profile import Profile

try:
    import _hazard_foreign as foreign
except ImportError:  # there is no C compiler
    foreign = None

FILE = "<held>"
CHILD_SECONDS = 60
#: What the tables may still grow by after the first tenth: a doubling of the small ones.
MARGIN = 1 << 20

names: Any = {}
exec(compile("def make(size):\n    return b'x' * size\n", FILE, "exec"), names)


def recorded() -> Counter[int]:
    return collections.Counter(trace[1] for trace in _core._get_traces() if trace[2][0][0] == FILE)


def held(blocks: List[bytes]) -> Counter[int]:
    return collections.Counter(map(sys.getsizeof, blocks))


def differences(blocks: List[bytes]) -> int:
    now, known = recorded(), held(blocks)
    return sum((now - known).values()) + sum((known - now).values())


def in_child(blocks: List[bytes], exact: bool, thorough: bool) -> None:
    status = 1
    try:
        signal.alarm(CHILD_SECONDS)
        assert _core._valid()
        if thorough and exact:
            assert differences(blocks) <= _core._info()["drops"], (recorded(), held(blocks))
        mine = [bytearray(i * 7) for i in range(100)]
        del mine
        blocks.clear()
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def fork(blocks: List[bytes], exact: bool, thorough: bool) -> None:
    pid = os.fork()
    if pid == 0:
        in_child(blocks, exact, thorough)
    _, status = os.waitpid(pid, 0)
    assert status == 0, "a child ended with wait status {}".format(status)


def churn(ended: threading.Event) -> None:
    while not ended.is_set():
        [bytearray(i * 11) for i in range(100)]


def main() -> None:
    seed, forks, directory = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    draw = random.Random(seed)
    sys.setswitchinterval(0.0001)  # or each fork waits for its turn for as long as it takes
    exact = draw.random() < 0.5
    path: Optional[str] = None
    _core.start(draw.choice((1, 20, 128)), 0 if exact else draw.choice((64, 4096)))
    if draw.random() < 0.5:
        path = os.path.join(directory, "forks.pb.gz")
        mprofile.start_recording(path, 0.05)
    if foreign:
        foreign.hammer(1, 3000)
    ended = threading.Event()
    threads = [threading.Thread(target=churn, args=(ended,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    blocks: List[bytes] = []
    memory = 0
    try:
        for number in range(forks):
            for _ in range(5):
                blocks.append(names["make"](draw.randrange(40, 3000)))
            if len(blocks) > 1000:
                del blocks[draw.randrange(500) :]
            thorough = number % 100 == 0
            if number % 10 == 3:
                failures: List[str] = []

                def body() -> None:
                    try:
                        fork(blocks, exact, thorough)
                    except AssertionError as error:
                        failures.append(str(error))

                thread = threading.Thread(target=body)
                thread.start()
                thread.join()
                assert not failures, failures[0]
            else:
                fork(blocks, exact, thorough)
            if number <= forks // 10:
                memory = max(memory, _core.get_tracemalloc_memory())
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert _core._valid()
    drops = _core._info()["drops"]
    if exact:
        assert differences(blocks) <= drops, (recorded(), held(blocks), drops)
    assert _core.get_tracemalloc_memory() <= memory + MARGIN, (_core.get_tracemalloc_memory(), memory)
    if foreign:
        rounds, faults = foreign.rest()
        assert rounds and not faults, (rounds, faults)
    if path is not None:
        assert mprofile.stop_recording()
        assert "mprofile: state=final" in Profile.read(path).comments
    kind = ("exact" if exact else "sampled") + (", to a file" if path else "")
    print("{} forks, {}, {} drops".format(forks, kind, drops))


if __name__ == "__main__":
    main()
