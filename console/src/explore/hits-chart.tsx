/** The hits over time as stacked bars; dragging over them zooms in. */
import { useRef, useState } from "preact/hooks";
import { compact, count } from "../format/values";
import { severityOf } from "../result/table";
import type { Span } from "../time/range";
import type { Hits } from "./state";

const HEIGHT = 76;
const LEAST_DRAG = 4; // px
const OTHER_COLOURS = ["var(--none)", "var(--info)", "var(--number)", "var(--warn)", "var(--function)", "var(--debug)"];
const ORDER = ["fatal", "error", "warn", "info", "debug", "none"];

interface HitsChartProps {
  hits: Hits;
  onZoom: (span: Span) => void;
}

export function HitsChart({ hits, onZoom }: HitsChartProps) {
  const box = useRef<SVGSVGElement>(null);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const [over, setOver] = useState<number | null>(null);
  const bins = hits.times.length;
  const totals = hits.times.map((_, bin) => hits.series.reduce((sum, each) => sum + (each.counts[bin] ?? 0), 0));
  const most = Math.max(1, ...totals);
  const total = totals.reduce((sum, value) => sum + value, 0);
  const series = [...hits.series].sort((a, b) => ORDER.indexOf(severityOf(b.name)) - ORDER.indexOf(severityOf(a.name)));
  const colours = coloursOf(series.map((each) => each.name));

  const shareAt = (event: PointerEvent) => {
    const area = box.current?.getBoundingClientRect();
    return area ? Math.min(1, Math.max(0, (event.clientX - area.left) / area.width)) : 0;
  };
  const timeAt = (share: number) => (hits.times[0] ?? 0) + share * bins * hits.stepMs;
  const finish = () => {
    const width = box.current?.clientWidth ?? 0;
    if (drag && Math.abs(drag.to - drag.from) * width >= LEAST_DRAG) {
      const [from, to] = [drag.from, drag.to].sort((a, b) => a - b) as [number, number];
      onZoom({ startMs: Math.round(timeAt(from)), endMs: Math.round(timeAt(to)) });
    }
    setDrag(null);
  };

  return (
    <figure class="hits">
      <svg
        ref={box}
        viewBox={`0 0 ${bins} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${count(total)} events over time`}
        onPointerDown={(event) => {
          box.current?.setPointerCapture(event.pointerId);
          const share = shareAt(event);
          setDrag({ from: share, to: share });
        }}
        onPointerMove={(event) => {
          const share = shareAt(event);
          setOver(Math.min(bins - 1, Math.floor(share * bins)));
          if (drag) setDrag({ ...drag, to: share });
        }}
        onPointerUp={finish}
        onPointerCancel={() => setDrag(null)}
        onPointerLeave={() => setOver(null)}
      >
        {over !== null && <rect class="hits-over" x={over} y={0} width={1} height={HEIGHT} />}
        {hits.times.map((time, bin) => {
          let y = HEIGHT;
          return series.map((each, index) => {
            const height = ((each.counts[bin] ?? 0) / most) * (HEIGHT - 2);
            y -= height;
            return height > 0 ? (
              <rect
                key={`${time} ${each.name}`}
                x={bin + 0.08}
                y={y}
                width={0.84}
                height={Math.max(height, 0.8)}
                class={colours[index]}
              />
            ) : null;
          });
        })}
        {drag && (
          <rect
            class="hits-drag"
            x={Math.min(drag.from, drag.to) * bins}
            y={0}
            width={Math.abs(drag.to - drag.from) * bins}
            height={HEIGHT}
          />
        )}
      </svg>
      <figcaption>
        <span>{label(hits.times[0] ?? 0, hits)}</span>
        <span class="hits-said">
          {over !== null && totals[over] !== undefined ? (
            <>
              <b>{count(totals[over] ?? 0)}</b> at {label(hits.times[over] ?? 0, hits)}
            </>
          ) : (
            series
              .filter((each) => each.name !== "")
              .map((each, index) => (
                <span key={each.name} class="hits-key">
                  <i class={colours[index]} /> {each.name} {compact(each.counts.reduce((sum, value) => sum + value, 0))}
                </span>
              ))
          )}
        </span>
        <span>{label(timeAt(1), hits)}</span>
      </figcaption>
    </figure>
  );
}

function coloursOf(names: string[]): string[] {
  let next = 0;
  return names.map((name) => {
    const severity = severityOf(name);
    if (severity !== "none") return `level-${severity}`;
    next += 1;
    return `series-${(next - 1) % OTHER_COLOURS.length}`;
  });
}

function label(timeMs: number, hits: Hits): string {
  const date = new Date(timeMs);
  const long = hits.span.endMs - hits.span.startMs > 86400_000;
  return date.toLocaleString(undefined, {
    ...(long ? { month: "short", day: "numeric" } : {}),
    hour: "2-digit",
    minute: "2-digit",
    ...(hits.stepMs < 60_000 ? { second: "2-digit" } : {}),
  });
}
