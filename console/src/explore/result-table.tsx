/** The rows of an answer: drawn as far as they are seen, so that ten thousand cost what thirty do. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Field } from "../api/apl";
import { cellText } from "../format/values";
import { shownColumns } from "../result/columns";
import { compared } from "../result/order";
import { type Grid, levelField, severityOf, TIME } from "../result/table";
import * as state from "./state";

const ROW_PX = 25;
const BEYOND = 12; // rows drawn above and below what is seen
const SAMPLE_ROWS = 50;
const CHARACTER_PX = 7.3;
const WIDEST_PX = 560;

interface Sorting {
  column: number;
  descending: boolean;
}

export function ResultTable({ grid }: { grid: Grid }) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [sorting, setSorting] = useState<Sorting | null>(null);
  const [widths, setWidths] = useState<Record<string, number>>({});
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    setSorting(null);
    box.current?.scrollTo(0, 0);
  }, [grid]);

  const chosen = state.columns.value;
  const columns = useMemo(() => shownColumns(grid, chosen), [grid, chosen]);
  const order = useMemo(() => sorted(grid, sorting), [grid, sorting]);
  const level = useMemo(() => {
    const name = levelField(grid.fields.map((field) => field.name));
    return name === null ? null : (grid.columns[grid.fields.findIndex((field) => field.name === name)] ?? null);
  }, [grid]);
  const template = columns.map((index) => `${widthOf(grid, index, widths)}px`).join(" ");
  const first = Math.max(0, Math.floor(top / ROW_PX) - BEYOND);
  const last = Math.min(grid.rows, Math.ceil((top + height) / ROW_PX) + BEYOND);

  const choose = (position: number) => {
    const at = Math.min(grid.rows - 1, Math.max(0, position));
    state.selectedRow.value = order[at] ?? null;
    const element = box.current;
    if (!element) return;
    const y = (at + 1) * ROW_PX;
    if (y < element.scrollTop + ROW_PX) element.scrollTop = y - ROW_PX;
    if (y + ROW_PX > element.scrollTop + element.clientHeight) element.scrollTop = y + ROW_PX - element.clientHeight;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const selected = state.selectedRow.value;
    const at = selected === null ? -1 : order.indexOf(selected);
    const moves: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: grid.rows - 1 };
    const to = moves[event.key];
    if (event.key === "Escape") state.selectedRow.value = null;
    if (to === undefined) return;
    event.preventDefault();
    choose(to);
  };

  return (
    <div
      class="grid"
      ref={box}
      role="grid"
      tabIndex={0}
      aria-label="Rows"
      aria-rowcount={grid.rows + 1}
      aria-colcount={columns.length}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown={onKeyDown}
    >
      <div class="grid-head" role="row" style={{ gridTemplateColumns: template }}>
        {columns.map((index) => {
          const field = grid.fields[index] as Field;
          const isSorted = sorting?.column === index;
          return (
            <div
              key={field.name}
              role="columnheader"
              class="grid-name"
              aria-sort={isSorted ? (sorting.descending ? "descending" : "ascending") : "none"}
            >
              <button
                type="button"
                class="grid-sort"
                title={`${field.name}: ${field.type}`}
                onClick={() =>
                  setSorting(isSorted && sorting.descending ? null : { column: index, descending: isSorted })
                }
              >
                <span class="ellipsis">{field.name}</span>
                {isSorted && <span aria-hidden="true">{sorting.descending ? "↓" : "↑"}</span>}
              </button>
              <Resizer
                onResize={(by) =>
                  setWidths((before) => ({
                    ...before,
                    [field.name]: Math.max(48, widthOf(grid, index, before) + by),
                  }))
                }
              />
            </div>
          );
        })}
      </div>
      <div class="grid-rows" style={{ height: `${grid.rows * ROW_PX}px` }}>
        {Array.from({ length: Math.max(0, last - first) }, (_, offset) => {
          const position = first + offset;
          const row = order[position] ?? 0;
          const severity = level ? severityOf(level[row]) : "none";
          return (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the grid has the keys
            <div
              key={row}
              role="row"
              aria-rowindex={position + 2}
              aria-selected={state.selectedRow.value === row}
              class={`grid-row mark-${severity}`}
              style={{ gridTemplateColumns: template, top: `${position * ROW_PX}px` }}
              onClick={() => choose(position)}
            >
              {columns.map((index) => {
                const field = grid.fields[index] as Field;
                return (
                  <div key={field.name} role="gridcell" class={`cell type-${field.type.split("|")[0]}`}>
                    {cellText(grid.columns[index]?.[row], field.type, 300)}
                  </div>
                );
              })}
            </div>
          );
        })}
      </div>
    </div>
  );
}

function Resizer({ onResize }: { onResize: (by: number) => void }) {
  const from = useRef<number | null>(null);
  return (
    <span
      class="grid-resizer"
      onPointerDown={(event) => {
        event.preventDefault();
        event.currentTarget.setPointerCapture(event.pointerId);
        from.current = event.clientX;
      }}
      onPointerMove={(event) => {
        if (from.current === null) return;
        onResize(event.clientX - from.current);
        from.current = event.clientX;
      }}
      onPointerUp={() => {
        from.current = null;
      }}
    />
  );
}

function widthOf(grid: Grid, index: number, widths: Record<string, number>): number {
  const field = grid.fields[index] as Field;
  const chosen = Object.hasOwn(widths, field.name) ? widths[field.name] : undefined;
  if (chosen !== undefined) return chosen;
  let longest = field.name.length + 2;
  for (const value of (grid.columns[index] ?? []).slice(0, SAMPLE_ROWS))
    longest = Math.max(longest, cellText(value, field.type, 100).length);
  const least = field.name === TIME ? 190 : 56;
  return Math.round(Math.min(WIDEST_PX, Math.max(least, longest * CHARACTER_PX + 20)));
}

function sorted(grid: Grid, sorting: Sorting | null): number[] {
  const rows = Array.from({ length: grid.rows }, (_, row) => row);
  if (!sorting) return rows;
  const values = grid.columns[sorting.column] ?? [];
  const sign = sorting.descending ? -1 : 1;
  return rows.sort((a, b) => compared(values[a], values[b], sign) || a - b);
}
