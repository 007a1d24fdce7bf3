# SPDX-License-Identifier: MIT
"""Results as tables of Markdown, for the terminal and for the page."""

from __future__ import annotations

import math
import statistics
from typing import Any, Dict, List, Sequence

from . import bounds
from .configurations import parse
from .ratios import Summary, failures, ratios, select, spread, summary, value_of
from .runner import Record

Result = Dict[str, Any]


def label(name: str) -> str:
    return parse(name).label


def row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def header(cells: Sequence[str]) -> List[str]:
    return [row(cells), row(["---"] * len(cells))]


def programs_of(records: Sequence[Record]) -> List[str]:
    return sorted({record["program"] for record in records})


def medians(records: Sequence[Record], configuration: str, what: str) -> Dict[str, float]:
    """Program -> median ratio, of those on which the configuration and `none` ran."""
    found = {}
    for program in programs_of(records):
        values = spread(ratios(records, program, configuration, what=what))
        if values:
            found[program] = values.median
    return found


def summaries(result: Result, what: str) -> Dict[str, Summary]:
    failed = failures(result["records"])
    found = {}
    for name in result["configurations"]:
        of_all = summary(medians(result["records"], name, what), sorted(failed.get(name, {})))
        if of_all and name != "none":
            found[name] = of_all
    return found


def summary_table(result: Result) -> List[str]:
    """A line a configuration: what it costs over all programs."""
    seconds, rss = summaries(result, "seconds"), summaries(result, "rss")
    lines = header(["configuration", "programs", "failed", "time: geometric mean", "P90", "largest",
                    "peak RSS: geometric mean", "P90", "largest"])  # fmt: skip
    for name in result["configurations"]:
        if name not in seconds:
            failed = failures(result["records"]).get(name, {})
            if failed:
                lines.append(row([label(name), "0", str(len(failed))] + ["-"] * 6))
            continue
        one, other = seconds[name], rss.get(name)
        cells = [label(name), str(one.programs), str(len(one.failed)), "%.3f" % one.geometric_mean, "%.3f" % one.p90,
                 "%.3f (%s)" % (one.largest, one.largest_program)]  # fmt: skip
        if other:
            cells += ["%.3f" % other.geometric_mean, "%.3f" % other.p90]
            cells.append("%.3f (%s)" % (other.largest, other.largest_program))
        else:
            cells += ["-"] * 3
        lines.append(row(cells))
    return lines


def ratio_text(records: Sequence[Record], program: str, configuration: str, what: str) -> str:
    values = spread(ratios(records, program, configuration, what=what))
    if values:
        return "%.3f (%.3f - %.3f)" % (values.median, values.low, values.high)
    found = select(records, program, configuration)
    return "failed" if any(record["status"] for record in found) else "-"


def program_table(result: Result, what: str = "seconds") -> List[str]:
    """A line a program, a column a configuration: median ratio, and quartiles."""
    names = [name for name in result["configurations"] if name != "none"]
    lines = header(["program", "no profiler"] + [label(name) for name in names])
    for program in programs_of(result["records"]):
        base = [value_of(record, what) for record in select(result["records"], program, "none")]
        known = [value for value in base if value is not None]
        first = amount(statistics.median(known), what) if known else "failed"
        lines.append(row([program, first] + [ratio_text(result["records"], program, name, what) for name in names]))
    return lines


def amount(value: float, what: str) -> str:
    if what == "rss":
        return "%.1f MiB" % (value / 2**20)
    return "%.3g s" % value if value >= 1 else "%.3g ms" % (value * 1e3)


def failure_lines(result: Result) -> List[str]:
    """What did not run, and why: nothing is left out in silence."""
    found = failures(result["records"])
    lines = ["- %s: %s" % (program, why) for program, why in sorted(result["missing"].items())]
    for name in result["configurations"]:
        for program, why in sorted(found.get(name, {}).items()):
            lines.append("- %s, %s: %s" % (label(name), program, why))
    return lines


def latency_table(result: Result) -> List[str]:
    """The servers: seconds of a request, as ratios."""
    servers = sorted({record["program"] for record in result["records"] if "p50" in record["extra"]})
    if not servers:
        return []
    lines = header(["server, configuration", "P50 without", "P50", "P99 without", "P99"])
    for server in servers:
        for name in result["configurations"]:
            if name == "none":
                continue
            cells = ["%s, %s" % (server, label(name))]
            for what in ("p50", "p99"):
                known = [value_of(record, what) for record in select(result["records"], server, "none")]
                values = [value for value in known if value is not None]
                cells += [amount(statistics.median(values), what) if values else "-",
                          ratio_text(result["records"], server, name, what)]  # fmt: skip
            lines.append(row(cells))
    return lines


def growth_points(result: Result, axis: str, configuration: str, what: str) -> Dict[int, float]:
    """Number -> median of what was measured there; `event` is seconds for an event, `memory` bytes for one."""
    found: Dict[int, List[float]] = {}
    for record in result["records"]:
        named, _, number = record["program"].partition(" ")
        if named != axis or record["configuration"] != configuration or record["status"] != 0:
            continue
        extra = record["extra"]
        if what == "event":
            value = record["values"][0] / extra["events"]
        elif what == "bytes":
            value = extra["memory"] / extra["events"] if "memory" in extra else None
        else:
            value = extra.get(what)
        if value is not None:
            found.setdefault(int(number), []).append(float(value))
    return {number: statistics.median(values) for number, values in sorted(found.items())}


GROWTH = [("live", "live objects"), ("stacks", "different stacks"), ("threads", "threads")]


def growth_table(result: Result) -> List[str]:
    lines = header(["", "number", "configuration", "ns an event", "bytes an event", "snapshot", "write", "read",
                    "report"])  # fmt: skip
    for axis, title in GROWTH:
        for name in result["configurations"]:
            events = growth_points(result, axis, name, "event")
            sizes = growth_points(result, axis, name, "bytes")
            steps = [growth_points(result, axis, name, what) for what in ("snapshot", "write", "read", "report")]
            for number, seconds in events.items():
                cells = [title, "{:,}".format(number), label(name), "%.0f" % (seconds * 1e9)]
                cells.append("%.1f" % sizes[number] if number in sizes and axis != "threads" else "-")
                lines.append(row(cells + [amount(step[number], "") if number in step else "-" for step in steps]))
    return lines


def deviations(result: Result, program: str, configuration: str, what: int) -> List[float]:
    """Relative errors of every group in every round; 0 is bytes, 1 is blocks."""
    found = []
    for record in select(result["records"], program, configuration):
        for group, truth in record["extra"].get("truth", {}).items():
            found.append(record["extra"]["estimate"][group][what] / truth[what] - 1.0)
    return found


def coverage(result: Result, program: str, configuration: str) -> str:
    """How often the interval that a profiler gives holds the truth."""
    held = total = 0
    for record in select(result["records"], program, configuration):
        intervals = record["extra"].get("intervals", {})
        for group, truth in record["extra"].get("truth", {}).items():
            if group in intervals:
                total += 1
                held += intervals[group][0] <= truth[0] <= intervals[group][1]
    return "%.1f %% of %d" % (100.0 * held / total, total) if total else "-"


def bias_text(values: Sequence[float]) -> str:
    """Mean with twice its standard error: what averages out is not bias."""
    error = 2 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return "%+.1f %% ± %.1f" % (100 * statistics.mean(values), 100 * error)


def accuracy_table(result: Result) -> List[str]:
    lines = header(["sizes", "configuration", "bytes: mean error", "RMS error", "blocks: mean error", "RMS error",
                    "95 % interval holds the truth"])  # fmt: skip
    for program in programs_of(result["records"]):
        for name in result["configurations"]:
            cells = [program, label(name)]
            for what in (0, 1):
                values = deviations(result, program, name, what)
                if values:
                    root = math.sqrt(statistics.mean(value * value for value in values))
                    cells += [bias_text(values), "%.1f %%" % (100 * root)]
                else:
                    cells += ["failed" if select(result["records"], program, name) else "-", "-"]
            lines.append(row(cells + [coverage(result, program, name)]))
    return lines


def of(result: Result) -> List[str]:
    """All that the terminal shows of a suite."""
    suite = result["suite"]
    if suite == "bounds":
        lines = bounds.table(result["records"])
    elif suite == "growth":
        lines = growth_table(result)
    elif suite == "accuracy":
        lines = accuracy_table(result)
    else:
        lines = summary_table(result) + [""] + program_table(result)
        latency = latency_table(result)
        lines += [""] + latency if latency else []
    problems = failure_lines(result)
    return lines + ([""] + problems if problems else [])
