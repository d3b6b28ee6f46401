/** How often numbers were in a range, by time or by group: the more often, the stronger the colour. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { fieldTypes } from "../api/field-types";
import { compact, count, duration } from "../format/values";
import { type Bin, colourOfLevel, type HeatChart, levelOf, levelsOf } from "../result/heat";
import type { Span } from "../time/range";
import { inked } from "./colours";

const MOST_ROWS = 500; // of the table
const RIGHT_PX = 30; // for half of the last time
const CHARACTER_PX = 7.5; // of a group's name at the axis
const MOVES: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

interface HeatChartProps {
  chart: HeatChart;
  height: number;
  onZoom?: (span: Span) => void;
}

interface Place {
  column: number;
  bin: number;
}

interface Chosen {
  chart: HeatChart;
  place: Place | null;
}

type Label = (value: number) => string;

export function HeatChartView({ chart, height, onZoom }: HeatChartProps) {
  const label = useLabel(chart);
  if (!chart.times && chart.names.length === 1) return <Distribution chart={chart} label={label} />;
  return <HeatMap chart={chart} label={label} height={height} {...(onZoom ? { onZoom } : {})} />;
}

/** Return how the numbers are written: those of a field of durations as durations. */
function useLabel(chart: HeatChart): Label {
  const [type, setType] = useState("");
  const { dataset, name } = chart.field ?? {};
  useEffect(() => {
    setType("");
    if (dataset && name) void fieldTypes(dataset).then((types) => setType(types.get(name) ?? ""));
  }, [dataset, name]);
  return useMemo(() => (type === "timespan" ? (value) => duration(value / 1000) : compact), [type]);
}

function rangeText({ from, to }: Bin, label: Label): string {
  return from === to ? label(from) : `${label(from)} to ${label(to)}`;
}

/** One histogram: a bar for each range. */
function Distribution({ chart, label }: { chart: HeatChart; label: Label }) {
  return (
    <ol class="bars" aria-label={`Counts by ${chart.name}`}>
      {chart.bins.map((bin, index) => {
        const found = chart.counts[0]?.[index] ?? 0;
        return (
          <li key={bin.from}>
            <span class="bar-name ellipsis">{rangeText(bin, label)}</span>
            <span class="bar-track">
              {found > 0 && <span class="bar" style={{ width: `${(100 * found) / Math.max(1, chart.most)}%` }} />}
            </span>
            <span class="bar-value" title={count(found)}>
              {compact(found)}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

function HeatMap({ chart, label, height, onZoom }: HeatChartProps & { label: Label }) {
  const host = useRef<HTMLDivElement>(null);
  const drawn = useRef<uPlot | null>(null);
  // A place is one of a chart, and none of the next one.
  const [chosen, setChosen] = useState<Chosen>({ chart, place: null });
  const at = chosen.chart === chart ? chosen.place : null;
  const setAt = (change: (before: Place | null) => Place | null) =>
    setChosen((before) => {
      const held = before.chart === chart ? before.place : null;
      const place = change(held);
      return place === held && before.chart === chart ? before : { chart, place };
    });
  const outline = useRef<HTMLElement | null>(null);
  const place = useRef<Place | null>(null);
  place.current = at;
  const zoom = useRef(onZoom);
  zoom.current = onZoom;
  const levels = useMemo(() => levelsOf(chart.most), [chart]);
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const colours = levels.map((_, index) => inked(`--heat-${colourOfLevel(index + 1, levels)}`));
    const options = optionsOf({ chart, label, height, width: element.clientWidth });
    options.hooks = {
      draw: [
        (plot) => drawCells(plot, chart, levels, colours),
        (plot) => outline.current && show(outline.current, plot, chart, place.current),
      ],
      setCursor: [(plot) => plot.cursor.event && setAt((before) => same(before, placeUnder(plot, chart)))],
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width < 4 || !chart.times) return;
          const time = (x: number) => Math.round(plot.posToVal(x, "x") * 1000);
          zoom.current?.({ startMs: time(left), endMs: time(left + width) });
        },
      ],
    };
    const plot = new uPlot(options, [edgesOf(chart), edgesOf(chart).map(() => null)], element);
    drawn.current = plot;
    outline.current = document.createElement("i");
    outline.current.className = "heat-at";
    outline.current.hidden = true;
    plot.over.append(outline.current);
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
      drawn.current = null;
    };
  }, [chart, levels, label, height]);
  useEffect(() => {
    if (drawn.current && outline.current) show(outline.current, drawn.current, chart, at);
  }, [at, chart]);
  const onKeyDown = (event: KeyboardEvent) => {
    const move = MOVES[event.key];
    if (event.key === "Escape") setAt(() => null);
    if (!move) return;
    event.preventDefault();
    setAt((before) => moved(before, move, chart));
  };
  return (
    <figure class="heat">
      <div
        class="heat-map"
        ref={host}
        role="group"
        tabIndex={0}
        aria-label={`Heat map of ${chart.name}: ${chart.counts.length} columns of ${chart.bins.length} ranges. The arrow keys go from one to the next.`}
        onKeyDown={onKeyDown}
      />
      <figcaption>
        <span class="heat-said" aria-live="polite">
          {at ? (
            <>
              <b>{count(chart.counts[at.column]?.[at.bin] ?? 0)}</b> of {rangeText(chart.bins[at.bin] as Bin, label)}
              {" · "}
              {columnName(chart, at.column)}
            </>
          ) : (
            chart.added.length > 0 && <>The sum over {chart.added.join(", ")}</>
          )}
        </span>
        <Legend levels={levels} most={chart.most} />
      </figcaption>
      {chart.total > chart.counts.length && (
        <p class="muted">
          The first {count(chart.counts.length)} of {count(chart.total)} columns are drawn.
        </p>
      )}
      <CountsTable chart={chart} label={label} />
    </figure>
  );
}

function Legend({ levels, most }: { levels: number[]; most: number }) {
  return (
    <span class="heat-legend">
      {levels.map((least, index) => {
        const greatest = (levels[index + 1] ?? most + 1) - 1;
        return (
          <span key={least} class="heat-key">
            <i class={`heat-${colourOfLevel(index + 1, levels)}`} />
            {greatest > least ? `${compact(least)}–${compact(greatest)}` : compact(least)}
          </span>
        );
      })}
    </span>
  );
}

/** The counts as a table, made when it is opened. */
function CountsTable({ chart, label }: { chart: HeatChart; label: Label }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="heat-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Counts as a table</summary>
      {isOpen && <CountRows chart={chart} label={label} />}
    </details>
  );
}

function CountRows({ chart, label }: { chart: HeatChart; label: Label }) {
  const cells = chart.counts.flatMap((of, column) =>
    of.map((found, bin) => ({ column, bin, found })).filter(({ found }) => found > 0),
  );
  return (
    <>
      <table class="records">
        <thead>
          <tr>
            <th>{chart.times ? "From" : "Group"}</th>
            <th>{chart.name}</th>
            <th>Count</th>
          </tr>
        </thead>
        <tbody>
          {cells.slice(0, MOST_ROWS).map(({ column, bin, found }) => (
            <tr key={`${column} ${bin}`}>
              <td>{columnName(chart, column)}</td>
              <td class="mono">{rangeText(chart.bins[bin] as Bin, label)}</td>
              <td class="mono">{count(found)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {cells.length > MOST_ROWS && (
        <p class="muted">
          The first {MOST_ROWS} of {count(cells.length)} are shown.
        </p>
      )}
    </>
  );
}

interface Drawing {
  chart: HeatChart;
  label: Label;
  height: number;
  width: number;
}

function optionsOf({ chart, label, height, width }: Drawing): uPlot.Options {
  const line = inked("--line");
  const axis: uPlot.Axis = { stroke: inked("--muted"), grid: { show: false }, ticks: { stroke: line, width: 1 } };
  const names: Partial<uPlot.Axis> = chart.times
    ? {}
    : {
        splits: () => chart.names.map((_, index) => index + 0.5),
        values: (plot, splits) => {
          const most = Math.floor(plot.over.clientWidth / chart.names.length / CHARACTER_PX) - 1;
          return splits.map((at) => (most < 1 ? "" : shortened(chart.names[Math.floor(at)] ?? "", most)));
        },
      };
  const low = chart.bins[0]?.from ?? 0;
  const high = chart.bins.at(-1)?.to ?? 1;
  const edges = edgesOf(chart);
  return {
    width,
    height,
    legend: { show: false },
    padding: [null, RIGHT_PX, null, null],
    cursor: { drag: { x: chart.times !== null, y: false, setScale: false }, points: { show: false } },
    scales: {
      x: { time: chart.times !== null, range: [edges[0] ?? 0, edges.at(-1) ?? 1] },
      y: { range: high > low ? [low, high] : [low - 0.5, high + 0.5] },
    },
    axes: [
      { ...axis, ...names },
      { ...axis, size: 76, values: (_plot, values) => values.map((value) => label(value)) },
    ],
    series: [{}, { label: chart.name, points: { show: false } }],
  };
}

function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, Math.max(1, most - 1))}…` : text;
}

/** Return where the columns begin, and where the last one ends. */
function edgesOf({ times, names, stepS }: HeatChart): number[] {
  if (!times) return [...names.keys(), names.length];
  return [...times, (times.at(-1) ?? 0) + stepS];
}

interface Area {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Return where a cell is: in px of the page, or of the canvas. */
function areaOf(plot: uPlot, chart: HeatChart, { column, bin }: Place, onCanvas: boolean): Area {
  const start = chart.times ? (chart.times[column] ?? 0) : column;
  const { from, to } = chart.bins[bin] as Bin;
  const [low, high] = to > from ? [from, to] : [from - 0.5, from + 0.5];
  const [left, right] = [start, start + chart.stepS].map((at) => plot.valToPos(at, "x", onCanvas)) as [number, number];
  const [bottom, top] = [low, high].map((at) => plot.valToPos(at, "y", onCanvas)) as [number, number];
  return { x: left, y: top, width: right - left, height: bottom - top };
}

function drawCells(plot: uPlot, chart: HeatChart, levels: number[], colours: string[]): void {
  const { ctx } = plot;
  ctx.save();
  chart.counts.forEach((of, column) => {
    of.forEach((found, bin) => {
      const level = levelOf(found, levels);
      if (!level) return;
      const { x, y, width, height } = areaOf(plot, chart, { column, bin }, true);
      ctx.fillStyle = colours[level - 1] ?? "";
      ctx.fillRect(x, y, Math.max(1, width - (width > 8 ? 1 : 0)), Math.max(1, height - (height > 8 ? 1 : 0)));
    });
  });
  ctx.restore();
}

/** Outline a cell. */
function show(outline: HTMLElement, plot: uPlot, chart: HeatChart, at: Place | null): void {
  outline.hidden = at === null;
  if (!at) return;
  const { x, y, width, height } = areaOf(plot, chart, at, false);
  outline.style.transform = `translate(${x}px, ${y}px)`;
  outline.style.width = `${width}px`;
  outline.style.height = `${height}px`;
}

function placeUnder(plot: uPlot, chart: HeatChart): Place | null {
  const { left = -1, top = -1 } = plot.cursor;
  if (left < 0 || top < 0) return null;
  const [x, y] = [plot.posToVal(left, "x"), plot.posToVal(top, "y")];
  const starts = chart.times ?? chart.names.map((_, index) => index);
  const column = starts.findLastIndex((start) => start <= x);
  if (column < 0 || x >= (starts[column] ?? 0) + chart.stepS) return null;
  const bin = chart.bins.findIndex(({ from, to }) => from === to || (y >= from && y <= to));
  return bin < 0 ? null : { column, bin };
}

function same(before: Place | null, now: Place | null): Place | null {
  return before && now && before.column === now.column && before.bin === now.bin ? before : now;
}

function moved(before: Place | null, [right, up]: [number, number], chart: HeatChart): Place {
  const within = (value: number, size: number) => Math.min(size - 1, Math.max(0, value));
  if (!before) return { column: 0, bin: 0 };
  return {
    column: within(before.column + right, chart.counts.length),
    bin: within(before.bin + up, chart.bins.length),
  };
}

function columnName({ times, names }: HeatChart, column: number): string {
  return times ? new Date((times[column] ?? 0) * 1000).toLocaleString() : (names[column] ?? "");
}
