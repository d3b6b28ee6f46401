/** Histograms as a map of how often numbers were in a range, by time or by group. */
import type { Answer, Cell, Field, Table } from "../api/apl";
import { type Grid, TIME } from "./table";

export interface Bin {
  from: number;
  to: number;
}

export interface HeatChart {
  kind: "heat";
  /** the column of the answer */
  name: string;
  /** the field whose numbers were counted, null where that was an expression */
  field: { dataset: string; name: string } | null;
  /** s since the epoch, ascending; null where the columns are no times */
  times: number[] | null;
  /** s that a column covers */
  stepS: number;
  /** of the columns; empty where they are times */
  names: string[];
  /** ascending, the same for each column */
  bins: Bin[];
  /** by column and bin */
  counts: number[][];
  most: number;
  /** fields by which the answer is grouped, whose counts are added up here */
  added: string[];
  /** how many columns there are, of which MAX_COLUMNS are drawn */
  total: number;
}

export const MAX_COLUMNS = 2000;
const LEVELS = 6;
const NS_PER_S = 1e9;

interface Bucket extends Bin {
  count: number;
}

/** Return the first field that is a histogram, null where there is none. */
export function histogramField(grid: Grid, groups: ReadonlySet<string>): Field | null {
  return (
    grid.fields.find(
      (field, index) => !groups.has(field.name) && field.type === "array" && isHistogram(grid.columns[index] ?? []),
    ) ?? null
  );
}

function isHistogram(values: Cell[]): boolean {
  const found = values.find((value) => Array.isArray(value) && value.length);
  return Array.isArray(found) && found.every(isBucket);
}

function isBucket(value: unknown): value is Bucket {
  const { from, to, count } = (value ?? {}) as Partial<Record<keyof Bucket, unknown>>;
  return [from, to, count].every((each) => each !== null && each !== undefined && Number.isFinite(Number(each)));
}

/** Return the histograms of a field of an answer, by its time, else by its first group. */
export function heatOf(answer: Answer, grid: Grid, groups: ReadonlySet<string>, histogram: Field): HeatChart {
  const table = answer.tables[0] as Table;
  const column = (name: string) => grid.columns[grid.fields.findIndex((field) => field.name === name)] ?? [];
  const axis = groups.has(TIME) ? TIME : ([...groups][0] ?? null);
  const values = column(histogram.name);
  const keys = values.map((_, row) => (axis === null ? "" : String(column(axis)[row] ?? "none")));
  const isTime = axis === TIME;
  const places = [...new Set(keys)];
  if (isTime) places.sort((a, b) => Date.parse(a) - Date.parse(b));
  const shown = places.slice(0, MAX_COLUMNS);
  const times = isTime ? shown.map((text) => Date.parse(text) / 1000) : null;
  const bins = binsOf(values);
  const counts = countsOf(values, keys, shown, bins);
  const [source] = histogram.agg?.fields ?? [];
  const [dataset] = answer.datasetNames ?? [];
  return {
    kind: "heat",
    name: histogram.name,
    field: source && dataset ? { dataset, name: source } : null,
    times,
    stepS: times ? stepOf(times, table) : 1,
    names: isTime ? [] : shown,
    bins,
    counts,
    most: counts.reduce((most, of) => of.reduce((a, b) => Math.max(a, b), most), 0),
    added: [...groups].filter((name) => name !== axis),
    total: places.length,
  };
}

function bucketsOf(value: Cell): Bucket[] {
  return Array.isArray(value) ? value.filter(isBucket) : [];
}

function binsOf(values: Cell[]): Bin[] {
  const found = new Map<number, Bin>();
  for (const value of values)
    for (const { from, to } of bucketsOf(value)) found.set(Number(from), { from: Number(from), to: Number(to) });
  return [...found.values()].sort((a, b) => a.from - b.from);
}

function countsOf(values: Cell[], keys: string[], shown: string[], bins: Bin[]): number[][] {
  const columns = new Map(shown.map((key, index) => [key, index]));
  const rows = new Map(bins.map(({ from }, index) => [from, index]));
  const counts = shown.map(() => new Array<number>(bins.length).fill(0));
  values.forEach((value, row) => {
    const of = counts[columns.get(keys[row] ?? "") ?? -1];
    if (!of) return;
    for (const { from, count } of bucketsOf(value)) {
      const at = rows.get(Number(from)) ?? 0;
      of[at] = (of[at] ?? 0) + Number(count);
    }
  });
  return counts;
}

/** Return the s that one column covers: what the server says, else the least distance. */
function stepOf(times: number[], table: Table): number {
  if (table.buckets?.size) return table.buckets.size / NS_PER_S;
  const least = times.slice(1).reduce((step, time, index) => Math.min(step, time - (times[index] ?? 0)), Infinity);
  return Number.isFinite(least) ? least : 60;
}

/** Return the least count of each level of colour, ascending, each by the same factor greater than the one before. */
export function levelsOf(most: number): number[] {
  const least = Array.from({ length: LEVELS }, (_, level) => Math.ceil((most + 1) ** (level / LEVELS) - 1e-6));
  return [...new Set(least)].filter((count) => count <= most);
}

/** Return the level of a count, from 1; 0 for none. */
export function levelOf(count: number, levels: number[]): number {
  let level = 0;
  while (level < levels.length && count >= (levels[level] ?? 0)) level += 1;
  return level;
}

/** Return which of the LEVELS colours a level has, from 1: few levels are spread over all. */
export function colourOfLevel(level: number, levels: number[]): number {
  return levels.length < 2 ? LEVELS : 1 + Math.round(((level - 1) * (LEVELS - 1)) / (levels.length - 1));
}
