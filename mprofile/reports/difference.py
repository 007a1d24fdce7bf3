# SPDX-License-Identifier: MIT
"""What changed from one profile to another, sorted by how much of it is certain.

CERTAIN Each change stands with the interval that holds the true one with a probability of 95 %. The end nearest to zero
        is the part of the change that is certain; if the interval holds zero, nothing is, and the row may be noise.
ERRORS  A file does not say which sample is which, so what was in use in both cannot cancel: the variances of both add
        up. Only what was ever allocated cancels, if both files are of one recording: the newer one counts all that the
        older one does, and the variance of the difference is the difference of the variances.
SAME    Rows are the same if file, line and name are. Functions also if only the line differs where they begin, and no
        other function of the file has that name, before or after. Files are the same if their names are, or, for two
        versions in two directories, if they are alike from where the program ran or from the library directory on.
"""

from __future__ import annotations

from typing import Any, Dict, Hashable, List, NamedTuple, Optional, Sequence, Tuple

from mprofile import intervals
from mprofile._sizes import UNITS
from mprofile.profile import Figures, Measures, Profile, Row
from mprofile.reports.export import dump, how_recorded, place_of, spreadsheet, stack_text
from mprofile.reports.groups import EVERYTHING, Selection, rows, totals
from mprofile.reports.head import LEVEL, moment, sampling
from mprofile.reports.names import printable, recorded, scale, short
from mprofile.reports.styled import Line
from mprofile.reports.table import SORTS, Sort, where

__all__ = ["Change", "Comparison", "as_csv", "as_json", "changes", "lines"]


class Change(NamedTuple):
    """row: of the newer profile, or of the older one if it is there only. directory: that its program ran in, or "".
    Figures: bytes, or blocks."""

    row: Row
    directory: str
    old: float
    new: float
    low: float
    high: float

    @property
    def change(self) -> float:
        return self.new - self.old

    @property
    def certain(self) -> float:
        """The part that is certain: the end of the interval nearest to zero, 0 if it holds zero."""
        return max(self.low, 0.0) + min(self.high, 0.0)

    @property
    def noise(self) -> bool:
        return self.low <= 0.0 <= self.high


class Comparison:
    """Two profiles, and by what they are compared. by, metric, selection: as in reports.table.View. least: smallest
    change, up or down, of a row."""

    def __init__(
        self,
        old: Profile,
        new: Profile,
        by: str = "function",
        metric: str = "inuse",
        cumulative: bool = False,
        selection: Selection = EVERYTHING,
        least: float = 0.0,
    ) -> None:
        self.old = old
        self.new = new
        self.by = by
        self.metric = metric
        self.order: Sort = SORTS[metric]
        self.cumulative = cumulative
        self.selection = selection
        self.least = max(0.5, least)  # less than a half is what rounding leaves
        sampled = max((old, new), key=lambda profile: float(profile.meta["sample_rate"]))
        self.rate: float = sampled.meta["sample_rate"]
        self.exact = self.rate <= 1
        whole = sampled.totals().inuse
        self.weight = intervals.pooled_weight(whole.blocks, whole.blocks_var, whole.samples)
        self.shared = metric == "allocated" and _same_recording(old, new)

    def change(self, old: Optional[Measures], new: Optional[Measures], row: Row, directory: str) -> Change:
        before = None if old is None else self.order.figures(old)
        after = None if new is None else self.order.figures(new)
        blocks = self.order.blocks
        values = [0.0 if one is None else one.blocks if blocks else one.bytes for one in (before, after)]
        variances = [_sampled(one, blocks) for one in (before, after)]
        (old_var, old_samples), (new_var, new_samples) = variances
        if self.shared:
            old_var, old_samples = -old_var, -old_samples
        variance = max(0.0, old_var + new_var)
        samples = max(0, old_samples + new_samples)
        difference = values[1] - values[0]
        if blocks:
            low, high = intervals.count_difference_interval(
                difference, variance, samples, self.rate, self.weight, LEVEL
            )
        else:
            low, high = intervals.difference_interval(difference, variance, samples, self.rate, LEVEL)
        return Change(row, directory, values[0], values[1], low, high)


def _sampled(figures: Optional[Figures], blocks: bool) -> Tuple[float, int]:
    """Variance and number of those samples that something was inferred from."""
    if figures is None:
        return 0.0, 0
    variance = figures.blocks_var if blocks else figures.bytes_var
    return variance, figures.samples if variance > 0 else 0


def _same_recording(old: Profile, new: Profile) -> bool:
    before, after = old.meta, new.meta
    return bool(
        after["recording"] != 0
        and after["recording"] == before["recording"]
        and after["sample_rate"] == before["sample_rate"]
        and after["time_ns"] >= before["time_ns"]
        and new.totals().allocated.samples >= old.totals().allocated.samples
    )


def _directory(profile: Profile) -> str:
    return recorded(profile).get("directory", "")


def _renamed(old: Profile, new: Profile) -> Dict[str, str]:
    """Names in the new profile of files that have another name in the old one."""
    names = [{row.filename for row in profile.rows("file")} for profile in (old, new)]
    shorts: List[Dict[str, List[str]]] = [{}, {}]
    for side, own, others, profile in zip(shorts, names, reversed(names), (old, new)):
        for name in own - others:
            side.setdefault(short(name, _directory(profile)), []).append(name)
    return {
        found[0]: shorts[1][name][0]
        for name, found in shorts[0].items()
        if len(found) == 1 and len(shorts[1].get(name, ())) == 1
    }


def _key(row: Row, by: str, files: Dict[str, str]) -> Hashable:
    if by == "stack":
        return tuple((files.get(one.filename, one.filename), one.lineno, one.name) for one in row.frames)
    filename = files.get(row.filename, row.filename)
    return (filename, row.lineno) if by == "line" else (filename, row.lineno, row.name)


def _moved(old: Sequence[Row], new: Sequence[Row], files: Dict[str, str]) -> Dict[Hashable, Hashable]:
    """Keys in the new profile of functions that began at another line in the old one."""
    places: List[Dict[Tuple[str, Optional[str]], List[Hashable]]] = [{}, {}]
    for side, found, aliases in zip(places, (old, new), (files, {})):
        for row in found:
            name = (aliases.get(row.filename, row.filename), row.name)
            side.setdefault(name, []).append(_key(row, "function", aliases))
    return {
        before[0]: places[1][name][0]
        for name, before in places[0].items()
        if len(before) == 1 and len(places[1].get(name, ())) == 1
    }


def changes(comparison: Comparison) -> List[Change]:
    """All rows that changed: the largest certain part first, then the largest change."""
    by, selection = comparison.by, comparison.selection
    old = rows(comparison.old, by, selection)
    new = rows(comparison.new, by, selection)
    files = _renamed(comparison.old, comparison.new)
    moved = _moved(old, new, files) if by in ("function", "thread") else {}
    before: Dict[Hashable, Row] = {}
    for row in old:
        key = _key(row, by, files)
        before[moved.get(key, key)] = row
    result = []

    def measures(row: Optional[Row]) -> Optional[Measures]:
        return None if row is None else row.cumulative if comparison.cumulative else row.flat

    for row in new:
        match = before.pop(_key(row, by, {}), None)
        result.append(comparison.change(measures(match), measures(row), row, _directory(comparison.new)))
    for row in before.values():
        result.append(comparison.change(measures(row), None, row, _directory(comparison.old)))
    result = [one for one in result if abs(one.change) >= comparison.least]
    result.sort(
        key=lambda one: (-abs(one.certain), -abs(one.change), one.row.filename, one.row.lineno, one.row.name or "")
    )
    return result


def total(comparison: Comparison) -> Change:
    old, new = (totals(profile, comparison.selection) for profile in (comparison.old, comparison.new))
    nothing = [0.0] * 18
    return comparison.change(old, new, comparison.new.row(("", 0, None), nothing, nothing), "")


def legend(comparison: Comparison) -> List[str]:
    """What the columns mean, in few words."""
    if comparison.exact:
        return ["Every block was recorded: the changes are exact."]
    lines = ["certain: the end of the 95 % interval nearest to zero.  ~ may be noise: the interval holds zero."]
    if comparison.shared:
        lines.append("Both are of one recording: what the older one counts the newer one counts too, and cancels.")
    else:
        lines.append("Files do not tell which samples they share, so the errors of both add up.")
    return lines


# ---- text ----


def lines(comparison: Comparison, limit: Optional[int] = 20, width: Optional[int] = None) -> List[Line]:
    """Return head, what grew and what shrank; at most `limit` rows of each. width: columns of the terminal."""
    order = comparison.order
    result: List[Line] = []
    for word, profile in (("old", comparison.old), ("new", comparison.new)):
        notes = recorded(profile)
        facts = [printable(notes["command"])] if "command" in notes else []
        if profile.meta["time_ns"]:
            facts.append(moment(profile.meta["time_ns"]))
        facts.append(sampling(profile))
        result.append([("{:<11}".format(word), "head"), (", ".join(facts), "")])
    whole = total(comparison)
    line: Line = [
        ("{:<11}".format("total"), "head"),
        ("{} -> {}: ".format(order.show(whole.old), order.show(whole.new)), ""),
    ]
    line.append((signed(whole.change, order), _direction(whole)))
    if not comparison.exact:
        line.append((" ({})".format(signed_range(whole.low, whole.high, order)), "range"))
        if whole.noise:
            line.append(("  ~ may be noise", "quiet"))
    result += [line, []]
    what = "change of {} by {}{}".format(
        order.title, comparison.by, ", with what it called" if comparison.cumulative else ""
    )
    result.append([(what, "head")])
    result += [[(text, "quiet")] for text in legend(comparison)]
    found = changes(comparison)
    for word, sign in (("grew", 1), ("shrank", -1)):
        some = [one for one in found if one.change * sign > 0]
        result += [[], [(word, "head")], []]
        if not some:
            result.append([("  nothing", "")])
            continue
        put = _paragraphs if comparison.by == "stack" else _table
        result += put(comparison, some[:limit], width)
        if limit is not None and len(some) > limit:
            rest = sum(one.change for one in some[limit:])
            text = "  {:,} more with {}".format(len(some) - limit, signed(rest, order))
            result += [[], [(text, "quiet")]]
    return result


def _direction(change: Change) -> str:
    return "quiet" if change.noise else "grew" if change.change > 0 else "shrank"


def signed(value: float, order: Sort) -> str:
    return ("+" if value > 0 else "-" if value < 0 else "") + order.show(abs(value))


def signed_range(low: float, high: float, order: Sort) -> str:
    """Both ends in the unit of the larger one: -0.3..+5.6 MiB."""
    if order.blocks:
        return "{:+,.0f}..{:+,.0f}".format(low, high)
    power = scale(max(abs(low), abs(high)))
    digits = 1 if power else 0
    return "{:+.{}f}..{:+.{}f} {}".format(low / 1024**power, digits, high / 1024**power, digits, UNITS[power])


def _table(comparison: Comparison, some: Sequence[Change], width: Optional[int]) -> List[Line]:
    order = comparison.order
    header = ["change", "old", "new"] if comparison.exact else ["certain", "change", "95 % interval", "old", "new"]
    body = []
    for one in some:
        change = [signed(one.change, order)]
        if not comparison.exact:
            certain = "~" if one.noise else signed(one.certain, order)
            change = [certain, *change, signed_range(one.low, one.high, order)]
        body.append([*change, order.show(one.old), order.show(one.new)])
    keep = list(range(len(header)))
    widths = [max(len(line[place]) for line in [header, *body]) for place in keep]
    for name in ("95 % interval", "old", "new"):
        if width is not None and name in header and sum(widths[place] + 2 for place in keep) + 28 > width:
            keep.remove(header.index(name))

    def cells(texts: Sequence[str], kinds: Dict[str, str]) -> Line:
        return [("  " + texts[place].rjust(widths[place]), kinds.get(header[place], "")) for place in keep]

    heads = dict.fromkeys(header, "head")
    result: List[Line] = [[*cells(header, heads), ("    " + comparison.by, "head")]]
    for one, texts in zip(some, body):
        direction = _direction(one)
        kinds = {"certain": direction, "change": direction, "95 % interval": "range"}
        result.append([*cells(texts, kinds), ("    ", ""), *where(one.row, comparison.by, one.directory)])
    return result


def _paragraphs(comparison: Comparison, some: Sequence[Change], width: Optional[int]) -> List[Line]:
    order = comparison.order
    result: List[Line] = []
    for one in some:
        if result:
            result.append([])
        line: Line = [("  ", ""), (signed(one.change, order), _direction(one))]
        if not comparison.exact:
            line.append((" ({})".format(signed_range(one.low, one.high, order)), "range"))
            line.append((", ~ may be noise" if one.noise else ", certain {}".format(signed(one.certain, order)), ""))
        result.append([*line, (", {} -> {}".format(order.show(one.old), order.show(one.new)), "")])
        for frame in one.row.frames:
            line = [("    {}:{}".format(short(frame.filename, one.directory), frame.lineno), "place")]
            if frame.name:
                line.append(("  " + printable(frame.name), "name"))
            result.append(line)
    return result


# ---- data ----


def _unit(comparison: Comparison) -> str:
    return "blocks" if comparison.order.blocks else "bytes"


def _figures(change: Change) -> Dict[str, Any]:
    return {
        "old": round(change.old),
        "new": round(change.new),
        "change": round(change.change),
        "low": round(change.low),
        "high": round(change.high),
        "certain": round(change.certain),
        "may_be_noise": change.noise,
    }


def as_json(comparison: Comparison, limit: Optional[int] = None) -> str:
    """An object with both profiles, the total and the rows. Figures are whole numbers, bytes or blocks."""
    return dump(
        {
            "old": how_recorded(comparison.old),
            "new": how_recorded(comparison.new),
            "by": comparison.by,
            "metric": comparison.metric,
            "unit": _unit(comparison),
            "cumulative": comparison.cumulative,
            "level": LEVEL,
            "one_recording": comparison.shared,
            "total": _figures(total(comparison)),
            "rows": [dict(place_of(one.row, comparison.by), **_figures(one)) for one in changes(comparison)[:limit]],
        }
    )


def as_csv(comparison: Comparison, limit: Optional[int] = None) -> str:
    """One line a row: what it is, then its figures; the unit, bytes or blocks, is in their names."""
    places: List[str] = [comparison.by]
    body = []
    names: List[str] = []
    for one in changes(comparison)[:limit]:
        stack = comparison.by == "stack"
        place = {"stack": stack_text(one.row)} if stack else place_of(one.row, comparison.by)
        figures = _figures(one)
        figures["may_be_noise"] = int(one.noise)
        places, names = list(place), list(figures)
        body.append([*place.values(), *figures.values()])
    unit = _unit(comparison)
    return spreadsheet([*places, *(name if name == "may_be_noise" else name + "_" + unit for name in names)], body)
