// SPDX-License-Identifier: MIT
// What the reader is looking at, and its form in the address, so that a link brings another reader to the same view.
// The address is somebody's input: what does not fit falls back to the default.

import { Data } from "./decode";

export const VIEWS = ["flame", "table", "sandwich"] as const;
export const MEASURE_KEYS = ["inuse", "allocated", "peak"] as const;
export const UNIT_KEYS = ["bytes", "blocks"] as const;
export const WIDTHS = ["new", "old", "grown", "shrunk"] as const;
export const SORTS = ["name", "flat", "cum"] as const;

export interface State {
  view: (typeof VIEWS)[number];
  /** 0 in use, 1 allocated, 2 at peak */
  measure: number;
  /** 0 bytes, 1 blocks */
  unit: number;
  callersFirst: boolean;
  rootAtBottom: boolean;
  programOnly: boolean;
  lines: boolean;
  /** Labels from the root to the zoomed frame. */
  zoom: number[];
  query: string;
  /** Function of the sandwich, or -1. */
  focus: number;
  sort: (typeof SORTS)[number];
  ascending: boolean;
  /** What the widths of a difference mean. */
  widths: (typeof WIDTHS)[number];
}

export function defaults(data: Data): State {
  return {
    view: "flame",
    measure: data.measure,
    unit: data.unit,
    callersFirst: false,
    rootAtBottom: false,
    programOnly: false,
    lines: false,
    zoom: [],
    query: "",
    focus: -1,
    sort: "flat",
    ascending: false,
    widths: "new",
  };
}

/** Whether the profile has anything of a measure. */
export function isKnown(data: Data, measure: number): boolean {
  const at = measure * data.width;
  return data.totals[at]! > 0 || (data.difference && data.totals[at + 2]! > 0);
}

export function toHash(state: State, data: Data): string {
  const base = defaults(data);
  const words = new URLSearchParams();
  if (state.view !== base.view) words.set("view", state.view);
  if (state.measure !== base.measure) words.set("metric", MEASURE_KEYS[state.measure]!);
  if (state.unit !== base.unit) words.set("unit", UNIT_KEYS[state.unit]!);
  if (state.callersFirst) words.set("callers", "1");
  if (state.rootAtBottom) words.set("bottom", "1");
  if (state.programOnly) words.set("program", "1");
  if (state.lines) words.set("lines", "1");
  if (state.zoom.length > 0) words.set("zoom", state.zoom.join("."));
  if (state.query) words.set("search", state.query);
  if (state.focus >= 0) words.set("function", String(state.focus));
  if (state.sort !== base.sort || state.ascending) words.set("sort", (state.ascending ? "-" : "") + state.sort);
  if (state.widths !== base.widths) words.set("widths", state.widths);
  return words.toString();
}

export function fromHash(hash: string, data: Data): State {
  const state = defaults(data);
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const pick = <T extends string>(name: string, allowed: readonly T[], otherwise: T): T =>
    allowed.find((one) => one === words.get(name)) ?? otherwise;
  state.view = pick("view", VIEWS, state.view);
  state.measure = MEASURE_KEYS.indexOf(pick("metric", MEASURE_KEYS, MEASURE_KEYS[state.measure]!));
  state.unit = UNIT_KEYS.indexOf(pick("unit", UNIT_KEYS, UNIT_KEYS[state.unit]!));
  state.callersFirst = words.get("callers") === "1";
  state.rootAtBottom = words.get("bottom") === "1";
  state.programOnly = words.get("program") === "1";
  state.lines = words.get("lines") === "1";
  const zoom = words.get("zoom") ?? "";
  if (/^\d{1,9}(\.\d{1,9})*$/.test(zoom)) state.zoom = zoom.split(".").map(Number);
  state.query = words.get("search") ?? "";
  const focus = words.get("function") ?? "";
  if (/^\d{1,9}$/.test(focus) && Number(focus) < data.functionName.length) state.focus = Number(focus);
  const sort = words.get("sort") ?? state.sort;
  state.ascending = sort.startsWith("-");
  state.sort = SORTS.find((one) => one === sort.replace("-", "")) ?? state.sort;
  if (data.difference) state.widths = pick("widths", WIDTHS, state.widths);
  if (!isKnown(data, state.measure)) {
    state.measure = [0, 1, 2].find((measure) => isKnown(data, measure)) ?? state.measure;
  }
  if (state.view === "sandwich" && state.focus < 0) state.view = "table";
  return state;
}
