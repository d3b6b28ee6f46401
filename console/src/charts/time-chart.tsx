/** Lines, areas or bars over time; dragging zooms in. */
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { compact } from "../format/values";
import type { TimeChart } from "../result/series";
import type { Span } from "../time/range";
import { colourOf, inked } from "./colours";

export type TimeStyle = "line" | "area" | "bar";

export interface Mark {
  timeMs: number;
  title: string;
}

interface TimeChartProps {
  chart: TimeChart;
  style: TimeStyle;
  height: number;
  threshold: number | null;
  marks: Mark[];
  onZoom?: (span: Span) => void;
}

export function TimeChartView({ chart, style, height, threshold, marks, onZoom }: TimeChartProps) {
  const host = useRef<HTMLDivElement>(null);
  const zoom = useRef(onZoom);
  zoom.current = onZoom;
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const plot = new uPlot(
      optionsOf({ chart, style, height, threshold, marks }, element.clientWidth, zoom),
      dataOf(chart),
      element,
    );
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [chart, style, height, threshold, marks]);
  return (
    <div class="time-chart">
      <div ref={host} />
      {chart.total > chart.series.length && (
        <p class="muted">
          The largest {chart.series.length} of {chart.total} series are drawn.
        </p>
      )}
    </div>
  );
}

function dataOf(chart: TimeChart): uPlot.AlignedData {
  return [chart.times, ...chart.series.map((each) => each.values)] as uPlot.AlignedData;
}

function optionsOf(
  { chart, style, height, threshold, marks }: Omit<TimeChartProps, "onZoom">,
  width: number,
  zoom: { current: ((span: Span) => void) | undefined },
): uPlot.Options {
  const line = inked("--line");
  const axis: uPlot.Axis = {
    stroke: inked("--muted"),
    grid: { stroke: line, width: 1 },
    ticks: { stroke: line, width: 1 },
  };
  const bars = style === "bar" ? { paths: uPlot.paths.bars?.({ size: [0.8, 60] }) } : {};
  return {
    width,
    height,
    cursor: { drag: { x: true, y: false, setScale: false } },
    legend: { live: true },
    axes: [axis, { ...axis, size: 60, values: (_plot, values) => values.map((value) => compact(value)) }],
    scales: { y: { range: (_plot, least, most) => [Math.min(0, least), Math.max(most, threshold ?? 0) * 1.05 || 1] } },
    series: [
      {},
      ...chart.series.map((each, index): uPlot.Series => {
        const stroke = colourOf(each.name, index);
        return {
          label: each.name,
          stroke,
          width: 1.5,
          spanGaps: false,
          points: { show: chart.times.length < 40, size: 4 },
          ...(style === "line" ? {} : { fill: `color-mix(in srgb, ${stroke} 28%, transparent)` }),
          ...(bars as Partial<uPlot.Series>),
        };
      }),
    ],
    hooks: {
      draw: [
        (plot) => {
          const { left, top, width: wide, height: high } = plot.bbox;
          if (threshold !== null) {
            const y = plot.valToPos(threshold, "y", true);
            drawLine(plot, "--error", [left, y], [left + wide, y]);
          }
          for (const mark of marks) {
            const x = plot.valToPos(mark.timeMs / 1000, "x", true);
            if (x < left || x > left + wide) continue;
            drawLine(plot, "--number", [x, top], [x, top + high]);
            plot.ctx.fillStyle = inked("--number");
            plot.ctx.textAlign = "left";
            plot.ctx.fillText(mark.title.slice(0, 40), x + 4, top + 12 * devicePixelRatio);
          }
        },
      ],
      setSelect: [
        (plot) => {
          const { left, width: selected } = plot.select;
          if (selected < 4 || !zoom.current) return;
          const at = (x: number) => Math.round(plot.posToVal(x, "x") * 1000);
          zoom.current({ startMs: at(left), endMs: at(left + selected) });
        },
      ],
    },
  };
}

function drawLine(plot: uPlot, token: string, from: [number, number], to: [number, number]): void {
  const { ctx } = plot;
  ctx.save();
  ctx.strokeStyle = inked(token);
  ctx.setLineDash([6, 4]);
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
  ctx.restore();
}
