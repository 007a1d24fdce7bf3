// SPDX-License-Identifier: MIT
// The page's data, as mprofile/reports/page_data.py packs it.

export type FileEntry = [shown: string, full: string, kind: number];

/** Kinds of code. */
export const PROGRAM = 0;
export const PACKAGE = 1;
export const LIBRARY = 2;
export const OTHER = 3;

export interface Header {
  version: string;
  title: string;
  difference: boolean;
  facts: [string, [string, string][]][];
  measure: number;
  unit: number;
  figures: string[];
  totals: number[];
  rate: number;
  pooledWeight: number;
  stacks: number;
  folded: number;
  threshold: number;
  history: [number, number, number][];
  names: string[];
  files: FileEntry[];
  columns: [name: string, kind: string, length: number][];
}

export interface Data extends Header {
  /** Figures of a measure; columns of all measures stand one after the other. */
  width: number;
  functionName: Uint32Array;
  functionFile: Uint32Array;
  functionLine: Uint32Array;
  siteFunction: Uint32Array;
  siteLine: Uint32Array;
  /** Nodes of the tree of call sites: a parent comes before its children; node 0 is the root. */
  parent: Int32Array;
  site: Uint32Array;
  /** The node at which a stack ends, and its figures: stackFigures[column][stack]. */
  stackNode: Uint32Array;
  stackFigures: Float64Array[];
  /** Functions of the table and their figures: first those of themselves, then those with what they called. */
  tableFunction: Uint32Array;
  tableFigures: Float64Array[];
}

export const MEASURES = 3;

export async function decode(base64: string): Promise<Data> {
  const bytes = await gunzip(fromBase64(base64));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as Header;
  const columns = new Map<string, Uint8Array>();
  let offset = 4 + length;
  for (const [name, kind, count] of header.columns) {
    const size = kind === "f64" ? 8 : 4;
    columns.set(name, unshuffle(bytes.subarray(offset, offset + size * count), size));
    offset += size * count;
  }
  const u32 = (name: string) => new Uint32Array(columns.get(name)!.buffer);
  const group = (prefix: string, groups: number) => {
    const result: Float64Array[] = [];
    for (let g = 0; g < groups; g++) {
      for (const figure of header.figures) {
        result.push(new Float64Array(columns.get(`${prefix}.${g}.${figure}`)!.buffer));
      }
    }
    return result;
  };
  return {
    ...header,
    width: header.figures.length,
    functionName: u32("function_name"),
    functionFile: u32("function_file"),
    functionLine: u32("function_line"),
    siteFunction: u32("site_function"),
    siteLine: u32("site_line"),
    parent: parents(u32("node_depth")),
    site: u32("node_site"),
    stackNode: u32("stack_node"),
    stackFigures: group("stack", MEASURES),
    tableFunction: u32("table_function"),
    tableFigures: group("table", 2 * MEASURES),
  };
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function gunzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Undo the sorting of bytes by their place in the number. */
function unshuffle(bytes: Uint8Array, size: number): Uint8Array {
  const count = bytes.length / size;
  const result = new Uint8Array(bytes.length);
  for (let plane = 0; plane < size; plane++) {
    const from = plane * count;
    for (let i = 0; i < count; i++) result[i * size + plane] = bytes[from + i]!;
  }
  return result;
}

/** Parents of nodes that are given in preorder by their depths. */
function parents(depths: Uint32Array): Int32Array {
  const result = new Int32Array(depths.length);
  const last: number[] = [];
  for (let node = 0; node < depths.length; node++) {
    const depth = depths[node]!;
    result[node] = depth > 0 ? last[depth - 1]! : -1;
    last[depth] = node;
  }
  return result;
}
