/** The address of the page: what is behind #, which is not sent to the server, so that no log has a query. */
import { signal } from "@preact/signals";

export interface Route {
  /** such as /explore */
  path: string;
  params: URLSearchParams;
}

export const route = signal<Route>(parseHash(location.hash));

addEventListener("hashchange", () => {
  route.value = parseHash(location.hash);
});

/** Return the route of a hash. */
export function parseHash(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s, 2);
  return { path: path || "/explore", params: new URLSearchParams(query) };
}

/** Return the hash of a path and its parameters; empty ones are left out. */
export function hashOf(path: string, params: Record<string, string> = {}): string {
  const given = Object.entries(params).filter(([, value]) => value !== "");
  const query = new URLSearchParams(given).toString();
  return `#${path}${query ? `?${query}` : ""}`;
}

/** Go to a path; with `replace` the browser's way back does not lead here. */
export function navigate(path: string, params: Record<string, string> = {}, { replace = false } = {}): void {
  const hash = hashOf(path, params);
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  route.value = parseHash(hash);
}
