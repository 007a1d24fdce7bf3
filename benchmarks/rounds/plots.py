# SPDX-License-Identifier: MIT
"""Results as pictures: SVG files, the same for the same results."""

from __future__ import annotations

import math
import os
import statistics
from typing import Any, Dict, List, Sequence, Tuple

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: E402

from . import tables  # noqa: E402
from .ratios import ratios, spread  # noqa: E402

STYLE: Any = {
    "svg.hashsalt": "mprofile",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
OURS, EMPTY, OTHERS = "#1f6feb", "#8b949e", "#bf5b17"
# Of lines that cross: readable in black and white and by the colour-blind.
LINES = ["#1f6feb", "#bf5b17", "#2a7f3f", "#8b949e", "#8250df", "#b8860b"]
MARKERS = ["o", "s", "^", "D", "v", "x"]


def colour(configuration: str) -> str:
    kind = configuration.partition(":")[0]
    return OURS if kind in ("mprofile", "recording") else EMPTY if kind in ("none", "empty") else OTHERS


def save(figure: Any, path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    pyplot.close(figure)


def times(value: float, _: int) -> str:
    return "%g×" % round(value, 3)


def ratio_axis(axes: Any, largest: float, smallest: float) -> None:
    """Logarithmic, with round ratios named."""
    axes.set_xscale("log")
    nice = [0.5, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 200]
    if largest > 1.6:
        nice = [tick for tick in nice if tick not in (0.95, 1.05, 0.9, 1.1)]
    if largest > 6:
        nice = [tick for tick in nice if tick not in (0.8, 1.2, 1.5, 3)]
    shown = [tick for tick in nice if smallest / 1.05 <= tick <= largest * 1.05]
    axes.set_xticks(shown)
    axes.xaxis.set_major_formatter(FuncFormatter(times))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="minor", length=0)
    axes.axvline(1, color="black", linewidth=0.8)


def dots(result: tables.Result, what: str, title: str, path: str) -> None:
    """A row a configuration, a dot a program, a bar at the geometric mean."""
    names = [name for name in result["configurations"] if name != "none"]
    found = [(name, tables.medians(result["records"], name, what)) for name in names]
    found = [(name, values) for name, values in found if values]
    if not found:
        return
    figure, axes = pyplot.subplots(figsize=(7.2, 0.7 + 0.42 * len(found)))
    every = [value for _, values in found for value in values.values()]
    for place, (name, values) in enumerate(found):
        ordered = [values[program] for program in sorted(values)]
        offsets = [place + 0.22 * math.sin(2.4 * i) for i in range(len(ordered))]
        axes.plot(ordered, offsets, "o", markersize=3, alpha=0.45, color=colour(name), markeredgewidth=0)
        mean = math.exp(statistics.mean(math.log(value) for value in ordered))
        axes.plot([mean, mean], [place - 0.36, place + 0.36], color=colour(name), linewidth=2.5)
        axes.annotate("%.3g×" % mean if mean >= 1.1 else "%.3f×" % mean, (1.01, place), va="center",
                      xycoords=("axes fraction", "data"), color=colour(name))  # fmt: skip
    axes.set_yticks(range(len(found)))
    axes.set_yticklabels([tables.label(name) for name, _ in found])
    axes.invert_yaxis()
    ratio_axis(axes, max(every), min(every))
    axes.set_title(title, loc="left", fontsize=10)
    save(figure, path)


def bars(result: tables.Result, path: str) -> None:
    """Micro-benchmarks: a group a program, the median ratio with its quartiles for each configuration."""
    names = [name for name in result["configurations"] if name != "none"]
    programs = tables.programs_of(result["records"])
    figure, axes = pyplot.subplots(figsize=(7.2, 0.8 + 0.3 * len(programs)))
    every = [1.0]
    for number, name in enumerate(names):
        places, middles, lows, highs = [], [], [], []
        for place, program in enumerate(programs):
            found = spread(ratios(result["records"], program, name))
            if found:
                places.append(place + (number - (len(names) - 1) / 2) * 0.8 / len(names))
                middles.append(found.median)
                lows.append(found.median - found.low)
                highs.append(found.high - found.median)
        every += middles
        axes.errorbar(middles, places, xerr=[lows, highs], fmt=MARKERS[number % len(MARKERS)], markersize=3.5,
                      linewidth=0.8, color=LINES[number % len(LINES)], label=tables.label(name))  # fmt: skip
    axes.set_yticks(range(len(programs)))
    axes.set_yticklabels(programs)
    axes.invert_yaxis()
    ratio_axis(axes, max(every), min(every))
    axes.set_title("Time of a loop, against no profiler", loc="left", fontsize=10)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    save(figure, path)


def curves(axes: Any, series: Sequence[Tuple[str, Dict[int, float]]], title: str, unit: str, factor: float) -> None:
    for number, (name, points) in enumerate(series):
        if points:
            values = [value * factor for value in points.values()]
            axes.plot(list(points), values, marker=MARKERS[number % len(MARKERS)], markersize=4, linewidth=1.2,
                      color=LINES[number % len(LINES)], label=name)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(title)
    axes.set_ylabel(unit)


def growth(result: tables.Result, directory: str) -> List[str]:
    names: List[str] = result["configurations"]
    made = []
    pictures = [("event", "ns an event", 1e9, "growth-time.svg"), ("bytes", "bytes an event", 1, "growth-memory.svg")]
    for what, unit, factor, file in pictures:
        wanted = [(axis, title) for axis, title in tables.GROWTH if what == "event" or axis != "threads"]
        figure, rows = pyplot.subplots(1, len(wanted), figsize=(3.1 * len(wanted), 2.6), squeeze=False)
        for axes, (axis, title) in zip(rows[0], wanted):
            series = [(tables.label(name), tables.growth_points(result, axis, name, what)) for name in names]
            curves(axes, series, title, unit, factor)
            if axis == "threads":
                axes.set_xscale("log", base=2)
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "%g" % value))
        finish(figure, rows[0])
        save(figure, os.path.join(directory, file))
        made.append(file)
    exact = next((name for name in names if name.startswith("mprofile:0:")), "")
    if exact:
        figure, rows = pyplot.subplots(1, 2, figsize=(6.4, 2.6), squeeze=False)
        for axes, (axis, title) in zip(rows[0], tables.GROWTH[:2]):
            steps = ("snapshot", "write", "read", "report")
            series = [(step, tables.growth_points(result, axis, exact, step)) for step in steps]
            curves(axes, series, title, "seconds", 1)
        finish(figure, rows[0])
        save(figure, os.path.join(directory, "growth-steps.svg"))
        made.append("growth-steps.svg")
    return made


def finish(figure: Any, row: Any) -> None:
    """One legend for a row of axes."""
    handles, labels = row[0].get_legend_handles_labels()
    figure.tight_layout()
    figure.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=len(labels), frameon=False)


def accuracy(result: tables.Result, path: str) -> None:
    """Mean error of a group, and the root of its mean square as a bar: what a single measurement is off by."""
    programs = tables.programs_of(result["records"])
    names = result["configurations"]
    size = (8, 0.8 + 0.26 * len(names) * len(programs))
    figure, rows = pyplot.subplots(1, 2, figsize=size, sharey=True, squeeze=False)
    places = [(program, name) for program in programs for name in names]
    for axes, what, title in zip(rows[0], (0, 1), ("bytes", "blocks")):
        for place, (program, name) in enumerate(places):
            values = tables.deviations(result, program, name, what)
            if values:
                root = math.sqrt(statistics.mean(value * value for value in values))
                axes.errorbar(100 * statistics.mean(values), place, xerr=100 * root, fmt="o", markersize=4,
                              linewidth=1.2, color=colour(name))  # fmt: skip
        axes.set_xscale("symlog", linthresh=10)
        axes.set_xticks([-100, -10, -5, 0, 5, 10, 100, 1000, 10000])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "%+g %%" % value if value else "0"))
        axes.tick_params(axis="x", labelrotation=60)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title("error in %s" % title, loc="left", fontsize=10)
        for number in range(1, len(programs)):
            axes.axhline(number * len(names) - 0.5, color="#999999", linewidth=0.6)
    rows[0][0].set_yticks(range(len(places)))
    rows[0][0].set_yticklabels(["%s, %s" % (program, tables.label(name)) for program, name in places])
    rows[0][0].invert_yaxis()
    figure.tight_layout()
    save(figure, path)


pyplot.rcParams.update(STYLE)
