// SPDX-License-Identifier: MIT
// Values, shares and intervals of groups: a group is a list of figures, some columns for each measure.

import { Data } from "./decode";
import {
  countDifferenceInterval,
  countInterval,
  Interval,
  sizeDifferenceInterval,
  sizeInterval,
} from "./intervals";
import { WIDTHS } from "./state";

export interface Value {
  value: number;
  /** Of the value; of the change in a difference. */
  interval: Interval;
  samples: number;
  old: number;
  change: number;
}

export class Figures {
  constructor(private data: Data) {}

  get exact(): boolean {
    return this.data.rate <= 1;
  }

  /** What figures from `offset` on say of a measure, in bytes (unit 0) or blocks (1). */
  value(figures: ArrayLike<number>, offset: number, measure: number, unit: number): Value {
    const { rate, pooledWeight, width, difference } = this.data;
    const at = offset + measure * width;
    const value = figures[at + unit]!;
    if (difference) {
      const old = figures[at + 2 + unit]!;
      const variance = figures[at + 4 + unit]!;
      const samples = figures[at + 6]!;
      const change = value - old;
      const interval =
        unit === 0
          ? sizeDifferenceInterval(change, variance, samples, rate)
          : countDifferenceInterval(change, variance, samples, rate, pooledWeight);
      return { value, interval, samples, old, change };
    }
    const variance = figures[at + 2 + unit]!;
    const samples = figures[at + 5]!;
    const interval =
      unit === 0
        ? sizeInterval(value, variance, samples, figures[at + 4]!, rate)
        : countInterval(value, variance, samples, rate, pooledWeight);
    return { value, interval, samples, old: 0, change: 0 };
  }

  total(measure: number, unit: number): Value {
    return this.value(this.data.totals, 0, measure, unit);
  }

  /** What the widths stand for: for each stack a number that can be summed. */
  stackValues(measure: number, unit: number, widths: (typeof WIDTHS)[number]): Float64Array {
    const { stackFigures, width, difference } = this.data;
    const now = stackFigures[measure * width + unit]!;
    if (!difference || widths === "new") return now;
    const old = stackFigures[measure * width + 2 + unit]!;
    if (widths === "old") return old;
    const sign = widths === "grown" ? 1 : -1;
    return now.map((value, stack) => Math.max(0, sign * (value - old[stack]!)));
  }
}
