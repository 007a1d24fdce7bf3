// SPDX-License-Identifier: MIT
// What labels of a tree are called: labels are functions, or call sites where there is a frame for each line.

import { Data, OTHER } from "./decode";
import { ROOT_LABEL } from "./tree";

export class Names {
  constructor(private data: Data) {}

  functionOf(label: number, lines: boolean): number {
    return label === ROOT_LABEL ? -1 : lines ? this.data.siteFunction[label]! : label;
  }

  name(f: number): string {
    return f < 0 ? "all" : this.data.names[this.data.functionName[f]!]!;
  }

  /** Short name of the file and line; "" if there is none. */
  place(label: number, lines: boolean, full = false): string {
    const f = this.functionOf(label, lines);
    if (f < 0) return "";
    const file = this.data.files[this.data.functionFile[f]!]![full ? 1 : 0];
    const line = lines ? this.data.siteLine[label]! : this.data.functionLine[f]!;
    return file && line > 0 ? `${file}:${line}` : file;
  }

  kind(f: number): number {
    return f < 0 ? OTHER : this.data.files[this.data.functionFile[f]!]![2];
  }

  /** For each function whether its name or file contains the query, in any case. */
  matching(query: string): Uint8Array {
    const { functionName, functionFile, names, files } = this.data;
    const wanted = query.toLowerCase();
    const inNames = names.map((name) => name.toLowerCase().includes(wanted));
    const inFiles = files.map(([shown, full]) => [shown, full].some((file) => file.toLowerCase().includes(wanted)));
    return Uint8Array.from(functionName, (name, f) => (inNames[name] || inFiles[functionFile[f]!] ? 1 : 0));
  }
}
