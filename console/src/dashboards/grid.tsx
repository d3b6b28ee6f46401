/** The charts of a dashboard on its grid: moved and resized by the pointer or by keys. */
import type { ComponentChild } from "preact";
import { useRef } from "preact/hooks";
import { hashOf } from "../router";
import { Icon } from "../ui/icons";
import { type Cell, COLUMNS, type DashboardChart, rearranged } from "./types";

const ROW_PX = 30;
const GAP_PX = 10;
const NARROW_PX = 720;

interface GridProps {
  charts: DashboardChart[];
  layout: Cell[];
  editing: boolean;
  onLayout: (layout: Cell[]) => void;
  onOpen: (chart: DashboardChart) => void;
  onRemove: (id: string) => void;
  body: (chart: DashboardChart) => ComponentChild;
}

export function Grid({ charts, layout, editing, onLayout, onOpen, onRemove, body }: GridProps) {
  const box = useRef<HTMLDivElement>(null);
  const from = useRef<{ x: number; y: number; cell: Cell; layout: Cell[] } | null>(null);
  const narrow = innerWidth < NARROW_PX;
  const begin = (event: PointerEvent, cell: Cell) => {
    if (!editing || (event.target as HTMLElement).closest("button")) return;
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    from.current = { x: event.clientX, y: event.clientY, cell, layout };
  };
  const drag = (event: PointerEvent, change: (cell: Cell, columns: number, rows: number) => Cell) => {
    const start = from.current;
    if (!start || !box.current) return;
    const column = (box.current.clientWidth + GAP_PX) / COLUMNS;
    const columns = Math.round((event.clientX - start.x) / column);
    const rows = Math.round((event.clientY - start.y) / (ROW_PX + GAP_PX));
    onLayout(rearranged(start.layout, change(start.cell, columns, rows)));
  };
  const end = () => {
    from.current = null;
  };
  const byKey = (event: KeyboardEvent, cell: Cell) => {
    const steps: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const step = steps[event.key];
    if (!editing || !step) return;
    event.preventDefault();
    const [x, y] = step;
    onLayout(
      rearranged(
        layout,
        event.shiftKey ? { ...cell, w: cell.w + x, h: cell.h + y } : { ...cell, x: cell.x + x, y: cell.y + y },
      ),
    );
  };
  return (
    <div class="board" ref={box}>
      {charts.map((chart) => {
        const cell = layout.find((each) => each.i === chart.id);
        if (!cell) return null;
        const place = narrow
          ? {}
          : { gridColumn: `${cell.x + 1} / span ${cell.w}`, gridRow: `${cell.y + 1} / span ${cell.h}` };
        return (
          <section key={chart.id} class="tile-card" style={place} aria-label={chart.name || chart.type}>
            {/* biome-ignore lint/a11y/noStaticElementInteractions: it is moved by the pointer, and by keys where it has the focus */}
            <header
              class={editing ? "tile-head moving" : "tile-head"}
              tabIndex={editing ? 0 : undefined}
              title={editing ? "Drag, or arrow keys to move; with Shift to resize" : undefined}
              onPointerDown={(event) => begin(event, cell)}
              onPointerMove={(event) =>
                drag(event, (each, columns, rows) => ({ ...each, x: each.x + columns, y: each.y + rows }))
              }
              onPointerUp={end}
              onKeyDown={(event) => byKey(event, cell)}
            >
              <h2 class="ellipsis">{chart.name}</h2>
              <span class="spacer" />
              {editing ? (
                <>
                  <button type="button" class="button small quiet" onClick={() => onOpen(chart)}>
                    Edit
                  </button>
                  <button
                    type="button"
                    class="button small quiet icon"
                    aria-label={`Remove ${chart.name}`}
                    onClick={() => onRemove(chart.id)}
                  >
                    <Icon name="close" size={13} />
                  </button>
                </>
              ) : (
                chart.query?.apl && (
                  <a class="button small quiet" href={hashOf("/explore", { q: chart.query.apl })}>
                    Explore
                  </a>
                )
              )}
            </header>
            {body(chart)}
            {editing && !narrow && (
              <span
                class="tile-resize"
                onPointerDown={(event) => begin(event, cell)}
                onPointerMove={(event) =>
                  drag(event, (each, columns, rows) => ({ ...each, w: each.w + columns, h: each.h + rows }))
                }
                onPointerUp={end}
              />
            )}
          </section>
        );
      })}
    </div>
  );
}
