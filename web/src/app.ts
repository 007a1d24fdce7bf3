// SPDX-License-Identifier: MIT
// The page: one state, and what is on the screen as a function of it.

import { changeColor, ink, kindColor, KIND_NAMES } from "./colors";
import { drawHistory } from "./chart";
import { Data, MEASURES } from "./decode";
import { byId, button, make, swatch } from "./dom";
import { Figures } from "./figures";
import { formatChange, formatInterval, formatShare, formatValue } from "./format";
import { Graph } from "./graph";
import { Names } from "./names";
import { fromHash, isKnown, State, toHash } from "./state";
import { Table } from "./table";
import { currentTheme, nextTheme, onThemeChange } from "./theme";
import { MEASURE_NAMES, Tooltip } from "./tooltip";
import { Tree, Trees } from "./tree";

type Toggle = "callersFirst" | "rootAtBottom" | "programOnly" | "lines";

export class App {
  readonly figures: Figures;
  readonly names: Names;
  ink = ink();
  current: Graph;
  private state: State;
  private main: Graph;
  private callers: Graph;
  private callees: Graph;
  private table: Table;
  private tooltip: Tooltip;
  private trees = new Map<string, Trees>();
  private made = new Map<string, Tree>();
  private around: { key: string; callers: Tree; callees: Tree } | null = null;
  private depth = 0;

  constructor(readonly data: Data) {
    this.figures = new Figures(data);
    this.names = new Names(data);
    this.state = fromHash(location.hash, data);
    byId("page").hidden = false;
    this.main = new Graph(this, byId("flame"), this.state.rootAtBottom, false);
    this.callers = new Graph(this, byId("callers"), true, true);
    this.callees = new Graph(this, byId("callees"), false, true);
    this.current = this.main;
    this.tooltip = new Tooltip(data, this.figures);
    this.table = new Table(data, this.figures, this.names, {
      sort: (by) => {
        const ascending = this.state.sort === by ? !this.state.ascending : by === "name";
        this.change({ sort: by, ascending });
        document.querySelector<HTMLElement>(`[data-sort=${by}]`)!.focus();
      },
      open: (f) => this.change({ view: "sandwich", focus: f }),
    });
    this.fixed();
    this.listen();
    this.render();
  }

  valueOf(figures: ArrayLike<number>, offset: number) {
    return this.figures.value(figures, offset, this.state.measure, this.state.unit);
  }

  // ---- state ----

  /** Go to another view. It becomes a step of the browser's history unless it is one of typing. */
  change(update: Partial<State>, step = true): void {
    this.state = { ...this.state, ...update };
    this.note(step);
    this.render();
  }

  /** Look for something else: the graph stays as it is. */
  private look(query: string): void {
    this.state = { ...this.state, query };
    this.note(false);
    this.renderSearch();
  }

  /** Put the state into the address. */
  private note(step: boolean): void {
    const hash = "#" + toHash(this.state, this.data);
    if (hash !== (location.hash || "#")) {
      if (step) {
        this.depth++;
        location.hash = hash;
      } else {
        location.replace(hash);
      }
    }
  }

  zoom(graph: Graph, node: number): void {
    this.tooltip.hide();
    graph.flame.zoom(node);
    if (graph === this.main) {
      this.state = { ...this.state, zoom: graph.path(node) };
      this.note(true);
      this.renderTrail();
    }
  }

  back(): void {
    if (this.depth > 0) history.back();
  }

  toggle(name: Toggle): void {
    // Another kind of tree has other paths: the zoom stays only where they are the same.
    this.change(name === "rootAtBottom" ? { [name]: !this.state[name] } : { [name]: !this.state[name], zoom: [] });
  }

  // ---- frames ----

  hover(graph: Graph, node: number, x: number, y: number): void {
    if (node < 0) {
      this.tooltip.hide();
    } else if (this.tooltip.isOf(graph, node)) {
      this.tooltip.place(x, y);
    } else {
      this.tooltip.show(graph.subject(node), this.state.measure, this.state.unit, x, y);
      this.tooltip.about(graph, node);
    }
  }

  select(graph: Graph, node: number): void {
    this.current = graph;
    const host = byId("chosen");
    if (node < 0) {
      this.renderHint();
      return;
    }
    const f = graph.functionOf(node);
    const text = this.sentence(graph, node);
    byId("announce").textContent = `${graph.name(node)}, ${text}`;
    const place = graph.place(node);
    host.replaceChildren(make("code", "", graph.name(node)), make("span", "", place), make("span", "", text));
    if (f >= 0) {
      const sandwich = () => this.change({ view: "sandwich", focus: f });
      host.append(button("", sandwich, "Callers and callees ", make("kbd", "", "s")));
    }
  }

  private sentence(graph: Graph, node: number): string {
    const value = this.valueOf(graph.allSums(), node * this.data.stackFigures.length);
    const blocks = this.state.unit === 1;
    const total = this.figures.total(this.state.measure, this.state.unit);
    const range = this.figures.exact ? "" : ` (95 %: ${formatInterval(value.interval, blocks)})`;
    const unit = blocks ? " blocks" : "";
    if (this.data.difference) {
      const between = `${formatValue(value.old, blocks)} \u2192 ${formatValue(value.value, blocks)}${unit}`;
      return `${formatChange(value.change, blocks)}${unit}${range}, ${between}`;
    }
    return `${formatValue(value.value, blocks)}${unit}${range}, ${formatShare(value.value, total.value)} of all`;
  }

  // ---- what never changes ----

  private fixed(): void {
    const { data } = this;
    byId("title").textContent = data.title;
    byId("facts").replaceChildren(
      ...data.facts.map(([side, facts]) => {
        const list = make("dl", "facts");
        if (side) list.append(make("div", "side", side));
        for (const [word, text] of facts) list.append(make("div", "", make("dt", "", word), make("dd", "", text)));
        return list;
      }),
    );
    drawHistory(data.history);
    byId("help-figures").textContent = this.figures.exact
      ? "Every block was recorded, so all figures are exact."
      : "The figures are estimates from samples. A 95 % interval holds the true figure in 95 of 100 cases; few samples make it wide.";
    byId("help-change").hidden = !data.difference || this.figures.exact;
    byId("help-change").textContent =
      "A frame is grey if its change may be chance: if the 95 % interval holds zero. Of 100 frames that did not change, up to 5 have a colour all the same.";
    const percent = (data.threshold * 100).toPrecision(1);
    const folding = data.folded
      ? `${data.folded.toLocaleString("en")} of ${data.stacks.toLocaleString("en")} stacks are cut where they fall below ${Number(percent)} % of the whole by every measure; what was cut is shown as (folded). The table counts everything.`
      : `All ${data.stacks.toLocaleString("en")} stacks are shown; nothing is folded (threshold ${Number(percent)} %).`;
    byId("notes").textContent = `${folding} Made by mprofile ${data.version}.`;
    for (let m = 0; m < MEASURES; m++) {
      const card = button("measure", () => this.measure(m));
      card.dataset.measure = String(m);
      byId("measures").append(card);
    }
    this.renderTheme();
  }

  private renderLegend(): void {
    const items: [string, string][] = this.data.difference
      ? [
          [changeColor(1, true), "grew"],
          [changeColor(0.15, true), "grew a little"],
          [changeColor(0, false), this.figures.exact ? "unchanged" : "change within chance (95 %)"],
          [changeColor(-0.15, true), "shrank a little"],
          [changeColor(-1, true), "shrank"],
        ]
      : KIND_NAMES.map(([kind, name]) => [kindColor(kind, 0), name]);
    byId("legend").replaceChildren(...items.map(([color, name]) => make("span", "", swatch(color), name)));
  }

  private renderTheme(): void {
    byId("theme").textContent = `Theme: ${currentTheme()}`;
    this.ink = ink();
    this.renderLegend();
    for (const graph of [this.main, this.callers, this.callees]) {
      graph.forgetColors();
      graph.flame.readColors();
    }
  }

  // ---- input ----

  private listen(): void {
    const each = (selector: string, act: (element: HTMLElement) => void) => {
      for (const element of document.querySelectorAll<HTMLElement>(selector)) {
        element.addEventListener("click", () => act(element));
      }
    };
    each("[data-view]", (element) => this.view(element.dataset.view as State["view"]));
    each("[data-unit]", (element) => this.change({ unit: Number(element.dataset.unit) }));
    each("[data-widths]", (element) => this.change({ widths: element.dataset.widths as State["widths"] }));
    each("[data-toggle]", (element) => this.toggle(element.dataset.toggle as Toggle));
    byId("back").addEventListener("click", () => this.back());
    byId("reset").addEventListener("click", () => this.resetZoom());
    byId("help-button").addEventListener("click", () => byId<HTMLDialogElement>("help").showModal());
    byId("theme").addEventListener("click", () => nextTheme());
    onThemeChange(() => {
      this.renderTheme();
      if (this.state.view === "table") this.render();
    });
    const query = byId<HTMLInputElement>("query");
    query.addEventListener("input", () => this.look(query.value.trim()));
    byId("search").addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => {
      const wanted = fromHash(location.hash, this.data);
      if (toHash(wanted, this.data) === toHash(this.state, this.data)) return;
      this.depth = Math.max(0, this.depth - 1);
      this.state = wanted;
      this.render();
    });
  }

  private measure(measure: number): void {
    if (isKnown(this.data, measure)) this.change({ measure });
  }

  private view(view: State["view"]): void {
    if (view === "sandwich" && this.state.focus < 0) {
      const chosen = this.current.flame.selected;
      const f = chosen >= 0 ? this.current.functionOf(chosen) : -1;
      this.change({ view, focus: f >= 0 ? f : this.largest() });
    } else {
      this.change({ view });
    }
  }

  /** The function that allocated most itself. */
  private largest(): number {
    const { tableFunction, tableFigures, width } = this.data;
    const column = tableFigures[this.state.measure * width + this.state.unit]!;
    let best = 0;
    for (let row = 1; row < column.length; row++) if (column[row]! > column[best]!) best = row;
    return tableFunction[best] ?? -1;
  }

  private resetZoom(): void {
    this.zoom(this.current, 0);
    if (this.state.view === "sandwich") {
      this.zoom(this.callers, 0);
      this.zoom(this.callees, 0);
    }
  }

  private key(event: KeyboardEvent): void {
    const help = byId<HTMLDialogElement>("help");
    if (help.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const query = byId<HTMLInputElement>("query");
    if (event.key === "Escape") {
      this.tooltip.hide();
      this.current.flame.select(-1, true);
      if (this.state.query) {
        query.value = "";
        this.look("");
      }
      query.blur();
      return;
    }
    if (event.target instanceof HTMLInputElement) return;
    const graph = this.current;
    const chosen = graph.flame.selected;
    const onButton = event.target instanceof HTMLButtonElement;
    const actions: Record<string, () => void> = {
      "/": () => query.focus(),
      "?": () => help.showModal(),
      "0": () => this.resetZoom(),
      "1": () => this.measure(0),
      "2": () => this.measure(1),
      "3": () => this.measure(2),
      b: () => this.change({ unit: 1 - this.state.unit }),
      g: () => this.change({ view: "flame" }),
      t: () => this.change({ view: "table" }),
      s: () => {
        const f = chosen >= 0 ? graph.functionOf(chosen) : -1;
        if (f >= 0) this.change({ view: "sandwich", focus: f });
      },
      i: () => this.toggle("callersFirst"),
      f: () => this.toggle("rootAtBottom"),
      l: () => this.toggle("programOnly"),
      n: () => this.toggle("lines"),
      d: () => nextTheme(),
      Backspace: () => this.back(),
    };
    if (this.state.view !== "table" && !onButton) {
      for (const arrow of ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"] as const) {
        actions[arrow] = () => graph.flame.move(arrow);
      }
      actions.Enter = () => {
        if (chosen >= 0) this.zoom(graph, chosen);
      };
    }
    const action = actions[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  }

  // ---- what is on the screen ----

  private treesFor(): Trees {
    const { lines, programOnly } = this.state;
    const key = `${lines} ${programOnly}`;
    let trees = this.trees.get(key);
    if (!trees) {
      trees = new Trees(this.data, { lines, programOnly });
      this.trees.set(key, trees);
    }
    return trees;
  }

  private mainTree(): Tree {
    const { lines, programOnly, callersFirst } = this.state;
    const key = `${lines} ${programOnly} ${callersFirst}`;
    let tree = this.made.get(key);
    if (!tree) {
      tree = callersFirst ? this.treesFor().fromLeaf() : this.treesFor().fromRoot();
      this.made.set(key, tree);
    }
    return tree;
  }

  private render(): void {
    const { state, data } = this;
    this.tooltip.hide();
    this.renderMeasures();
    const press = (selector: string, isOn: (element: HTMLElement) => boolean, attribute = "aria-pressed") => {
      for (const element of document.querySelectorAll<HTMLElement>(selector)) {
        element.setAttribute(attribute, String(isOn(element)));
      }
    };
    press("[data-view]", (element) => element.dataset.view === state.view, "aria-selected");
    press("[data-unit]", (element) => Number(element.dataset.unit) === state.unit);
    press("[data-widths]", (element) => element.dataset.widths === state.widths);
    press("[data-toggle]", (element) => state[element.dataset.toggle as Toggle]);
    for (const view of ["flame", "table", "sandwich"]) byId(`panel-${view}`).hidden = view !== state.view;
    const usable: Record<Toggle, boolean> = {
      callersFirst: state.view === "flame",
      rootAtBottom: state.view === "flame",
      programOnly: true,
      lines: state.view !== "table",
    };
    for (const [name, enabled] of Object.entries(usable)) {
      document.querySelector<HTMLButtonElement>(`[data-toggle=${name}]`)!.disabled = !enabled;
    }
    byId("widths").hidden = !data.difference || state.view === "table";
    const query = byId<HTMLInputElement>("query");
    if (query.value.trim() !== state.query) query.value = state.query;
    this.renderHint();

    const values = this.figures.stackValues(state.measure, state.unit, state.widths);
    // Search counts on the whole graph in every view, so its share does not depend on the view.
    this.main.show(this.mainTree(), values, state.lines, state.rootAtBottom, state.zoom);
    const noun = MEASURE_NAMES[state.measure]!.toLowerCase();
    byId("flame").setAttribute("aria-label", `Flame graph of memory ${noun}`);
    if (state.view === "sandwich") this.renderSandwich(values);
    this.renderSearch();
    this.renderTrail();
    if (state.view === "flame") this.current = this.main;
    else if (state.view === "sandwich" && this.current === this.main) this.current = this.callees;
    document.title = data.title;
  }

  private renderHint(): void {
    const table = this.state.view === "table";
    const hint = table
      ? "Click a function for its callers and callees."
      : "Click a frame to zoom in, point at it for its figures; press ? for more.";
    byId("chosen").replaceChildren(make("span", "", hint));
  }

  private renderMeasures(): void {
    const { unit } = this.state;
    for (const card of document.querySelectorAll<HTMLButtonElement>("[data-measure]")) {
      const m = Number(card.dataset.measure);
      const total = this.figures.total(m, unit);
      const known = isKnown(this.data, m);
      card.disabled = !known;
      card.setAttribute("aria-pressed", String(m === this.state.measure));
      const range = this.figures.exact ? "" : formatInterval(total.interval, unit === 1);
      const blocks = unit === 1;
      const parts = this.data.difference
        ? [formatChange(total.change, blocks), `${formatValue(total.old, blocks)} \u2192 ${formatValue(total.value, blocks)}`]
        : [formatValue(total.value, blocks), ""];
      const detail = [parts[1], range && `95 %: ${range}`].filter(Boolean).join(" \u00b7 ");
      card.replaceChildren(
        make("span", "label", MEASURE_NAMES[m]! + (blocks ? ", blocks" : "")),
        make("span", "value", known ? parts[0]! : "\u2013"),
        make("span", "range", known ? detail : "not in this profile"),
      );
    }
  }

  private renderSandwich(values: Float64Array): void {
    const { focus, lines, programOnly } = this.state;
    const key = `${focus} ${lines} ${programOnly}`;
    if (this.around?.key !== key) this.around = { key, ...this.treesFor().around(focus) };
    for (const [graph, tree, up] of [
      [this.callers, this.around.callers, true],
      [this.callees, this.around.callees, false],
    ] as const) {
      graph.rootFunction = focus;
      graph.show(tree, values, lines, up, []);
    }
    const text = this.sentence(this.callees, 0);
    const place = this.names.place(focus, false);
    byId("focus").replaceChildren(
      make("code", "", this.names.name(focus)),
      make("span", "", place),
      make("span", "", text),
      make("span", "", this.missing(values)),
    );
  }

  /** What the two graphs about a function lack of what the table counts: it was cut off. */
  private missing(values: Float64Array): string {
    const { measure, unit, widths, focus } = this.state;
    if (widths !== "new" || values.length === 0) return "";
    const row = this.data.tableFunction.indexOf(focus);
    const column = this.data.tableFigures[(MEASURES + measure) * this.data.width + unit]!;
    const whole = row < 0 ? 0 : column[row]!;
    const lacking = whole - this.callees.layout!.value[0]!;
    if (lacking <= whole * 1e-6) return "";
    return `without ${formatValue(lacking, unit === 1)} in stacks that were cut above it`;
  }

  private renderSearch(): void {
    const { state } = this;
    const matches = state.query ? this.names.matching(state.query) : null;
    if (state.view === "table") this.table.show(state, matches);
    const found = byId("found");
    for (const graph of [this.main, this.callers, this.callees]) {
      graph.flame.highlight(matches && graph.tree ? graph.match(matches).nodes : null);
    }
    if (!matches) {
      found.replaceChildren();
      return;
    }
    const { figures, value, count } = this.main.match(matches);
    const all = this.main.layout!.value[0]!;
    const group = this.valueOf(figures, 0);
    const blocks = this.state.unit === 1;
    const interval = this.figures.exact || this.data.difference ? "" : ` (95 %: ${formatInterval(group.interval, blocks)})`;
    found.replaceChildren(
      make("strong", "", formatShare(value, all)),
      ` of all: ${formatValue(value, blocks)}${blocks ? " blocks" : ""}${interval}, ${count.toLocaleString("en")} function${count === 1 ? "" : "s"}`,
    );
  }

  private renderTrail(): void {
    const graph = this.main;
    const nodes: number[] = [];
    for (let node = graph.flame.zoomed; node >= 0; node = graph.tree!.parent[node]!) nodes.push(node);
    nodes.reverse();
    const shown = nodes.length > 6 ? [nodes[0]!, -1, ...nodes.slice(-4)] : nodes;
    byId("trail").replaceChildren(
      ...shown.map((node) =>
        node < 0 ? make("li", "", "\u2026") : make("li", "", button("", () => this.zoom(graph, node), graph.name(node))),
      ),
    );
    byId<HTMLButtonElement>("reset").disabled = graph.flame.zoomed === 0;
    byId<HTMLButtonElement>("back").disabled = this.depth === 0;
  }
}
