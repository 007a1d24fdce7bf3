// SPDX-License-Identifier: MIT
// What is said of a frame: where it is, its figures by every measure, and how far the truth may be from them.

import { KIND_NAMES } from "./colors";
import { Data, MEASURES } from "./decode";
import { byId, make } from "./dom";
import { Figures, Value } from "./figures";
import { formatChange, formatCount, formatInterval, formatShare, formatValue } from "./format";

export const MEASURE_NAMES = ["In use", "Allocated", "At peak"];
export const UNIT_NAMES = ["bytes", "blocks"];

export interface Subject {
  name: string;
  place: string;
  kind: number;
  figures: ArrayLike<number>;
  offset: number;
  /** Figures of the stacks that end here. */
  own: ArrayLike<number> | null;
}

/** Whether a change can be told from chance at 95 %. */
export function isSure({ change, interval }: Value, exact: boolean): boolean {
  return exact ? change !== 0 : interval[0] > 0 || interval[1] < 0;
}

export class Tooltip {
  private element = byId("tooltip");
  private owner: object | null = null;
  private node = -1;

  constructor(
    private data: Data,
    private figures: Figures,
  ) {}

  /** Whether what it shows is about this node. */
  isOf(owner: object, node: number): boolean {
    return !this.element.hidden && this.owner === owner && this.node === node;
  }

  about(owner: object, node: number): void {
    this.owner = owner;
    this.node = node;
  }

  hide(): void {
    this.element.hidden = true;
  }

  show(subject: Subject, measure: number, unit: number, x: number, y: number): void {
    const kind = KIND_NAMES.find(([number]) => number === subject.kind)![1];
    this.element.replaceChildren(
      make("div", "name", subject.name),
      make("div", "place", subject.place ? `${subject.place} (${kind})` : ""),
      this.data.difference ? this.changes(subject, measure, unit) : this.values(subject, measure, unit),
    );
    if (this.data.difference) {
      const value = this.figures.value(subject.figures, subject.offset, measure, unit);
      const sure = isSure(value, this.figures.exact);
      const verdict = this.figures.exact
        ? "Every block was recorded: the change is exact."
        : sure
          ? "More than chance: the 95 % interval of the change leaves out zero."
          : "May be chance: the 95 % interval of the change holds zero.";
      this.element.append(make("p", "verdict", verdict));
    }
    this.element.hidden = false;
    this.place(x, y);
  }

  private row(className: string, title: string, cells: string[]): HTMLElement {
    return make("tr", className, make("th", "", title), ...cells.map((cell) => make("td", "", cell)));
  }

  private interval(value: Value, blocks: boolean): string {
    return this.figures.exact ? "exact" : formatInterval(value.interval, blocks);
  }

  private values({ figures, offset, own }: Subject, measure: number, unit: number): HTMLElement {
    const table = make("table", "");
    table.append(this.row("", "", ["", "95 % interval", "of all", "samples"]));
    const line = (className: string, title: string, of: ArrayLike<number>, at: number, m: number, u: number) => {
      const total = this.figures.total(m, u).value;
      if (total <= 0) return;
      const value = this.figures.value(of, at, m, u);
      const cells = [formatValue(value.value, u === 1) + (u === 1 ? " blocks" : "")];
      cells.push(this.interval(value, u === 1), formatShare(value.value, total), formatCount(value.samples));
      table.append(this.row(className, title, cells));
    };
    for (let m = 0; m < MEASURES; m++) {
      line(m === measure ? "current" : "", MEASURE_NAMES[m]!, figures, offset, m, unit);
    }
    line("", `${MEASURE_NAMES[measure]}, ${UNIT_NAMES[1 - unit]}`, figures, offset, measure, 1 - unit);
    if (own) line("", `${MEASURE_NAMES[measure]}, itself`, own, 0, measure, unit);
    return table;
  }

  private changes({ figures, offset }: Subject, measure: number, unit: number): HTMLElement {
    const table = make("table", "");
    table.append(this.row("", "", ["old", "new", "change", "95 % interval"]));
    for (let m = 0; m < MEASURES; m++) {
      for (const u of m === measure ? [unit, 1 - unit] : [unit]) {
        const total = this.figures.total(m, u);
        if (total.value <= 0 && total.old <= 0) continue;
        const value = this.figures.value(figures, offset, m, u);
        const title = u === unit ? MEASURE_NAMES[m]! : `${MEASURE_NAMES[m]}, ${UNIT_NAMES[u]}`;
        const cells = [formatValue(value.old, u === 1), formatValue(value.value, u === 1)];
        cells.push(formatChange(value.change, u === 1), this.interval(value, u === 1));
        table.append(this.row(m === measure && u === unit ? "current" : "", title, cells));
      }
    }
    return table;
  }

  /** Beside the point, inside the window. */
  place(x: number, y: number): void {
    const { offsetWidth, offsetHeight, style } = this.element;
    const left = x + 14 + offsetWidth > innerWidth - 8 ? x - 14 - offsetWidth : x + 14;
    const top = y + 16 + offsetHeight > innerHeight - 8 ? y - 16 - offsetHeight : y + 16;
    style.left = `${Math.max(8, Math.min(left, innerWidth - 8 - offsetWidth))}px`;
    style.top = `${Math.max(8, top)}px`;
  }
}
