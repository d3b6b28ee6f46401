/** The events of a dataset as they come. */
import { signal } from "@preact/signals";
import { dataOf, type ServerEvent, serverEvents } from "../api/events";
import { ApiError } from "../api/http";
import { flattened } from "../result/flatten";

export interface Line {
  id: number;
  event: Record<string, unknown>;
}

export const KEPT = 5000;
const RATE_S = 5;
const RETRY_MS = 2000;

/** the newest last */
export const lines = signal<Line[]>([]);
export const paused = signal(false);
/** that came while paused and are not shown yet */
export const held = signal(0);
/** that the server left out, as this browser reads too slowly */
export const missed = signal(0);
/** that are no longer kept here */
export const dropped = signal(0);
/** events a second, of the last seconds */
export const rate = signal(0);
export const trouble = signal("");
export const connected = signal(false);

let pending: Line[] = [];
let nextId = 0;
let arrivals: { at: number; count: number }[] = [];

/** Read the stream of a dataset until the signal aborts; it is read again where it breaks. */
export async function read(dataset: string, where: string, abort: AbortSignal): Promise<void> {
  clear();
  const ticking = setInterval(flush, 200);
  abort.addEventListener("abort", () => clearInterval(ticking));
  const query = where ? `?where=${encodeURIComponent(where)}` : "";
  while (!abort.aborted) {
    try {
      trouble.value = "";
      for await (const events of serverEvents(`/tailrace/v1/tail/${encodeURIComponent(dataset)}${query}`, abort)) {
        connected.value = true;
        take(events);
      }
      trouble.value ||= "The server has ended the stream.";
    } catch (error) {
      if (abort.aborted) return;
      trouble.value = error instanceof Error ? error.message : String(error);
      if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429) return;
    } finally {
      connected.value = false;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** Show what came while the stream was paused, and what comes. */
export function resume(): void {
  paused.value = false;
  flush();
}

/** Forget what is shown. */
export function clear(): void {
  pending = [];
  arrivals = [];
  lines.value = [];
  held.value = missed.value = dropped.value = rate.value = 0;
  paused.value = false;
}

function take(events: ServerEvent[]): void {
  let count = 0;
  for (const event of events) {
    if (event.name === "missed") missed.value += Number(dataOf(event).count ?? 0);
    else if (event.name === "end") trouble.value = String(dataOf(event).reason ?? "");
    else if (event.name === "message") {
      pending.push({ id: nextId, event: flattened(dataOf(event)) });
      nextId += 1;
      count += 1;
    }
  }
  arrivals.push({ at: Date.now(), count });
  if (pending.length > KEPT) {
    dropped.value += pending.length - KEPT;
    pending = pending.slice(-KEPT);
  }
}

function flush(): void {
  const since = Date.now() - RATE_S * 1000;
  arrivals = arrivals.filter((each) => each.at >= since);
  rate.value = arrivals.reduce((sum, each) => sum + each.count, 0) / RATE_S;
  if (paused.value) {
    held.value = pending.length;
    return;
  }
  held.value = 0;
  if (!pending.length) return;
  const all = [...lines.value, ...pending];
  pending = [];
  if (all.length > KEPT) dropped.value += all.length - KEPT;
  lines.value = all.slice(-KEPT);
}
