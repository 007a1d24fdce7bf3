# SPDX-License-Identifier: MIT
"""Writes docs/performance.md and its pictures from results: python benchmarks/page.py RESULTS.json ...

What is explained is written by hand in benchmarks/page.md; what is measured comes from the files alone. A line of the
form {{section}} there stands for the tables and pictures of a section. Without results for it, the page says so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from typing import Any, Callable, Dict, List, Optional

from rounds import bounds, goals, plots, tables
from rounds.configurations import PEERS, parse

HERE = os.path.dirname(os.path.abspath(__file__))
DOCS = os.path.join(os.path.dirname(HERE), "docs")
Section = Callable[[Dict[str, Any], str], List[str]]


def picture(name: str, text: str) -> List[str]:
    return ["![%s](performance/%s)" % (text, name), ""]


def details(title: str, lines: List[str]) -> List[str]:
    return ["<details><summary>%s</summary>" % title, "", *lines, "", "</details>", ""]


def problems(result: Dict[str, Any]) -> List[str]:
    lines = tables.failure_lines(result)
    return details("What did not run (%d)" % len(lines), lines) if lines else []


def rounds_of(result: Dict[str, Any]) -> str:
    programs = tables.programs_of(result["records"])
    counts = [len({r["round"] for r in result["records"] if r["program"] == name}) for name in programs]
    least, most = min(counts), max(counts)
    number = str(most) if least == most else "%d to %d" % (least, most)
    return "%s round%s of %d programs." % (number, "s" if most != 1 else "", len(programs))


def overhead(result: Dict[str, Any], directory: str) -> List[str]:
    name = section_of(result)
    plots.dots(result, "seconds", "Time, against no profiler", os.path.join(directory, name + "-time.svg"))
    plots.dots(result, "rss", "Peak resident set, against no profiler", os.path.join(directory, name + "-rss.svg"))
    lines = [rounds_of(result), "", *tables.summary_table(result), ""]
    if name == "overhead":
        lines += [*goals.table(result), ""]
    lines += picture(name + "-time.svg", "Time of each program under each configuration, as a ratio")
    lines += picture(name + "-rss.svg", "Peak resident set of each program under each configuration, as a ratio")
    latency = tables.latency_table(result)
    if latency:
        lines += ["Latency of a request; the figures in brackets are the quartiles of the ratios.", "", *latency, ""]
    lines += details("Time of every program", tables.program_table(result))
    lines += details("Peak resident set of every program", tables.program_table(result, "rss"))
    return lines + problems(result)


def micro(result: Dict[str, Any], directory: str) -> List[str]:
    plots.bars(result, os.path.join(directory, "micro.svg"))
    lines = [rounds_of(result), "", *picture("micro.svg", "Time of each loop under each configuration, as a ratio")]
    return lines + details("Figures", tables.program_table(result)) + problems(result)


def growth(result: Dict[str, Any], directory: str) -> List[str]:
    lines = [rounds_of(result), ""]
    texts = {"growth-time.svg": "Time of an event", "growth-memory.svg": "Memory of the profiler for an event",
             "growth-steps.svg": "Time to take, write, read and report a snapshot"}  # fmt: skip
    for name in plots.growth(result, directory):
        lines += picture(name, texts[name])
    return lines + details("Figures", tables.growth_table(result)) + problems(result)


def accuracy(result: Dict[str, Any], directory: str) -> List[str]:
    plots.accuracy(result, os.path.join(directory, "accuracy.svg"))
    lines = [rounds_of(result), "", *picture("accuracy.svg", "Errors of the estimates of a group")]
    return lines + tables.accuracy_table(result) + [""] + problems(result)


def of_bounds(result: Dict[str, Any], directory: str) -> List[str]:
    return [rounds_of(result), "", *bounds.table(result["records"]), ""] + problems(result)


def threads(result: Dict[str, Any], directory: str) -> List[str]:
    """What scaling.py wrote."""
    lines = []
    for mode in result["modes"]:
        lines += [mode["title"] + ".", ""]
        lines += tables.header(
            ["threads", "wall ns", "profiled", "ratio", "cpu ns", "profiled", "ratio", "waits", "favours"]
        )
        lines += [
            tables.row("{}|{:.1f}|{:.1f}|{:.3f}|{:.1f}|{:.1f}|{:.3f}|{}|{}".format(*row).split("|"))
            for row in mode["rows"]
        ]
        lines.append("")
    return lines


SECTIONS: Dict[str, Section] = {
    "bounds": of_bounds,
    "overhead": overhead,
    "peers": overhead,
    "micro": micro,
    "growth": growth,
    "accuracy": accuracy,
    "threads": threads,
}


def section_of(result: Dict[str, Any]) -> str:
    """The suite; a run of `overhead` with other profilers is a section of its own."""
    if result["suite"] == "overhead" and any(parse(name).kind in PEERS for name in result["configurations"]):
        return "peers"
    return str(result["suite"])


def version_text(versions: Dict[str, str]) -> str:
    return ", ".join("%s %s" % (name, versions[name]) for name in sorted(versions) if versions[name])


def page(template: str, files: List[Dict[str, Any]], directory: str) -> str:
    """The later file counts, where two have the same section."""
    lines: Dict[str, List[str]] = {}
    for content in files:
        for result in content["results"]:
            name = section_of(result)
            if name == "threads":  # says by itself what it was measured on
                lines[name] = threads(result, directory)
                continue
            what = dict(content["facts"])
            tail = "*%(python)s, %(machine)s, seed %(seed)d, mprofile %(mprofile)s" % what
            versions = version_text({parse_package(key): value for key, value in content["versions"].items()})
            lines[name] = SECTIONS[name](result, directory) + [tail + ("; %s" % versions if versions else "") + ".*"]

    def replace(match: "re.Match[str]") -> str:
        name = match.group(1)
        if name not in SECTIONS:
            raise SystemExit("no section {{%s}}: %s" % (name, ", ".join(SECTIONS)))
        return "\n".join(lines.get(name, ["*Not measured for this page.*"]))

    return re.sub(r"^\{\{(\w+)\}\}$", replace, template, flags=re.MULTILINE)


def parse_package(environment: str) -> str:
    return {"base": "pyperformance", "older": "older mprofile", "fil": "filprofiler", "pyroscope": "pyroscope-io"}.get(
        environment, environment
    )


def main(words: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Write the page of what was measured.")
    parser.add_argument(
        "results", nargs="+", metavar="RESULTS.json", help="what run.py --json and scaling.py --json wrote"
    )
    parser.add_argument("--template", default=os.path.join(HERE, "page.md"), help="what is explained")
    parser.add_argument("--out", default=os.path.join(DOCS, "performance.md"), metavar="FILE")
    arguments = parser.parse_args(words)
    files = []
    for path in arguments.results:
        with open(path, encoding="utf-8") as file:
            files.append(json.load(file))
    with open(arguments.template, encoding="utf-8") as file:
        template = file.read()
    directory = os.path.join(os.path.dirname(os.path.abspath(arguments.out)), "performance")
    text = page(template, files, directory)
    with open(arguments.out, "w", encoding="utf-8") as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
