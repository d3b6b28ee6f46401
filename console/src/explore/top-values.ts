/** The most frequent values of a field, in what the page's query finds. */
import { aplName, runApl } from "../api/apl";
import { filtersOf } from "../query/filters";
import { gridOf } from "../result/table";
import { spanOf } from "../time/range";
import * as state from "./state";

const MOST = 1000;

export interface ValueCount {
  value: unknown;
  hits: number;
}

/** Return the values of a field by how often they are; `field` is a name, or one as APL writes it. */
export async function topValues(field: string, signal?: AbortSignal): Promise<ValueCount[]> {
  const span = spanOf(state.range.value, Date.now());
  const apl = state.asked.value;
  if (!span || !apl) return [];
  const times = { startTime: new Date(span.startMs).toISOString(), endTime: new Date(span.endMs).toISOString() };
  const name = field.startsWith("[") ? field : aplName(field);
  const query = `${filtersOf(apl)} | summarize hits = count() by value = ${name} | sort by hits desc | take ${MOST}`;
  const grid = gridOf(await runApl({ apl: query, ...times }, signal));
  const column = (title: string) => grid.columns[grid.fields.findIndex((each) => each.name === title)] ?? [];
  const hits = column("hits");
  return column("value").map((value, row) => ({ value, hits: Number(hits[row]) }));
}
