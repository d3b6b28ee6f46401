/** The events as lines: time, level, message, and the other fields behind it; a line opens. */
import { useEffect, useRef, useState } from "preact/hooks";
import { type Grid, rowOf } from "../result/table";
import { EventLine, LINE_FIELDS } from "../ui/event-line";
import * as state from "./state";

const ROW_PX = 25;
const BEYOND = 15;

export function EventList({ grid }: { grid: Grid }) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
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
          return (
            <EventLine
              key={row}
              event={rowOf(grid, row, LINE_FIELDS)}
              top={row * ROW_PX}
              selected={state.selectedRow.value === row}
              onSelect={() => {
                state.selectedRow.value = row;
              }}
            />
          );
        })}
      </div>
    </div>
  );
}
