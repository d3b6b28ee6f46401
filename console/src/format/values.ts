/** Values as text. */
import { ExactNumber } from "../api/http";

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 3 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** Return a count with separators. */
export function count(value: number): string {
  return NUMBER.format(value);
}

/** Return a count in few characters, such as 1.2M. */
export function compact(value: number): string {
  return Math.abs(value) < 10_000 ? NUMBER.format(value) : COMPACT.format(value);
}

/** Return a size in bytes, such as 1.2 MB. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let size = value;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${size < 10 && unit ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

/** Return a duration given in µs, such as 12 ms. */
export function duration(us: number): string {
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${trimmed(us / 1e3)} ms`;
  if (us < 60e6) return `${trimmed(us / 1e6)} s`;
  const minutes = Math.floor(us / 60e6);
  return `${minutes} min ${Math.round((us % 60e6) / 1e6)} s`;
}

function trimmed(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

const pad = (value: number, width = 2) => String(value).padStart(width, "0");

/** Return a time of an event in local time: with its fraction of a second as far as it has one, at least ms. */
export function eventTime(text: string): string {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  const fraction = /\.([0-9]+)/.exec(text)?.[1] ?? "";
  const clock = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock}.${fraction.padEnd(3, "0")}`;
}

/** Return a value on one line, at most `most` characters. */
export function cellText(value: unknown, type: string, most = 500): string {
  if (value === null || value === undefined) return "";
  if (type === "datetime" && typeof value === "string") return eventTime(value);
  if (typeof value === "string") return value.length > most ? `${value.slice(0, most)}…` : value;
  if (typeof value === "number" || typeof value === "boolean" || value instanceof ExactNumber) return String(value);
  const text = JSON.stringify(value);
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** Return how long ago a time was, such as 5 min ago. */
export function ago(timeMs: number, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - timeMs) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}
