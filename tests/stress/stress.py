# SPDX-License-Identifier: MIT
"""Stress: everything at once, in random order, from several threads, until the time is over or something breaks.

    python tests/stress/stress.py --seconds 120            processes of a few seconds each, mixture.py
    python tests/stress/stress.py --seed 4711 --rounds 1   one of them again
    python tests/stress/stress.py --forks 10000            a process that forks, forks.py
    python tests/stress/stress.py --exits 200              processes that end at a random moment, endings.py

WHAT    Each process runs under a watchdog. One that does not end is told to show all stacks, Python's (faulthandler)
        and, where gdb is installed, those of C; then it is killed, and the run has failed.
SEEDS   The first seed is printed at the start, and each failure says which command repeats it. A seed fixes what is
        done, not in which order the threads come to it, so a repetition may take several tries.
EXIT    0; 1 if a process failed, with the reason on stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Dict, Iterator, List, Optional, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "py", "hazards"))
sys.path.insert(0, HERE)

import endings  # noqa: E402
import harness  # noqa: E402
import mixture  # noqa: E402

from mprofile.profile import Profile  # noqa: E402

#: Seconds that one process of the mixture works, and that any process may take beyond what it was told.
ROUND = 5.0
PATIENCE = 120.0
AT_ONCE = 2


class Failure(Exception):
    """A process did not end, or not as it should."""


def environment() -> Dict[str, str]:
    """With the C modules of the hazard tests, if there is a compiler."""
    try:
        return harness.environment()
    except harness.NoCompiler as reason:
        print("without threads and blocks of C: {}".format(reason))
        return dict(os.environ, PYTHONFAULTHANDLER="1")


def stacks(pid: int) -> str:
    """The stacks of all threads in C, if gdb can be had."""
    if shutil.which("gdb") is None:
        return "(gdb is not installed: no stacks of C)"
    done = subprocess.run(
        ["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 30"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        universal_newlines=True,
        errors="backslashreplace",
        timeout=120,
    )
    return done.stdout


def start(command: List[str], variables: Dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command],
        env=variables,
        cwd=tempfile.gettempdir(),  # not the source tree, whose package has no extension module
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        errors="backslashreplace",
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], patience: float) -> Tuple[str, str]:
    """What the process wrote. Failure with all stacks if it does not end."""
    try:
        return process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        native = stacks(process.pid)
        process.send_signal(signal.SIGABRT)  # faulthandler writes the stacks
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise Failure("still running after {} seconds\n{}\n{}\n{}".format(patience, native, out, err)) from None


def run(command: List[str], variables: Dict[str, str], patience: float) -> str:
    """Run a process that must succeed; the last line that it wrote."""
    process = start(command, variables)
    out, err = finish(process, patience)
    if process.returncode != 0:
        raise Failure("exit status {}\n{}\n{}".format(process.returncode, out, err))
    return out.strip().rpartition("\n")[2]


@contextlib.contextmanager
def directory() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="stress-") as path:
        yield path


# ---- the three modes: each yields what to say of one process ----


def mixtures(seed: int, seconds: float, rounds: Optional[int], variables: Dict[str, str]) -> Iterator[str]:
    until = time.monotonic() + seconds
    number = 0
    while number < rounds if rounds is not None else time.monotonic() < until:
        plan = mixture.Plan(seed + number)
        work = ROUND if rounds is not None else max(1.0, min(ROUND, until - time.monotonic()))
        command = [os.path.join(HERE, "mixture.py"), str(seed + number), str(work)]
        with directory() as path:
            try:
                run([*command, path], dict(variables, **plan.environment()), work + PATIENCE)
            except Failure as failure:
                raise Failure("{}\n{}\nagain: --seed {} --rounds 1".format(plan, failure, seed + number)) from None
        yield "seed {}: {}".format(seed + number, plan)
        number += 1


def forks(seed: int, count: int, variables: Dict[str, str]) -> Iterator[str]:
    with directory() as path:
        try:
            command = [os.path.join(HERE, "forks.py"), str(seed), str(count), path]
            yield "seed {}: {}".format(seed, run(command, variables, PATIENCE + count * 0.2))
        except Failure as failure:
            raise Failure("{}\nagain: --seed {} --forks {}".format(failure, seed, count)) from None


def exits(seed: int, count: int, variables: Dict[str, str]) -> Iterator[str]:
    for first in range(seed, seed + count, AT_ONCE):
        with contextlib.ExitStack() as stack:
            running = []
            for number in range(first, min(first + AT_ONCE, seed + count)):
                path = stack.enter_context(directory())
                command = [os.path.join(HERE, "endings.py"), str(number), path]
                ending = endings.plan(number)
                if ending.under_run:
                    rate = ["--sample-rate", str(ending.rate), "--every", "0.01"]
                    command = ["-m", "mprofile", "run", *rate, "-o", os.path.join(path, endings.PROFILE), *command]
                process = start(command, variables)
                running.append((number, path, process))
            for number, path, process in running:
                try:
                    check_exit(endings.plan(number), path, process)
                except Failure as failure:
                    for _, _, other in running:
                        if other.poll() is None:
                            other.kill()
                    raise Failure(
                        "{}\n{}\nagain: --seed {} --exits 1".format(endings.plan(number), failure, number)
                    ) from None
    yield "{} processes ended as they should".format(count)


def check_exit(ending: endings.Ending, path: str, process: subprocess.Popen[str]) -> None:
    """It ends with its own status, and its profile is whole."""
    assert process.stdout is not None
    if process.stdout.readline() == "ready\n" and ending.kind in endings.TERMINATED:
        time.sleep(2 * ending.moment)
        process.send_signal(signal.SIGTERM)
        if ending.kind == "SIGTERM twice":
            time.sleep(ending.moment / 10)
            process.send_signal(signal.SIGTERM)
    out, err = finish(process, PATIENCE)
    if process.returncode != ending.status:
        raise Failure("exit status {}, not {}\n{}\n{}".format(process.returncode, ending.status, out, err))
    if not ending.records:
        return
    try:
        profile = Profile.read(os.path.join(path, endings.PROFILE))
    except (OSError, ValueError) as error:
        raise Failure("its profile: {}\n{}".format(error, err)) from None
    orderly = ending.kind in endings.ORDERLY or (ending.kind in endings.TERMINATED and ending.under_run)
    if orderly and "mprofile: state=final" not in profile.comments:
        raise Failure("its profile is not the last one: {}\n{}".format(profile.comments, err))


def main() -> int:
    parser = argparse.ArgumentParser(description="Do everything at once until something breaks.")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long (default: %(default)g)")
    parser.add_argument("--rounds", type=int, help="so many processes instead, of {:g} seconds each".format(ROUND))
    parser.add_argument("--forks", type=int, help="a process that forks so many times instead")
    parser.add_argument("--exits", type=int, help="so many processes that end in all ways instead")
    parser.add_argument("--seed", type=int, help="default: another one each time")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print("seed {}".format(seed), flush=True)
    began = time.monotonic()
    variables = environment()
    if options.forks is not None:
        lines = forks(seed, options.forks, variables)
    elif options.exits is not None:
        lines = exits(seed, options.exits, variables)
    else:
        lines = mixtures(seed, options.seconds, options.rounds, variables)
    try:
        for line in lines:
            print(line, flush=True)
    except Failure as failure:
        print("FAILED: {}".format(failure), file=sys.stderr)
        return 1
    finally:
        harness.forget_extensions()
    print("{:.0f} seconds".format(time.monotonic() - began))
    return 0


if __name__ == "__main__":
    sys.exit(main())
