// SPDX-License-Identifier: MIT
// The functions as a table, flat and cumulative. Its figures come from all stacks, also from those folded in the graph.

import { changeColor, functionColor } from "./colors";
import { Data, MEASURES, PROGRAM } from "./decode";
import { byId, button, make, swatch } from "./dom";
import { Figures, Value } from "./figures";
import { formatChange, formatInterval, formatShare, formatValue } from "./format";
import { Names } from "./names";
import { State } from "./state";
import { isSure } from "./tooltip";

const ROWS = 200;

interface Line {
  f: number;
  flat: Value;
  cum: Value;
}

export interface TableEvents {
  sort(by: State["sort"]): void;
  open(f: number): void;
}

export class Table {
  private element = byId<HTMLTableElement>("table");
  private shown = ROWS;
  private lastKey = "";

  constructor(
    private data: Data,
    private figures: Figures,
    private names: Names,
    private events: TableEvents,
  ) {}

  /** matches: functions to show; null: all. */
  show(state: State, matches: Uint8Array | null): void {
    const key = [state.measure, state.unit, state.sort, state.ascending, state.query, state.programOnly].join(" ");
    if (key !== this.lastKey) this.shown = ROWS;
    this.lastKey = key;
    const lines = this.lines(state, matches);
    const head = make("tr", "", ...this.headings(state));
    const body = make("tbody", "", ...lines.slice(0, this.shown).map((line) => this.row(line, state)));
    this.element.replaceChildren(make("thead", "", head), body);
    const rest = lines.length - this.shown;
    const caption = make("caption", "", `${lines.length.toLocaleString("en")} functions`);
    if (rest > 0) {
      const more = button(
        "more",
        () => {
          this.shown += 1000;
          this.show(state, matches);
        },
        `Show ${Math.min(rest, 1000).toLocaleString("en")} more`,
      );
      caption.append(" \u00b7 ", more);
    }
    this.element.prepend(caption);
  }

  private lines({ measure, unit, sort, ascending, programOnly }: State, matches: Uint8Array | null): Line[] {
    const { tableFunction, tableFigures, width } = this.data;
    const half = MEASURES * width;
    const figures = new Float64Array(2 * half);
    const lines: Line[] = [];
    tableFunction.forEach((f, row) => {
      if (matches && !matches[f]) return;
      if (programOnly && this.names.kind(f) !== PROGRAM) return;
      tableFigures.forEach((column, c) => (figures[c] = column[row]!));
      const cum = this.figures.value(figures, half, measure, unit);
      if (cum.value <= 0 && cum.old <= 0) return;
      lines.push({ f, flat: this.figures.value(figures, 0, measure, unit), cum });
    });
    const weight = (value: Value) => (this.data.difference ? value.change : value.value);
    const sign = ascending ? 1 : -1;
    return lines.sort((a, b) => {
      const byName = this.names.name(a.f).localeCompare(this.names.name(b.f)) || a.f - b.f;
      if (sort === "name") return sign * byName;
      const other = sort === "flat" ? "cum" : "flat";
      return sign * (weight(a[sort]) - weight(b[sort])) || sign * (weight(a[other]) - weight(b[other])) || byName;
    });
  }

  private headings(state: State): HTMLElement[] {
    const change = this.data.difference ? ", change" : "";
    const titles = [
      ["name", "Function", "by name"],
      ["flat", `Flat${change}`, "what the function allocated itself"],
      ["cum", `Cumulative${change}`, "also what it called"],
    ] as const;
    return titles.map(([sort, title, help]) => {
      const current = state.sort === sort;
      const arrow = current ? (state.ascending ? " \u25b4" : " \u25be") : "";
      const inner = button("", () => this.events.sort(sort), title + arrow);
      inner.title = help;
      const cell = make("th", "", inner);
      cell.scope = "col";
      cell.setAttribute("aria-sort", current ? (state.ascending ? "ascending" : "descending") : "none");
      inner.dataset.sort = sort;
      return cell;
    });
  }

  private row({ f, flat, cum }: Line, state: State): HTMLElement {
    const name = button("name", () => this.events.open(f), this.names.name(f));
    name.title = "show callers and callees";
    const change = cum.change / Math.max(cum.value, cum.old);
    const color = this.data.difference
      ? changeColor(change, isSure(cum, this.figures.exact))
      : functionColor(this.data, f);
    const row = make(
      "tr",
      "",
      make("td", "", swatch(color), name, make("span", "place", this.names.place(f, false))),
      this.figure(flat, state),
      this.figure(cum, state),
    );
    row.dataset.function = String(f);
    return row;
  }

  private figure(value: Value, state: State): HTMLElement {
    const blocks = state.unit === 1;
    const total = this.figures.total(state.measure, state.unit);
    const cell = make("td", "figure");
    if (this.data.difference) {
      const sure = isSure(value, this.figures.exact);
      const side = sure ? (value.change > 0 ? "sure-up" : "sure-down") : "";
      cell.append(make("b", side, formatChange(value.change, blocks)));
      const between = `${formatValue(value.old, blocks)} \u2192 ${formatValue(value.value, blocks)}`;
      const range = this.figures.exact ? "" : ` (${formatInterval(value.interval, blocks)})`;
      cell.append(make("span", "range", between + range));
      return cell;
    }
    cell.append(make("b", "", formatValue(value.value, blocks)));
    cell.append(make("span", "part", formatShare(value.value, total.value)));
    if (!this.figures.exact) cell.append(make("span", "range", formatInterval(value.interval, blocks)));
    cell.style.backgroundSize = `${((85 * value.value) / total.value).toFixed(1)}% 3px`;
    return cell;
  }
}
