// SPDX-License-Identifier: MIT
// Heap and resident memory over time.

import { byId, make, swatch } from "./dom";
import { formatSize } from "./format";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000;
const HEIGHT = 100;

export function drawHistory(points: [number, number, number][]): void {
  const host = byId("history");
  if (points.length < 2) return;
  const begin = points[0]![0];
  const span = points[points.length - 1]![0] - begin;
  if (!(span > 0)) return;
  const top = Math.max(...points.map(([, heap, resident]) => Math.max(heap, resident)), 1);
  const line = (column: 1 | 2) =>
    points
      .map((point, i) => {
        const x = ((point[0] - begin) / span) * WIDTH;
        const y = HEIGHT - (point[column] / top) * (HEIGHT - 4);
        return `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      })
      .join("");
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const most = (column: 1 | 2) => formatSize(Math.max(...points.map((point) => point[column])));
  svg.setAttribute("aria-label", `Heap up to ${most(1)}, resident memory up to ${most(2)}, over ${duration(span)}`);
  for (const [name, path] of [
    ["heap", `${line(1)}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`],
    ["resident", line(2)],
  ] as const) {
    const element = document.createElementNS(SVG, "path");
    element.setAttribute("class", name);
    element.setAttribute("d", path);
    svg.append(element);
  }
  host.replaceChildren(
    make(
      "div",
      "key",
      make("span", "", swatch("var(--heap)"), `heap, up to ${most(1)}`),
      make("span", "", swatch("var(--resident)"), `resident memory, up to ${most(2)}`),
    ),
    svg,
    make("div", "axis", make("span", "", "0 s"), make("span", "", duration(span))),
  );
  host.hidden = false;
}

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
