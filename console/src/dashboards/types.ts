/** Dashboards as Axiom's documents have them, and their layout: a grid of 12 columns. */

export interface ChartQuery {
  apl?: string;
  queryOptions?: Record<string, unknown>;
}

export interface FilterOption {
  key: string;
  value: string;
  default?: boolean;
}

export interface FilterDefinition {
  /** of the parameter in queries */
  id: string;
  name?: string;
  /** select or search */
  type: string;
  /** of a select: its values, or the query that gives them (columns key and value) */
  options?: FilterOption[];
  apl?: { apl?: string } | string;
}

export interface DashboardChart {
  id: string;
  name?: string;
  type: string;
  query?: ChartQuery;
  /** of a note */
  text?: string;
  filters?: FilterDefinition[];
}

export interface Cell {
  /** id of the chart */
  i: string;
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface DashboardDocument {
  name: string;
  description?: string;
  owner?: string;
  charts: DashboardChart[];
  layout: Cell[];
  /** s; 0 for never */
  refreshTime?: number;
  schemaVersion?: number;
  timeWindowStart?: string;
  timeWindowEnd?: string;
}

export interface Dashboard {
  uid: string;
  version: number;
  dashboard: DashboardDocument;
  updatedAt: string;
  updatedBy: string;
}

export const COLUMNS = 12;
export const NEW_SIZE = { w: 6, h: 8 };
export const TYPES: Record<string, string> = {
  TimeSeries: "Time series",
  Heatmap: "Heat map",
  Statistic: "Number",
  TopK: "Top list",
  Table: "Table",
  LogStream: "Events",
  Note: "Note",
};

/** Return the layout with a cell for each chart, and none for others; what has none is put at the end. */
export function completeLayout(charts: DashboardChart[], layout: Cell[]): Cell[] {
  const known = new Map(layout.map((cell) => [cell.i, cell]));
  const cells: Cell[] = [];
  for (const chart of charts) {
    const cell = known.get(chart.id);
    if (cell) cells.push(bounded(cell));
  }
  for (const chart of charts) if (!known.has(chart.id)) cells.push(placed(cells, chart.id));
  return cells;
}

/** Return a cell of the usual size where there is room: beside the last one, or below all. */
export function placed(cells: Cell[], id: string): Cell {
  const last = cells.at(-1);
  if (last && last.x + last.w + NEW_SIZE.w <= COLUMNS) {
    const beside = { i: id, x: last.x + last.w, y: last.y, ...NEW_SIZE };
    if (!cells.some((cell) => overlaps(cell, beside))) return beside;
  }
  return { i: id, x: 0, y: Math.max(0, ...cells.map((cell) => cell.y + cell.h)), ...NEW_SIZE };
}

/** Return the layout after a cell was moved or resized: those in its way go below it, and none leaves a gap above. */
export function rearranged(cells: Cell[], changed: Cell): Cell[] {
  const first = bounded(changed);
  const others = cells.filter((cell) => cell.i !== changed.i).sort((a, b) => a.y - b.y || a.x - b.x);
  const settled: Cell[] = [first];
  for (const cell of others) {
    let free = { ...cell };
    while (settled.some((each) => overlaps(each, free))) free = { ...free, y: free.y + 1 };
    settled.push(free);
  }
  return compacted(settled);
}

/** Return the layout with each cell as high as the ones above let it be. */
export function compacted(cells: Cell[]): Cell[] {
  const done: Cell[] = [];
  for (const cell of [...cells].sort((a, b) => a.y - b.y || a.x - b.x)) {
    let y = 0;
    for (const above of done)
      if (above.x < cell.x + cell.w && cell.x < above.x + above.w) y = Math.max(y, above.y + above.h);
    done.push({ ...cell, y });
  }
  return cells.map((cell) => done.find((each) => each.i === cell.i) ?? cell);
}

export function overlaps(a: Cell, b: Cell): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

function bounded(cell: Cell): Cell {
  const whole = (value: unknown, least: number, most: number, otherwise: number) =>
    Math.min(most, Math.max(least, Math.round(Number.isFinite(Number(value)) ? Number(value) : otherwise)));
  const w = whole(cell.w, 1, COLUMNS, NEW_SIZE.w);
  return {
    i: cell.i,
    x: whole(cell.x, 0, COLUMNS - w, 0),
    y: whole(cell.y, 0, 10_000, 0),
    w,
    h: whole(cell.h, 2, 200, NEW_SIZE.h),
  };
}

/** Return a time window as queries have it. */
export function queryTime(text: string | undefined, otherwise: string): string {
  return text?.replace(/^qr-/, "") || otherwise;
}

/** Return a time of a query as a time window of a dashboard. */
export function windowTime(text: string): string {
  return text.startsWith("now") ? `qr-${text}` : text;
}
