/** What an answer's shape asks to be drawn. */
import { cellText, compact, count } from "../format/values";
import type { Chart } from "../result/series";
import type { Span } from "../time/range";
import { HeatChartView } from "./heat-chart";
import { type Mark, TimeChartView, type TimeStyle } from "./time-chart";

const NO_MARKS: Mark[] = [];

interface ChartViewProps {
  chart: Chart;
  style?: TimeStyle;
  height?: number;
  /** a line across it */
  threshold?: number | null;
  /** moments to draw, such as deployments */
  marks?: Mark[];
  onZoom?: (span: Span) => void;
}

export function ChartView({
  chart,
  style = "line",
  height = 240,
  threshold = null,
  marks = NO_MARKS,
  onZoom,
}: ChartViewProps) {
  switch (chart.kind) {
    case "number":
      return (
        <div class="numbers">
          {chart.values.map(({ name, value, type }) => (
            <figure key={name} class="number">
              <b>{typeof value === "number" ? count(value) : cellText(value, type)}</b>
              <figcaption>{name}</figcaption>
            </figure>
          ))}
        </div>
      );
    case "time":
      return (
        <TimeChartView
          chart={chart}
          style={style}
          height={height}
          threshold={threshold}
          marks={marks}
          {...(onZoom ? { onZoom } : {})}
        />
      );
    case "heat":
      return <HeatChartView chart={chart} height={height} {...(onZoom ? { onZoom } : {})} />;
    case "top": {
      const most = Math.max(1e-9, ...chart.bars.map((bar) => Math.abs(bar.value)));
      return (
        <ol class="bars" aria-label={`By ${chart.measure}`}>
          {chart.bars.map((bar) => (
            <li key={bar.name}>
              <span class="bar-name ellipsis" title={bar.name}>
                {bar.name}
              </span>
              <span class="bar-track">
                <span class="bar" style={{ width: `${(100 * Math.abs(bar.value)) / most}%` }} />
              </span>
              <span class="bar-value" title={count(bar.value)}>
                {compact(bar.value)}
              </span>
            </li>
          ))}
        </ol>
      );
    }
  }
}
