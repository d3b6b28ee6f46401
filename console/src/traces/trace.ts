/** The spans of a trace as a tree, in the order of a waterfall. */

export interface Span {
  id: string;
  parent: string;
  name: string;
  service: string;
  kind: string;
  error: boolean;
  /** ms since the epoch, with fractions */
  startMs: number;
  durationMs: number;
  event: Record<string, unknown>;
}

export interface TraceRow {
  span: Span;
  depth: number;
  children: number;
  /** whether its parent is not among the spans */
  isOrphan: boolean;
}

export interface Trace {
  rows: TraceRow[];
  startMs: number;
  endMs: number;
  services: string[];
}

/** Return the trace of spans: each after its parent, siblings by their start; spans in a circle are roots. */
export function traceOf(spans: Span[]): Trace {
  const byId = new Map(spans.map((span) => [span.id, span]));
  const circles = circled(spans, byId);
  const children = new Map<string, Span[]>();
  const roots: Span[] = [];
  for (const span of spans) {
    if (span.parent && byId.has(span.parent) && !circles.has(span.id)) {
      const siblings = children.get(span.parent);
      if (siblings) siblings.push(span);
      else children.set(span.parent, [span]);
    } else roots.push(span);
  }
  const rows: TraceRow[] = [];
  const pending = roots.sort(later).map((span) => ({ span, depth: 0 }));
  for (let next = pending.pop(); next; next = pending.pop()) {
    const own = (children.get(next.span.id) ?? []).sort(later);
    const isOrphan = next.depth === 0 && next.span.parent !== "";
    rows.push({ span: next.span, depth: next.depth, children: own.length, isOrphan });
    const { depth } = next;
    pending.push(...own.map((span) => ({ span, depth: depth + 1 })));
  }
  return {
    rows,
    startMs: Math.min(...spans.map((span) => span.startMs)),
    endMs: Math.max(...spans.map((span) => span.startMs + span.durationMs)),
    services: [...new Set(rows.map((row) => row.span.service))],
  };
}

/** Sort the latest first: what is pending is taken from the end. */
function later(a: Span, b: Span): number {
  return b.startMs - a.startMs;
}

/** Return the ids of the spans that are their own ancestors. */
function circled(spans: Span[], byId: Map<string, Span>): Set<string> {
  const found = new Set<string>();
  const known = new Set<string>();
  for (const span of spans) {
    const path: string[] = [];
    const met = new Set<string>();
    for (let up: Span | undefined = span; up && !known.has(up.id); up = byId.get(up.parent)) {
      if (met.has(up.id)) {
        for (const id of path.slice(path.indexOf(up.id))) found.add(id);
        break;
      }
      met.add(up.id);
      path.push(up.id);
    }
    for (const id of path) known.add(id);
  }
  return found;
}

/** Return the span of an event's fields. */
export function spanOfEvent(event: Record<string, unknown>): Span {
  const text = (name: string) => String(event[name] ?? "");
  return {
    id: text("span_id"),
    parent: text("parent_span_id"),
    name: text("name"),
    service: text("service.name"),
    kind: text("kind"),
    error: event.error === true || /error/i.test(text("status.code")),
    startMs: timeMs(text("_time")),
    durationMs: durationMs(event.duration),
    event,
  };
}

/** Return a time in ms with its fraction. */
export function timeMs(text: string): number {
  const whole = Date.parse(text);
  const fraction = /\.([0-9]+)/.exec(text)?.[1] ?? "";
  return Math.floor(whole / 1000) * 1000 + Number(`0.${fraction || "0"}`) * 1000;
}

const UNITS_MS: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, m: 60e3, h: 3600e3 };

/** Return a duration in ms: a number is of ns, a text is a timespan such as 1m2.5s or 00:00:01.5. */
export function durationMs(value: unknown): number {
  const number = Number(value);
  if (value !== null && value !== undefined && value !== "" && !Number.isNaN(number)) return number / 1e6;
  const text = String(value ?? "");
  const clock = /^(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)$/.exec(text);
  if (clock) {
    const [, days = "0", hours = "0", minutes = "0", seconds = "0"] = clock;
    return ((Number(days) * 24 + Number(hours)) * 60 + Number(minutes)) * 60e3 + Number(seconds) * 1e3;
  }
  let total = 0;
  for (const [, count, unit] of text.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g))
    total += Number(count) * (UNITS_MS[unit ?? ""] ?? 0);
  return total;
}
