/** One chart of a dashboard: asked for its time, drawn by its type. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Answer, runApl } from "../api/apl";
import { ApiError } from "../api/http";
import { ChartView } from "../charts/chart-view";
import type { TimeStyle } from "../charts/time-chart";
import { cellText } from "../format/values";
import { chartOf } from "../result/series";
import { type Grid, gridOf, rowOf } from "../result/table";
import type { Span } from "../time/range";
import { EventLine, LINE_FIELDS } from "../ui/event-line";
import type { DashboardChart } from "./types";

const MOST_ROWS = 200; // of a table or events, drawn
// what stands below the drawing itself
const LEGEND_PX = 34;
const HEAT_LEGEND_PX = 62;
const USUAL_PX = 220;
const LINE_PX = 25;

interface TileProps {
  chart: DashboardChart;
  span: Span;
  /** values of the dashboard's filters, by their id */
  variables: Record<string, string>;
  /** changes where the same is to be asked again */
  round: number;
  marks: { timeMs: number; title: string }[];
  onZoom: (span: Span) => void;
}

export function TileBody({ chart, span, variables, round, marks, onZoom }: TileProps) {
  const box = useRef<HTMLDivElement>(null);
  const [height, setHeight] = useState(USUAL_PX);
  const [answer, setAnswer] = useState<Answer | string | null>(null);
  const apl = chart.query?.apl ?? "";
  const given = JSON.stringify(variables);
  useEffect(() => {
    if (!apl) return;
    const controller = new AbortController();
    const times = { startTime: new Date(span.startMs).toISOString(), endTime: new Date(span.endMs).toISOString() };
    runApl({ apl, ...times, variables: JSON.parse(given) as Record<string, string> }, controller.signal)
      .then(setAnswer)
      .catch((error: unknown) => {
        if (controller.signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        setAnswer(error.message);
      });
    return () => controller.abort();
  }, [apl, span.startMs, span.endMs, given, round]);
  const isDrawn = answer !== null && typeof answer !== "string";
  useEffect(() => {
    const element = box.current;
    if (!element || !isDrawn) return;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, [isDrawn]);
  if (chart.type === "Note") return <p class="note">{chart.text}</p>;
  if (!apl) return <p class="muted tile-word">This kind of chart ({chart.type}) has no query in APL to draw.</p>;
  if (answer === null)
    return (
      <p class="tile-word" role="status">
        <span class="spinner" />
      </p>
    );
  if (typeof answer === "string")
    return (
      <p class="notice error tile-word" role="alert">
        {answer}
      </p>
    );
  return (
    <section class="tile-drawn" aria-label="Drawn" tabIndex={0} ref={box}>
      <Drawn chart={chart} answer={answer} marks={marks} height={height} onZoom={onZoom} />
    </section>
  );
}

interface DrawnProps {
  chart: DashboardChart;
  answer: Answer;
  marks: { timeMs: number; title: string }[];
  height: number;
  onZoom: (span: Span) => void;
}

function Drawn({ chart, answer, marks, height, onZoom }: DrawnProps) {
  const grid = useMemo(() => gridOf(answer), [answer]);
  const drawn = useMemo(() => chartOf(answer), [answer]);
  if (!grid.rows) return <p class="muted tile-word">Nothing in this time.</p>;
  if (chart.type === "Table") return <Rows grid={grid} />;
  if (chart.type === "LogStream") return <Events grid={grid} />;
  if (!drawn) return <Rows grid={grid} />;
  const variant = String(chart.query?.queryOptions?.timeSeriesVariant ?? "line");
  const style: TimeStyle = variant === "area" ? "area" : variant === "bars" ? "bar" : "line";
  const free = height - (drawn.kind === "heat" ? HEAT_LEGEND_PX : LEGEND_PX);
  return <ChartView chart={drawn} style={style} height={Math.max(90, free)} marks={marks} onZoom={onZoom} />;
}

function Rows({ grid }: { grid: Grid }) {
  return (
    <div class="tile-rows">
      <table class="records">
        <thead>
          <tr>
            {grid.fields.map((field) => (
              <th key={field.name}>{field.name}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {Array.from({ length: Math.min(grid.rows, MOST_ROWS) }, (_, row) => (
            <tr key={String(row)}>
              {grid.fields.map((field, index) => (
                <td key={field.name} class={`mono type-${field.type.split("|")[0]}`}>
                  {cellText(grid.columns[index]?.[row], field.type, 200)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Events({ grid }: { grid: Grid }) {
  const rows = Math.min(grid.rows, MOST_ROWS);
  return (
    <div class="list tile-rows">
      <div class="list-rows" style={{ height: `${rows * LINE_PX}px` }}>
        {Array.from({ length: rows }, (_, row) => (
          <EventLine
            key={String(row)}
            event={rowOf(grid, row, LINE_FIELDS)}
            top={row * LINE_PX}
            selected={false}
            onSelect={() => {}}
          />
        ))}
      </div>
    </div>
  );
}
