/** Stream: the events of a dataset as they come, with a filter, a pause, and what was left out said. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { loadDatasets, readable } from "../datasets";
import { count } from "../format/values";
import { navigate, route } from "../router";
import { DatasetMenu } from "../ui/dataset-menu";
import { EventLine } from "../ui/event-line";
import { EventTree } from "../ui/event-tree";
import { Icon } from "../ui/icons";
import * as state from "./state";

const ROW_PX = 25;
const BEYOND = 20;
const AT_END_PX = 40;

export function StreamPage() {
  const { params } = route.value;
  const dataset = params.get("dataset") ?? readable.value[0]?.name;
  const where = params.get("where") ?? "";
  const [filter, setFilter] = useState(where);
  const [mark, setMark] = useState("");
  const [selected, setSelected] = useState<state.Line | null>(null);
  useEffect(() => void loadDatasets(), []);
  useEffect(() => setFilter(where), [where]);
  useEffect(() => {
    if (!dataset) return;
    const controller = new AbortController();
    setSelected(null);
    void state.read(dataset, where, controller.signal);
    return () => controller.abort();
  }, [dataset, where]);
  const open = (name: string, condition: string) => navigate("/stream", { dataset: name, where: condition });
  return (
    <div class="explore">
      <h1 class="visually-hidden">Stream</h1>
      <header class="query-bar">
        <form
          class="query-tools"
          onSubmit={(event) => {
            event.preventDefault();
            if (dataset) open(dataset, filter.trim());
          }}
        >
          <DatasetMenu chosen={dataset ?? null} onChoose={(name) => open(name, "")} />
          <input
            class="input mono grow"
            aria-label="Only events for which this is true, in APL"
            placeholder="Only events where …, such as level == 'error'"
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
          <input
            class="input"
            aria-label="Highlight"
            placeholder="Highlight"
            value={mark}
            onInput={(event) => setMark(event.currentTarget.value)}
          />
          {state.paused.value ? (
            <button type="button" class="button primary" onClick={state.resume}>
              <Icon name="play" size={14} /> Go on{state.held.value > 0 && ` · ${count(state.held.value)} new`}
            </button>
          ) : (
            <button
              type="button"
              class="button"
              onClick={() => {
                state.paused.value = true;
              }}
            >
              <Icon name="pause" size={14} /> Pause
            </button>
          )}
          <button type="button" class="button quiet" onClick={state.clear}>
            Clear
          </button>
        </form>
      </header>
      <p class="status" role="status">
        <span class={`dot ${state.connected.value ? "live" : ""}`} />
        {state.connected.value ? `${count(Math.round(state.rate.value * 10) / 10)} events a second` : "Connecting …"}
        {state.missed.value > 0 && (
          <span class="status-message">
            {count(state.missed.value)} were left out: more come than this browser reads
          </span>
        )}
        {state.dropped.value > 0 && (
          <span class="muted">
            · the last {count(state.KEPT)} are kept, {count(state.dropped.value)} earlier ones are not
          </span>
        )}
        {state.trouble.value && <span class="status-message">{state.trouble.value}</span>}
      </p>
      <div class="explore-body">
        <Lines mark={mark} selected={selected} onSelect={setSelected} />
        {selected && (
          <aside class="detail" aria-label="Event">
            <header>
              <h2>Event</h2>
              <span class="spacer" />
              <button type="button" class="button small icon" aria-label="Close" onClick={() => setSelected(null)}>
                <Icon name="close" size={14} />
              </button>
            </header>
            <EventTree event={selected.event} types={new Map()} onFilter={null} />
          </aside>
        )}
      </div>
    </div>
  );
}

interface LinesProps {
  mark: string;
  selected: state.Line | null;
  onSelect: (line: state.Line) => void;
}

function Lines({ mark, selected, onSelect }: LinesProps) {
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const [top, setTop] = useState(0);
  const lines = state.lines.value;
  useLayoutEffect(() => {
    const element = box.current;
    if (element && atEnd.current) element.scrollTop = element.scrollHeight;
  }, [lines]);
  const height = box.current?.clientHeight ?? 800;
  const first = Math.max(0, Math.floor(top / ROW_PX) - BEYOND);
  const shown = lines.slice(first, Math.ceil((top + height) / ROW_PX) + BEYOND);
  return (
    <div
      class="list"
      ref={box}
      onScroll={(event) => {
        const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
        setTop(scrollTop);
        atEnd.current = scrollHeight - scrollTop - clientHeight < AT_END_PX;
        if (!atEnd.current && !state.paused.value) state.paused.value = true;
      }}
    >
      {!lines.length && <p class="nothing">Events appear here as soon as the server has them on disk.</p>}
      <div class="list-rows" style={{ height: `${lines.length * ROW_PX}px` }}>
        {shown.map((line, offset) => (
          <EventLine
            key={line.id}
            event={line.event}
            top={(first + offset) * ROW_PX}
            mark={mark}
            selected={selected?.id === line.id}
            onSelect={() => onSelect(line)}
          />
        ))}
      </div>
    </div>
  );
}
