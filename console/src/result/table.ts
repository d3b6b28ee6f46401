/** The tables of an answer as the page shows them. */
import type { Answer, Cell, Field, Table } from "../api/apl";
import { SOURCE_FIELD } from "../query/filters";

export interface Grid {
  fields: Field[];
  /** by field */
  columns: Cell[][];
  rows: number;
}

export const TIME = "_time";
const HIDDEN = new Set(["_cursor"]);

export const LAST = "_sysTime";
const MESSAGES = ["message", "msg", "body", "log", "event", "name"];

/** Return the main table of an answer as a grid; of events the time is first, then the level and the message. */
export function gridOf(answer: Answer): Grid {
  const table = answer.tables[0];
  if (!table) return { fields: [], columns: [], rows: 0 };
  const columns = table.columns ?? table.fields.map(() => []);
  const shown = table.fields
    .map((field, index) => ({ field, column: columns[index] ?? [] }))
    .filter(({ field }) => !HIDDEN.has(field.name));
  if (!table.groups.length && !table.isOrdered) {
    const level = levelField(table.fields.map((field) => field.name));
    const place = (name: string) => placeOf(name, level);
    shown.sort((a, b) => place(a.field.name) - place(b.field.name));
  }
  return {
    fields: shown.map(({ field }) => field),
    columns: shown.map(({ column }) => column),
    rows: columns[0]?.length ?? 0,
  };
}

function placeOf(name: string, level: string | null): number {
  if (name === TIME) return -1;
  if (name === SOURCE_FIELD) return 0;
  if (name === level) return 1;
  if (name === LAST) return MESSAGES.length + 3;
  const message = MESSAGES.indexOf(name);
  return 2 + (message < 0 ? MESSAGES.length : message);
}

/** Return the values of a row by the names of the fields, without those it lacks: the first ones, at most `most`. */
export function rowOf(grid: Grid, row: number, most = Number.POSITIVE_INFINITY): Record<string, Cell> {
  const found: [string, Cell][] = [];
  for (let index = 0; index < grid.fields.length && found.length < most; index += 1) {
    const value = grid.columns[index]?.[row];
    if (value !== null && value !== undefined) found.push([grid.fields[index]?.name ?? "", value]);
  }
  // Not by assignment, which would set the prototype for a field of that name.
  return Object.fromEntries(found);
}

/** Return whether an answer is of groups over time, as a time series is drawn. */
export function isSeries(table: Table | undefined): boolean {
  return !!table && table.fields.some((field) => field.name === TIME) && table.groups.some(({ name }) => name === TIME);
}

const LEVEL_NAMES = ["level", "severity", "severity_text", "status", "log.level", "lvl"];

/** Return the field by whose values hits are coloured, null where there is none. */
export function levelField(names: Iterable<string>): string | null {
  const known = new Set(names);
  return LEVEL_NAMES.find((name) => known.has(name)) ?? null;
}

export type Severity = "fatal" | "error" | "warn" | "info" | "debug" | "none";

/** Return how severe a value of a level is. */
export function severityOf(value: unknown): Severity {
  const text = String(value ?? "").toLowerCase();
  if (/^(fatal|crit|critical|emerg|emergency|alert|panic)/.test(text)) return "fatal";
  if (/^(err|error|severe|5[0-9][0-9]$)/.test(text)) return "error";
  if (/^(warn|warning|4[0-9][0-9]$)/.test(text)) return "warn";
  if (/^(info|notice|ok|2[0-9][0-9]$|3[0-9][0-9]$)/.test(text)) return "info";
  if (/^(debug|trace|verbose)/.test(text)) return "debug";
  return "none";
}

/** Return the field with the message of an event, null where there is none. */
export function messageField(names: Iterable<string>): string | null {
  const known = new Set(names);
  return MESSAGES.find((name) => known.has(name)) ?? null;
}
