/** The order of values of any type. */
import type { Cell } from "../api/apl";

/** Compare two values; what there is none of comes last either way. */
export function compared(a: Cell, b: Cell, sign: number): number {
  const [none, other] = [a === null || a === undefined, b === null || b === undefined];
  if (none || other) return Number(none) - Number(other);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
}
