/** Queries in APL and their answers, by columns. */
import { ask } from "./http";

export type Cell = unknown;

export interface Field {
  name: string;
  /** datetime, string, integer, float, boolean, array, map, timespan, unknown, or several joined by | */
  type: string;
  agg?: { name: string; fields?: string[] };
}

export interface Table {
  name: string;
  fields: Field[];
  groups: { name: string }[];
  range?: { field: string; start: string; end: string };
  buckets?: { field: string; size: number };
  columns?: Cell[][];
  /** whether the columns are to stay in their order */
  isOrdered?: boolean;
}

export interface QueryMessage {
  priority: string;
  code: string;
  msg: string;
  count: number;
}

export interface Status {
  /** µs */
  elapsedTime: number;
  rowsExamined: number;
  rowsMatched: number;
  blocksExamined: number;
  blocksMatched: number;
  blocksSkipped: number;
  isPartial: boolean;
  maxCursor?: string;
  minCursor?: string;
  messages?: QueryMessage[];
}

export interface Answer {
  status: Status;
  tables: Table[];
  datasetNames?: string[];
}

export interface AplRequest {
  apl: string;
  startTime?: string;
  endTime?: string;
  cursor?: string;
  defaultLimit?: number;
  /** of `declare query_parameters` */
  variables?: Record<string, unknown>;
}

export const APL_PATH = "/v1/datasets/_apl";

/** Return the answer to a query; raise ApiError. */
export function runApl(request: AplRequest, signal?: AbortSignal): Promise<Answer> {
  return ask<Answer>(`${APL_PATH}?format=tabular`, { method: "POST", body: request, signal: signal ?? null });
}

/** Return a field or a dataset as APL names it. */
export function aplName(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/.test(name) ? name : `['${escaped(name)}']`;
}

/** Return a dataset as a query begins with it. */
export function aplDataset(name: string): string {
  return `['${escaped(name)}']`;
}

function escaped(text: string): string {
  return text.replace(/[\\']/g, "\\$&").replace(/\n/g, "\\n").replace(/\r/g, "\\r").replace(/\t/g, "\\t");
}

/** Return a value as a literal of APL, null for one that has none. */
export function aplLiteral(value: unknown, type: string): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "boolean") return String(value);
  if (type === "datetime") return `datetime(${JSON.stringify(String(value)).slice(1, -1)})`;
  if (typeof value === "number" || (typeof value === "object" && value.constructor.name === "ExactNumber"))
    return String(value);
  if (typeof value === "string") return aplText(value);
  return null;
}

/** Return a text as a literal of APL. */
export function aplText(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n").replace(/\r/g, "\\r").replace(/\t/g, "\\t")}"`;
}
