// SPDX-License-Identifier: MIT
// Colours of frames: by whose code it is, or by how it changed. Ink on all of them has a contrast of 4.5 to 1 or more.

import { Data, LIBRARY, OTHER, PACKAGE, PROGRAM } from "./decode";

/** Hue, saturation, lightness, and how far the hue may stray, light and dark. */
const KINDS: Record<number, { hue: number; stray: number; light: string; dark: string }> = {
  [PROGRAM]: { hue: 30, stray: 12, light: "88% 68%", dark: "66% 30%" },
  [PACKAGE]: { hue: 192, stray: 16, light: "52% 70%", dark: "48% 26%" },
  [LIBRARY]: { hue: 252, stray: 14, light: "46% 82%", dark: "24% 36%" },
  [OTHER]: { hue: 40, stray: 0, light: "6% 80%", dark: "5% 32%" },
};

export const KIND_NAMES: [number, string][] = [
  [PROGRAM, "the program"],
  [PACKAGE, "installed packages"],
  [LIBRARY, "standard library"],
  [OTHER, "other"],
];

export function isDark(): boolean {
  return document.documentElement.dataset.theme === "dark";
}

export function ink(): string {
  return isDark() ? "#ffffff" : "#211d18";
}

/** seed: strays the hue, so that neighbours differ and a function looks alike everywhere. */
export function kindColor(kind: number, seed: number): string {
  const { hue, stray, light, dark } = KINDS[kind] ?? KINDS[OTHER]!;
  const noise = (((seed * 2654435761) >>> 8) % 1000) / 500 - 1;
  return `hsl(${(hue + stray * noise).toFixed(1)} ${isDark() ? dark : light})`;
}

export function functionColor(data: Data, f: number): string {
  return kindColor(data.files[data.functionFile[f]!]![2], f + 1);
}

/** change: from -1 (all gone) to 1 (all new); sure: whether it can be told from chance. */
export function changeColor(change: number, sure: boolean): string {
  if (!sure) return kindColor(OTHER, 0);
  const strength = Math.sqrt(Math.min(1, Math.abs(change)));
  const hue = change > 0 ? 10 : 212;
  if (isDark()) return `hsl(${hue} ${(30 + 40 * strength).toFixed(0)}% ${(27 + 12 * strength).toFixed(0)}%)`;
  return `hsl(${hue} ${(50 + 35 * strength).toFixed(0)}% ${(90 - 20 * strength).toFixed(0)}%)`;
}
