/** Traces: a list, and one as a waterfall with the logs of the same trace. */
import { useEffect, useState } from "preact/hooks";
import { aplDataset, aplText, runApl } from "../api/apl";
import { ask } from "../api/http";
import { duration, eventTime } from "../format/values";
import { gridOf, rowOf } from "../result/table";
import { hashOf, navigate, route } from "../router";
import { TimePicker } from "../time/picker";
import { DEFAULT_RANGE, spanOf, type TimeRange } from "../time/range";
import { DatasetMenu } from "../ui/dataset-menu";
import { Shown, useLoaded } from "../ui/loaded";
import { Records } from "../ui/records";
import { durationMs } from "./trace";
import { TraceView } from "./trace-view";

interface DatasetFields {
  datasetName: string;
  fields: { name: string }[];
}

const MOST = 200;

export function TracesPage() {
  const { params } = route.value;
  const known = useLoaded(() => ask<DatasetFields[]>("/v1/datasets/_fields"), []);
  const withSpans = (known.value ?? []).filter(
    ({ fields }) => has(fields, "trace_id") && has(fields, "span_id") && has(fields, "duration"),
  );
  const withTraceIds = (known.value ?? [])
    .filter(({ fields }) => has(fields, "trace_id"))
    .map(({ datasetName }) => datasetName);
  const dataset = params.get("dataset") ?? withSpans[0]?.datasetName ?? "";
  const trace = params.get("trace");
  return (
    <Shown of={known}>
      {() =>
        trace && !dataset ? (
          <p class="nothing">No dataset has spans.</p>
        ) : trace ? (
          <TraceView dataset={dataset} trace={trace} others={withTraceIds.filter((name) => name !== dataset)} />
        ) : (
          <TraceList dataset={dataset} />
        )
      }
    </Shown>
  );
}

function has(fields: { name: string }[], name: string): boolean {
  return fields.some((field) => field.name === name);
}

function TraceList({ dataset }: { dataset: string }) {
  const { params } = route.value;
  const range: TimeRange = { start: params.get("start") || DEFAULT_RANGE.start, end: params.get("end") || "now" };
  const [filters, setFilters] = useState({
    service: params.get("service") ?? "",
    name: params.get("name") ?? "",
    least: params.get("least") ?? "",
    failed: params.get("failed") ?? "",
  });
  const go = (change: Record<string, string>) => navigate("/traces", { dataset, ...range, ...filters, ...change });
  const key = params.toString();
  const traces = useLoaded(
    () => (dataset ? listed(dataset, range, Object.fromEntries(params)) : Promise.resolve([])),
    [dataset, key],
  );
  useEffect(() => {
    document.title = "Traces · Tailrace";
  }, []);
  const text = (name: "service" | "name" | "least", label: string, placeholder: string) => (
    <input
      class="input"
      aria-label={label}
      placeholder={placeholder}
      value={filters[name]}
      onInput={(event) => setFilters({ ...filters, [name]: event.currentTarget.value })}
    />
  );
  return (
    <div class="document wide">
      <h1>Traces</h1>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          go({});
        }}
      >
        <DatasetMenu chosen={dataset || null} onChoose={(chosen) => go({ dataset: chosen })} />
        {text("service", "Service", "Service")}
        {text("name", "Name of a span", "Name of a span")}
        {text("least", "Longer than", "Longer than, as 200ms")}
        <label class="row">
          <input
            type="checkbox"
            checked={filters.failed === "1"}
            onChange={(event) => {
              const failed = event.currentTarget.checked ? "1" : "";
              setFilters({ ...filters, failed });
              go({ failed });
            }}
          />
          with errors
        </label>
        <button type="submit" class="button primary">
          Find
        </button>
        <span class="spacer" />
        <TimePicker range={range} onChange={(chosen) => go({ ...chosen })} />
      </form>
      {!dataset && (
        <p class="empty">
          No dataset has spans yet. <a href={hashOf("/send", { from: "otel" })}>Send some by OpenTelemetry.</a>
        </p>
      )}
      {dataset && (
        <Shown of={traces}>
          {(found) => (
            <Records
              records={found}
              id={(each) => each.id}
              empty="No trace in this time matches."
              columns={[
                { title: "Began", cell: (each) => <span class="mono">{eventTime(each.start)}</span> },
                {
                  title: "Trace",
                  cell: (each) => (
                    <a href={hashOf("/traces", { dataset, trace: each.id })}>
                      <b>{each.service}</b> {each.root}
                    </a>
                  ),
                },
                { title: "Longest span", right: true, cell: (each) => duration(each.longestMs * 1000) },
                { title: "Spans", right: true, cell: (each) => each.spans },
                { title: "Services", right: true, cell: (each) => each.services },
                {
                  title: "Errors",
                  right: true,
                  cell: (each) => (each.errors ? <b class="text-error">{each.errors}</b> : "0"),
                },
              ]}
            />
          )}
        </Shown>
      )}
    </div>
  );
}

interface ListedTrace {
  id: string;
  start: string;
  root: string;
  service: string;
  spans: number;
  services: number;
  errors: number;
  longestMs: number;
}

async function listed(dataset: string, range: TimeRange, filters: Record<string, string>): Promise<ListedTrace[]> {
  const span = spanOf(range, Date.now());
  if (!span) return [];
  const { service, name, least, failed } = filters;
  const conditions = [
    service && `['service.name'] == ${aplText(service)}`,
    name && `name contains ${aplText(name)}`,
    least && /^[\d.]+(ns|us|ms|s|m|h)$/.test(least) && `duration >= ${least}`,
    failed && "error == true",
  ].filter(Boolean);
  const source = aplDataset(dataset);
  const matching = conditions.length
    ? `| where trace_id in ((${source} | where ${conditions.join(" and ")} | distinct trace_id | take 1000)) `
    : "";
  const apl = `${source} ${matching}| where isnotempty(trace_id)
| summarize spans = count(), errors = countif(error == true), services = dcount(['service.name']), longest = max(duration), arg_min(_time, name, ['service.name']) by trace_id
| sort by _time desc | take ${MOST}`;
  const times = { startTime: new Date(span.startMs).toISOString(), endTime: new Date(span.endMs).toISOString() };
  const grid = gridOf(await runApl({ apl, ...times }));
  return Array.from({ length: grid.rows }, (_, row) => {
    const found = rowOf(grid, row);
    return {
      id: String(found.trace_id),
      start: String(found._time ?? ""),
      root: String(found.name ?? ""),
      service: String(found["service.name"] ?? ""),
      spans: Number(found.spans ?? 0),
      services: Number(found.services ?? 0),
      errors: Number(found.errors ?? 0),
      longestMs: durationMs(found.longest),
    };
  });
}
