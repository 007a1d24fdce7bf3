# SPDX-License-Identifier: MIT
"""A soak: a server under constant load is recorded for an hour, and every minute all that is claimed is checked.

    python tests/soak/soak.py --minutes 60 --directory build/soak

WHAT    `mprofile run --sample-rate 4K --history` records tests/soak/server.py: requests and short threads all the
        time, a module that is reloaded with changed source every second, and blocks whose true size is known line by
        line. Checked are

        memory      After the warm-up the profiler has at most MEMORY_GROWTH times the memory that it had at most in the
                    warm-up. That lasts ten minutes, in which the wave of the known blocks has been at its highest
                    twice, and until dead stacks have been pruned three times (src/core/recorder_prune.c): from then
                    on as many go as come. What is added later is what piles up. How full the tree is before it is
                    pruned differs by some hundred KB from wave to wave, so the bound is a quarter: in 50 minutes,
                    500 bytes for each reload, which brings sixteen new functions. Not judged in runs that are shorter.
        drops       None, and no thinning, and no write that failed.
        estimates   Each minute each known line: is its true size within the 95 % interval of the file? All its blocks
                    have been replaced since the minute before, and the bytes of two lines are sampled independently:
                    so all these are independent trials. An interval misses in 6 % of all cases at most
                    (docs/sampling.md); there may be as many misses as a binomial number of that chance has with
                    probability 1 - ALARM. The line `kept` holds its blocks for ever, so its misses go on from minute
                    to minute: it is no trial, and judged by its 99.99 % interval.
        files       Every file that appears is a whole profile, smaller than 2 MB.
        history     The directory stays within its bound, but for the newest file, which comes before the oldest goes.
        server      Every answer is right; SIGTERM ends it, and the last file says that it is the last.
EXIT    0; 1 if a check failed, with the reason on stderr. Figures go to DIRECTORY/soak.json.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import json
import math
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Set, Tuple

import mprofile
from mprofile import intervals
from mprofile.profile import Profile, Row

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.py")

RATE = 4096
LARGEST_FILE = 2000000
HISTORY_BOUND = 8 << 20
WARM_UP = 600.0
PRUNES = 3
WAVE = 300.0
MEMORY_GROWTH = 1.25
MISS = 0.06
ALARM = 1e-4
#: Seconds that the clocks of the file and of the ledger may be apart.
MARGIN = 0.25
#: Seconds between two looks at the history: a file stays there for a minute at least, unless the bound is reached.
LOOK = 5.0
KEPT = "kept"


def most_misses(trials: int) -> int:
    """The number of misses that is exceeded with a probability below ALARM."""
    beyond = 1.0
    chance = (1 - MISS) ** trials
    for misses in range(trials + 1):
        beyond -= chance
        if beyond < ALARM:
            return misses
        chance *= (trials - misses) / (misses + 1) * MISS / (1 - MISS)
    return trials


class Ledger:
    """What the server says: what it holds, and between which two moments it does."""

    def __init__(self, stream: Any) -> None:
        self.head: Dict[str, Any] = json.loads(stream.readline())
        self.stream = stream
        self.lock = threading.Lock()
        self.pages: List[Dict[str, Any]] = []
        self.memory: List[Tuple[float, int, int]] = []  # seconds, prunes, bytes
        self.started = time.monotonic()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        for line in self.stream:
            page = json.loads(line)
            with self.lock:
                if "until" in page:
                    self.pages[-1]["until"] = page["until"]
                    continue
                self.pages = [*self.pages[-20:], page]
                info = page["info"]
                self.memory.append((time.monotonic() - self.started, info["prunes"], info["memory"]))

    def last(self) -> Dict[str, Any]:
        with self.lock:
            return self.pages[-1]

    def at(self, moment_ns: int) -> Optional[Dict[str, Any]]:
        """The page that was true at a moment, if the moment is not too near to a change."""
        margin = int(MARGIN * 1e9)
        with self.lock:
            for page in self.pages:
                if page["since"] + margin <= moment_ns and moment_ns + margin <= page.get("until", time.time_ns()):
                    return page
        return None


class Load:
    """Requests at a constant rate, one connection each."""

    def __init__(self, port: int, per_second: float) -> None:
        self.port = port
        self.gap = 1 / per_second
        self.answers = 0
        self.wrong: List[str] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        number = 0
        due = time.monotonic()
        while not self.ended.wait(max(0.0, due - time.monotonic())):
            due += self.gap
            number += 1
            user = "user{}".format(number % 500)
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("GET", "/" + user)
                answer = connection.getresponse()
                text = answer.read().decode()
                connection.close()
                if answer.status != 200 or not text.startswith("<h1>" + user) or text.count("<tr>") != 60:
                    self.wrong.append("status {}, {!r}".format(answer.status, text[:80]))
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
            self.answers += 1

    def stop(self) -> None:
        self.ended.set()
        self.thread.join()


class Files:
    """Reads every file of the history that it finds, once."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.seen: Set[str] = set()
        self.gone = 0
        self.largest = 0
        self.history = 0
        self.numbers: Set[int] = set()

    def look(self) -> List[str]:
        """Returns what is wrong."""
        wrong = []
        sizes = []
        for name in sorted(os.listdir(self.directory)):
            path = os.path.join(self.directory, name)
            try:
                sizes.append(os.stat(path).st_size)
                if name in self.seen or name.startswith("."):  # a name with a dot is not published yet
                    continue
                self.seen.add(name)
                profile = Profile.read(path)
            except FileNotFoundError:
                self.gone += 1
                continue
            except ValueError as error:
                wrong.append(str(error))
                continue
            wrong += self.check(name, sizes[-1], profile)
        self.history = max(self.history, sum(sizes))
        if sum(sizes) > HISTORY_BOUND + max(sizes):
            wrong.append("the history has {} bytes, above its bound of {}".format(sum(sizes), HISTORY_BOUND))
        return wrong

    def check(self, name: str, size: int, profile: Profile) -> List[str]:
        wrong = []
        self.largest = max(self.largest, size)
        if size >= LARGEST_FILE:
            wrong.append("{} has {} bytes; the bound is {}".format(name, size, LARGEST_FILE))
        comments = dict(comment[len("mprofile: ") :].partition("=")[::2] for comment in profile.comments)
        if "publications" in comments:
            self.numbers.add(int(comments["publications"]))
        else:
            wrong.append("{} does not say its number".format(name))
        if "failures" in comments:
            wrong.append("{}: {} writes failed: {}".format(name, comments["failures"], comments["failure"]))
        if profile.meta["drops"] or profile.meta["thinnings"]:
            wrong.append("{}: {drops} drops, {thinnings} thinnings".format(name, **profile.meta))
        return wrong


class Estimates:
    """Counts how often the truth is outside the interval."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.trials = 0
        self.misses = {"bytes": 0, "blocks": 0}
        self.by_line: Dict[str, int] = {}

    def check(self, path: str) -> List[str]:
        """Returns what is wrong."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            profile = Profile.read(path)
            page = self.ledger.at(profile.meta["time_ns"])
            if page is not None:
                return self.compare(profile, page)
            time.sleep(0.3)
        return ["no file within 30 seconds that is of a moment at which the ledger rests"]

    def compare(self, profile: Profile, page: Dict[str, Any]) -> List[str]:
        head = self.ledger.head
        names = {lineno: name for name, lineno in head["lines"].items()}
        rows: Dict[str, Row] = {}
        for row in profile.rows("line"):
            if row.filename == head["file"] and row.lineno in names:
                rows[names[row.lineno]] = row
        wrong = []
        for name, size in page["sizes"].items():
            count = page["counts"][name]
            if name == KEPT:
                low, high = bytes_interval(rows.get(name), 1 - ALARM)
                if not low <= size <= high:
                    wrong.append("line {!r} holds {} bytes, not {:.0f} to {:.0f}".format(name, size, low, high))
                continue
            self.trials += 1
            low, high = bytes_interval(rows.get(name), 0.95)
            if not low <= size <= high:
                self.misses["bytes"] += 1
                self.by_line[name] = self.by_line.get(name, 0) + 1
            low, high = blocks_interval(rows.get(name), profile, 0.95)
            self.misses["blocks"] += not low <= count <= high
        for what, misses in self.misses.items():
            if misses > most_misses(self.trials):
                wrong.append(
                    "{} of {} intervals in {} missed, more than {}".format(
                        misses, self.trials, what, most_misses(self.trials)
                    )
                )
        return wrong


def bytes_interval(row: Optional[Row], level: float) -> Tuple[float, float]:
    if row is None:
        return intervals.size_interval(0.0, 0.0, 0, 0.0, RATE, level)
    return row.flat.inuse.bytes_interval(level)


def blocks_interval(row: Optional[Row], profile: Profile, level: float) -> Tuple[float, float]:
    if row is None:
        all_of_it = profile.totals().inuse
        pooled = intervals.pooled_weight(all_of_it.blocks, all_of_it.blocks_var, all_of_it.samples)
        return intervals.count_interval(0.0, 0.0, 0, RATE, pooled, level)
    return row.flat.inuse.blocks_interval(level)


def resident(pid: int) -> int:
    with open("/proc/{}/statm".format(pid)) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def recorder_seconds(pid: int) -> float:
    """Processor time of the thread that writes the profile."""
    for tid in os.listdir("/proc/{}/task".format(pid)):
        try:
            with open("/proc/{}/task/{}/stat".format(pid, tid)) as file:
                name, _, rest = file.read().partition(" (")[2].rpartition(") ")
        except OSError:
            continue
        if name == "mprofile":
            fields = rest.split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return math.nan


class Soak:
    def __init__(self, directory: str, minutes: float, seed: int, per_second: float) -> None:
        self.minutes = minutes
        self.path = os.path.join(directory, "soak.pb.gz")
        history = os.path.join(directory, "history")
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(history)
        words = ["--sample-rate", str(RATE), "--history", history, "--history-size", str(HISTORY_BOUND)]
        words += ["-o", self.path, SERVER, directory, "--period", str(WAVE), "--seed", str(seed)]
        self.errors = open(os.path.join(directory, "stderr"), "w+")
        self.server = subprocess.Popen(
            [sys.executable, "-m", "mprofile", "run", *words],
            cwd=directory,  # not the source tree, whose package has no extension module
            stdout=subprocess.PIPE,
            stderr=self.errors,
            universal_newlines=True,
        )
        self.ledger = Ledger(self.server.stdout)
        self.load = Load(self.ledger.head["port"], per_second)
        self.files = Files(history)
        self.estimates = Estimates(self.ledger)
        self.failures: List[str] = []
        self.rows: List[Dict[str, Any]] = []

    def fail(self, reasons: List[str]) -> None:
        for reason in reasons:
            print("FAILED: " + reason, file=sys.stderr, flush=True)
        self.failures += reasons

    def run(self) -> None:
        began = time.monotonic()
        minute = 0
        while self.server.poll() is None and not (minute and minute >= self.minutes):
            minute += 1
            while time.monotonic() < began + 60 * minute and self.server.poll() is None:
                time.sleep(LOOK)
                self.fail(self.files.look())
            if self.server.poll() is None:
                self.check(minute, began)
        self.end()

    def check(self, minute: int, began: float) -> None:
        self.fail(self.estimates.check(self.path))
        page = self.ledger.last()
        info = page["info"]
        if info["drops"] or info["thinnings"]:
            self.fail(["{drops} drops, {thinnings} thinnings".format(**info)])
        if self.load.wrong:
            self.fail(["{} wrong answers, the first: {}".format(len(self.load.wrong), self.load.wrong[0])])
        if os.stat(self.path).st_size >= LARGEST_FILE:
            self.fail(["{} has {} bytes".format(self.path, os.stat(self.path).st_size)])
        self.fail(self.check_memory())
        seconds = time.monotonic() - began
        row = {
            "minute": minute,
            "memory": info["memory"],
            "live": info["live"],
            "nodes": info["nodes"],
            "stacks": info["stacks"],
            "prunes": info["prunes"],
            "resident": resident(self.server.pid),
            "processor": page["processor"] / seconds,
            "recorder": recorder_seconds(self.server.pid) / seconds,
            "known": sum(page["sizes"].values()),
            "trials": self.estimates.trials,
            "misses": self.estimates.misses["bytes"],
            "misses_blocks": self.estimates.misses["blocks"],
            "file": os.stat(self.path).st_size,
            "largest_file": self.files.largest,
            "files": len(self.files.seen),
            "history": self.files.history,
            "answers": self.load.answers,
            "threads": page["threads"],
            "reloads": page["reloads"],
        }
        self.rows.append(row)
        print(
            "minute {minute}: memory {memory:,} B, {live:,} samples, {nodes:,} nodes, {prunes} prunes, resident "
            "{resident:,} B; misses {misses} and {misses_blocks} of {trials}, at most {most}; file {file:,} B, largest "
            "of {files:,}: {largest_file:,} B; history {history:,} B; processor {processor:.1%}, recorder "
            "{recorder:.2%}; {state}".format(
                most=most_misses(self.estimates.trials),
                state="{} FAILED".format(len(self.failures)) if self.failures else "all good",
                **row,
            ),
            flush=True,
        )

    def check_memory(self) -> List[str]:
        before, after = self.memory()
        if after and max(after) > MEMORY_GROWTH * max(before):
            return ["the profiler has {} bytes, after {} at most in the warm-up".format(max(after), max(before))]
        return []

    def memory(self) -> Tuple[List[int], List[int]]:
        """Bytes of the profiler during the warm-up and after it."""
        with self.ledger.lock:
            points = list(self.ledger.memory)
        warm = [moment > WARM_UP and prunes >= PRUNES for moment, prunes, _ in points]
        before = [memory for (_, _, memory), after in zip(points, warm) if not after]
        return before, [memory for _, _, memory in points[len(before) :]]

    def end(self) -> None:
        if self.server.poll() is None:
            self.load.stop()
            self.server.send_signal(signal.SIGTERM)
            self.server.wait(60)
        self.errors.seek(0)
        said = self.errors.read()
        if self.server.returncode != -signal.SIGTERM:
            self.fail(["the server ended with status {}\n{}".format(self.server.returncode, said)])
            return
        self.fail(self.files.look())
        last = Profile.read(self.path)
        if "mprofile: state=final" not in last.comments:
            self.fail(["the last file is not final: {}".format(last.comments)])
        left = [name for name in os.listdir(os.path.dirname(self.path)) if name.endswith(".tmp")]
        left += [name for name in os.listdir(self.files.directory) if name.endswith(".tmp")]
        if left:
            self.fail(["temporary files are left: {}".format(left)])

    def result(self) -> Dict[str, Any]:
        before, after = self.memory()
        numbers = self.files.numbers
        return {
            "date": datetime.date.today().isoformat(),
            "mprofile": mprofile.__version__,
            "python": platform.python_version(),
            "minutes": self.minutes,
            "failures": self.failures,
            "warm_up": len(before) * 5,
            "memory_warm_up_most": max(before),
            "memory_after": [min(after), statistics.median(after), max(after)] if after else None,
            "trials": self.estimates.trials,
            "misses": self.estimates.misses,
            "misses_by_line": self.estimates.by_line,
            "most_misses": most_misses(self.estimates.trials),
            "files_read": len(numbers),
            "files_written": max(numbers) if numbers else 0,
            "files_gone": self.files.gone,
            "largest_file": self.files.largest,
            "history_most": self.files.history,
            "history_bound": HISTORY_BOUND,
            "answers": self.load.answers,
            "rows": self.rows,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description="Record a server for an hour, and check all that is claimed of it.")
    parser.add_argument("--minutes", type=float, default=60.0, help="default: %(default)g; whole minutes are run")
    parser.add_argument("--directory", default="build/soak", help="is emptied first (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the sizes of the known blocks (default: %(default)s)")
    parser.add_argument("--requests", type=float, default=60.0, help="a second (default: %(default)g)")
    options = parser.parse_args()
    if options.minutes <= 0:
        parser.error("--minutes must be above 0, not {:g}".format(options.minutes))
    directory = os.path.abspath(options.directory)
    soak = Soak(directory, options.minutes, options.seed, options.requests)
    try:
        soak.run()
    finally:
        if soak.server.poll() is None:
            soak.server.kill()
        soak.server.wait()
    result = soak.result()
    with open(os.path.join(directory, "soak.json"), "w") as file:
        json.dump(result, file, indent=1)
    print(json.dumps({key: value for key, value in result.items() if key != "rows"}, indent=1))
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
