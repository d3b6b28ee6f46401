/** Which fields of an answer are columns of its table. */
import type { Grid } from "./table";

export const MAX_COLUMNS = 60; // drawn; the others are in the detail of a row

/**
 * Return the indices of the fields that are drawn, at most MAX_COLUMNS: those chosen by name as far as the answer has
 * them; where it has none, or none were chosen, those with a value.
 */
export function shownColumns(grid: Grid, chosen: readonly string[] | null): number[] {
  const all = grid.fields.map((_, index) => index);
  const names = new Set(chosen);
  const wanted = all.filter((index) => names.has(grid.fields[index]?.name ?? ""));
  if (wanted.length) return wanted.slice(0, MAX_COLUMNS);
  const filled = all.filter((index) =>
    (grid.columns[index] ?? []).some((value) => value !== null && value !== undefined),
  );
  return (filled.length ? filled : all).slice(0, MAX_COLUMNS);
}

/** Return the names of the chosen fields once one of those that are drawn is left out, or another one added. */
export function toggled(grid: Grid, chosen: readonly string[] | null, name: string): string[] {
  const drawn = shownColumns(grid, chosen).map((index) => grid.fields[index]?.name ?? "");
  return drawn.includes(name) ? drawn.filter((each) => each !== name) : [...drawn, name];
}

/** Return the names in the address, null where it has none. */
export function columnsOf(written: string | null): string[] | null {
  if (!written) return null;
  try {
    const names: unknown = JSON.parse(written);
    return Array.isArray(names) ? names.filter((name) => typeof name === "string") : null;
  } catch {
    return null; // of an address that was cut off or changed
  }
}
