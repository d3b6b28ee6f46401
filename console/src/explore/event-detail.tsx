/** One event whole: its fields with their types, and as JSON. */
import { useMemo, useState } from "preact/hooks";
import { ApiError } from "../api/http";
import { loadStatistics, readable, statistics } from "../datasets";
import { count, eventTime } from "../format/values";
import { queryOf, SOURCE_FIELD, unionQuery } from "../query/filters";
import { type Grid, rowOf, TIME } from "../result/table";
import { navigate } from "../router";
import { around, fixedRange, type Span } from "../time/range";
import { copy } from "../ui/clipboard";
import { EventTree, type Filter } from "../ui/event-tree";
import { Icon } from "../ui/icons";
import { Menu } from "../ui/menu";
import * as state from "./state";

const AROUND_MS = 60_000;
const MOST_UNKNOWN = 100; // datasets that are asked whether they have anything around an event or not
const MOST_JSON = 100_000; // characters shown, as drawing takes long

interface EventDetailProps {
  grid: Grid;
  row: number;
  onFilter: Filter | null;
  onClose: () => void;
}

export function EventDetail({ grid, row, onFilter, onClose }: EventDetailProps) {
  const [asJson, setAsJson] = useState(false);
  const event = useMemo(() => rowOf(grid, row), [grid, row]);
  const time = typeof event[TIME] === "string" ? event[TIME] : null;
  const trace = typeof event.trace_id === "string" ? event.trace_id : "";
  const types = useMemo(() => new Map(grid.fields.map((field) => [field.name, field.type])), [grid]);
  return (
    <aside class="detail" aria-label="Event">
      <header>
        <h2 class="mono">{time ? eventTime(time) : "Row"}</h2>
        <span class="spacer" />
        {trace && (
          <button
            type="button"
            class="button small"
            onClick={() => navigate("/traces", { trace, ...spanSource(event) })}
          >
            Trace
          </button>
        )}
        {time && <AroundMenu time={time} dataset={datasetOf(event)} />}
        <button type="button" class="button small" aria-pressed={asJson} onClick={() => setAsJson(!asJson)}>
          JSON
        </button>
        <button type="button" class="button small icon" aria-label="Close" onClick={onClose}>
          <Icon name="close" size={14} />
        </button>
      </header>
      {asJson ? <EventJson event={event} /> : <EventTree event={event} types={types} onFilter={onFilter} />}
    </aside>
  );
}

function EventJson({ event }: { event: Record<string, unknown> }) {
  const text = useMemo(() => JSON.stringify(event, null, 2), [event]);
  return (
    <>
      <p class="detail-json-tools">
        <button type="button" class="button small" onClick={() => void copy(text)}>
          Copy
        </button>
        {text.length > MOST_JSON && (
          <span class="muted">
            The first {count(MOST_JSON)} of {count(text.length)} characters are shown.
          </span>
        )}
      </p>
      <pre class="detail-json">{text.slice(0, MOST_JSON)}</pre>
    </>
  );
}

interface AroundMenuProps {
  time: string;
  dataset: string | null;
}

/** The events a minute before and after: of the query, of its dataset, of all. */
function AroundMenu({ time, dataset }: AroundMenuProps) {
  const span = around(Date.parse(time), AROUND_MS);
  const isApl = state.language.value === "apl";
  const places: [string, () => string | Promise<string>][] = [["In this query", () => state.asked.value]];
  if (isApl && dataset) places.push([`In all of ${dataset}`, () => queryOf(dataset)]);
  if (isApl && readable.value.length > 1) places.push(["In all datasets", () => allDatasets(span)]);
  return (
    <Menu className="button small" title="Around this" label="Around this">
      {(close) =>
        places.map(([title, query]) => (
          <button
            key={title}
            type="button"
            class="menu-item"
            onClick={() => {
              close();
              void Promise.resolve(query()).then((apl) => state.submit(apl, fixedRange(span)));
            }}
          >
            <span class="ellipsis">{title}</span>
          </button>
        ))
      }
    </Menu>
  );
}

/** Return a query of all datasets; where there are many, of those that have events of that time. */
async function allDatasets({ startMs, endMs }: Span): Promise<string> {
  if (readable.value.length <= MOST_UNKNOWN) return unionQuery();
  try {
    await loadStatistics();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return unionQuery();
  }
  const found = [...statistics.value.values()].filter(
    ({ minTime, maxTime }) => minTime && maxTime && Date.parse(minTime) <= endMs && Date.parse(maxTime) >= startMs,
  );
  return unionQuery(found.map(({ name }) => name));
}

/** Return the dataset of an event, null where the answer does not say. */
function datasetOf(event: Record<string, unknown>): string | null {
  const source = event[SOURCE_FIELD];
  return typeof source === "string" ? source : state.dataset.value;
}

/** Return the dataset to take the spans from, where the event is a span. */
function spanSource(event: Record<string, unknown>): { dataset?: string } {
  const dataset = datasetOf(event);
  return dataset && event.span_id && event.duration !== undefined ? { dataset } : {};
}
