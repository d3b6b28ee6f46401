/** The events as lines: time, level, message, and the other fields behind it; a line opens. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { cellText, eventTime } from "../format/values";
import { type Grid, levelField, messageField, rowOf, severityOf, TIME } from "../result/table";
import * as state from "./state";

const ROW_PX = 25;
const BEYOND = 15;
const MAX_PAIRS = 30;

export function EventList({ grid }: { grid: Grid }) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const names = useMemo(() => grid.fields.map((field) => field.name), [grid]);
  const level = useMemo(() => levelField(names), [names]);
  const message = useMemo(() => messageField(names), [names]);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    element.scrollTo(0, 0);
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, [grid]);
  const first = Math.max(0, Math.floor(top / ROW_PX) - BEYOND);
  const last = Math.min(grid.rows, Math.ceil((top + height) / ROW_PX) + BEYOND);
  return (
    <div class="list" ref={box} onScroll={(event) => setTop(event.currentTarget.scrollTop)}>
      <div class="list-rows" style={{ height: `${grid.rows * ROW_PX}px` }}>
        {Array.from({ length: Math.max(0, last - first) }, (_, offset) => {
          const row = first + offset;
          const { [TIME]: time, ...values } = rowOf(grid, row);
          const severity = level ? severityOf(values[level]) : "none";
          const others = Object.entries(values).filter(
            ([name]) => name !== level && name !== message && name !== "_sysTime",
          );
          return (
            <button
              key={row}
              type="button"
              class={`list-row mark-${severity}`}
              aria-pressed={state.selectedRow.value === row}
              style={{ top: `${row * ROW_PX}px` }}
              onClick={() => {
                state.selectedRow.value = row;
              }}
            >
              {typeof time === "string" && <time>{eventTime(time)}</time>}
              {level && <b class={`text-${severity}`}>{cellText(values[level], "string", 12)}</b>}
              {message && <span>{cellText(values[message], "string", 400)}</span>}
              {others.slice(0, MAX_PAIRS).map(([name, value]) => (
                <span key={name} class="pair">
                  <i>{name}</i>={cellText(value, "", 60)}
                </span>
              ))}
            </button>
          );
        })}
      </div>
    </div>
  );
}
