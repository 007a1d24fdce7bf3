// SPDX-License-Identifier: MIT
// Trees to look at, made from the tree of call sites: by function or by line, from either end, without libraries, and
// the callers and callees of one function. A label is the number of a function or of a site.
//
// Each stack of the data ends at one node of the tree (or, in the trees about one function, at none: -1). A parent
// comes before its children, so sums run from the last node to the first.

import { Data, PROGRAM } from "./decode";

export interface Tree {
  parent: Int32Array;
  label: Int32Array;
  depth: Int32Array;
  /** For each stack of the data the node that it ends at, or -1. */
  stackNode: Int32Array;
  /** Number of nodes. */
  size: number;
}

/** A tree laid out by some value: widths, offsets from the left in units of the value, order of children. */
export interface Layout {
  tree: Tree;
  value: Float64Array;
  start: Float64Array;
  first: Int32Array;
  next: Int32Array;
  /** Depth of the deepest node that has any value. */
  deepest: number;
}

export interface Cut {
  lines: boolean;
  programOnly: boolean;
}

export const ROOT_LABEL = -1;

class Builder {
  private parent: number[] = [-1];
  private label: number[] = [ROOT_LABEL];
  private depth: number[] = [0];
  private children = new Map<number, number>();
  readonly stackNode: Int32Array;

  constructor(
    stacks: number,
    private labels: number,
  ) {
    this.stackNode = new Int32Array(stacks).fill(-1);
  }

  child(parent: number, label: number): number {
    const key = parent * this.labels + label;
    let node = this.children.get(key);
    if (node === undefined) {
      node = this.parent.length;
      this.children.set(key, node);
      this.parent.push(parent);
      this.label.push(label);
      this.depth.push(this.depth[parent]! + 1);
    }
    return node;
  }

  tree(): Tree {
    return {
      parent: Int32Array.from(this.parent),
      label: Int32Array.from(this.label),
      depth: Int32Array.from(this.depth),
      stackNode: this.stackNode,
      size: this.parent.length,
    };
  }
}

export class Trees {
  /** For each call site of the data: its label, or -1 if it is hidden. */
  private labels: Int32Array;
  private bound: number;

  constructor(
    private data: Data,
    cut: Cut,
  ) {
    const { siteFunction, functionFile, files } = data;
    this.bound = Math.max(siteFunction.length, functionFile.length) + 1;
    this.labels = new Int32Array(siteFunction.length);
    for (let site = 1; site < siteFunction.length; site++) {
      const f = siteFunction[site]!;
      const hidden = cut.programOnly && files[functionFile[f]!]![2] !== PROGRAM;
      this.labels[site] = hidden ? -1 : cut.lines ? site : f;
    }
  }

  /** From the first caller down to what allocated. */
  fromRoot(): Tree {
    const { parent, site, stackNode } = this.data;
    const builder = new Builder(stackNode.length, this.bound);
    const moved = new Int32Array(parent.length);
    for (let node = 1; node < parent.length; node++) {
      const above = moved[parent[node]!]!;
      const label = this.labels[site[node]!]!;
      moved[node] = label < 0 ? above : builder.child(above, label);
    }
    stackNode.forEach((node, stack) => (builder.stackNode[stack] = moved[node]!));
    return builder.tree();
  }

  /** From what allocated to its callers. */
  fromLeaf(): Tree {
    const { parent, site, stackNode } = this.data;
    const builder = new Builder(stackNode.length, this.bound);
    stackNode.forEach((end, stack) => {
      let at = 0;
      for (let node = end; node > 0; node = parent[node]!) {
        const label = this.labels[site[node]!]!;
        if (label >= 0) at = builder.child(at, label);
      }
      builder.stackNode[stack] = at;
    });
    return builder.tree();
  }

  /**
   * Callers and callees of a function. The root of both is its outermost call on a stack, so a stack counts once
   * however often the function recurs.
   */
  around(focus: number): { callers: Tree; callees: Tree } {
    const { parent, site, siteFunction, stackNode } = this.data;
    const callers = new Builder(stackNode.length, this.bound);
    const callees = new Builder(stackNode.length, this.bound);
    const inCallees = new Int32Array(parent.length).fill(-1);
    const inCallers = new Int32Array(parent.length).fill(-1);
    for (let node = 1; node < parent.length; node++) {
      const above = parent[node]!;
      const s = site[node]!;
      if (inCallees[above]! >= 0) {
        const label = this.labels[s]!;
        inCallees[node] = label < 0 ? inCallees[above]! : callees.child(inCallees[above]!, label);
        inCallers[node] = inCallers[above]!;
      } else if (siteFunction[s] === focus) {
        inCallees[node] = 0;
        let at = 0;
        for (let up = above; up > 0; up = parent[up]!) {
          const label = this.labels[site[up]!]!;
          if (label >= 0) at = callers.child(at, label);
        }
        inCallers[node] = at;
      }
    }
    stackNode.forEach((node, stack) => {
      callers.stackNode[stack] = inCallers[node]!;
      callees.stackNode[stack] = inCallees[node]!;
    });
    return { callers: callers.tree(), callees: callees.tree() };
  }
}

/** Lay a tree out by the values of the stacks, the largest children first. */
export function layOut(tree: Tree, stackValue: Float64Array): Layout {
  const { parent, depth, stackNode, size } = tree;
  const value = new Float64Array(size);
  stackNode.forEach((node, stack) => {
    if (node >= 0) value[node]! += stackValue[stack]!;
  });
  for (let node = size - 1; node > 0; node--) value[parent[node]!]! += value[node]!;
  const order = new Uint32Array(size);
  for (let node = 0; node < size; node++) order[node] = node;
  order.sort((a, b) => value[a]! - value[b]! || b - a);
  const first = new Int32Array(size).fill(-1);
  const next = new Int32Array(size).fill(-1);
  // From the smallest on, each becomes the first of its parent's children.
  for (const node of order) {
    if (node === 0 || value[node]! <= 0) continue;
    const above = parent[node]!;
    next[node] = first[above]!;
    first[above] = node;
  }
  const start = new Float64Array(size);
  let deepest = 0;
  for (let node = 0; node < size; node++) {
    let x = start[node]!;
    for (let child = first[node]!; child >= 0; child = next[child]!) {
      start[child] = x;
      x += value[child]!;
    }
    if (value[node]! > 0 && depth[node]! > deepest) deepest = depth[node]!;
  }
  return { tree, value, start, first, next, deepest };
}

/** The figures of all nodes, one after the other: those of the stacks that end at or below a node. */
export function sumFigures(tree: Tree, columns: Float64Array[]): Float64Array {
  const count = columns.length;
  const sums = new Float64Array(tree.size * count);
  columns.forEach((column, c) => {
    tree.stackNode.forEach((node, stack) => {
      if (node >= 0) sums[node * count + c]! += column[stack]!;
    });
  });
  for (let node = tree.size - 1; node > 0; node--) {
    const to = tree.parent[node]! * count;
    const from = node * count;
    for (let c = 0; c < count; c++) sums[to + c]! += sums[from + c]!;
  }
  return sums;
}

/** The figures of the stacks that end at a node itself. */
export function ownFigures(tree: Tree, columns: Float64Array[], node: number): Float64Array {
  const own = new Float64Array(columns.length);
  tree.stackNode.forEach((end, stack) => {
    if (end === node) columns.forEach((column, c) => (own[c]! += column[stack]!));
  });
  return own;
}
