/** The time that a query covers: relative to now, or fixed. */

export interface TimeRange {
  /** as the API takes it: `now-1h`, or RFC 3339 */
  start: string;
  end: string;
}

export interface Span {
  /** ms since the epoch */
  startMs: number;
  endMs: number;
}

const UNITS: Record<string, number> = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 7 * 86400e3 };
const NAMES: Record<string, string> = { s: "second", m: "minute", h: "hour", d: "day", w: "week" };
const RELATIVE = /^now(?:-([0-9]+)([smhdw]))?$/;

export const PRESETS: readonly TimeRange[] = [
  "now-5m",
  "now-15m",
  "now-30m",
  "now-1h",
  "now-3h",
  "now-12h",
  "now-1d",
  "now-2d",
  "now-7d",
  "now-30d",
  "now-90d",
].map((start) => ({ start, end: "now" }));

export const DEFAULT_RANGE: TimeRange = { start: "now-1h", end: "now" };

/** Return ms since the epoch of `now`, `now-1h` or RFC 3339; null for what is neither. */
export function timeOf(text: string, nowMs: number): number | null {
  const relative = RELATIVE.exec(text);
  if (relative) return nowMs - (relative[1] ? Number(relative[1]) * (UNITS[relative[2] ?? "s"] ?? 0) : 0);
  const fixed = Date.parse(text);
  return Number.isNaN(fixed) ? null : fixed;
}

/** Return the times that a range covers now; null for one that is none. */
export function spanOf(range: TimeRange, nowMs: number): Span | null {
  const startMs = timeOf(range.start, nowMs);
  const endMs = timeOf(range.end, nowMs);
  return startMs === null || endMs === null || startMs >= endMs ? null : { startMs, endMs };
}

/** Return the range of two fixed times. */
export function fixedRange(span: Span): TimeRange {
  return { start: new Date(span.startMs).toISOString(), end: new Date(span.endMs).toISOString() };
}

/** Return a range in words. */
export function rangeLabel(range: TimeRange, locale?: string): string {
  const relative = RELATIVE.exec(range.start);
  if (relative?.[1] && range.end === "now") {
    const count = Number(relative[1]);
    const unit = NAMES[relative[2] ?? "s"];
    return count === 1 ? `Last ${unit}` : `Last ${count} ${unit}s`;
  }
  return `${momentLabel(range.start, locale)} – ${momentLabel(range.end, locale)}`;
}

function momentLabel(text: string, locale?: string): string {
  if (RELATIVE.test(text)) return text;
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  return date.toLocaleString(locale, {
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
}

/** Return a range moved by a share of its length, as fixed times. */
export function shifted(span: Span, share: number): Span {
  const by = (span.endMs - span.startMs) * share;
  return { startMs: span.startMs + by, endMs: span.endMs + by };
}

/** Return the range around a moment. */
export function around(timeMs: number, halfMs: number): Span {
  return { startMs: timeMs - halfMs, endMs: timeMs + halfMs };
}

const BIN_STEPS_S = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600,
  2592000,
];

/** Return the size of bins, in seconds, of which about `bins` cover a span; below a second a fraction. */
export function binSeconds(span: Span, bins: number): number {
  const wanted = (span.endMs - span.startMs) / 1000 / bins;
  if (wanted < 0.5) return Math.max(0.001, 10 ** Math.ceil(Math.log10(wanted)));
  return BIN_STEPS_S.find((step) => step >= wanted) ?? 2592000 * Math.ceil(wanted / 2592000);
}

/** Return a size of bins as APL writes it. */
export function aplSpan(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)}ms`;
  for (const [unit, size] of [
    ["d", 86400],
    ["h", 3600],
    ["m", 60],
  ] as const)
    if (seconds % size === 0) return `${seconds / size}${unit}`;
  return `${seconds}s`;
}
