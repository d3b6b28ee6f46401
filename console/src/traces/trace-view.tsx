/** One trace as a waterfall: its spans, the attributes of one, and the logs of the same trace. */
import { useEffect, useState } from "preact/hooks";
import { aplDataset, aplText, runApl } from "../api/apl";
import { duration, eventTime } from "../format/values";
import { gridOf, rowOf } from "../result/table";
import { hashOf } from "../router";
import { EventLine } from "../ui/event-line";
import { EventTree } from "../ui/event-tree";
import { Icon } from "../ui/icons";
import { Shown, useLoaded } from "../ui/loaded";
import { spanOfEvent, type Trace, type TraceRow, traceOf } from "./trace";

const MOST_SPANS = 5000;
const MOST_LOGS = 300;
const ROW_PX = 26;
const SERVICE_COLOURS = 6;
const NARROW_PX = 720; // as in the styles: there the detail covers the spans

interface TraceViewProps {
  dataset: string;
  trace: string;
  /** datasets whose events may name the trace */
  others: string[];
}

export function TraceView({ dataset, trace, others }: TraceViewProps) {
  const loaded = useLoaded(() => spansOf(dataset, trace), [dataset, trace]);
  useEffect(() => {
    document.title = `Trace ${trace.slice(0, 8)} · Tailrace`;
  }, [trace]);
  return (
    <div class="explore">
      <header class="query-bar">
        <div class="query-tools">
          <a class="button quiet" href={hashOf("/traces", { dataset })}>
            <Icon name="back" size={14} /> Traces
          </a>
          <h1 class="mono ellipsis">{trace}</h1>
        </div>
      </header>
      <Shown of={loaded}>
        {(found) =>
          found.rows.length ? (
            <Waterfall trace={found} id={trace} others={others} />
          ) : (
            <p class="nothing">There is no span of this trace in {dataset}.</p>
          )
        }
      </Shown>
    </div>
  );
}

async function spansOf(dataset: string, trace: string): Promise<Trace> {
  const apl = `${aplDataset(dataset)} | where trace_id == ${aplText(trace)} | take ${MOST_SPANS}`;
  const grid = gridOf(await runApl({ apl }));
  return traceOf(Array.from({ length: grid.rows }, (_, row) => spanOfEvent(rowOf(grid, row))));
}

function Waterfall({ trace, id, others }: { trace: Trace; id: string; others: string[] }) {
  const [selected, setSelected] = useState<TraceRow | null>(innerWidth > NARROW_PX ? (trace.rows[0] ?? null) : null);
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const length = Math.max(trace.endMs - trace.startMs, 0.001);
  const errors = trace.rows.filter((row) => row.span.error).length;
  const rows = visible(trace.rows, closed);
  const toggle = (span: string) => {
    const next = new Set(closed);
    if (!next.delete(span)) next.add(span);
    setClosed(next);
  };
  const move = (event: KeyboardEvent) => {
    const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (!by || !selected) return;
    event.preventDefault();
    setSelected(rows[rows.findIndex((row) => row.span.id === selected.span.id) + by] ?? selected);
  };
  return (
    <div class="explore-body">
      <section class="explore-main" aria-label="Spans">
        <p class="status">
          <b>{trace.rows.length}</b> spans of {trace.services.length} services in {duration(length * 1000)} from{" "}
          {eventTime(new Date(trace.startMs).toISOString())}
          {errors > 0 && <b class="text-error">· {errors} failed</b>}
        </p>
        <div class="waterfall" role="tree" aria-label="Spans" tabIndex={0} onKeyDown={move}>
          {rows.map((row) => (
            <Bar
              key={row.span.id}
              row={row}
              trace={trace}
              length={length}
              isClosed={closed.has(row.span.id)}
              isSelected={selected?.span.id === row.span.id}
              onSelect={() => setSelected(row)}
              onToggle={() => toggle(row.span.id)}
            />
          ))}
        </div>
        <Logs id={id} datasets={others} />
      </section>
      {selected && (
        <aside class="detail" aria-label="Span">
          <header>
            <h2 class="ellipsis">{selected.span.name}</h2>
            <span class="spacer" />
            <button type="button" class="button small icon" aria-label="Close" onClick={() => setSelected(null)}>
              <Icon name="close" size={14} />
            </button>
          </header>
          <EventTree event={selected.span.event} types={new Map()} onFilter={null} />
        </aside>
      )}
    </div>
  );
}

function visible(rows: TraceRow[], closed: ReadonlySet<string>): TraceRow[] {
  const shown: TraceRow[] = [];
  let hiddenBelow = Number.POSITIVE_INFINITY;
  for (const row of rows) {
    if (row.depth > hiddenBelow) continue;
    hiddenBelow = closed.has(row.span.id) ? row.depth : Number.POSITIVE_INFINITY;
    shown.push(row);
  }
  return shown;
}

interface BarProps {
  row: TraceRow;
  trace: Trace;
  length: number;
  isClosed: boolean;
  isSelected: boolean;
  onSelect: () => void;
  onToggle: () => void;
}

function Bar({ row, trace, length, isClosed, isSelected, onSelect, onToggle }: BarProps) {
  const { span } = row;
  const left = ((span.startMs - trace.startMs) / length) * 100;
  const width = (span.durationMs / length) * 100;
  const colour = span.error ? "level-error" : `series-${trace.services.indexOf(span.service) % SERVICE_COLOURS}`;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree has the keys
    <div
      role="treeitem"
      aria-selected={isSelected}
      aria-level={row.depth + 1}
      class="span-row"
      style={{ height: `${ROW_PX}px` }}
      onClick={onSelect}
    >
      <span class="span-name" style={{ paddingLeft: `${8 + row.depth * 14}px` }}>
        {row.children > 0 ? (
          <button type="button" class="span-toggle" aria-label={isClosed ? "Open" : "Close"} onClick={onToggle}>
            {isClosed ? "▸" : "▾"}
          </button>
        ) : (
          <span class="span-toggle" />
        )}
        <b class="muted">{span.service}</b>
        <span class="ellipsis">{span.name}</span>
        {row.isOrphan && <i class="muted">parent missing</i>}
      </span>
      <span class="span-track">
        <span class={`span-bar ${colour}`} style={{ left: `${left}%`, width: `max(2px, ${width}%)` }} />
        <span
          class="span-duration"
          style={left + width > 80 ? { right: `${100 - left}%` } : { left: `${left + width}%` }}
        >
          {duration(span.durationMs * 1000)}
        </span>
      </span>
    </div>
  );
}

function Logs({ id, datasets }: { id: string; datasets: string[] }) {
  const logs = useLoaded(async () => {
    if (!datasets.length) return [];
    const source =
      datasets.length === 1 ? aplDataset(datasets[0] ?? "") : `union ${datasets.map(aplDataset).join(", ")}`;
    const grid = gridOf(
      await runApl({ apl: `${source} | where trace_id == ${aplText(id)} | sort by _time asc | take ${MOST_LOGS}` }),
    );
    return Array.from({ length: grid.rows }, (_, row) => rowOf(grid, row));
  }, [id, datasets.join()]);
  const [selected, setSelected] = useState<number | null>(null);
  if (!logs.value?.length) return null;
  const event = selected === null ? undefined : logs.value[selected];
  return (
    <section class="trace-logs" aria-label="Logs of this trace">
      <h2>{logs.value.length} events of the same trace</h2>
      <div class="list">
        <div class="list-rows" style={{ height: `${logs.value.length * 25}px` }}>
          {logs.value.map((each, row) => (
            <EventLine
              key={row}
              event={each}
              top={row * 25}
              selected={selected === row}
              onSelect={() => setSelected(row)}
            />
          ))}
        </div>
      </div>
      {event && <EventTree event={event} types={new Map()} onFilter={null} />}
    </section>
  );
}
