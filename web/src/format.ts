// SPDX-License-Identifier: MIT
// Figures as text, in the same units and digits as `mprofile report`.

import { Interval } from "./intervals";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const MINUS = "\u2212";

function scale(size: number): number {
  let power = 0;
  let rest = Math.abs(size);
  while (rest >= 1023.95 && power < UNITS.length - 1) {
    rest /= 1024;
    power++;
  }
  return power;
}

function scaled(size: number, power: number): string {
  return signed((size / 1024 ** power).toFixed(power ? 1 : 0));
}

function signed(text: string): string {
  return text.startsWith("-") ? (Number(text) === 0 ? text.slice(1) : MINUS + text.slice(1)) : text;
}

export function formatSize(size: number): string {
  const power = scale(size);
  return `${scaled(size, power)} ${UNITS[power]}`;
}

export function formatCount(count: number): string {
  return signed(count.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ","));
}

export function formatValue(value: number, blocks: boolean): string {
  return blocks ? formatCount(value) : formatSize(value);
}

/** With a sign, for changes. */
export function formatChange(value: number, blocks: boolean): string {
  const text = formatValue(value, blocks);
  return value > 0 && Number.parseFloat(text) !== 0 ? "+" + text : text;
}

export function formatInterval([low, high]: Interval, blocks: boolean): string {
  if (blocks) return `${formatCount(low)}\u2009\u2026\u2009${formatCount(high)}`;
  const power = Math.max(scale(low), scale(high));
  return `${scaled(low, power)}\u2009\u2026\u2009${scaled(high, power)} ${UNITS[power]}`;
}

export function formatShare(value: number, total: number): string {
  if (!(total > 0)) return "\u2013";
  const percent = (100 * value) / total;
  return `${signed(percent.toFixed(percent !== 0 && Math.abs(percent) < 0.1 ? 3 : 1))} %`;
}
