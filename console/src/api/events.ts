/** Server-sent events, read by fetch, as EventSource cannot send a header. */
import { parseExact, send } from "./http";

export interface ServerEvent {
  /** "message" where the server gave none */
  name: string;
  data: string;
}

/** Yield the events of a stream until it ends or the signal aborts; raise ApiError. */
export async function* serverEvents(path: string, signal: AbortSignal): AsyncGenerator<ServerEvent[]> {
  const response = await send(path, { headers: { Accept: "text/event-stream" }, signal });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) return;
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop() ?? "";
    const events = parts.map(eventOf).filter((event) => event !== null);
    yield events; // none where only a comment came, which tells that the stream is open
  }
}

/** Return the event of a block of lines, null for a comment. */
export function eventOf(block: string): ServerEvent | null {
  let name = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const [, field, value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  return data.length ? { name, data: data.join("\n") } : null;
}

/** Return the JSON of an event's data. */
export function dataOf(event: ServerEvent): Record<string, unknown> {
  return parseExact(event.data) as Record<string, unknown>;
}
