/** What Explore shows: the query in the address, its answer, and the hits over time. */
import { computed, effect, signal, untracked } from "@preact/signals";
import { type Answer, aplName, runApl } from "../api/apl";
import { ApiError, ask } from "../api/http";
import { runSql } from "../api/sql";
import { datasets, loadDatasets, readable } from "../datasets";
import { filtersOf, givesEvents, queryOf, sourceFieldOf, sourceOf, sqlSourceOf } from "../query/filters";
import { columnsOf } from "../result/columns";
import { type Chart, chartOf } from "../result/series";
import { type Grid, gridOf, levelField } from "../result/table";
import { navigate, route } from "../router";
import { aplSpan, binSeconds, DEFAULT_RANGE, type Span, spanOf, type TimeRange } from "../time/range";
import { remember } from "./history";

export interface DatasetField {
  name: string;
  type: string;
  description: string;
  hidden: boolean;
  unit: string;
}

export interface Hits {
  /** start of each bin, ms */
  times: number[];
  /** by value of the field that colours */
  series: { name: string; counts: number[] }[];
  stepMs: number;
  span: Span;
}

export type Language = "apl" | "sql";
export type View = "table" | "list" | "chart";
/** how groups over time are drawn */
export type Style = "line" | "area" | "bar";

interface Result {
  answer: Answer;
  grid: Grid;
  /** null for events */
  chart: Chart | null;
  /** ms, as the browser saw it */
  tookMs: number;
}

export const HITS_BINS = 90;
export const PAGE_ROWS = 1000;
const OTHERS = "others";
const MAX_SERIES = 6;

/** what is in the editor, which is not yet asked */
export const draft = signal("");
export const range = signal<TimeRange>(DEFAULT_RANGE);
export const fields = signal<DatasetField[]>([]);
/** of the query that runs, by performance.now(); null where none does */
export const runningSinceMs = signal<number | null>(null);
export const running = computed(() => runningSinceMs.value !== null);
/** how long the last query ran until it was stopped, ms; null where it was not */
export const stoppedAfterMs = signal<number | null>(null);
export const result = signal<Result | null>(null);
export const failure = signal<ApiError | null>(null);
export const hits = signal<Hits | null>(null);
export const selectedRow = signal<number | null>(null);

/** the query that the page shows the answer of */
export const asked = computed(() => route.value.params.get("q") ?? "");
/** how the answer is shown; where the address does not say, as its shape asks */
export const view = computed<View>(() => {
  const chosen = route.value.params.get("view");
  if (chosen === "table" || chosen === "list" || chosen === "chart") return chosen;
  return result.value?.chart ? "chart" : "table";
});
export const style = computed<Style>(() => {
  const chosen = route.value.params.get("draw");
  return chosen === "area" || chosen === "bar" ? chosen : "line";
});
/** names of the fields that are columns of the table; null for those with a value */
export const columns = computed(() => columnsOf(route.value.params.get("columns")));
export const language = computed<Language>(() => (route.value.params.get("lang") === "sql" ? "sql" : "apl"));
export const dataset = computed(() => datasetOf(asked.value));

let current: AbortController | null = null;

function datasetOf(text: string): string | null {
  return language.value === "sql" ? sqlSourceOf(text) : sourceOf(text);
}

/** Ask the query of the editor, or another one; the address says which. */
export function submit(apl = draft.value, when = range.value, lang = language.value): void {
  draft.value = apl;
  range.value = when;
  const before = question.value;
  const { params } = route.value;
  navigate("/explore", {
    q: apl.trim(),
    start: when.start,
    end: when.end,
    view: params.get("view") ?? "",
    draw: params.get("draw") ?? "",
    columns: params.get("columns") ?? "",
    lang: lang === "sql" ? "sql" : "",
  });
  if (question.value === before) void run(); // which else follows the address
}

/** Show the answer another way. */
export function show(chosen: View): void {
  navigate("/explore", { ...Object.fromEntries(route.value.params), view: chosen }, { replace: true });
}

/** Draw the answer another way. */
export function drawAs(chosen: Style): void {
  navigate("/explore", { ...Object.fromEntries(route.value.params), draw: chosen }, { replace: true });
}

/** Draw fields as the columns of the table; null for those with a value. */
export function chooseColumns(names: string[] | null): void {
  const written = names ? JSON.stringify(names) : "";
  navigate("/explore", { ...Object.fromEntries(route.value.params), columns: written }, { replace: true });
}

/** Stop the query that runs; the server stops it when nobody waits for it. */
export function stop(): void {
  if (runningSinceMs.value === null) return;
  stoppedAfterMs.value = performance.now() - runningSinceMs.value;
  result.value = hits.value = null; // which are of the query before
  current?.abort();
}

/** Ask the query of the address. */
async function run(): Promise<void> {
  current?.abort();
  const apl = asked.value;
  const span = spanOf(range.value, Date.now());
  failure.value = stoppedAfterMs.value = null;
  selectedRow.value = null;
  if (!apl || !span) {
    runningSinceMs.value = null;
    result.value = null;
    hits.value = null;
    return;
  }
  const controller = new AbortController();
  current = controller;
  const began = performance.now();
  runningSinceMs.value = began;
  remember(apl);
  const times = { startTime: new Date(span.startMs).toISOString(), endTime: new Date(span.endMs).toISOString() };
  const isSql = language.value === "sql";
  if (isSql) hits.value = null;
  else void countHits(apl, span, times, controller.signal);
  try {
    const answer = isSql
      ? await runSql(apl, controller.signal)
      : await runApl({ apl, ...times, defaultLimit: PAGE_ROWS }, controller.signal);
    result.value = { answer, grid: gridOf(answer), chart: chartOf(answer), tookMs: performance.now() - began };
  } catch (error) {
    if (controller.signal.aborted) return;
    result.value = hits.value = null;
    if (!(error instanceof ApiError)) throw error;
    failure.value = error;
  } finally {
    if (current === controller) runningSinceMs.value = null;
  }
}

async function countHits(
  apl: string,
  span: Span,
  times: { startTime: string; endTime: string },
  abort: AbortSignal,
): Promise<void> {
  const step = binSeconds(span, HITS_BINS);
  const level = givesEvents(apl) ? (sourceFieldOf(apl) ?? levelField(fields.value.map((field) => field.name))) : null;
  const by = level ? `, tostring(${aplName(level)})` : "";
  const query = `${filtersOf(apl)} | summarize hits = count() by bin(_time, ${aplSpan(step)})${by}`;
  try {
    const answer = await runApl({ apl: query, ...times, defaultLimit: 50_000 }, abort);
    hits.value = hitsOf(answer, step * 1000, span);
  } catch {
    if (!abort.aborted) hits.value = null; // the query's own error is shown
  }
}

/** Return the hits of an answer by bin and, where there is one, by level; the rarest levels are together. */
export function hitsOf(answer: Answer, stepMs: number, span: Span): Hits {
  const grid = gridOf(answer);
  const columns = new Map(grid.fields.map((field, index) => [field.name, grid.columns[index] ?? []]));
  const times = columns.get("_time") ?? [];
  const counts = columns.get("hits") ?? [];
  const level = grid.fields.find((field) => field.name !== "_time" && field.name !== "hits");
  const levels = level ? (columns.get(level.name) ?? []) : [];
  const first = Math.floor(span.startMs / stepMs) * stepMs;
  const bins = Math.max(1, Math.ceil((span.endMs - first) / stepMs));
  const byLevel = new Map<string, number[]>();
  times.forEach((time, row) => {
    const bin = Math.floor((Date.parse(String(time)) - first) / stepMs);
    if (bin < 0 || bin >= bins) return;
    const name = level ? String(levels[row] ?? "") : "";
    const of = byLevel.get(name) ?? new Array<number>(bins).fill(0);
    byLevel.set(name, of);
    of[bin] = (of[bin] ?? 0) + Number(counts[row]);
  });
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const series = [...byLevel].map(([name, of]) => ({ name, counts: of })).sort((a, b) => sum(b.counts) - sum(a.counts));
  const rest = series.splice(MAX_SERIES);
  if (rest.length)
    series.push({
      name: OTHERS,
      counts: rest.reduce(
        (total, each) => total.map((value, bin) => value + (each.counts[bin] ?? 0)),
        new Array<number>(bins).fill(0),
      ),
    });
  return { times: Array.from({ length: bins }, (_, bin) => first + bin * stepMs), series, stepMs, span };
}

/** Read the datasets, and open the first one that may be asked where the address names no query. */
export async function open(): Promise<void> {
  await loadDatasets();
  const first = readable.value[0];
  if (route.value.path !== "/explore" || asked.value || !first) return; // the user may have gone on meanwhile
  const { start, end } = range.value;
  navigate("/explore", { q: queryOf(first.name), start, end }, { replace: true });
}

let fieldsOf: string | null = null;
let loadingFields: Promise<void> = Promise.resolve();

/** Read the fields of a dataset, once until another one is shown. */
function loadFields(name: string | null): Promise<void> {
  if (name === fieldsOf) return loadingFields;
  fieldsOf = name;
  fields.value = [];
  loadingFields = readFields(name).catch(ignoreRefusal);
  return loadingFields;
}

async function readFields(name: string | null): Promise<void> {
  if (name === null || !readable.value.some((each) => each.name === name)) return;
  const found = await ask<DatasetField[]>(`/v2/datasets/${encodeURIComponent(name)}/fields`);
  if (fieldsOf === name) fields.value = found.sort((a, b) => a.name.localeCompare(b.name));
}

const isReady = computed(() => datasets.value.length > 0);

const question = computed(() => {
  const { path, params } = route.value;
  const times = [params.get("start") || DEFAULT_RANGE.start, params.get("end") || DEFAULT_RANGE.end];
  return path === "/explore" ? JSON.stringify([params.get("q") ?? "", ...times, params.get("lang")]) : "";
});

/** Follow the address: whenever its query or time changes, it is asked. Return what ends that. */
export function follow(): () => void {
  return effect(() => {
    const asking = question.value;
    if (!asking || !isReady.value) return;
    const [apl = "", start = "", end = ""] = JSON.parse(asking) as string[];
    untracked(() => {
      draft.value = apl;
      range.value = { start, end };
      // Another question may have come meanwhile, which asks itself.
      void loadFields(datasetOf(apl)).then(() => (asking === question.peek() ? run() : undefined));
    });
  });
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof ApiError)) throw error; // the query says the same
}
