// SPDX-License-Identifier: MIT
// A flame graph on a canvas.
//
// Only what is at least half a pixel wide and inside the visible part of its box is drawn, so the size of the tree
// hardly matters. The canvas is as high as the visible part and sticks to it; a spacer of the full height makes the
// scroll bar. Zooming moves the interval of values that spans the width.

import { Layout } from "./tree";

const ROW = 20;
const LEAST = 0.5;
const MOTION_MS = 160;
/** Texts whose widths are kept. */
const MOST_WIDTHS = 20000;

export interface Look {
  text(node: number): string;
  /** Shown after the text where there is room. */
  detail(node: number): string;
  color(node: number): string;
  ink(node: number): string;
}

export interface Events {
  /** The pointer is over a node, or the selection moved to it; -1: over none. */
  hover(node: number, x: number, y: number, byKey: boolean): void;
  zoom(node: number): void;
  select(node: number): void;
}

interface Colors {
  background: string;
  edge: string;
  selected: string;
  match: string;
  matchInk: string;
}

export class Flame {
  private canvas = document.createElement("canvas");
  private spacer = document.createElement("div");
  private layout: Layout | null = null;
  private matches: Uint8Array | null = null;
  private colors: Colors = { background: "", edge: "", selected: "", match: "", matchInk: "" };
  private font = "";
  private widths = new Map<string, number>();
  private left = 0;
  private right = 1;
  private pending = 0;
  private motion = 0;
  private hovered = -1;
  zoomed = 0;
  selected = -1;

  /** host: the box that scrolls. up: the root is at the bottom. */
  constructor(
    private host: HTMLElement,
    private look: Look,
    private events: Events,
    private up: boolean,
    /** Whether the box is as high as the graph, where there is room. */
    private fitted: boolean,
  ) {
    host.classList.add("flame");
    this.canvas.setAttribute("aria-hidden", "true");
    this.spacer.className = "flame-spacer";
    host.append(this.canvas, this.spacer);
    host.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(host);
    this.canvas.addEventListener("mousemove", (event) => this.onMove(event));
    this.canvas.addEventListener("mouseleave", () => this.hover(-1, 0, 0));
    this.canvas.addEventListener("click", (event) => this.onClick(event));
    this.readColors();
  }

  /** After a change of the theme. */
  readColors(): void {
    const style = getComputedStyle(document.documentElement);
    const color = (name: string) => style.getPropertyValue(name).trim();
    this.colors = {
      background: color("--panel"),
      edge: color("--panel"),
      selected: color("--ink"),
      match: color("--match"),
      matchInk: color("--match-ink"),
    };
    this.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    this.draw();
  }

  show(layout: Layout, zoomed: number, up: boolean): void {
    const turned = up !== this.up;
    this.layout = layout;
    this.up = up;
    this.selected = -1;
    this.hovered = -1;
    const full = (layout.deepest + 1) * ROW;
    this.spacer.style.height = `${full}px`;
    if (this.fitted) this.host.style.height = `${full + 2}px`; // its border
    this.jump(zoomed);
    if (turned || up) this.host.scrollTop = up ? this.host.scrollHeight : 0;
    this.draw();
  }

  /** Highlight these nodes and dim the others; null: all alike. */
  highlight(matches: Uint8Array | null): void {
    this.matches = matches;
    this.draw();
  }

  private jump(node: number): void {
    const { start, value } = this.layout!;
    this.zoomed = node;
    this.left = start[node]!;
    this.right = start[node]! + Math.max(value[node]!, Number.MIN_VALUE);
    cancelAnimationFrame(this.motion);
  }

  zoom(node: number): void {
    const { start, value } = this.layout!;
    const from = [this.left, this.right] as const;
    this.jump(node);
    const to = [start[node]!, this.right] as const;
    if (value[node]! <= 0 || matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.draw();
      return;
    }
    const begun = performance.now();
    const step = () => {
      const t = Math.min(1, (performance.now() - begun) / MOTION_MS);
      const eased = 1 - (1 - t) ** 3;
      this.left = from[0] + (to[0] - from[0]) * eased;
      this.right = from[1] + (to[1] - from[1]) * eased;
      this.draw();
      if (t < 1) this.motion = requestAnimationFrame(step);
    };
    step();
  }

  select(node: number, byKey: boolean): void {
    this.selected = node;
    if (node >= 0) this.reveal(node);
    this.draw();
    this.events.select(node);
    if (byKey && node >= 0) {
      const box = this.canvas.getBoundingClientRect();
      const [x, width] = this.extent(node, box.width);
      const y = this.top(node) - this.host.scrollTop;
      this.events.hover(node, box.left + Math.max(x, 0) + Math.min(width, 40), box.top + y + ROW, true);
    }
  }

  /** Move the selection: to the largest callee, to the caller, to a neighbour. */
  move(direction: "ArrowUp" | "ArrowDown" | "ArrowLeft" | "ArrowRight"): void {
    const layout = this.layout;
    if (!layout) return;
    if (this.selected < 0) {
      this.select(this.zoomed, true);
      return;
    }
    const { tree, first, next } = layout;
    const node = this.selected;
    const above = tree.parent[node]!;
    const inwards = this.up ? "ArrowUp" : "ArrowDown";
    let target = -1;
    if (direction === inwards) {
      target = first[node]!;
    } else if (direction === "ArrowUp" || direction === "ArrowDown") {
      target = above;
    } else if (above >= 0) {
      if (direction === "ArrowRight") {
        target = next[node]!;
      } else {
        for (let child = first[above]!; child >= 0 && child !== node; child = next[child]!) target = child;
      }
    }
    if (target >= 0) this.select(target, true);
  }

  private reveal(node: number): void {
    const top = this.top(node);
    if (top < this.host.scrollTop) this.host.scrollTop = top;
    const bottom = top + ROW - this.host.clientHeight;
    if (bottom > this.host.scrollTop) this.host.scrollTop = bottom;
    // A node outside the zoomed part is not on the screen: go out until it is.
    const { tree } = this.layout!;
    let out = this.zoomed;
    while (out > 0 && !this.isBelow(node, out) && !this.isBelow(out, node)) out = tree.parent[out]!;
    if (out !== this.zoomed) this.events.zoom(out);
  }

  private isBelow(node: number, root: number): boolean {
    const { tree } = this.layout!;
    let at = node;
    while (at >= 0 && tree.depth[at]! > tree.depth[root]!) at = tree.parent[at]!;
    return at === root;
  }

  private top(node: number): number {
    const { tree, deepest } = this.layout!;
    const full = (deepest + 1) * ROW;
    const depth = tree.depth[node]!;
    // A graph that grows from the bottom stands on the bottom of its box.
    return this.up ? Math.max(full, this.host.clientHeight) - (depth + 1) * ROW : depth * ROW;
  }

  private extent(node: number, width: number): [x: number, width: number] {
    const { start, value } = this.layout!;
    const scale = width / (this.right - this.left);
    return [(start[node]! - this.left) * scale, value[node]! * scale];
  }

  /** Where a node is on the screen. */
  box(node: number): { x: number; y: number; width: number; height: number } {
    const box = this.canvas.getBoundingClientRect();
    const [x, width] = this.extent(node, box.width);
    const left = Math.max(0, x);
    const y = box.top + this.top(node) - this.host.scrollTop;
    return { x: box.left + left, y, width: Math.min(box.width, x + width) - left, height: ROW };
  }

  private at(event: MouseEvent): number {
    const layout = this.layout;
    if (!layout) return -1;
    const box = this.canvas.getBoundingClientRect();
    const y = event.clientY - box.top + this.host.scrollTop;
    const full = Math.max((layout.deepest + 1) * ROW, this.host.clientHeight);
    const depth = Math.floor((this.up ? full - y : y) / ROW);
    const position = this.left + ((event.clientX - box.left) / box.width) * (this.right - this.left);
    if (depth < 0 || position < 0 || position >= layout.value[0]!) return -1;
    let node = 0;
    for (let d = 0; d < depth; d++) {
      let child = layout.first[node]!;
      while (child >= 0 && position >= layout.start[child]! + layout.value[child]!) child = layout.next[child]!;
      if (child < 0 || position < layout.start[child]!) return -1;
      node = child;
    }
    return node;
  }

  private onMove(event: MouseEvent): void {
    this.hover(this.at(event), event.clientX, event.clientY);
  }

  private hover(node: number, x: number, y: number): void {
    this.canvas.style.cursor = node >= 0 ? "pointer" : "default";
    if (node !== this.hovered) {
      this.hovered = node;
      this.draw();
    }
    this.events.hover(node, x, y, false);
  }

  private onClick(event: MouseEvent): void {
    const node = this.at(event);
    if (node < 0) return;
    this.selected = node;
    this.events.select(node);
    this.events.zoom(node);
  }

  /** Draw with the next frame of the screen. */
  private draw(): void {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.paint();
    });
  }

  private paint(): void {
    const { layout, canvas, host } = this;
    const width = host.clientWidth;
    const height = host.clientHeight;
    if (!layout || width === 0 || height === 0) return;
    const ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d")!;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = this.colors.background;
    context.fillRect(0, 0, width, height);
    context.font = this.font;
    context.textBaseline = "middle";
    const scroll = host.scrollTop;
    const waiting = layout.value[0]! > 0 ? [0] : [];
    while (waiting.length > 0) {
      const node = waiting.pop()!;
      const [x, w] = this.extent(node, width);
      if (w < LEAST || x >= width || x + w <= 0) continue;
      const y = this.top(node) - scroll;
      if (y > -ROW && y < height) this.paintNode(context, node, Math.max(0, x), Math.min(width, x + w), y);
      if (this.up ? y > 0 : y < height) {
        for (let child = layout.first[node]!; child >= 0; child = layout.next[child]!) {
          // Children come by size: after the first that cannot be seen, none can.
          if (this.extent(child, width)[1] < LEAST) break;
          waiting.push(child);
        }
      }
    }
  }

  private paintNode(context: CanvasRenderingContext2D, node: number, from: number, to: number, y: number): void {
    const { look, colors, matches } = this;
    const width = to - from;
    const matched = matches !== null && matches[node] === 1;
    const outer = node !== this.zoomed && this.layout!.tree.depth[node]! < this.layout!.tree.depth[this.zoomed]!;
    context.globalAlpha = matches !== null && !matched ? 0.35 : outer ? 0.6 : 1;
    context.fillStyle = matched ? colors.match : look.color(node);
    context.fillRect(from, y, Math.max(width - 1, LEAST), ROW - 1);
    if (node === this.hovered || node === this.selected) {
      context.globalAlpha = 1;
      context.strokeStyle = colors.selected;
      context.lineWidth = node === this.selected ? 2 : 1;
      context.strokeRect(from + 1, y + 1, Math.max(width - 3, 1), ROW - 3);
    }
    if (width > 24) {
      const room = width - 9;
      const text = this.shorten(context, look.text(node), room);
      context.globalAlpha = matches !== null && !matched ? 0.6 : outer ? 0.85 : 1;
      context.fillStyle = matched ? colors.matchInk : look.ink(node);
      context.fillText(text, from + 4, y + ROW / 2);
      const used = this.measure(context, text) + 8;
      const detail = look.detail(node);
      if (detail && used + this.measure(context, detail) < room) {
        context.globalAlpha *= 0.72;
        context.fillText(detail, from + 4 + used, y + ROW / 2);
      }
    }
    context.globalAlpha = 1;
  }

  private measure(context: CanvasRenderingContext2D, text: string): number {
    let width = this.widths.get(text);
    if (width === undefined) {
      width = context.measureText(text).width;
      if (this.widths.size >= MOST_WIDTHS) this.widths.clear();
      this.widths.set(text, width);
    }
    return width;
  }

  private shorten(context: CanvasRenderingContext2D, text: string, room: number): string {
    const full = this.measure(context, text);
    if (full <= room) return text;
    // Letters differ in width: a guess by the mean, then fewer until it fits.
    for (let kept = Math.floor((text.length * room) / full); kept > 0; kept--) {
      const short = `${text.slice(0, kept)}\u2026`;
      if (this.measure(context, short) <= room) return short;
    }
    return "";
  }
}
