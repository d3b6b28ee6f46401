/** The shape of an answer, and what is drawn of it: a number, lines over time, a heat map, or a list of the largest. */
import type { Answer, Field } from "../api/apl";
import { type HeatChart, heatOf, histogramField } from "./heat";
import { type Grid, gridOf, TIME } from "./table";

export type ChartKind = "number" | "time" | "top" | "heat";

export interface NumberChart {
  kind: "number";
  values: { name: string; value: unknown; type: string }[];
}

export interface TimeChart {
  kind: "time";
  /** s since the epoch, ascending */
  times: number[];
  series: { name: string; values: (number | null)[] }[];
  /** how many series there are, of which MAX_SERIES are drawn */
  total: number;
}

export interface TopChart {
  kind: "top";
  measure: string;
  bars: { name: string; value: number }[];
}

export type Chart = NumberChart | TimeChart | TopChart | HeatChart;

export const MAX_SERIES = 20;
const MAX_BARS = 50;
const NUMERIC = new Set(["integer", "float", "timespan"]);

/** Return what can be drawn of an answer, null for rows of events. */
export function chartOf(answer: Answer): Chart | null {
  const table = answer.tables[0];
  if (!table) return null;
  const grid = gridOf(answer);
  const groups = new Set(table.groups.map(({ name }) => name));
  const histogram = grid.rows ? histogramField(grid, groups) : null;
  if (histogram) return heatOf(answer, grid, groups, histogram);
  const measures = grid.fields.filter((field) => !groups.has(field.name) && isNumeric(field));
  if (!measures.length || !grid.rows) return null;
  if (!groups.size) return grid.rows === 1 && !hasTime(grid) ? numbersOf(grid, measures) : null;
  if (groups.has(TIME)) return timesOf(grid, groups, measures);
  return topOf(grid, groups, measures[0] as Field);
}

function isNumeric(field: Field): boolean {
  return field.type.split("|").every((type) => NUMERIC.has(type));
}

function hasTime(grid: Grid): boolean {
  return grid.fields.some((field) => field.name === TIME);
}

function numbersOf(grid: Grid, measures: Field[]): NumberChart {
  const values = measures.map((field) => ({
    name: field.name,
    type: field.type,
    value: grid.columns[grid.fields.indexOf(field)]?.[0],
  }));
  return { kind: "number", values };
}

function timesOf(grid: Grid, groups: Set<string>, measures: Field[]): TimeChart {
  const column = (name: string) => grid.columns[grid.fields.findIndex((field) => field.name === name)] ?? [];
  const rowTimes = column(TIME).map((text) => Date.parse(String(text)) / 1000);
  const times = [...new Set(rowTimes)].sort((a, b) => a - b);
  const place = new Map(times.map((time, index) => [time, index]));
  const others = [...groups].filter((name) => name !== TIME).map(column);
  const found = new Map<string, { name: string; values: (number | null)[]; sum: number }>();
  for (const measure of measures) {
    const values = column(measure.name);
    rowTimes.forEach((time, row) => {
      const group = others.map((each) => String(each[row] ?? "none")).join(" · ");
      const name = measures.length > 1 || !group ? [group, measure.name].filter(Boolean).join(" · ") : group;
      let one = found.get(name);
      if (!one) {
        one = { name, values: new Array<number | null>(times.length).fill(null), sum: 0 };
        found.set(name, one);
      }
      const value = values[row];
      const number = value === null || value === undefined ? null : Number(value);
      one.values[place.get(time) ?? 0] = number;
      one.sum += Math.abs(number ?? 0);
    });
  }
  const series = [...found.values()].sort((a, b) => b.sum - a.sum);
  return { kind: "time", times, series: series.slice(0, MAX_SERIES), total: series.length };
}

function topOf(grid: Grid, groups: Set<string>, measure: Field): TopChart {
  const names = grid.fields.map((field, index) => (groups.has(field.name) ? index : -1)).filter((index) => index >= 0);
  const values = grid.columns[grid.fields.indexOf(measure)] ?? [];
  const bars = values.map((value, row) => ({
    name: names.map((index) => String(grid.columns[index]?.[row] ?? "none")).join(" · "),
    value: Number(value ?? 0),
  }));
  return { kind: "top", measure: measure.name, bars: bars.sort((a, b) => b.value - a.value).slice(0, MAX_BARS) };
}
