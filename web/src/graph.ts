// SPDX-License-Identifier: MIT
// A flame graph on the screen: a tree, its layout, and what its frames are called and coloured.

import type { App } from "./app";
import { changeColor, functionColor, kindColor } from "./colors";
import { OTHER } from "./decode";
import { Flame } from "./flame";
import { isSure, Subject } from "./tooltip";
import { Layout, layOut, ownFigures, sumFigures, Tree } from "./tree";

export class Graph {
  flame: Flame;
  tree: Tree | null = null;
  layout: Layout | null = null;
  lines = false;
  /** Function that the root stands for; -1: for everything. */
  rootFunction = -1;
  private sums: Float64Array | null = null;
  private colors = new Map<number, string>();

  constructor(
    private app: App,
    host: HTMLElement,
    up: boolean,
    fitted: boolean,
  ) {
    const look = {
      text: (node: number) => this.name(node),
      detail: (node: number) => this.place(node),
      color: (node: number) => this.color(node),
      ink: () => app.ink,
    };
    const events = {
      hover: (node: number, x: number, y: number) => app.hover(this, node, x, y),
      zoom: (node: number) => app.zoom(this, node),
      select: (node: number) => app.select(this, node),
    };
    this.flame = new Flame(host, look, events, up, fitted);
    host.addEventListener("focus", () => (app.current = this));
    host.addEventListener("pointerdown", () => (app.current = this));
  }

  show(tree: Tree, stackValue: Float64Array, lines: boolean, up: boolean, zoom: number[]): void {
    if (tree !== this.tree) this.sums = null;
    this.tree = tree;
    this.lines = lines;
    this.layout = layOut(tree, stackValue);
    this.forgetColors();
    this.flame.show(this.layout, this.find(zoom), up);
  }

  forgetColors(): void {
    this.colors.clear();
  }

  label(node: number): number {
    return this.tree!.label[node]!;
  }

  functionOf(node: number): number {
    if (node === 0) return this.rootFunction;
    return this.app.names.functionOf(this.label(node), this.lines);
  }

  name(node: number): string {
    return this.app.names.name(this.functionOf(node));
  }

  place(node: number, full = false): string {
    const { names } = this.app;
    return node === 0 ? names.place(this.rootFunction, false, full) : names.place(this.label(node), this.lines, full);
  }

  allSums(): Float64Array {
    this.sums ??= sumFigures(this.tree!, this.app.data.stackFigures);
    return this.sums;
  }

  private color(node: number): string {
    const { data } = this.app;
    const f = this.functionOf(node);
    const key = data.difference ? node : f;
    let color = this.colors.get(key);
    if (color === undefined) {
      if (data.difference) {
        const value = this.app.valueOf(this.allSums(), node * data.stackFigures.length);
        color = changeColor(value.change / Math.max(value.value, value.old), isSure(value, this.app.figures.exact));
      } else {
        color = f < 0 ? kindColor(OTHER, 0) : functionColor(data, f);
      }
      this.colors.set(key, color);
    }
    return color;
  }

  subject(node: number): Subject {
    const f = this.functionOf(node);
    const { data, names } = this.app;
    return {
      name: this.name(node),
      place: this.place(node, true),
      kind: names.kind(f),
      figures: this.allSums(),
      offset: node * data.stackFigures.length,
      own: ownFigures(this.tree!, data.stackFigures, node),
    };
  }

  /** Labels from the root to a node. */
  path(node: number): number[] {
    const labels: number[] = [];
    for (let at = node; at > 0; at = this.tree!.parent[at]!) labels.push(this.label(at));
    return labels.reverse();
  }

  /** The node that a path leads to, or the last that there is on the way. */
  private find(path: number[]): number {
    const { tree, first, next } = this.layout!;
    let node = 0;
    for (const label of path) {
      let child = first[node]!;
      while (child >= 0 && tree.label[child] !== label) child = next[child]!;
      if (child < 0) break;
      node = child;
    }
    return node;
  }

  /** Nodes of the functions, and the value of all that is at or below one. */
  match(functions: Uint8Array): { nodes: Uint8Array; figures: Float64Array; value: number; count: number } {
    const tree = this.tree!;
    const width = this.app.data.stackFigures.length;
    const sums = this.allSums();
    const nodes = new Uint8Array(tree.size);
    const inside = new Uint8Array(tree.size);
    const figures = new Float64Array(width);
    const found = new Set<number>();
    let value = 0;
    for (let node = 0; node < tree.size; node++) {
      const f = this.functionOf(node);
      if (f >= 0 && functions[f]) {
        nodes[node] = 1;
        found.add(f);
      }
      const within = node > 0 ? inside[tree.parent[node]!]! : 0;
      inside[node] = within || nodes[node]!;
      if (nodes[node] && !within) {
        value += this.layout!.value[node]!;
        for (let c = 0; c < width; c++) figures[c]! += sums[node * width + c]!;
      }
    }
    return { nodes, figures, value, count: found.size };
  }
}
