/** The queries that were asked in this browser, the latest first. */
import { signal } from "@preact/signals";

const KEY = "tailrace.history";
const MOST = 100;

export const history = signal<string[]>(stored());

/** Keep a query that is asked. */
export function remember(apl: string): void {
  if (history.value[0] === apl) return;
  history.value = [apl, ...history.value.filter((each) => each !== apl)].slice(0, MOST);
  localStorage.setItem(KEY, JSON.stringify(history.value));
}

function stored(): string[] {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter((each) => typeof each === "string") : [];
  } catch {
    return [];
  }
}
