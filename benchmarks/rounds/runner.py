# SPDX-License-Identifier: MIT
"""Runs programs under configurations: a process each, in shuffled order within a round.

A figure compares what ran in one round, so a machine that slows down slows both. A configuration that fails on a
program is recorded with its exit status, and left alone in later rounds.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from .configurations import Configuration
from .sink import Sink
from .venvs import Venvs

Record = Dict[str, Any]
TIMED_OUT = -1000
NOT_INSTALLED = -1001
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


class Program(NamedTuple):
    """`kind` pyperf: a script of pyperf's, run as one of its workers. json: prints JSON in its last line."""

    name: str
    kind: str
    script: str
    arguments: Tuple[str, ...] = ()
    loops: int = 1
    warmups: int = 1
    values: int = 3


def command_of(program: Program, configuration: Configuration, python: str, directory: str) -> List[str]:
    if program.kind == "pyperf":
        loops, warmups, values = program.loops, program.warmups, program.values
        if configuration.slow:
            loops, warmups, values = max(1, loops // 16), 0, 1  # pyperf's values are of one loop
        arguments = ["--worker", "--worker-task=0", "--loops=%d" % loops, "--warmups=%d" % warmups,
                     "--values=%d" % values, "--output", os.path.join(directory, "values.json"), *program.arguments]
    else:
        arguments = [*program.arguments, str(program.loops)]
    if configuration.kind == "scalene":
        out = os.path.join(directory, "scalene.json")
        return [python, "-m", "scalene", "run", "-o", out, program.script, "---", *arguments]
    if configuration.kind == "fil":
        return [python, "-m", "filprofiler", "-o", directory, "--no-browser", "run", program.script, *arguments]
    return [python, program.script, *arguments]  # fmt: skip


def read_values(program: Program, directory: str, out: str) -> Tuple[List[float], Dict[str, Any]]:
    """ValueError: there are none."""
    if program.kind == "pyperf":
        path = os.path.join(directory, "values.json")
        if not os.path.exists(path):
            raise ValueError("no values written")
        with open(path, encoding="utf-8") as file:
            benchmark = json.load(file)["benchmarks"][0]
        return list(benchmark["runs"][0]["values"]), {}
    lines = [line for line in out.splitlines() if line.startswith('{"values"')]
    if not lines:
        raise ValueError("no values printed")
    result = json.loads(lines[-1])
    return list(result.pop("values")), result


def peak_rss(directory: str) -> Optional[int]:
    """Of the largest of the processes that left a report."""
    peaks = []
    for name in os.listdir(directory):
        if name.startswith("process-"):
            with open(os.path.join(directory, name), encoding="utf-8") as file:
                peaks.append(json.load(file)["peak_rss"])
    return max(peaks) if peaks else None


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def describe(status: int, err: str) -> str:
    if status == TIMED_OUT:
        return "still running at its time limit"
    if status < 0:
        return "killed by %s; %s" % (signal.Signals(-status).name, last_line(err))
    return "exit status %d; %s" % (status, last_line(err))


class Runner:
    def __init__(self, venvs: Venvs, timeout: float = 120.0) -> None:
        self.venvs = venvs
        self.timeout = timeout
        self.sink = Sink()
        self._variables: Dict[str, Dict[str, str]] = {}

    def variables(self, configuration: Configuration) -> Dict[str, str]:
        if configuration.name not in self._variables:
            self._variables[configuration.name] = self.venvs.variables(configuration)
        return self._variables[configuration.name]

    def run_once(self, program: Program, configuration: Configuration, number: int = 0) -> Record:
        """One process, of which all is recorded, whether it fails or not."""
        record: Record = {"program": program.name, "configuration": configuration.name, "round": number, "status": 0,
                          "error": "", "values": [], "extra": {}, "rss": None, "wall": 0.0}  # fmt: skip
        environment = self.venvs.get(configuration.environment)
        if environment.error:
            record.update(status=NOT_INSTALLED, error="not installed: " + environment.error)
            return record
        directory = tempfile.mkdtemp(prefix="bench-")
        try:
            self._run(record, program, configuration, environment.python, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return record

    def _run(self, record: Record, program: Program, configuration: Configuration, python: str, directory: str) -> None:
        # The same hash seed for all of a round, so that dicts and sets are laid out alike.
        variables = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        variables.update(self.variables(configuration), PYTHONHASHSEED=str(record["round"] + 1), PYTHONNOUSERSITE="1",
                         MPROFILE_BENCH_REPORT=directory, MPROFILE_BENCH_SINK=str(self.sink.port))  # fmt: skip
        command = command_of(program, configuration, python, directory)
        begin = time.perf_counter()
        with open(os.path.join(directory, "stdout"), "w+", encoding="utf-8", errors="replace") as out, open(
            os.path.join(directory, "stderr"), "w+", encoding="utf-8", errors="replace"
        ) as err:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=variables,
                                       cwd=directory, start_new_session=True)  # fmt: skip
            try:
                status = process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                status = TIMED_OUT
            out.seek(0)
            err.seek(0)
            said, complained = out.read(), err.read()
        record["wall"] = time.perf_counter() - begin
        record["status"] = status
        record["rss"] = peak_rss(directory)
        if status != 0:
            record["error"] = describe(status, complained)
            return
        try:
            record["values"], record["extra"] = read_values(program, directory, said)
        except ValueError as error:
            record["status"] = 1
            record["error"] = "%s; %s" % (error, last_line(complained) or last_line(said))

    def rounds(
        self,
        programs: Sequence[Program],
        configurations: Sequence[Configuration],
        rounds: int,
        seed: int = 1,
        minutes: float = 0.0,
        after_round: Optional[Callable[[List[Record]], None]] = None,
        spare_slow: bool = True,
    ) -> List[Record]:
        """All of it, `rounds` times, or as often as fits into `minutes` (0: no limit; one round always runs).

        With spare_slow, slow configurations run in the first round alone: forty times as long needs no median.
        """
        shuffler = random.Random(seed)
        records: List[Record] = []
        failed: Set[Tuple[str, str]] = set()
        begin = time.perf_counter()
        expected = 0.0
        for number in range(rounds):
            started = time.perf_counter()
            if minutes and number and started - begin + expected > 60 * minutes:
                break
            for program in shuffler.sample(list(programs), len(programs)):
                for configuration in shuffler.sample(list(configurations), len(configurations)):
                    spared = spare_slow and number > 0 and configuration.slow
                    if spared or (program.name, configuration.name) in failed:
                        continue
                    record = self.run_once(program, configuration, number)
                    records.append(record)
                    if record["status"] != 0:
                        failed.add((program.name, configuration.name))
                        print("%s, %s: %s" % (program.name, configuration.name, record["error"]), file=sys.stderr)
            slow = {configuration.name for configuration in configurations if configuration.slow}
            expected = sum(record["wall"] for record in records
                           if record["round"] == number and record["configuration"] not in slow)  # fmt: skip
            print("round %d of %d: %.0f s" % (number + 1, rounds, time.perf_counter() - started), file=sys.stderr)
            if after_round:
                after_round(records)
        return records
