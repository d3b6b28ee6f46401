/** Requests to the server's API, authorized by the browser's session. */

/** An error that the server answered, or that kept it from answering. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** of HTTP; 0 where no answer came */
    readonly status: number,
    /** where in a query the error is, from 1 */
    readonly place: { line: number; column: number } | null = null,
    /** identifies the request in the server's log */
    readonly traceId = "",
  ) {
    super(message);
  }
}

export interface RequestOptions {
  method?: string;
  /** encoded as JSON */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | null;
}

/** called when the server does not know the session any more */
let onSignedOut: () => void = () => {};

export function whenSignedOut(callback: () => void): void {
  onSignedOut = callback;
}

export const ORGANISATION_HEADER = "X-Axiom-Org-Id";
const CHOSEN = "tailrace.organisation";

/** Return the organisation that this tab works in, "" for the user's own. */
export function chosenOrganisation(): string {
  return sessionStorage.getItem(CHOSEN) ?? "";
}

/** Work in an organisation in this tab, "" for the user's own. */
export function chooseOrganisation(id: string): void {
  if (id) sessionStorage.setItem(CHOSEN, id);
  else sessionStorage.removeItem(CHOSEN);
}

/** Return the answer to a request; raise ApiError, or the signal's AbortError. */
export async function send(path: string, options: RequestOptions = {}): Promise<Response> {
  const organisation = chosenOrganisation();
  const headers: Record<string, string> = {
    "X-Tailrace-Console": "1",
    ...(organisation ? { [ORGANISATION_HEADER]: organisation } : {}),
    ...options.headers,
  };
  const init: RequestInit = { method: options.method ?? "GET", headers, credentials: "same-origin", cache: "no-store" };
  if (options.body !== undefined) {
    headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(options.body);
  }
  if (options.signal) init.signal = options.signal;
  let response: Response;
  try {
    response = await fetch(address(path), init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is it running, and is this machine connected?", 0);
  }
  if (!response.ok) {
    const error = await errorOf(response);
    if (response.status === 401) onSignedOut();
    throw error;
  }
  return response;
}

/** Return the JSON that a request answers. */
export async function ask<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const response = await send(path, options);
  return (response.status === 204 ? undefined : parseExact(await response.text())) as T;
}

/** Return the address of a path of the API: beside this page, wherever a proxy has that. */
export function address(path: string): string {
  return new URL(`.${path}`, document.baseURI.replace(/#.*/s, "")).toString();
}

interface ErrorBody {
  message?: string;
  detail?: { line: number; column: number; message?: string };
}

async function errorOf(response: Response): Promise<ApiError> {
  const traceId = response.headers.get("x-axiom-trace-id") ?? "";
  const text = await response.text();
  let body: ErrorBody = {};
  try {
    body = JSON.parse(text) as ErrorBody;
  } catch {
    // a proxy answered
  }
  const place = body.detail?.line ? { line: body.detail.line, column: body.detail.column } : null;
  const message = body.detail?.message || body.message || `The server answered ${response.status}.`;
  return new ApiError(message, response.status, place, traceId);
}

/** A number of a JSON text that a double cannot hold, as it was written. */
export class ExactNumber {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text;
  }
  toJSON(): unknown {
    const raw = (JSON as unknown as { rawJSON?: (text: string) => unknown }).rawJSON;
    return raw ? raw(this.text) : this.text;
  }
}

const LONG_INTEGER = /[0-9]{16}/;
/** a text, or an integer that may be longer than a double holds */
const TEXT_OR_LONG_INTEGER = /"(?:[^"\\]|\\.)*"|-?[0-9]{16,}(?![0-9.eE])/g;
const MARK = "\uE000";
const MARKED = /^\uE000-?[0-9]+$/;

/** Return what a JSON text says; an integer that a double would round is an ExactNumber. */
export function parseExact(text: string): unknown {
  if (!LONG_INTEGER.test(text)) return JSON.parse(text);
  const marked = text.replace(TEXT_OR_LONG_INTEGER, (found) =>
    found.startsWith('"') || Number.isSafeInteger(Number(found)) ? found : `"${MARK}${found}"`,
  );
  return JSON.parse(marked, (_name, value: unknown) =>
    typeof value === "string" && MARKED.test(value) ? new ExactNumber(value.slice(MARK.length)) : value,
  );
}
